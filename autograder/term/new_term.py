"""A new term begins with an empty ledger and a new course secret, after the old term was archived.

`set_aside` moves what belongs to the old term into one folder, and deletes nothing. `to_do` lists what only staff can
change: dates, roster, extensions, and the names of repositories, since the service would take the repositories of the
old term for new ones.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autograder.config import Config
from autograder.course import extensions, roster
from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.ledger import Ledger, RepositoryName
from autograder.ledger.database import mask, parse_url
from autograder.ledger.maintenance import set_aside as set_database_aside
from autograder.service import notices
from autograder.term import archive

FOLDER = "before-"  # a folder of the old term's files, among the grader's own
SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """What a new term begins with.

    Attributes:
        databases: the databases on SQLite that are set aside.
        files: the other files and folders that are set aside.
        to_do: what only staff can do, a line each.
    """

    databases: tuple[Path, ...]
    files: tuple[Path, ...]
    to_do: tuple[str, ...]


def plan(settings: Config, course: Course, ledger: Ledger, now: datetime) -> Plan:
    """Return what a new term begins with. Nothing is changed.

    Raises:
        GraderError: the ledger cannot be read.
    """
    databases, to_do = [], []
    for what, url in (("ledger", settings.ledger_url()), ("jobs", course.jobs_url())):
        parsed = parse_url(url, settings.path("."))
        if parsed.drivername.startswith("sqlite"):
            databases.append(Path(str(parsed.database)))
        elif what == "ledger":
            to_do.append(f"create an empty database, and write its URL in place of {mask(url)}")
    files = [
        settings.path(settings.secret_file),
        settings.path(settings.service.staff_token_file),
        settings.state / notices.FILE,
        *(settings.state / folder for folder in (roster.KEPT_FOLDER, extensions.KEPT_FOLDER)),
        course.spool(),
    ]
    to_do += _dates(settings, course, now)
    to_do += _people(settings, course)
    to_do += _repositories(settings, course, ledger.repositories())
    return Plan(
        tuple(file for file in databases if file.exists()),
        tuple(file for file in files if file.exists()),
        tuple(to_do),
    )


def require_archived(file: Path, ledger: Ledger) -> None:
    """Require that an archive is sound, and holds everything that is in the ledger.

    Raises:
        GraderError: it does not.
    """
    broken = [item for item in archive.check(file) if not item.ok]
    if broken:
        raise GraderError(f"{file} is not sound: {broken[0].name}: {broken[0].detail}")
    with archive.opened(file) as (_, folder, _), Ledger.open(f"sqlite:///{folder / archive.LEDGER}") as copy:
        kept, recorded = copy.extent(), ledger.extent()
    differ = [name for name in recorded if kept.get(name) != recorded[name]]
    if differ:
        raise GraderError(
            f"{file} does not hold the ledger as it is now: {', '.join(differ)} differ; make the archive again: "
            f"autograder course archive --to {file} --force"
        )


def set_aside(settings: Config, found: Plan, now: datetime) -> Path:
    """Move what belongs to the old term into a folder, and return the folder. No process of the service may run.

    Raises:
        GraderError: a database is in use, or a file cannot be moved. What was moved before that is in the folder.
    """
    folder = settings.state / f"{FOLDER}{now:%Y%m%dT%H%M%SZ}"
    try:
        folder.mkdir(mode=0o700, parents=True)
        for number, file in enumerate(found.databases):
            set_database_aside(file, folder / _free(folder, file.name, number))
        for number, file in enumerate(found.files):
            shutil.move(file, folder / _free(folder, file.name, number))
    except OSError as error:
        raise GraderError(f"cannot move the files of the old term to {folder}: {error}") from error
    return folder


def _free(folder: Path, name: str, number: int) -> str:
    return f"{number}-{name}" if (folder / name).exists() else name


def _dates(settings: Config, course: Course, now: datetime) -> Iterator[str]:
    for name in settings.assignments:
        deadline = course.deadline(name)
        for key, moment in (("opens", deadline.opens), ("closes", deadline.closes)):
            if moment is not None and moment < now:
                yield f"{settings.where('assignments', name, key)}: {moment:%Y-%m-%d} is over"


def _people(settings: Config, course: Course) -> Iterator[str]:
    found = course.roster()
    if found is not None:
        yield f"{settings.path(settings.course.roster)}: replace the {len(found.people)} people of the old term"
    files = {each.extensions_file for each in settings.assignments.values() if each.extensions_file}
    for name in sorted(files):
        yield f"{settings.path(name)}: keep nothing but the first line, {','.join(extensions.COLUMNS)}"


def _repositories(settings: Config, course: Course, pushed: list[RepositoryName]) -> Iterator[str]:
    """Yield a line for each assignment whose patterns match repositories of the old term."""
    for name, assignment in settings.assignments.items():
        old = [
            repository
            for repository in pushed
            if (target := course.target(repository, assignment.branch)) is not None
            and target.assignment == name
        ]
        if old:
            more = f" and {len(old) - 1} more" if len(old) > 1 else ""
            yield (
                f"{settings.where('assignments', name, 'repositories')}: {old[0]}{more} of the old term match; name "
                "another owner or another pattern, or the service records their commits again"
            )
