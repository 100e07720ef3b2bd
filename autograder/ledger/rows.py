"""What goes into the ledger and comes out of it: frozen dataclasses, names, and the life of a job. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar

from autograder.git.names import is_commit, is_host, is_ref, is_repository_path
from autograder.ledger.faults import LedgerError
from autograder.report import Report

MAX_TEXT = 2000  # characters of a reason, a why, a worker's name
_ASSIGNMENT = re.compile(r"[A-Za-z0-9_-]{1,32}")  # shorter than a commit: a job's id reads in one way only

Row = TypeVar("Row")


@dataclass(frozen=True)
class Recorded(Generic[Row]):
    """The answer of a call that may be repeated: the row, and whether this call is the one that wrote it."""

    row: Row
    new: bool


@dataclass(frozen=True, order=True)
class RepositoryName:
    """A repository on a git host, written `host/owner/name`. An owner may be nested (`group/team`).

    Raises:
        LedgerError: a part holds a character that no repository of ours has.
    """

    host: str
    owner: str
    name: str

    def __post_init__(self) -> None:
        if not is_host(self.host) or not is_repository_path(f"{self.owner}/{self.name}"):
            raise LedgerError(
                f"{f'{self.host}/{self.owner}/{self.name}'!a} is no repository: host/owner/name of letters, "
                "digits, '.', '_' and '-'"
            )

    def __str__(self) -> str:
        return f"{self.host}/{self.owner}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "RepositoryName":
        """Return the name that is written `host/owner/name`.

        Raises:
            LedgerError: `text` is no such name.
        """
        host, _, path = text.partition("/")
        owner, _, name = path.rpartition("/")
        return cls(host, owner, name)


class JobState(str, Enum):
    """Where a job is."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker has it
    FINAL = "final"  # answered; its report, if it has one, counts for ever
    SUPERSEDED = "superseded"  # a newer push of the repository took its place
    FAILED = "failed"  # our fault, or the git host's; will be tried again
    DEAD = "dead"  # tried often enough: staff must look


OPEN = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.FAILED})  # somebody still has to do something

# Where a job may go. A running job may be started again: its worker died and another took it over.
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.SUPERSEDED, JobState.DEAD}),
    JobState.RUNNING: frozenset(JobState),
    JobState.FAILED: frozenset({JobState.QUEUED, JobState.RUNNING, JobState.SUPERSEDED, JobState.DEAD}),
    JobState.DEAD: frozenset({JobState.QUEUED}),  # staff: try again
    JobState.SUPERSEDED: frozenset({JobState.QUEUED}),  # the student pushed this commit once more
    JobState.FINAL: frozenset(),
}


def job_id(repository: RepositoryName, commit: str, assignment: str, attempt: int = 1) -> str:
    """Return the one id of a job: `grade:{repository}:{commit}:{assignment}`, a regrade with `:rN` behind."""
    return f"grade:{repository}:{commit}:{assignment}" + (f":r{attempt}" if attempt > 1 else "")


@dataclass(frozen=True)
class RecordedPush:
    """A push as we received it.

    Attributes:
        received: when it reached us (UTC). This, never the commit's own date, decides lateness.
        before: what the branch was before; empty when the sender did not know.
        delivery_id: the host's id of the delivery; None for ways in that have none.
        payload_digest: sha256 of the bytes that told us, hex; empty when there were none.
    """

    id: int
    repository: RepositoryName
    ref: str
    commit: str
    before: str
    sender: str
    delivery_id: str | None
    payload_digest: str
    received: datetime


@dataclass(frozen=True)
class Job:
    """One submission to be graded for one assignment, once.

    Attributes:
        attempt: 1 for the push itself, from 2 on regrades.
        may_lower: whether this regrade counts even where it gives fewer points than the attempt before.
        tries: how often a worker has started it.
        worker: who had it last.
        started, finished: of the last try; None where it has not come to that.
    """

    id: str
    repository: RepositoryName
    commit: str
    assignment: str
    attempt: int
    may_lower: bool
    state: JobState
    reason: str
    worker: str
    tries: int
    created: datetime
    updated: datetime
    started: datetime | None
    finished: datetime | None


@dataclass(frozen=True)
class JobChange:
    """A step in the life of a job. `before` is None for the first."""

    before: JobState | None
    after: JobState
    reason: str
    worker: str
    at: datetime


@dataclass(frozen=True)
class StoredReport:
    """A report as it was recorded. `digest` is sha256 over its canonical JSON, hex."""

    id: int
    job_id: str
    report: Report
    digest: str
    recorded: datetime


@dataclass(frozen=True)
class Result:
    """What a job came to, in short."""

    job: Job
    points: int
    max_points: int
    recorded: datetime


@dataclass(frozen=True)
class FeedbackCommit:
    """A commit on the feedback branch that shows a job's result."""

    id: int
    job_id: str
    branch: str
    commit: str
    published: datetime


@dataclass(frozen=True)
class AuditLine:
    """Something that staff did: who, what, when, why, and to what."""

    id: int
    who: str
    what: str
    why: str
    subject: str
    details: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class JobHistory:
    """All there is about one job."""

    job: Job
    changes: tuple[JobChange, ...]
    report: StoredReport | None
    feedback: tuple[FeedbackCommit, ...]


@dataclass(frozen=True)
class History:
    """All there is about one repository: pushes by receive time, jobs by creation."""

    repository: RepositoryName
    pushes: tuple[RecordedPush, ...]
    jobs: tuple[JobHistory, ...]


@dataclass(frozen=True)
class Unanswered:
    """A push that has no job, or one that is still open."""

    push: RecordedPush
    jobs: tuple[Job, ...]


def checked_commit(text: str, what: str = "commit") -> str:
    """Return `text`, the full id of a commit.

    Raises:
        LedgerError: it is not 40 or 64 lower-case hex digits.
    """
    if not is_commit(text):
        raise LedgerError(f"{what} {text[:80]!a} is not a full commit id: 40 or 64 lower-case hex digits")
    return text


def checked_ref(text: str) -> str:
    """Return `text`, the full name of a ref.

    Raises:
        LedgerError: it is none.
    """
    if not is_ref(text):
        raise LedgerError(f"{text[:80]!a} is not the full name of a ref, such as refs/heads/main")
    return text


def checked_assignment(text: str) -> str:
    """Return `text`, the name of an assignment.

    Raises:
        LedgerError: it is none.
    """
    if not _ASSIGNMENT.fullmatch(text):
        raise LedgerError(f"{text[:80]!a} is no assignment: up to 32 letters, digits, '_' and '-'")
    return text


def storable(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` as every database takes it: no NUL, no lone surrogate, at most `limit` characters."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
    return text if len(text) <= limit else text[: limit - 1] + "…"
