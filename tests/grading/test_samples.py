"""Every sample in samples/ is graded by the hidden suites and gets what it expects.

All samples of one assignment are graded by one grader, several at a time, so hostile ones have neighbours to
disturb: the harmless ones among them notice. Samples that must be stopped by the clock have a grader of their own, with
short limits for the cases where they are; everywhere else the limits are so long that a busy machine cannot reach them.

After that nothing of them may be left: no process, no mount, no file.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from autograder.config import SECRET_VARIABLE, STATE_FOLDER, load
from autograder.config.schema import AssignmentConfig
from autograder.grading.batch import head_commit, write_single
from autograder.grading.grader import Graded, Grader, Tried
from autograder.grading.trial import Trial
from autograder.report import MAX_MESSAGE, Report, markdown
from autograder.sandbox.inside import kernel
from autograder.submission import digest
from tests.support import engine
from tests.support.samples import (
    ALL,
    ROOT,
    STUBS,
    Expectation,
    Sample,
    build,
    changed,
    files,
    read_all,
    read_folder,
    without_solution,
)
from tests.support.walls import why_no_wall

THREAT_MODEL = ROOT / "docs" / "threat-model.md"
ASSIGNMENTS = ("a0", "a1", "a2")
FAMILIES = ("reference", "right", "starter", "partial", "broken", "slow", "wrong", "hostile")
SHORT_SECONDS = {"a0": 1, "a1": 10, "a2": 4}
"""Time limit of the cases where a sample must be stopped by the clock: that of the suite, or less."""
LONG_SECONDS = 300
"""Time limit of all other cases, and of builds. Nothing reaches it: what a sample does decides there, not the clock."""
LIMITS = {
    "a0": {"memory_bytes": 384 << 20, "tmp_bytes": 32 << 20, "tmp_files": 1000, "output_bytes": 16 << 20},
    "a1": {"memory_bytes": 640 << 20},  # g++ needs half of it
}
"""Less than what is usual, so that it is reached sooner."""
IN_FLIGHT = {"a0": 6, "a1": 3, "a2": 3}
"""In a0 some sleep for seconds, so more of them than processors are graded at a time."""
DRAWS = int(os.environ.get("SAMPLE_DRAWS", "3"))
"""How often a wrong sample meets the cases that must catch it. SAMPLE_DRAWS=50 in the environment makes it fifty."""
FURTHER_DRAWS = tuple(f"draw {number}" for number in range(2, DRAWS + 1))
"""Names of the draws after the first, which is the grading."""
PER_TRIAL = 5
"""Draws in one request. A request has an end."""
PAIR = ("hostile-pair-receiver", "hostile-pair-sender")
"""Graded first, so that they are in flight at the same time."""
IN_CONTAINERS = (
    *("reference-a0", "reference-a2", "hostile-proc", "hostile-network", "hostile-sockets"),
    *("hostile-read-host", "hostile-fork-outlives", "hostile-state-in-files", "hostile-memory"),
)
"""Graded in containers too, where each costs a start of Python and of torch. With SAMPLES_IN_CONTAINERS=all in the
environment all of them are."""
CONTAINED = ALL if os.environ.get("SAMPLES_IN_CONTAINERS") == "all" else IN_CONTAINERS
CASES = [
    *(pytest.param("bwrap", sample, marks=pytest.mark.sandbox, id=name) for name, sample in ALL.items()),
    *(pytest.param("docker", ALL[name], marks=pytest.mark.docker, id=f"docker-{name}") for name in CONTAINED),
]


# ── grading ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Conditions:
    """What a grader is started with: samples that need the same share it.

    Attributes:
        short: the cases that the clock must stop, by number; None: all cases.
        not_given: files that the course does not give.
    """

    wall: str
    assignment: str
    short: frozenset[int] | None
    not_given: tuple[str, ...]

    @classmethod
    def of(cls, wall: str, expected: Expectation) -> Conditions:
        """What a sample needs."""
        verdicts = expected.verdicts
        short = None if verdicts.rest == "timeout" else frozenset(verdicts.timeout)
        return cls(wall, expected.assignment, short, expected.not_given)


TIME_LIMITS = """

for _number, _test in enumerate([f for _name, f in globals().items() if _name.startswith("test_")], 1):
    _test.pytestmark = [mark for mark in _test.pytestmark if mark.name != "timeout"]
    if {short} is None or _number in {short}:
        pytest.mark.timeout({seconds})(_test)
"""
"""Added to a suite: the configured limit holds for all cases but the short ones."""


BUILD_IN_PLACE = """

def build_in_place():
    from autograder.sandbox.inside.cpp import build_cpp

    return build_cpp("src/softmax_ext")
"""
"""Added to the probes of a course that gives fewer files of its C++ extension: what the key `cpp` does otherwise."""


def course(folder: Path, conditions: Conditions, sandbox: str = "") -> Path:
    """Copy the staff repository's course, with the limits that samples need; return its configuration file.

    `sandbox` is added to the configuration, such as a table [sandbox].
    """
    name = conditions.assignment
    for part in ("src", f"hidden/{name}"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    if name != "a1" or conditions.short != frozenset():
        # a1's own limits are long enough, and what other graders have compiled for this very suite is used again.
        short = None if conditions.short is None else set(conditions.short)
        with (folder / "hidden" / name / "test_score.py").open("a", encoding="utf-8") as suite:
            suite.write(TIME_LIMITS.format(short=short, seconds=SHORT_SECONDS[name]))
    settings = (ROOT / "autograder.toml").read_text("utf-8")
    table = f"[assignments.{name}]\n"
    settings = changed(settings, [(table, f"{table}timeout = {LONG_SECONDS}\n")])
    settings = changed(settings, [("seconds = 60\n", f"seconds = {LONG_SECONDS}\n")])
    if conditions.not_given:
        with (folder / "hidden" / name / "probes.py").open("a", encoding="utf-8") as probes:
            probes.write(BUILD_IN_PLACE)
        settings = with_less_given(settings, load(ROOT / "autograder.toml").assignment(name), conditions)
    limits = "".join(f"{key} = {value}\n" for key, value in LIMITS.get(name, {}).items())
    settings += f"\n[assignments.{name}.limits]\n{limits}\n{sandbox}"
    (folder / "autograder.toml").write_text(settings, "utf-8")
    builds = ROOT / STATE_FOLDER / "builds"  # what was compiled in an earlier run is used again
    builds.mkdir(parents=True, exist_ok=True)
    (folder / STATE_FOLDER).mkdir()
    (folder / STATE_FOLDER / "builds").symlink_to(builds)
    return folder / "autograder.toml"


def with_less_given(settings: str, assignment: AssignmentConfig, conditions: Conditions) -> str:
    """Return a configuration that does not give some files of a C++ extension, written as the key `cpp` reads it."""
    build = assignment.build
    assert build is not None
    given = [path for path in assignment.given if path not in conditions.not_given]
    assert len(given) == len(assignment.given) - len(conditions.not_given)
    # Without `prepare`, which works with given files alone.
    keys = {"probe": "build_in_place", "packages": build.packages, "sources": build.sources}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    head = f"[assignments.{conditions.assignment}]\n"
    (cpp,) = re.findall(r"^cpp = .*\n", settings, re.MULTILINE)
    return changed(settings, [(head, f"{head}given = {json.dumps(given)}\n"), (cpp, lines)])


@dataclass
class Grading:
    """Grades samples, each once, and remembers what was left behind."""

    folder: Path
    sandbox: Callable[[str], str]
    left_behind: list[str]
    redrawn: dict[str, list[Tried]] = field(default_factory=dict)
    """By sample: the cases that must catch it, in further draws."""

    def grade(self, conditions: Conditions, samples: list[Sample]) -> dict[str, Graded]:
        """Grade samples that need the same conditions.

        It is done in a thread that has a mount namespace of its own, as the grader then has: what others mount on
        this machine is not seen there.
        """
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._grade, conditions, samples).result()

    def _grade(self, conditions: Conditions, samples: list[Sample]) -> dict[str, Graded]:
        mounted = enter_mount_namespace()
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        config_file = course(folder, conditions, self.sandbox(conditions.wall))
        checkouts = {build(sample, folder / "checkouts" / sample.name): sample for sample in samples}
        for sample in samples:
            for other in sample.expected.beside:
                name = neighbour(sample, other)
                checkouts[build(ALL[other], folder / "checkouts" / name)] = ALL[other]
        before = {path: fingerprint(path) for path in (*checkouts, folder / "hidden", folder / "src")}
        config, others = load(config_file), children()
        results: dict[str, Graded] = {}
        crowd = {
            name
            for sample in samples
            if sample.expected.beside
            for name in (sample.name, *(neighbour(sample, other) for other in sample.expected.beside))
        }
        with Grader(
            config, conditions.assignment, config_file=config_file, sandbox=conditions.wall
        ) as grader:
            grader.ready()
            processes = len(descendants(others))
            for alone, jobs in ((False, IN_FLIGHT[conditions.assignment]), (True, 1)):
                work = [(path, None) for path, sample in checkouts.items() if sample.expected.alone is alone]
                work.sort(key=lambda one: (one[0].name not in PAIR, one[0].name not in crowd))
                results |= {graded.path.name: graded for graded in grader.grade_many(work, jobs=jobs)}
            if conditions.wall == "bwrap":
                names = [name for name, _ in grader.cases]
                trials = [
                    (sample.name, path, Trial(FURTHER_DRAWS[start : start + PER_TRIAL], cases))
                    for path, sample in checkouts.items()
                    if (cases := catching(sample, names))
                    for start in range(0, len(FURTHER_DRAWS), PER_TRIAL)
                ]
                for name, tried in grader.try_many(trials, jobs=IN_FLIGHT[conditions.assignment]):
                    self.redrawn.setdefault(name, []).append(tried)
            if (more := settled(lambda: len(descendants(others)), processes)) != processes:
                self.left_behind.append(f"{conditions}: {more} processes after grading, {processes} before")
        if settled(lambda: len(descendants(others)), 0):
            self.left_behind.append(
                f"{conditions}: processes {descendants(others)} after the grader was closed"
            )
        self.left_behind += [f"{path} was changed" for path in before if fingerprint(path) != before[path]]
        self.left_behind += [f"{conditions}: the mount {mount} is left" for mount in mounts() - mounted]
        return results


def neighbour(sample: Sample, other: str) -> str:
    """Return the name of the checkout of `other` that is graded beside a sample."""
    return f"{other}+{sample.name}"


def catching(sample: Sample, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the cases that must catch a wrong sample; none for a sample of another family."""
    verdicts = sample.expected.verdicts
    must = {*verdicts.wrong, *verdicts.error} - {*verdicts.passed, *verdicts.timeout}
    return tuple(names[number - 1] for number in sorted(must)) if sample.name.startswith("wrong-") else ()


def fingerprint(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Every entry of a folder with its kind, and of a file its size and time; links are not followed."""
    entries = {}
    for path in folder.rglob("*"):
        if not {"__pycache__", "_build"} & {*path.parts}:  # made where the reference is imported
            facts = path.lstat()
            is_folder = stat.S_ISDIR(facts.st_mode)
            entries[path] = (facts.st_mode, *(() if is_folder else (facts.st_size, facts.st_mtime_ns)))
    return entries


def children(parent: int | None = None) -> set[int]:
    """The processes that a process has started and that have not ended; by default this one's."""
    found: set[int] = set()
    for task in Path(f"/proc/{parent or os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # ended meanwhile
            found |= {int(pid) for pid in task.read_text().split()}
    return {pid for pid in found if not is_zombie(pid)}


def descendants(others: Collection[int]) -> list[int]:
    """Every process below this one, but for children that are others', and what is below them.

    This process adopts orphans, so none of its grader's can get out of sight.
    """
    found: list[int] = []
    queue = [*(children() - {*others})]
    while queue:
        found.append(queue.pop())
        queue += children(found[-1])
    return found


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def settled(measure: Callable[[], int], expected: int) -> int:
    """Measure until it is as expected, with patience: processes take a moment to end, and longer on a busy machine."""
    deadline = time.monotonic() + 60
    while (got := measure()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return got


def enter_mount_namespace() -> set[str]:
    """Give this thread, and what it starts, a mount namespace of its own; return what is mounted there.

    An ordinary user has no right to that, nor to mount anything.
    """
    with contextlib.suppress(PermissionError):
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    return mounts()


def mounts() -> set[str]:
    """What is mounted in this thread's namespace, where that is its own; others may unmount what was there before."""
    own, common = (Path(f"/proc/{task}/ns/mnt").readlink() for task in ("thread-self", "self"))
    return set() if own == common else {*Path("/proc/thread-self/mountinfo").read_text().splitlines()}


PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="module")
def grading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grading]:
    """What grades samples; it fails at the end where something is left behind."""
    temporary = tmp_path_factory.mktemp("temporary")
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    left_behind: list[str] = []
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as images:
        patch.setenv("TMPDIR", str(temporary))  # the grader's
        patch.setenv(SECRET_VARIABLE, "the inputs of the samples are the same in every run")

        @functools.cache
        def sandbox(wall: str) -> str:
            settings = f'[sandbox]\nkind = "{wall}"\n'
            if wall == "docker":
                image = images.enter_context(engine.host_image())
                settings += f'image = "{image}"\nvolumes = {engine.volumes()}'
            return settings

        yield Grading(tmp_path_factory.mktemp("courses"), sandbox, left_behind)
        if not engine.why_no_engine():
            left_behind += [f"container {name} is left" for name in engine.containers_left()]
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    left_behind += [f"{path} is left" for path in temporary.rglob("*")]
    assert left_behind == []


Results = Mapping[tuple[str, str], Graded]


@pytest.fixture(scope="module")
def results(grading: Grading, request: pytest.FixtureRequest) -> Results:
    """All samples that were asked for, graded, by wall and name."""
    tests = [
        item for item in request.session.items if item.path == Path(__file__) and hasattr(item, "callspec")
    ]
    missing = {"bwrap": why_no_wall(), "docker": engine.why_no_engine()}
    groups: dict[Conditions, list[Sample]] = {}
    for wanted in (test.callspec.params for test in tests if "sample" in test.callspec.params):
        if not missing[wanted["wall"]]:
            conditions = Conditions.of(wanted["wall"], wanted["sample"].expected)
            groups.setdefault(conditions, []).append(wanted["sample"])
    graded: dict[tuple[str, str], Graded] = {}
    for conditions, samples in groups.items():
        found = grading.grade(conditions, samples)
        graded |= {(conditions.wall, name): result for name, result in found.items()}
    return graded


# ── the tests ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("wall", "sample"), CASES)
def test_a_sample_gets_what_it_expects(wall: str, sample: Sample, results: Results) -> None:
    for other in sample.expected.beside:
        assert_as_expected(wall, ALL[other], results[wall, neighbour(sample, other)])
    assert_as_expected(wall, sample, results[wall, sample.name])


def assert_as_expected(wall: str, sample: Sample, graded: Graded) -> None:
    expected = sample.expected
    assert graded.fault is None, "a submission must not be able to stop its grading"
    report = graded.report
    table = "\n" + markdown([report])
    assert unexpected(expected, report) == {}, table
    assert expected.points in (None, report.points), table
    message = expected.in_container or expected.message if wall == "docker" else expected.message
    assert [m for m in messages_of(report) if message not in m] == [], table
    assert_messages_are_harmless(report)


WRONG = {name: sample for name, sample in ALL.items() if catching(sample, [""] * 1000)}


@pytest.mark.sandbox
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WRONG)
def test_whether_a_mistake_shows_does_not_depend_on_the_draw(
    name: str, results: Results, grading: Grading
) -> None:
    if ("bwrap", name) not in results:
        pytest.skip("the sample was not asked for")
    trials, verdicts = grading.redrawn[name], WRONG[name].expected.verdicts
    assert [tried.fault for tried in trials] == [None] * len(trials)
    numbers = {case.name: number for number, case in enumerate(trials[0].cases, 1)}
    rows = [row for tried in trials for row in tried.rows]
    assert [row for row in rows if row.verdict not in verdicts.of(numbers[row.name])] == []
    assert {row.draw for row in rows} == {*FURTHER_DRAWS}


@pytest.mark.sandbox
def test_two_submissions_in_flight_cannot_meet(results: Results) -> None:
    """The pair of samples that try, were graded at the same time; unwalled, their code does meet."""
    if not {("bwrap", name) for name in PAIR} <= results.keys():
        pytest.skip("the pair was not asked for")
    spans = [span_of(results["bwrap", name].report) for name in PAIR]
    assert max(began for began, _ in spans) <= min(ended for _, ended in spans)


def test_without_a_wall_the_pair_does_meet(tmp_path: Path) -> None:
    """So the samples fail to meet because of the wall. Names are this test's own, and nobody is signalled."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    waiting = meeting("receiver", "print(meeting.receive(3.0))", port, tmp_path)
    calling = meeting("sender", "meeting.send(2.5, pids=())", port, tmp_path)
    try:
        received = waiting.communicate(timeout=60)[0].decode()
        calling.wait(60)
    finally:
        waiting.kill()
        calling.kill()
    kinds = [
        f"{family} {kind}" for family in ("AF_UNIX", "AF_INET") for kind in ("SOCK_STREAM", "SOCK_DGRAM")
    ]
    for channel in (*kinds, str(tmp_path)):
        assert repr(channel) in received


def meeting(role: str, statement: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    """Run the pair's module in a process of this machine, without any wall, less what would stay behind."""
    own = f"meeting.NAME, meeting.PORT, meeting.FOLDERS = 'meet-{port}', {port}, [{str(folder)!r}]"
    code = f"import meeting; {own}; meeting.libc.shmget = lambda *_: -1; {statement}"
    environment = {"PYTHONPATH": str(ALL[f"hostile-pair-{role}"].place / "src"), "PATH": os.environ["PATH"]}
    return subprocess.Popen([sys.executable, "-B", "-c", code], env=environment, stdout=subprocess.PIPE)


def span_of(report: Report) -> tuple[float, float]:
    """When the grading of a submission began and ended, to the second."""
    began = datetime.fromisoformat(report.provenance["started"]).timestamp()
    return began, began + 1 + report.provenance["seconds"]


# ── attacks on the command, which no folder in a repository can hold ─────────────────────────────────────


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository with a commit of the starter, as a student might hand it in, .git and all."""
    root = build(ALL["starter-a0"], tmp_path / "checkout")
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    return root


def test_the_configuration_of_a_checkout_runs_nothing(checkout: Path, tmp_path: Path) -> None:
    """Filters, monitors, hooks and the configuration of a submodule: git status would run each of them."""
    ran = tmp_path / "ran"
    settings = (
        ("filter.x.clean", f"touch {ran}; cat"),
        ("core.fsmonitor", f"touch {ran}"),
        ("core.pager", f"touch {ran}"),
    )
    for name, value in settings:
        subprocess.run(["git", "-C", str(checkout), "config", name, value], check=True)
    (checkout / ".git" / "info" / "attributes").write_text("* filter=x\n")
    os.utime(checkout / "src" / "linear.py", (0, 0))
    head_commit(checkout)
    assert not ran.exists()


def test_a_link_called_score_md_does_not_lead_the_grader_to_other_files(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("score.md", "score.json"):
        (checkout / name).symlink_to(precious)
    write_single([Report("a0", ())], checkout)
    assert precious.read_text() == "precious"


def unexpected(expected: Expectation, report: Report) -> dict[str, str]:
    """The cases whose verdict is not what the sample expects, and the verdict."""
    unknown = expected.verdicts.listed - set(range(1, len(report.cases) + 1))
    assert not unknown, f"there are no cases {unknown}"
    cases = {
        case.name: (case.verdict.value, expected.verdicts.of(i)) for i, case in enumerate(report.cases, 1)
    }
    return {name: verdict for name, (verdict, allowed) in cases.items() if verdict not in allowed}


def messages_of(report: Report) -> list[str]:
    return [case.message for case in report.cases if case.verdict.value != "passed"]


def assert_messages_are_harmless(report: Report) -> None:
    """Each is one short line that says something, without control characters or paths of the grader's."""
    for message in messages_of(report):
        assert 0 < len(message) <= MAX_MESSAGE + 1
        assert not [c for c in message if unicodedata.category(c)[0] == "C"]
        assert str(ROOT) not in message
    rows = markdown([report]).splitlines()
    assert len(rows) == len(report.cases) + 5  # title, blank, two of the table's head, the total
    assert all(row.count("|") == 5 and row.count("`") in (0, 2) for row in rows[2:])


def test_the_starter_has_no_solution_left() -> None:
    for file in (ROOT / "src").rglob("*.*"):
        if file.suffix in STUBS:
            text = without_solution(file.read_text("utf-8"), file.suffix)
            assert "SOLUTION" not in text, file
            if file.suffix == ".py":
                compile(text, str(file), "exec")


# ── what samples say of themselves ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_case_rejects_a_wrong_sample(assignment: str) -> None:
    """The smaller the change of the solved assignment, the better; so other families do not count."""
    suite = (ROOT / "hidden" / assignment / "test_score.py").read_text("utf-8")
    cases = range(1, len(re.findall(r"^@case\(", suite, re.MULTILINE)) + 1)
    wrong = [
        sample.expected.verdicts
        for sample in ALL.values()
        if sample.name.startswith(("wrong-", "slow-")) and sample.expected.assignment == assignment
    ]
    assert [case for case in cases if not any("passed" not in verdicts.of(case) for verdicts in wrong)] == []


MINIMAL = 'why = "x"\nbase = "starter"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(f"{MINIMAL}points = 0", "assignment", id="no assignment"),
        pytest.param(f'assignment = "a0"\n{MINIMAL}', "needs points", id="no points"),
        pytest.param(f'assignment = "a0"\n{MINIMAL}point = 0', "unknown field `point`", id="unknown field"),
        pytest.param(
            f'assignment = "a9"\n{MINIMAL}points = 0', "Invalid enum value 'a9'", id="unknown assignment"
        ),
        pytest.param(
            'assignment = "a0"\nwhy = ""\nbase = "starter"\npoints = 0', "why must be one line", id="no why"
        ),
        pytest.param(
            f'assignment = "a0"\n{MINIMAL}verdicts.rest = "pass"',
            "Invalid enum value 'pass'",
            id="no verdict",
        ),
        pytest.param(
            f'assignment = "a0"\n{MINIMAL}verdicts.fails = [1]', "unknown field `fails`", id="no such list"
        ),
    ],
)
def test_a_mistake_in_an_expectation_is_found(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "expect.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param('[[sample]]\nwhy = "x"', "'' cannot be the name of a sample", id="no name"),
        pytest.param('[[sample]]\nname = "Wrong X"\nwhy = "x"', "'Wrong X' cannot be", id="odd name"),
        pytest.param('[[sample]]\nname = "wrong-x"', "wrong-x: .*`why`", id="no why"),
        pytest.param(
            '[[sample]]\nname = "wrong-x"\nwhy = "x"\n' * 2, "there is a sample wrong-x", id="twice"
        ),
        pytest.param(
            '[[sample]]\nname = "wrong-x"\nwhy = "x"\nbase = "wrong-y"\n',
            "wrong-x: wrong-y cannot be its base",
            id="no base",
        ),
        pytest.param(
            '[[sample]]\nname = "wrong-x"\nwhy = "x"\nbase = "wrong-x"\n',
            "wrong-x: wrong-x cannot be its base",
            id="its own base",
        ),
    ],
)
def test_a_mistake_in_a_table_is_found(tmp_path: Path, entries: str, message: str) -> None:
    top = 'assignment = "a0"\nbase = "reference"\nverdicts.rest = "passed"\n'
    (tmp_path / "a0.toml").write_text(top + entries)
    with pytest.raises(ValueError, match=message):
        read_all(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            'change."src/linear.py" = [["nowhere", ""]]',
            "src/linear.py: there is no 'nowhere' any more",
            id="text",
        ),
        pytest.param('change."src/x.py" = [["a", "b"]]', "src/x.py: there is no 'a' any more", id="file"),
        pytest.param('delete = ["src/x"]', "there is no src/x to delete", id="deleted"),
    ],
)
def test_a_change_of_what_is_not_there_is_found(tmp_path: Path, change: str, message: str) -> None:
    text = f'assignment = "a0"\nwhy = "x"\nbase = "reference"\npoints = 0\n{change}\n'
    (tmp_path / "expect.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        build(read_folder(tmp_path), tmp_path / "checkout")


def test_a_case_may_get_the_verdicts_that_list_it_or_that_of_the_rest(tmp_path: Path) -> None:
    text = f'assignment = "a0"\n{MINIMAL}verdicts.timeout = [2]\nverdicts.error = [2, 3]\n'
    for rest, others in (
        ("", {"passed", "wrong", "timeout", "error"}),
        ('verdicts.rest = "passed"', {"passed"}),
    ):
        (tmp_path / "expect.toml").write_text(text + rest)
        verdicts = read_folder(tmp_path).expected.verdicts
        assert [verdicts.of(case) for case in (1, 2, 3)] == [others, {"timeout", "error"}, {"error"}]


def test_every_sample_belongs_to_a_family_and_no_two_are_equal() -> None:
    assert [name for name in ALL if not name.startswith(FAMILIES)] == []
    contents: dict[object, str] = {}
    for sample in ALL.values():
        links = tuple(sample.expected.links.items())
        key = (sample.expected.assignment, digest(files(sample)), links)
        assert contents.setdefault(key, sample.name) == sample.name


def test_the_threat_model_names_every_hostile_sample_and_no_other() -> None:
    tables = [line for line in THREAT_MODEL.read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {name for line in tables for name in re.findall(r"`([a-z0-9-]+)`", line.split("|")[1])}
    assert named == {name.removeprefix("hostile-") for name in ALL if name.startswith("hostile-")}
