"""The base class of the parts of `Ledger`, which share the database and the clock.

A part holds the methods of one subject, with their queries. Each method is one transaction. Methods that write may be
repeated, except `audit`: they return what is recorded. Most of them also return whether this call recorded it.
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
