"""Collects the work of every student at the commit that counts, from the hosts into a folder.

`works` asks `course.standing` which commit of each repository counts. `fetched` reads these commits as the grader reads
them: the files under `src/`, as bytes, without a checkout. `Folder` writes them, and an `index.csv` with a row for each
student, also for those whose work is missing.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from autograder.course.course import Course, Target
from autograder.course.roster import Person
from autograder.course.standing import Judged, Standing, owned, standings
from autograder.errors import GraderError, SubmissionError
from autograder.git.fetch import fetch_commit
from autograder.git.names import is_path
from autograder.git.process import NotFound
from autograder.ledger import Ledger, RepositoryName
from autograder.report import inert
from autograder.submission import Submission

INDEX = "index.csv"
COLUMNS = (
    *("student", "id", "name", "repository", "commit", "received", "receive_time_from"),
    *("points", "max_points", "folder", "note"),
)
NO_PUSH = "no push counts"
NO_REPOSITORY = "no repository has pushed"


@dataclass(frozen=True)
class Work:
    """What the repository of one student counts with.

    Attributes:
        stands: how the repository stands for its assignment.
        push: the push that counts; None if no push counts.
        note: why there is no push; empty if there is one.
        people: whose work it is, if the roster says so, and if this repository counts for them.
    """

    stands: Standing
    push: Judged | None
    note: str = ""
    people: tuple[Person, ...] = ()

    @property
    def target(self) -> Target:
        """The repository and its assignment."""
        return self.stands.target


@dataclass(frozen=True)
class Fetched:
    """The work of one student, and its files.

    Attributes:
        work: what counts.
        submission: its files; None if they could not be read.
        note: why there are no files; otherwise empty.
        failed: whether another try may bring the files.
    """

    work: Work
    submission: Submission | None
    note: str = ""
    failed: bool = False


def works(
    ledger: Ledger,
    course: Course,
    assignment: str,
    repositories: Sequence[RepositoryName] = (),
    *,
    at: datetime | None = None,
    at_deadline: bool = False,
) -> list[Work]:
    """Return what each student counts with, by the names of the students.

    While the push that counts is not graded yet, it is returned all the same.

    Args:
        ledger, course: the facts and the rules.
        assignment: the name of the assignment.
        repositories: only these; empty: all that pushed.
        at: as if no push had been received after this moment.
        at_deadline: as if no push had been received after the student's own deadline, even if late ones are accepted.

    Raises:
        ConfigError: there is no such assignment.
        GraderError: one of `repositories` did not push to the assignment, or the ledger cannot be read.
    """
    found = standings(ledger, course, assignment, at=at)
    if at_deadline:
        found = _at_deadlines(ledger, course, assignment, found)
    for name in repositories:
        if name not in found:
            raise GraderError(f"{name} did not push to {assignment}; autograder pushes list --repo {name}")
    chosen = [found[name] for name in repositories] if repositories else list(found.values())
    chosen.sort(key=lambda stands: (stands.target.student.casefold(), stands.target.repository))
    whose: dict[RepositoryName, tuple[Person, ...]] = {}
    for person, stands in owned(course.roster(), found.values())[0]:
        name = stands.target.repository
        whose[name] = (*whose.get(name, ()), person)
    return [_work(course, stands, whose.get(stands.target.repository, ())) for stands in chosen]


def _at_deadlines(
    ledger: Ledger, course: Course, assignment: str, now: Mapping[RepositoryName, Standing]
) -> dict[RepositoryName, Standing]:
    """Return the standings as they were at the deadline of each student.

    Raises:
        GraderError: the assignment has no deadline.
    """
    deadline = course.deadline(assignment)
    moments: dict[datetime, list[RepositoryName]] = {}
    for name, stands in now.items():
        closes = deadline.last(course.extension(stands.target))
        if closes is None:
            raise GraderError(f"{assignment} has no deadline; leave out --at, or name a time")
        moments.setdefault(closes + deadline.grace, []).append(name)
    if not deadline.accepted:
        return dict(now)  # no late push counts
    found: dict[RepositoryName, Standing] = {}
    for moment, names in moments.items():
        then = standings(ledger, course, assignment, at=moment)
        found |= {name: then[name] for name in names}
    return found


def missing(course: Course, found: Iterable[Work]) -> list[Person]:
    """Return the students of the roster of whom no repository has pushed."""
    roster = course.roster()
    have = {person.id for work in found for person in work.people}
    return [person for person in roster.students if person.id not in have] if roster is not None else []


def _work(course: Course, stands: Standing, people: tuple[Person, ...]) -> Work:
    if not people:
        people = tuple(person for person in course.people(stands.target) if not person.is_student)
        if others := [person.id for person in course.people(stands.target) if person.is_student]:
            return Work(stands, None, f"does not count: another repository of {', '.join(others)} does")
    if stands.open:
        return Work(stands, None, stands.open, people)
    score = stands.score
    if score is not None:
        push = stands.judged(score.push_id)
    else:
        push = next((judged for judged in reversed(stands.pushes) if judged.counts), None)
    return Work(stands, push, "" if push else stands.waits or NO_PUSH, people)


def fetched(course: Course, found: Iterable[Work], jobs: int) -> Iterator[Fetched]:
    """Fetch the files of each work, `jobs` of them at a time, and yield them in the order of `found`.

    A commit that cannot be had does not keep the others from being fetched: its note says why.
    """

    def fetch(work: Work) -> Fetched:
        if work.push is None:
            return Fetched(work, None, work.note)
        try:
            credentials = course.credentials(work.target.repository.host)
            return Fetched(
                work, fetch_commit(work.target.remote, work.push.push.commit, credentials=credentials)
            )
        except SubmissionError as error:
            return Fetched(work, None, f"cannot be read: {error}")
        except NotFound:
            return Fetched(work, None, "the repository does not hold this commit any more", failed=True)
        except GraderError as error:
            return Fetched(work, None, str(error), failed=True)

    waiting: deque[Future[Fetched]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        for work in found:
            waiting.append(pool.submit(fetch, work))
            if len(waiting) > 2 * jobs:  # so that the files of a few are in memory, not of all
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Folder:
    """The folder into which work is collected: a folder for each student, and an index.

    Args:
        path: of the folder. It is made if it does not exist.
        zone: of the times in the index.

    Raises:
        GraderError: the folder is not empty, or cannot be made.
    """

    def __init__(self, path: Path, zone: ZoneInfo) -> None:
        self.path, self._zone = path, zone
        self._taken = {INDEX}
        self._rows: list[tuple[object, ...]] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise GraderError(f"{path} is not empty; name a new folder")
        except OSError as error:
            raise GraderError(f"cannot write to {path}: {error.strerror}; name another folder") from error

    def add(self, item: Fetched) -> None:
        """Write the files of one student, and remember the row.

        Raises:
            GraderError: the files cannot be written.
        """
        work, name = item.work, ""
        if item.submission is not None:
            name = self._name(work.target)
            try:
                for file, content in item.submission.files.items():
                    path = self.path / name / file
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
            except OSError as error:
                raise GraderError(
                    f"cannot write to {self.path / name}: {error.strerror}; free disk space, or name another folder"
                ) from error
        push = work.push.push if work.push is not None else None
        result = work.stands.result
        self._rows.append(
            (
                work.target.student,
                "; ".join(person.id for person in work.people),
                "; ".join(person.name for person in work.people),
                work.target.repository,
                push.commit if push else "",
                push.received.astimezone(self._zone).isoformat(timespec="seconds") if push else "",
                push.source.value if push else "",
                "" if result.points is None else result.points,
                result.max_points or "",
                name,
                item.note,
            )
        )

    def add_missing(self, person: Person) -> None:
        """Remember the row of a student who has no repository."""
        self._rows.append(
            ("", person.id, person.name, *[""] * (len(COLUMNS) - 4), NO_REPOSITORY),
        )

    def _name(self, target: Target) -> str:
        """Return the name of a student's folder: the student's, or the repository's if the former is taken or odd."""
        repository = target.repository
        names = (target.student, repository.name, f"{repository.owner}/{repository.name}".replace("/", "--"))
        for name in names:
            if "/" not in name and is_path(name) and name.casefold() not in self._taken:
                break
        else:
            number = 2
            while f"{names[1]}-{number}".casefold() in self._taken:
                number += 1
            name = f"{names[1]}-{number}"
        self._taken.add(name.casefold())
        return name

    def write_index(self) -> Path:
        """Write the index, and return its path.

        Raises:
            GraderError: it cannot be written.
        """
        path = self.path / INDEX
        try:
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(COLUMNS)
                writer.writerows([inert(str(value)) for value in row] for row in self._rows)
        except OSError as error:
            raise GraderError(f"cannot write to {path}: {error.strerror}; free disk space") from error
        return path
