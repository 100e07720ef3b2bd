"""Grades one commit for a CI job that runs under another account: fetch, grade, record, publish, answer.

The job hands over three lines: owner/name, the commit, and its own token. The token opens the repository for this
request only; whoever cannot open a repository cannot have it graded, nor read what it scored. Only the tip of the
branch is graded, and a commit that has a report is answered with that report.
"""

import dataclasses
import tempfile
from dataclasses import dataclass, field
from datetime import timezone
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from autograder import gitnames
from autograder.config import Config
from autograder.errors import GraderError, SubmissionError
from autograder.feedback import BRANCH, publish
from autograder.fetch import branch_head, fetch_commit
from autograder.grade import Grader
from autograder.ledger import Ledger
from autograder.ledger.rows import JobState, RepositoryName, StoredReport, job_id
from autograder.remote import Credentials, Remote
from autograder.report import Report, dumps, markdown

MAX_REQUEST = 4096  # bytes
WORKER = "ci"


@dataclass(frozen=True)
class Request:
    """What a job asks for. The token appears nowhere else."""

    repository: str
    commit: str
    token: str = field(default="", repr=False)


def read_request(stream: BinaryIO) -> Request:
    """Return the request in `stream`: owner/name, commit and token, a line each; the token may be empty.

    Raises:
        GraderError: it is not that.
    """
    content = stream.read(MAX_REQUEST + 1)
    lines = content.decode("ascii", "replace").splitlines()
    if len(content) > MAX_REQUEST or not 2 <= len(lines) <= 3:
        raise GraderError("a request has three lines: owner/name, the full id of the commit, the job's token")
    repository, commit, token = (*lines, "")[:3]
    if not gitnames.is_repository_path(repository):
        raise GraderError(f"not a repository: {repository!r:.200}; write owner/name")
    if not gitnames.is_commit(commit):
        raise GraderError(f"not the full id of a commit: {commit!r:.100}")
    return Request(repository, commit, token)


def answer(
    settings: Config,
    config_file: Path,
    request: Request,
    *,
    assignment: str,
    base: str,
    branch: str,
    sandbox: str,
) -> str:
    """Grade what is asked for, publish it on `score-feedback` with the job's token; return score.md.

    Args:
        settings: the course's.
        config_file: where they were read from.
        request: by a job.
        assignment: which suite.
        base: where the repositories are, `https://github.com`.
        branch: whose tip is graded.
        sandbox: `auto`, `bwrap`, `docker` or `none`.

    Raises:
        GraderError: no score could be given: our fault, or there is nothing to grade.
    """
    settings.assignment(assignment)
    owner, _, name = request.repository.rpartition("/")
    remote, credentials = Remote.at(base, owner, name), Credentials(token=request.token)
    repository = RepositoryName(_host(base), owner, name)
    tip = branch_head(remote, branch, credentials=credentials)  # also shows that the token opens it
    with Ledger.open(settings.ledger_url(), folder=Path(settings.folder)) as ledger:
        job = job_id(repository, request.commit, assignment)
        stored = ledger.report(job)
        if stored is None:
            if tip != request.commit:
                raise GraderError(
                    f"{remote}: {request.commit} is not the tip of {branch} (any more); the push that came after "
                    "it has a job of its own"
                )
            ledger.record_push(repository, commit=request.commit, ref=f"refs/heads/{branch}")
            ledger.open_job(repository, request.commit, assignment, reason="asked for by a CI job")
            ledger.move(job, JobState.RUNNING, worker=WORKER)
            try:
                report = _grade(
                    settings, config_file, remote, request.commit, credentials, assignment, sandbox
                )
            except GraderError as error:
                ledger.move(job, JobState.FAILED, reason=str(error), worker=WORKER)
                raise
            stored = ledger.add_report(job, report).row
        ledger.move(job, JobState.FINAL, worker=WORKER)
        text = markdown([stored.report])
        if branch_head(remote, branch, credentials=credentials) == request.commit:
            _publish(ledger, stored, remote, request.commit, credentials, text)
    return text


def _grade(
    settings: Config,
    config_file: Path,
    remote: Remote,
    commit: str,
    credentials: Credentials,
    assignment: str,
    sandbox: str,
) -> Report:
    with (
        tempfile.TemporaryDirectory(prefix="autograder-ci-") as name,
        Grader(settings, assignment, config_file=config_file, sandbox=sandbox) as grader,
    ):
        folder = Path(name)
        try:
            submission = fetch_commit(remote, commit, credentials=credentials)
        except SubmissionError as error:  # every case gets this answer
            report = grader.grade(folder, commit)
            cases = [dataclasses.replace(case, message=str(error)) for case in report.cases]
            return dataclasses.replace(report, cases=tuple(cases))
        for path, content in submission.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return grader.grade(folder, commit)


def _publish(
    ledger: Ledger, stored: StoredReport, remote: Remote, commit: str, credentials: Credentials, text: str
) -> None:
    files = {"score.md": text.encode(), "score.json": dumps(stored.report.to_json()).encode()}
    when = stored.recorded.astimezone(timezone.utc)
    published = publish(
        remote, graded_commit=commit, attempt=1, files=files, when=when, credentials=credentials
    )
    ledger.add_feedback(stored.job_id, commit=published.commit, branch=BRANCH)


def _host(base: str) -> str:
    """Return what the ledger calls the git host."""
    address = urlsplit(base)
    port = f":{address.port}" if address.port else ""
    return f"{address.hostname}{port}" if address.hostname else "localhost"
