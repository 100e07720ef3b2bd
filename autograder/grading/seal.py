"""The seal of a published score: whoever has the course secret can tell whether a score.json was edited. Pure.

The feedback branch is the student's to rewrite. So the service puts a seal into score.json: a keyed hash (HMAC-SHA256)
over everything else in it, over score.md, and over whose and which commit's answer it is. Only the staff can make or
check it, since only they have the secret. The ledger stays the truth about grades.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

KEY = "seal"
MAX_BYTES = 4 << 20
_FIELDS = ("repository", "commit", "attempt", "table", "key", "hmac")


class State(str, Enum):
    """What a look at the seal says."""

    UNCHANGED = "unchanged"
    EDITED = "edited"
    UNSEALED = "not sealed"  # no answer of a service: nothing can be said
    OTHER_SECRET = "sealed with another secret"  # noqa: S105 (a word)


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        state: the code.
        reason: what is wrong; empty where nothing is.
        repository, commit, attempt: what it is the answer to, as the file says; of worth only when it is unchanged.
        assignment, points, max_points: likewise.
    """

    state: State
    reason: str = ""
    repository: str = ""
    commit: str = ""
    attempt: int = 0
    assignment: str = ""
    points: int = 0
    max_points: int = 0


def sealed(
    data: Mapping[str, Any], table: bytes, *, repository: str, commit: str, attempt: int, secret: bytes
) -> dict[str, Any]:
    """Return the content of a score.json with its seal.

    Args:
        data: the content; plain JSON.
        table: the score.md that is published with it.
        repository: whose answer it is, `host/owner/name`.
        commit: what it answers; not always the commit that the score is from.
        attempt: at that commit.
        secret: of the course.
    """
    key = _key(secret)
    seal: dict[str, Any] = {
        "repository": repository,
        "commit": commit,
        "attempt": attempt,
        "table": hashlib.sha256(table).hexdigest(),
        "key": _name(key),
    }
    seal["hmac"] = _hmac(key, {**data, KEY: seal})
    return {**data, KEY: seal}


def check(content: bytes, table: bytes | None, secret: bytes) -> Finding:
    """Return what the seal of a score.json says about it.

    Args:
        content: of score.json; may hold anything.
        table: score.md; None where there is none to compare.
        secret: of the course.
    """
    if len(content) > MAX_BYTES:
        return Finding(State.EDITED, f"score.json has more than {MAX_BYTES} bytes")
    try:
        data = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return Finding(State.EDITED, "score.json is no JSON, or says something twice")
    seal = data.get(KEY) if isinstance(data, dict) else None
    if seal is None:
        return Finding(State.UNSEALED, "score.json has no seal; only what the service publishes has one")
    if not isinstance(seal, dict) or set(seal) != set(_FIELDS) or not isinstance(seal["hmac"], str):
        return Finding(State.EDITED, "the seal is not one of ours")
    key = _key(secret)
    if seal["key"] != _name(key):
        return Finding(
            State.OTHER_SECRET, "it is of another course, the secret was changed, or it was edited"
        )
    unsigned = {**data, KEY: {name: value for name, value in seal.items() if name != "hmac"}}
    try:
        expected = _hmac(key, unsigned)
    except (ValueError, RecursionError):
        return Finding(State.EDITED, "score.json holds numbers that no report has")
    if not hmac.compare_digest(expected.encode(), seal["hmac"].encode("utf-8", "backslashreplace")):
        return Finding(State.EDITED, "score.json is not what was published")
    about = {
        "repository": str(seal["repository"]),
        "commit": str(seal["commit"]),
        "attempt": seal["attempt"],
        "assignment": data.get("assignment", ""),
        "points": data.get("points", 0),
        "max_points": data.get("max_points", 0),
    }
    if table is not None and hashlib.sha256(table).hexdigest() != seal["table"]:
        return Finding(State.EDITED, "score.md is not what was published; score.json is", **about)
    return Finding(State.UNCHANGED, **about)


def _key(secret: bytes) -> bytes:
    """Return the key of seals: seeds of random inputs are drawn from the same secret, by other words."""
    return hmac.new(secret, b"autograder: key of seals", hashlib.sha256).digest()


def _name(key: bytes) -> str:
    return hmac.new(key, b"name of this key", hashlib.sha256).hexdigest()[:16]


def _hmac(key: bytes, data: Mapping[str, Any]) -> str:
    """Return the keyed hash of plain JSON, however it is laid out."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.new(key, text.encode("ascii"), hashlib.sha256).hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
