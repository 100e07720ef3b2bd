"""The ledger records what was pushed and when, which jobs followed, and what they reported. All grades come from it.

The feedback branch of a student's repository only shows what the ledger holds: the student could rewrite the branch.

The ledger only grows. A report is never updated. A score is never stored: the current score is derived from what was
recorded (`scores`). Triggers of the database refuse to change or delete what was recorded. The one exception is a job's
state. It moves along `states.TRANSITIONS`, and each move adds a row of its own.

The code uses SQLAlchemy's Core, not its ORM. Rows are inserted once and returned as frozen dataclasses, so an ORM
session would have nothing to track. With Core, each statement is visible where it runs. SQLite is the default; the URL
of the ledger selects PostgreSQL.

    faults            the errors
    states            the states of a job
    names, values     the names and values that can be stored; others are refused
    records           the dataclasses that the ledger returns
    tables            the tables, for queries
    schema            the schema's version, and its upgrade (`migrations`)
    database          URL, connections, inserts, meaning of the database's errors
    rows              the queries that readers start from; rows become records
    moves             the order of a branch's moves, and which report of a push's time holds: pure functions
    scores            decides which score counts: a pure function
    pushes, own, jobs, reports, feedback, candidates, history, losses, adjustments, audit
                      the methods of `Ledger`, by subject (each module is a `part`)
    store             `Ledger`, the one entry
    workers           which workers run at the moment
    maintenance       backup, restore, check
    removal           takes the names of a student out
    invariants        what `check` examines
"""

from autograder.ledger.faults import Conflict, IllegalTransition, LedgerAway, LedgerBusy, LedgerError, Unknown
from autograder.ledger.names import RepositoryName, job_id
from autograder.ledger.records import (
    Adjustment,
    AdjustmentKind,
    AuditLine,
    CasePoints,
    FeedbackCommit,
    GradedJob,
    GradedTree,
    History,
    Job,
    JobChange,
    JobHistory,
    Loss,
    Recorded,
    RecordedPush,
    Source,
    StoredReport,
    UnsettledPush,
)
from autograder.ledger.scores import Cutoffs, Score, ScorePolicy
from autograder.ledger.states import ENDED, OPEN, TRANSITIONS, WAITING, WAITS, WORKER_LOST, JobState
from autograder.ledger.store import Ledger

__all__ = [
    "ENDED",
    "OPEN",
    "TRANSITIONS",
    "WAITING",
    "WAITS",
    "WORKER_LOST",
    "Adjustment",
    "AdjustmentKind",
    "AuditLine",
    "CasePoints",
    "Conflict",
    "Cutoffs",
    "FeedbackCommit",
    "GradedJob",
    "GradedTree",
    "History",
    "IllegalTransition",
    "Job",
    "JobChange",
    "JobHistory",
    "JobState",
    "Ledger",
    "LedgerAway",
    "LedgerBusy",
    "LedgerError",
    "Loss",
    "Recorded",
    "RecordedPush",
    "RepositoryName",
    "Score",
    "ScorePolicy",
    "Source",
    "StoredReport",
    "Unknown",
    "UnsettledPush",
    "job_id",
]
