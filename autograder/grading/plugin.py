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
    AssertionError, fail()     wrong
    anything else              our fault (GraderError), unless the same check succeeds with the reference's values:
                               then only the student's values can be the cause, and the verdict is wrong

So our fault never costs points, and unexpected data from a submission never stops its grading.
"""

import ast
import hashlib
import hmac
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autograder.errors import GraderError, SubmissionError
from autograder.grading.messages import failure_of
from autograder.sandbox.inside import protocol
from autograder.sandbox.limits import Limits
from autograder.sandbox.session import Session
from autograder.verdict import CaseResult, Verdict

TOTAL_POINTS = 100
Probe = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """What a suite declares about one scored test."""

    name: str
    points: int
    purpose: str
    timeout: float
    needs_build: bool


@dataclass
class Run:
    """The grading of one submission: the data that the fixtures need, and the results so far.

    Without a session, the reference takes the student's place. A suite checks itself in this way.
    """

    session: Session | None
    limits: Limits
    seed: bytes  # HMAC(course secret, assignment, content of src/); the seeds of the cases derive from it
    build_failure: SubmissionError | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)  # time limits in place of the suite's, by case
    observer: Callable[[str, tuple[object, ...], Any], Any] | None = None  # of the reference's replies
    results: dict[str, CaseResult] = field(default_factory=dict)  # by node id
    fault: GraderError | None = None


RUN = pytest.StashKey[Run]()
CASES = pytest.StashKey[dict[str, Case]]()
DEFAULT_TIMEOUT = pytest.StashKey[float]()
PROBES = pytest.StashKey[ModuleType]()


class Student:
    """Runs probes beside the student's code. All calls of a case together share the case's time limit."""

    def __init__(self, case: Case, run: Run, probes: ModuleType) -> None:
        self._case, self._run, self._probes = case, run, probes
        self._timeout = run.seconds.get(case.name, case.timeout)
        self._impersonated = False
        self.seconds = self.cpu_seconds = 0.0
        self.peak_bytes = 0

    def __call__(self, probe: Probe, *inputs: object) -> Any:
        """Run `probe(*inputs)` in the sandbox and return its plain data.

        Raises:
            SubmissionError: the student's code raised, crashed, or broke a limit.
        """
        name = probe_name(self._probes, probe)
        session = self._run.session
        if self._impersonated or session is None:
            value = Reference(self._probes)(probe, *inputs)
            observer = None if self._impersonated else self._run.observer
            return observer(name, inputs, value) if observer is not None else value
        if self._case.needs_build and self._run.build_failure is not None:
            raise self._run.build_failure
        outcome = session.run(name, inputs, timeout=max(self._timeout - self.seconds, 0.01))
        self.seconds += outcome.seconds
        self.cpu_seconds += outcome.cpu_seconds
        self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)
        failure = failure_of(outcome, timeout=self._timeout, limits=self._run.limits)
        if failure is not None:
            raise failure
        return outcome.value

    def impersonate(self) -> None:
        """Return the reference's values from now on."""
        self._impersonated = True


class Reference:
    """Runs probes with the reference in this process, on the same plain data that the student's code gets."""

    def __init__(self, probes: ModuleType) -> None:
        self._probes = probes

    def __call__(self, probe: Probe, *inputs: object) -> Any:
        """Run `probe(*inputs)` here and return its plain data.

        Raises:
            GraderError: the reference raised.
        """
        name = probe_name(self._probes, probe)
        try:
            value = probe(*plain(inputs))
        except Exception as error:  # any exception of the reference is our fault
            raise GraderError(
                f"the reference raised {type(error).__name__} in probe {name}: {error}; "
                "run `autograder grade` on the reference to reproduce it"
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


def case_seed(seed: bytes, name: str) -> int:
    """Return the seed of one case. The same submission gets the same seed when it is graded again."""
    return int.from_bytes(hmac.new(seed, name.encode(), hashlib.sha256).digest(), "big")


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
    case = request.config.stash[CASES][request.node.nodeid]
    return np.random.default_rng(case_seed(request.config.stash[RUN].seed, case.name))


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
    total = sum(case.points for case in cases.values())
    if not problems and total != TOTAL_POINTS:
        problems.append(f"the points of the {len(cases)} cases add up to {total}, not to {TOTAL_POINTS}")
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
    )


def _unknown_probes(items: list[pytest.Item]) -> list[str]:
    """Return a problem for every `probes.<name>` in the suite's files that names no probe."""
    problems = []
    for path in sorted({item.path for item in items}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
    if session.testsfailed:
        return
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
    """If a check raises an unexpected exception, find out whether the submission's data or the suite is the cause."""
    try:
        return (yield)
    except (AssertionError, SubmissionError, GraderError, OSError):
        raise
    except Exception as error:
        arguments = getattr(item, "funcargs", {})
        student, run = arguments.get("student"), item.config.stash[RUN]
        if not isinstance(student, Student):
            raise
        student.impersonate()
        if "rng" in arguments:
            name = item.config.stash[CASES][item.nodeid].name
            arguments["rng"] = np.random.default_rng(case_seed(run.seed, name))
        item.runtest()  # raises again if the suite itself is at fault
        raise AssertionError(
            "the result has a type or structure that the check cannot use; compare it with the specification"
        ) from error


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
        verdict, message = Verdict.PASSED, ""
    elif when == "call" and isinstance(error, SubmissionError):
        verdict, message = error.verdict, str(error)
    elif when == "call" and isinstance(error, (AssertionError, pytest.fail.Exception)):
        verdict, message = Verdict.WRONG, str(error) or "the result is not what the task asks for"
    else:
        raise GraderError(
            f"{item.nodeid} ({when}) raised {type(error).__name__}: {error}; "
            "no score was given; fix the suite, then grade again"
        ) from error
    student = getattr(item, "funcargs", {}).get("student")
    used = student if isinstance(student, Student) else None
    return CaseResult(
        name=case.name,
        verdict=verdict,
        points=case.points if verdict.traits.earns_points else 0,
        max_points=case.points,
        message=message,
        seconds=used.seconds if used else 0.0,
        cpu_seconds=used.cpu_seconds if used else 0.0,
        peak_bytes=used.peak_bytes if used else 0,
    )
