"""A push comes in: it is recorded, its job is opened, older ones are superseded, and a worker gets to know.

Only what the ledger holds matters. A push that was recorded is never lost: where the queue cannot be reached, the
reconciler puts the job there later, under the same id.

Between students it is fair: a job waits behind those of students who have fewer in the queue, however many one
student pushes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol

from autograder.course.course import Course, Target
from autograder.errors import GraderError
from autograder.hosts.push import Push
from autograder.ledger import OPEN, Job, JobState, Ledger, RecordedPush, RepositoryName
from autograder.service.logs import LOG, about

PUSHES, REGRADES = 1_000, 1_000_000  # bands of priority: lower goes first
HEADS = "refs/heads/"

Later = Callable[[Callable[[], None]], object]


class Queue(Protocol):
    """Where jobs wait for a worker; see `queue.Queue`."""

    def enqueue(self, job: Job, queue: str, *, priority: int, delay: timedelta) -> bool:
        """Put a job there once, however often it is asked; return whether it was new. Raises a GraderError."""

    def cancel(self, job_id: str) -> None:
        """Take a job away, or end it. Raises a GraderError."""


@dataclass(frozen=True)
class Receipt:
    """What became of a push.

    Attributes:
        result: `recorded`, `known` (we were told before) or `ignored`.
        reason: why it is ignored, one line of ours.
        push: as it is recorded; None where it is ignored.
        job: that answers it; likewise, or where it is opened later.
    """

    result: Literal["recorded", "known", "ignored"]
    reason: str = ""
    push: RecordedPush | None = None
    job: Job | None = None


@dataclass(frozen=True)
class Intake:
    """Takes pushes. Safe to share between threads, and between processes by the ledger.

    Attributes:
        ledger: where they are recorded.
        course: which of them are graded.
        queue: where their jobs wait.
        wait: how long a failed job still waits for its next try.
        clock: returns the present moment, aware.
    """

    ledger: Ledger
    course: Course
    queue: Queue
    wait: Callable[[Job], timedelta] = field(default=lambda _job: timedelta(0))
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    def receive(self, push: Push, received: datetime, *, later: Later | None = None) -> Receipt:
        """Take a push that a host or a hook told us of. It is on the disk when this returns.

        Args:
            push: checked and signed.
            received: when it reached us.
            later: takes what need not be done before whoever sent the push is answered: to open its job. What it
                never does, the reconciler will. None: do it now.

        Raises:
            GraderError: it could not be recorded; whoever sent it should send it again.
        """
        repository = RepositoryName(push.host, push.owner, push.name)
        target = self.course.target(repository, push.branch)
        if target is None:
            LOG.info("push ignored", extra={"repository": str(repository), "branch": push.branch})
            return Receipt("ignored", "no assignment is configured for this repository and branch")
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
        """Take a push that nobody told us of: the branch is at a commit that we do not know."""
        LOG.warning("a push that nobody told us of", extra={"repository": str(target.repository)})
        self._take(target, commit=head, received=self.clock())

    def resume(self, push: RecordedPush) -> None:
        """Open the job of a push that was recorded when the process ended."""
        target = self.target_of(push)
        if target is not None:
            self._open(target, push, new=True)

    def revive(self, job: Job) -> None:
        """Queue a superseded job again: its commit is what the branch is at."""
        self.dispatch(self.ledger.move(job.id, JobState.QUEUED, reason="the branch is at this commit"))

    def target_of(self, push: RecordedPush) -> Target | None:
        """Return what a push is graded as, None where it is not graded any more."""
        return self.course.target(push.repository, push.ref.removeprefix(HEADS))

    def counts(self, target: Target, received: datetime) -> bool:
        """Return whether a push that was received then may change the score."""
        try:
            deadline = self.course.deadline(target.assignment)
            return deadline.decide(received, self.course.extension(target)).timing.counts
        except GraderError as error:  # a file of extensions that is wrong; the job waits for it to be mended
            LOG.error("nobody knows whether a push is late", extra={"reason": str(error)})
            return False

    def dispatch(self, job: Job) -> bool:
        """Put an open job into the queue, if it is not there; return whether it was put there now.

        A queue that cannot be reached is logged and left to the reconciler.
        """
        try:
            target = self._target(job)
            if target is None:
                raise GraderError(
                    f"{job.repository} belongs to no assignment any more; see autograder config show"
                )
            priority = self.priority(job)
            return self.queue.enqueue(job, target.queue, priority=priority, delay=self.wait(job))
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
            if new and self.counts(target, push.received):  # a late one takes nothing from one in time
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
            except GraderError as error:  # a worker that takes it finds it superseded
                LOG.warning("a job stays in the queue", extra={"job": older.id, "reason": str(error)})

    def _target(self, job: Job) -> Target | None:
        for push in reversed(self.ledger.pushes(job.repository, commit=job.commit)):
            target = self.target_of(push)
            if target is not None and target.assignment == job.assignment:
                return target
        return None

    def priority(self, job: Job) -> int:
        """Return the place in the queue: behind those who have fewer waiting; regrades behind all pushes."""
        waiting = self.ledger.jobs(states=OPEN, repository=job.repository)
        backlog = sum(other.id != job.id and other.created <= job.created for other in waiting)
        return (PUSHES if job.attempt == 1 else REGRADES) + backlog
