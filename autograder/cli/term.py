"""`autograder collect`, `similar` and `stats`: what staff do with the work of a whole course."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.opened import opened_course
from autograder.cli.options import config_option, moment_of, named, repositories_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.term.collection import Fetched, Work
    from autograder.term.similarity import Comparison, Pair, Side

_assignment = click.option("-a", "--assignment", required=True, help="The assignment.")
_jobs = click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Number of repositories that are fetched at a time.",
)


@click.command()
@_assignment
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="New or empty folder for the work.",
)
@click.option(
    "--at",
    "at",
    metavar="deadline|TIME",
    help="As if no push had come after the student's deadline, or after a time: 2026-10-12 23:59, in the zone of the "
    "course, or with an offset. Default: what counts now.",
)
@repositories_option
@_jobs
@config_option
def collect(
    assignment: str,
    to: Path,
    at: str | None,
    repositories: tuple[str, ...],
    jobs: int,
    config_file: Path,
) -> None:
    """Collect the work of every student at the commit that counts.

    Writes a folder for each student with the files under src/, as the grader reads them, and an index.csv with a row
    for each student: repository, commit, receive time, points, and why there is no work. The exit status is 1 if the
    work of somebody could not be fetched; the work of the others is there then.
    """
    from autograder.term import collection

    with opened_course(config_file) as (course, ledger):
        moment = moment_of(course, at) if at and at != "deadline" else None
        works = collection.works(
            ledger, course, assignment, named(repositories), at=moment, at_deadline=at == "deadline"
        )
        folder = collection.Folder(to, course.deadline(assignment).zone)
        written = failed = 0
        for item in _fetched(course, works, jobs):
            folder.add(item)
            written += item.submission is not None
            failed += item.failed
        nobody = [] if repositories else collection.missing(course, works)
        for person in nobody:
            folder.add_missing(person)
        index = folder.write_index()
    click.echo(f"{index}: {len(works) + len(nobody)} rows, work of {written}", err=True)
    _complain(failed)


@click.command()
@_assignment
@click.option(
    "--html",
    "html",
    type=click.Path(path_type=Path, file_okay=False),
    help="New or empty folder for a report with both sides of each pair. Open its index.html.",
)
@click.option(
    "--starter",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the starter. Default: the starter is made as autograder release makes it.",
)
@click.option(
    "--with",
    "earlier",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    help="Folder of autograder collect, for instance of an earlier term, to compare with. May be repeated.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Number of pairs to list.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@repositories_option
@_jobs
@config_option
def similar(
    assignment: str,
    html: Path | None,
    starter: Path | None,
    earlier: tuple[Path, ...],
    top: int,
    as_json: bool,
    repositories: tuple[str, ...],
    jobs: int,
    config_file: Path,
) -> None:
    """Find students whose work is similar.

    Compares the commits that count, after the starter is subtracted. Names, comments and layout do not matter. First
    come submissions with equal files, then pairs, the most similar first. This is where to look, and no verdict: look
    at both sides, in the report that --html writes.
    """
    from tqdm import tqdm

    from autograder.grading.batch import prepare
    from autograder.term import collection, similarity, similarity_pages

    if html is not None:
        prepare(html)
        if any(html.iterdir()):
            raise click.UsageError(f"{html} is not empty; name a new folder")
    with opened_course(config_file) as (course, ledger):
        given = _starter(course, assignment, starter)
        works = collection.works(ledger, course, assignment, named(repositories))
        zone = course.deadline(assignment).zone
        sides, failed = [], 0
        for item in _fetched(course, works, jobs):
            failed += item.failed
            if item.submission is not None and item.work.push is not None:
                push = item.work.push.push
                who = "; ".join(person.name for person in item.work.people if person.name)
                about = f"{push.commit[:10]}, {push.received.astimezone(zone):%Y-%m-%d %H:%M}"
                about = f"{who}, {about}" if who else about
                sides.append(similarity.Side(item.work.target.student, item.submission.files, about))
            elif item.note and not item.failed:
                click.echo(f"not compared: {item.work.target.repository}: {item.note}", err=True)
    for folder in earlier:
        sides += _earlier(folder)
    with tqdm(total=len(sides), unit="submission", leave=False, disable=None) as bar:
        found = similarity.compare(sides, given, bar.update)
    shown = found.pairs[:top]
    if html is not None:
        for name, text in similarity_pages.pages(found, shown, assignment=assignment, starter=bool(given)):
            (html / name).write_text(text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps(_plain(assignment, found, shown), indent=2, ensure_ascii=False))
    else:
        for line in _lines(found, shown):
            click.echo(line)
    if html is not None:
        click.echo(f"{html / 'index.html'}: both sides of each pair", err=True)
    click.echo("similar code is no proof of anything; look at both sides, and ask the students", err=True)
    _complain(failed)


@click.command()
@_assignment
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def stats(assignment: str, as_json: bool, config_file: Path) -> None:
    """Show how an assignment went.

    Points of all students as in the gradebook, their distribution, and how often each case passed in the reports that
    count.
    """
    from autograder.course.gradebook import gradebook
    from autograder.term import statistics

    with opened_course(config_file) as (course, ledger):
        book = gradebook(ledger, course, datetime.now(timezone.utc), assignments=[assignment], cases=True)
    found = statistics.of(book, assignment)
    if as_json:
        click.echo(json.dumps(statistics.plain(found), indent=2, ensure_ascii=False))
    else:
        for line in statistics.lines(found):
            click.echo(line)


def _starter(course: "Course", assignment: str, folder: Path | None) -> "dict[str, bytes]":
    """Return the files under src/ of the starter; empty if there is no starter."""
    from autograder.errors import SubmissionError
    from autograder.submission import PACKAGE, read_tree

    if folder is not None:
        try:
            return read_tree(folder)
        except SubmissionError as error:
            raise click.UsageError(f"--starter {folder}: {error}") from error
    if course.config.assignment(assignment).release is None:
        click.echo(
            f"{assignment} declares no release, so nothing is subtracted; name the starter with --starter DIR",
            err=True,
        )
        return {}
    from autograder.release import starter

    made = starter.build(course.config, assignment)
    return {path: content for path, content in made.files.items() if path.startswith(f"{PACKAGE}/")}


def _earlier(folder: Path) -> "Iterator[Side]":
    """Yield the work in a folder of `autograder collect`."""
    from autograder.errors import SubmissionError
    from autograder.submission import read_tree
    from autograder.term.similarity import Side

    for own in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            yield Side(f"{folder.name}/{own.name}", read_tree(own), old=True)
        except SubmissionError as error:
            click.echo(f"not compared: {own}: {error}", err=True)


def _lines(found: "Comparison", shown: "list[Pair]") -> Iterator[str]:
    def names(positions: list[int]) -> str:
        return ", ".join(found.sides[position].name for position in positions)

    for group in found.identical:
        yield f"equal   {names(group)}"
    for group in found.alike:
        yield f"alike   {names(group)}  (equal except for names, numbers, texts, comments and layout)"
    for pair in shown:
        yield f"{100 * pair.similarity:4.0f} %  {names([pair.first, pair.second])}"
    if found.untouched:
        yield f"only the starter: {names(found.untouched)}"
    for position, path, why in found.left_out:
        yield f"left out: {names([position])}: {path}, {why}"
    yield (
        f"{len(found.sides)} submissions, {len(found.pairs)} pairs with something in common; the median similarity "
        f"of all pairs is {100 * found.median:.0f} %"
    )


def _plain(assignment: str, found: "Comparison", shown: "list[Pair]") -> dict[str, object]:
    def names(positions: list[int]) -> list[str]:
        return [found.sides[position].name for position in positions]

    return {
        "assignment": assignment,
        "submissions": len(found.sides),
        "median": round(found.median, 4),
        "equal": [names(group) for group in found.identical],
        "alike": [names(group) for group in found.alike],
        "pairs": [
            {"students": names([pair.first, pair.second]), "similarity": round(pair.similarity, 4)}
            for pair in shown
        ],
        "only_the_starter": names(found.untouched),
        "left_out": [
            {"student": found.sides[position].name, "file": path, "why": why}
            for position, path, why in found.left_out
        ],
    }


def _fetched(course: "Course", works: "list[Work]", jobs: int) -> "Iterator[Fetched]":
    """Fetch the work, with a progress bar, and a line for each repository that failed."""
    from tqdm import tqdm

    from autograder.term import collection

    with tqdm(total=len(works), unit="repository", leave=False, disable=None) as bar:
        for item in collection.fetched(course, works, jobs):
            bar.update()
            if item.failed:
                bar.write(f"{item.work.target.repository}: {item.note}", file=sys.stderr)
            yield item


def _complain(failed: int) -> None:
    if failed:
        raise GraderError(f"{failed} repositories could not be fetched; see above")
