"""Structured logs: one JSON object per line. Each line about a push or a job has its id.

    with about(push=push.id, job=job.id):
        LOG.info("fetched", extra={"files": 12})

Call `about` once, where the work starts. Every line that is logged inside the `with` block has these fields. Lines from
other threads have them too if the context is copied to the thread, as `asyncio.to_thread` does. No secret is ever
logged: our git and ledger modules remove secrets from their errors.
"""

import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import IO, Any

LOG = logging.getLogger("autograder.service")

_bound: ContextVar[dict[str, Any] | None] = ContextVar("bound", default=None)
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_TEXT = 4000
_SAME = 120  # characters in which two lines are the same
_REMEMBERED = 1000  # lines


@contextlib.contextmanager
def about(**facts: object) -> Iterator[None]:
    """Add `facts` to every line that is logged inside the `with` block."""
    token = _bound.set({**(_bound.get() or {}), **facts})
    try:
        yield
    finally:
        _bound.reset(token)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without the newline."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage()[:_MAX_TEXT],
            **(_bound.get() or {}),
            **{key: value for key, value in vars(record).items() if key not in _OWN},
        }
        if not record.name.startswith("autograder"):
            line["logger"] = record.name
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)[-_MAX_TEXT:]
        # ASCII only: no character of a value can break the line in two or reverse the direction of the text
        return json.dumps(line, ensure_ascii=True, default=str)


class Repeats(logging.Filter):
    """Drops a warning or an error that was logged in the same words less than `seconds` ago.

    The next one that passes says how many were dropped. So a database that is away fills no disk: the job engine alone
    logs seven warnings a second then.

    Args:
        seconds: for how long the same line is dropped.
        monotonic: returns the seconds of a clock that does not go back.
    """

    def __init__(self, seconds: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds, self._monotonic = seconds, monotonic
        self._seen: dict[
            str, tuple[float, int]
        ] = {}  # line -> when it was logged, how many were dropped since
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        extra = {key: value for key, value in vars(record).items() if key not in _OWN}
        words = record.getMessage().partition("\n")[0][:_SAME]
        line = f"{record.name} {record.levelno} {words} {sorted((_bound.get() or {}).items())} {sorted(extra.items())}"
        with self._lock:
            now = self._monotonic()
            before, dropped = self._seen.pop(line, (None, 0))
            if before is not None and now - before < self._seconds:
                self._seen[line] = before, dropped + 1
                return False
            self._seen[line] = now, 0
            while len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
        if dropped:
            record.repeated = dropped
        return True


class _Handler(logging.StreamHandler[IO[str]]):
    """Writes to a stream, and ignores the error if nobody reads the stream any more."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def set_up(level: int = logging.INFO, stream: IO[str] | None = None) -> None:
    """Send all logs of this process as lines of JSON to `stream`, by default standard error."""
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(Repeats())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("autograder").setLevel(level)
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_failed


def _thread_failed(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_type is SystemExit or arguments.exc_value is None:
        return
    error = (arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    name = arguments.thread.name if arguments.thread else "?"
    LOG.error("a thread ended with an error: %s", name, exc_info=error)
