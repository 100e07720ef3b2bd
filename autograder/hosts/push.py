"""The events that a webhook can stand for: a push, a ping, or nothing to grade; and the moves of a host's record."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Push:
    """A graded branch moved to a commit.

    Attributes:
        host: the configured name, from the endpoint.
        owner, name: of the repository; an owner on GitLab may be nested, `group/team`.
        ref, branch: `refs/heads/main`, `main`.
        commit, before: full ids of the branch's commits after and before the push; `before` is all zeros for a new
            branch.
        sender: who pushed: one line, for people to read.
        delivery_id: the host's id of the delivery; it stays the same when the host sends the delivery again.
        payload_digest: SHA-256 of the body, in hex.
    """

    host: str
    owner: str
    name: str
    ref: str
    branch: str
    commit: str
    before: str
    sender: str
    delivery_id: str
    payload_digest: str


@dataclass(frozen=True)
class Ping:
    """A request with a valid signature by which the host checks that the webhook works."""

    host: str
    delivery_id: str


@dataclass(frozen=True)
class Ignored:
    """A request with a valid signature that needs no grading. The reason is one line."""

    reason: str


Event = Push | Ping | Ignored


@dataclass(frozen=True)
class Move:
    """A move of a branch in the host's own record.

    Attributes:
        before, after: full ids of the branch's commits; `before` is all zeros for a new branch, and empty if the record
            does not say.
        at: when the branch moved, by the host's clock.
    """

    before: str
    after: str
    at: datetime
