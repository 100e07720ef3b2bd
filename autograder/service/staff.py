"""Changes that staff make: try jobs again, cancel them, regrade, set receive times. The audit trail has each of them.

A regrade never changes an earlier record. It is a further attempt with a report of its own, and it lowers a score only
if staff allow that. `preview` shows the changes that a regrade would make, and records nothing.

Only commits that can count are graded again. Under the score policy `last` that is the last push in time of each
repository. Under `best` it is every commit that was pushed in time.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from autograder.config.times import instant
from autograder.course.course import Course, Target
from autograder.course.gradebook import Entry, entry
from autograder.course.roster import Person
from autograder.course.standing import Result, Standing, owned, standing
from autograder.errors import GraderError, SubmissionError
from autograder.git.fetch import fetch_commit
from autograder.ledger import (
    OPEN,
    Adjustment,
    AdjustmentKind,
    Job,
    JobState,
    Ledger,
    RecordedPush,
    RepositoryName,
    ScorePolicy,
    Source,
    StoredReport,
    Unknown,
    job_id,
)
from autograder.ledger.removal import HOST as REMOVED
from autograder.ledger.scores import Candidate
from autograder.report import Report
from autograder.service.intake.intake import Intake
from autograder.service.jobs import showing
from autograder.service.jobs.graders import Graders
from autograder.service.logs import LOG


@dataclass(frozen=True)
class Republished:
    """What `Staff.republish` did for one repository: whether its branch changed, and what went wrong."""

    repository: RepositoryName
    changed: bool
    problem: str = ""


@dataclass(frozen=True)
class Adjusted:
    """What an adjustment changes.

    Attributes:
        before, after: what counts without it, and with it.
        adjustment: as it was recorded; None if nothing was recorded.
        notes: what staff should know.
    """

    before: Result
    after: Result
    adjustment: Adjustment | None
    notes: tuple[str, ...] = ()


class StaffError(GraderError):
    """A request of staff that cannot be fulfilled; the message says what staff can do instead."""


@dataclass(frozen=True)
class Choice:
    """A commit that can count, and whether it can be graded again.

    Attributes:
        target: the repository and its assignment.
        pushes: the pushes of the commit that were in time.
        last: the job of the last attempt to grade the commit.
        obstacle: why the commit cannot be graded again; empty if it can.
    """

    target: Target
    pushes: tuple[RecordedPush, ...]
    last: Job
    obstacle: str = ""

    @property
    def commit(self) -> str:
        """The commit."""
        return self.last.commit


@dataclass(frozen=True)
class Preview:
    """The changes that a regrade of one repository would make.

    Attributes:
        repository: the repository.
        people: whose work it is, as the roster has them.
        before, after: the entry of the gradebook now, and as it would be after the regrade.
        best: the highest points among the new reports; None if nothing could be graded.
        changed: name, old and new verdict of each case whose verdict changes.
        obstacles: for each commit that was not graded, the commit and the reason.
    """

    repository: RepositoryName
    people: tuple[Person, ...]
    before: Entry
    after: Entry
    best: int | None
    changed: tuple[tuple[str, str, str], ...] = ()
    obstacles: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether what counts would change."""
        return _worth(self.before) != _worth(self.after)


def find(ledger: Ledger, text: str) -> Job:
    """Return the one job whose id is `text`, or contains it; of several attempts at the same commit, the last.

    Raises:
        StaffError: there is no such job, or there are jobs of different commits.
    """
    with suppress(Unknown):
        return ledger.job(text)
    found = [job for job in ledger.jobs() if text in job.id]
    if len({(job.repository, job.commit, job.assignment) for job in found}) == 1:
        return max(found, key=lambda job: job.attempt)
    if len(found) != 1:
        names = "".join(f"\n  {job.id}" for job in found[:10])
        count = f"{len(found)} jobs have" if found else "no job has"
        raise StaffError(f"{count} {text!a:.200} in the id; see autograder jobs list --all{names}")
    return found[0]


def target_of(ledger: Ledger, course: Course, student: str, assignment: str) -> Target:
    """Return the repository that counts for a student, and its assignment. It need not have a push.

    Args:
        ledger, course: know the repositories.
        student: the student's name in repositories, an id or a login of the roster, or `OWNER/NAME`.
        assignment: its name.

    Raises:
        ConfigError: there is no such assignment, or no such student in the roster.
        StaffError: the student has several repositories, or cannot have one.
    """
    branch = course.config.assignment(assignment).branch
    is_path = "/" in student
    name = student if is_path else course.student(student, assignment)
    known = {*ledger.repositories(), *(each.repository for each in ledger.adjustments(assignment))}
    targets = [
        target
        for repository in sorted(known)
        if (target := course.target(repository, branch)) is not None and target.assignment == assignment
    ]
    roster = course.roster()
    people = {person.whose for person in roster.of(name, assignment)} if roster and not is_path else set()
    if roster is not None and people:
        theirs = [target for target in targets if not people.isdisjoint(course.whose(target))]
        mine, _ = owned(roster, [standing(ledger, course, target) for target in theirs])
        counting = {
            stands.target.repository: stands.target for person, stands in mine if person.whose in people
        }
        if len(counting) == 1:
            return counting.popitem()[1]
    found = [
        target
        for target in targets
        if name.casefold() in (target.student.casefold(), *_paths(target.repository))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{target.repository.owner}/{target.repository.name}" for target in found)
        raise StaffError(
            f"{student} has several repositories for {assignment}; give one of {names} in place of the name"
        )
    if not is_path:
        target = course.target(course.repository_of(assignment, name), branch)
        if target is not None:
            return target
    raise StaffError(
        f"no repository of {student!r:.200} has pushed to {assignment}; see autograder grades -a {assignment}"
    )


def _paths(repository: RepositoryName) -> tuple[str, str]:
    return f"{repository.owner}/{repository.name}".casefold(), str(repository).casefold()


@dataclass(frozen=True)
class Staff:
    """The changes that one member of staff can make.

    Attributes:
        ledger, course, intake: parts of the service.
        who: the person, for the audit trail.
    """

    ledger: Ledger
    course: Course
    intake: Intake
    who: str

    def retry(self, job: Job, why: str) -> Job:
        """Queue a job again. The job must be dead, or failed and waiting for its next try.

        Raises:
            StaffError: the job is in another state.
        """
        if job.state is JobState.FINAL:
            raise StaffError(
                f"{job.id} is final; autograder regrade --assignment {job.assignment} --repo {job.repository}"
            )
        if job.state not in (JobState.DEAD, JobState.FAILED):
            raise StaffError(f"{job.id} is {job.state.value}: only a dead or failed job can be tried again")
        self._audit("jobs retry", job.id, why, state=job.state.value, reason=job.reason)
        job = self.ledger.move(job.id, JobState.QUEUED, reason=f"tried again by {self.who}: {why}")
        self.intake.dispatch(job)
        return job

    def cancel(self, job: Job, why: str) -> Job:
        """End a job that waits or runs. The job is dead then, and the student gets no feedback until it is tried again.

        Raises:
            StaffError: the job has ended already.
        """
        if job.state not in OPEN:
            raise StaffError(f"{job.id} is {job.state.value} already")
        self._audit("jobs cancel", job.id, why, state=job.state.value)
        job = self.ledger.move(job.id, JobState.DEAD, reason=f"cancelled by {self.who}: {why}")
        try:
            self.intake.queue.cancel(job.id)
        except GraderError as error:  # a worker that takes the job will see in the ledger that it is dead
            LOG.warning(
                "a cancelled job could not be taken out of the queue",
                extra={"job": job.id, "reason": str(error)},
            )
        return job

    # receive times and feedback --------------------------------------------------------------------------

    def moment(self, push: RecordedPush, written: str) -> datetime:
        """Return the instant of a time. Without an offset, it is local time in the zone of the push's assignment.

        Raises:
            GraderError: it is not a time, or the push belongs to no assignment.
        """
        target = self.intake.target_of(push)
        if target is None:
            raise StaffError(f"{push.repository} belongs to no assignment any more; see autograder.toml")
        zone = self.course.deadline(target.assignment).zone
        try:
            given = datetime.fromisoformat(written.replace("Z", "+00:00"))
        except ValueError:
            return instant(written, zone, later=False)
        return instant(given, zone, later=False)

    def set_received(self, push: RecordedPush, received: datetime, why: str) -> RecordedPush:
        """Set when a push was received. The score and the feedback follow: the service publishes them within seconds.

        Raises:
            StaffError: the moment is after the one at which the push was recorded.
        """
        if received > push.recorded:
            raise StaffError(
                f"push {push.id} was recorded at {push.recorded:%Y-%m-%d %H:%M:%S} UTC, so it cannot have been "
                "received later"
            )
        self._audit(
            "pushes received",
            str(push.repository),
            why,
            push=push.id,
            commit=push.commit,
            before=[push.received.isoformat(), push.source.value],
            after=received.isoformat(),
        )
        return self.ledger.set_received(push.id, received, source=Source.STAFF, who=self.who, why=why)

    # what counts -----------------------------------------------------------------------------------------

    def target(self, student: str, assignment: str) -> Target:
        """Return the repository of a student, see `target_of`."""
        return target_of(self.ledger, self.course, student, assignment)

    def adjust(
        self,
        target: Target,
        kind: AdjustmentKind,
        why: str,
        *,
        points: int | None = None,
        commit: str = "",
        undoes: int | None = None,
        dry_run: bool = False,
    ) -> Adjusted:
        """Decide something about the score of a repository.

        Args:
            target: the repository and its assignment.
            kind: what is decided.
            why: the reason, which the student reads.
            points: for `points` and `set`.
            commit: for `use`: the commit, or its first digits.
            undoes: for `undo`: the number of an adjustment.
            dry_run: only say what would count.

        Raises:
            LedgerError: the adjustment is not allowed, or there is nothing to undo.
            StaffError: there is no such commit, or it is our own.
        """
        repository, assignment = target.repository, target.assignment
        before = standing(self.ledger, self.course, target)
        if commit:
            commit = self._commit(before, commit)
        values: dict[str, Any] = {"points": points, "commit": commit, "undoes": undoes}
        self.ledger.check_adjustment(repository, assignment, kind, **values)
        planned = Adjustment(
            0, repository, assignment, kind, points, commit, undoes, self.who, why, datetime.now(timezone.utc)
        )
        after = standing(self.ledger, self.course, target, adjusted=[planned])
        notes = []
        if not before.pushes:
            notes.append(f"note: no repository of {target.student} has pushed to {assignment} yet")
        people = self.course.people(target)
        if len(people) > 1:
            names = ", ".join(person.name or person.id for person in people)
            notes.append(f"note: {target.student} is a team, so this is for all of its members: {names}")
        if kind is AdjustmentKind.USE and after.score is None:
            notes.append(
                f"note: {commit[:10]} has no report yet; it is graded if the repository still has it"
            )
        if before.open:
            notes.append(f"note: which score counts is open: {before.open}")
        if dry_run:
            return Adjusted(before.result, after.result, None, tuple(notes))
        self._audit("adjust", str(repository), why, assignment=assignment, kind=kind.value, **values)
        recorded = self.ledger.add_adjustment(repository, assignment, kind, who=self.who, why=why, **values)
        self.intake.grade_what_counts(target)
        after = standing(self.ledger, self.course, target)
        return Adjusted(before.result, after.result, recorded, tuple(notes))

    @staticmethod
    def _commit(stands: Standing, text: str) -> str:
        """Return the one pushed commit of a repository that begins with a text."""
        pushed = {judged.push.commit: judged.own for judged in stands.pushes}
        found = [commit for commit in pushed if commit.startswith(text.lower())]
        if len(found) != 1:
            count = f"{len(found)} commits begin" if found else "no pushed commit begins"
            raise StaffError(
                f"{count} with {text!a:.100}; see autograder pushes list --repo {stands.target.repository}"
            )
        if pushed[found[0]]:
            raise StaffError(f"{found[0][:10]} was made by us ({pushed[found[0]]}), so it cannot count")
        return found[0]

    def republish(self, repositories: Collection[RepositoryName] | None = None) -> Iterator[Republished]:
        """Bring the feedback branches up to date with the ledger, and yield what happened to each.

        Args:
            repositories: only these; None: all repositories that ever pushed.
        """
        for repository in self.ledger.repositories() if repositories is None else repositories:
            target = self.intake.target_at(self.intake.named(repository))
            if target is None and repository.host == REMOVED:
                continue  # a student whose names were taken out of the ledger
            if target is None:
                yield Republished(repository, False, "belongs to no assignment; see autograder.toml")
                continue
            try:
                yield Republished(repository, showing.publish(self.ledger, self.course, target))
                if self.intake.statuses is not None:
                    self.intake.statuses.look_at_all(target)
            except GraderError as error:
                yield Republished(repository, False, str(error))

    # grading again ---------------------------------------------------------------------------------------

    def choices(
        self, assignment: str, repositories: Collection[RepositoryName] | None = None
    ) -> list[Choice]:
        """Return the commits that can count for an assignment.

        Args:
            assignment: the name of the assignment.
            repositories: only these repositories; None: all repositories that ever pushed.

        Raises:
            ConfigError: there is no such assignment.
            StaffError: one of `repositories` does not belong to the assignment.
        """
        branch = self.course.config.assignment(assignment).branch
        found: list[Choice] = []
        for repository in self.ledger.repositories() if repositories is None else repositories:
            target = self.course.target(repository, branch)
            if target is None or target.assignment != assignment:
                if repositories is not None:
                    raise StaffError(f"{repository} does not belong to {assignment}; see autograder.toml")
                continue
            found += self._choices(target)
        return found

    def _choices(self, target: Target) -> Iterator[Choice]:
        """Yield the commits of one repository that can count, newest first."""
        stands = standing(self.ledger, self.course, target)
        commits = stands.chosen if stands.chosen_by_staff else stands.counting
        in_time: dict[str, list[RecordedPush]] = {commit: [] for commit in commits}
        for judged in reversed(stands.pushes):
            if judged.counts and judged.push.commit in in_time:
                in_time[judged.push.commit].append(judged.push)
        jobs = self.ledger.jobs(repository=target.repository, assignment=target.assignment)
        last = {job.commit: job for job in sorted(jobs, key=lambda job: job.attempt)}
        for commit, pushes in in_time.items():
            job = last.get(commit)
            if job is None or job.state is JobState.SUPERSEDED:
                continue
            obstacle = ""
            if job.state in OPEN:
                obstacle = "is being graded"
            elif job.state is JobState.DEAD:
                obstacle = f"is dead ({job.reason}); autograder jobs retry {job.id}"
            yield Choice(target, tuple(pushes), job, obstacle)
            if stands.policy is ScorePolicy.LAST:
                return

    def regrade(self, choice: Choice, why: str, *, allow_lower: bool = False) -> Job:
        """Open a job for a further attempt at a commit, and queue the job.

        Raises:
            StaffError: the commit cannot be graded again now.
        """
        if choice.obstacle:
            raise StaffError(f"{choice.last.id} {choice.obstacle}")
        attempt = choice.last.attempt + 1
        what = choice.target.repository, choice.commit, choice.target.assignment
        self._audit("regrade", job_id(*what, attempt), why, allow_lower=allow_lower)
        job = self.ledger.open_job(
            *what,
            attempt=attempt,
            may_lower=allow_lower,
            reason=f"graded again by {self.who}: {why}",
        ).row
        self.intake.dispatch(job)
        return job

    def preview(
        self, choices: Iterable[Choice], graders: Graders, *, allow_lower: bool = False, jobs: int = 1
    ) -> Iterator[Preview]:
        """Grade in this process as after `regrade`, and yield a preview for each repository, in the order of `choices`.

        Nothing is recorded or published.

        Args:
            choices: what is graded; all of one assignment.
            graders: grade them.
            allow_lower: as in `regrade`.
            jobs: how many submissions are graded at a time.

        Raises:
            GraderError: the ledger cannot be read, or the suite cannot start.
        """
        by_repository: dict[RepositoryName, list[Choice]] = {}
        for choice in choices:
            by_repository.setdefault(choice.target.repository, []).append(choice)
        waiting = list(by_repository.values())
        ordered = [choice for own in waiting for choice in own if not choice.obstacle]
        graded: dict[str, Report | GraderError] = {}
        for job, result in self._graded(ordered, graders, jobs):
            graded[job] = result
            while waiting and all(choice.obstacle or choice.last.id in graded for choice in waiting[0]):
                yield self._preview(waiting.pop(0), graded, allow_lower)
        for own in waiting:
            yield self._preview(own, graded, allow_lower)

    def _preview(
        self, choices: list[Choice], graded: Mapping[str, Report | GraderError], allow_lower: bool
    ) -> Preview:
        target = choices[0].target
        fresh: list[Candidate] = []
        changed: list[tuple[str, str, str]] = []
        obstacles: list[str] = []
        for choice in choices:
            if choice.obstacle:
                obstacles.append(f"{choice.commit[:10]} {choice.obstacle}")
                continue
            report = graded[choice.last.id]
            if isinstance(report, GraderError):
                obstacles.append(f"{choice.commit[:10]}: {report}")
                continue
            again = replace(choice.last, attempt=choice.last.attempt + 1, may_lower=allow_lower)
            fresh += [Candidate.of(push, again, report) for push in choice.pushes]
            changed += _changed(self.ledger.report(choice.last.id), report)
        now = datetime.now(timezone.utc)
        return Preview(
            target.repository,
            self.course.people(target),
            entry(self.course, standing(self.ledger, self.course, target), now),
            entry(self.course, standing(self.ledger, self.course, target, further=fresh), now),
            max((candidate.points for candidate in fresh), default=None),
            tuple(changed),
            tuple(obstacles),
        )

    def _graded(
        self, choices: list[Choice], graders: Graders, jobs: int
    ) -> Iterator[tuple[str, Report | GraderError]]:
        """Yield the last job of each choice with a new report, or the error that prevented it, in any order."""
        if not choices:
            return
        assignment = choices[0].target.assignment
        ended: list[tuple[str, Report | GraderError]] = []  # without being graded
        with tempfile.TemporaryDirectory(prefix="autograder-preview-") as top:
            chosen = {Path(top) / str(number): choice for number, choice in enumerate(choices)}

            def fetched() -> Iterator[tuple[Path, str]]:
                for folder, choice in chosen.items():
                    try:
                        self._bring(choice, folder)
                        yield folder, choice.commit
                    except SubmissionError as error:
                        ended.append((choice.last.id, graders.refused(assignment, error, choice.commit)))
                    except GraderError as error:
                        ended.append((choice.last.id, error))

            def draws(folder: Path) -> Mapping[str, int]:
                stored = self.ledger.report(chosen[folder].last.id)
                return stored.report.draws if stored else {}

            for one in graders.grade_many(assignment, fetched(), jobs=jobs, draws=draws):
                shutil.rmtree(one.path, ignore_errors=True)
                result = one.report if one.report is not None else one.fault
                if result is not None:
                    ended.append((chosen[one.path].last.id, result))
                while ended:
                    yield ended.pop(0)
            yield from ended

    def _bring(self, choice: Choice, folder: Path) -> None:
        """Write the files of a commit into a folder."""
        credentials = self.course.credentials(choice.target.repository.host)
        submission = fetch_commit(choice.target.remote, choice.commit, credentials=credentials)
        for name, content in submission.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _audit(self, what: str, subject: str, why: str, **details: object) -> None:
        self.ledger.audit(self.who, what, why=why, subject=subject, details=details)


def _changed(before: StoredReport | None, report: Report) -> list[tuple[str, str, str]]:
    """Return the cases whose verdict differs; `-` stands for a case that one of the reports does not have."""
    old = {case.name: case.verdict.value for case in before.report.cases} if before else {}
    new = {case.name: case.verdict.value for case in report.cases}
    names = [*new, *(name for name in old if name not in new)]
    pairs = [(name, old.get(name, "-"), new.get(name, "-")) for name in names]
    return [(name, was, now) for name, was, now in pairs if was != now]


def _worth(entry: Entry) -> tuple[int | None, int | None, int]:
    return entry.points, entry.result.graded, entry.result.max_points
