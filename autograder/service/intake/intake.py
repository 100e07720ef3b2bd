"""Takes a push: records it, opens its job, supersedes older jobs, and queues the job for a worker.

A push that nobody reported is found on the branch. Its time is then the one in the host's own record, or in our own
sealed feedback. If neither has it, the time is unknown: the push is graded and counts, and staff are told.

A push that is recorded in the ledger is never lost. If the queue cannot be reached, the reconciler queues the job
later, under the same id.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Literal, Protocol

from autograder.course.course import Course, Target
from autograder.course.standing import counts, replaces, standing
from autograder.errors import GraderError
from autograder.git import feedback
from autograder.git.fetch import branch_head
from autograder.git.names import HEADS, is_branch
from autograder.grading import seal
from autograder.hosts.push import Move, Push
from autograder.ledger import OPEN, Job, JobState, Ledger, RecordedPush, RepositoryName, ScorePolicy, Source
from autograder.report import one_line
from autograder.service.jobs import showing
from autograder.service.jobs.fairness import priority
from autograder.service.jobs.statuses import Statuses
from autograder.service.logs import LOG, about

ENDED = "autograder-ended"  # a file in a bare repository of this machine whose pushes are not graded any more
ENDED_REASON = "grading of this repository has ended; see autograder hook install"
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
        supersedes: whether a push that counts ends the waiting jobs of older pushes.
        statuses: tells the git host how a commit stands; None: nobody does.
        clock: returns the present moment, with a time zone.
    """

    ledger: Ledger
    course: Course
    queue: Queue
    wait: Callable[[Job], timedelta] = field(default=lambda _job: timedelta(0))
    supersedes: bool = True
    statuses: Statuses | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    def receive(
        self,
        push: Push,
        received: datetime,
        *,
        source: Source = Source.WEBHOOK,
        later: Later | None = None,
    ) -> Receipt:
        """Take a push from a git host or a hook. The push is on the disk when this method returns.

        Args:
            push: checked, and from an authenticated sender.
            received: when the push reached the service.
            source: who says so.
            later: takes the function that opens the job, and calls it after the sender got its response. If it never
                calls it, the reconciler opens the job. None: open the job before this method returns.

        Raises:
            GraderError: the push could not be recorded; its sender should send it again.
        """
        repository = self.named(RepositoryName(push.host, push.owner, push.name))
        target = self.course.target(repository, push.branch)
        if target is None:
            return self._ignored(repository, push)
        if has_ended(target):
            LOG.info("push ignored: grading has ended", extra={"repository": str(repository)})
            return Receipt("ignored", ENDED_REASON)
        if not push.before:  # somebody reports where the branch is, not that it moved now
            return self.notice(target, push.commit)
        return self._take(
            target,
            commit=push.commit,
            before=push.before,
            sender=push.sender,
            delivery_id=push.delivery_id or None,
            payload_digest=push.payload_digest,
            received=received,
            source=source,
            later=later,
        )

    def named(self, repository: RepositoryName) -> RepositoryName:
        """Return the name under which a repository is recorded. Most hosts ignore upper and lower case."""
        return (
            self.ledger.recorded_name(repository) if self.course.folds_case(repository.host) else repository
        )

    def _ignored(self, repository: RepositoryName, push: Push) -> Receipt:
        """Count a push that no assignment grades, and say what the student or the staff can do."""
        LOG.info("push ignored", extra={"repository": str(repository), "branch": push.branch})
        graded, ours = self.course.graded_branch(repository), self.course.feedback.branch
        branch = push.branch if is_branch(push.branch) else ascii(one_line(push.branch)[:60])
        if graded is None:
            reason = "no assignment has this repository; see repositories in autograder.toml"
            self.ledger.add_loss("delivery", str(repository), reason)
        elif push.branch.startswith(f"{ours}/"):
            reason = f"the branch {branch} keeps {ours} from being made; delete it on the git host"
            self.ledger.add_loss("feedback branch", str(repository), reason)
        elif push.branch != ours:
            reason = f"pushed to {branch}, and only {graded} is graded"
            self.ledger.add_loss("branch", str(repository), reason)
        return Receipt("ignored", "no assignment is configured for this repository and branch")

    def notice(self, target: Target, head: str) -> Receipt:
        """Record the pushes that nobody reported: the branch is at `head`, but the newest recorded push is another.

        The host's own record says which pushes there were, and when. If the record lacks the push, our own sealed
        feedback may name its time; if not, the time is unknown.

        Raises:
            GraderError: the ledger cannot be read or written.
        """
        if has_ended(target):
            return Receipt("ignored", ENDED_REASON)
        self.read_record(target)
        pushes = self.ledger.pushes(target.repository, ref=HEADS + target.branch)
        if pushes and pushes[-1].commit == head:
            push = pushes[-1]
            if push.source is Source.UNKNOWN:
                push = self._dated(target, push)
            return Receipt("known", push=push)
        LOG.warning("a push was found on the branch", extra={"repository": str(target.repository)})
        # What the feedback says of a commit that is recorded is about its earlier push.
        known = {push.commit for push in pushes}
        sealed = {commit: at for commit, at in self._sealed(target).items() if commit not in known}
        for commit, received in sorted(sealed.items(), key=lambda item: item[1]):
            if commit != head:  # pushed over since; the ledger has lost it
                self._take(target, commit=commit, received=received, source=Source.FEEDBACK, head=commit)
        return self._take(
            target,
            commit=head,
            received=sealed.get(head, self.clock()),
            source=Source.FEEDBACK if head in sealed else Source.UNKNOWN,
            head=head,
        )

    def redate(self, target: Target, push: RecordedPush) -> None:
        """Look once more for the time of a push whose time is unknown.

        Raises:
            GraderError: the ledger cannot be read or written.
        """
        self.read_record(target)
        self._dated(target, self.ledger.push(push.id))

    def _dated(self, target: Target, push: RecordedPush) -> RecordedPush:
        pushes = self.ledger.pushes(target.repository, commit=push.commit)
        if push.source is not Source.UNKNOWN or len(pushes) > 1:
            return push
        sealed = self._sealed(target).get(push.commit)
        if sealed is None:
            return push
        return self.ledger.set_received(push.id, sealed, source=Source.FEEDBACK)

    def read_record(self, target: Target) -> None:
        """Record the moves in the host's record that are not recorded, and take their times for those that are.

        A record that cannot be read is logged, and changes nothing.

        Raises:
            GraderError: the ledger cannot be read or written.
        """
        try:
            moves = self.course.record(target)
        except GraderError as error:
            LOG.warning("a host's record of pushes could not be read", extra={"reason": str(error)})
            return
        known = self.ledger.pushes(target.repository, ref=HEADS + target.branch)
        missing: list[Move] = []
        for move in reversed(moves):
            same = [
                push
                for push in known
                if push.commit == move.after
                and (not push.before or not move.before or push.before == move.before)
            ]
            if not same:
                missing.append(move)
                continue
            known.remove(same[-1])
            if same[-1].source is Source.UNKNOWN:
                self.ledger.set_received(same[-1].id, move.at, source=Source.HOST)
        for move in reversed(missing):
            self._take(
                target,
                commit=move.after,
                before=move.before,
                received=move.at,
                source=Source.HOST,
                head=move.after,
            )

    def _sealed(self, target: Target) -> dict[str, datetime]:
        """Return commit -> receive time, as our own sealed feedback on the branch says."""
        name = str(target.repository)
        secret = self.course.config.secret()
        found: dict[str, datetime] = {}
        try:
            history = feedback.history(
                target.remote,
                self.course.feedback.branch,
                limit=seal.MAX_BYTES,
                credentials=self.course.credentials(target.repository.host),
            )
        except GraderError as error:
            LOG.warning("the feedback branch could not be read", extra={"reason": str(error)})
            return {}
        for content in history:
            read = seal.verify(content, None, secret)
            if (
                read.state is seal.State.UNCHANGED
                and read.received
                and read.repository.lower() == name.lower()
            ):
                found[read.commit] = min(read.received, found.get(read.commit, read.received))
        return found

    def resume(self, push: RecordedPush) -> None:
        """Open the job of a push. The process that recorded the push ended before it opened the job."""
        target = self.target_of(push)
        if target is not None:
            self._open(target, push, new=True)

    def grade_again(self, job: Job, reason: str) -> Job:
        """Open the next attempt for a job that is final without a report, because its push counts after all.

        Raises:
            GraderError: the ledger cannot be written.
        """
        again = self.ledger.open_job(
            job.repository, job.commit, job.assignment, attempt=job.attempt + 1, reason=reason
        ).row
        self.dispatch(again)
        return again

    def grade_what_counts(self, target: Target) -> int:
        """Grade the commits of a repository that were not graded, and that count now; return how many.

        They were late or over a limit of pushes, or staff decided that one of them counts.

        Raises:
            GraderError: the ledger cannot be read or written.
        """
        stands = standing(self.ledger, self.course, target)
        jobs = self.ledger.jobs(repository=target.repository, assignment=target.assignment)
        last = {job.commit: job for job in sorted(jobs, key=lambda job: job.attempt)}
        opened = 0
        for commit in stands.due(self.clock()):
            job = last.get(commit)
            if job is None:
                continue
            if job.state is JobState.SUPERSEDED and commit == stands.chosen_by_staff:
                self.revive(job)
            elif job.state is JobState.FINAL and job.reason.startswith(showing.NOT_GRADED):
                self.grade_again(job, "its push counts now")
            else:
                continue
            opened += 1
        return opened

    def revive(self, job: Job) -> None:
        """Queue a superseded job again, because the branch is at its commit."""
        self.dispatch(self.ledger.move(job.id, JobState.QUEUED, reason="the branch is at this commit"))

    def target_at(self, repository: RepositoryName) -> Target | None:
        """Return the target of a repository's graded branch, None if the repository belongs to no assignment."""
        branch = self.course.graded_branch(repository)
        return None if branch is None else self.course.target(repository, branch)

    def target_of(self, push: RecordedPush) -> Target | None:
        """Return the target of a push, None if such a push is not graded any more."""
        return self.course.target(push.repository, push.ref.removeprefix(HEADS))

    def waits(self, job: Job) -> bool:
        """Return whether a job must wait for staff, because a mistake in the extensions may make its push late."""
        found = False
        for push in self.ledger.pushes(job.repository, commit=job.commit):
            target = self.target_of(push)
            if target is None or target.assignment != job.assignment:
                continue
            if counts(self.course, target, push):
                return False
            found = found or counts(self.course, target, push, undecided=True)
        return found

    def dispatch(self, job: Job) -> bool:
        """Put an open job into the queue, unless it is there already; return whether it was put there now.

        A job that waits for a correction of the extensions is left out, see `waits`. If the queue cannot be reached,
        this method logs the failure, and the reconciler tries again.
        """
        try:
            target = self._target(job)
            if target is None:
                raise GraderError(
                    f"{job.repository} belongs to no assignment any more; see autograder config show"
                )
            if job.state is JobState.FAILED and self.waits(job):
                return False
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
        source: Source = Source.WEBHOOK,
        head: str | None = None,
        later: Later | None = None,
    ) -> Receipt:
        ref = HEADS + target.branch
        if head is None and self.ledger.may_repeat(
            target.repository, commit=commit, ref=ref, before=before, delivery_id=delivery_id
        ):
            head = self._head(target, commit)
        recorded = self.ledger.record_push(
            target.repository,
            commit=commit,
            ref=ref,
            before=before,
            sender=sender,
            delivery_id=delivery_id,
            payload_digest=payload_digest,
            received=received,
            source=source,
            head=head,
        )
        receipt = Receipt("recorded" if recorded.new else "known", push=recorded.row)
        if later is not None:
            later(lambda: self._open_later(target, recorded.row, new=recorded.new))
            return receipt
        return replace(receipt, job=self._open(target, recorded.row, new=recorded.new))

    def _head(self, target: Target, reported: str) -> str:
        """Return the commit at the tip of a branch; if nobody can say, the commit that was reported there."""
        try:
            credentials = self.course.credentials(target.repository.host)
            return branch_head(target.remote, target.branch, credentials=credentials) or ""
        except GraderError as error:
            LOG.warning("a branch could not be looked at", extra={"reason": str(error)})
            return reported

    def _open_later(self, target: Target, push: RecordedPush, *, new: bool) -> None:
        try:
            self._open(target, push, new=new)
        except GraderError as error:
            LOG.warning("a job could not be opened yet", extra={"push": push.id, "reason": str(error)})

    def _open(self, target: Target, push: RecordedPush, *, new: bool) -> Job | None:
        with about(push=push.id):
            if self.ledger.is_own(push.commit):
                LOG.info("our own commit is not graded", extra={"repository": str(push.repository)})
                return None
            job = self.ledger.open_job(target.repository, push.commit, target.assignment).row
            if job.state is JobState.SUPERSEDED and new:
                job = self.ledger.move(job.id, JobState.QUEUED, reason="pushed again")
            # A push that is late or over a limit supersedes none that counts. None supersedes what may be the best.
            if (
                new
                and self.supersedes
                and self._last_counts(target)
                and replaces(self.ledger, self.course, target, push)
            ):
                self._supersede(job)
            if job.state in OPEN and job.state is not JobState.RUNNING:
                self.dispatch(job)
            if new and self.statuses is not None:
                self.statuses.look(job.repository, job.commit)
            LOG.info("push", extra={"job": job.id, "new": new, "sender": push.sender})
            return job

    def _last_counts(self, target: Target) -> bool:
        return self.course.policy(target.assignment) is ScorePolicy.LAST

    def _supersede(self, job: Job) -> None:
        for older in self.ledger.supersede_older(job.id):
            LOG.info("superseded", extra={"job": older.id, "by": job.id})
            if self.statuses is not None:
                self.statuses.look(older.repository, older.commit)
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
