"""The assignment of docs/gpu-assignments.md, on a pretended device: the CPU."""

import pytest

from autograder.config import load
from autograder.errors import SuiteError
from autograder.grading.grader import Grader
from tests.support.gpu import PRETENDED, SOLUTIONS, GpuCourse, mistakes

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return GpuCourse(tmp_path_factory.mktemp("gpu"), PRETENDED)


@pytest.fixture(scope="module")
def grader(course):
    with Grader(load(course.config_file), "g0", config_file=course.config_file) as grader:
        grader.ready()
        yield grader


TRIES = 5  # on a machine that is too busy; the service tries again as well
QUICK = [solution for solution in SOLUTIONS if solution.name != "unstable"]


@pytest.mark.parametrize("solution", QUICK, ids=lambda solution: solution.name)
def test_the_suite_tells_right_slow_and_dishonest_solutions_apart(course, grader, solution):
    for _ in range(TRIES):
        (done,) = grader.grade_many([(course.submission(solution), None)], jobs=1)
        if done.report is not None or isinstance(done.fault, SuiteError):
            break
    assert done.report is not None, done.fault
    assert list(mistakes(solution, done.report)) == [], [case.message for case in done.report.cases]
