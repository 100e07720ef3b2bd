"""`autograder collect`: what staff do with the work of a whole course."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.ledger import Ledger

_assignment = click.option("-a", "--assignment", required=True, help="The assignment.")
_repository = click.option(
    "--repo",
    "repositories",
    multiple=True,
    metavar="HOST/OWNER/NAME",
    help="Only this repository. May be repeated.",
)
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
@_repository
@_jobs
@config_option
def collect(assignment: str, to: Path, repositories: tuple[str, ...], jobs: int, config_file: Path) -> None:
    """Collect the work of every student at the commit that counts.

    Writes a folder for each student with the files under src/, as the grader reads them, and an index.csv with a row
    for each student: repository, commit, receive time, points, and why there is no work. The exit status is 1 if the
    work of somebody could not be fetched; the work of the others is there then.
    """
    from tqdm import tqdm

    from autograder.ledger import RepositoryName
    from autograder.term import collection

    names = [RepositoryName.parse(name) for name in repositories]
    with _opened(config_file) as (course, ledger):
        works = collection.works(ledger, course, assignment, names)
        folder = collection.Folder(to, course.deadline(assignment).zone)
        written = failed = 0
        for item in tqdm(
            collection.fetched(course, works, jobs),
            total=len(works),
            unit="repository",
            leave=False,
            disable=None,
        ):
            folder.add(item)
            written += item.submission is not None
            failed += item.failed
            if item.failed:
                click.echo(f"{item.work.target.repository}: {item.note}", err=True)
        index = folder.write_index()
    click.echo(f"{index}: {len(works)} students, work of {written}", err=True)
    if failed:
        raise GraderError(f"{failed} repositories could not be fetched; see above")


@contextlib.contextmanager
def _opened(config_file: Path) -> "Iterator[tuple[Course, Ledger]]":
    from autograder import config
    from autograder.course.course import Course
    from autograder.ledger import Ledger

    settings = config.load(config_file)
    with Ledger.open(settings.ledger_url(), folder=settings.path("."), create=False) as ledger:
        yield Course.of(settings), ledger
