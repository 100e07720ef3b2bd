"""Which workers are alive. Each worker renews its row in the ledger's database. A worker that stops doing so is dead,
and the others put its jobs back into the queue.

DBOS gives a worker's jobs back only to a worker that starts under the same name. This module puts back the jobs
of a worker that does not start again. The jobs of a living worker must never be put back, because two workers would
then work on one job. (Even then nothing is published twice: the ledger takes one report, and the feedback branch takes
one commit.) Therefore:

- A worker counts as dead only if the number in its row stays the same for a while. The watching worker measures that
  time with its own clock, because the clocks of machines differ.
- The time counts only while the watching worker could write to the database itself. If the database was locked or could
  not be reached, no worker could renew its row, so the watching worker starts to measure again.
"""

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime

from autograder import __version__
from autograder.errors import GraderError
from autograder.ledger import Ledger
from autograder.ledger import workers as rows
from autograder.service.jobs.queue import Entry, Queue
from autograder.service.logs import LOG, about

BEATS = 4  # renewals in the period after which a worker counts as dead


class Watch:
    """Finds the names whose value has not changed for a while. It has no clock: the caller gives the time.

    Args:
        seconds: for how long a value must not have changed.
        gap: the longest time allowed between two looks; after a longer time the watch starts again for all names.
    """

    def __init__(self, seconds: float, gap: float) -> None:
        self._seconds, self._gap = seconds, gap
        self._seen: dict[Hashable, tuple[object, float]] = {}
        self._last: float | None = None

    def look(self, now: float, values: Mapping[Hashable, object]) -> list[Hashable]:
        """Look at all values; return the names whose value has stayed the same for `seconds` or longer."""
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
    """One worker's row, and its watch over the other workers.

    Args:
        ledger: its database holds the rows.
        queue: gets the jobs of dead workers back.
        worker: the worker's name.
        origin: the machine and the folder in which the name is unique.
        queues: the queues from which the worker takes jobs.
        seconds: how long a worker may be silent before it counts as dead.
        running: returns the workflows that run in this worker.
        problems: returns what keeps this machine from grading, for the services of other machines.
        clock: returns the present moment, with a time zone. Default: the clock of the database.
        monotonic: returns the seconds of a clock that does not go back.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: Queue,
        worker: str,
        *,
        origin: str,
        queues: Sequence[str],
        seconds: float,
        running: Callable[[], frozenset[str]],
        problems: Callable[[], Sequence[str]] = tuple,
        clock: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._queue, self.worker, self._origin = ledger, queue, worker, origin
        self._queues, self._seconds, self._running = tuple(queues), seconds, running
        self._problems = problems
        self._clock, self._monotonic = clock or ledger.database.now, monotonic
        self._interval = seconds / BEATS
        self._others = Watch(seconds, 3 * self._interval)
        self._own = Watch(seconds, 3 * self._interval)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(self, wait: Callable[[float], object] = time.sleep) -> None:
        """Write the worker's row.

        Raises:
            GraderError: a living worker of another machine has the same name.
        """
        before = self._row()
        if before is not None and before.origin != self._origin:
            LOG.info(
                "another worker has this name; checking whether it is alive", extra={"worker": self.worker}
            )
            wait(self._seconds)
            after = self._row()
            if after is not None and after.beats != before.beats:
                raise GraderError(
                    f"another living worker is called {self.worker}; give this one a name of its own with --name"
                )
        rows.start(
            self._ledger.database,
            self.worker,
            origin=self._origin,
            queues=self._queues,
            version=__version__,
            now=self._clock(),
        )

    def start(self) -> None:
        """Start a thread that renews the row and watches the other workers."""
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and remove the row."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._interval)
        rows.end(self._ledger.database, self.worker)

    def turn(self) -> None:
        """Renew the row once, and look at all workers once.

        Raises:
            GraderError: a database cannot be used.
        """
        now, problems = self._clock(), self._problems()
        if not rows.beat(self._ledger.database, self.worker, now=now, problems=problems):
            LOG.warning("the others took this worker for dead; did the machine sleep?")
            self.claim(wait=lambda _seconds: None)
        running = [entry for entry in self._queue.entries() if entry.running]
        self._recover_others(running)
        self._recover_own(running)

    def _recover_others(self, running: Sequence[Entry]) -> None:
        beats: dict[Hashable, object] = {
            row.name: row.beats for row in rows.workers(self._ledger.database) if row.name != self.worker
        }
        for entry in running:  # a worker whose row is gone may still have jobs
            if entry.worker != self.worker:
                beats.setdefault(entry.worker, None)
        for who in self._others.look(self._monotonic(), beats):
            dead = str(who)
            given = self._queue.recover(dead, running)
            beat = beats[who]
            if isinstance(beat, int):
                rows.end(self._ledger.database, dead, beats=beat)
            LOG.warning("a worker is dead", extra={"dead": dead, "jobs": given})

    def _recover_own(self, running: Sequence[Entry]) -> None:
        """Put back jobs that run here according to DBOS, but do not run. A full disk can cause this."""
        lost = {
            entry.workflow: entry
            for entry in running
            if entry.worker == self.worker and entry.workflow not in self._running()
        }
        stuck = self._own.look(self._monotonic(), dict.fromkeys(lost))
        if stuck:
            given = self._queue.recover(self.worker, [lost[str(name)] for name in stuck])
            LOG.warning("jobs that were stuck here were queued again", extra={"jobs": given})

    def _row(self) -> rows.Worker | None:
        found = rows.workers(self._ledger.database)
        return next((row for row in found if row.name == self.worker), None)

    def _loop(self) -> None:
        with about(worker=self.worker):
            while not self._stop.wait(self._interval):
                try:
                    self.turn()
                except GraderError as error:
                    LOG.warning("the lease could not be renewed", extra={"reason": str(error)})
                except Exception:  # noqa: BLE001 (logged; the thread must go on)
                    LOG.exception("the lease could not be renewed")
