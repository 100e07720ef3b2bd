"""Which worker slots live. Each renews its row in the ledger's database; who stops doing so is dead, and others give
what it had back to the queue.

DBOS recovers the jobs of a slot when a slot of the same name starts again, and never those of another. So it is done
here. A slot that lives must never be recovered, for then two would work on one job. (Even then nothing is published
twice: the ledger takes one report, the feedback branch one answer.) Therefore

- death is seen by a number that does not change, over a time by the watcher's own clock: clocks differ;
- only while the watcher itself could write: where the database was locked or away for a while, nobody could renew
  anything, and everybody is watched anew.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, timezone

from autograder import __version__
from autograder.errors import GraderError
from autograder.ledger import Ledger
from autograder.ledger import workers as rows
from autograder.service.jobs.queue import Entry, Queue
from autograder.service.logs import LOG, about

BEATS = 4  # renewals in the time after which a slot is taken for dead


class Watch:
    """Tells who has not changed for a while. Pure.

    Args:
        seconds: how long that is.
        gap: the longest time between two looks; after a longer one everybody is watched anew.
    """

    def __init__(self, seconds: float, gap: float) -> None:
        self._seconds, self._gap = seconds, gap
        self._seen: dict[Hashable, tuple[object, float]] = {}
        self._last: float | None = None

    def look(self, now: float, values: Mapping[Hashable, object]) -> list[Hashable]:
        """Look at everybody's value; return who has had the same for long enough."""
        if self._last is not None and now - self._last > self._gap:
            self._seen.clear()
        self._last = now
        seen = {}
        for who, value in values.items():
            before = self._seen.get(who)
            seen[who] = before if before and before[0] == value else (value, now)
        self._seen = seen
        return [who for who, (_, since) in seen.items() if now - since >= self._seconds]


class Lease:
    """One slot's row, and its look at the others.

    Args:
        ledger: in whose database the rows are.
        queue: where jobs of the dead are given back.
        executor: the slot's name.
        origin: where that is unique: machine and folder.
        queues: which it serves.
        seconds: after which a slot that is not heard of is dead.
        running: returns the workflows that run here.
        clock: returns the present moment, aware.
        monotonic: seconds of a clock that does not go back.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: Queue,
        executor: str,
        *,
        origin: str,
        queues: Sequence[str],
        seconds: float,
        running: Callable[[], frozenset[str]],
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._queue, self.executor, self._origin = ledger, queue, executor, origin
        self._queues, self._seconds, self._running = tuple(queues), seconds, running
        self._clock, self._monotonic = clock, monotonic
        self._interval = seconds / BEATS
        self._others = Watch(seconds, 3 * self._interval)
        self._own = Watch(seconds, 3 * self._interval)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(self, wait: Callable[[float], object] = time.sleep) -> None:
        """Take the slot's name.

        Raises:
            GraderError: a living worker of another machine has it.
        """
        before = self._row()
        if before is not None and before.origin != self._origin:
            LOG.info(
                "another worker had this name; waiting whether it lives", extra={"worker": self.executor}
            )
            wait(self._seconds)
            after = self._row()
            if after is not None and after.beats != before.beats:
                raise GraderError(
                    f"another worker is called {self.executor}, and lives; give this one a name of its own: --name"
                )
        rows.start(
            self._ledger.database,
            self.executor,
            origin=self._origin,
            queues=self._queues,
            version=__version__,
            now=self._clock(),
        )

    def start(self) -> None:
        """Renew the row, and watch the others, in a thread of their own."""
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and remove the row."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._interval)
        rows.end(self._ledger.database, self.executor)

    def turn(self) -> None:
        """Renew the row once, and look at the others once.

        Raises:
            GraderError: a database cannot be used.
        """
        if not rows.beat(self._ledger.database, self.executor, now=self._clock()):
            LOG.warning("this worker was taken for dead; did the machine sleep?")
            self.claim(wait=lambda _seconds: None)
        running = [entry for entry in self._queue.entries() if entry.running]
        self._recover_others(running)
        self._recover_own(running)

    def _recover_others(self, running: Sequence[Entry]) -> None:
        beats: dict[Hashable, object] = {
            row.name: row.beats for row in rows.workers(self._ledger.database) if row.name != self.executor
        }
        for entry in running:  # it may have left no row
            if entry.executor != self.executor:
                beats.setdefault(entry.executor, None)
        for who in self._others.look(self._monotonic(), beats):
            dead = str(who)
            given = self._queue.recover(dead, running)
            beat = beats[who]
            if isinstance(beat, int):
                rows.end(self._ledger.database, dead, beats=beat)
            LOG.warning("a worker is dead", extra={"dead": dead, "jobs": given})

    def _recover_own(self, running: Sequence[Entry]) -> None:
        """Give back what is said to run here and does not: the disk was full when it ended."""
        lost = {
            entry.workflow: entry
            for entry in running
            if entry.executor == self.executor and entry.workflow not in self._running()
        }
        stuck = self._own.look(self._monotonic(), dict.fromkeys(lost))
        if stuck:
            given = self._queue.recover(self.executor, [lost[str(name)] for name in stuck])
            LOG.warning("jobs were stuck here", extra={"jobs": given})

    def _row(self) -> rows.Worker | None:
        found = rows.workers(self._ledger.database)
        return next((row for row in found if row.name == self.executor), None)

    def _loop(self) -> None:
        with about(worker=self.executor):
            while not self._stop.wait(self._interval):
                try:
                    self.turn()
                except GraderError as error:
                    LOG.warning("the lease could not be renewed", extra={"reason": str(error)})
                except Exception:  # noqa: BLE001 (the thread must go on; it is in the log)
                    LOG.exception("the lease could not be renewed")
