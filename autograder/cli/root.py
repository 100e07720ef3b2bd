"""The command line: `autograder`.

Every command exits with status 0 if it did what was asked, whatever the score. The status is 1 after a fault of the
grader, and where a command that checks something says no: an edited score, a suite below `--min-kill`. It is 2 after
wrong usage or a wrong configuration.
"""

from itertools import chain
from typing import Any

import click

from autograder import __version__
from autograder.cli.adjust import adjust
from autograder.cli.authoring import init, new
from autograder.cli.ci import ci
from autograder.cli.config import config_group
from autograder.cli.course import course
from autograder.cli.doctor import doctor
from autograder.cli.export import export
from autograder.cli.grade import grade
from autograder.cli.grades import grades
from autograder.cli.handout import handout
from autograder.cli.hook import hook
from autograder.cli.image import image
from autograder.cli.jobs import jobs, pushes, regrade, republish
from autograder.cli.ledger import ledger
from autograder.cli.notices import notices
from autograder.cli.release import release
from autograder.cli.roster import roster
from autograder.cli.service import serve, status, worker
from autograder.cli.suite import suite
from autograder.cli.term import collect, similar, stats
from autograder.cli.verify import verify
from autograder.errors import ConfigError, GraderError

COMMANDS = {
    "Grade": (grade, grades, export, verify, ci),
    "Serve": (serve, worker, status, jobs, pushes, regrade, republish, adjust),
    "Set up and maintain": (config_group, doctor, roster, hook, ledger, notices),
    "Write and hand out": (init, new, suite, release, handout),
    "Around the term": (collect, similar, stats, course),
}
"""The commands by purpose, as `autograder --help` lists them."""
FAULT, USAGE = 1, 2


class _Group(click.Group):
    """Turns an error of the grader into one line and the right exit status, and lists the commands by purpose."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(USAGE)
        except GraderError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(FAULT)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.list_commands(ctx)))
        limit = formatter.width - width - 6  # indentation and spacing
        for purpose, commands in COMMANDS.items():
            with formatter.section(purpose):
                formatter.write_dl(
                    [(f"{each.name:{width}}", each.get_short_help_str(limit)) for each in commands]
                )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autograder")
def main() -> None:
    """Grade the programming assignments of a course, and serve its students' pushes.

    The file autograder.toml describes the course: see docs/configuration.md.
    """


for command in chain.from_iterable(COMMANDS.values()):
    main.add_command(command)
release.add_command(image)
