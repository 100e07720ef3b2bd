"""Turns: submissions are graded side by side, and one that needs the whole machine waits until it is alone."""

import contextlib
import select
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from autograder.config import load
from autograder.errors import BusyError
from autograder.grading.grader import Grader
from autograder.grading.plugin import CASES, RUN, Case, Run
from autograder.grading.suite_server import ALONE, Server
from autograder.grading.turns import NO_TURN, Turns
from autograder.sandbox.limits import Limits
from tests.support import ROOT
from tests.support.course import CourseFolder

NEIGHBOUR = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from autograder.grading.turns import Turns

def say(word):
    print(word, flush=True)
    sys.stdin.readline()

with Turns(Path(sys.argv[2])).together() as turn:
    say("together")
    if sys.argv[3] == "alone":
        with turn.alone():
            say("alone")
        say("together again")
"""


class Neighbour:
    """Another process that takes turns; it goes on when it is told to, and its words arrive when it has its turn."""

    def __init__(self, stack, folder, kind="together"):
        command = [sys.executable, "-c", NEIGHBOUR, str(ROOT), str(folder), kind]
        self.process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self.process.kill)

    def says(self):
        return self.process.stdout.readline().strip()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def is_silent(self):
        """Whether nothing arrives while another process could start and end."""
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return not select.select([self.process.stdout], [], [], 0.2)[0]


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


def test_one_waits_until_the_others_have_ended_and_newcomers_wait_for_it(stack, tmp_path):
    first, second = Neighbour(stack, tmp_path), Neighbour(stack, tmp_path)
    lonely = Neighbour(stack, tmp_path, "alone")
    assert [process.says() for process in (first, second, lonely)] == ["together"] * 3
    lonely.go_on()
    first.go_on()
    assert lonely.is_silent()
    newcomer = Neighbour(stack, tmp_path)
    assert newcomer.is_silent()
    second.go_on()
    assert lonely.says() == "alone"
    assert newcomer.is_silent()
    lonely.go_on()
    assert lonely.says() == "together again"
    assert newcomer.says() == "together"


def test_a_turn_ends_with_its_process(stack, tmp_path):
    lonely = Neighbour(stack, tmp_path, "alone")
    assert lonely.says() == "together"
    lonely.go_on()
    assert lonely.says() == "alone"
    newcomer = Neighbour(stack, tmp_path)
    assert newcomer.is_silent()
    lonely.process.kill()
    assert newcomer.says() == "together"


def test_without_a_folder_nobody_waits(tmp_path):
    (tmp_path / "file").write_text("")
    with Turns(tmp_path / "file" / "turns").together() as turn, turn.alone():
        assert turn is NO_TURN


# a submission on a machine that is too busy ---------------------------------------------------------------


class Item:
    """Stands for a collected test."""

    def __init__(self, number):
        self.nodeid = f"test_{number}"


class ScriptedServer(Server):
    """A server whose items end as a list says."""

    def __init__(self, *ends):
        self.ends, self.log = list(ends), []

    def run_item(self, item, _following, run):
        end = self.ends.pop(0)
        self.log.append(item.nodeid)
        run.results[item.nodeid] = item.nodeid
        return end


class Alone:
    """A turn that writes down when it begins and ends."""

    def __init__(self, log):
        self.log = log

    @contextlib.contextmanager
    def alone(self):
        self.log.append("alone")
        yield
        self.log.append("together")


def run_items(server, count):
    cases = {f"test_{n}": Case(f"Task1 - Case{n}", 1, "", 1.0, needs_build=False) for n in range(count)}

    config = SimpleNamespace(stash={CASES: cases, RUN: None})
    session = SimpleNamespace(config=config, items=[Item(n) for n in range(count)])
    return server.run_items(session, Run(object(), Limits(), b""), Alone(server.log))


def test_a_case_that_the_machine_was_too_busy_for_runs_once_more_alone():
    server = ScriptedServer(BusyError("busy"), None, None)
    results, faults = run_items(server, 2)
    assert results == ["test_0", "test_1"]
    assert faults == []
    assert server.log == ["test_0", "alone", "test_0", "together", "test_1"]


def test_if_that_decides_nothing_it_is_our_fault():
    with pytest.raises(BusyError):
        run_items(ScriptedServer(BusyError("busy"), BusyError("busy")), 1)


def test_a_submission_may_stop_the_others_only_a_few_times():
    server = ScriptedServer(*[BusyError("busy"), None] * ALONE, BusyError("busy"))
    with pytest.raises(BusyError):
        run_items(server, ALONE + 1)
    assert server.log.count("alone") == ALONE


@pytest.mark.sandbox
def test_a_case_that_is_starved_costs_no_points(tmp_path):
    """The bound for wall time is below the limit here, so a case that sleeps ends as on a machine that is too busy."""
    settings = "[assignments.t.limits]\nstarved_seconds = 0.3\n"
    course_folder = CourseFolder(tmp_path, settings=settings)
    sleeper = course_folder.submission("sleeper", "import time\ndef double(x):\n    time.sleep(600)\n")
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        (done,) = grader.grade_many([(sleeper, None)], jobs=1)
        assert done.report is None
        assert "waited for a processor most of the time" in str(done.fault)
        assert grader.grade(course_folder.submission("right")).points == 100
    assert (Path(course_folder.folder) / ".autograder" / "turns" / "gate").exists()
