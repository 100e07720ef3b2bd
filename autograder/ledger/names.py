"""The names in the ledger: repositories, commits, refs, assignments and jobs. Invalid names are refused here."""

import re
from dataclasses import dataclass

from autograder.git.names import is_commit, is_host, is_ref, is_repository_path
from autograder.ledger.faults import LedgerError

_ASSIGNMENT = re.compile(r"[A-Za-z0-9_-]{1,32}")  # shorter than a commit's id, so a job's id is unambiguous


@dataclass(frozen=True, order=True)
class RepositoryName:
    """A repository on a git host, written `host/owner/name`. An owner may be nested (`group/team`).

    Raises:
        LedgerError: a part holds a character that is not allowed in a repository's name.
    """

    host: str
    owner: str
    name: str

    def __post_init__(self) -> None:
        if not is_host(self.host) or not is_repository_path(f"{self.owner}/{self.name}"):
            raise LedgerError(
                f"{f'{self.host}/{self.owner}/{self.name}'!a} is not a repository: write host/owner/name with "
                "letters, digits, '.', '_' and '-'"
            )

    def __str__(self) -> str:
        return f"{self.host}/{self.owner}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> "RepositoryName":
        """Return the name that is written `host/owner/name`.

        Raises:
            LedgerError: `text` is not such a name.
        """
        host, _, path = text.partition("/")
        owner, _, name = path.rpartition("/")
        return cls(host, owner, name)


def job_id(repository: RepositoryName, commit: str, assignment: str, attempt: int = 1) -> str:
    """Return the id of a job: `grade:{repository}:{commit}:{assignment}`, with the suffix `:rN` for a regrade."""
    return f"grade:{repository}:{commit}:{assignment}" + (f":r{attempt}" if attempt > 1 else "")


def checked_commit(text: str, what: str = "commit") -> str:
    """Return `text`, the full id of a commit.

    Raises:
        LedgerError: `text` does not consist of 40 or 64 lower-case hex digits.
    """
    if not is_commit(text):
        raise LedgerError(f"{what} {text[:80]!a} is not a full commit id: 40 or 64 lower-case hex digits")
    return text


def checked_ref(text: str) -> str:
    """Return `text`, the full name of a ref.

    Raises:
        LedgerError: `text` is not such a name.
    """
    if not is_ref(text):
        raise LedgerError(f"{text[:80]!a} is not the full name of a ref, such as refs/heads/main")
    return text


def checked_assignment(text: str) -> str:
    """Return `text`, the name of an assignment.

    Raises:
        LedgerError: `text` is not a valid name.
    """
    if not _ASSIGNMENT.fullmatch(text):
        raise LedgerError(
            f"{text[:80]!a} is not an assignment's name: use up to 32 letters, digits, '_' and '-'"
        )
    return text
