"""The fixture `race`: how much longer than a baseline does the student's code take, on the same device?

    result = race(probes.softmax, draw, sizes=[(4096, 1024), (64, 65536)], start=probes.start)
    assert_fast(result, factor=2)

Theory of operation
-------------------
The baseline is a probe that runs with the reference, in a sandbox of its own beside the student's. Only the clock of a
case counts, which runs outside of both. First the student's reply is compared with the baseline's for every size, on
inputs that are not timed. Then there are rounds. In each of them the student's code and the baseline get the same new
inputs, one after the other, so that a machine that becomes faster or slower favours nobody. The student's code comes
first: the memory of the device cannot hold a result of the baseline for these inputs yet. The replies of these calls
are compared as well: who answers without having done the work answers wrongly.

Each call is a case of the sandbox, in a process of its own that is killed when it has replied. So no call can remember
another or work on after its reply, and none finds what an earlier one left in a cache. Within one call the suite's
probe must see to that: if it repeats its work, then each time with another input, and the reply must show each result.

A call of the student's code is ended when it has taken much longer than the baseline, so slow code does not hold the
device until the time limit of its case.

A process begins with the import of `src` and the start of the device, which may take longer than the work. The probe
`start` does only that. It is measured in each round too, with the reference, because the student's code could take its
time there, and that time is subtracted.

The reference also runs in the student's place, in the same rounds. If it is too slow as well, or if the times
contradict each other, this machine is at fault: see `autograder.timing`. So a check that fails is repeated without
times, for its results alone.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from autograder.errors import GraderError, SubmissionError, SuiteError
from autograder.grading.plugin import CASES, CLOCK, PROBES, RUN, Probe, Student, TooSlowForRaceError
from autograder.language import tell
from autograder.sandbox.inside import protocol
from autograder.testing import assert_close
from autograder.timing import RaceResult, Timing, allowed

ROUNDS = 7
GIVE_UP = 10.0
FEWEST = 4
"""Rounds, so that one at each end may be left out."""
Draw = Callable[[Any], tuple[object, ...]]


class Race:
    """Compares the student's code with a baseline, in results and then in time."""

    def __init__(self, item: pytest.Item, student: Student) -> None:
        self._item, self._student = item, student

    def __call__(
        self,
        probe: Probe,
        draw: Draw,
        *,
        sizes: Iterable[object],
        baseline: Probe | None = None,
        start: Probe | None = None,
        rounds: int = ROUNDS,
        give_up: float = GIVE_UP,
        rtol: float | None = None,
        atol: float | None = None,
        what: str = "",
        against: str = "",
    ) -> RaceResult:
        """Race `probe` with the student's code against `baseline` with the reference.

        Args:
            probe: a function of the suite's probes.py, which does the timed work and returns what shows that it was
                done. All its calls together share the time limit of the case.
            draw: gets one of the sizes and returns new inputs of `probe`, other ones at each call.
            sizes: what `draw` gets; several, so that no solution is good at one size only.
            baseline: a probe that gets the same inputs and gives the same results. None: `probe` itself.
            start: a probe that gets the same inputs and does what both do before they work. None: nothing.
            rounds: how often each size is measured, at least FEWEST.
            give_up: a size that takes longer than twice this factor is not measured further.
            rtol, atol: as in `assert_close`, for the replies.
            what: what is measured, in the student's terms; "your code" if empty.
            against: what the baseline is, in the student's terms; "the baseline" if empty.

        Raises:
            AssertionError: the student's results are not those of the baseline.
            SubmissionError: the student's code raised, crashed, or broke a limit.
            SuiteError: the baseline fails, or its results do not depend on the inputs.
        """
        sizes = tuple(sizes)
        if rounds < FEWEST or not sizes:
            raise SuiteError(f"{self._name}: a race needs {FEWEST} rounds and a size at least")
        what, against = what or tell("your code"), against or tell("the baseline")
        with contextlib.ExitStack() as stack:
            measured = self._student.in_sandbox and self._run.open_baseline is not None
            other: Student | None = None
            if measured and self._run.open_baseline is not None:
                session = stack.enter_context(self._run.open_baseline())
                case = self._item.config.stash[CASES][self._item.nodeid]
                run = replace(self._run, session=session, build_failure=None, observer=None)
                other = Student(case, run, self._item.config.stash[PROBES])
            lane = _Lane(self._student, other, probe, baseline or probe, start, rtol, atol, what)
            timings = []
            for size in sizes:
                if measured:
                    timings.append(self._timed(lane, draw, size, rounds, give_up))
                    if timings[-1].gave_up:
                        break
                else:  # two draws show whether the results depend on the inputs
                    lane.compare(size, [self._drawn(draw, size) for _ in range(2)])
            if not lane.depends_on_inputs():
                raise SuiteError(f"{self._name}: the baseline has one result for all inputs; fix the suite")
            return RaceResult(tuple(timings), give_up, against, what)

    @property
    def _run(self) -> Any:
        return self._item.config.stash[RUN]

    @property
    def _name(self) -> str:
        return self._item.config.stash[CASES][self._item.nodeid].name

    def _drawn(self, draw: Draw, size: object) -> tuple[object, ...]:
        with CLOCK.stopped():
            inputs = draw(size)
        return inputs if isinstance(inputs, tuple) else (inputs,)

    def _timed(self, lane: "_Lane", draw: Draw, size: object, rounds: int, give_up: float) -> Timing:
        inputs = self._drawn(draw, size)
        baseline, starts = lane.baseline_reply(size, inputs)[1], lane.start_seconds(inputs)
        within = allowed(give_up, baseline, starts[0] if starts else 0.0)
        students, baselines, references = list[float](), list[float](), list[float]()
        try:
            for number in range(rounds + 1):
                inputs = self._drawn(draw, size)
                actual, student = lane.student_reply(inputs, within)
                start = lane.start_seconds(inputs)
                expected, baseline = lane.baseline_reply(size, inputs)
                reference = lane.reference_seconds(inputs)
                lane.assert_same(actual, expected)
                if number:  # the first is for the results alone
                    students.append(student)
                    baselines.append(baseline)
                    references += reference
                    starts += start
        except TooSlowForRaceError:
            baseline = lane.baseline_reply(size, inputs)[1]
            reference = lane.reference_seconds(inputs)
            return Timing(size, (within,), (baseline,), tuple(starts), tuple(reference), gave_up=True)
        return Timing(size, tuple(students), tuple(baselines), tuple(starts), tuple(references))


class _Lane:
    """The calls of one race, and what the baseline has replied so far."""

    def __init__(
        self,
        student: Student,
        other: Student | None,
        probe: Probe,
        baseline: Probe,
        start: Probe | None,
        rtol: float | None,
        atol: float | None,
        what: str,
    ) -> None:
        """`other` runs probes with the reference in a sandbox; None: the reference runs in this process."""
        self._student, self._other = student, other
        self._probe, self._baseline, self._start = probe, baseline, start
        self._rtol, self._atol, self._what = rtol, atol, what
        self._replies: dict[str, list[bytes]] = {}

    def compare(self, size: object, draws: Sequence[tuple[object, ...]]) -> None:
        """Raise AssertionError if the student's reply differs from the baseline's."""
        for inputs in draws:
            actual, _ = self.student_reply(inputs)
            expected, _ = self.baseline_reply(size, inputs)
            self.assert_same(actual, expected)

    def assert_same(self, actual: object, expected: object) -> None:
        assert_close(actual, expected, rtol=self._rtol, atol=self._atol)

    def student_reply(self, inputs: tuple[object, ...], within: float = math.inf) -> tuple[Any, float]:
        return self._student.timed(self._probe, *inputs, what=self._what, within=within)

    def baseline_reply(self, size: object, inputs: tuple[object, ...]) -> tuple[Any, float]:
        value, seconds = self._reference(self._baseline, inputs)
        self._replies.setdefault(repr(size), []).append(protocol.encode(value))
        return value, seconds

    def start_seconds(self, inputs: tuple[object, ...]) -> list[float]:
        return [] if self._start is None else [self._reference(self._start, inputs)[1]]

    def reference_seconds(self, inputs: tuple[object, ...]) -> list[float]:
        """Return the time of the reference in the student's place, unless it is the baseline."""
        return [] if self._probe is self._baseline else [self._reference(self._probe, inputs)[1]]

    def depends_on_inputs(self) -> bool:
        """Whether there are different replies for each size."""
        return all(len(set(replies)) > 1 for replies in self._replies.values())

    def _reference(self, probe: Probe, inputs: tuple[object, ...]) -> tuple[Any, float]:
        if self._other is None:
            return self._student.reference()(probe, *inputs), 0.0
        try:
            return self._other.afresh().timed(probe, *inputs)
        except SubmissionError as error:
            raise SuiteError(
                f"the baseline of a race fails in probe {probe.__name__}; fix the suite, or run `autograder doctor`",
                str(error),
            ) from error


@pytest.fixture
def race(request: pytest.FixtureRequest, student: Student) -> Race:
    """Return the object that times the student's code against a baseline."""
    if not isinstance(request.node, pytest.Item):
        raise GraderError("a race belongs to a case")
    return Race(request.node, student)
