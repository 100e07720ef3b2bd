"""Results of earlier runs, by the content of all that they depend on, in the course's state folder.

Losing the file costs time and nothing else, so a file that cannot be used is left alone and nothing is kept.
"""

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

KEEP_DAYS = 60
FILE = "suite-check.sqlite"


def key(*parts: str) -> str:
    """Return the key of a result that depends on `parts` and nothing else."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Cache:
    """Results by key; a context manager."""

    def __init__(self, state: Path) -> None:
        self._file = state / FILE
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> "Cache":
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._file, timeout=10, isolation_level=None)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT, used REAL)"
            )
            database.execute("DELETE FROM results WHERE used < ?", (time.time() - KEEP_DAYS * 86400,))
            self._database = database
        except (OSError, sqlite3.Error):
            self._database = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            self._database.close()

    def get(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the values of those keys that are known."""
        found: dict[str, dict[str, Any]] = {}
        if self._database is None:
            return found
        with contextlib.suppress(sqlite3.Error, ValueError):
            for one in keys:
                row = self._database.execute("SELECT value FROM results WHERE key = ?", (one,)).fetchone()
                if row is not None:
                    found[one] = json.loads(row[0])
        return found

    def put(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep values, each under its key."""
        if self._database is None or not values:
            return
        rows = [(one, json.dumps(value), time.time()) for one, value in values.items()]
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)
            self._database.execute("COMMIT")
