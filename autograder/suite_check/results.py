"""The rows of all trials of a run, by subject (a mutant's id, `reference`, `cheat:NAME`, ...), and questions to them.
Plain data in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autograder.grading.trial import FAULT, TrialCase
from autograder.suite_check.findings import ESCAPED, Cell, status_of
from autograder.verdict import Verdict

PASSED = Verdict.PASSED.value


@dataclass
class Results:
    """What trials reported.

    Attributes:
        survey: rows of the traced and watched runs of the reference.
        rows: subject -> its rows.
        faults: subject -> why a trial gave no rows.
        unbuilt: subject -> what the compiler said.
    """

    survey: list[TrialCase] = field(default_factory=list)
    rows: dict[str, list[TrialCase]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    unbuilt: dict[str, str] = field(default_factory=dict)

    def add(self, subject: str, rows: Iterable[TrialCase]) -> None:
        """Record rows; the latest of one draw and case counts."""
        known = {(row.draw, row.name): row for row in self.rows.get(subject, ())}
        known |= {(row.draw, row.name): row for row in rows}
        self.rows[subject] = list(known.values())

    def refuse(self, subject: str, reason: str) -> None:
        """Record that a subject cannot be tried at all."""
        self.rows.setdefault(subject, [])
        self.faults[subject] = reason

    def of(self, subject: str, case: str) -> list[TrialCase]:
        """Return the rows of one subject and case."""
        return [row for row in self.rows.get(subject, ()) if row.name == case]

    def slowest(self, subject: str, case: str) -> float:
        """Return the longest time of one case."""
        return max((row.seconds for row in self.of(subject, case)), default=0.0)

    def stopped(self, subject: str) -> list[str]:
        """Return the cases that a time limit stopped in some draw."""
        rows = self.rows.get(subject, ())
        return sorted({row.name for row in rows if row.verdict == Verdict.TIMEOUT.value})

    def escaped(self, subject: str, case: str) -> int:
        """Return in how many draws a case was passed."""
        return sum(row.verdict == PASSED for row in self.of(subject, case))

    def part_of(self, subject: str, case: str) -> int:
        """Return the points that a case which was not passed gave in every draw, for its parts that held."""
        return min((row.points for row in self.of(subject, case) if row.verdict != PASSED), default=0)

    def lines(self) -> dict[str, Mapping[str, Sequence[int]]]:
        """Return which lines of the reference each case ran."""
        return {row.name: row.lines for row in self.survey if row.lines}

    def dtypes(self, case: str) -> list[str]:
        """Return the floating-point dtypes that a case compares."""
        return sorted({dtype for row in self.survey if row.name == case for dtype in row.dtypes})

    def constant_inputs(self, case: str) -> list[str]:
        """Return where a case's input arrays were the same in every watched draw."""
        draws = [row.inputs for row in self.survey if row.name == case and row.inputs]
        if len(draws) < 2:
            return []
        return [place for place, value in draws[0].items() if all(draw.get(place) == value for draw in draws)]

    def cells(self, subject: str) -> dict[str, Cell]:
        """Return what each case did with a subject."""
        found: dict[str, Cell] = {}
        for row in self.rows.get(subject, ()):
            if row.verdict == FAULT:
                continue
            old = found.get(row.name, Cell(0, 0, PASSED))
            caught = row.verdict != PASSED
            first = caught and not old.caught
            found[row.name] = Cell(
                old.draws + 1,
                old.caught + caught,
                row.verdict if first else old.verdict,
                row.message if first else old.message,
                max(old.seconds, row.seconds),
            )
        return found

    def fault_of(self, subject: str) -> str:
        """Return why a subject got no verdict from some case, or an empty text."""
        faults = [row.message for row in self.rows.get(subject, ()) if row.verdict == FAULT]
        return self.faults.get(subject) or next(iter(faults), "")

    def survived(self, subject: str) -> bool:
        """Whether a mutant was tried and no case catches it in every draw."""
        if subject in self.unbuilt:
            return False
        return status_of(self.cells(subject), 0) in ESCAPED
