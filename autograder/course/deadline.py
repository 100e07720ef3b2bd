"""Deadlines: when an assignment opens and closes for a student, and the sentences that the student reads about it.

This module does no I/O. The time at which a push was received decides, never the time in a commit.
`autograder.config.times` says how times are written and compared.
"""

import csv
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from zoneinfo import ZoneInfo

from autograder.config.schema import AssignmentConfig
from autograder.config.times import DeadlineError, Window, instant

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

COLUMNS = ("student", "assignment", "closes")
OPTIONAL = ("reason",)

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
        """Return whether a push received at the time `received` counts. An extension replaces the deadline.

        Args:
            received: when the push was received.
            extension: of the student.
            known: False if the push was found at `received`, and was made at some time before.
        """
        if received.tzinfo is None:
            raise ValueError("the time at which a push was received needs a time zone")
        received = received.astimezone(timezone.utc)
        closes = self.closes if extension is None else extension.closes
        if self.opens is not None and received < self.opens:
            timing = Timing.EARLY
        elif closes is None or received <= end(closes):
            timing = Timing.ON_TIME
        elif received <= end(closes) + self.grace:
            timing = Timing.IN_GRACE
        else:
            timing = Timing.LATE if known else Timing.UNKNOWN
        return Decision(timing, received, self, closes, extended=extension is not None, known=known)


def end(closes: datetime) -> datetime:
    """Return the last instant of a deadline: one that is written to the minute holds to the end of that minute."""
    if closes.second or closes.microsecond:
        return closes
    return closes + timedelta(minutes=1, microseconds=-1)


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
    """

    student: str
    assignment: str
    closes: datetime
    reason: str = ""


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


@dataclass(frozen=True)
class Extensions:
    """All extensions of a course, by student and assignment. Upper and lower case in students' names do not matter."""

    by_key: Mapping[tuple[str, str], Extension]

    def of(self, student: str, assignment: str) -> Extension | None:
        """Return the extension of one student, or None."""
        return self.by_key.get((student.casefold(), assignment))


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
    late = duration(decision.received - decision.closes)
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
    """Return an instant in local time: `Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin)`."""
    local = instant.astimezone(zone)
    name = local.tzname() or ""
    name = f"UTC{name}" if name[:1] in "+-" else name
    clock = f"{local:%H:%M:%S}" if seconds or local.second else f"{local:%H:%M}"
    day = f"{_DAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]} {local.year}"
    return f"{day}, {clock} {name}" + ("" if name == zone.key else f" ({zone.key})")


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


def parse_extensions(text: str, file: str, deadlines: Mapping[str, Deadline]) -> Extensions:
    """Return the extensions in `text`.

    CSV has the columns student, assignment, closes and, optionally, reason. TOML has tables `[[extension]]` with these
    keys. `closes` is local time in the assignment's zone.

    Args:
        text: content of the file.
        file: name of the file, ending in .csv or .toml.
        deadlines: the deadlines, by assignment.

    Raises:
        DeadlineError: there is a mistake in the file; the message has its line.
    """
    if file.endswith(".csv"):
        rows = _csv_rows(text.removeprefix("\ufeff"), file)
    elif file.endswith(".toml"):
        rows = _toml_rows(text, file)
    else:
        raise DeadlineError(f"{file}: the file of extensions must be a .csv or a .toml file")
    found: dict[tuple[str, str], Extension] = {}
    lines: dict[tuple[str, str], int] = {}
    for line, row in rows:
        try:
            extension = _extension(row, deadlines)
        except DeadlineError as error:
            raise DeadlineError(f"{file}:{line}: {error}") from None
        key = extension.student.casefold(), extension.assignment
        if key in found:
            raise DeadlineError(
                f"{file}:{line}: {extension.student} already has an extension of {extension.assignment} in line "
                f"{lines[key]}; keep one"
            )
        found[key], lines[key] = extension, line
    return Extensions(found)


def _extension(row: Mapping[str, object], deadlines: Mapping[str, Deadline]) -> Extension:
    student, assignment, reason = row["student"], row["assignment"], row.get("reason", "")
    if not isinstance(student, str) or not re.fullmatch(r"\S{1,200}", student) or not student.isprintable():
        raise DeadlineError(f"student: must be a name without spaces, not {student!r:.100}")
    if not isinstance(reason, str):
        raise DeadlineError(f"reason: must be text, not {reason!r:.100}")
    if not isinstance(assignment, str) or assignment not in deadlines:
        raise DeadlineError(
            f"assignment: {assignment!r:.100} does not exist; there are {', '.join(deadlines)}"
        )
    deadline = deadlines[assignment]
    if deadline.closes is None:
        raise DeadlineError(f"assignment: {assignment} has no deadline to extend")
    try:
        closes = instant(row["closes"], deadline.zone, later=True)
    except DeadlineError as error:
        raise DeadlineError(f"closes: {error}") from None
    if closes <= deadline.closes:
        raise DeadlineError(
            f"closes: must be later than the deadline of {assignment}, {shown(deadline.closes, deadline.zone)}"
        )
    return Extension(student, assignment, closes, reason)


def _csv_rows(text: str, file: str) -> Iterator[tuple[int, dict[str, object]]]:
    reader = csv.reader(text.splitlines(), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if not header:
                header = values
                _check_keys(header, file, reader.line_num)
            elif len(values) != len(header):
                raise DeadlineError(
                    f"{file}:{reader.line_num}: {len(values)} columns, but the first line names {len(header)}"
                )
            else:
                yield reader.line_num, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise DeadlineError(f"{file}:{reader.line_num}: not CSV: {error}") from None


def _toml_rows(text: str, file: str) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeadlineError(f"{file}: {error}") from None
    tables = data.pop("extension", [])
    if data or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise DeadlineError(f"{file}:1: only tables [[extension]] are allowed here")
    headers = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if re.match(r"\s*\[\[\s*extension\s*\]\]", line)
    ]
    for position, table in enumerate(tables):
        line = headers[position] if position < len(headers) else 1
        _check_keys(list(table), file, line)
        yield line, table


def _check_keys(keys: list[str], file: str, line: int) -> None:
    for key in keys:
        if key not in COLUMNS + OPTIONAL:
            raise DeadlineError(
                f"{file}:{line}: {key!r:.100} is not allowed; allowed are {', '.join(COLUMNS + OPTIONAL)}"
            )
    missing = [key for key in COLUMNS if key not in keys]
    if missing or len(set(keys)) != len(keys):
        raise DeadlineError(f"{file}:{line}: {', '.join(COLUMNS)} are required, each once")
