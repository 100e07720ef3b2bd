"""The ledger: the truth about grades. What was pushed when, which jobs came of it, what they found.

The feedback branch of a student's repository is only a view of it, which the student could rewrite.

It only grows. A report is never updated and a score never stored: the current score is derived from what was
recorded (`scores`). The database refuses anything else by itself, with triggers; of a job alone the state may
change, along `rows.TRANSITIONS`, and each change leaves a row of its own.

SQLAlchemy's Core, not its ORM: rows go in once and come out as frozen dataclasses, so there is nothing for a
session to track, and each statement stands where it is sent. SQLite by default, PostgreSQL by URL.

    rows, faults      what goes in and comes out, and what is raised; no I/O
    tables            the tables, for queries
    database          URL, connections, schema (`migrations`), meaning of errors
    scores            which score counts; pure
    store             the API: `Ledger`
    workers           who works at the moment
    maintenance       backup, restore, check
"""

from autograder.ledger.faults import Conflict, IllegalTransition, LedgerBusy, LedgerError, Unknown
from autograder.ledger.rows import (
    OPEN,
    TRANSITIONS,
    AuditLine,
    FeedbackCommit,
    History,
    Job,
    JobChange,
    JobHistory,
    JobState,
    Recorded,
    RecordedPush,
    RepositoryName,
    Result,
    StoredReport,
    Unanswered,
    job_id,
)
from autograder.ledger.scores import Cutoffs, Score, ScorePolicy
from autograder.ledger.store import Ledger

__all__ = [
    "OPEN",
    "TRANSITIONS",
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
    "Unanswered",
    "Unknown",
    "job_id",
]
