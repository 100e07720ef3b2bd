"""`autograder verify`: tell whether published scores are those that the service published."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    from autograder.config import Config
    from autograder.course.course import Course
    from autograder.grading.seal import Verification
    from autograder.ledger import RepositoryName

EDITED = 1


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True), default=".")
@click.option(
    "--all", "everything", is_flag=True, help="Verify every repository that got feedback, on its host."
)
@click.option(
    "--repo",
    default="",
    metavar="HOST/OWNER/NAME",
    help="Whose score PATH is. Default: by its place or its origin.",
)
@config_option
@click.pass_context
def verify(context: click.Context, path: Path, everything: bool, repo: str, config_file: Path) -> None:
    """Tell whether a published score was edited.

    PATH is a score.json, a folder that contains one, or a repository (bare or not) with a branch score-feedback. The
    exit status is 0 if the score is as the service published it, in this repository, and is the newest in the ledger.
    Otherwise it is 1.
    """
    from autograder import config

    settings = config.load(config_file)
    bad = _verify_all(settings) if everything else _verify_one(settings, path, repo)
    if bad:
        click.echo(
            "The ledger has the score that counts: autograder jobs list --all --repo HOST/OWNER/NAME",
            err=True,
        )
        context.exit(EDITED)


def _verify_all(settings: "Config") -> bool:
    from autograder.course.course import Course
    from autograder.grading.seal import State
    from autograder.ledger import Ledger
    from autograder.service import verification

    secret = settings.secret(make=False)
    good = bad = 0
    with Ledger.open(settings.ledger_url(), folder=settings.path("."), create=False) as ledger:
        for checked in verification.verify_all(Course.of(settings), ledger, secret):
            found = checked.found
            if found is not None and found.state is State.UNCHANGED:
                good += 1
                continue
            bad += 1
            click.echo(
                f"{checked.repository}: {checked.problem}"
                if found is None
                else f"{checked.repository}: {found.state.value}: {found.reason}"
            )
    click.echo(f"{good} unchanged, {bad} not")
    return bad > 0


def _verify_one(settings: "Config", path: Path, repo: str) -> bool:
    from autograder.grading import seal

    score, table = _published(path, settings.feedback.branch)
    found = seal.verify(score, table, settings.secret(make=False))
    if found.state is seal.State.UNCHANGED:
        found = _compared(settings, found, path, repo)
    if found.repository:
        points = f"{found.points} of {found.max_points} points" if found.max_points else "no score yet"
        click.echo(
            f"{found.state.value}: {found.repository} at {found.commit}, attempt {found.attempt}: "
            f"{found.assignment}, {points}"
            + ("" if table is not None else "; there is no score.md to compare")
        )
    if found.reason:
        click.echo(f"{found.state.value}: {found.reason}")
    return found.state is not seal.State.UNCHANGED


def _compared(settings: "Config", found: "Verification", path: Path, repo: str) -> "Verification":
    """Compare with the ledger, or say why that is not possible."""
    from autograder.course.course import Course
    from autograder.ledger import Ledger, LedgerError
    from autograder.service import verification

    repository = _whose(Course.of(settings), path, repo)
    if repository is None:
        click.echo(
            f"note: whose score {path} is cannot be known; --repo HOST/OWNER/NAME compares it", err=True
        )
    elif found.repository != str(repository):  # this needs no ledger
        return verification.other_repository(found, repository)
    try:
        with Ledger.open(settings.ledger_url(), folder=settings.path("."), create=False) as ledger:
            return verification.compare(found, ledger, repository)
    except LedgerError as error:
        click.echo(f"note: not compared with the ledger: {error}", err=True)
        return found


def _whose(course: "Course", path: Path, repo: str) -> "RepositoryName | None":
    from autograder.ledger import RepositoryName
    from autograder.service import verification

    if repo:
        return RepositoryName.parse(repo)
    return verification.whose(course, path.resolve()) if _is_repository(path.resolve()) else None


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists() or ((path / "objects").is_dir() and (path / "HEAD").is_file())


def _published(path: Path, branch: str) -> tuple[bytes, bytes | None]:
    """Return the content of score.json and, if there is one, of score.md."""
    from autograder.git.process import NotFound
    from autograder.git.remote import Remote
    from autograder.service import verification

    path = path.resolve()
    if _is_repository(path):
        try:
            score, table = verification.published(Remote("file", str(path), path.name), branch)
        except NotFound as error:
            raise GraderError(
                f"{path} has no branch {branch}: nothing was published to it, or the branch was deleted"
            ) from error
        if score is None:
            raise GraderError(f"{path}: there is no score.json on the branch {branch}")
        return score, table
    file = path / "score.json" if path.is_dir() else path
    beside = file.with_name("score.md")
    try:
        return _read(file), _read(beside) if beside.is_file() else None
    except OSError as error:
        raise GraderError(f"cannot read {error.filename}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    from autograder.grading.seal import MAX_BYTES

    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
