"""Compares the ledger with the queue, and mends the difference. The ledger is right.

    a push without a job                      its job is opened
    an open job that is in no queue           it is put there, under the same id
    a job said to run that nobody has         it failed, and is tried again
    a branch at a commit that we do not know  its webhook was lost: it is taken as a push of now
    pushes that a hook left in the spool      are taken
    workflows that ended long ago             are deleted
    a disk that is nearly full                is a problem that staff see

Everything may happen twice, at once, in several processes: each act is one that may be repeated.
"""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from autograder.course.course import Target
from autograder.errors import GraderError
from autograder.ledger import OPEN, JobState, Ledger, RepositoryName
from autograder.service.intake.intake import Intake
from autograder.service.jobs.queue import Queue
from autograder.service.logs import LOG

SPOOL_SECONDS = 0.25
MEND_SECONDS = 10.0
CLEAN_SECONDS = 3600.0
LOOK_SECONDS = 5.0  # between two repositories whose branch is looked at: 500 of them in 42 minutes
RECENT = timedelta(days=2)
MIN_FREE_BYTES = 200 << 20


@dataclass
class Reconciler:
    """Mends, in a thread of its own.

    Attributes:
        ledger, queue, intake: what is compared, and who mends.
        head: returns the commit that the branch of a target is at.
        drain: takes what lies in the spool; returns how many pushes that were.
        folders: on whose disks there must be room.
        patience: how long a job may be between two places before it counts as lost.
        keep: how long workflows that ended are kept.
        clock: returns the present moment, aware.
    """

    ledger: Ledger
    queue: Queue
    intake: Intake
    head: Callable[[Target], str | None] | None = None
    drain: Callable[[], int] = lambda: 0
    folders: Sequence[Path] = ()
    patience: timedelta = timedelta(seconds=60)
    keep: timedelta = timedelta(days=30)
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _round: list[RepositoryName] = field(default_factory=list)
    _looked_at_all: bool = False

    def start(self) -> None:
        """Begin, with a look at everything."""
        for work in (
            self._loop,
            self._look_around,
        ):  # a git host that is slow must not keep the spool waiting
            self._threads.append(threading.Thread(target=work, name="reconciler", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2)

    def mend(self) -> int:
        """Compare once; return how many jobs were queued.

        Raises:
            GraderError: a database cannot be used.
        """
        self._open_missing_jobs()
        # The queue first: what comes in behind it is in the ledger, and queueing it once more changes nothing.
        known = {entry.job for entry in self.queue.entries()}
        queued = 0
        for job in self.ledger.jobs(states=OPEN):
            if job.id in known:
                continue
            if job.state is JobState.RUNNING:
                if self.clock() - job.updated < self.patience:
                    continue  # it may have begun behind our look at the queue
                job = self.ledger.move(job.id, JobState.FAILED, reason="its worker was lost")
            if self.intake.dispatch(job):
                LOG.info("queued what was missing", extra={"job": job.id, "state": job.state.value})
                queued += 1
        return queued

    def clean(self) -> int:
        """Delete the workflows that ended long ago; return how many.

        Raises:
            GraderError: the queue's database cannot be used.
        """
        return self.queue.delete_ended(self.clock() - self.keep)

    def look(self) -> bool:
        """Look at the branch of the next repository; return whether it is at a commit that we did not know.

        Only repositories that pushed before are known, and only while a push of now would count.

        Raises:
            GraderError: the git host or a database cannot be used.
        """
        if self.head is None:
            return False
        if not self._round:
            self._round = self.ledger.repositories()[::-1]
        if not self._round:
            return False
        pushes = self.ledger.pushes(self._round.pop())
        target = self.intake.target_of(pushes[-1])
        if target is None or not self.intake.counts(target, self.clock()):
            return False
        head = self.head(target)
        if head is None or any(push.commit == head for push in pushes):
            return False
        self.intake.notice(target, head)
        return True

    def problems(self) -> list[str]:
        """Return which disks are nearly full."""
        found = []
        for folder in self.folders:
            free = shutil.disk_usage(folder).free if folder.is_dir() else 0
            if free < MIN_FREE_BYTES:
                found.append(f"only {free >> 20} MiB are free for {folder}; make room")
        return found

    def _open_missing_jobs(self) -> None:
        since = self.clock() - RECENT if self._looked_at_all else None
        for item in self.ledger.unsettled(since=since):
            if not item.jobs:
                self.intake.resume(item.push)
        self._looked_at_all = True

    def _loop(self) -> None:
        due = {self._drain: 0.0, self._mend: 0.0, self._clean: 0.0}
        while not self._stop.wait(SPOOL_SECONDS):
            for act, seconds in (
                (self._drain, SPOOL_SECONDS),
                (self._mend, MEND_SECONDS),
                (self._clean, CLEAN_SECONDS),
            ):
                if time.monotonic() < due[act]:
                    continue
                try:
                    act()
                except GraderError as error:
                    LOG.warning("not reconciled", extra={"reason": str(error)})
                except Exception:  # noqa: BLE001 (the thread must go on; it is in the log)
                    LOG.exception("not reconciled")
                due[act] = time.monotonic() + seconds

    def _look_around(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except GraderError as error:
                LOG.warning("a branch could not be looked at", extra={"reason": str(error)})
            except Exception:  # noqa: BLE001 (the thread must go on; it is in the log)
                LOG.exception("a branch could not be looked at")

    def _drain(self) -> None:
        self.drain()

    def _mend(self) -> None:
        self.mend()
        for problem in self.problems():
            LOG.error("disk", extra={"reason": problem})

    def _clean(self) -> None:
        self.clean()
