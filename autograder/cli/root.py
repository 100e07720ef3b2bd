"""The command line: `autograder`.

Exit status of every command: 0 when it did what was asked, also where a score is 0; 1 on a fault of the
grader; 2 on wrong usage or configuration.
"""

from typing import Any

import click

from autograder import __version__
from autograder.cli.ci import ci
from autograder.cli.config import config_group
from autograder.cli.doctor import doctor
from autograder.cli.export import export
from autograder.cli.grade import grade
from autograder.cli.hook import hook
from autograder.cli.image import image
from autograder.cli.jobs import jobs, regrade
from autograder.cli.ledger import ledger
from autograder.cli.release import release
from autograder.cli.service import serve, status, worker
from autograder.cli.suite import suite
from autograder.cli.verify import verify
from autograder.errors import ConfigError, GraderError

COMMANDS = (
    *(grade, doctor, export),
    *(serve, worker, status, jobs, regrade),
    *(config_group, hook, ledger, verify, ci),
    *(release, suite),
)
FAULT, USAGE = 1, 2


class _Group(click.Group):
    """Turns our errors into one line and the right exit status."""

    def invoke(self, ctx: click.Context) -> Any:

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(USAGE)
        except GraderError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(FAULT)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autograder")
def main() -> None:
    """Grade submissions of the deep-learning-systems assignments."""


for command in COMMANDS:
    main.add_command(command)
release.add_command(image)
