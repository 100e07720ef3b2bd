"""The assignment of docs/gpu-assignments.md, on a pretended device: the CPU."""

import pytest

from autograder.config import load
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


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda solution: solution.name)
def test_the_suite_tells_right_slow_and_dishonest_solutions_apart(course, grader, solution):
    report = grader.grade(course.submission(solution))
    assert list(mistakes(solution, report)) == [], [case.message for case in report.cases]
