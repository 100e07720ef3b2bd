"""`autograder grades`: the gradebook, as a table or in a file."""

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.opened import opened_course
from autograder.cli.options import config_option, moment_of
from autograder.cli.tables import aligned
from autograder.errors import GraderError
from autograder.files import replace_file

if TYPE_CHECKING:
    from autograder.course.gradebook import Gradebook

FORMATS = ("table", "csv", "xlsx", "json", "canvas", "moodle")
BY_SUFFIX = {".csv": "csv", ".xlsx": "xlsx", ".json": "json"}


@click.command()
@click.option(
    "-a", "--assignment", "assignments", multiple=True, help="Only this one. May be repeated. Default: all."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="What is printed or written. Default: what the name of --to says, or else a table.",
)
@click.option("--cases", is_flag=True, help="With the points of each case.")
@click.option(
    "--at",
    "at",
    metavar="TIME",
    help="As if no push had come later: 2026-10-12 23:59, in the zone of the course, or with an offset.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. It is replaced in one step.",
)
@config_option
def grades(
    assignments: tuple[str, ...],
    form: str | None,
    cases: bool,
    at: str | None,
    to: Path | None,
    config_file: Path,
) -> None:
    """Show or export the gradebook.

    It has one row for each student, also for those who never pushed. The table of one assignment (-a a1) has everything
    about it: points, lateness, extension, adjustments, commit, receive time and how that is known. The table of several
    has the points, with a * where lateness or staff changed what grading gave, and the total in percent by the weights
    of the assignments. CSV, JSON and xlsx have everything about all of them. canvas and moodle make the CSV that these
    systems import.
    """
    from autograder.course import gradebook_files as files
    from autograder.course.gradebook import gradebook

    form = form or (BY_SUFFIX.get(to.suffix.lower(), "") if to else "") or "table"
    if form == "xlsx" and to is None:
        raise click.UsageError("the format xlsx needs --to FILE")
    with opened_course(config_file) as (course, ledger):
        moment = moment_of(course, at) if at else None
        book = gradebook(
            ledger, course, datetime.now(timezone.utc), assignments=assignments, cases=cases, at=moment
        )
    titles = {name: course.config.assignment(name).title for name in book.assignments}
    content: bytes
    if form == "xlsx":
        content = files.xlsx(book)
    elif form == "csv":
        content = ("\ufeff" if to else "").encode() + files.csv_text(book).encode()  # the mark is for Excel
    elif form == "json":
        content = files.json_text(book).encode()
    elif form == "canvas":
        content = files.canvas(book, titles).encode()
    elif form == "moodle":
        content = files.moodle(book, titles).encode()
    else:
        content = "".join(f"{line}\n" for line in _table(book)).encode()
    if to is None:
        click.echo(content, nl=False)
    else:
        _write(to, content)
    _say(book, form, to)


def _table(book: "Gradebook") -> list[str]:
    from autograder.course import gradebook_files as files

    if len(book.assignments) == 1:
        rows = files.long_rows(book, book.assignments[0])
        numbers = {"points", "max points", "graded", "late days", "penalty", "attempt"}
        numbers.update(book.cases.get(book.assignments[0], ()))
    else:
        rows = files.short_rows(book)
        numbers = {*book.assignments, "total %"}
    right = frozenset(place for place, title in enumerate(rows[0]) if title in numbers)
    return aligned(rows, right)


def _say(book: "Gradebook", form: str, to: Path | None) -> None:
    """Say on stderr how many rows there are, and what is not in them."""
    from autograder.course.gradebook_files import left_out

    where = f"{to}: " if to else ""
    click.echo(
        f"{where}{len(book.rows)} students, {', '.join(book.assignments) or 'no assignments'}", err=True
    )
    if book.roster is not None:
        for mistake in book.roster.mistakes:
            click.echo(f"FAIL  {mistake}", err=True)
        if form in ("canvas", "moodle") and (ids := left_out(book)):
            click.echo(f"left out, since they are not in the roster: {', '.join(ids)}", err=True)


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step; it may hold grades, so only its owner may read it.

    Raises:
        GraderError: it cannot be written.
    """
    try:
        replace_file(path, content)
    except OSError as error:
        raise GraderError(f"cannot write {path}: {error.strerror or error}") from error
