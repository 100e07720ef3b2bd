"""The pytest plugin of a hidden suite: the fixtures `student`, `ref` and `rng`, and cases with points.

Theory of operation
-------------------
This plugin is loaded only in the trusted process. At collection it turns every test into a `Case`, and
refuses a suite that could give a wrong grade. For each submission the suite server forks, puts a `Run` into
the stash of the pytest config, and lets pytest run the collected items as usual. The items use these fixtures:

    student(probe, *inputs)   runs the probe in the sandbox and returns its plain data
    ref(probe, *inputs)       runs the same probe, on the same inputs, with the reference in this process
    rng                       a NumPy generator seeded for this submission and this case

`_settle` alone decides what the end of an item means:

    nothing raised             passed
    SubmissionError            the error's verdict: error or timeout
    AssertionError, fail(),    wrong, if the same check on the same draw succeeds with the reference in the student's
    any other exception        place: then only the student's values can be the cause
    GraderError, and all of    our fault. A SuiteError is a fault of this case on this draw: the suite server draws
    these with the reference   again

So our fault never costs points, and unexpected data from a submission never stops its grading. A check that asks how
much memory or time the student's code used is repeated in a sandbox, where the reference uses both as well.
"""

import ast
import contextlib
import hashlib
import hmac
import math
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autograder import testing
from autograder.errors import GraderError, SubmissionError, SuiteError
from autograder.grading.messages import failure_of
from autograder.language import Text, as_text, tell
from autograder.sandbox.inside import protocol
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import SIGKILL, Outcome, Status
from autograder.sandbox.session import Session
from autograder.testing import TooSlowError
from autograder.verdict import CaseResult, Verdict

CHECK_SECONDS = 10.0
"""CPU time that a check may use, without the time of the sandbox and of the reference."""
Probe = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """What a suite declares about one scored test."""

    name: str
    points: int
    purpose: str
    timeout: float
    needs_build: bool
    title: str = ""
    extra: bool = False

    @property
    def max_points(self) -> int:
        """What the case adds to the points that the assignment is worth: nothing for extra credit."""
        return 0 if self.extra else self.points


@dataclass
class Run:
    """The grading of one submission: the data that the fixtures need, and the results so far.

    Without a session, the reference takes the student's place. A suite checks itself in this way.

    Attributes:
        session: the submission in its sandbox, or None.
        limits: of the sandbox.
        seed: HMAC(course secret, assignment, content of src/); the seeds of the cases derive from it.
        build_failure: why the build failed, or None.
        given: files that the student did not write; messages name lines of other files, if there are any.
        packages: the packages that student code can import, for messages.
        draws: the number of the draw by case name; 0 for a case that is not listed.
        open_reference: opens the reference in a sandbox of its own. None: a failed check is not repeated, so `wrong`
            is not proven; a trial does without.
        seconds: time limits in place of the suite's, by case name.
        observer: sees the reference's replies in a run without a session.
        open_baseline: opens the reference in a sandbox of its own, to measure it beside the submission. None: nothing
            is measured.
        results: by node id.
        fault: our fault, if the last item ended with it.
    """

    session: Session | None
    limits: Limits
    seed: bytes
    build_failure: SubmissionError | None = None
    given: frozenset[str] = frozenset()
    packages: tuple[str, ...] = ()
    draws: dict[str, int] = field(default_factory=dict)
    open_reference: Callable[[], AbstractContextManager[Session]] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    observer: Callable[[str, tuple[object, ...], Any], Any] | None = None
    open_baseline: Callable[[], AbstractContextManager[Session]] | None = None
    results: dict[str, CaseResult] = field(default_factory=dict)
    fault: GraderError | None = None


@dataclass
class Used:
    """What the student's code has used in one case; the names are those of `CaseResult`.

    Attributes:
        seconds: by the clock of a case, which leaves out time without a processor.
        cpu_seconds: CPU time of all processes.
        peak_bytes: the largest memory of one call of a probe, without the memory that every case starts with.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


RUN = pytest.StashKey[Run]()
CASES = pytest.StashKey[dict[str, Case]]()
DEFAULT_TIMEOUT = pytest.StashKey[float]()
TOTAL_POINTS = pytest.StashKey[int]()
"""What the cases must add up to; 0: any sum."""
PARTS = pytest.StashKey[testing.Parts]()
PROBES = pytest.StashKey[ModuleType]()


class TooSlowForRaceError(Exception):
    """The student's code has used the time that its race allows for one call. The race makes a result of it."""


class CheckClock:
    """Limits the CPU time of a check, which may get a value that takes very long to compare."""

    @contextlib.contextmanager
    def running(self) -> Generator[None, None, None]:
        """Raise TooSlowError if the body uses CHECK_SECONDS."""
        before = signal.signal(signal.SIGPROF, self._ring)
        signal.setitimer(signal.ITIMER_PROF, CHECK_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    @contextlib.contextmanager
    def stopped(self) -> Generator[None, None, None]:
        """Let the body use as much time as it needs."""
        left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            yield
        finally:
            if left:
                signal.setitimer(signal.ITIMER_PROF, left)

    @staticmethod
    def _ring(_number: int, _frame: object) -> None:
        raise TooSlowError("the check took too long")


CLOCK = CheckClock()


class Student:
    """Runs probes beside the student's code. All calls of a case together share the case's time limit."""

    def __init__(self, case: Case, run: Run, probes: ModuleType) -> None:
        self._case, self._run, self._probes = case, run, probes
        self._timeout = run.seconds.get(case.name, case.timeout)
        self._used = Used()
        self._last = 0.0  # seconds of the last call
        self._within = math.inf  # seconds that one call may take, besides the limit of the case
        self._asked = False  # whether the check asked for one of these figures

    def __call__(self, probe: Probe, *inputs: object, what: str = "") -> Any:
        """Run `probe(*inputs)` in the sandbox and return its plain data.

        Args:
            probe: a function of the suite's probes.py.
            inputs: plain data.
            what: what is called, in the student's terms: "softmax_loss for logits of 1e4". It stands before the
                message if the call fails.

        Raises:
            SubmissionError: the student's code raised, crashed, or broke a limit.
        """
        name = probe_name(self._probes, probe)
        run = self._run
        if run.session is None:
            value = Reference(self._probes)(probe, *inputs)
            return run.observer(name, inputs, value) if run.observer is not None else value
        if self._case.needs_build and run.build_failure is not None:
            raise run.build_failure
        left = max(self._timeout - self._used.seconds, 0.01)
        outcome = self._call(run.session, name, inputs)
        if outcome.status is Status.CRASHED and outcome.signal == SIGKILL:
            # Perhaps somebody else killed it: an operator, or the machine because memory ran out. Code that kills
            # itself does so again.
            outcome = self._call(run.session, name, inputs)
        if outcome.status is Status.TIMEOUT and self._within < left and not outcome.importing:
            raise TooSlowForRaceError
        failure = failure_of(
            outcome, timeout=self._timeout, limits=run.limits, given=run.given, packages=run.packages
        )
        if failure is not None:
            if what:
                call = tell("{what}: {failure}", what=as_text(what), failure=failure.text)
                raise SubmissionError(call, failure.verdict)
            raise failure
        return outcome.value

    def _call(self, session: Session, name: str, inputs: tuple[object, ...]) -> Outcome:
        used = self._used
        timeout = min(max(self._timeout - used.seconds, 0.01), self._within)
        with CLOCK.stopped():
            outcome = session.run(name, inputs, timeout=timeout, build=self._case.needs_build)
        self._last = outcome.seconds
        used.seconds += outcome.seconds
        used.cpu_seconds += outcome.cpu_seconds
        used.peak_bytes = max(used.peak_bytes, outcome.peak_bytes)
        return outcome

    def timed(
        self, probe: Probe, *inputs: object, what: str = "", within: float = math.inf
    ) -> tuple[Any, float]:
        """Run a probe like a call; return its data and its own seconds, by the clock of a case.

        Raises:
            TooSlowForRaceError: it took `within` seconds, and the time limit of the case was not reached.
            SubmissionError: as a call.
        """
        self._last, self._within = 0.0, within
        try:
            value = self(probe, *inputs, what=what)
        finally:
            self._within = math.inf
        return value, self._last

    @property
    def in_sandbox(self) -> bool:
        """Whether probes run in a sandbox, so that there are figures."""
        return self._run.session is not None

    def afresh(self) -> "Student":
        """Return the same, with nothing used of the case's time limit."""
        return Student(self._case, self._run, self._probes)

    def reference(self) -> "Reference":
        """Return what runs the same probes with the reference in this process."""
        return Reference(self._probes)

    @property
    def seconds(self) -> float:
        """The time that the student's code has used so far, by the clock of a case."""
        self._asked = True
        return self._used.seconds

    @property
    def cpu_seconds(self) -> float:
        """The CPU time of the student's code so far."""
        self._asked = True
        return self._used.cpu_seconds

    @property
    def peak_bytes(self) -> int:
        """The largest memory that one call of a probe has used, without the memory that every case starts with."""
        self._asked = True
        return self._used.peak_bytes

    def used(self) -> dict[str, Any]:
        """Return the figures for the report, by their names in `CaseResult`."""
        return asdict(self._used)

    @contextlib.contextmanager
    def impersonated(self) -> Generator[None, None, None]:
        """Let the reference take the student's place: in a sandbox if the check has asked for figures, else here.

        The object stays the same, because fixtures of the suite may hold it.
        """
        before = self._run, self._used
        with contextlib.ExitStack() as stack:
            session = None
            if self._asked and self._run.open_reference is not None:
                session = stack.enter_context(self._run.open_reference())
            self._run = replace(self._run, session=session, build_failure=None, observer=None)
            self._used = Used()
            try:
                yield
            finally:
                self._run, self._used = before


class Reference:
    """Runs probes with the reference in this process, on the same plain data that the student's code gets."""

    def __init__(self, probes: ModuleType) -> None:
        self._probes = probes

    def __call__(self, probe: Probe, *inputs: object) -> Any:
        """Run `probe(*inputs)` here and return its plain data.

        Raises:
            SuiteError: the reference raised.
        """
        name = probe_name(self._probes, probe)
        try:
            with CLOCK.stopped():
                value = probe(*plain(inputs))
        except Exception as error:  # any exception of the reference is our fault
            raise SuiteError(
                f"the reference raised {type(error).__name__} in probe {name}; "
                "run `autograder grade` on the reference to reproduce it",
                str(error),
            ) from error
        return plain(value)


def plain(value: Any) -> Any:
    """Return a copy of `value` as it would arrive on the other side of the wall."""
    return protocol.decode(protocol.encode(value), load=True)


def probe_name(probes: ModuleType, probe: Probe) -> str:
    """Return the name under which the sandbox knows `probe`.

    Raises:
        GraderError: `probe` is not a function of the suite's probes.py.
    """
    name = getattr(probe, "__name__", repr(probe))
    if getattr(probes, name, None) is not probe:
        raise GraderError(f"{name} is not a function of {probes.__file__}: pass a probe as probes.<name>")
    return name


def case_seed(seed: bytes, name: str, draw: int = 0) -> int:
    """Return the seed of one draw of one case. The same submission gets the same seed when it is graded again."""
    text = f"{name}\0{draw}" if draw else name
    return int.from_bytes(hmac.new(seed, text.encode(), hashlib.sha256).digest(), "big")


def _generator(item: pytest.Item) -> np.random.Generator:
    case, run = item.config.stash[CASES][item.nodeid], item.config.stash[RUN]
    return np.random.default_rng(case_seed(run.seed, case.name, run.draws.get(case.name, 0)))


# Fixtures ------------------------------------------------------------------------------------------------


@pytest.fixture
def student(request: pytest.FixtureRequest) -> Student:
    """Return the object that runs probes beside the student's code, in the sandbox."""
    config = request.config
    return Student(config.stash[CASES][request.node.nodeid], config.stash[RUN], config.stash[PROBES])


@pytest.fixture
def ref(request: pytest.FixtureRequest) -> Reference:
    """Return the object that runs probes with the reference, in this process."""
    return Reference(request.config.stash[PROBES])


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Return a random generator with a seed for this submission and this case."""
    return _generator(request.node)


# Collection ----------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of a suite."""
    config.addinivalue_line("markers", "case(task, points, name, needs_build): a scored case")
    config.addinivalue_line("markers", "timeout(seconds): time limit of the student's code in this case")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Turn the collected tests into cases.

    Raises:
        pytest.UsageError: the suite cannot be used; the message lists everything that is wrong with it.
    """
    if session.testsfailed:
        return  # a file could not be collected; the server reports why
    problems: list[str] = []
    if not items:
        problems.append("it has no cases: write functions whose names begin with test_")
    cases: dict[str, Case] = {}
    counts: dict[int, int] = {}
    for item in items:
        try:
            case = _case_of(item, counts, config.stash[DEFAULT_TIMEOUT])
        except ValueError as error:
            problems.append(f"{item.nodeid}: {error}")
            continue
        if case.name in (other.name for other in cases.values()):
            problems.append(f"{item.nodeid}: there is a case named {case.name!r} already")
        cases[item.nodeid] = case
    problems += _unknown_probes(items)
    total, wanted = sum(case.max_points for case in cases.values()), config.stash.get(TOTAL_POINTS, 0)
    if not problems and wanted and total != wanted:
        problems.append(f"the points of the {len(cases)} cases add up to {total}, not to {wanted}")
    if not problems and not total:
        problems.append("all cases are extra credit; an assignment needs at least one other case")
    if problems:
        raise pytest.UsageError("the suite cannot be used:\n  " + "\n  ".join(problems))
    config.stash[CASES] = cases


def _case_of(item: pytest.Item, counts: dict[int, int], default_timeout: float) -> Case:
    marker = item.get_closest_marker("case")
    if marker is None:
        raise ValueError("it has no @case(task=..., points=...)")
    unwanted = next(item.iter_markers("skip"), None) or next(item.iter_markers("skipif"), None)
    if unwanted or item.get_closest_marker("xfail"):
        raise ValueError("a scored case can be neither skipped nor expected to fail")
    task, points = marker.kwargs.get("task"), marker.kwargs.get("points")
    if type(task) is not int or type(points) is not int or points < 1:
        raise ValueError(f"@case needs a task number and points of at least 1, got {task!r} and {points!r}")
    document = (getattr(getattr(item, "function", None), "__doc__", None) or "").strip()
    if not document:
        raise ValueError("its docstring must say in one line what it tests")
    timeout = item.get_closest_marker("timeout")
    seconds: Any = default_timeout
    if timeout is not None:
        seconds = timeout.args[0] if timeout.args else timeout.kwargs.get("timeout")
    if not isinstance(seconds, (int, float)) or not 0 < seconds < 3600:
        raise ValueError(f"@pytest.mark.timeout needs seconds between 0 and 3600, got {seconds!r}")
    counts[task] = counts.get(task, 0) + 1
    return Case(
        name=marker.kwargs.get("name") or f"Task{task} - Case{counts[task]}",
        points=points,
        purpose=document.splitlines()[0],
        timeout=float(seconds),
        needs_build=bool(marker.kwargs.get("needs_build", False)),
        title=str(marker.kwargs.get("title", "")),
        extra=bool(marker.kwargs.get("extra", False)),
    )


def _unknown_probes(items: list[pytest.Item]) -> list[str]:
    """Return a problem for every `probes.<name>` in the suite's files that names no probe."""
    problems = []
    for path in sorted({item.path for item in items}):
        for node in ast.walk(
            ast.parse(path.read_bytes())
        ):  # as Python reads it, with or without a byte order mark
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "probes"
                and not hasattr(sys.modules.get("probes"), node.attr)
            ):
                problems.append(f"{path.name}:{node.lineno}: there is no probe {node.attr!r} in probes.py")
    return problems


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the suite's probes for the fixtures.

    Raises:
        pytest.UsageError: the tests do not import the probes.py in their own folder.
    """
    if session.testsfailed or CASES not in session.config.stash:
        return  # the suite has another problem, which is reported
    probes = sys.modules.get("probes")
    if probes is None:
        raise pytest.UsageError("the suite cannot be used:\n  its test files do not `import probes`")
    expected = {item.path.parent / "probes.py" for item in session.items}
    if Path(str(probes.__file__)) not in expected:
        raise pytest.UsageError(f"the suite cannot be used:\n  probes is {probes.__file__}, not the suite's")
    session.config.stash[PROBES] = probes


# Running -------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """If a check fails, repeat it with the reference, to find out whether the submission or the suite is the cause."""
    case, run = item.config.stash[CASES][item.nodeid], item.config.stash[RUN]
    parts = None
    try:
        with testing.collecting(case.points) as parts, CLOCK.running():
            item.stash[PARTS] = parts
            return (yield)
    except SubmissionError:
        checks = (
            [failure for failure in parts.failures if not isinstance(failure, SubmissionError)]
            if parts
            else []
        )
        if checks and run.session is not None and run.open_reference is not None:
            _repeat_with_reference(item, checks[0])  # it costs points as well, so it needs the same proof
        raise
    except (GraderError, OSError):
        raise
    except (AssertionError, pytest.fail.Exception) as error:
        if run.session is not None and run.open_reference is not None:
            _repeat_with_reference(item, error)
        raise
    except Exception as error:
        _repeat_with_reference(item, error)
        raise AssertionError(
            tell(
                "the result has a type or structure that the check cannot use; compare it with the specification"
            )
        ) from error


def _repeat_with_reference(item: pytest.Item, error: BaseException) -> None:
    """Run a check that has failed once more, on the same draw, with the reference in the student's place.

    Raises:
        SuiteError: it fails again, so the suite is at fault.
    """
    arguments = getattr(item, "funcargs", {})
    student = arguments.get("student")
    if not isinstance(student, Student):
        raise _fault(item, error) from error
    if "rng" in arguments:
        arguments["rng"] = _generator(item)
    with student.impersonated():
        try:
            points = item.config.stash[CASES][item.nodeid].points
            with testing.collecting(points), CLOCK.running():
                item.runtest()
        except (GraderError, OSError):
            raise
        except (Exception, pytest.fail.Exception) as again:
            raise _fault(item, again) from again


def _fault(item: pytest.Item, error: BaseException) -> SuiteError:
    return SuiteError(
        f"the reference fails {item.config.stash[CASES][item.nodeid].name} ({item.nodeid}); fix the suite",
        f"{type(error).__name__}: {error}",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record the result of an item when its check has run, or when one of its phases has raised."""
    report = yield
    run = item.config.stash[RUN]
    if call.when == "call" or call.excinfo is not None:
        error = None if call.excinfo is None else call.excinfo.value
        try:
            run.results[item.nodeid] = _settle(item, call.when, error)
        except GraderError as fault:
            run.fault = run.fault or fault
    return report


def _settle(item: pytest.Item, when: str, error: BaseException | None) -> CaseResult:
    """Return the result of an item that has ended. Raises GraderError if the error is our fault."""
    case = item.config.stash[CASES][item.nodeid]
    if isinstance(error, GraderError):
        raise error
    if error is None:
        verdict, message = Verdict.PASSED, Text("")
    elif when == "call" and isinstance(error, SubmissionError):
        verdict, message = error.verdict, error.text
    elif when == "call" and isinstance(error, (AssertionError, pytest.fail.Exception)):
        verdict, message = Verdict.WRONG, _sentence(item, error)
    elif isinstance(error, OSError):
        raise GraderError(f"{item.nodeid} ({when}) failed on this machine: {error}; grade again") from error
    else:
        raise SuiteError(
            f"{item.nodeid} ({when}) raised {type(error).__name__}; "
            "no score was given; fix the suite, then grade again",
            str(error),
        ) from error
    student = getattr(item, "funcargs", {}).get("student")
    return CaseResult(
        name=case.name,
        verdict=verdict,
        points=case.points if verdict.traits.earns_points else _part_of(item, case),
        max_points=case.max_points,
        message=message,
        **(student.used() if isinstance(student, Student) else {}),
    )


def _part_of(item: pytest.Item, case: Case) -> int:
    """Return what the parts of a case that was not passed have earned: never all points."""
    parts = item.stash.get(PARTS, None)
    return min(parts.earned, case.points - 1) if parts is not None else 0


def _sentence(item: pytest.Item, error: BaseException) -> Text:
    """Return what the student reads of a failed check: its message, if the suite or `autograder.testing` wrote it.

    Other libraries, such as np.testing, print expected values.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = Path(trace.tb_frame.f_code.co_filename) if trace is not None else item.path
    written = isinstance(error, pytest.fail.Exception) or file.parent == item.path.parent
    if (written or file == Path(testing.__file__) or file == Path(__file__)) and str(error):
        said = error.msg if isinstance(error, pytest.fail.Exception) else error.args[0]
        return as_text(said if isinstance(said, str) else str(error))
    return tell("the result is not what the task asks for")
