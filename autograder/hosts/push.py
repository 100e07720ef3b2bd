"""What a git host tells us: a push, a ping, or nothing that we grade."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Push:
    """A branch that we grade moved to a commit.

    Attributes:
        host: ours, from the endpoint.
        owner, name: of the repository; an owner on GitLab may be nested, `group/team`.
        ref, branch: `refs/heads/main`, `main`.
        commit, before: full ids; `before` is all zeros for a new branch.
        sender: who pushed, one line, for people to read.
        delivery_id: the host's, the same when it sends this once more.
        payload_digest: sha256 of the body, hex.
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
    """The host tries whether we are there, and signs it rightly."""

    host: str
    delivery_id: str


@dataclass(frozen=True)
class Ignored:
    """Rightly signed, and nothing to do. The reason is one line."""

    reason: str


Event = Push | Ping | Ignored
