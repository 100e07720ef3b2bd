"""The times of an assignment, as they are written in the configuration.

Times are written in the assignment's time zone and compared as instants, so that a day on which the clocks change has
its real length. A local time that the clocks skip is refused. A local time that the clocks show twice means the
instant that is better for students. So does a minute: `closes = "2026-10-12 23:59"` holds until that minute ends.
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
REST_OF_MINUTE = timedelta(minutes=1) - timedelta(microseconds=1)

_ABBREVIATION = re.compile(r"[A-Z]{3,4}([+-]?\d+([A-Z]{3,4})?)?|Etc/(?!U(TC|CT)$).*")
_PLACES = frozenset({"UTC", "UCT", "GMT", "PRC", "ROC", "ROK"})  # they match the pattern, and are clear
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
            closes: local time in the same form. If it has no seconds, or 0 seconds, that minute still belongs to it.
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
        if first is not None and last is not None and (last <= first or closes == opens):
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
    """Return the instant of a local time.

    Args:
        written: text such as `2026-10-12 23:59`, or a date and time of TOML.
        zone: the time zone, if `written` has no offset from UTC of its own.
        later: choose the last instant that is meant, and not the first one. They differ if the clocks show the time
            twice; and a time without seconds, or with 0 seconds, means the whole minute.

    Raises:
        DeadlineError: this is not a time, or the clocks skip it.
    """
    if isinstance(written, str):
        if not _WRITTEN.fullmatch(written):
            raise DeadlineError(f"not a time: {written!r:.100}; write it as 2026-10-12 23:59")
        try:
            written = datetime.fromisoformat(written)
        except ValueError as error:
            raise DeadlineError(f"not a time: {written}: {error}") from None
    if not isinstance(written, datetime):
        raise DeadlineError(f"not a time: {written!r:.100}; write it as 2026-10-12 23:59")
    rest = REST_OF_MINUTE if later and not written.second and not written.microsecond else timedelta(0)
    if written.tzinfo is not None:  # TOML can state the offset
        return written.astimezone(timezone.utc) + rest
    instants = [written.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1)]
    back = instants[0].astimezone(zone).replace(tzinfo=None)
    if back != written:
        raise DeadlineError(
            f"{written:%Y-%m-%d %H:%M} does not exist in {zone.key}: the clocks skip it when they go forward; "
            f"write {back:%Y-%m-%d %H:%M}"
        )
    return max(instants) + rest if later else min(instants)


def offset(moment: datetime, zone: ZoneInfo) -> str:
    """Return the difference between local time and UTC at a moment: `UTC+02:00`."""
    minutes = round((moment.astimezone(zone).utcoffset() or timedelta(0)).total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def doubt(zone: ZoneInfo, moment: datetime) -> str:
    """Return why the name of a time zone may mean another time than its reader expects; empty for a clear name.

    Args:
        zone: the time zone.
        moment: a moment for which the offset from UTC is named.
    """
    if zone.key in _PLACES or not _ABBREVIATION.fullmatch(zone.key):
        return ""
    why = f"{zone.key} is {offset(moment, zone)} here"
    if re.fullmatch(r"Etc/GMT[+-]\d+", zone.key):
        why += ": the sign in this name is the opposite of the usual one"
    elif len({moment.replace(month=month, day=1).astimezone(zone).utcoffset() for month in (1, 7)}) == 1:
        why += ", and the whole year, also where clocks change in summer"
    return f"{why}; name a place, such as Europe/Berlin or America/New_York"
