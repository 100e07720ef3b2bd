"""How an assignment went: the points of all students, and how often each case passed. Pure; rows of the gradebook."""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autograder.course.gradebook import Gradebook
from autograder.report import one_line
from autograder.verdict import Verdict

BINS = 10
WIDTH = 40  # characters of the longest bar


@dataclass(frozen=True)
class CaseStatistics:
    """One case in the reports that count.

    Attributes:
        name: of the case.
        reports: how many reports that count have it.
        verdicts: the number of these reports by verdict.
        mean_points, max_points: what it gave on average, and what it is worth; 0 is extra credit.
    """

    name: str
    reports: int
    verdicts: dict[str, int]
    mean_points: float
    max_points: int

    @property
    def passed(self) -> float:
        """The share of the reports in which it passed."""
        return self.verdicts.get(Verdict.PASSED.value, 0) / self.reports if self.reports else 0.0


@dataclass(frozen=True)
class Statistics:
    """One assignment.

    Attributes:
        assignment: its name.
        max_points: what it is worth.
        states: the number of students by how they stand.
        points: the points that count, sorted; students without any are left out.
        cases: in the order of the suite.
    """

    assignment: str
    max_points: int
    states: dict[str, int]
    points: tuple[int, ...]
    cases: tuple[CaseStatistics, ...]

    @property
    def bins(self) -> list[int]:
        """The number of students in each tenth of the points; the last one has those with more than 90 %, too."""
        found = [0] * BINS
        for points in self.points:
            found[min(BINS - 1, BINS * points // self.max_points if self.max_points else 0)] += 1
        return found

    def quantiles(self) -> dict[str, float]:
        """Return the smallest points, the quartiles, the largest points and the mean; empty without any points."""
        if not self.points:
            return {}
        lower, median, upper = (
            statistics.quantiles(self.points, n=4, method="inclusive")
            if len(self.points) > 1
            else [float(self.points[0])] * 3
        )
        return {
            "min": self.points[0],
            "lower_quartile": lower,
            "median": median,
            "upper_quartile": upper,
            "max": self.points[-1],
            "mean": round(statistics.fmean(self.points), 2),
        }


def of(book: Gradebook, assignment: str) -> Statistics:
    """Return the statistics of one assignment of a gradebook that was made with its cases."""
    entries = [row.entries[assignment] for row in book.rows]
    cases = []
    for name in book.cases.get(assignment, ()):
        found = [entry.cases[name] for entry in entries if name in entry.cases]
        cases.append(
            CaseStatistics(
                name,
                len(found),
                dict(Counter(case.verdict for case in found)),
                round(statistics.fmean(case.points for case in found), 2) if found else 0.0,
                max((case.max_points for case in found), default=0),
            )
        )
    return Statistics(
        assignment,
        book.max_points[assignment],
        dict(Counter(entry.state.value for entry in entries)),
        tuple(sorted(entry.points for entry in entries if entry.points is not None)),
        tuple(cases),
    )


def plain(found: Statistics) -> dict[str, Any]:
    """Return the statistics as plain data."""
    return {
        "assignment": found.assignment,
        "max_points": found.max_points,
        "students": found.states,
        "points": found.quantiles(),
        "histogram": found.bins,
        "cases": [
            {
                "name": case.name,
                "reports": case.reports,
                "passed": round(case.passed, 4),
                "verdicts": case.verdicts,
                "mean_points": case.mean_points,
                "max_points": case.max_points,
            }
            for case in found.cases
        ],
    }


def lines(found: Statistics) -> Iterator[str]:
    """Yield the statistics as lines for people."""
    states = ", ".join(f"{number} {state}" for state, number in found.states.items())
    yield f"{found.assignment}: {sum(found.states.values())} students: {states or 'no one'}"
    numbers = found.quantiles()
    if numbers:
        yield (
            f"points of {found.max_points}: median {numbers['median']:g}, quartiles {numbers['lower_quartile']:g} and "
            f"{numbers['upper_quartile']:g}, from {numbers['min']:g} to {numbers['max']:g}, mean {numbers['mean']:g}"
        )
        most = max(found.bins)
        for place, number in enumerate(found.bins):
            low, high = place * 100 // BINS, (place + 1) * 100 // BINS
            bar = "█" * round(WIDTH * number / most)
            yield f"  {low:3} to {high:3} % {number:5}  {bar}".rstrip()
    if found.cases:
        width = max(len(one_line(case.name)) for case in found.cases)
        yield "cases, in the reports that count:"
    for case in found.cases:
        others = ", ".join(
            f"{number} {verdict}"
            for verdict, number in case.verdicts.items()
            if verdict != Verdict.PASSED.value
        )
        worth = f" of {case.max_points}" if case.max_points else " of extra credit"
        yield (
            f"  {one_line(case.name):{width}} {100 * case.passed:4.0f} % passed, "
            f"{case.mean_points:g}{worth}{f'  ({others})' if others else ''}"
        )
