"""Assignments with devices: who may use CUDA, who may not, and one submission on a device at a time.

The device of these tests is pretended: `/dev/null` stands for the node, and a module of the suite for CUDA.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading

import pytest

from autograder.config import load
from autograder.errors import GraderError
from autograder.grading.grader import Grader
from autograder.grading.trial import Trial
from autograder.grading.turns import Turns
from tests.support import ROOT
from tests.support.course import CourseFolder

DEVICE = 'devices = ["/dev/null"]\nqueue = "gpu"\n'

CUDA = """
import os

DEVICES = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
_owner = None


def use():
    '''Like CUDA: a process that has used it makes it unusable for its forks.'''
    global _owner
    _owner = _owner or os.getpid()
    if _owner != os.getpid():
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
    if DEVICES == "":
        raise RuntimeError("No CUDA GPUs are available")
"""

PROBES = f"""
{CUDA}

def double(x):
    from src.work import double
    use()
    return double(x)


def visible():
    return DEVICES
"""

SCORE = """
import probes
from autograder.testing import assert_close, assert_equal, case


@case(task=1, points=60)
def test_double(student, ref, rng):
    '''double works on arrays.'''
    x = rng.standard_normal(5)
    assert_close(student(probes.double, x), ref(probes.double, x))


@case(task=1, points=40)
def test_visible(student):
    '''Student code sees the devices of the assignment.'''
    assert_equal(student(probes.visible), "all")
"""


@pytest.fixture
def grader_of(tmp_path):
    """Return a function that makes a course and yields it with its grader."""

    @contextlib.contextmanager
    def make(settings="", **suite):
        course_folder = CourseFolder(tmp_path, settings=settings, **suite)
        file = course_folder.config_file
        with Grader(load(file), "t", config_file=file) as grader:
            yield course_folder, grader

    return make


@pytest.mark.sandbox
def test_the_check_of_a_suite_leaves_the_device_usable_for_submissions(grader_of):
    """The check of the suite uses the device; every submission's checking process, a fork, uses it again."""
    with grader_of(DEVICE, probes=PROBES, score=SCORE) as (course_folder, grader):
        for name in ("one", "two"):
            report = grader.grade(course_folder.submission(name))
            assert [case.message for case in report.cases] == ["", ""]


@pytest.mark.sandbox
def test_without_devices_nobody_sees_a_gpu(grader_of, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    score = """
import probes
from autograder.testing import assert_equal, case


@case(task=1, points=100)
def test_visible(student, ref):
    '''Neither student code nor the checking process sees a device.'''
    assert_equal([student(probes.visible), ref(probes.visible)], ["", ""])
"""
    with grader_of(probes=PROBES, score=score) as (course_folder, grader):
        assert grader.grade(course_folder.submission("one")).points == 100


@pytest.mark.sandbox
def test_a_device_that_works_only_outside_of_the_sandbox_is_found_before_any_submission(grader_of):
    broken = (
        "    if os.environ.get('USER') == 'student':\n        raise RuntimeError('no CUDA-capable device')\n"
    )
    with (
        grader_of(DEVICE, probes=PROBES.replace("    use()\n", broken), score=SCORE) as (_, grader),
        pytest.raises(
            GraderError, match=r"(?s)the reference itself fails 1 case.*in the sandbox:.*CUDA-capable"
        ),
    ):
        grader.ready()


@pytest.mark.sandbox
def test_a_suite_that_ends_its_checking_process_is_reported(grader_of):
    probes = PROBES.replace("    use()\n", "    os.kill(os.getpid(), 9)\n")
    with (
        grader_of(DEVICE, probes=probes, score=SCORE) as (_, grader),
        pytest.raises(GraderError, match="the check of the suite ended with -9"),
    ):
        grader.ready()


INSIDE = """
import time
from pathlib import Path

import probes
from autograder.testing import case

INSIDE = Path(__file__).parent / "inside"


@case(task=1, points=100)
def test_nobody_else_is_inside(student):
    '''While a submission is on the device, no other is.'''
    INSIDE.touch(exist_ok=False)
    student(probes.double, 1)
    time.sleep(0.1)
    INSIDE.unlink()
"""


@pytest.mark.sandbox
def test_one_submission_at_a_time_is_on_a_device(grader_of):
    with grader_of(DEVICE, probes=PROBES, score=INSIDE) as (folder, grader):
        paths = [(folder.submission(f"s{number}"), None) for number in range(4)]
        assert [done.fault for done in grader.grade_many(paths, jobs=4)] == [None] * 4
        trials = [(number, path, Trial(draws=("a",))) for number, (path, _) in enumerate(paths)]
        rows = [row for _, tried in grader.try_many(trials, jobs=4) for row in tried.rows]
        assert [row.verdict for row in rows] == ["passed"] * 4


# the locks --------------------------------------------------------------------------------------------------

NEIGHBOUR = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from autograder.grading.turns import Turns

def say(word):
    print(word, flush=True)
    sys.stdin.readline()

with Turns(Path(sys.argv[2])).together(sys.argv[3].split(",")) as turn:
    say("has it")
    with turn.alone():
        say("alone")
    if os.fork() == 0:      # a process of the suite's that outlives the submission
        time.sleep(600)
    pid = os.getpid()
say("done")
"""


class Neighbour:
    """Another process that grades on devices, and needs to be alone once."""

    def __init__(self, stack, folder, devices):
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", NEIGHBOUR, str(ROOT), str(folder), devices],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        stack.callback(self.end)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def says(self):
        return self.process.stdout.readline().strip()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def is_silent(self):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return not select.select([self.process.stdout], [], [], 0.2)[0]


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


def test_who_waits_for_a_device_does_not_keep_its_owner_from_being_alone(stack, tmp_path):
    first = Neighbour(stack, tmp_path, "/dev/null")
    assert first.says() == "has it"
    second = Neighbour(stack, tmp_path, "/dev/null")
    assert second.is_silent()
    with Turns(tmp_path).together(["/dev/zero"]):
        first.go_on()
        assert first.is_silent()  # until this process leaves the room
        assert second.is_silent()
    assert first.says() == "alone"
    assert second.is_silent()
    first.go_on()
    assert first.says() == "done"
    assert second.says() == "has it"  # although a process that the first has forked still runs
    second.go_on()
    assert second.says() == "alone"


def test_devices_are_taken_in_one_order(tmp_path):
    """Threads take the same devices, named in different orders, many times."""
    turns, devices = Turns(tmp_path), ["/dev/null", "/dev/zero", "/dev/full"]
    inside, most = [], []

    def work(names):
        for _ in range(50):
            with turns.with_devices(names):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [
        threading.Thread(target=work, args=(order,)) for order in (devices, devices[::-1], devices[:2])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


@pytest.mark.parametrize(
    "shared", ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-caps/nvidia-cap1", "/dev/kfd"]
)
def test_the_control_nodes_of_all_gpus_belong_to_nobody(tmp_path, shared):
    turns = Turns(tmp_path)
    with turns.with_devices(["/dev/nvidia0", shared]), turns.with_devices(["/dev/nvidia1", shared]):
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "device-dev-nvidia0",
            "device-dev-nvidia1",
        ]


def test_without_a_folder_nobody_waits(tmp_path):
    (tmp_path / "file").write_text("")
    turns = Turns(tmp_path / "file" / "turns")
    with turns.with_devices(["/dev/null"]), turns.together(["/dev/null"]):
        pass
