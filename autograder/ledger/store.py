"""`Ledger`, the only entry to the ledger: record a push, open a job, move it, add its report, ask for scores.

Its methods are in several modules, one per subject; see `part`.
"""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

from autograder.ledger import tables
from autograder.ledger.adjustments import Adjustments
from autograder.ledger.audit import Audit
from autograder.ledger.candidates import Candidates
from autograder.ledger.database import BUSY_SECONDS, Database, parse_url
from autograder.ledger.feedback import Feedback
from autograder.ledger.history import Histories
from autograder.ledger.jobs import Jobs
from autograder.ledger.losses import Losses
from autograder.ledger.own import OwnCommits
from autograder.ledger.pushes import Pushes
from autograder.ledger.reports import Reports


class Ledger(Pushes, OwnCommits, Jobs, Reports, Feedback, Candidates, Histories, Losses, Adjustments, Audit):
    """The ledger at one URL. Threads may share one `Ledger`. A forked child may continue to use it.

    On PostgreSQL a method that writes locks the row of the repository or job that it works on.
    """

    @classmethod
    def open(
        cls,
        url: str,
        *,
        folder: Path | None = None,
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> "Ledger":
        """Open the ledger at `url`, and bring its schema up to date.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`.
            folder: a relative FILE is relative to this folder; default: the current one.
            create: create the ledger where it is missing. If False, it must exist, and its schema is left unchanged.
            busy_seconds: how long to wait for other writers of an SQLite file.
            clock: returns the current time, with a time zone.

        Raises:
            LedgerError: the ledger cannot be opened, is not a ledger, or was written by a newer autograder.
        """
        return cls(Database(parse_url(url, folder), create=create, busy_seconds=busy_seconds), clock)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def extent(self) -> dict[str, tuple[int, int]]:
        """Return how much is recorded, by table that only grows: the number of rows, and the greatest number of one.

        Of a ledger and its copy these differ once something was recorded in either.
        """
        found = {}
        with self.database.reading() as connection:
            for name in tables.ONLY_GROW:
                table = tables.metadata.tables[name]
                number = sa.func.max(next(iter(table.primary_key)))
                row = connection.execute(sa.select(sa.func.count(), number).select_from(table)).one()
                found[name] = int(row[0]), int(row[1] or 0)
        return found

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({self.database.shown})"
