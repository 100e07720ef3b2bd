"""Takes a push: records it, opens its job, supersedes older jobs, and queues the job for a worker.

A push that is recorded in the ledger is never lost. If the queue cannot be reached, the reconciler queues the job
later, under the same id.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol

from autograder.course.course import Course, Target
from autograder.errors import GraderError
from autograder.git.names import HEADS
from autograder.hosts.push import Push
from autograder.ledger import OPEN, Job, JobState, Ledger, RecordedPush, RepositoryName
from autograder.service.jobs.fairness import priority
from autograder.service.logs import LOG, about

ENDED = "autograder-ended"  # a file in a bare repository of this machine whose pushes are not graded any more
Later = Callable[[Callable[[], None]], object]


class Queue(Protocol):
    """Where jobs wait for a worker.

    This is a `queue.Queue`, or a `ci.NoQueue` where no job ever waits and DBOS is not needed.
    """

    def enqueue(self, job: Job, queue: str, *, priority: int, delay: timedelta) -> bool:
        """Put a job into the queue, unless it is there already; return whether it was put there now.

        Raises:
            GraderError: the queue cannot be used.
        """

    def cancel(self, job_id: str) -> None:
        """Take a job out of the queue, or end it if it runs.

        Raises:
            GraderError: the queue cannot be used.
        """


def has_ended(target: Target) -> bool:
    """Whether staff ended the grading of a bare repository of this machine, see `autograder hook uninstall`."""
    # `os.path.exists` raises nothing if the folder cannot be read; the job then says so
    return target.remote.protocol == "file" and os.path.exists(f"{target.remote.url}/{ENDED}")  # noqa: PTH110


@dataclass(frozen=True)
class Receipt:
    """The result of taking a push.

    Attributes:
        result: `recorded`, `known` (the push was recorded before) or `ignored`.
        reason: why the push is ignored, in one line; it never contains text from the sender.
        push: the push as it is recorded; None if it is ignored.
        job: the job of its commit; None if the push is ignored or the job is opened later.
    """

    result: Literal["recorded", "known", "ignored"]
    reason: str = ""
    push: RecordedPush | None = None
    job: Job | None = None


@dataclass(frozen=True)
class Intake:
    """Takes pushes. Threads may share it, and processes may take pushes for one ledger at the same time.

    Attributes:
        ledger: where pushes are recorded.
        course: says which pushes are graded.
        queue: where their jobs wait.
        wait: returns how long a failed job must still wait for its next try.
        clock: returns the present moment, with a time zone.
    """

    ledger: Ledger
    course: Course
    queue: Queue
    wait: Callable[[Job], timedelta] = field(default=lambda _job: timedelta(0))
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    def receive(self, push: Push, received: datetime, *, later: Later | None = None) -> Receipt:
        """Take a push from a git host or a hook. The push is on the disk when this method returns.

        Args:
            push: checked, and from an authenticated sender.
            received: when the push reached the service.
            later: takes the function that opens the job, and calls it after the sender got its response. If it never
                calls it, the reconciler opens the job. None: open the job before this method returns.

        Raises:
            GraderError: the push could not be recorded; its sender should send it again.
        """
        repository = RepositoryName(push.host, push.owner, push.name)
        target = self.course.target(repository, push.branch)
        if target is None:
            LOG.info("push ignored", extra={"repository": str(repository), "branch": push.branch})
            return Receipt("ignored", "no assignment is configured for this repository and branch")
        if has_ended(target):
            LOG.info("push ignored: grading has ended", extra={"repository": str(repository)})
            return Receipt("ignored", "grading of this repository has ended; see autograder hook install")
        return self._take(
            target,
            commit=push.commit,
            before=push.before,
            sender=push.sender,
            delivery_id=push.delivery_id or None,
            payload_digest=push.payload_digest,
            received=received,
            later=later,
        )

    def notice(self, target: Target, head: str) -> None:
        """Record a push whose webhook was lost: the branch is at `head`, but no push of that commit is recorded."""
        if has_ended(target):
            return
        LOG.warning("a push was found on the branch", extra={"repository": str(target.repository)})
        self._take(target, commit=head, received=self.clock())

    def resume(self, push: RecordedPush) -> None:
        """Open the job of a push. The process that recorded the push ended before it opened the job."""
        target = self.target_of(push)
        if target is not None:
            self._open(target, push, new=True)

    def revive(self, job: Job) -> None:
        """Queue a superseded job again, because the branch is at its commit."""
        self.dispatch(self.ledger.move(job.id, JobState.QUEUED, reason="the branch is at this commit"))

    def target_of(self, push: RecordedPush) -> Target | None:
        """Return the target of a push, None if such a push is not graded any more."""
        return self.course.target(push.repository, push.ref.removeprefix(HEADS))

    def counts(self, target: Target, received: datetime) -> bool:
        """Return whether a push that was received at the moment `received` may change the score."""
        try:
            deadline = self.course.deadline(target.assignment)
            return deadline.decide(received, self.course.extension(target)).timing.counts
        except (
            GraderError
        ) as error:  # the file of extensions has a mistake; the job waits until it is corrected
            LOG.error("cannot decide whether a push is late", extra={"reason": str(error)})
            return False

    def dispatch(self, job: Job) -> bool:
        """Put an open job into the queue, unless it is there already; return whether it was put there now.

        If the queue cannot be reached, this method logs the failure, and the reconciler tries again.
        """
        try:
            target = self._target(job)
            if target is None:
                raise GraderError(
                    f"{job.repository} belongs to no assignment any more; see autograder config show"
                )
            place = priority(self.ledger, job)
            return self.queue.enqueue(job, target.queue, priority=place, delay=self.wait(job))
        except GraderError as error:
            LOG.error("a job could not be queued", extra={"job": job.id, "reason": str(error)})
            return False

    def _take(
        self,
        target: Target,
        *,
        commit: str,
        received: datetime,
        before: str = "",
        sender: str = "",
        delivery_id: str | None = None,
        payload_digest: str = "",
        later: Later | None = None,
    ) -> Receipt:
        recorded = self.ledger.record_push(
            target.repository,
            commit=commit,
            ref=HEADS + target.branch,
            before=before,
            sender=sender,
            delivery_id=delivery_id,
            payload_digest=payload_digest,
            received=received,
        )
        receipt = Receipt("recorded" if recorded.new else "known", push=recorded.row)
        if later is not None:
            later(lambda: self._open_later(target, recorded.row, new=recorded.new))
            return receipt
        return replace(receipt, job=self._open(target, recorded.row, new=recorded.new))

    def _open_later(self, target: Target, push: RecordedPush, *, new: bool) -> None:
        try:
            self._open(target, push, new=new)
        except GraderError as error:
            LOG.warning("a job could not be opened yet", extra={"push": push.id, "reason": str(error)})

    def _open(self, target: Target, push: RecordedPush, *, new: bool) -> Job:
        with about(push=push.id):
            job = self.ledger.open_job(target.repository, push.commit, target.assignment).row
            if job.state is JobState.SUPERSEDED and new:
                job = self.ledger.move(job.id, JobState.QUEUED, reason="pushed again")
            if new and self.counts(
                target, push.received
            ):  # a late push does not supersede one that was in time
                self._supersede(job)
            if job.state in OPEN and job.state is not JobState.RUNNING:
                self.dispatch(job)
            LOG.info("push", extra={"job": job.id, "new": new, "sender": push.sender})
            return job

    def _supersede(self, job: Job) -> None:
        for older in self.ledger.supersede_older(job.id):
            LOG.info("superseded", extra={"job": older.id, "by": job.id})
            try:
                self.queue.cancel(older.id)
            except (
                GraderError
            ) as error:  # a worker that takes the job will see in the ledger that it is superseded
                LOG.warning(
                    "a superseded job could not be taken out of the queue",
                    extra={"job": older.id, "reason": str(error)},
                )

    def _target(self, job: Job) -> Target | None:
        for push in reversed(self.ledger.pushes(job.repository, commit=job.commit)):
            target = self.target_of(push)
            if target is not None and target.assignment == job.assignment:
                return target
        return None
