"""`autograder release`: make the files for students, and test them before they are handed out."""

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option
from autograder.errors import GraderError
from autograder.sandbox.kinds import CHOICES

if TYPE_CHECKING:
    from autograder.config import Config
    from autograder.release.starter import Starter


class _Assignments(click.Group):
    """A group with the commands that are added to it, and a command for each assignment."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or _starter_command(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names for the help text; the assignments are those of the default configuration."""
        from autograder import config

        try:
            settings = config.load(config.find())
        except GraderError:  # the help text must also work without a configuration
            return super().list_commands(ctx)
        assignments = [name for name, assignment in settings.assignments.items() if assignment.release]
        return [*assignments, *super().list_commands(ctx)]


@click.group(cls=_Assignments, subcommand_metavar="ASSIGNMENT|ref|image [OPTION]...")
def release() -> None:
    """Make the files for students, and test them before release.

    \b
    autograder release ASSIGNMENT --to DIR      a starter, as a new git repository
    autograder release ASSIGNMENT --update DIR  a corrected starter, for a repository that was handed out
    autograder release ref --out DIR            the closed-source reference, as a wheel
    autograder release image --save             the course's image, for run_docker.sh
    """


@release.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("dist"),
    help="Folder for the wheel. Default: dist.",
)
@click.option(
    "--for",
    "student",
    default="",
    metavar="STUDENT",
    help="Write this name as text into every Python file of the wheel, so that a copy shows whose it is.",
)
@config_option
def ref(out: Path, student: str, config_file: Path) -> None:
    """Build the closed-source reference as a wheel.

    The wheel works only with the Python version and the platform on which it was built.
    """
    from autograder import config
    from autograder.grading.batch import prepare
    from autograder.release import reference

    started = time.monotonic()
    settings = config.load(config_file)
    prepare(out)
    _say("compiling the reference, which takes a minute or two")
    wheel = reference.build(settings, out, student)
    _say(f"leaks: none; {wheel.lines} lines were looked for in every file of the wheel")
    tests = ", ".join(settings.starter.reference_tests)
    _say(
        f"{tests}: {wheel.tests} passed"
        if tests
        else "no tests compare with it: starter.reference_tests is empty"
    )
    _say(f"{wheel.path}: {wheel.path.stat().st_size / 1e6:.1f} MB, {time.monotonic() - started:.0f} s")


def _starter_command(assignment: str) -> click.Command:
    @click.command(assignment, help=f"Write the starter of {assignment}.")
    @click.option(
        "--to",
        type=click.Path(path_type=Path, file_okay=False),
        help="New or empty folder for the starter.",
    )
    @click.option(
        "--update",
        "updated",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        multiple=True,
        help="Repository that was handed out; it gets a commit with the new starter. May be given several times.",
    )
    @click.option(
        "--sandbox",
        type=click.Choice(CHOICES),
        help="Sandbox in which the starter is graded before it is handed out. Default: as in autograder.toml.",
    )
    @config_option
    def command(to: Path | None, updated: Sequence[Path], sandbox: str | None, config_file: Path) -> None:
        from autograder import config
        from autograder.release import starter

        if (to is None) == (not updated):
            raise click.UsageError("give either --to DIR or --update DIR")
        if to is not None and to.is_dir() and any(to.iterdir()):
            raise click.UsageError(
                f"{to} is not empty; give a new folder, or use --update for a repository that was handed out"
            )
        settings = config.load(config_file)
        made = starter.build(settings, assignment)
        _say(f"{assignment}: {len(made.files)} files, {sum(map(len, made.files.values())) / 1000:.0f} kB")
        if not settings.course.contact:
            _say("no contact is set, so handouts say whom to ask in general words; set contact in [course]")
        if made.carried:
            solved = ", ".join(f"{path} of {other}" for path, other in made.carried.items())
            _say(f"solved, because its code needs them: {solved}")
        _make(settings, config_file, made, to, updated, sandbox or settings.sandbox.kind)

    return command


def _make(
    settings: "Config",
    config_file: Path,
    made: "Starter",
    to: Path | None,
    updated: Sequence[Path],
    sandbox: str,
) -> None:
    from autograder.grading.batch import prepare
    from autograder.release import repository

    # the starter is made in the parent folder of its target, so that the last step is one rename
    parent = to.resolve().parent if to is not None else None
    if parent is not None:
        prepare(parent)
    with tempfile.TemporaryDirectory(prefix=".autograder-release-", dir=parent) as name:
        folder = Path(name) / "starter"
        folder.mkdir()
        commit = repository.create(folder, made)
        _prove(settings, config_file, made, folder, sandbox)
        if to is not None:
            if to.is_dir():
                to.rmdir()
            os.replace(folder, to)  # noqa: PTH105 (it moves a folder, not a file)
            _say(f"{to}: commit {commit}")
        _ours(settings, commit, f"starter of {made.assignment}")
    failed = 0
    for handed_out in updated:
        try:
            result = repository.update(handed_out, made)
        except (GraderError, OSError) as error:
            failed += 1
            _say(f"{handed_out}: failed: {error}")
            continue
        if result.commit is None:
            _say(f"{handed_out}: nothing to update")
        else:
            _say(f"{handed_out}: commit {result.commit}: {', '.join(result.replaced)}")
            _ours(settings, result.commit, f"update of the starter of {made.assignment}")
        if result.kept:
            _say(f"{handed_out}: left as the student has them: {', '.join(result.kept)}")
    if failed:
        raise GraderError(f"{failed} of {len(updated)} repositories were not updated; see above")


def _ours(settings: "Config", commit: str, what: str) -> None:
    """Record in the ledger that we made a commit, so that it is not graded. Without a ledger, say how."""
    from autograder.ledger import Ledger

    try:
        with Ledger.open(settings.ledger_url(), folder=settings.path(".")) as ledger:
            ledger.add_own_commit(commit, what)
    except GraderError as error:
        _say(f"{error}")
        _say(
            f"not recorded as ours; run this where the service runs: autograder ledger own {commit} --what '{what}'"
        )


def _prove(settings: "Config", config_file: Path, made: "Starter", folder: Path, sandbox: str) -> None:
    from autograder.release import proof, repository, starter

    started = time.monotonic()
    problems = starter.Problems()
    with problems.collected():
        lines = proof.nothing_leaks(settings, made, repository.contents(folder))
        _say(f"leaks: none; {lines} lines were looked for in every file and every git object")
    with tempfile.TemporaryDirectory(prefix="autograder-release-") as name:
        checkout = Path(name) / "checkout"  # a copy, so that nothing that the tests write is handed out
        shutil.copytree(folder, checkout, ignore=shutil.ignore_patterns(".git"))
        with problems.collected():
            seen = proof.visible_tests(settings, made, checkout)
            counts = ", ".join(f"{number} {state}" for state, number in sorted(seen.items()))
            _say(f"{', '.join(made.tests)}: {counts}" if made.tests else "there are no visible tests")
        with problems.collected():
            report = proof.scores(settings, config_file, made, checkout, sandbox=sandbox)
            most = report.max_points
            _say(f"scores: reference {most} / {most}, starter {report.points} / {most}")
    problems.refuse()
    _say(f"proven in {time.monotonic() - started:.0f} s")


def _say(line: str) -> None:
    click.echo(line, err=True)


prove = _prove  # autograder handout proves a new starter in the same way
