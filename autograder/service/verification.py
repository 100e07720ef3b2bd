"""Compares published scores with the ledger: whose they are, and whether they are the newest.

A seal proves that the service published a score.json. It does not prove that it was published in this repository, or
that it is the newest: a student may put a classmate's sealed files, or older ones, on the branch. The ledger knows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.git import feedback
from autograder.git.process import NotFound
from autograder.git.remote import Remote
from autograder.git.scratch import origin
from autograder.grading import seal
from autograder.grading.seal import State, Verification
from autograder.ledger import Ledger, RepositoryName
from autograder.ledger.removal import HOST as REMOVED
from autograder.service.intake.post_receive import HookError, place

_ADDRESS = re.compile(
    r"(?:[a-z+]+://)?(?:[^@/]*@)?(?P<host>[^@/:]+(?::[0-9]+(?=/))?)[:/]+(?P<path>.+?)(?:\.git)?/*"
)


@dataclass(frozen=True)
class Checked:
    """What one repository shows.

    Attributes:
        repository: its name.
        found: the verification; None if the branch could not be read.
        problem: why the branch could not be read.
    """

    repository: RepositoryName
    found: Verification | None
    problem: str = ""


def published(remote: Remote, branch: str, **values: object) -> tuple[bytes | None, bytes | None]:
    """Return the content of score.json and of score.md at the tip of a branch; None for a file that is not there.

    Raises:
        NotFound: there is no such branch.
        GraderError: the branch cannot be read.
    """
    files = feedback.published(remote, branch, limit=seal.MAX_BYTES, **values)  # type: ignore[arg-type]
    # A score.md of None is a link or is too large. It is replaced by an empty table, which matches no seal.
    return files.get("score.json"), (files["score.md"] or b"") if "score.md" in files else None


def whose(course: Course, path: Path) -> RepositoryName | None:
    """Return the name of the repository at `path`, or None if it cannot be known.

    A bare repository is named by its place in the folder of a host, a clone by the address of its remote `origin`.
    """
    address = origin(path)
    local = Path(address.removeprefix("file://")) if address.startswith(("/", "file:///")) else path
    try:
        return place(course, local).repository
    except HookError:
        match = _ADDRESS.fullmatch(address)
    if match is None or match["host"] not in course.config.hosts:
        return None
    try:
        return RepositoryName.parse(f"{match['host']}/{match['path']}")
    except GraderError:
        return None


def compare(found: Verification, ledger: Ledger, repository: RepositoryName | None) -> Verification:
    """Compare an unchanged score with the ledger; return the verification, with another state if they differ.

    Args:
        found: from `seal.verify`.
        ledger: has the feedback that was published.
        repository: in which the score was found; None if it is not known.
    """
    if found.state is not State.UNCHANGED:
        return found
    if repository is not None and found.repository != str(repository):
        return other_repository(found, repository)
    try:
        history = ledger.history(RepositoryName.parse(found.repository))
    except GraderError as error:
        return replace(found, state=State.NOT_IN_LEDGER, reason=str(error))
    given = [
        (commit.id, entry.job)
        for entry in history.jobs
        if entry.job.assignment == found.assignment
        for commit in entry.feedback
    ]
    if not any((job.commit, job.attempt) == (found.commit, found.attempt) for _, job in given):
        reason = "the ledger has no such feedback; was a backup restored, or is this another ledger?"
        return replace(found, state=State.NOT_IN_LEDGER, reason=reason)
    newest = max(given, key=lambda each: each[0])[1]
    if (newest.commit, newest.attempt) != (found.commit, found.attempt):
        reason = f"the newest feedback is on {newest.commit}, attempt {newest.attempt}"
        return replace(found, state=State.OUTDATED, reason=reason)
    return found


def other_repository(found: Verification, repository: RepositoryName) -> Verification:
    """Return the verification of a score that was published elsewhere than in `repository`."""
    reason = f"it was published in {found.repository}, and was found in {repository}"
    return replace(found, state=State.OTHER_REPOSITORY, reason=reason)


def verify_all(course: Course, ledger: Ledger, secret: bytes) -> Iterator[Checked]:
    """Verify the feedback branch of every repository that got feedback, on its host."""
    for repository in ledger.repositories():
        if repository.host == REMOVED:
            continue
        history = ledger.history(repository)
        if not any(entry.feedback for entry in history.jobs):
            continue
        target = next(
            filter(None, (course.target(repository, _branch(push.ref)) for push in history.pushes)), None
        )
        if target is None:
            yield Checked(repository, None, "it belongs to no assignment any more")
            continue
        try:
            credentials = course.credentials(repository.host)
            score, table = published(target.remote, course.feedback.branch, credentials=credentials)
        except NotFound:
            yield Checked(repository, None, f"the branch {course.feedback.branch} was deleted")
            continue
        except GraderError as error:
            yield Checked(repository, None, str(error))
            continue
        if score is None:
            yield Checked(repository, None, f"there is no score.json on {course.feedback.branch}")
        else:
            yield Checked(repository, compare(seal.verify(score, table, secret), ledger, repository))


def _branch(ref: str) -> str:
    return ref.removeprefix("refs/heads/")
