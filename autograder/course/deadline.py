"""Deadlines: when an assignment opens and closes for a student, and the sentences that the student reads about it.

This module does no I/O. The time at which a push was received decides, never the time in a commit.
`autograder.config.times` says how times are written and compared.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from zoneinfo import ZoneInfo

from autograder.config.schema import AssignmentConfig
from autograder.config.times import REST_OF_MINUTE, Window, doubt, offset
from autograder.language import Text, tell, tell_count

_DAYS = (tell("Mon"), tell("Tue"), tell("Wed"), tell("Thu"), tell("Fri"), tell("Sat"), tell("Sun"))
_MONTHS = (
    *(tell("Jan"), tell("Feb"), tell("Mar"), tell("Apr"), tell("May"), tell("Jun")),
    *(tell("Jul"), tell("Aug"), tell("Sep"), tell("Oct"), tell("Nov"), tell("Dec")),
)
_UNITS: tuple[tuple[int, Callable[[int], Text]], ...] = (
    (86400, lambda n: tell_count("{n} day", "{n} days", n=n)),
    (3600, lambda n: tell_count("{n} hour", "{n} hours", n=n)),
    (60, lambda n: tell_count("{n} minute", "{n} minutes", n=n)),
    (1, lambda n: tell_count("{n} second", "{n} seconds", n=n)),
)


class Timing(str, Enum):
    """When a push was received, compared with the student's deadline."""

    EARLY = "early"  # before the assignment opened
    ON_TIME = "on time"
    IN_GRACE = "in grace"  # after it closed, within the grace period
    LATE_DAY = "late, accepted"  # within the late days that the assignment accepts
    LATE = "late"
    UNKNOWN = "receive time unknown"  # found after it closed; nobody knows yet when it was pushed

    @property
    def counts(self) -> bool:
        """Whether the push may change the score."""
        return self in (Timing.ON_TIME, Timing.IN_GRACE, Timing.LATE_DAY, Timing.UNKNOWN)


@dataclass(frozen=True)
class Deadline(Window):
    """The deadline of one assignment. Make one with `Deadline.of` or `deadline_of`.

    Attributes:
        accepted: a push up to so many days late counts. A late day ends at the hour of the deadline in local time, and
            then has the same grace period.
    """

    accepted: int = 0

    def decide(
        self, received: datetime, extension: "Extension | None" = None, *, known: bool = True
    ) -> "Decision":
        """Return whether a push received at the time `received` counts. An extension is used if it ends later.

        Args:
            received: when the push was received.
            extension: of the student.
            known: False if the push was found at `received`, and was made at some time before.
        """
        if received.tzinfo is None:
            raise ValueError("the time at which a push was received needs a time zone")
        received = received.astimezone(timezone.utc)
        closes = self.last(extension)
        if self.opens is not None and received < self.opens:
            timing = Timing.EARLY
        elif closes is None or received <= closes:
            timing = Timing.ON_TIME
        elif received <= closes + self.grace:
            timing = Timing.IN_GRACE
        elif not known:
            timing = Timing.UNKNOWN
        else:
            timing = Timing.LATE_DAY if self.late_days(received, closes) <= self.accepted else Timing.LATE
        return Decision(timing, received, self, closes, extended=closes != self.closes, known=known)

    def last(self, extension: "Extension | None") -> datetime | None:
        """Return the last instant at which a push is on time; None: there is no deadline."""
        if self.closes is None or extension is None:
            return self.closes
        return max(self.closes, extension.closes)

    def until(self, closes: datetime | None) -> datetime | None:
        """Return the last instant at which a push counts, if it is on time until `closes`; None: there is no limit."""
        return None if closes is None else self._end_of_day(closes, self.accepted) + self.grace

    def late_days(self, received: datetime, closes: datetime | None) -> int:
        """Return how many days late a push is that is on time until `closes`. A day that has begun is a whole one."""
        if closes is None or received <= closes + self.grace:
            return 0
        days = max(1, (received - self.grace - closes).days - 1)  # some days have 23 or 25 hours
        while received > self._end_of_day(closes, days) + self.grace:
            days += 1
        return days

    def _end_of_day(self, closes: datetime, days: int) -> datetime:
        """Return the end of a late day: the same time of the clock, so many days after the deadline."""
        if days == 0:
            return closes
        local = closes.astimezone(self.zone).replace(tzinfo=None) + timedelta(days=days)
        instants = [local.replace(tzinfo=self.zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1)]
        return max(instants)


def deadline_of(assignment: AssignmentConfig) -> Deadline:
    """Return the deadline of a configured assignment.

    Raises:
        DeadlineError: a value is not allowed. A loaded configuration has been checked.
    """
    window = Deadline.of(
        assignment.zone or "UTC",
        opens=assignment.opens or None,
        closes=assignment.closes or None,
        grace_minutes=assignment.grace_minutes,
    )
    return replace(window, accepted=assignment.late_days_allowed)


@dataclass(frozen=True)
class Extension:
    """A later deadline for one student and assignment.

    Attributes:
        student: name as written in the file.
        assignment: name of the assignment.
        closes: the last instant at which a push is on time.
        reason: for staff; never shown to students.
        line: where it is in its file.
    """

    student: str
    assignment: str
    closes: datetime
    reason: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Decision:
    """How the time at which one push was received compares with the student's deadline.

    Attributes:
        timing: the result.
        received: when the push was received.
        deadline: the assignment's deadline.
        closes: the last instant at which a push of this student is on time; None: there is no deadline.
        extended: whether `closes` comes from an extension.
        known: False if `received` is only when the push was found.
    """

    timing: Timing
    received: datetime
    deadline: Deadline
    closes: datetime | None
    extended: bool = False
    known: bool = True

    @property
    def late_days(self) -> int:
        """How many days late the push is; 0 if it is in time, or if nobody knows."""
        return self.deadline.late_days(self.received, self.closes) if self.known else 0

    @property
    def late(self) -> timedelta:
        """How long after the deadline the push was received. A minute counts from its beginning, as it is shown."""
        if self.closes is None:
            return timedelta(0)
        since = timedelta(seconds=self.closes.second, microseconds=self.closes.microsecond)
        return self.received - self.closes + (since if since == REST_OF_MINUTE else timedelta(0))


def sentence(decision: Decision, *, by_staff: bool = False) -> Text:
    """Return the sentences that the student reads about a decision in score.md.

    Args:
        decision: of the push.
        by_staff: whether staff decided that the commit counts, whatever its time.
    """
    deadline, zone = decision.deadline, decision.deadline.zone
    when = shown(decision.received, zone, seconds=True)
    if decision.known:
        came = tell("This push was received on {when}", when=when)
    else:
        came = tell("This push was found on {when}", when=when)
    if decision.timing is Timing.EARLY and by_staff:
        return tell("{came}.", came=came)
    if decision.timing is Timing.EARLY:
        assert deadline.opens is not None  # noqa: S101 (otherwise the push is not early)
        return tell(
            "{came}, {early} before the assignment opens on {opens}. "
            "It is recorded but not graded: push again then.",
            came=came,
            early=duration(deadline.opens - decision.received),
            opens=shown(deadline.opens, zone),
        )
    if decision.closes is None:
        return tell("{came}. There is no deadline.", came=came)
    closes = shown(decision.closes, zone)
    if decision.extended:
        what = tell("your extended deadline, {closes}", closes=closes)
    else:
        what = tell("the deadline, {closes}", closes=closes)
    if decision.timing is Timing.ON_TIME:
        return tell("{came}, in time for {what}.", came=came, what=what)
    after = tell("{came}, {late} after {what}", came=came, late=duration(decision.late), what=what)
    if decision.timing is Timing.UNKNOWN:
        return tell(
            "{after}, because its report was lost. Nobody knows yet when it was pushed. It counts, unless the course "
            "staff find that it was pushed too late.",
            after=after,
        )
    grace = duration(deadline.grace)
    if decision.timing is Timing.IN_GRACE:
        return tell(
            "{after}. It counts: it came within the grace period of {grace}.", after=after, grace=grace
        )
    if decision.timing is Timing.LATE_DAY:
        days = tell_count("{n} day late", "{n} days late", n=decision.late_days)
        return tell("{after}. It is {days}.", after=after, days=days)
    if by_staff:
        return tell("{came}.", came=after)
    if deadline.accepted:
        after = tell_count(
            "{after}; a push is accepted up to {n} day late",
            "{after}; a push is accepted up to {n} days late",
            n=deadline.accepted,
            after=after,
        )
    elif deadline.grace:
        after = tell("{after} and its grace period of {grace}", after=after, grace=grace)
    return tell(
        "{after}. It is recorded but does not change your score. "
        "If you believe that this is wrong, write to the course staff.",
        after=after,
    )


def shown(instant: datetime, zone: ZoneInfo, *, seconds: bool = False) -> Text:
    """Return an instant in local time: `Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin)`.

    Without `seconds`, the last instant of a minute is shown as that minute, as it is written in the configuration.
    """
    local = instant.astimezone(zone)
    name = local.tzname() or ""
    name = f"UTC{name}" if name[:1] in "+-" else name
    since = timedelta(seconds=local.second, microseconds=local.microsecond)
    whole = not seconds and since in (timedelta(0), REST_OF_MINUTE)
    clock = f"{local:%H:%M}" if whole else f"{local:%H:%M:%S}"
    return tell(
        "{weekday} {day} {month} {year}, {clock} {zone}",
        weekday=_DAYS[local.weekday()],
        day=local.day,
        month=_MONTHS[local.month - 1],
        year=local.year,
        clock=clock,
        zone=name if name == zone.key else tell("{zone} ({place})", zone=name, place=zone.key),
    )


def described(deadline: Deadline) -> str:
    """Return when an assignment opens and closes, in words, in local time and in UTC, for staff."""
    if deadline.opens is None and deadline.closes is None:
        return "has no deadline"
    moments = [("opens", deadline.opens), ("closes", deadline.closes)]
    parts = [
        f"{what} {shown(moment, deadline.zone)}, {offset(moment, deadline.zone)}, "
        f"which is {shown(moment, ZoneInfo('UTC'))}"
        for what, moment in moments
        if moment is not None
    ]
    if deadline.grace:
        parts.append(f"then has {duration(deadline.grace)} of grace")
    if deadline.accepted:
        parts.append(f"accepts pushes up to {duration(timedelta(days=deadline.accepted))} late")
    return "; ".join(parts)


def doubtful_zone(deadline: Deadline) -> str:
    """Return why the name of the deadline's time zone may be misunderstood; empty if its name is clear."""
    moment = deadline.closes or deadline.opens
    return doubt(deadline.zone, moment) if moment is not None else ""


def duration(length: timedelta) -> Text:
    """Return a length of time in its two largest units, rounded down: `2 days 3 hours`."""
    left = int(length.total_seconds())
    parts: list[Text] = []
    for size, unit in _UNITS:
        number, left = divmod(left, size)
        if number:
            parts.append(unit(number))
        elif parts:
            break  # `2 days`, not `2 days 5 seconds`
    if not parts:
        return tell("less than a second")
    return parts[0] if len(parts) == 1 else tell("{larger} {smaller}", larger=parts[0], smaller=parts[1])
