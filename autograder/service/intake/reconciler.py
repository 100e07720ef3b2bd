"""Compares the ledger with the queue, and repairs differences. Where they differ, the ledger is right.

    a push without a job                       its job is opened
    an open job that is in no queue            it is queued under the same id
    a running job that no worker has           its try failed, and it is tried again
    a push that was late, and counts now       it is graded: staff granted an extension, or moved the deadline
    a branch at a commit without a push        the webhook was lost: the push is recorded as received now
    pushes that a hook left in the spool       they are recorded
    workflows that ended long ago              they are deleted
    a disk that is nearly full                 it is logged, and /readyz reports it

Several processes may do this at the same time, because each of these repairs may be repeated.
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
from autograder.ledger import OPEN, WORKER_LOST, Job, JobState, Ledger, RepositoryName
from autograder.service.intake.extended import grade_what_counts_now
from autograder.service.intake.intake import Intake, has_ended
from autograder.service.jobs.queue import Entry, Queue
from autograder.service.logs import LOG

SPOOL_SECONDS = 0.25
REPAIR_SECONDS = 10.0
CLEAN_SECONDS = 3600.0
LOOK_SECONDS = 5.0  # between looks at the branches of two repositories: 500 repositories take 42 minutes
CLOCKS_DIFFER = timedelta(seconds=60)  # the clocks of healthy machines differ by less
RECENT = timedelta(days=2)
MIN_FREE_BYTES = 200 << 20
EXTENDED_SECONDS = (
    60.0  # a job that was decided just before a change of the extensions has ended after this time
)


@dataclass
class Reconciler:
    """Compares and repairs in two threads.

    Attributes:
        ledger, queue: what is compared.
        intake: opens jobs and queues them.
        head: returns the commit at the tip of a target's branch.
        check: returns what is wrong with a target's repository itself, a line each.
        drain: takes the pushes in the spool, and returns how many files it took.
        folders: their disks must have free space.
        patience: how long a running job may be missing in the queue before its worker counts as lost.
        keep: how long workflows that ended are kept.
        clock: returns the present moment, with a time zone.
    """

    ledger: Ledger
    queue: Queue
    intake: Intake
    head: Callable[[Target], str | None] | None = None
    check: Callable[[Target], Sequence[str]] = lambda _target: ()
    drain: Callable[[], int] = lambda: 0
    folders: Sequence[Path] = ()
    patience: timedelta = timedelta(seconds=60)
    keep: timedelta = timedelta(days=30)
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _round: list[RepositoryName] = field(default_factory=list)
    _looked_at_all: bool = False
    _extensions: object = None
    _extended: float = 0.0
    _told: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start the threads. The first comparison includes all pushes in the ledger."""
        # two threads: a slow git host must not keep the spool waiting
        for work in (self._loop, self._look_at_branches):
            self._threads.append(threading.Thread(target=work, name="reconciler", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2)

    def repair(self) -> int:
        """Compare once, and repair; return how many jobs were queued.

        Raises:
            GraderError: a database cannot be used.
        """
        self._open_missing_jobs()
        # Read the queue before the ledger. A job that is queued in between is only queued again, which changes nothing.
        known = {entry.job: entry for entry in self.queue.entries()}
        queued = 0
        for job in self.ledger.jobs(states=OPEN):
            if job.id in known:
                self._shorten(job, known[job.id])
                continue
            if job.state is JobState.RUNNING:
                # A moment in the far future was recorded by a clock that was wrong.
                if abs(self.clock() - job.updated) < self.patience:
                    continue  # the job may have started after the queue was read
                job = self.ledger.move(job.id, JobState.FAILED, reason=WORKER_LOST)
            if self.intake.dispatch(job):
                LOG.info("a job was missing in the queue", extra={"job": job.id, "state": job.state.value})
                queued += 1
        return queued

    def _shorten(self, job: Job, entry: Entry) -> None:
        """Correct the wait of a job whose next try was planned by a clock that was ahead."""
        if entry.due is None or entry.running:
            return
        wait = self.intake.wait(job)
        if entry.due - self.clock() > wait + CLOCKS_DIFFER:
            LOG.warning("a job would wait too long; was a clock wrong?", extra={"job": job.id})
            self.queue.wait_only(entry, wait)

    def clean(self) -> int:
        """Delete workflows that ended long ago; return how many.

        Raises:
            GraderError: the queue's database cannot be used.
        """
        return self.queue.delete_ended(self.clock() - self.keep)

    def look(self) -> bool:
        """Look at the branch of the next repository; return whether this found a push that was not recorded.

        Only repositories with a recorded push are looked at, and only as long as a push received now would count.

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
        if target is not None:
            self._tell(self.check(target))
        if target is None or has_ended(target):
            return False
        if not self.intake.course.counts(target, self.clock(), undecided=True):
            return False
        head = self.head(target)
        if head is None or any(push.commit == head for push in pushes):
            return False
        self.intake.notice(target, head)
        return True

    def _tell(self, problems: Sequence[str]) -> None:
        """Log what is wrong with a repository, once."""
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                LOG.error("a repository needs staff", extra={"reason": problem})

    def problems(self) -> list[str]:
        """Return a line for each folder whose disk is nearly full."""
        found = []
        for folder in self.folders:
            free = shutil.disk_usage(folder).free if folder.is_dir() else 0
            if free < MIN_FREE_BYTES:
                found.append(f"only {free >> 20} MiB are free for {folder}; delete something on that disk")
        return found

    def _open_missing_jobs(self) -> None:
        since = self.clock() - RECENT if self._looked_at_all else None
        for item in self.ledger.unsettled(since=since):
            if not item.jobs:
                self.intake.resume(item.push)
        self._looked_at_all = True

    def _loop(self) -> None:
        acts: list[tuple[Callable[[], object], float]] = [
            (self.drain, SPOOL_SECONDS),
            (self._repair, REPAIR_SECONDS),
            (self.clean, CLEAN_SECONDS),
        ]
        due = [0.0] * len(acts)
        while not self._stop.wait(SPOOL_SECONDS):
            for index, (act, seconds) in enumerate(acts):
                if time.monotonic() < due[index]:
                    continue
                try:
                    act()
                except GraderError as error:
                    LOG.warning("the reconciler failed", extra={"reason": str(error)})
                except Exception:  # noqa: BLE001 (logged; the thread must go on)
                    LOG.exception("the reconciler failed")
                due[index] = time.monotonic() + seconds

    def _look_at_branches(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except GraderError as error:
                LOG.warning("a branch could not be looked at", extra={"reason": str(error)})
            except Exception:  # noqa: BLE001 (logged; the thread must go on)
                LOG.exception("a branch could not be looked at")

    def grade_extended(self) -> int:
        """Grade the pushes that count since the extensions changed; return how many.

        Raises:
            GraderError: a database cannot be used.
        """
        now, extensions = time.monotonic(), self.intake.course.extensions()
        if extensions != self._extensions:
            self._extensions, self._extended = extensions, now
        elif now - self._extended > EXTENDED_SECONDS:
            return 0
        return grade_what_counts_now(self.intake)

    def _repair(self) -> None:
        self.repair()
        self.grade_extended()
        for problem in self.problems():
            LOG.error("a disk is nearly full", extra={"reason": problem})
