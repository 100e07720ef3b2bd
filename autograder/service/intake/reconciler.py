"""Compares the ledger with the queue, and repairs differences. Where they differ, the ledger is right.

    a push without a job                       its job is opened
    an open job that is in no queue            it is queued under the same id
    a running job that no worker has           its try failed, and it is tried again
    a branch at another commit than recorded   the webhook was lost: the push is recorded (`Intake.notice`)
    a feedback branch that shows another score it is published again (`jobs.showing`)
    a push that counts now and has no report   its commit is graded: an extension came, a limit of pushes allows it,
                                               staff set its time or chose it
    pushes that a hook left in the spool       they are recorded
    workflows that ended long ago              they are deleted
    a disk that is nearly full                 it is logged, and /readyz reports it

Several processes may do this at the same time, because each of these repairs may be repeated.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from autograder.course.course import Target
from autograder.course.standing import dependents
from autograder.errors import GraderError
from autograder.git.names import HEADS
from autograder.ledger import OPEN, WORKER_LOST, AdjustmentKind, Job, JobState, Ledger, RepositoryName, Source
from autograder.service.intake.intake import Intake, has_ended
from autograder.service.jobs import showing
from autograder.service.jobs.queue import Entry, Queue
from autograder.service.logs import LOG

SPOOL_SECONDS = 0.25
REPAIR_SECONDS = 10.0
CLEAN_SECONDS = 3600.0
LOOK_SECONDS = 5.0  # between looks at the branches of two repositories: 500 repositories take 42 minutes
CLOCKS_DIFFER = timedelta(seconds=60)  # the clocks of healthy machines differ by less
FIRST_LOOK_SECONDS = 0.2  # in the first round, since pushes may have been lost while the service did not run
LIST_SECONDS = 600.0  # between two lists of all repositories on their hosts
SHOW_SECONDS = 1.0
GRADE_SECONDS = 60.0
MOST_PATIENCE = timedelta(hours=1)  # between two tries to publish for one repository
RECENT = timedelta(days=2)
MIN_FREE_BYTES = 200 << 20


@dataclass
class Reconciler:
    """Compares and repairs in threads of its own.

    Attributes:
        ledger, queue: what is compared.
        intake: opens jobs and queues them.
        tips: returns the commits at the tips of a target's branch and of its feedback branch; None for no branch.
        listed: returns the repositories of the course that exist on their hosts.
        check: returns what is wrong with a target's repository itself, a line each.
        drain: takes the pushes in the spool, and returns how many files it took.
        forget: removes the files of the spool that were taken long ago.
        folders: their disks must have free space.
        patience: how long a running job may be missing in the queue before its worker counts as lost.
        keep: how long workflows that ended are kept.
        clock: returns the present moment, with a time zone.
    """

    ledger: Ledger
    queue: Queue
    intake: Intake
    tips: Callable[[Target], tuple[str | None, str | None]] | None = None
    listed: Callable[[], Iterable[RepositoryName]] = lambda: ()
    check: Callable[[Target], Sequence[str]] = lambda _target: ()
    drain: Callable[[], int] = lambda: 0
    forget: Callable[[], object] = lambda: None
    folders: Sequence[Path] = ()
    patience: timedelta = timedelta(seconds=60)
    keep: timedelta = timedelta(days=30)
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _round: list[RepositoryName] = field(default_factory=list)
    _rounds: int = 0
    _shown_all: bool = False
    _list_at: float = 0.0
    _showing: dict[RepositoryName, "_Wait"] = field(default_factory=dict)
    _stale: set[RepositoryName] = field(default_factory=set)  # to look at after the rules changed
    _looked_at_all: bool = False
    _rules: object = None
    _told: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start the threads. The first comparison includes all pushes in the ledger."""
        # several threads: a slow git host must not keep the spool waiting
        for work in (self._loop, self._look_at_branches, self._show_scores):
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
        """Delete what is no longer needed: workflows that ended, files of the spool; return how many workflows.

        Raises:
            GraderError: the queue's database cannot be used.
        """
        self.forget()
        return self.queue.delete_ended(self.clock() - self.keep)

    def look(self) -> bool:
        """Look at the branches of the next repository; return whether this found a push that was not recorded.

        All repositories are looked at in turn: those with a recorded push, and those that their host lists.

        Raises:
            GraderError: the git host or a database cannot be used.
        """
        if self.tips is None:
            return False
        if not self._round:
            self._round = self._next_round()
        if not self._round:
            return False
        target = self.intake.target_at(self._round.pop())
        if target is not None:
            self._tell(self.check(target))
        if target is None or has_ended(target):
            return False
        head, shown = self.tips(target)
        pushes = self.ledger.pushes(target.repository, ref=HEADS + target.branch)
        newest = pushes[-1].commit if pushes else None
        found = head not in (None, newest) and not self.ledger.is_own(str(head))
        if found:
            self.intake.notice(target, str(head))
        for push in pushes:
            if (
                push.source is Source.UNKNOWN and push.recorded > self.clock() - RECENT
            ):  # the record may lag behind
                self.intake.redate(target, push)
        if not self.ledger.jobs(states=OPEN, repository=target.repository, limit=1) and not showing.is_shown(
            self.ledger, self.intake.course, target, shown or ""
        ):
            self._show(target)
        return found

    def show(self) -> int:
        """Publish again for repositories for which something changed since; return for how many.

        A job publishes its own feedback. This is for what happens without a job: a branch that is set back to a graded
        commit, a receive time that was learned later, an extension of a push that was graded.

        Raises:
            GraderError: the ledger cannot be read.
        """
        published = 0
        since = self.clock() - RECENT if self._shown_all else None
        happened, stale = dict(self.ledger.unanswered(since=since)), self._stale
        for repository in dict.fromkeys([*happened, *sorted(stale)]):
            wait = self._showing.setdefault(repository, _Wait())
            is_new = repository in happened and wait.done != happened[repository]
            if not (is_new or repository in stale) or time.monotonic() < wait.until:
                continue
            try:
                target = self.intake.target_at(repository)
                if target is not None:
                    # After a change of the rules all repositories are looked at, each for itself.
                    after = dependents(self.ledger, self.intake.course, target) if is_new else []
                    for each in [target, *after]:
                        if not showing.is_shown(self.ledger, self.intake.course, each):
                            published += self._show(each)
                # A job that runs now will bring its end up here.
                wait.done, wait.tries = happened.get(repository, wait.done), 0
                stale.discard(repository)
            except GraderError as error:
                wait.tries += 1
                wait.until = time.monotonic() + min(2.0**wait.tries, MOST_PATIENCE.total_seconds())
                LOG.warning(
                    "feedback could not be published again",
                    extra={"repository": str(repository), "reason": str(error)},
                )
        self._shown_all = True
        return published

    def grade_what_counts(self) -> int:
        """Grade commits that were not graded, and that count now, see `Intake.grade_what_counts`; return how many.

        This happens every minute, and at once when the extensions change.

        Raises:
            GraderError: the ledger cannot be used.
        """
        waiting = [job for job in self.ledger.ungraded() if job.reason.startswith(showing.NOT_GRADED)]
        chosen = [each for each in self.ledger.adjustments() if each.kind is AdjustmentKind.USE]
        places = [(job.repository, job.assignment) for job in waiting]
        places += [(each.repository, each.assignment) for each in chosen]
        opened = 0
        for name, assignment in dict.fromkeys(places):
            target = self.intake.target_at(name)
            if target is not None and target.assignment == assignment:
                opened += self.intake.grade_what_counts(target)
        return opened

    def _show(self, target: Target) -> bool:
        changed = showing.publish(self.ledger, self.intake.course, target)
        if changed:
            LOG.info("feedback was published again", extra={"repository": str(target.repository)})
            if self.intake.statuses is not None:
                self.intake.statuses.look_at_all(target)
        return changed

    def _next_round(self) -> list[RepositoryName]:
        self._rounds += 1
        found = dict.fromkeys(self.ledger.repositories())
        if self._list_at <= time.monotonic():
            self._list_at = time.monotonic() + LIST_SECONDS
            try:
                for name in self.listed():
                    found[self.intake.named(name)] = None
            except GraderError as error:  # the known repositories are looked at all the same
                LOG.warning("repositories could not be listed", extra={"reason": str(error)})
        return list(found)[::-1]

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
            (self.grade_what_counts, GRADE_SECONDS),
            (self.clean, CLEAN_SECONDS),
        ]
        due = [0.0] * len(acts)
        while not self._stop.wait(SPOOL_SECONDS):
            for index, (act, seconds) in enumerate(acts):
                if time.monotonic() < due[index]:
                    continue
                self._act(act, "the reconciler failed")
                due[index] = time.monotonic() + seconds

    def _look_at_branches(self) -> None:
        while not self._stop.wait(FIRST_LOOK_SECONDS if self._rounds < 2 and self._round else LOOK_SECONDS):
            self._act(self.look, "a branch could not be looked at")

    def _show_scores(self) -> None:
        while not self._stop.wait(SHOW_SECONDS):
            self._act(self.show, "the reconciler failed")

    def _act(self, act: Callable[[], object], failed: str) -> None:
        try:
            act()
        except GraderError as error:
            LOG.warning(failed, extra={"reason": str(error)})
        except Exception:  # noqa: BLE001 (logged; the thread must go on)
            LOG.exception(failed)

    def _repair(self) -> None:
        self.repair()
        course = self.intake.course
        course.refresh()
        rules = course.config.assignments, course.config.course, course.extensions(), course.roster()
        if rules != self._rules:
            self.grade_what_counts()
            if self._rules is not None:  # at the start, all repositories are looked at anyway
                self._stale = set(self.ledger.repositories())
            self._rules = rules
        for problem in self.problems():
            LOG.error("a disk is nearly full", extra={"reason": problem})


@dataclass
class _Wait:
    """When to publish again for one repository.

    Attributes:
        done: the last change after which the branch was right.
        tries, until: after failed tries, the moment of the next one, by the monotonic clock.
    """

    done: datetime | None = None
    tries: int = 0
    until: float = 0.0
