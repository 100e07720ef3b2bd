"""Grades one commit for a CI job that runs under another account, where no webhook can reach the service.

The CI job hands over three lines: owner/name, the commit, and its own token. The course decides everything else: the
assignment of the repository, its deadline, its suite. Git uses the CI job's token instead of the course's token. So
somebody who cannot write to a repository can neither have it graded nor read its score. A commit is taken as a push if
it is at the tip of the branch, or if the ledger or the host's own record says that it was. So a job that waited, or
that is run again, grades its commit whatever was pushed since.

Such a push is recorded like any other. Its job in the ledger takes the same steps as others, but in this process and
without a queue.
"""

import fcntl
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO

from autograder.config import Config
from autograder.course.course import Course, Feedback, Target
from autograder.errors import GraderError
from autograder.git import feedback
from autograder.git.fetch import branch_head
from autograder.git.names import HEADS, is_commit, is_repository_path
from autograder.git.remote import Credentials
from autograder.hosts.github import CONTENTS
from autograder.hosts.push import Push
from autograder.language import tell
from autograder.ledger import Job, JobState, Ledger, RepositoryName, Source, job_id
from autograder.locks import open_lock
from autograder.report import heading, in_all, markdown, paragraphs
from autograder.service.intake.intake import Intake
from autograder.service.jobs import showing
from autograder.service.jobs.graders import Graders
from autograder.service.jobs.pipeline import Pipeline

MAX_REQUEST = 4096  # bytes
WORKER = "ci:0"


@dataclass(frozen=True)
class Request:
    """The request of a CI job. The token is stored nowhere else."""

    repository: str
    commit: str
    token: str = field(default="", repr=False)


class JobsCourse(Course):
    """The course, except that git opens repositories with the token of a CI job."""

    def __init__(self, config: Config, token: str) -> None:
        super().__init__(config)
        self._token = token

    def credentials(self, host: str, permissions: Mapping[str, str] = CONTENTS) -> Credentials:
        """Return the CI job's token, with the user name and the trusted certificates of the course."""
        ours = super().credentials(host, permissions)
        return Credentials(token=self._token, username=ours.username, ca_file=ours.ca_file)


class NoQueue:
    """Stands for the queue in a process that does its job itself: no job ever waits."""

    def enqueue(self, job: Job, queue: str, *, priority: int, delay: timedelta) -> bool:  # noqa: ARG002
        return False

    def cancel(self, job_id: str) -> None:
        """Do nothing: a worker that takes the job will see in the ledger that the job is superseded."""


def read_request(stream: BinaryIO) -> Request:
    """Return the request in `stream`: three lines with owner/name, commit and token. The token may be empty.

    Raises:
        GraderError: the stream does not hold such a request.
    """
    content = stream.read(MAX_REQUEST + 1)
    lines = content.decode("ascii", "replace").splitlines()
    if len(content) > MAX_REQUEST or not 2 <= len(lines) <= 3:
        raise GraderError("a request has three lines: owner/name, the full id of the commit, the job's token")
    repository, commit, token = (*lines, "")[:3]
    if not is_repository_path(repository):
        raise GraderError(f"not a repository: {repository!r:.200}; write owner/name")
    if not is_commit(commit):
        raise GraderError(f"not the full id of a commit: {commit!r:.100}")
    return Request(repository, commit, token)


def grade(
    config: Config,
    request: Request,
    graders: Graders,
    *,
    host: str = "",
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> str:
    """Grade the commit of a request, publish feedback with the job's token, and return the text to show.

    Args:
        config: of the course.
        request: of the CI job.
        graders: the suite servers.
        host: the name of the repository's git host in the configuration. Default: the only host in the configuration.
        clock: returns the present moment, with a time zone.

    Raises:
        GraderError: there is nothing to grade, or no score can be given for a reason that is not the student's fault.
    """
    course = JobsCourse(config, request.token)
    target = _target(course, request, host)
    # The token must open the repository for writing. To read it is not enough, since anybody can read a public
    # repository. The tries of a stranger could not be published, and would use up the tries of the owner's job.
    credentials = course.credentials(target.repository.host)
    feedback.require_write(
        target.remote,
        branch=course.feedback.branch,
        graded_commit=request.commit,
        when=clock(),
        credentials=credentials,
    )
    head = branch_head(target.remote, target.branch, credentials=credentials)
    with Ledger.open(config.ledger_url(), folder=Path(config.folder), clock=clock) as ledger:
        intake = Intake(ledger, course, NoQueue(), supersedes=False, clock=clock)
        target = replace(target, repository=intake.named(target.repository))
        job = job_id(target.repository, request.commit, target.assignment)
        _recorded(intake, target, request, head)
        ledger.open_job(target.repository, request.commit, target.assignment)
        # The push is recorded with its time already. Grading waits until earlier requests of the repository are done.
        with (
            _alone(config, target.repository),
            tempfile.TemporaryDirectory(prefix="autograder-ci-") as folder,
        ):
            worker = Pipeline(
                ledger, course, graders, intake, Path(folder), WORKER, clock=clock, supersedes=False
            )
            if ledger.job(job).state is JobState.SUPERSEDED:  # by the service, before it was graded
                ledger.move(job, JobState.QUEUED, reason="a CI job asks for it")
            worker.run(job)
            before = {each.id for each in _jobs(ledger, target)}
            # Where no service runs, nobody else grades what was over a limit, or was late before an extension.
            if intake.grade_what_counts(target):
                for each in _jobs(ledger, target):
                    if each.id not in before:
                        worker.run(each.id)
            if not showing.is_shown(ledger, course, target):  # the branch was set back to a graded commit
                showing.publish(ledger, course, target)
        own = (each for each in _jobs(ledger, target) if each.commit == request.commit)
        return _shown(ledger, max(own, key=lambda each: each.attempt).id, course.feedback)


def _jobs(ledger: Ledger, target: Target) -> Sequence[Job]:
    return ledger.jobs(repository=target.repository, assignment=target.assignment)


def _recorded(intake: Intake, target: Target, request: Request, head: str | None) -> None:
    """Make sure that the ledger holds the push of a request's commit.

    Raises:
        GraderError: nobody knows that the commit was ever at the tip of the branch.
    """
    ledger = intake.ledger
    if ledger.is_own(request.commit):
        own = tell(
            "{commit} was made by the course staff and is not graded; push a commit of your own",
            commit=request.commit,
        )
        raise GraderError(in_all(own, intake.course.feedback.form))
    if head == request.commit:
        intake.receive(_push(ledger, target, request), intake.clock(), source=Source.CI)
    elif not ledger.pushes(target.repository, commit=request.commit, ref=HEADS + target.branch):
        intake.read_record(target)
        if not ledger.pushes(target.repository, commit=request.commit, ref=HEADS + target.branch):
            elsewhere = tell(
                "{repository}: {commit} is not the tip of {branch} (any more), and no record says that it was; the "
                "push that came after it has a job of its own",
                repository=target.remote,
                commit=request.commit,
                branch=target.branch,
            )
            raise GraderError(in_all(elsewhere, intake.course.feedback.form))


@contextmanager
def _alone(config: Config, repository: RepositoryName) -> Iterator[None]:
    """Wait until no other CI job of the repository is being graded, then keep others waiting.

    Each CI job takes the memory of a suite server.
    """
    folder = config.state / "ci"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = open_lock(folder / hashlib.sha256(str(repository).encode()).hexdigest()[:20])
    except OSError as error:
        raise GraderError(f"cannot lock the repository: {error}; make {folder} writable") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _target(course: Course, request: Request, host: str) -> Target:
    hosts = course.config.hosts
    if not host and len(hosts) != 1:
        raise GraderError(
            f"choose a git host with --host: {', '.join(hosts) or 'there is no host in autograder.toml'}"
        )
    owner, _, name = request.repository.rpartition("/")
    repository = RepositoryName(host or next(iter(hosts)), owner, name)
    branches = {assignment.branch for assignment in course.config.assignments.values()}
    found = [target for branch in branches if (target := course.target(repository, branch))]
    if not found:
        raise GraderError(f"no assignment is configured for {repository}; see autograder config show")
    return found[0]


def _push(ledger: Ledger, target: Target, request: Request) -> Push:
    """Return the push that led to this request. The ledger knows at which commit the branch was before."""
    earlier = ledger.pushes(target.repository, ref=HEADS + target.branch)
    if not earlier:
        before = "0" * len(request.commit)
    else:
        last = earlier[-1]
        before = last.before if last.commit == request.commit else last.commit
    name = target.repository
    return Push(
        host=name.host,
        owner=name.owner,
        name=name.name,
        ref=HEADS + target.branch,
        branch=target.branch,
        commit=request.commit,
        before=before,
        sender="a CI job",
        delivery_id="",
        payload_digest="",
    )


def _shown(ledger: Ledger, job_name: str, settings: Feedback) -> str:
    """Return the result of a job as Markdown.

    Raises:
        GraderError: the job has no result yet.
    """
    job, stored = ledger.job(job_name), ledger.report(job_name)
    if job.state is not JobState.FINAL:
        raise GraderError(f"{job.id} is {job.state.value}: {job.reason}")
    if stored is None:
        reason = {str(text): text for text in (tell("not graded: late"), tell("not graded: early"))}
        note = tell(
            "{reason}; see score.md on the branch {branch}.",
            reason=reason.get(job.reason, job.reason),
            branch=settings.branch,
        )
        return f"{heading(settings.form)}\n{paragraphs(note, settings.form)}"
    return markdown([stored.report], form=settings.form)
