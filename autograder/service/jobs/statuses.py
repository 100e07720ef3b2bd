"""Commit statuses: what a git host shows beside a commit, from pending to "85 / 100".

A status is derived from the ledger at the moment at which it is sent, and looked at once more after that. So it does
not matter which process sends it, or in what order. Nothing waits for a status, and no job fails because of one: they
are sent by a thread of their own, and a host that refuses them is left alone for a while.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from autograder.config.times import DeadlineError
from autograder.course.course import Course, Target
from autograder.course.deadline import Timing
from autograder.course.standing import standing
from autograder.errors import GraderError
from autograder.git.names import HEADS
from autograder.hosts.api import Limited, Refusal
from autograder.hosts.writes import State, Status
from autograder.language import Text, languages, tell
from autograder.ledger import OPEN, Job, JobState, Ledger, RepositoryName
from autograder.service.jobs.showing import NOT_GRADED, OVER_LIMIT
from autograder.service.logs import LOG

WAITS = (2.0, 10.0, 60.0, 300.0, 1800.0)  # seconds between the tries to send one status
REFUSED_SECONDS = 3600.0  # a host that does not let us set statuses is asked again after this time
MOST = 10_000  # statuses that wait
REMEMBERED = 10_000  # statuses that were sent
SECONDS = 10.0  # of one call
_NOT_ALLOWED = (401, 403)

Key = tuple[RepositoryName, str]


@dataclass
class _Due:
    at: float
    tries: int = 0


def status_of(ledger: Ledger, course: Course, repository: RepositoryName, commit: str) -> Status | None:
    """Return the status of a commit, or None if it has none: it is not graded, or it is one of our own.

    Raises:
        DeadlineError: a mistake in the file of extensions leaves open what counts.
        GraderError: the ledger cannot be read.
    """
    target = _target(ledger, course, repository, commit)
    jobs = [job for job in ledger.jobs(repository=repository) if job.commit == commit]
    if target is None or not jobs or ledger.is_own(commit):
        return None
    jobs = [job for job in jobs if job.assignment == target.assignment]
    last = max(jobs, key=lambda job: job.attempt, default=None)
    if last is None:
        return None
    if (
        last.attempt > 1 and last.state is not JobState.FINAL
    ):  # the status of the attempt before stays until the end
        done = [job for job in jobs if job.state is JobState.FINAL]
        last = max(done, key=lambda job: job.attempt, default=last)
    state, text = _said(ledger, course, target, last)
    if text is None:
        return None
    shown = dict.fromkeys(text.in_(language) for language in languages(course.config.feedback.language))
    has_page = state in (State.GRADED, State.NOT_GRADED)
    url = course.feedback_url(repository) if has_page else None
    return Status(commit, state, " ".join(shown), url or "")


def _said(ledger: Ledger, course: Course, target: Target, job: Job) -> tuple[State, Text | None]:
    if job.state is JobState.FAILED:
        return State.PENDING, tell("A fault of the grader, not of your code. It will try again.")
    if job.state in OPEN:
        return State.PENDING, tell("Waiting to be graded.")
    if job.state is JobState.DEAD:
        return State.FAULT, tell("A fault of the grader, not of your code. The course staff will see to it.")
    if job.state is JobState.SUPERSEDED:
        return State.PASSED_OVER, tell("A newer push is graded instead.")
    stored = ledger.report(job.id)
    if stored is None:
        if not job.reason.startswith(NOT_GRADED):
            return State.PASSED_OVER, None
        if job.reason == f"{NOT_GRADED}{Timing.LATE.value}":
            return State.NOT_GRADED, tell("Not graded: it came after the deadline.")
        if job.reason == f"{NOT_GRADED}{Timing.EARLY.value}":
            return State.NOT_GRADED, tell("Not graded: the assignment was not open yet.")
        if job.reason == f"{NOT_GRADED}{OVER_LIMIT}":
            return State.NOT_GRADED, tell("Not graded: there were too many pushes. See the feedback.")
        return State.NOT_GRADED, tell("Not graded: see the feedback.")
    found = standing(ledger, course, target)
    if found.open:
        raise DeadlineError(found.open)
    points, most = stored.report.points, stored.report.max_points
    why: tuple[Text, ...] = ()
    if found.score is not None and found.score.commit == job.commit:
        result = found.result
        if result.excused:
            return State.GRADED, result.why[-1]
        points, why = points if result.points is None else result.points, result.why
    score = tell("{points} / {most}", points=points, most=most)
    return State.GRADED, tell("{score}. {why}", score=score, why=why[0]) if why else score


def _target(ledger: Ledger, course: Course, repository: RepositoryName, commit: str) -> Target | None:
    for push in reversed(ledger.pushes(repository, commit=commit)):
        target = course.target(repository, push.ref.removeprefix(HEADS))
        if target is not None:
            return target
    return None


class Statuses:
    """Sends the statuses of commits. Threads may share it.

    Args:
        ledger, course: of the course.
        clock: returns the seconds of a clock that does not go back.
    """

    def __init__(self, ledger: Ledger, course: Course, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._course, self._clock = ledger, course, clock
        self._changed = threading.Condition()
        self._due: dict[Key, _Due] = {}
        self._sent: dict[Key, Status] = {}
        self._left_alone: dict[str, float] = {}
        self._busy: Key | None = None
        self._thread: threading.Thread | None = None
        self._ends = False

    def look(self, repository: RepositoryName, commit: str) -> None:
        """Send the status of a commit if it has changed, soon. This never blocks and raises nothing."""
        if not self._shows(repository.host):
            return
        with self._changed:
            if len(self._due) < MOST:
                self._due[(repository, commit)] = _Due(self._clock())
            if self._thread is None and not self._ends:
                self._thread = threading.Thread(target=self._run, name="statuses", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def look_at_all(self, target: Target) -> None:
        """Do the same for the newest commit of a repository, and for the one that counts."""
        if not self._shows(target.repository.host):
            return
        try:
            found = standing(self._ledger, self._course, target)
        except GraderError as error:
            LOG.warning("no status was sent", extra={"reason": str(error)})
            return
        commits = [judged.push.commit for judged in found.pushes[-1:]]
        for commit in dict.fromkeys([*commits, *([found.score.commit] if found.score else [])]):
            self.look(target.repository, commit)

    def close(self, seconds: float) -> None:
        """Send what is due now, and end; after `seconds` in any case."""
        until = self._clock() + seconds
        with self._changed:
            while self._thread is not None and self._clock() < until:
                due = [one for one in self._due.values() if one.at <= self._clock()]
                if not due and self._busy is None:
                    break
                self._changed.wait(min(0.05, seconds))
            self._ends = True
            self._changed.notify_all()

    def _shows(self, host: str) -> bool:
        settings = self._course.config
        if not settings.feedback.commit_status or host not in settings.hosts:
            return False
        return self._course.kind(host).writes.set_status is not None

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._ends:
                    now = self._clock()
                    ready = [key for key, due in self._due.items() if due.at <= now]
                    if ready:
                        break
                    next_one = min((due.at for due in self._due.values()), default=now + 3600)
                    self._changed.wait(max(0.01, next_one - now))
                if self._ends:
                    return
                self._busy = ready[0]
                due = self._due.pop(self._busy)
            try:
                self._send(self._busy, due)
            except Exception:  # noqa: BLE001 (a bug here must not end the statuses of others)
                LOG.exception("a status could not be sent")
            finally:
                with self._changed:
                    self._busy = None
                    self._changed.notify_all()

    def _send(self, key: Key, due: _Due) -> None:
        repository, commit = key
        if self._left_alone.get(repository.host, 0.0) > self._clock():
            return
        facts = {"repository": str(repository), "commit": commit}
        try:
            status = status_of(self._ledger, self._course, repository, commit)
            if status is None or self._sent.get(key) == status:
                return
            set_status = self._course.kind(repository.host).writes.set_status
            api = replace(self._course.status_api(repository.host), seconds=SECONDS)
            if set_status is None or not api.token:
                return
            set_status(api, repository.owner, repository.name, status)
        except Limited as error:
            self._again(key, due, error.seconds)
        except Refusal as error:
            LOG.warning("the host refuses the status of a commit", extra={**facts, "reason": str(error)})
            if error.status in _NOT_ALLOWED:
                self._left_alone[repository.host] = self._clock() + REFUSED_SECONDS
            elif error.status >= 500:
                self._again(key, due, WAITS[min(due.tries, len(WAITS) - 1)])
        except GraderError as error:
            LOG.warning("the status of a commit was not sent", extra={**facts, "reason": str(error)})
            self._again(key, due, WAITS[min(due.tries, len(WAITS) - 1)])
        else:
            self._sent.pop(key, None)
            self._sent[key] = status
            while len(self._sent) > REMEMBERED:
                self._sent.pop(next(iter(self._sent)))
            self._again(key, _Due(0.0), 0.0)  # the ledger may have moved on meanwhile

    def _again(self, key: Key, due: _Due, seconds: float) -> None:
        with self._changed:
            if due.tries < len(WAITS) and len(self._due) < MOST:
                self._due.setdefault(key, _Due(self._clock() + seconds, due.tries + 1))
