"""`autograder hook`: the post-receive hook by which bare repositories of this machine report pushes to the service."""

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
    "--host",
    default="",
    help="Host name as in autograder.toml. Default: inferred from the repository's path.",
)
_owner = click.option(
    "--owner", default="", help="OWNER in OWNER/NAME. Default: inferred from the repository's path."
)


@click.group()
def hook() -> None:
    """Install the post-receive hook of bare repositories.

    The hook reports each push to a bare repository of this machine to the service.
    """


@hook.command()
@_repositories
@_host
@_owner
@click.option("--chain", is_flag=True, help="Keep an existing hook and run it after the new one.")
@config_option
def install(repositories: tuple[Path, ...], host: str, owner: str, chain: bool, config_file: Path) -> None:
    """Install the hook in bare repositories, or update it.

    It leaves each push in the service's spool folder. The account that git runs under must be able to write there;
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
    """Remove the hook, and restore the one that was there before."""
    from autograder.service.intake import post_receive

    for path in repositories:
        removed = post_receive.uninstall(path)
        click.echo(f"{path}: {'removed' if removed else 'the hook is not installed'}")


@hook.command()
@_repositories
@_host
@_owner
@config_option
def run(repositories: tuple[Path, ...], host: str, owner: str, config_file: Path) -> None:
    """Report the current commits of the graded branches.

    For pushes that came before the hook was installed. A commit that the ledger knows is not graded again.
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
