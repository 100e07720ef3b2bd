"""What a race has measured, and what that decides: pure functions on times.

A race (`autograder.grading.race`) runs a probe of the student and a baseline in turns, on one device. Both times of a
round have seen the same machine, so the ratio is taken within each round. The median of the rounds is the result, and
the rounds without the lowest and the highest say how sure it is. A result that the rounds contradict is no verdict.
Neither is one that holds for the reference too, which runs in the same rounds: then load of the machine, not the
student's code, is the cause.
"""

from dataclasses import dataclass
from statistics import median

from autograder.errors import BusyError
from autograder.language import Text, tell

SHORTEST = 0.01
"""Seconds that a baseline must work. Below that, the ratio says more about the machine than about the code."""
SURE = 1.25
"""If the highest ratio is at most so many times the lowest, the rounds agree. If they agree on both sides of a factor,
the student's code is at the factor, and the doubt is the student's."""
LENIENT = 1.0
"""Seconds that a call of the student's code gets besides, because one measurement of the baseline says little."""


@dataclass(frozen=True)
class Timing:
    """The times for one size, in seconds; the numbers at one index belong to one round.

    Attributes:
        size: what the suite calls the size.
        student: times of the student's code.
        baseline: times of the baseline.
        start: times of what both do before they work, such as starting the device; empty if it was not measured.
        reference: times of the reference in the student's place; empty if the baseline is that. If they are too long
            as well, the machine is the cause.
        gave_up: the student's code was so slow that it was ended, or that there were no more rounds.
    """

    size: object
    student: tuple[float, ...]
    baseline: tuple[float, ...]
    start: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    gave_up: bool = False

    def work(self, times: tuple[float, ...]) -> list[float]:
        """Return times without what everybody does before the work."""
        start = median(self.start) if self.start else 0.0
        return [seconds - start for seconds in times]

    def ratios(self, times: tuple[float, ...]) -> list[float]:
        """Return how many times the baseline these times are, in each round, sorted."""
        return sorted(
            max(own, 0.0) / baseline if baseline > 0 else float("inf")
            for own, baseline in zip(self.work(times), self.work(self.baseline), strict=True)
        )

    @property
    def ratio(self) -> float:
        """How many times the baseline the student's code takes."""
        return median(self.ratios(self.student))

    def bounds(self, times: tuple[float, ...]) -> tuple[float, float]:
        """Return the lowest and the highest ratio, without a quarter of the rounds at each end."""
        ratios = self.ratios(times)
        cut = len(ratios) // 4
        return ratios[cut], ratios[-1 - cut]

    def is_within(self, factor: float) -> bool:
        """Whether the student's code takes at most `factor` times the time of the baseline.

        Raises:
            BusyError: the times do not decide that.
        """
        seconds = median(self.work(self.baseline))
        if seconds < SHORTEST:
            raise BusyError(
                f"the baseline of a race worked for {seconds * 1000:.1f} ms at {self.size}, too short to compare; "
                "grade again; if this stays so, let the probe repeat its work more often"
            )
        low, high = self.bounds(self.student)
        if self.gave_up:
            low = high = float("inf")
        elif low <= factor < high and high > SURE * low:
            raise BusyError(
                f"in the rounds of a race at {self.size} a submission took {low:.2f} to {high:.2f} times the time of "
                f"the baseline, and {factor:g} times are allowed; stop other programs here, then grade again"
            )
        if low <= factor:
            return True
        slowest = self.bounds(self.reference)[1] if self.reference else 1.0
        if slowest > factor:
            raise BusyError(
                f"in a race at {self.size} the reference took up to {slowest:.2f} times the time of the baseline, and "
                f"{factor:g} times are allowed; grade again; if this stays so, allow more"
            )
        return False

    def __str__(self) -> str:
        student, baseline = (median(self.work(times)) * 1000 for times in (self.student, self.baseline))
        low, high = self.bounds(self.student)
        own = f"; the reference {median(self.ratios(self.reference)):.2f} times" if self.reference else ""
        return (
            f"{self.size}: {student:.1f} ms, the baseline {baseline:.1f} ms; "
            f"{self.ratio:.2f} times ({low:.2f} to {high:.2f} in {len(self.student)} rounds){own}"
        )


@dataclass(frozen=True)
class RaceResult:
    """The times of a race, for all sizes.

    Attributes:
        timings: of each size; empty if nothing was measured, because the reference runs in the student's place in the
            checking process. Then the results alone were compared.
        give_up: the factor from which on the student's code is not measured further.
        against: what the baseline is, in words for students.
        what: what was measured, in the student's terms.
    """

    timings: tuple[Timing, ...]
    give_up: float
    against: str
    what: str

    def is_within(self, factor: float) -> bool:
        """Whether the student's code takes at most `factor` times the time of the baseline, for every size.

        Raises:
            BusyError: the times do not decide that.
            ValueError: the race does not measure such a factor.
        """
        return self.slow(factor) is None

    def slow(self, factor: float) -> Timing | None:
        """Return a size for which the code takes more than `factor` times, or None if it is fast enough for all.

        Raises:
            BusyError: it is not too slow for the other sizes, and for one the times do not decide.
            ValueError: the race does not measure such a factor.
        """
        if not 0 < factor <= self.give_up:
            raise ValueError(f"a race with give_up={self.give_up:g} does not measure a factor of {factor:g}")
        undecided: BusyError | None = None
        for timing in self.timings:
            try:
                if not timing.is_within(factor):
                    return timing
            except BusyError as busy:
                undecided = busy
        if undecided is not None:
            raise undecided
        return None

    def explain(self, timing: Timing, factor: float) -> Text:
        """Return the sentence for the student whose code is too slow."""
        if timing.gave_up:
            return tell(
                "{what} takes more than {ratio} times as long as {against} for {size}; "
                "at most {factor} times are allowed",
                what=self.what,
                ratio=f"{self.give_up:g}",
                against=self.against,
                size=timing.size,
                factor=f"{factor:g}",
            )
        return tell(
            "{what} takes {ratio} times as long as {against} for {size}; at most {factor} times are allowed",
            what=self.what,
            ratio=f"{timing.ratio:.3g}",
            against=self.against,
            size=timing.size,
            factor=f"{factor:g}",
        )


def allowed(give_up: float, baseline: float, start: float) -> float:
    """Return the seconds after which a call of the student's code is ended, because it is much too slow.

    Args:
        give_up: how many times the time of the baseline are much too slow.
        baseline: the time of the baseline, with its start.
        start: the time of the start alone, 0 if it was not measured.
    """
    return start + 2 * give_up * max(baseline - start, SHORTEST) + LENIENT
