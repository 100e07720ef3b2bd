"""A fault of a suite costs no points: a failed check is repeated with the reference; a faulty case is drawn again."""

import re
from types import ModuleType

import pytest

from autograder.config import SECRET_VARIABLE, load
from autograder.errors import SubmissionError, SuiteError
from autograder.grading.grader import Grader
from autograder.grading.plugin import Case, Run, Student, case_seed
from autograder.grading.suite_server import DRAWS
from autograder.report import dumps, markdown
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import SIGKILL, Outcome, Status
from tests.support.course import PROBES, RIGHT, CourseFolder

SCORE = """
import numpy as np
import probes
import pytest

from autograder.testing import assert_close, case

RUNS = []


@case(task=1, points=40)
def test_some_of_the_draws(student, rng):
    '''A check that its own reference fails for 3 of 10 draws, but not for that of the self-check.'''
    RUNS.append(len(RUNS))
    x = rng.standard_normal(3)
    expected = 2 * x if RUNS == [0] or x[0] > -0.5 else 2 * x + 1
    np.testing.assert_allclose(student(probes.double, x), expected)


@case(task=1, points=60)
def test_double(student):
    '''double works on numbers.'''
    np.testing.assert_allclose(student(probes.double, 321.5), 643.0)
"""


def comments(count, code=RIGHT):
    """Return the same code with different comments, so that the draws differ."""
    return {f"copy-{number}": f"{code}# {number}\n" for number in range(count)}


@pytest.fixture(scope="module")
def course_folder(tmp_path_factory):
    return CourseFolder(tmp_path_factory.mktemp("course"), score=SCORE)


@pytest.fixture(scope="module")
def grader(course_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            SECRET_VARIABLE, "the same draws in every run: five faults of one case would be no report"
        )
        with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
            grader.ready()
            yield grader


@pytest.fixture(scope="module")
def reports(course_folder, grader):
    return {name: grader.grade(course_folder.submission(name, code)) for name, code in comments(12).items()}


@pytest.mark.sandbox
def test_right_submissions_lose_nothing_to_a_case_that_its_reference_fails(reports):
    assert {report.points for report in reports.values()} == {100}
    assert {len(report.suite_faults) > 0 for report in reports.values()} == {True, False}
    for report in reports.values():
        drawn = report.draws.get("Task1 - Case1", 0)
        assert [(fault.case, fault.draw) for fault in report.suite_faults] == [
            ("Task1 - Case1", draw) for draw in range(drawn)
        ]
        assert report.draws == ({"Task1 - Case1": drawn} if drawn else {})


@pytest.mark.sandbox
def test_students_read_nothing_of_a_fault(reports):
    report = next(report for report in reports.values() if report.suite_faults)
    assert "Not equal to tolerance" in report.suite_faults[0].reason
    for text in (dumps(report.to_json()), markdown([report])):
        assert "tolerance" not in text
        assert "reference fails" not in text


@pytest.mark.sandbox
def test_wrong_submissions_stay_wrong_and_do_not_read_expected_values(course_folder, grader):
    for name, code in comments(6, "def double(x):\n    return 3 * x\n").items():
        report = grader.grade(course_folder.submission(f"wrong-{name}", code))
        assert [case.verdict.value for case in report.cases] == ["wrong", "wrong"]
        assert report.cases[1].message == "the result is not what the task asks for"
        assert not any("643" in case.message for case in report.cases)  # measured times may have any digits


@pytest.mark.sandbox
def test_a_regrade_repeats_the_draws_of_the_report(course_folder, grader, reports):
    name, report = next((name, report) for name, report in reports.items() if report.suite_faults)
    path = course_folder.submission(name, comments(12)[name])
    again = grader.grade(path, None, report.draws)
    assert again.suite_faults == ()
    assert again.draws == report.draws
    assert again.points == 100


def graded(tmp_path, check, code=RIGHT, body="", probes=PROBES):
    """Grade `code` with a suite of one case whose body is `check`."""
    score = f"""
import probes
import pytest

from autograder.testing import assert_close, case

RUNS = []


@case(task=1, points=100)
def test_it(student, ref, rng):
    '''One check.'''
    RUNS.append(1)
    {check}
"""
    course_folder = CourseFolder(tmp_path, score=score, probes=probes)
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        return grader.grade(course_folder.submission("one", code))


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "check",
    [
        "student(probes.double, 1.0); assert len(RUNS) == 1, 'expected 1'",
        "pytest.fail('expected 1') if len(RUNS) > 1 else None",
        "student(probes.double, 1.0); {1: 1}[len(RUNS)]",
        "ref(probes.double, 1.0 if len(RUNS) == 1 else 'x')",
        "student(probes.double, 1.0); assert student.seconds == 0",
        "student(probes.double, 1.0); assert student.cpu_seconds == 0",
    ],
    ids=["assert", "fail", "exception", "reference", "time", "processor time"],
)
def test_after_some_faults_of_one_case_the_report_waits_for_staff(tmp_path, check):
    probes = PROBES.replace("return double(x)", "return len(double(x)) if isinstance(x, str) else double(x)")
    probes = probes.replace("def double(x):", "def double(x):\n    assert not isinstance(x, str)")
    with pytest.raises(SuiteError) as caught:
        graded(tmp_path, check, probes=probes)
    assert "expected 1" not in str(caught.value)
    assert re.search("reference|fix the suite", str(caught.value))


MEMORY = "student(probes.double, 1.0); assert student.peak_bytes < 30_000_000, 'uses too much memory'"


@pytest.mark.sandbox
def test_a_check_of_memory_is_repeated_with_the_reference_in_a_sandbox(tmp_path):
    hungry = "def double(x):\n    found = bytearray(60_000_000)\n    return 2 * x\n"
    report = graded(tmp_path, MEMORY, hungry)
    assert [(case.verdict.value, case.message) for case in report.cases] == [
        ("wrong", "uses too much memory")
    ]
    assert report.cases[0].peak_bytes > 50_000_000, "the report shows what the student's code used"


def test_draws_have_seeds_of_their_own_and_the_first_is_as_before():
    seeds = {
        case_seed(b"seed", name, draw) for name in ("Task1 - Case1", "Task1 - Case2") for draw in range(DRAWS)
    }
    assert len(seeds) == 2 * DRAWS
    assert case_seed(b"seed", "Task1 - Case1", 0) == case_seed(b"seed", "Task1 - Case1")


class Killed:
    """A session whose first calls end with SIGKILL."""

    def __init__(self, kills):
        self.kills = kills

    def run(self, _probe, _inputs, **_settings):
        self.kills -= 1
        if self.kills >= 0:
            return Outcome(Status.CRASHED, signal=SIGKILL, seconds=1.0)
        return Outcome(Status.RETURNED, value=7, seconds=1.0)


def student_of(session):
    def double(x):
        return x

    probes = ModuleType("probes")
    probes.double = double
    case = Case("Task1 - Case1", 1, "", 10.0, needs_build=False)
    return Student(case, Run(session, Limits(), b""), probes), probes.double


def test_a_case_that_somebody_else_killed_runs_once_more():
    student, probe = student_of(Killed(1))
    assert student(probe, 1) == 7


def test_code_that_is_killed_twice_has_killed_itself():
    student, probe = student_of(Killed(2))
    with pytest.raises(SubmissionError, match="killed"):
        student(probe, 1)


def test_while_the_reference_takes_the_place_of_a_student_the_figures_are_its_own():
    student, probe = student_of(Killed(0))
    assert student(probe, 1) == 7
    with student.impersonated():
        assert student(probe, 8) == 8
        assert set(student.used().values()) == {0}
    assert student.used()["seconds"] == 1.0
    assert student(probe, 1) == 7
