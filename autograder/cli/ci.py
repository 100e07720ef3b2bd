"""`autograder ci`: what a CI job of a student's repository may ask of the grader's account."""

import contextlib
import sys
from pathlib import Path

import click

from autograder.cli.options import config_option


@click.command()
@click.option("--host", default="", help="Host name as in autograder.toml. Default: the only one there.")
@config_option
def ci(host: str, config_file: Path) -> None:
    """Grade one commit for a CI job.

    Reads three lines from standard input: owner/name, the commit and the job's token. Publishes score.md with that
    token, and prints it. Everything else is decided by the course, see docs/github-actions.md.
    """
    from autograder import config
    from autograder.service import ci
    from autograder.service.jobs.graders import Graders

    settings = config.load(config_file)
    request = ci.read_request(sys.stdin.buffer)
    with contextlib.closing(Graders(settings, config_file)) as graders:
        click.echo(ci.grade(settings, request, graders, host=host), nl=False)
