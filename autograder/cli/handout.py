"""`autograder handout`: a repository for each student, with the starter."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option
from autograder.errors import GraderError
from autograder.sandbox.kinds import CHOICES

if TYPE_CHECKING:
    from autograder.release.starter import Starter
    from autograder.service.handout import Handed


@click.command(short_help="Make a repository with the starter for each student.")
@click.argument("assignment")
@click.argument("students", nargs=-1, metavar="[STUDENT]...")
@click.option("--all", "everybody", is_flag=True, help="All students of the roster.")
@click.option(
    "--update", is_flag=True, help="Bring the new starter to repositories that have an earlier one."
)
@click.option("--dry-run", is_flag=True, help="Change nothing, and say what would be done.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 32),
    default=4,
    show_default=True,
    help="How many repositories are worked on at a time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--sandbox",
    type=click.Choice(CHOICES),
    help="Sandbox in which a new starter is graded before it is handed out. Default: as in autograder.toml.",
)
@config_option
def handout(
    assignment: str,
    students: tuple[str, ...],
    everybody: bool,
    update: bool,
    dry_run: bool,
    jobs: int,
    as_json: bool,
    sandbox: str | None,
    config_file: Path,
) -> None:
    """Make a repository with the starter for each STUDENT.

    Each gets the right to write to it, and nobody else; the repository reports its pushes to the service; its branches
    are protected as far as the host can. What is there already stays as it is, so the command may be repeated, for
    instance for a student who enrols late. It goes on after a repository that fails, and ends with status 1.

    A STUDENT is an id, a login or a team of the roster. Without a roster it is the student's name in the names of
    repositories, which is also the login.

    \b
    autograder handout a1 --all
    autograder handout a1 ann bob
    autograder handout a1 --all --update
    """
    from autograder import config
    from autograder.cli import release
    from autograder.course.course import Course
    from autograder.ledger import Ledger
    from autograder.service import handout as work

    settings = config.load(config_file)
    course = Course.of(settings)
    settings.assignment(assignment)
    if everybody == bool(students):
        raise click.UsageError("name the students, or give --all")

    def prove(starter: "Starter", folder: Path) -> None:
        release.prove(settings, config_file, starter, folder, sandbox or settings.sandbox.kind)

    with Ledger.open(settings.ledger_url(), folder=settings.path(".")) as ledger:
        whom = work.recipients(course, assignment, students, everybody=everybody, known=ledger.repositories())
        made = work.release(
            settings,
            ledger,
            assignment,
            None if dry_run else prove,
        )
        handing = work.Handout(
            course,
            ledger,
            assignment,
            made,
            update=update,
            dry_run=dry_run,
            say=lambda line: click.echo(line, err=True),
        )
        done = []
        for number, handed in enumerate(handing.run(whom, jobs), 1):
            done.append(handed)
            _show(handed, f"{number}/{len(whom)}", dry_run, err=as_json)
    if as_json:
        click.echo(json.dumps([handed.to_json() for handed in done], indent=2, ensure_ascii=False))
    for note in handing.notes:
        click.echo(note, err=True)
    states = Counter(handed.state for handed in done)
    click.echo(
        f"{'dry run: ' if dry_run else ''}{', '.join(f'{number} {state}' for state, number in states.items())}",
        err=True,
    )
    if states["failed"]:
        raise GraderError(f"{states['failed']} of {len(done)} repositories failed; run the command again")


def _show(handed: "Handed", place: str, dry_run: bool, *, err: bool) -> None:
    name = f"{handed.recipient.repository.owner}/{handed.recipient.repository.name}"
    text = handed.error or ", ".join(handed.did) or ("nothing to do" if dry_run else "")
    click.echo(f"[{place}] {name}: {handed.state}{f': {text}' if text else ''}", err=err)
    for line in handed.missing:
        click.echo(f"[{place}] {name}: look: {line}", err=err)
