"""Decides what the feedback branch of a repository shows, and brings the branch up to date.

The branch shows the newest push that is settled, together with the score that counts (`course.standing`). Both can
change without a new report: a student sets the branch back to a graded commit, staff set the receive time of a push or
grant an extension, a backup is restored. So what is shown is derived again each time, never from what a job once knew.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from autograder.config.times import DeadlineError
from autograder.course import deadline, limits
from autograder.course.course import Course, Target
from autograder.course.standing import Judged, Standing, standing
from autograder.git import feedback
from autograder.language import Text, join, tell
from autograder.ledger import AdjustmentKind, Job, JobState, Ledger, ScorePolicy, StoredReport
from autograder.ledger.database import canonical
from autograder.ledger.scores import Candidate
from autograder.service.jobs import feedback_files

NOT_GRADED = "not graded: "  # the reason of a final job that has feedback and no report begins with this
OVER_LIMIT = "over the limit of pushes"  # goes on with this, if there were too many pushes


@dataclass(frozen=True)
class Shown:
    """What the branch shows about one push.

    Attributes:
        job: the last attempt at the push's commit.
        files: the feedback files, sealed.
        when: the date of the feedback commit.
        digest: sha256 of the facts that are shown, hex. How a sentence is written is no fact.
    """

    job: Job
    files: dict[str, bytes]
    when: datetime
    digest: str

    @property
    def entry(self) -> feedback.Entry:
        """The feedback commit."""
        return feedback.Entry(self.job.commit, self.job.attempt, self.files, self.when)


class Showing:
    """What is shown of one repository, as of one reading of the ledger.

    Args:
        ledger, course: the facts and the rules.
        target: the repository and its assignment.
        settling: a job that is about to be final, which is treated as if it were.

    Raises:
        DeadlineError: a mistake in the file of extensions leaves open which score counts.
        GraderError: the ledger cannot be read.
    """

    def __init__(self, ledger: Ledger, course: Course, target: Target, settling: Job | None = None) -> None:
        self._ledger, self._course, self._target = ledger, course, target
        self._settling = settling
        further: list[Candidate] = []
        stored = ledger.report(settling.id) if settling else None
        if settling and stored:
            pushes = ledger.pushes(target.repository, commit=settling.commit)
            further = [Candidate.of(push, settling, stored.report) for push in pushes]
        self.standing: Standing = standing(ledger, course, target, further=further)
        if self.standing.open:
            raise DeadlineError(self.standing.open)
        self._best = (
            standing(ledger, course, target, further=further, policy=ScorePolicy.BEST)
            if self.standing.policy is ScorePolicy.LAST and not self._decided()
            else None
        )
        self._attempts: dict[str, list[Job]] = {}
        for job in ledger.jobs(repository=target.repository, assignment=target.assignment):
            if job.state is JobState.FINAL or (settling and job.id == settling.id):
                self._attempts.setdefault(job.commit, []).append(job)

    def entries(self) -> list[Shown]:
        """Return what the branch must show last, after the feedback of the job that is about to be final."""
        due = self.due()
        own = [shown for shown in [self._of(self._settling)] if shown] if self._settling else []
        if due is None or any(shown.job.id == due.job.id for shown in own):
            return own or ([due] if due else [])
        return [*own, due]

    def due(self) -> Shown | None:
        """Return what the branch must show. None if no push is settled, or if nobody can say how the newest one is.

        In the second case the branch stays as it is until staff have corrected the file of extensions.
        """
        for judged in reversed(self.standing.pushes):
            attempts = [] if judged.own else self._attempts.get(judged.push.commit, [])
            if judged.decision is None and attempts:
                return None
            for job in sorted(attempts, key=lambda job: job.attempt, reverse=True):
                shown = self._shown(judged, job)
                if shown is not None:
                    return shown
        return None

    def _of(self, job: Job) -> Shown | None:
        """Return the feedback of a job itself, on the push of its commit that is the best for the student."""
        own = [
            judged for judged in self.standing.pushes if judged.push.commit == job.commit and not judged.own
        ]
        judged = next((each for each in reversed(own) if each.counts), own[-1] if own else None)
        return None if judged is None else self._shown(judged, job)

    def _shown(self, judged: Judged, job: Job) -> Shown | None:
        stored = self._ledger.report(job.id)
        score = self.standing.score
        if (
            score is not None and score.commit == job.commit
        ):  # of several pushes of a commit, the one that counts
            judged = self.standing.judged(score.push_id) or judged
        decision = judged.decision
        if decision is None:
            return None
        settles = self._settling is not None and job.id == self._settling.id
        if stored is None and not settles and not job.reason.startswith(NOT_GRADED):
            return None  # the commit was pushed over: there is no feedback on it
        if stored is None and judged.counts and judged.limit is None:
            return None  # it will be graded after all
        came = deadline.sentence(decision, by_staff=judged.by_staff)
        note = tell("Commit `{commit}`: {came}", commit=job.commit[:10], came=came)
        if judged.limit is not None:
            note = join([note, limits.sentence(judged.limit, decision.deadline.zone)])
        if judged.no_days_left and not judged.by_staff and decision.timing.counts:
            note = join(
                [note, tell("You have too few late days left for it, so it does not change your score.")]
            )
        if stored is not None:
            note = join([note, again(self._ledger, job)])
        files = self._files(judged, job, stored, note)
        push = judged.push
        facts: dict[str, object] = {
            "job": job.id,
            "push": [push.received.isoformat(), decision.timing.value],
            "report": stored.digest if stored else "",
            "score": [score.job_id, score.points] if score else [],
        }
        if decision.closes is not None:
            facts["closes"] = (
                decision.closes.isoformat()
            )  # moved for everybody: the student reads the new deadline
        if (counted := self._counted()) is not None:  # otherwise what was published before has another digest
            facts["result"] = counted.to_json()
        if judged.limit is not None:
            facts["limit"] = judged.limit.until.isoformat() if judged.limit.until else ""
        return Shown(
            job,
            feedback_files.sealed(files, job, self._course.config.secret(), push),
            stored.recorded if stored else push.received,
            hashlib.sha256(canonical(facts).encode()).hexdigest(),
        )

    def _files(self, judged: Judged, job: Job, stored: StoredReport | None, note: Text) -> dict[str, bytes]:
        score, form, counted = self.standing.score, self._course.feedback.form, self._counted()
        if stored is None or not judged.counts:
            standing = self._stands(score.job_id if score else None)
            return feedback_files.not_graded(job.assignment, job.commit, note, standing, form, counted)
        if job.attempt == 1 and self._best is not None:
            best = self._stands(self._best.score.job_id if self._best.score else None)
            penalty, own = self._best.result.penalty, self.standing.result.penalty
            if best is not None and best.report.points - penalty > stored.report.points - own:
                return feedback_files.lower(stored.report, note, best, form, counted, penalty)
            return feedback_files.graded(stored.report, note, None, form, counted)
        stands = self._stands(score.job_id) if score and score.job_id != job.id else None
        if job.attempt > 1 and stands is not None:
            return feedback_files.not_lowered(stored.report, note, stands, form, counted)
        return feedback_files.graded(stored.report, note, stands, form, counted)

    def _decided(self) -> bool:
        """Whether staff decided what counts, so that it does not matter which push is better."""
        kinds = {each.kind for each in self.standing.result.adjustments}
        return bool(kinds & {AdjustmentKind.USE, AdjustmentKind.SET, AdjustmentKind.EXCUSE})

    def _counted(self) -> feedback_files.Counted | None:
        """Return what counts, if grading alone does not decide it."""
        result, score = self.standing.result, self.standing.score
        return None if result.plain else feedback_files.Counted(result, score.commit if score else "")

    def _stands(self, job_id: str | None) -> feedback_files.Standing | None:
        if job_id is None:
            return None
        stored, job = self._ledger.report(job_id), self._ledger.job(job_id)
        return None if stored is None else feedback_files.Standing(job.commit, stored.report)


def again(ledger: Ledger, job: Job) -> Text | str:
    """Return what score.md says about a regrade, after the sentence about the push; empty for any other attempt.

    An attempt may be the second one and no regrade: its push was late at first, and counts now.
    """
    if job.attempt == 1:
        return ""
    acts = [line.why for line in ledger.audit_lines(subject=job.id) if line.what == "regrade"]
    earlier = [
        (other.attempt, stored.report)
        for other in ledger.jobs(repository=job.repository, assignment=job.assignment)
        if other.commit == job.commit and other.attempt < job.attempt and (stored := ledger.report(other.id))
    ]
    if not acts and not earlier:
        return ""
    before = max(earlier, key=lambda each: each[0])[1] if earlier else None
    return feedback_files.graded_again(acts[-1] if acts else "", before)


def publish(ledger: Ledger, course: Course, target: Target, settling: Job | None = None) -> bool:
    """Bring the feedback branch up to date, and record its feedback commits; return whether the branch changed.

    Args:
        ledger, course: the facts and the rules.
        target: the repository and its assignment.
        settling: a running job that is about to be final; its own feedback is published too.

    Raises:
        DeadlineError: a mistake in the file of extensions leaves open which score counts.
        GraderError: the branch cannot be read or written, or the ledger cannot.
    """
    shown: list[Shown] = []

    def entries() -> Sequence[feedback.Entry]:
        shown.clear()
        if settling is not None or not _runs(ledger, target):  # a job that runs may have published already
            shown.extend(Showing(ledger, course, target, settling).entries())
        return [each.entry for each in shown]

    if not entries():
        return False
    settings = course.feedback
    published = feedback.show(
        target.remote,
        entries,
        branch=settings.branch,
        identity=settings.identity,
        credentials=course.credentials(target.repository.host),
        signing_key=settings.signing_key,
    )
    for each, commit in zip(shown, published, strict=True):
        ledger.add_feedback(each.job.id, commit=commit.commit, branch=settings.branch, shows=each.digest)
    return any(each.changed for each in published)


def is_shown(ledger: Ledger, course: Course, target: Target, tip: str | None = None) -> bool:
    """Return whether the branch shows what it must show, as far as the ledger knows.

    Args:
        ledger, course: the facts and the rules.
        target: the repository and its assignment.
        tip: the commit at the tip of the feedback branch, if somebody asked: it must be the one that we published last.

    Raises:
        DeadlineError: a mistake in the file of extensions leaves open which score counts.
        GraderError: the ledger cannot be read.
    """
    due = Showing(ledger, course, target).due()
    if due is None:
        return True
    last = ledger.last_feedback(target.repository, target.assignment)
    if last is None or tip not in (None, last.commit):
        return False
    before_r0004 = (
        not last.shows and last.job_id == due.job.id
    )  # the ledger did not record what a commit shows
    return last.shows == due.digest or before_r0004


def _runs(ledger: Ledger, target: Target) -> bool:
    running = ledger.jobs(
        states=[JobState.RUNNING], repository=target.repository, assignment=target.assignment, limit=1
    )
    return bool(running)
