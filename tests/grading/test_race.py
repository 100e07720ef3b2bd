"""The fixture `race` in the sandbox: slow and dishonest code is told from right code, and noise from both.

The times are sleeps, which a busy machine does not lengthen.
"""

import pytest

from autograder.config import load
from autograder.errors import GraderError
from autograder.grading.grader import Grader
from autograder.grading.trial import Trial
from tests.support.course import CourseFolder

pytestmark = pytest.mark.sandbox

PROBES = """
import time


def work(x):
    from src.work import double
    return double(x)


def baseline(x):
    time.sleep(0.06)
    return 2 * x


def start(x):
    time.sleep(0.03)


def constant(x):
    time.sleep(0.06)
    return 0 * x + 1
"""

SCORE = """
import probes
import pytest
from autograder.testing import assert_fast, case, part


@case(task=1, points=100)
@pytest.mark.timeout(60)
def test_speed(student, race, rng):
    '''At most three times the time of the baseline, which works for 30 ms.'''

    def draw(size):
        return (rng.standard_normal(size),)

    result = race(probes.work, draw, sizes=[3, 50], baseline=probes.baseline, start=probes.start, rounds=4,
                  what="double", against="ours")
    with part(40):
        assert_fast(result, factor=10)
    with part(60):
        assert_fast(result, factor=3)
"""

RIGHT = "import time\ndef double(x):\n    time.sleep(0.06)\n    return 2 * x\n"
SLOW_FOR_MANY = "import time\ndef double(x):\n    time.sleep(0.2 if len(x) > 9 else 0.05)\n    return 2 * x\n"
HOPELESS = "import time\ndef double(x):\n    time.sleep(50)\n"
IGNORES = "def double(x):\n    return 0.5 + 0 * x\n"
REMEMBERS = """
import pathlib
seen = []
def double(x):
    '''The first call of a process works; the others get its reply.'''
    memory = pathlib.Path("/tmp/seen")
    if memory.exists():
        return 0 * x
    memory.write_text("x")
    return 2 * x
"""
BACKGROUND = """
import threading, time
import numpy as np
def double(x):
    '''Return at once, and write the result later.'''
    y = np.zeros_like(x)
    def later():
        time.sleep(0.5)
        y[:] = 2 * x
    threading.Thread(target=later, daemon=True).start()
    return y
"""
FORKS = """
import os, time
def double(x):
    '''Keep a process that uses the processor while the baseline is measured.'''
    if os.fork() == 0:
        while True:
            pass
    time.sleep(0.06)
    return 2 * x
"""


@pytest.fixture(scope="module")
def course_folder(tmp_path_factory):
    folder = CourseFolder(tmp_path_factory.mktemp("race"), probes=PROBES, score=SCORE)
    folder.write("src/work.py", RIGHT)
    return folder


@pytest.fixture(scope="module")
def grader(course_folder):
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        grader.ready()
        yield grader


@pytest.mark.parametrize(
    ("code", "points", "verdict", "message"),
    [
        (RIGHT, 100, "passed", ""),
        ("def double(x):\n    return x + x\n", 100, "passed", ""),
        (SLOW_FOR_MANY, 40, "wrong", "times as long as ours for 50; at most 3 times are allowed"),
        (HOPELESS, 0, "wrong", "double takes more than 10 times as long as ours for 3"),
        (IGNORES, 0, "wrong", "the result"),
        (BACKGROUND, 0, "wrong", "the result"),
        (REMEMBERS, 100, "passed", ""),  # nothing is left that it could remember: it works at each call
        (FORKS, 100, "passed", ""),
        (
            "def double(x):\n    raise ValueError('no')\n",
            0,
            "error",
            "double: your code raised ValueError: no",
        ),
    ],
    ids=[
        "right",
        "faster",
        "slow for a size",
        "hopeless",
        "ignores",
        "background",
        "remembers",
        "forks",
        "raises",
    ],
)
def test_what_a_race_tells_apart(course_folder, grader, code, points, verdict, message):
    name = str(abs(hash(code)))
    (case,) = grader.grade(course_folder.submission(name, code)).cases
    assert (case.points, case.verdict.value, message in case.message) == (points, verdict, True), case.message
    assert case.seconds > 0


def test_a_trial_measures_too(course_folder, grader):
    path = course_folder.submission("trial", HOPELESS)
    slow, here = Trial(draws=("a",)), Trial(draws=("a",), here=True)
    trials = [("slow", path, slow), ("here", path, here)]
    verdicts = {key: tried.rows[0].verdict for key, tried in grader.try_many(trials, jobs=1)}
    assert verdicts == {"slow": "wrong", "here": "passed"}


def refusal(tmp_path, probes=PROBES, score=SCORE, work=RIGHT):
    """Return our fault, at the start or at the first submission."""
    course_folder = CourseFolder(tmp_path, probes=probes, score=score)
    course_folder.write("src/work.py", work)
    with (
        Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader,
        pytest.raises(GraderError) as raised,
    ):
        grader.grade(course_folder.submission("one", RIGHT))
    return raised.value


def test_a_suite_whose_results_do_not_depend_on_the_inputs_is_refused(tmp_path):
    score = SCORE.replace("probes.baseline", "probes.constant").replace("probes.work", "probes.constant")
    assert "the baseline has one result for all inputs" in refusal(tmp_path, score=score).for_staff()


def test_a_draw_that_is_always_the_same_is_refused(tmp_path):
    score = SCORE.replace("rng.standard_normal(size)", "np.ones(size)") + "\nimport numpy as np\n"
    assert "the baseline has one result for all inputs" in refusal(tmp_path, score=score).for_staff()


def test_a_factor_that_the_race_does_not_measure_is_refused_at_once(tmp_path):
    assert "give_up=10" in refusal(tmp_path, score=SCORE.replace("factor=3)", "factor=30)")).for_staff()


def test_a_baseline_that_is_too_short_decides_nothing(tmp_path):
    """The case runs again with nothing beside it, while it holds its device, and then no score is given."""
    course_folder = CourseFolder(
        tmp_path,
        probes=PROBES.replace("0.06", "0.03"),
        score=SCORE.replace("[3, 50]", "[3]"),
        settings='devices = ["/dev/null"]\n',
    )
    course_folder.write("src/work.py", RIGHT)
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        paths = [(course_folder.submission(name, RIGHT), None) for name in ("one", "two")]
        faults = [str(done.fault) for done in grader.grade_many(paths, jobs=2)]
    assert ["too short to compare" in fault for fault in faults] == [True, True]


def test_a_reference_that_is_too_slow_costs_no_student_a_point(tmp_path):
    """The reference runs in the student's place in each round. If it is too slow there, no score is given."""
    slow = RIGHT.replace("0.06", "0.2")
    course_folder = CourseFolder(tmp_path, probes=PROBES, score=SCORE.replace("[3, 50]", "[3]"))
    course_folder.write("src/work.py", slow)
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        (done,) = grader.grade_many([(course_folder.submission("one", slow), None)], jobs=1)
    assert done.report is None
    assert "the reference took up to" in str(done.fault)
