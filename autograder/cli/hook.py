"""`autograder hook`: bare repositories of this machine tell the service of their pushes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.service.intake.spool import Spool

_repositories = click.argument(
    "repositories",
    nargs=-1,
    required=True,
    metavar="REPO.git...",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
_host = click.option(
    "--host", default="", help="its name in autograder.toml; default: where REPO.git lies says it"
)
_owner = click.option(
    "--owner", default="", help="the OWNER in OWNER/NAME; default: where REPO.git lies says it"
)


@click.group()
def hook() -> None:
    """Let bare repositories of this machine tell the service of pushes, by a post-receive hook."""


@hook.command()
@_repositories
@_host
@_owner
@click.option("--chain", is_flag=True, help="keep a hook that is there; it runs after ours")
@config_option
def install(repositories: tuple[Path, ...], host: str, owner: str, chain: bool, config_file: Path) -> None:
    """Install the hook into bare repositories, or bring it up to date.

    It leaves each push in the service's spool folder, which the account that git runs under must be able to write;
    students must not.
    """
    from autograder.service.intake import post_receive

    course, spool = _service(config_file)
    for path in repositories:
        at = post_receive.place(course, path, host=host, owner=owner)
        changed = post_receive.install(at, spool, chain=chain)
        click.echo(f"{at.path}: {'installed' if changed else 'is up to date'}, as {at.repository}")


@hook.command()
@_repositories
def uninstall(repositories: tuple[Path, ...]) -> None:
    """Take the hook away, and put back what was there before."""
    from autograder.service.intake import post_receive

    for path in repositories:
        click.echo(f"{path}: {'removed' if post_receive.uninstall(path) else 'there is no hook of ours'}")


@hook.command()
@_repositories
@_host
@_owner
@config_option
def run(repositories: tuple[Path, ...], host: str, owner: str, config_file: Path) -> None:
    """Hand over what the graded branches are at now, for pushes from before the hook was there.

    What is known already is not graded again.
    """
    from autograder.service.intake import post_receive

    course, spool = _service(config_file)
    for path in repositories:
        at = post_receive.place(course, path, host=host, owner=owner)
        commits = post_receive.hand_over(at, course, spool)
        click.echo(f"{at.path}: {', '.join(commits) if commits else 'no graded branch'}")


def _service(config_file: Path) -> "tuple[Course, Spool]":
    from autograder import config
    from autograder.course.course import Course
    from autograder.service.intake.spool import Spool

    course = Course.of(config.load(config_file))
    return course, Spool(course.spool())
