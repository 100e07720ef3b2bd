"""A suite with the real sandbox: verdicts, faults, and suites that must be refused."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent
from types import ModuleType, SimpleNamespace

import pytest

from autograder.config import AssignmentConfig, load
from autograder.errors import GraderError, SuiteError
from autograder.grading import plugin, suite_server
from autograder.grading.grader import Grader
from autograder.grading.plugin import Case, Run, Student
from autograder.grading.trial import Trial
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, Status
from autograder.verdict import Verdict
from tests.support.course import PROBES, RIGHT, SCORE, CourseFolder
from tests.support.walls import busy_loops

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def course_folder(tmp_path_factory):
    return CourseFolder(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def grader(course_folder):
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        grader.ready()
        yield grader


def verdicts(report):
    return [case.verdict.value for case in report.cases]


def messages(report):
    return [case.message for case in report.cases]


def test_a_right_submission(course_folder, grader):
    report = grader.grade(course_folder.submission("right"))
    assert verdicts(report) == ["passed", "passed"]
    assert report.points == report.max_points == 100
    assert [case.name for case in report.cases] == ["Task1 - Case1", "Task1 - Case2"]


@pytest.mark.parametrize(
    ("code", "stop", "rows"),
    [
        (RIGHT, True, 6),
        ("def double(x):\n    return 3 * x\n", True, 1),
        ("def double(x):\n    return 3 * x\n", False, 6),
    ],
    ids=["nothing to stop at", "stopped", "not stopped"],
)
def test_a_trial_may_end_at_the_first_case_that_is_not_passed(course_folder, grader, code, stop, rows):
    path = course_folder.submission(f"trial-{rows}-{stop}", code)
    ((_, tried),) = grader.try_many([(0, path, Trial(draws=("a", "b", "c"), stop=stop))], jobs=1)
    assert tried.fault is None
    assert len(tried.rows) == rows


def test_provenance(course_folder, grader):
    report = grader.grade(course_folder.submission("right"))
    facts = report.provenance
    assert facts["sandbox"] == "bwrap"
    assert facts["isolated"] is True
    assert "network-namespace" in facts["protections"]
    assert facts["versions"]["python"].startswith("3.")
    assert facts["device"] == "cpu"
    assert facts["commit"] is None
    for key in ("suite_digest", "reference_digest", "tree_digest"):
        assert len(facts[key]) == 64
    assert facts["seed_id"]
    assert facts["seconds"] > 0


def test_the_process_that_forks_has_one_thread(grader):
    """A pool of NumPy's threads for each fork would compete for the processors: a product then took four times as long
    while another submission was graded."""
    assert [path.name for path in Path(f"/proc/{grader._server.pid}/task").iterdir()] == [
        str(grader._server.pid)
    ]


VERDICTS = {
    "wrong values": (
        "def double(x):\n    return 3 * x\n",
        "wrong wrong",
        "the result differs in 5 of 5 elements; largest",
    ),
    "wrong type": (
        "def double(x):\n    return [2 * x]\n",
        "wrong wrong",
        "the result is a list, expected a float64 array of shape (5,)",
    ),
    "raises": (
        "def double(x):\n    raise ValueError('no')\n",
        "error error",
        "your code raised ValueError: no (src/work.py, line 2)",
    ),
    "raises AssertionError": (
        "def double(x):\n    raise AssertionError('x')\n",
        "error error",
        "your code raised AssertionError: x (src/work.py, line 2)",
    ),
    "raises in one case only": (
        "def double(x):\n    return 2 * x if hasattr(x, 'shape') else 1 / 0\n",
        "passed error",
        "",
    ),
    "too slow in one case": (
        "import time\ndef double(x):\n    time.sleep(0 if hasattr(x, 'shape') else 60)\n    return 2 * x\n",
        "passed timeout",
        "",
    ),
    "syntax error": ("def double(x:\n", "error error", "your code raised SyntaxError"),
    "ends the process": (
        "import os; os._exit(0)\n",
        "error error",
        "your code ended the process (exit code 0) before it returned",
    ),
    "stub": (
        "raise NotImplementedError('Task1: double')\n",
        "error error",
        "not implemented yet: Task1: double (src/work.py, line 1)",
    ),
    "equal to everything": (
        "class E:\n    __eq__ = lambda s, o: True\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n"
        "def double(x):\n    return E()\n",
        "wrong wrong",
        "the result is a src.work.E object, expected",
    ),
    "crashes": (
        "import ctypes\ndef double(x):\n    ctypes.string_at(0)\n",
        "error error",
        "crashed: segmentation fault",
    ),
    "takes memory": (
        "def double(x):\n    return bytearray(8 << 30)\n",
        "error error",
        "killed: used more than 1 GiB of memory",
    ),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(course_folder, grader, name):
    work, expected, message = VERDICTS[name]
    report = grader.grade(course_folder.submission("some", work))
    assert verdicts(report) == expected.split()
    assert messages(report)[0].startswith(message), messages(report)


def test_the_time_limit_ends_a_case(course_folder, grader):
    """The code would sleep for ten minutes; nothing but the limit of one second ends it before."""
    work = (
        "import time\ndef double(x):\n    time.sleep(0 if hasattr(x, 'shape') else 600)\n    return 2 * x\n"
    )
    report = grader.grade(course_folder.submission("slow", work))
    assert report.cases[1].verdict is Verdict.TIMEOUT
    assert report.cases[1].message.startswith("no answer in 1 s, of which it computed for ")
    assert report.cases[1].seconds >= 1


class RecordedSession:
    """Stands in for a sandbox: each probe takes as long as the test wants, and its time limit is recorded."""

    def __init__(self, *seconds):
        self.seconds, self.timeouts = list(seconds), []

    def run(self, _probe, _inputs, *, timeout, build):
        assert build is False
        self.timeouts.append(timeout)
        return Outcome(Status.RETURNED, seconds=self.seconds.pop(0), value=None)


def test_a_time_limit_counts_all_probes_of_a_case():
    probes = ModuleType("probes")
    probes.double = lambda x: x
    probes.double.__name__ = "double"
    session = RecordedSession(0.5, 1.25, 9.0, 0.0)
    run = Run(session, Limits(), seed=b"")
    student = Student(Case("Task1 - Case1", 100, "why", timeout=2.0, needs_build=False), run, probes)
    for _ in range(4):
        student(probes.double, 1)
    assert session.timeouts == [2.0, 1.5, 0.25, 0.01]  # the last probe has no time left, and the least limit
    assert student.seconds == 10.75


def test_a_check_that_does_not_end_is_stopped(monkeypatch):
    monkeypatch.setattr(plugin, "CHECK_SECONDS", 0.1)

    def compute(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    with pytest.raises(plugin.TooSlowError), plugin.CLOCK.running():
        compute(60)
    with plugin.CLOCK.running():
        with plugin.CLOCK.stopped():
            compute(0.3)  # the sandbox or the reference
        compute(0.01)
    compute(0.3)


def test_a_tree_that_is_refused_fails_every_case_with_the_reason(course_folder, grader):
    root = course_folder.submission("linked")
    (root / "src" / "link.py").unlink(missing_ok=True)
    (root / "src" / "link.py").symlink_to("/etc/passwd")
    report = grader.grade(root)
    assert verdicts(report) == ["error", "error"]
    assert messages(report) == ["src/link.py is a symbolic link; commit the file itself"] * 2


def test_inputs_depend_on_the_content_only_and_are_repeated(course_folder, grader):
    first = grader.grade(course_folder.submission("one", "def double(x):\n    return x * 2.5\n"))
    again = grader.grade(course_folder.submission("two", "def double(x):\n    return x * 2.5\n"))
    other = grader.grade(course_folder.submission("three", "def double(x):\n    return x * 2.5  # other\n"))
    assert messages(first) == messages(again)
    assert first.provenance["seed_id"] == again.provenance["seed_id"]
    assert messages(first) != messages(other)
    assert first.provenance["seed_id"] != other.provenance["seed_id"]


def test_nothing_of_the_repository_but_src_matters(course_folder, grader):
    root = course_folder.submission(
        "busy",
        **{
            "conftest.py": "raise SystemExit",
            "pytest.ini": "[pytest]\naddopts = --nonsense",
            "sitecustomize.py": "raise SystemExit",
            "probes.py": "def double(x): return 0",
            "numpy.py": "raise SystemExit",
            "ref/__init__.py": "",
            "test_score.py": "raise SystemExit",
            "score.md": "100",
        },
    )
    assert grader.grade(root).points == 100
    assert (root / "score.md").read_text() == "100"


def test_many_at_a_time_come_back_each_with_its_own_result(course_folder, grader):
    roots = [
        course_folder.submission(f"s{i}", RIGHT if i % 3 else "def double(x):\n    return x\n")
        for i in range(12)
    ]
    points = {
        done.path.name: done.report.points for done in grader.grade_many([(r, None) for r in roots], jobs=4)
    }
    assert points == {f"s{i}": 100 if i % 3 else 0 for i in range(12)}


def test_a_checking_process_that_dies_is_our_fault_and_the_next_one_is_graded(tmp_path):
    # The case has ten minutes, so that on a busy machine too only the kill can end it.
    score = SCORE.replace("@pytest.mark.timeout(1)\n", "")
    course_folder = CourseFolder(tmp_path, score=score, settings="timeout = 600\n")
    slow = course_folder.submission("sleeper", "import time\ndef double(x):\n    time.sleep(600)\n")
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        grader.ready()
        others = children(grader._server.pid)
        killer = threading.Thread(target=kill_the_next_child, args=(grader._server.pid, others), daemon=True)
        killer.start()
        (done,) = grader.grade_many([(slow, None)], jobs=1)
        assert done.report is None
        assert "the checking process ended with -9" in str(done.fault)
        assert grader.grade(course_folder.submission("after")).points == 100


def children(pid):
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            parent = stat.read_text().rpartition(")")[2].split()[1]
            found |= {int(stat.parent.name)} if int(parent) == pid else set()
    return found


def kill_the_next_child(pid, others):
    while not (found := children(pid) - others):
        time.sleep(0.01)
    os.kill(found.pop(), signal.SIGKILL)


# suites that must be refused -----------------------------------------------------------------------------


def refusal(tmp_path, score=SCORE, **options):
    course_folder = CourseFolder(tmp_path, score=score, **options)
    with (
        Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader,
        pytest.raises(GraderError) as caught,
    ):
        grader.ready()
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("points=40", "points=30", "the points of the 2 cases add up to 90, not to 100"),
        ("@case(task=1, points=40)", "", "it has no @case(task=..., points=...)"),
        ("task=1, points=40", "task=1, points=0", "points of at least 1, got 1 and 0"),
        ("points=40", "points=40, name='Task1 - Case1'", "there is a case named 'Task1 - Case1' already"),
        ("student(probes.double, 3.0)", "student(probes.duble, 3.0)", "there is no probe 'duble' in probes.py"),
        ("'''double works on numbers.'''", "", "its docstring must say in one line what it tests"),
        ("timeout(1)", "timeout(0)", "seconds between 0 and 3600, got 0"),
        ("@pytest.mark.timeout(1)", "@pytest.mark.skip", "can be neither skipped nor expected to fail"),
        ("@pytest.mark.timeout(1)", "@pytest.mark.xfail", "can be neither skipped nor expected to fail"),
        ("6.0)", "7.0)", "the reference itself fails 1 case(s)"),
        ("import numpy as np", "import nunpy as np", "test_score.py:2: ModuleNotFoundError: No module named 'nunpy'"),
        ("def test_double(", "def test_double(:", "test_score.py:10: SyntaxError: invalid syntax"),
        ("@pytest.mark.timeout(1)", "@pytest.mark.tiemout(1)", "tiemout"),
    ],
    ids=[
        "points-90", "no-case", "points-0", "same-name", "no-probe", "no-docstring", "timeout-0",
        "skip", "xfail", "reference-fails", "import", "syntax", "marker",
    ],
)  # fmt: skip
def test_a_suite_that_could_give_a_wrong_grade_is_refused(tmp_path, old, new, message):
    assert old in SCORE
    assert message in refusal(tmp_path, SCORE.replace(old, new), settings="points = 100\n")


@pytest.mark.parametrize("text", ["", "x = 1\n", "import probes\n"], ids=["empty", "no-import", "no-test"])
def test_a_suite_without_cases_is_refused(tmp_path, text):
    assert "it has no cases: write functions whose names begin with test_" in refusal(tmp_path, text)


def test_why_a_suite_cannot_be_read_is_one_line(tmp_path):
    message = refusal(tmp_path, "import nothing_like_it\n")
    assert message == (
        f"the suite cannot be collected: {tmp_path}/hidden/t/test_score.py:1: "
        "ModuleNotFoundError: No module named 'nothing_like_it'"
    )


def test_a_suite_may_begin_with_a_byte_order_mark(tmp_path):
    course_folder = CourseFolder(tmp_path, score="\ufeff" + dedent(SCORE), probes="\ufeff" + dedent(PROBES))
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        assert grader.grade(course_folder.submission("ann")).points == 100


def test_a_missing_suite_names_the_file(tmp_path):
    course_folder = CourseFolder(tmp_path)
    (course_folder.folder / "hidden" / "t" / "probes.py").unlink()
    with (
        Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader,
        pytest.raises(GraderError, match=r"the suite has no .*probes\.py"),
    ):
        grader.ready()


def test_a_check_that_stumbles_over_odd_data_is_wrong_not_our_fault(tmp_path):
    score = SCORE.replace(
        "assert_close(student(probes.double, 3.0), 6.0)", "assert student(probes.double, 3.0).real == 6.0"
    )
    course_folder = CourseFolder(tmp_path, score=score)
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        assert grader.grade(course_folder.submission("right")).points == 100
        report = grader.grade(
            course_folder.submission(
                "odd", "def double(x):\n    return 2 * x if hasattr(x, 'shape') else 'six'\n"
            )
        )
    assert verdicts(report) == ["passed", "wrong"]
    assert "the check cannot use" in report.cases[1].message


def test_a_check_that_fails_for_any_data_is_our_fault(tmp_path):
    score = SCORE + "\n\ncalls = []\n"
    score = score.replace(
        "    assert_close(student(probes.double, 3.0), 6.0)",
        "    calls.append(1)\n    student(probes.double, 3.0)\n    assert len(calls) == 1 or calls[99]",
    )
    course_folder = CourseFolder(tmp_path, score=score)
    with (
        Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader,
        pytest.raises(SuiteError, match="the reference fails Task1 - Case2") as caught,
    ):
        grader.grade(course_folder.submission("right"))
    assert caught.value.detail == "IndexError: list index out of range"


def test_fixtures_parametrized_cases_and_plugins_of_the_staff_work(tmp_path):
    score = SCORE.replace(
        "@case(task=1, points=40)\n@pytest.mark.timeout(1)\ndef test_double_of_a_number(student):",
        "@pytest.fixture(scope='session')\ndef three(three_from_plugin):\n    return three_from_plugin\n\n\n"
        "@case(task=1, points=20)\n@pytest.mark.parametrize('sign', [1, -1])\n"
        "def test_double_of_a_number(student, three, sign):",
    ).replace(
        "assert_close(student(probes.double, 3.0), 6.0)",
        "assert_close(student(probes.double, sign * three), sign * 6.0)",
    )
    course_folder = CourseFolder(tmp_path, score=score, settings='plugins = ["staff_plugin"]\n')
    course_folder.write(
        "hidden/t/staff_plugin.py",
        "import pytest\n@pytest.fixture(scope='session')\ndef three_from_plugin():\n    return 3.0\n",
    )
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        report = grader.grade(course_folder.submission("right"))
    assert [(case.name, case.points) for case in report.cases] == [
        ("Task1 - Case1", 60),
        ("Task1 - Case2", 20),
        ("Task1 - Case3", 20),
    ]


# builds --------------------------------------------------------------------------------------------------

BUILD_PROBES = """
import os, pathlib

def double(x):
    from src.work import double
    folder = os.environ.get("AUTOGRADER_BUILD")
    factor = pathlib.Path(folder, "factor").read_text() if folder else "2"  # the reference needs no build
    return double(x) * int(factor) / 2

def plain(x):
    from src.work import double
    assert "AUTOGRADER_BUILD" not in os.environ
    return double(x)

def prepare():
    return {"src/prepared.txt": b"2"}

def build():
    root = pathlib.Path("/submission/src")
    text = (root / "factor.txt").read_text().strip()
    if not text.isdigit():
        return f"src/factor.txt:1: error: {text} is no number"
    assert (root / "prepared.txt").read_text() == "2"
    assert not (root / "work.py").exists()
    return {"src/factor": text.encode()}
"""


@pytest.fixture
def build_folder(tmp_path):
    score = SCORE.replace("points=60", "points=60, needs_build=True").replace(
        "assert_close(student(probes.double, 3.0), 6.0)", "assert_close(student(probes.plain, 3.0), 6.0)"
    )
    settings = '[assignments.t.build]\nprobe = "build"\nprepare = "prepare"\nsources = ["src/factor.txt"]\n'
    course_folder = CourseFolder(tmp_path, score=score, probes=BUILD_PROBES, settings=settings)
    course_folder.write("src/factor.txt", "2\n")
    return course_folder


def test_a_build_is_made_once_and_kept(build_folder):
    config = load(build_folder.config_file)
    with Grader(config, "t", config_file=build_folder.config_file) as grader:
        assert grader.grade(build_folder.submission("a", **{"src/factor.txt": "2\n"})).points == 100
        kept = sorted(path.name for path in (config.state / "builds").iterdir())
        assert len(kept) == 2  # what was prepared, and what was built
        assert grader.grade(build_folder.submission("b", **{"src/factor.txt": "2\n"})).points == 100
        assert sorted(path.name for path in (config.state / "builds").iterdir()) == kept


def test_a_build_that_is_too_large_is_the_student_s(build_folder, monkeypatch):
    monkeypatch.setattr("autograder.grading.suite_server.MAX_BUILD_BYTES", 0)
    config = load(build_folder.config_file)
    server = suite_server.Server.__new__(suite_server.Server)
    server.assignment, server.limits = config.assignments["t"], Limits()
    session = RecordedSession(0.1)
    session.run = lambda *_, **__: Outcome(Status.RETURNED, value={"src/x.so": b"12"})
    refusal = server.build_in(session, "build")
    assert str(refusal) == "the build is 0 MiB large; at most 0 MiB are allowed"


def test_the_cache_of_builds_forgets_what_was_not_used_for_the_longest_time(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    suite_server.forget_oldest(tmp_path, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["middle", "new"]
    suite_server.forget_oldest(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_costs_only_the_cases_that_need_it(build_folder):
    with Grader(load(build_folder.config_file), "t", config_file=build_folder.config_file) as grader:
        report = grader.grade(build_folder.submission("bad", **{"src/factor.txt": "two\n"}))
    assert verdicts(report) == ["error", "passed"]
    assert report.cases[0].message == "src/factor.txt:1: error: two is no number"


COMPUTE = "import time\nwhile time.process_time() < 0.5: pass"


def test_a_build_is_not_stopped_because_other_programs_have_the_processors(build_folder):
    """The limit of a build counts as that of a case does, also for the compilers that it starts."""
    started = f"subprocess.run([sys.executable, '-ISc', {COMPUTE!r}], check=True)"
    probes = BUILD_PROBES.replace("def prepare():", f"def prepare():\n    exec({COMPUTE!r}, {{}})")
    probes = probes.replace("def build():", f"def build():\n    import subprocess, sys\n    {started}")
    build_folder.write("hidden/t/probes.py", probes + "\ndef plain(x):\n    return 2 * x\n")
    settings = build_folder.config_file.read_text("utf-8")
    build_folder.write("autograder.toml", settings + "seconds = 2\n")
    with (
        busy_loops(8),
        Grader(load(build_folder.config_file), "t", config_file=build_folder.config_file) as grader,
    ):
        assert grader.grade(build_folder.submission("a", **{"src/factor.txt": "2\n"})).points == 100


def test_given_files_replace_the_student_s(tmp_path):
    course_folder = CourseFolder(tmp_path, settings='given = ["src/work.py"]\n')
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        assert grader.grade(course_folder.submission("any", "raise SystemExit")).points == 100


def test_a_device_that_this_machine_lacks_is_our_fault(tmp_path):
    text = refusal(tmp_path, settings='devices = ["/dev/null", "/dev/no-such-device"]\n')
    assert "this machine has no /dev/no-such-device; load the driver" in text


def test_a_gpu_that_torch_cannot_use_is_our_fault(monkeypatch):
    unusable = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", unusable)
    suite_server._require_gpu("t", ["/dev/null"])
    with pytest.raises(GraderError, match="torch cannot use the GPU"):
        suite_server._require_gpu("t", ["/dev/null", "/dev/nvidia0"])
    unusable.cuda.is_available = lambda: True
    suite_server._require_gpu("t", ["/dev/nvidia0"])


# given files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "shadows"),
    [
        ("src/ext/build.cpython-311-x86_64-linux-gnu.so", True),
        ("src/ext/build.abi3.so", True),
        ("src/ext/build.so", True),
        ("src/ext/build/__init__.py", True),
        ("src/ext/build/__init__.abi3.so", True),
        ("src/ext/__init__.cpython-311-x86_64-linux-gnu.so", True),
        ("src/ext/build.txt", False),
        ("src/ext/build/data.hpp", False),
        ("src/ext/builder.so", False),
        ("src/build.py", False),
        ("src/ext/own.cpp", False),
    ],
)
def test_nothing_takes_the_place_of_a_given_module(path, shadows):
    given = {"src/ext/__init__.py": b"", "src/ext/build.py": b"given", "src/ext/binding.cpp": b""}
    server = SimpleNamespace(assignment=AssignmentConfig("x", given=tuple(given)), given=lambda: given)
    graded = suite_server.Server.with_given(server, {path: b"own", "src/own.py": b""})
    assert graded == {**({} if shadows else {path: b"own"}), "src/own.py": b"", **given}
