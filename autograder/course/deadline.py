"""Deadlines: when an assignment opens and closes for a student, and the sentences that the student reads about it.

This module does no I/O. The time at which a push was received decides, never the time in a commit.
`autograder.config.times` says how times are written and compared.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import Enum
from zoneinfo import ZoneInfo

from autograder.config.schema import AssignmentConfig
from autograder.config.times import REST_OF_MINUTE, Window, doubt, offset

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # English, not the server's language
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Timing(str, Enum):
    """When a push was received, compared with the student's deadline."""

    EARLY = "early"  # before the assignment opened
    ON_TIME = "on time"
    IN_GRACE = "in grace"  # after it closed, within the grace period
    LATE = "late"
    UNKNOWN = "receive time unknown"  # found after it closed; nobody knows yet when it was pushed

    @property
    def counts(self) -> bool:
        """Whether the push may change the score."""
        return self in (Timing.ON_TIME, Timing.IN_GRACE, Timing.UNKNOWN)


@dataclass(frozen=True)
class Deadline(Window):
    """The deadline of one assignment. Make one with `Deadline.of` or `deadline_of`."""

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
        else:
            timing = Timing.LATE if known else Timing.UNKNOWN
        return Decision(timing, received, self, closes, extended=closes != self.closes, known=known)

    def last(self, extension: "Extension | None") -> datetime | None:
        """Return the last instant at which a push is on time; None: there is no deadline."""
        if self.closes is None or extension is None:
            return self.closes
        return max(self.closes, extension.closes)


def deadline_of(assignment: AssignmentConfig) -> Deadline:
    """Return the deadline of a configured assignment.

    Raises:
        DeadlineError: a value is not allowed. A loaded configuration has been checked.
    """
    return Deadline.of(
        assignment.zone or "UTC",
        opens=assignment.opens or None,
        closes=assignment.closes or None,
        grace_minutes=assignment.grace_minutes,
    )


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
    def late(self) -> timedelta:
        """How long after the deadline the push was received. A minute counts from its beginning, as it is shown."""
        if self.closes is None:
            return timedelta(0)
        since = timedelta(seconds=self.closes.second, microseconds=self.closes.microsecond)
        return self.received - self.closes + (since if since == REST_OF_MINUTE else timedelta(0))


def sentence(decision: Decision) -> str:
    """Return the sentences that the student reads about a decision in score.md."""
    deadline, zone = decision.deadline, decision.deadline.zone
    received = shown(decision.received, zone, seconds=True)
    came = f"This push was {'received' if decision.known else 'found'} on {received}"
    if decision.timing is Timing.EARLY:
        assert deadline.opens is not None  # noqa: S101 (otherwise the push is not early)
        return (
            f"{came}, {duration(deadline.opens - decision.received)} before the "
            f"assignment opens on {shown(deadline.opens, zone)}. It is recorded but not graded: push again then."
        )
    if decision.closes is None:
        return f"{came}. There is no deadline."
    closes = shown(decision.closes, zone)
    what = f"your extended deadline, {closes}" if decision.extended else f"the deadline, {closes}"
    if decision.timing is Timing.ON_TIME:
        return f"{came}, in time for {what}."
    late = duration(decision.late)
    after = f"{came}, {late} after {what}"
    if decision.timing is Timing.UNKNOWN:
        return (
            f"{after}, because its report was lost. Nobody knows yet when it was pushed. It counts, unless the course "
            "staff find that it was pushed too late."
        )
    if decision.timing is Timing.IN_GRACE:
        return f"{after}. It counts: it came within the grace period of {duration(deadline.grace)}."
    grace = f" and its grace period of {duration(deadline.grace)}" if deadline.grace else ""
    return (
        f"{after}{grace}. It is recorded but does not change your score. "
        "If you believe that this is wrong, write to the course staff."
    )


def shown(instant: datetime, zone: ZoneInfo, *, seconds: bool = False) -> str:
    """Return an instant in local time: `Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin)`.

    Without `seconds`, the last instant of a minute is shown as that minute, as it is written in the configuration.
    """
    local = instant.astimezone(zone)
    name = local.tzname() or ""
    name = f"UTC{name}" if name[:1] in "+-" else name
    since = timedelta(seconds=local.second, microseconds=local.microsecond)
    whole = not seconds and since in (timedelta(0), REST_OF_MINUTE)
    clock = f"{local:%H:%M}" if whole else f"{local:%H:%M:%S}"
    day = f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}"
    return f"{day}, {clock} {name}" + ("" if name == zone.key else f" ({zone.key})")


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
    return "; ".join(parts)


def doubtful_zone(deadline: Deadline) -> str:
    """Return why the name of the deadline's time zone may be misunderstood; empty if its name is clear."""
    moment = deadline.closes or deadline.opens
    return doubt(deadline.zone, moment) if moment is not None else ""


def duration(length: timedelta) -> str:
    """Return a length of time in its two largest units, rounded down: `2 days 3 hours`."""
    left = int(length.total_seconds())
    parts = []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}{'s' if number > 1 else ''}")
        elif parts:
            break  # `2 days`, not `2 days 5 seconds`
    return " ".join(parts[:2]) or "less than a second"
