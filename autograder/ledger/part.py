"""What the parts of `Ledger` share: the database and the clock.

A part holds the methods of one subject, with their queries. Each method is one transaction. A method that writes may
be repeated: it returns what is recorded, and whether this call wrote it.
"""

from collections.abc import Callable
from datetime import datetime

from autograder.ledger.database import Database
from autograder.ledger.values import utc


class Part:
    """Methods of the ledger on one subject."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self.database = database
        self._clock = clock

    def _now(self) -> datetime:
        return utc(self._clock())
