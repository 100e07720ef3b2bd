"""The events that a webhook can stand for: a push, a ping, or nothing to grade."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Push:
    """A graded branch moved to a commit.

    Attributes:
        host: the configured name, from the endpoint.
        owner, name: of the repository; an owner on GitLab may be nested, `group/team`.
        ref, branch: `refs/heads/main`, `main`.
        commit, before: full ids; `before` is all zeros for a new branch.
        sender: who pushed: one line, for people to read.
        delivery_id: the host's id of the delivery; it stays the same when the host sends it again.
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
    """The host checks that the webhook works. The signature is valid."""

    host: str
    delivery_id: str


@dataclass(frozen=True)
class Ignored:
    """A request with a valid signature that asks for nothing. The reason is one line."""

    reason: str


Event = Push | Ping | Ignored
