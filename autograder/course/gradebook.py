"""The gradebook: one row for each student, with what counts in each assignment and how it came about.

Which commit counts, how late it came and how many points it is worth is decided by `course.standing` alone. This module
relates repositories to people by the roster, adds those who never pushed, and adds up. The command, the pages, the
exports and `autograder regrade --dry-run` all take their rows from here.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from fractions import Fraction
from zoneinfo import ZoneInfo

from autograder.course.course import Course
from autograder.course.deadline import Extension
from autograder.course.roster import Person, Roster
from autograder.course.standing import Judged, Result, Standing, all_standings, owned
from autograder.errors import ConfigError
from autograder.ledger import CasePoints, Ledger, RepositoryName, ScorePolicy

NOT_IN_ROSTER = "not in the roster"


class State(str, Enum):
    """How a student stands in an assignment."""

    COUNTS = "counts"  # there are points
    EXCUSED = "excused"
    WAITING = "waiting"  # a push that counts is not graded yet
    UNDECIDED = "undecided"  # a mistake in the file of extensions leaves open what counts
    LATE = "late"  # there are pushes, and no one counts
    NO_PUSH = "no push"


@dataclass(frozen=True)
class Entry:
    """One student in one assignment.

    Attributes:
        assignment: its name.
        state: how the student stands.
        result: what counts, as `course.standing` derived it.
        repository: the student's, or the team's; None: it never pushed.
        stands: how that repository stands; None: it never pushed.
        policy: the score policy.
        extension: the student's extension that is in force.
        closed: whether no further push of the student can count.
        note: what staff should know besides; often empty.
        cases: the points of each case of the report that counts, if they were asked for.
    """

    assignment: str
    state: State
    result: Result
    repository: RepositoryName | None
    stands: Standing | None
    policy: ScorePolicy
    extension: Extension | None = None
    closed: bool = False
    note: str = ""
    cases: Mapping[str, CasePoints] = field(default_factory=dict)

    @property
    def points(self) -> int | None:
        """The points that count; None if there are no points, also for a student who is excused."""
        return self.result.points

    @property
    def in_total(self) -> int | None:
        """The points that totals and exports use; None if the assignment is left out of them.

        Without a push that counts these are 0, from the moment at which no push can count any more.
        """
        if self.points is not None:
            return self.points
        return 0 if self.closed and self.state in (State.LATE, State.NO_PUSH) else None

    @property
    def push(self) -> Judged | None:
        """The push of the commit that counts."""
        score = self.stands.score if self.stands is not None else None
        return self.stands.judged(score.push_id) if self.stands is not None and score is not None else None

    @property
    def attempt(self) -> int | None:
        """Which grading of the commit that counts gave the points."""
        score = self.stands.score if self.stands is not None else None
        return score.attempt if score is not None else None


@dataclass(frozen=True)
class Row:
    """One student.

    Attributes:
        id: the id in the roster; without a roster, the student's name of the repositories.
        person: the line of the roster; None if there is no such line.
        entries: by assignment.
        total: the weighted mean of the assignments that are added up, in percent; None without any.
        note: `not in the roster`, or empty.
    """

    id: str
    person: Person | None
    entries: Mapping[str, Entry]
    total: Decimal | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The person's name; empty if it is not known."""
        return self.person.name if self.person is not None else ""

    @property
    def section(self) -> str:
        """The person's section; empty if it is not known."""
        return self.person.section if self.person is not None else ""


@dataclass(frozen=True)
class Gradebook:
    """The rows of a course.

    Attributes:
        assignments: the names of the columns, in the order of autograder.toml.
        rows: in the order of the roster, then those who are not in it; without a roster by name.
        weights: of the assignments in the total.
        max_points: what each assignment is worth; 0 while nothing was graded.
        cases: the names of the cases of each assignment, if they were asked for.
        roster: the roster; None if the course has none.
        zone: the time zone of the course.
        made: when the gradebook was made.
        at: pushes after this moment are left out; None: all pushes are in it.
    """

    assignments: tuple[str, ...]
    rows: tuple[Row, ...]
    weights: Mapping[str, Fraction]
    max_points: Mapping[str, int]
    cases: Mapping[str, tuple[str, ...]]
    roster: Roster | None
    zone: ZoneInfo
    made: datetime
    at: datetime | None = None

    def of(self, repository: RepositoryName) -> list[Row]:
        """Return the rows of those whose work is in a repository."""
        return [
            row for row in self.rows if any(entry.repository == repository for entry in row.entries.values())
        ]


def gradebook(
    ledger: Ledger,
    course: Course,
    now: datetime,
    *,
    assignments: Collection[str] = (),
    cases: bool = False,
    at: datetime | None = None,
) -> Gradebook:
    """Return the gradebook. The number of queries does not depend on the numbers of students and reports.

    Args:
        ledger, course: the facts and the rules.
        now: the present moment, which decides whether an assignment has closed.
        assignments: only these; empty: all that have repositories.
        cases: whether the points of each case are read, too.
        at: leave out pushes that were received later; an assignment that closes later is not closed.

    Raises:
        ConfigError: there is no such assignment.
        GraderError: the ledger cannot be read.
    """
    for name in assignments:
        course.config.assignment(name)
    chosen = tuple(
        name
        for name, settings in course.config.assignments.items()
        if (name in assignments if assignments else settings.repositories)
    )
    moment, roster = at or now, course.roster()
    students: dict[str, _Line] = {}
    strangers: dict[str, _Line] = {}
    for person in roster.students if roster is not None else ():
        students[_key(person)] = _Line(person.id, person)
    for name, of_assignment in all_standings(ledger, course, chosen, at=at).items():
        for key, label, stands in _owned(roster, of_assignment.values()):
            line = students.get(key) or strangers.setdefault(key, _Line(label))
            line.entries[name] = entry(course, stands, moment)
    ordered = sorted(strangers.values(), key=lambda line: line.label.casefold())
    lines = [*students.values(), *ordered]
    for line in lines:
        for name in chosen:
            if name not in line.entries:
                line.entries[name] = _no_push(course, roster, line, name, moment)
    worth = {
        name: max((line.entries[name].result.max_points for line in lines), default=0) for name in chosen
    }
    names = _add_cases(ledger, chosen, lines) if cases else {}
    weights = {name: Fraction(str(course.config.assignment(name).weight)) for name in chosen}
    rows = tuple(
        Row(
            line.label,
            line.person,
            {name: line.entries[name] for name in chosen},
            _total(line.entries, weights, worth),
            NOT_IN_ROSTER if roster is not None and line.person is None else "",
        )
        for line in lines
    )
    return Gradebook(chosen, rows, weights, worth, names, roster, course.zone(), now, at)


@dataclass
class _Line:
    """A row that is not complete yet."""

    label: str
    person: Person | None = None
    entries: dict[str, Entry] = field(default_factory=dict)


def _key(person: Person) -> str:
    return person.whose


def _owned(roster: Roster | None, found: Iterable[Standing]) -> Iterator[tuple[str, str, Standing]]:
    """Yield the key of a row, its label and a standing, for each student who has a share in one of the standings."""
    mine, strangers = owned(roster, found)
    for person, stands in mine:
        yield _key(person), person.id, stands
    taken = set()
    for stands in strangers:
        target = stands.target
        key, label = f"student {target.student.casefold()}", target.student
        if key in taken:  # another owner's repository of the same name
            label = f"{target.repository.owner}/{target.repository.name}"
            key = f"repository {target.repository}"
        taken.add(key)
        yield key, label, stands


def entry(course: Course, stands: Standing, moment: datetime) -> Entry:
    """Return how a student stands whose repository pushed, or was adjusted.

    Args:
        course: the rules.
        stands: how the repository stands.
        moment: the present one, which decides whether the assignment has closed.
    """
    target, result = stands.target, stands.result
    theirs = [judged for judged in stands.pushes if not judged.own]
    counting = stands.counting
    note = ""
    if result.points is not None:
        state = State.COUNTS
        newest = counting[0] if counting else ""
        if stands.score is not None and stands.policy is ScorePolicy.LAST and newest != stands.score.commit:
            note = "a newer push is not graded yet" if not result.adjustments else ""
        note = note or stands.waits
    elif result.excused:
        state = State.EXCUSED
    elif stands.open:
        state, note = State.UNDECIDED, stands.open
    elif counting:
        state = State.WAITING
    elif stands.waits:
        state, note = State.UNDECIDED, stands.waits
    else:
        state = State.LATE if theirs else State.NO_PUSH
    return Entry(
        target.assignment,
        state,
        result,
        target.repository,
        stands,
        stands.policy,
        course.extension(target),
        _is_closed(course, target.student, target.assignment, moment),
        note,
    )


def _no_push(course: Course, roster: Roster | None, line: _Line, assignment: str, moment: datetime) -> Entry:
    """Return how a student stands whose repository never pushed."""
    student = line.label
    if roster is not None and line.person is not None:
        with contextlib.suppress(ConfigError):
            student = roster.repository_name(line.person, assignment)
    return Entry(
        assignment,
        State.NO_PUSH,
        Result(),
        None,
        None,
        course.policy(assignment),
        course.extension_of(student, assignment),
        _is_closed(course, student, assignment, moment),
    )


def _is_closed(course: Course, student: str, assignment: str, moment: datetime) -> bool:
    last = course.accepts_until(student, assignment)
    return last is not None and last < moment


def _add_cases(
    ledger: Ledger, assignments: Iterable[str], lines: Iterable[_Line]
) -> dict[str, tuple[str, ...]]:
    """Add the points of the cases to the entries, and return the names of all cases by assignment."""
    jobs = [
        entry.stands.score.job_id
        for line in lines
        for entry in line.entries.values()
        if entry.stands is not None and entry.stands.score is not None
    ]
    found = ledger.case_points(jobs)
    names: dict[str, dict[str, None]] = {name: {} for name in assignments}
    for line in lines:
        for name, entry in line.entries.items():
            if entry.stands is not None and entry.stands.score is not None:
                of_cases = found.get(entry.stands.score.job_id, {})
                line.entries[name] = replace(entry, cases=of_cases)
                names[name].update(dict.fromkeys(of_cases))
    return {name: tuple(of) for name, of in names.items()}


def _total(
    entries: Mapping[str, Entry], weights: Mapping[str, Fraction], worth: Mapping[str, int]
) -> Decimal | None:
    """Return the weighted mean of what is added up, in percent with two digits; None if there is nothing to add up."""
    earned = whole = Fraction(0)
    for name, entry in entries.items():
        points, of = entry.in_total, entry.result.max_points or worth[name]
        if points is not None and of:
            earned += weights[name] * Fraction(points, of)
            whole += weights[name]
    if not whole:
        return None
    percent = 100 * earned / whole
    exact = Decimal(percent.numerator) / Decimal(percent.denominator)
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
