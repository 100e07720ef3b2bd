"""Tells staff by mail or webhook what needs them: once when it begins, and again when it ends.

    dead      a job is dead, and waits for staff
    suite     the reference failed a case, so the case was drawn again; it ends when the suite has changed, or after a
              day without another such draw
    queue     the oldest job of a queue has waited for `after_minutes`
    problem   the service has had a problem for `after_minutes`: what /readyz names

Nothing here is asked for by grading: a thread looks every half minute, and a message that cannot be sent is logged, and
tried again after `pause_minutes`. What staff were told is kept in a file, so a restart repeats nothing.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from autograder.config import Config
from autograder.errors import GraderError
from autograder.files import replace_file
from autograder.ledger import JobState, Ledger
from autograder.report import one_line
from autograder.service import channels
from autograder.service.channels import Message, Send
from autograder.service.logs import LOG
from autograder.service.service import Service

LOOK_SECONDS = 30.0
FAULT_LASTS = timedelta(days=1)
SHOWN = 20  # lines of one message
MAX_LINE = 300  # characters
FILE = "notices.json"  # among the grader's own files


@dataclass
class Told:
    """What one channel has been told.

    Attributes:
        lines: what began and was told, and has not ended: key -> line.
        at: when the last message was tried.
        failed: why it could not be sent; empty if it was.
    """

    lines: dict[str, str] = field(default_factory=dict)
    at: datetime | None = None
    failed: str = ""


class Notices:
    """Looks for what needs staff and tells them, in a thread.

    Args:
        service: what is looked at.
        senders: the channels by name; default: those of the configuration.
        clock: returns the present moment, with a time zone.
    """

    def __init__(
        self,
        service: Service,
        senders: Mapping[str, Send] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._service, self._config, self._clock = service, service.course.config, clock
        self._senders = senders
        self._after = timedelta(minutes=self._config.notices.after_minutes)
        self._pause = timedelta(minutes=self._config.notices.pause_minutes)
        self._file = self._config.state / FILE
        self._told = recall(self._file)
        self._since: dict[str, datetime] = {}  # when each problem was seen first
        self._faults = _Faults(service.ledger)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="notices", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a message that is being sent is not waited for."""
        self._stop.set()

    def _loop(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:  # noqa: BLE001 (logged; the thread must go on)
                LOG.exception("notices could not be made")

    def look(self) -> None:
        """Look once, and tell each channel what it was not told yet."""
        senders = channels.configured(self._config) if self._senders is None else self._senders
        if not senders:
            return
        now = self._clock()
        try:
            lines = self.lines(now)
        except GraderError as error:  # then /readyz and the log say so
            LOG.warning("notices could not look", extra={"reason": str(error)})
            return
        for name, send in senders.items():
            self._tell(name, send, lines, now)

    def lines(self, now: datetime) -> dict[str, str]:
        """Return what needs staff at the moment: key -> line.

        Raises:
            GraderError: the ledger or the queue cannot be read.
        """
        found = {
            f"dead {job.id}": f"{job.id} is dead: {_short(job.reason)} (autograder jobs show {job.id})"
            for job in self._service.ledger.jobs(states=[JobState.DEAD])
        }
        found |= self._faults.lines(now)
        for queue, depth in self._service.depths().items():
            if depth.oldest >= self._after.total_seconds():
                minutes = int(self._config.notices.after_minutes)
                found[f"queue {queue}"] = (
                    f"the queue {queue} waits: the oldest job was due more than {minutes} minutes ago "
                    "(autograder status)"
                )
        # a problem stays the same one if only its numbers change, such as the free space of a disk
        problems = {re.sub(r"\d+", "#", problem): problem for problem in self._service.problems()}
        self._since = {key: self._since.get(key, now) for key in problems}
        for key, problem in problems.items():
            if now - self._since[key] >= self._after:
                found[f"problem {key}"] = f"problem: {_short(problem)}"
        return found

    def _tell(self, name: str, send: Send, lines: Mapping[str, str], now: datetime) -> None:
        told = self._told.setdefault(name, Told())
        began = {key: line for key, line in lines.items() if key not in told.lines}
        ended = {key: line for key, line in told.lines.items() if key not in lines}
        if not (began or ended) or (told.at is not None and timedelta(0) <= now - told.at < self._pause):
            return
        told.at, told.failed = now, ""
        try:
            send(message(self._config, list(began.values()), list(ended.values()), now))
        except GraderError as error:
            told.failed = str(error)
            LOG.warning("a notice could not be sent", extra={"channel": name, "reason": str(error)})
        else:
            told.lines = dict(lines)
        self._keep()

    def _keep(self) -> None:
        data = {
            name: {
                "lines": told.lines,
                "at": told.at.isoformat() if told.at else None,
                "failed": told.failed,
            }
            for name, told in self._told.items()
        }
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._file, json.dumps(data, ensure_ascii=False, indent=1).encode())
        except OSError as error:  # staff may be told twice after a restart
            LOG.warning("what staff were told cannot be kept", extra={"reason": str(error)})


def message(config: Config, began: list[str], ended: list[str], at: datetime) -> Message:
    """Return the message about what began and what ended; long lists are cut."""
    counts = [f"{len(lines)} {word}" for lines, word in ((began, "new"), (ended, "ended")) if lines]
    name = one_line(config.course.name) or "autograder"
    return Message(f"{name}: {', '.join(counts) or 'a test'}", _cut(began), _cut(ended), at)


def test_message(config: Config, at: datetime) -> Message:
    """Return a message that only shows that messages arrive."""
    return message(config, ["this is a test of autograder notices --test; nothing needs you"], [], at)


def recall(file: Path) -> dict[str, Told]:
    """Return what the channels were told; empty if nobody knows."""
    found: dict[str, Told] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        for name, one in data.items():
            lines = {str(key): str(line) for key, line in one["lines"].items()}
            at = datetime.fromisoformat(one["at"]) if one["at"] else None
            found[name] = Told(lines, at if at is None or at.tzinfo else None, str(one["failed"]))
    return found


class _Faults:
    """The cases that the reference failed, as the reports say: a report names the draws that count if they differ."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read = 0  # reports up to this one
        self._newest: dict[str, str] = {}  # assignment -> digest of the suite of its newest report
        self._seen: dict[tuple[str, str, str], datetime] = {}  # assignment, digest, case -> last fault

    def lines(self, now: datetime) -> dict[str, str]:
        for report in self._ledger.draws_since(self._read, now - FAULT_LASTS):
            self._read = max(self._read, report.id)
            self._newest[report.assignment] = report.suite_digest
            for case in report.cases:
                self._seen[report.assignment, report.suite_digest, case] = report.recorded
        self._seen = {key: at for key, at in self._seen.items() if now - at < FAULT_LASTS}
        return {
            f"suite {assignment} {digest} {case}": (
                f"{assignment}: the reference failed {case} of its own suite, and the case was drawn again; see the "
                f"log of the worker, and autograder suite check {assignment}"
            )
            for assignment, digest, case in self._seen
            if self._newest[assignment] == digest
        }


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return lines[:SHOWN] + ([f"… and {more} more; see autograder status"] if more > 0 else [])


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"
