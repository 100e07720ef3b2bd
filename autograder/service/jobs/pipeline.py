"""The three steps of a job: fetch, grade, publish. Their results go into the ledger.

Each step takes a job's id and the result of the step before. Its own result is plain JSON: the name of the next step,
and the facts that the next step needs. `run` takes the steps one after the other; `queue` does the same with a
checkpoint after each step. Any worker may repeat a step at any time. A report that is in the ledger is not made again,
feedback that is on the branch is not published again, and a settled job stays as it is.

No step raises an error for a fault that can be foreseen. Whose fault it was decides what happens:

    SubmissionError       the student gets a report in which every case has the error's verdict
    NotFound              the student replaced the commit by a forced push: the job is final, without a report
    RepositoryError,      another try would not help: the job is dead, and staff must act
    SuiteError
    DeadlineError         the push would be late, and the file of extensions has a mistake: the job waits until staff
                          have corrected the file, however long that takes
    NoSuchRepository,     the job failed, and is tried again later; it is dead after the last try
    other GraderErrors

A host may say for a moment that there is no such repository or commit, for instance while a folder is not mounted. So
neither ends a job at the first time.

If an unforeseen error leaves a job open, the reconciler finds the job.
"""

import hashlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

from autograder.config.times import DeadlineError
from autograder.course.course import Course, Target
from autograder.course.deadline import Decision
from autograder.course.standing import decide, replaces, standing
from autograder.errors import GraderError, SubmissionError, SuiteError
from autograder.git.fetch import branch_head, fetch_commit
from autograder.git.names import HEADS
from autograder.git.process import GitHostError, NoSuchRepository, NotFound, RepositoryError
from autograder.language import restored
from autograder.ledger import (
    OPEN,
    WAITS,
    WORKER_LOST,
    AdjustmentKind,
    IllegalTransition,
    Job,
    JobState,
    Ledger,
    RecordedPush,
    RepositoryName,
    ScorePolicy,
    Unknown,
)
from autograder.ledger.adjustments import in_force
from autograder.service.jobs import showing
from autograder.service.jobs.graders import Graders
from autograder.service.logs import LOG, about
from autograder.service.metrics import STEPS, Metrics
from autograder.verdict import Verdict

Facts = dict[str, Any]

FETCH, GRADE, PUBLISH = STEPS
RETRY, END = "retry", "end"
MAX_WAIT = timedelta(hours=1)
_REASON = 500  # how many characters of an unforeseen error are stored in the ledger


class Statuses(Protocol):
    """The method of `statuses.Statuses` that steps call."""

    def look(self, repository: RepositoryName, commit: str) -> None: ...


class Intake(Protocol):
    """The methods of `intake.Intake` that steps call. `intake` imports this package, so we cannot import it."""

    def notice(self, target: Target, head: str) -> object: ...

    def revive(self, job: Job) -> None: ...

    def dispatch(self, job: Job) -> bool: ...


@dataclass
class Pipeline:
    """The steps, in one worker.

    Attributes:
        ledger: where the results go.
        course: says which assignment a repository belongs to.
        graders: the suite servers.
        intake: takes pushes that are found on a branch, and queues jobs.
        folder: holds the files of submissions while they are graded; it is private, and the steps empty it.
        worker: the worker's name, `host:number`.
        retries: how often a job is tried again.
        clock: returns the present moment, with a time zone.
        metrics: the counters of this process.
        supersedes: whether a job ends when its branch has moved on to another commit that counts.
        statuses: tells the git host how the commit stands; None: nobody does.
    """

    ledger: Ledger
    course: Course
    graders: Graders
    intake: Intake
    folder: Path
    worker: str
    retries: int = 5
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    metrics: Metrics = field(default_factory=Metrics)
    supersedes: bool = True
    statuses: Statuses | None = None

    # the steps -------------------------------------------------------------------------------------------

    def run(self, job_id: str) -> Facts:
        """Take all steps of a job; return the result of the last step, in which `retry` or `end` is next."""
        facts = self.begin(job_id)
        while facts["next"] in STEPS:
            facts = self.step(facts["next"], job_id, facts)
        return facts

    def begin(self, job_id: str) -> Facts:
        """Record that this worker has taken the job; return the first step. Every worker that takes a job calls this.

        Raises:
            LedgerError: the ledger cannot be read or written; nothing is decided then.
        """
        with about(job=job_id, worker=self.worker, push=self._push_of(job_id)):
            try:
                self.course.refresh()
                job = self.ledger.job(job_id)
                if job.state not in OPEN:
                    return _settled_meanwhile(f"the job is {job.state.value}")
                # If the end of a try is not recorded, the worker ended during the try.
                if job.state is JobState.RUNNING and self.ledger.report(job_id) is None:
                    ended = self._worker_ended(job)
                    if ended is not None:
                        return ended
                self.ledger.move(job_id, JobState.RUNNING, worker=self.worker)
                self._look(job)
                return {"next": FETCH}
            except (IllegalTransition, Unknown) as error:
                return _settled_meanwhile(str(error))

    def _worker_ended(self, job: Job) -> Facts | None:
        """Decide what follows after a worker ended while it ran `job`; None: the job goes on at once.

        Most often the job is innocent: the worker was stopped, or the machine was. So this does not count as a failure.
        If it happens again, the job waits, so that what kills workers at this moment does not meet it again, and so
        that the jobs of others come first.
        """
        ended = self.ledger.recent_ends(job.id) + 1
        if ended > self.retries:
            reason = f"started {ended} times without a result; does it end its worker?"
            return self._settle(job, JobState.DEAD, reason)
        if ended == 1:
            return None
        self.ledger.move(job.id, JobState.FAILED, reason=WORKER_LOST, worker=self.worker)
        return {"next": RETRY}

    def step(self, name: str, job_id: str, facts: Mapping[str, Any]) -> Facts:
        """Take one step of a job for which `begin` was called.

        Args:
            name: one of STEPS.
            job_id: of the job.
            facts: the result of the step before.

        Raises:
            LedgerError: the ledger cannot be read or written; nothing is decided then.
        """
        work = {FETCH: self._fetch, GRADE: self._grade, PUBLISH: self._publish}[name]
        started = time.monotonic()
        with about(job=job_id, worker=self.worker, push=self._push_of(job_id)):
            try:
                job = self.ledger.job(job_id)
                if job.state is not JobState.RUNNING:
                    return _settled_meanwhile(f"the job is {job.state.value}")
                return work(job, facts)
            except (IllegalTransition, Unknown) as error:
                return _settled_meanwhile(str(error))
            except GraderError as error:
                return self._failed(job_id, name, error, str(error))
            except Exception as error:  # noqa: BLE001 (a bug in the grader: no verdict; staff see the error)
                LOG.exception("a step failed", extra={"step": name})
                return self._failed(job_id, name, error, _described(error))
            finally:
                seconds = time.monotonic() - started
                self.metrics.step(name, seconds)
                LOG.info("step", extra={"step": name, "seconds": round(seconds, 4)})

    def _push_of(self, job_id: str) -> int | None:
        """Return the number of the last push of a job's commit."""
        try:
            job = self.ledger.job(job_id)
        except Unknown:
            return None
        pushes = self.ledger.pushes(job.repository, commit=job.commit)
        return pushes[-1].id if pushes else None

    def interrupt(self, job_id: str) -> None:
        """End the grading of a job that runs here, and its sandbox, at once. Any thread may call this."""
        self.graders.interrupt(self.ledger.job(job_id).assignment)

    def queue_again(self, job_id: str) -> None:
        """Put a job whose try failed into the queue again; it waits there until its next try is due."""
        self.intake.dispatch(self.ledger.job(job_id))

    # fetch -----------------------------------------------------------------------------------------------

    def _fetch(self, job: Job, _facts: Mapping[str, Any]) -> Facts:
        target, push, _ = self._found(job)
        if self.ledger.is_own(job.commit):
            return self._settle(job, JobState.FINAL, "made by the course staff, so it is not graded")
        if self.ledger.report(job.id) is not None:
            return {"next": PUBLISH}
        credentials = self.course.credentials(target.repository.host)
        head = branch_head(target.remote, target.branch, credentials=credentials)
        mark = self._last_push(job.repository, push.ref)
        if self._overtaken(job, target, head):
            return {"next": END}
        facts: Facts = {"mark": mark}
        if self._refusal(job):
            return {"next": PUBLISH, **facts}
        try:
            self._bring(job, target)
        except SubmissionError as error:
            return {
                "next": GRADE,
                **facts,
                "refused": error.text.translations(),
                "verdict": error.verdict.value,
            }
        except NotFound as error:
            # The host contradicts itself, or says so for the first time: it may show the commit in a moment.
            if head == job.commit or self.ledger.recent_failures(job.id) == 0:
                raise GitHostError(str(error)) from error
            return self._settle(job, JobState.FINAL, "the commit is not there any more: it was pushed over")
        return {"next": GRADE, **facts}

    def _found(self, job: Job) -> tuple[Target, RecordedPush, Decision]:
        """Return the job's target, the push of its commit whose time is best for the student, and its decision.

        Raises:
            DeadlineError: no push of the commit counts, but only because of a mistake in the file of extensions.
        """
        best: tuple[Target, RecordedPush, Decision] | None = None
        undecided: DeadlineError | None = None
        for push in self.ledger.pushes(job.repository, commit=job.commit):
            target = self.course.target(job.repository, push.ref.removeprefix(HEADS))
            if target is None or target.assignment != job.assignment:
                continue
            try:
                decision = decide(self.course, target, push)
            except DeadlineError as error:
                undecided = error
                continue
            if best is None or decision.timing.counts or not best[2].timing.counts:
                best = target, push, decision
            if decision.timing.counts:
                return best
        if undecided is not None:
            raise undecided
        if best is None:
            raise RepositoryError(
                f"{job.repository} does not belong to {job.assignment} any more; see autograder config show"
            )
        return best

    def _refusal(self, job: Job) -> str:
        """Return why a job's commit is not graded now; empty if it is.

        Raises:
            DeadlineError: see `_found`.
        """
        target, _, decision = self._found(job)
        rules = self.course.limits(job.assignment) or self.course.config.course.late_days
        if decision.timing.counts and not rules:
            return ""
        stands = standing(self.ledger, self.course, target)
        own = [judged for judged in stands.pushes if judged.push.commit == job.commit]
        if any(each.counts and (job.attempt > 1 or each.is_due(self.clock())) for each in own):
            return ""
        if any(each.accepted for each in own):
            return showing.OVER_LIMIT
        return "no late days left" if decision.timing.counts else decision.timing.value

    def _overtaken(self, job: Job, target: Target, head: str | None) -> bool:
        """Supersede the job if its branch has moved on to another commit, and that commit is graded instead.

        Webhooks may arrive out of order, so the branch itself decides which commit is the newest. If no push of that
        commit is recorded, a push is recorded now. If the job of that commit was superseded as the older of the two,
        it is queued again. Return whether `job` was superseded.
        """
        if not self.supersedes or head is None or head == job.commit or job.attempt > 1:
            return False
        if self.ledger.is_own(head):
            return False  # an update of the starter takes nothing from the student's push below it
        if self._is_chosen(job):
            return False
        pushes = self.ledger.pushes(job.repository, commit=head, ref=HEADS + target.branch)
        if not pushes:
            self.intake.notice(target, head)
            pushes = self.ledger.pushes(job.repository, commit=head, ref=HEADS + target.branch)
        if not self._counts(target, pushes):
            return False  # a late push does not supersede one that was in time
        own = self.ledger.pushes(job.repository, commit=job.commit, ref=HEADS + target.branch)
        if self.course.policy(target.assignment) is ScorePolicy.BEST and self._counts(target, own):
            return False  # it may be the best
        newer = [
            other
            for other in self.ledger.jobs(repository=job.repository, assignment=job.assignment)
            if other.commit == head and other.attempt == 1
        ]
        if not newer or newer[0].state is JobState.DEAD:
            return False
        self._settle(job, JobState.SUPERSEDED, f"the branch is at {head[:10]}")
        if newer[0].state is JobState.SUPERSEDED:
            self.intake.revive(newer[0])
        return True

    def _counts(self, target: Target, pushes: Iterable[RecordedPush]) -> bool:
        return any(replaces(self.ledger, self.course, target, push) for push in pushes)

    def _is_chosen(self, job: Job) -> bool:
        """Whether staff decided that the job's commit counts."""
        decided = in_force(self.ledger.adjustments(job.assignment, repository=job.repository))
        return any(each.kind is AdjustmentKind.USE and each.commit == job.commit for each in decided)

    def _last_push(self, repository: RepositoryName, ref: str) -> int:
        return max((push.id for push in self.ledger.pushes(repository, ref=ref)), default=0)

    def _bring(self, job: Job, target: Target) -> Path:
        """Write the files of the job's commit into the job's folder; return that folder."""
        submission = fetch_commit(
            target.remote, job.commit, credentials=self.course.credentials(target.repository.host)
        )
        checkout = self._checkout(job)
        self._remove(job)
        for name, content in submission.files.items():
            path = checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (checkout / "complete").touch()
        return checkout

    def _checkout(self, job: Job) -> Path:
        return self.folder / hashlib.sha256(job.id.encode()).hexdigest()[:20]

    def _remove(self, job: Job) -> None:
        shutil.rmtree(self._checkout(job), ignore_errors=True)

    # grade -----------------------------------------------------------------------------------------------

    def _grade(self, job: Job, facts: Mapping[str, Any]) -> Facts:
        following = {"next": PUBLISH}
        if self.ledger.report(job.id) is not None:
            return following
        try:
            if "refused" in facts:
                refused = facts[
                    "refused"
                ]  # a step that an earlier version ran gives the English sentence alone
                said = restored(refused) if isinstance(refused, dict) else refused
                error = SubmissionError(said, Verdict(facts["verdict"]))
                report = self.graders.refused(job.assignment, error, job.commit)
            else:
                checkout = self._checkout(job)
                if not (checkout / "complete").is_file():  # another worker fetched the commit
                    checkout = self._bring(job, self._found(job)[0])
                report = self.graders.grade(job.assignment, checkout, job.commit, self._draws(job))
        finally:
            self._remove(job)
        if self._overtaken_while_graded(job, facts["mark"]):
            return {"next": END}
        stored = self.ledger.add_report(job.id, report)
        if stored.new:
            self.metrics.report(report)
            for fault in report.suite_faults:
                LOG.error("the reference fails a case", extra={"assignment": job.assignment, **asdict(fault)})
        return following

    def _draws(self, job: Job) -> dict[str, int]:
        """Return the draws of the last report of the same commit, so that a regrade has the same inputs."""
        others = (
            self.ledger.jobs(repository=job.repository, assignment=job.assignment) if job.attempt > 1 else []
        )
        earlier = [other for other in others if other.commit == job.commit and other.attempt < job.attempt]
        for other in sorted(earlier, key=lambda other: other.attempt, reverse=True):
            stored = self.ledger.report(other.id)
            if stored is not None:
                return stored.report.draws
        return {}

    def _overtaken_while_graded(self, job: Job, mark: int) -> bool:
        """If there were pushes since the fetch, do the same as `_overtaken`.

        After the report is recorded this is not possible any more: a recorded report must be published.
        """
        target, push, _ = self._found(job)
        others = self.ledger.pushes(job.repository, ref=push.ref, after=mark)
        if all(other.commit == job.commit for other in others):
            return False
        head = branch_head(
            target.remote, target.branch, credentials=self.course.credentials(target.repository.host)
        )
        return self._overtaken(job, target, head)

    # publish ---------------------------------------------------------------------------------------------

    def _publish(self, job: Job, _facts: Mapping[str, Any]) -> Facts:
        target, _, _ = self._found(job)
        graded = self.ledger.report(job.id) is not None
        if not graded and not self._refusal(job):
            # It was late when the job was fetched. Meanwhile staff extended the deadline, or set the time of the push.
            return {"next": FETCH}
        showing.publish(self.ledger, self.course, target, job)
        refusal = "" if graded else self._refusal(job)
        if not graded and not refusal:
            return {"next": FETCH}  # the same, while it was published
        return self._settle(job, JobState.FINAL, "graded" if graded else f"{showing.NOT_GRADED}{refusal}")

    # the end ---------------------------------------------------------------------------------------------

    def _settle(self, job: Job, state: JobState, reason: str) -> Facts:
        self.ledger.move(job.id, state, reason=reason, worker=self.worker)
        self._look(job)
        self._remove(job)
        seconds = (self.clock() - job.created).total_seconds()
        LOG.info("job", extra={"state": state.value, "reason": reason, "after": round(seconds, 3)})
        return {"next": END}

    def _look(self, job: Job) -> None:
        if self.statuses is not None:
            self.statuses.look(job.repository, job.commit)

    def _failed(self, job_id: str, step: str, error: Exception, reason: str) -> Facts:
        """Record a failed try. The job is tried again later, or it is dead."""
        self.metrics.fault(step)
        detail = error.detail if isinstance(error, SuiteError) else ""
        LOG.warning(
            "a try failed",
            extra={"step": step, "error": type(error).__name__, "reason": reason, "detail": detail},
        )
        job = self.ledger.job(job_id)
        if job.state is not JobState.RUNNING:
            return _settled_meanwhile(f"the job is {job.state.value}")
        try:
            self._remove(job)
            hopeless = isinstance(error, (RepositoryError, SuiteError))
            if hopeless and not isinstance(error, NoSuchRepository):
                return self._settle(job, JobState.DEAD, reason)
            if isinstance(error, DeadlineError):
                self.ledger.move(job_id, JobState.FAILED, reason=f"{WAITS}{reason}", worker=self.worker)
                return {"next": RETRY}
            tries = self.ledger.recent_failures(job_id) + 1
            if tries > self.retries:
                return self._settle(job, JobState.DEAD, f"{reason} (given up after {tries} tries)")
            self.ledger.move(job_id, JobState.FAILED, reason=reason, worker=self.worker)
            self._look(job)
        except IllegalTransition as settled:
            return _settled_meanwhile(str(settled))
        return {"next": RETRY}


def wait_before_next_try(
    ledger: Ledger,
    job: Job,
    first: timedelta,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> timedelta:
    """Return how long a failed job must still wait for its next try; zero for any other job."""
    if job.state is not JobState.FAILED:
        return timedelta(0)
    whole = backoff(first, ledger.recent_tries(job.id))
    # At most the whole wait, if the clock was ahead when the try failed.
    return min(whole, max(timedelta(0), job.updated + whole - now()))


def backoff(first: timedelta, tries: int) -> timedelta:
    """Return how long to wait after a number of tries: `first`, then twice as long each time, at most MAX_WAIT."""
    return min(first * (1 << min(max(tries - 1, 0), 20)), MAX_WAIT)


def _settled_meanwhile(reason: str) -> Facts:
    """Return the result that ends the work on a job that another process has settled."""
    LOG.info("the job needs no more work", extra={"reason": reason})
    return {"next": END}


def _described(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    line = f" in {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    return f"a bug in the grader: {type(error).__name__}: {error}{line}"[:_REASON]
