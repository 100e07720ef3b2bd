"""The command line: `autograder`."""

import click

from autograder import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autograder")
def main() -> None:
    """Grade submissions of the deep-learning-systems assignments."""
