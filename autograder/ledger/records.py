"""The frozen dataclasses that the ledger returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar

from autograder.ledger.names import RepositoryName
from autograder.ledger.states import JobState
from autograder.report import Report

Row = TypeVar("Row")


@dataclass(frozen=True)
class Recorded(Generic[Row]):
    """The result of a call that may be repeated: the row, and whether this call wrote it."""

    row: Row
    new: bool


class Source(str, Enum):
    """How we know when a push was received."""

    WEBHOOK = "webhook"  # the host's webhook reached us
    HOOK = "hook"  # the hook of a bare repository wrote it down
    CI = "ci"  # a CI job asked for the score
    HOST = "host"  # the host's own record of the repository, or a bare repository's reflog
    FEEDBACK = "feedback"  # our own sealed feedback
    STAFF = "staff"  # staff set it
    UNKNOWN = "unknown"  # it was found on the branch: it had been made by then


@dataclass(frozen=True)
class RecordedPush:
    """A recorded push.

    Attributes:
        received: when the push reached us (UTC). This time decides whether it is late, not the commit's date. It is the
            best that is known today, see `moves.improves`.
        source: how `received` is known.
        position: grows with each move of the branch.
        recorded: when it was written into the ledger (UTC).
        before: the commit that the branch was at before; empty when the sender did not know.
        delivery_id: the host's id of the delivery; None if the push arrived without an id.
        payload_digest: sha256 of the request that reported the push, hex; empty when there was no request.
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
    source: Source
    position: float
    recorded: datetime


@dataclass(frozen=True)
class Job:
    """One attempt to grade a submission for an assignment.

    Attributes:
        attempt: 1 for the push itself, 2 and higher for regrades.
        may_lower: whether this regrade counts even if it gives fewer points than the attempt before.
        tries: how often a worker has started it.
        worker: the last worker that had it.
        started, finished: start and end of the last try; None before they happen.
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
    """A job's move to another state. `before` is None for the first move."""

    before: JobState | None
    after: JobState
    reason: str
    worker: str
    at: datetime


@dataclass(frozen=True)
class StoredReport:
    """A recorded report. `digest` is the sha256 of its canonical JSON, hex."""

    id: int
    job_id: str
    report: Report
    digest: str
    recorded: datetime


@dataclass(frozen=True)
class GradedJob:
    """A job together with the points of its report."""

    job: Job
    points: int
    max_points: int
    recorded: datetime


@dataclass(frozen=True)
class CasePoints:
    """The points of one case in a report, and its verdict."""

    points: int
    max_points: int
    verdict: str


@dataclass(frozen=True)
class GradedTree:
    """The src/ of a commit that was graded.

    Attributes:
        tree: the digest of its files.
        points: what a report of it gave.
    """

    repository: RepositoryName
    commit: str
    tree: str
    points: int


@dataclass(frozen=True)
class Drawn:
    """A report, and the cases in it that do not count on their first draw, because the reference failed them there.

    Attributes:
        id: number of the report; a later report has a greater one.
        suite_digest: of the suite that graded; empty if the report does not have it.
        cases: their names.
    """

    id: int
    assignment: str
    suite_digest: str
    cases: tuple[str, ...]
    recorded: datetime


@dataclass(frozen=True)
class FeedbackCommit:
    """A commit on the feedback branch that shows a job's report. `shows` is the sha256 of its files, hex."""

    id: int
    job_id: str
    branch: str
    commit: str
    published: datetime
    shows: str


class AdjustmentKind(str, Enum):
    """What an adjustment does to the score of a repository."""

    POINTS = "points"  # adds points, or takes some off
    SET = "set"  # the score is this, whatever grading and lateness gave
    EXCUSE = "excuse"  # the assignment does not count for this repository
    USE = "use"  # this commit counts, whatever the score policy and the deadline say
    UNDO = "undo"  # an earlier adjustment is not in force any more


@dataclass(frozen=True)
class Adjustment:
    """What staff decided about the score of a repository.

    Attributes:
        points: how many are added (`points`), or what the score is (`set`); otherwise None.
        commit: the commit that counts (`use`); otherwise empty.
        undoes: the id of the adjustment that is undone (`undo`); otherwise None.
        who, why: who decided, and the reason, which the student reads.
        at: when it was recorded (UTC).
    """

    id: int
    repository: RepositoryName
    assignment: str
    kind: AdjustmentKind
    points: int | None
    commit: str
    undoes: int | None
    who: str
    why: str
    at: datetime


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
class Loss:
    """Something that arrived and did not become a push, see `losses`."""

    kind: str
    subject: str
    reason: str
    number: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class JobHistory:
    """Everything that is recorded about one job."""

    job: Job
    changes: tuple[JobChange, ...]
    report: StoredReport | None
    feedback: tuple[FeedbackCommit, ...]


@dataclass(frozen=True)
class History:
    """Everything that is recorded about one repository: pushes in order, jobs by creation."""

    repository: RepositoryName
    pushes: tuple[RecordedPush, ...]
    jobs: tuple[JobHistory, ...]


@dataclass(frozen=True)
class UnsettledPush:
    """A push that has no job yet or an open one, with the jobs of its commit."""

    push: RecordedPush
    jobs: tuple[Job, ...]
