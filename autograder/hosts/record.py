"""What the records of all kinds of host share. A record comes from the network, so it is checked like a webhook."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any, TypeVar

import msgspec

from autograder.git.names import is_commit
from autograder.git.process import GitHostError
from autograder.hosts.api import Api
from autograder.hosts.push import Move

PAGES = 20  # the most pages of one list that are read
Row = TypeVar("Row", bound=msgspec.Struct)


def decoded(api: Api, rows: list[Any], kind: type[Row]) -> list[Row]:
    """Return the rows of a response as `kind`.

    Raises:
        GitHostError: a row lacks a part.
    """
    try:
        return msgspec.convert(rows, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise GitHostError(f"{api.host}: its record of pushes has another form: {error}") from None


def ordered(moves: Iterable[Move]) -> list[Move]:
    """Return the moves with valid commit ids, the oldest first. The host lists the newest first."""
    found = [
        Move(move.before if is_commit(move.before) else "", move.after, _utc(move.at))
        for move in moves
        if is_commit(move.after) and set(move.after) != {"0"}
    ]
    found.reverse()
    return sorted(found, key=lambda move: move.at)


def paged(get: Callable[[int], list[Any]], key: str = "name") -> list[str]:
    """Return the names in the rows of all pages, up to `PAGES`.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    found: list[str] = []
    for page in range(1, PAGES + 1):
        rows = get(page)
        if not rows:
            break
        found += [row[key] for row in rows if isinstance(row, dict) and isinstance(row.get(key), str)]
    return found


def web_of(base: str) -> str:
    """Return the address of the web server for a base of repositories: https://HOST for ssh://git@HOST:22."""
    if base.startswith("ssh://"):
        return re.sub(r"^ssh://(?:[^@/]*@)?([^:/]*)(?::\d+)?(.*)$", r"https://\1\2", base).rstrip("/")
    return base.rstrip("/")


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
