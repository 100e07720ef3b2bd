"""The ledger: the record of what was pushed and when, which jobs followed, and what they found. Grades rest on it.

The feedback branch of a student's repository is only a view of the ledger, which the student could rewrite.

The ledger only grows. A report is never updated and a score never stored: the current score is derived from what was
recorded (`scores`). Triggers of the database refuse everything else. The one exception is a job's state, which moves
along `states.TRANSITIONS`, and each move adds a row of its own.

It uses SQLAlchemy's Core, not its ORM: rows are inserted once and returned as frozen dataclasses, so a session would
have nothing to track, and each statement is visible where it runs. SQLite is the default, PostgreSQL is chosen by URL.

    faults            the errors
    states            the states of a job
    names, values     the names and values that can be stored; others are refused
    records           the dataclasses that the ledger returns
    tables            the tables, for queries
    schema            the schema's version, and how it is upgraded (`migrations`)
    database          URL, connections, inserts, meaning of the database's errors
    rows              the queries that readers start from; rows become records
    scores            which score counts; pure
    pushes, jobs, reports, feedback, candidates, history, audit
                      the methods of `Ledger`, by subject (each one is a `part`)
    store             `Ledger`, the one entry
    workers           which workers run at the moment
    maintenance       backup, restore, check
    invariants        what `check` examines
"""

from autograder.ledger.faults import Conflict, IllegalTransition, LedgerBusy, LedgerError, Unknown
from autograder.ledger.names import RepositoryName, job_id
from autograder.ledger.records import (
    AuditLine,
    FeedbackCommit,
    History,
    Job,
    JobChange,
    JobHistory,
    Recorded,
    RecordedPush,
    Result,
    StoredReport,
    UnsettledPush,
)
from autograder.ledger.scores import Cutoffs, Score, ScorePolicy
from autograder.ledger.states import ENDED, OPEN, TRANSITIONS, WAITING, JobState
from autograder.ledger.store import Ledger

__all__ = [
    "ENDED",
    "OPEN",
    "TRANSITIONS",
    "WAITING",
    "AuditLine",
    "Conflict",
    "Cutoffs",
    "FeedbackCommit",
    "History",
    "IllegalTransition",
    "Job",
    "JobChange",
    "JobHistory",
    "JobState",
    "Ledger",
    "LedgerBusy",
    "LedgerError",
    "Recorded",
    "RecordedPush",
    "RepositoryName",
    "Result",
    "Score",
    "ScorePolicy",
    "StoredReport",
    "Unknown",
    "UnsettledPush",
    "job_id",
]
