"""The times of an assignment, as they are written in the configuration.

Times are written in the assignment's time zone and compared as instants, so that a day on which the clocks change has
its real length. A local time that the clocks skip is refused. A local time that they show twice means the instant that
is better for students.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from autograder.errors import GraderError

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_GRACE = timedelta(days=7)

_WRITTEN = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")


class DeadlineError(GraderError):
    """A deadline or an extension has a mistake; the message says where it is and what is allowed."""


@dataclass(frozen=True)
class Window:
    """The time in which pushes of an assignment count. Make one with `Window.of`.

    Attributes:
        zone: the time zone in which times are shown.
        opens: the first instant at which a push counts; None: pushes always count.
        closes: the last instant at which a push is on time; None: there is no deadline.
        grace: how long after `closes` a push still counts.
    """

    zone: ZoneInfo
    opens: datetime | None = None
    closes: datetime | None = None
    grace: timedelta = timedelta(0)

    @classmethod
    def of(
        cls,
        zone: str,
        *,
        opens: str | datetime | None = None,
        closes: str | datetime | None = None,
        grace_minutes: float = 0,
    ) -> "Self":
        """Return the window for values as written in the configuration.

        Args:
            zone: IANA name, such as `Europe/Berlin`.
            opens: local time, `2026-10-01 08:00`; seconds may follow.
            closes: local time in the same form.
            grace_minutes: see `grace`.

        Raises:
            DeadlineError: a value is not allowed.
        """
        try:
            where = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise DeadlineError(
                f"no such time zone: {zone!r:.100}; give an IANA name such as Europe/Berlin"
            ) from None
        grace = _grace(grace_minutes)
        first = None if opens is None else instant(opens, where, later=False)
        last = None if closes is None else instant(closes, where, later=True)
        if first is not None and last is not None and last <= first:
            raise DeadlineError(f"closes ({closes}) must be later than opens ({opens})")
        return cls(where, first, last, grace)


def _grace(minutes: float) -> timedelta:
    if isinstance(minutes, bool) or not 0 <= minutes <= MAX_GRACE / timedelta(minutes=1):
        raise DeadlineError(
            f"the grace period must be 0 to {MAX_GRACE.days * 24 * 60} minutes, not {minutes}; "
            "for more, move the deadline"
        )
    return timedelta(minutes=minutes)


def instant(written: object, zone: ZoneInfo, *, later: bool) -> datetime:
    """Return the instant of a local time. If the clocks show it twice, `later` chooses the second instant."""
    if isinstance(written, str):
        if not _WRITTEN.fullmatch(written):
            raise DeadlineError(f"not a time: {written!r:.100}; write it as 2026-10-12 23:59")
        try:
            written = datetime.fromisoformat(written)
        except ValueError as error:
            raise DeadlineError(f"not a time: {written}: {error}") from None
    if not isinstance(written, datetime):
        raise DeadlineError(f"not a time: {written!r:.100}; write it as 2026-10-12 23:59")
    if written.tzinfo is not None:  # TOML can state the offset
        return written.astimezone(timezone.utc)
    instants = [written.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1)]
    back = instants[0].astimezone(zone).replace(tzinfo=None)
    if back != written:
        raise DeadlineError(
            f"{written:%Y-%m-%d %H:%M} does not exist in {zone.key}: the clocks skip it when they go forward; "
            f"write {back:%Y-%m-%d %H:%M}"
        )
    return max(instants) if later else min(instants)
