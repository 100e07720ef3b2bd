"""The values that a column can hold: text, times and JSON. SQLite and PostgreSQL store and return them unchanged."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from autograder.ledger.database import canonical
from autograder.ledger.faults import LedgerError

MAX_TEXT = 2000  # characters, for instance of a reason or a worker's name


def storable(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` in a form that every database stores: no NUL, no lone surrogate, at most `limit` characters."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def utc(moment: datetime) -> datetime:
    """Return a moment in UTC.

    Raises:
        LedgerError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise LedgerError(f"the time {moment} has no time zone; pass one in UTC")
    return moment.astimezone(timezone.utc)


def require_json(data: Mapping[str, Any], what: str) -> None:
    """Refuse data that is not plain JSON.

    Raises:
        LedgerError: `data` is not JSON, or holds a NUL character.
    """
    try:
        text = canonical(data)
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{what}: this is not plain JSON: {error}") from error
    if "\\u0000" in text:  # PostgreSQL cannot search in text with a NUL character
        raise LedgerError(f"{what}: the text holds a NUL character; remove it")
