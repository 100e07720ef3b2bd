"""`autograder verify`: was a published score edited?"""

from pathlib import Path

import click

from autograder.cli.options import config_option
from autograder.errors import GraderError

EDITED = 1


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True), default=".")
@config_option
@click.pass_context
def verify(context: click.Context, path: Path, config_file: Path) -> None:
    """Tell whether a published score was edited.

    PATH is a score.json, a folder that contains one, or a repository (bare or not) with a branch score-feedback. The
    exit status is 0 if the score is as the service published it, and 1 if it was edited, has no seal, or has the seal
    of another secret.
    """
    from autograder import config
    from autograder.grading import seal

    settings = config.load(config_file)
    score, table = _published(path, settings.feedback.branch)
    found = seal.verify(score, table, settings.secret())
    if found.repository:
        points = f"{found.points} of {found.max_points} points" if found.max_points else "no score yet"
        click.echo(
            f"{found.state.value}: {found.repository} at {found.commit}, attempt {found.attempt}: "
            f"{found.assignment}, {points}"
            + ("" if table is not None else "; there is no score.md to compare")
        )
    if found.reason:
        click.echo(f"{found.state.value}: {found.reason}")
    if found.state is not seal.State.UNCHANGED:
        click.echo(
            "The ledger has the score that counts: autograder jobs list --all --repo HOST/OWNER/NAME",
            err=True,
        )
        context.exit(EDITED)


def _published(path: Path, branch: str) -> tuple[bytes, bytes | None]:
    """Return the content of score.json and, if there is one, of score.md."""
    from autograder.git import feedback
    from autograder.git.process import NotFound
    from autograder.git.remote import Remote
    from autograder.grading.seal import MAX_BYTES

    path = path.resolve()
    if (path / ".git").exists() or ((path / "objects").is_dir() and (path / "HEAD").is_file()):
        try:
            files = feedback.published(Remote("file", str(path), path.name), branch, limit=MAX_BYTES)
        except NotFound as error:
            raise GraderError(
                f"{path} has no branch {branch}: nothing was published to it, or the branch was deleted"
            ) from error
        score = files.get("score.json")
        if score is None:
            raise GraderError(f"{path}: there is no score.json on the branch {branch}")
        # None stands for a link or for a file that is too large; an empty table matches no seal.
        return score, (files["score.md"] or b"") if "score.md" in files else None
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
