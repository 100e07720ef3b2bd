"""The seal of a published score: with the course secret, staff can tell whether a score.json was edited.

Students can rewrite the feedback branch. So the service puts a seal into score.json. The seal is a keyed hash
(HMAC-SHA256) over the rest of score.json, over score.md, and over the repository and the commit that the feedback is
for. Only the staff have the secret, so only they can make or verify a seal. The ledger stays the truth about grades.
The functions in this module are pure.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

KEY = "seal"
MAX_BYTES = 4 << 20
_FIELDS = ("repository", "commit", "attempt", "table", "key", "hmac")
_RECEIVED = "received"  # not in seals of versions before 0.2, nor where the time is not known


class State(str, Enum):
    """Whether a score is still the one that the service published. The last three need the ledger, not the seal."""

    UNCHANGED = "unchanged"
    EDITED = "edited"
    UNSEALED = "not sealed"  # not published by a service, so nothing is known about it
    OTHER_SECRET = "sealed with another secret"  # noqa: S105 (a word)
    OTHER_REPOSITORY = "of another repository"
    OUTDATED = "not the newest"
    NOT_IN_LEDGER = "not in the ledger"


@dataclass(frozen=True)
class Verification:
    """The result of verifying a score. Every attribute below `reason` is copied from the file.

    Attributes:
        state: whether the score was edited.
        reason: the problem; empty if there is no problem.
        repository, commit, attempt: what the feedback is for. Trust them only if score.json is unchanged.
        received: when the push was received; None if the seal does not say.
        assignment, points, max_points: the score. Trust it only if score.json is unchanged.
    """

    state: State
    reason: str = ""
    repository: str = ""
    commit: str = ""
    attempt: int = 0
    assignment: str = ""
    points: int = 0
    max_points: int = 0
    received: datetime | None = None


def sealed(
    data: Mapping[str, Any],
    table: bytes,
    *,
    repository: str,
    commit: str,
    attempt: int,
    secret: bytes,
    received: datetime | None = None,
) -> dict[str, Any]:
    """Return the content of a score.json with its seal.

    Args:
        data: the content without a seal, as plain JSON.
        table: the score.md that is published with it.
        repository: the repository that the feedback is for, `host/owner/name`.
        commit: the commit that the feedback is for; not always the commit that was graded.
        attempt: the number of the attempt at that commit.
        secret: the course secret.
        received: when the push was received; None if that is not known.
    """
    key = _key(secret)
    seal: dict[str, Any] = {
        "repository": repository,
        "commit": commit,
        "attempt": attempt,
        "table": hashlib.sha256(table).hexdigest(),
        "key": _name(key),
    }
    if received is not None:
        seal["received"] = received.astimezone(timezone.utc).isoformat()
    seal["hmac"] = _hmac(key, {**data, KEY: seal})
    return {**data, KEY: seal}


def verify(content: bytes, table: bytes | None, secret: bytes) -> Verification:
    """Verify the seal of a score.json, and return the result.

    Args:
        content: the bytes of score.json; they may be anything.
        table: the bytes of score.md; None if there is no such file.
        secret: the course secret.
    """
    if len(content) > MAX_BYTES:
        return Verification(State.EDITED, f"score.json has more than {MAX_BYTES} bytes")
    try:
        data = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return Verification(State.EDITED, "score.json is not JSON, or has a key twice")
    seal = data.get(KEY) if isinstance(data, dict) else None
    if seal is None:
        return Verification(State.UNSEALED, "score.json has no seal; only what the service publishes has one")
    if (
        not isinstance(seal, dict)
        or set(seal) - {_RECEIVED} != set(_FIELDS)
        or not isinstance(seal["hmac"], str)
    ):
        return Verification(State.EDITED, "the seal does not have the form of a seal")
    key = _key(secret)
    if seal["key"] != _name(key):
        return Verification(
            State.OTHER_SECRET, "it comes from another course, the secret was changed, or it was edited"
        )
    unsigned = {**data, KEY: {name: value for name, value in seal.items() if name != "hmac"}}
    try:
        expected = _hmac(key, unsigned)
    except (ValueError, RecursionError):
        return Verification(State.EDITED, "score.json has numbers that no report can have")
    if not hmac.compare_digest(expected.encode(), seal["hmac"].encode("utf-8", "backslashreplace")):
        return Verification(State.EDITED, "score.json is not what was published")
    about = {
        "repository": str(seal["repository"]),
        "commit": str(seal["commit"]),
        "attempt": seal["attempt"],
        "assignment": data.get("assignment", ""),
        "points": data.get("points", 0),
        "max_points": data.get("max_points", 0),
        "received": datetime.fromisoformat(seal[_RECEIVED]) if _RECEIVED in seal else None,
    }
    if table is not None and hashlib.sha256(table).hexdigest() != seal["table"]:
        return Verification(State.EDITED, "score.md is not what was published; score.json is", **about)
    return Verification(State.UNCHANGED, **about)


def _key(secret: bytes) -> bytes:
    """Return the key for seals. The seeds of random inputs derive from the same secret, but with other labels."""
    return hmac.new(secret, b"autograder: key of seals", hashlib.sha256).digest()


def key_name(secret: bytes) -> str:
    """Return the name of the key that a secret gives: seals hold it, and it tells nothing of the secret."""
    return _name(_key(secret))


def _name(key: bytes) -> str:
    return hmac.new(key, b"name of this key", hashlib.sha256).hexdigest()[:16]


def _hmac(key: bytes, data: Mapping[str, Any]) -> str:
    """Return the keyed hash of plain JSON. It does not depend on white space or the order of keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.new(key, text.encode("ascii"), hashlib.sha256).hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
