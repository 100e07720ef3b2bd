"""What we change at a git host: repositories that are handed out, and the status of a commit.

Every call may be repeated: it looks at what is there, and changes what is missing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from autograder.git.process import GitHostError, one_line
from autograder.hosts.api import Api, Refusal

CONTEXT = "autograder"  # the name of our status among those of a commit
MAX_TEXT = 140  # GitHub's limit


class State(Enum):
    """What a commit status says about the grading of a commit."""

    PENDING = "pending"
    GRADED = "graded"
    NOT_GRADED = "not graded"  # it was late, or there were too many pushes
    PASSED_OVER = "passed over"  # a newer push is graded in its place
    FAULT = "fault"  # ours


@dataclass(frozen=True)
class Status:
    """The status of one commit.

    Attributes:
        commit: its full id.
        state: what happened.
        text: for students, one line.
        url: the page of its feedback; empty: it has no page.
    """

    commit: str
    state: State
    text: str
    url: str = ""

    @property
    def line(self) -> str:
        """The text as hosts take it."""
        text = one_line(self.text)
        return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


@dataclass(frozen=True)
class Granted:
    """Who may write to a repository now.

    Attributes:
        writers: those who were named, and may.
        added: those of them who got the right by this call.
        invited: those who were named, and must accept the host's invitation first.
        others: who else was given that right in this repository.
    """

    writers: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    invited: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """The account with which the grader pushes feedback: its number at the host, and its login name."""

    number: int
    login: str


@dataclass(frozen=True)
class Branches:
    """The branches of a repository that are protected.

    Attributes:
        graded: students push to it; it is neither deleted nor moved back.
        feedback: the grader alone writes to it.
        grader: who that is; None: a GitHub App, or nobody knows.
        app: id of the GitHub App that is the grader; empty: it is an account.
    """

    graded: str
    feedback: str
    grader: Account | None = None
    app: str = ""


@dataclass(frozen=True, kw_only=True)
class Writes:
    """The writing calls of one kind of host. Each takes the API, and the repository's owner and name.

    Attributes:
        account: whose token this is. None: the host needs no account. It takes the API alone.
        exists: whether the repository is there.
        create: makes it, private and empty, with the name of its first branch.
        grant: gives accounts the right to write, and says who has it.
        protect: protects the branches; returns why something could not be protected.
        add_webhook: makes the webhook with an address and a secret, unless the repository or its owner has it; returns
            whether it was made. None: the host sends no webhooks.
        set_status: sets the status of a commit. None: the host shows none.

    All of them raise GitHostError if the host does not respond, or refuses.
    """

    account: Callable[[Api], Account] | None
    exists: Callable[[Api, str, str], bool]
    create: Callable[[Api, str, str, str], None]
    grant: Callable[[Api, str, str, Sequence[str]], Granted]
    protect: Callable[[Api, str, str, Branches], list[str]]
    add_webhook: Callable[[Api, str, str, str, str], bool] | None
    set_status: Callable[[Api, str, str, Status], None] | None


def unless(
    api: Api, method: str, path: str, headers: Mapping[str, str], body: Any = None, *, status: Sequence[int]
) -> Any:
    """Make a call, see `Api.call`; return None if the host refuses with one of these statuses.

    Raises:
        GitHostError: the host did not respond, or refused with another status.
    """
    try:
        return api.call(method, path, headers, body)
    except Refusal as error:
        if error.status in status:
            return None
        raise


def rows(data: Any) -> list[dict[str, Any]]:
    """Return the objects of a response that is a list; an empty list for anything else."""
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []


def text(row: Any, *keys: str) -> str:
    """Return the text at `keys` in nested objects; empty if there is no text."""
    for key in keys:
        row = row.get(key) if isinstance(row, dict) else None
    return row if isinstance(row, str) else ""


def account_in(api: Api, data: Any, login: str) -> Account:
    """Return the account in a response.

    Args:
        api: for messages.
        data: the response.
        login: the key of its login name.

    Raises:
        GitHostError: the response has no account.
    """
    number = data.get("id") if isinstance(data, dict) else None
    if not isinstance(number, int) or not text(data, login):
        raise GitHostError(f"{api.host}: it does not say whose the token is")
    return Account(number, text(data, login))


def without_case(names: Sequence[str]) -> dict[str, str]:
    """Return the names by their form in lower case."""
    return {name.lower(): name for name in names}
