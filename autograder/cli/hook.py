"""`autograder hook`: the post-receive hook by which bare repositories of this machine report pushes to the service."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.service.intake.spool import Spool

_repositories = click.argument(
    "repositories",
    nargs=-1,
    required=True,
    metavar="REPO.git...",
    type=click.Path(path_type=Path),  # whether each is a repository is reported one by one
)
_host = click.option(
    "--host",
    default="",
    help="Name of the git host in autograder.toml. Default: inferred from the repository's path.",
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

    The hook writes each push to the service's spool folder. The account that git runs under must be able to write to
    that folder. Students must not be able to.
    """
    from autograder.service.intake import post_receive

    course, spool = _service(config_file)

    def work(path: Path) -> list[str]:
        at = post_receive.place(course, path, host=host, owner=owner)
        changed = post_receive.install(at, spool, chain=chain)
        return [
            f"{at.path}: {'installed' if changed else 'is up to date'}, as {at.repository}",
            *(f"{at.path}: {problem}" for problem in post_receive.problems(at, spool)),
        ]

    _each(repositories, work)


@hook.command()
@_repositories
def uninstall(repositories: tuple[Path, ...]) -> None:
    """Remove the hook, and end the grading of the repositories.

    The hook that was there before is restored. Pushes are not graded any more, even if the service finds them on the
    branch. Scores that are recorded stay.
    """
    from autograder.service.intake import post_receive

    def work(path: Path) -> list[str]:
        removed = post_receive.uninstall(path)
        hook = "removed" if removed else "there was no hook of its own to remove"
        return [f"{path}: {hook}; its pushes are not graded any more"]

    _each(repositories, work)


@hook.command()
@_repositories
@_host
@_owner
@config_option
def run(repositories: tuple[Path, ...], host: str, owner: str, config_file: Path) -> None:
    """Report the current commits of the graded branches.

    Use this command for pushes that were made before the hook was installed. A commit that is already in the ledger is
    not graded again.
    """
    from autograder.service.intake import post_receive

    course, spool = _service(config_file)

    def work(path: Path) -> list[str]:
        at = post_receive.place(course, path, host=host, owner=owner)
        commits = post_receive.hand_over(at, course, spool)
        return [f"{at.path}: {', '.join(commits) if commits else 'no graded branch'}"]

    _each(repositories, work)


@hook.command()
@config_option
def check(config_file: Path) -> None:
    """Name the bare repositories that need staff.

    A repository needs staff if it has no hook, if its hook was installed for another repository or spool, or if the
    accounts of git and of the service cannot both write to it. Run this as the account of the service.
    """
    from autograder.service.intake import post_receive

    found = post_receive.findings(*_service(config_file))
    for line in found:
        click.echo(f"FAIL  {line}")
    if found:
        raise GraderError(f"problems: {len(found)}; each line says what to run")
    click.echo("ok    every repository reports its pushes, and both accounts can write to it")


def _each(repositories: tuple[Path, ...], work: Callable[[Path], list[str]]) -> None:
    """Work on every repository and print what `work` returns; go on after one that fails, and say so at the end."""
    failed = 0
    for path in repositories:
        try:
            for line in work(path):
                click.echo(line)
        except GraderError as error:
            failed += 1
            click.echo(f"{path}: failed: {error}", err=True)
    if failed:
        raise GraderError(f"{failed} of {len(repositories)} repositories failed; see above")


def _service(config_file: Path) -> "tuple[Course, Spool]":
    from autograder import config
    from autograder.course.course import Course
    from autograder.service.intake.spool import Spool

    course = Course.of(config.load(config_file))
    return course, Spool(course.spool())
