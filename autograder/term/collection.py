"""Collects the work of every student at the commit that counts, from the hosts into a folder.

`works` asks `course.standing` which commit of each repository counts. `fetched` reads these commits as the grader reads
them: the files under `src/`, as bytes, without a checkout. `Folder` writes them, and an `index.csv` with a row for each
student, also for those whose work is missing.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from autograder.course.course import Course, Target
from autograder.course.standing import Judged, Standing, standings
from autograder.errors import GraderError, SubmissionError
from autograder.git.fetch import fetch_commit
from autograder.git.names import is_path
from autograder.git.process import NotFound
from autograder.ledger import Ledger, RepositoryName
from autograder.submission import Submission

INDEX = "index.csv"
COLUMNS = (
    *("student", "repository", "commit", "received", "receive_time_from", "points", "max_points"),
    *("folder", "note"),
)
NO_PUSH = "no push counts"


@dataclass(frozen=True)
class Work:
    """What the repository of one student counts with.

    Attributes:
        stands: how the repository stands for its assignment.
        push: the push that counts; None if no push counts.
        note: why there is no push; empty if there is one.
    """

    stands: Standing
    push: Judged | None
    note: str = ""

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
    ledger: Ledger, course: Course, assignment: str, repositories: Sequence[RepositoryName] = ()
) -> list[Work]:
    """Return what each student counts with, by the names of the students.

    While the push that counts is not graded yet, it is returned all the same.

    Args:
        ledger, course: the facts and the rules.
        assignment: the name of the assignment.
        repositories: only these; empty: all that pushed.

    Raises:
        ConfigError: there is no such assignment.
        GraderError: one of `repositories` did not push to the assignment, or the ledger cannot be read.
    """
    found = standings(ledger, course, assignment)
    for name in repositories:
        if name not in found:
            raise GraderError(f"{name} did not push to {assignment}; autograder pushes list --repo {name}")
    chosen = [found[name] for name in repositories] if repositories else list(found.values())
    chosen.sort(key=lambda stands: (stands.target.student.casefold(), stands.target.repository))
    return [_work(stands) for stands in chosen]


def _work(stands: Standing) -> Work:
    if stands.open:
        return Work(stands, None, stands.open)
    score = stands.score
    if score is not None:
        push = stands.judged(score.push_id)
    else:
        push = next((judged for judged in reversed(stands.pushes) if judged.counts), None)
    return Work(stands, push, "" if push else NO_PUSH)


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


def inert(text: str) -> str:
    """Return a cell's text so that no spreadsheet program takes it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
