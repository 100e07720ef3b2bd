"""Points: parts of a case, extra credit, titles, any sum."""

import pytest

from autograder import testing
from autograder.config import load
from autograder.errors import GraderError, SubmissionError, SuiteError
from autograder.grading.grader import Grader
from autograder.report import Form, from_json, gradescope, markdown
from autograder.testing import collecting, part
from autograder.verdict import Verdict
from tests.support.course import CourseFolder

SCORE = """
import probes
from autograder.testing import assert_close, assert_equal, case, part


@case(task=3, points=7, title="Doubles of numbers and lists")
def test_parts(student):
    '''double works on a number, a negative number and a list.'''
    with part(2):
        assert_close(student(probes.double, 3), 6)
    with part(4):
        assert_close(student(probes.double, -3), -6)
    with part(1):
        assert_equal(student(probes.double, [1]), [1, 1])


@case(task=3, points=6)
def test_whole(student):
    '''double works on zero.'''
    assert_close(student(probes.double, 0), 0)


@case(task=3, points=5, title="Doubles of text", extra=True)
def test_extra(student):
    '''double works on text.'''
    assert_equal(student(probes.double, "ab"), "abab")
"""
CATALOGUE = 'msgid "Doubles of text"\nmsgstr "文本加倍"\n'


@pytest.fixture(scope="module")
def course_folder(tmp_path_factory):
    folder = CourseFolder(
        tmp_path_factory.mktemp("course"),
        score=SCORE,
        settings='points = 13\n\n[feedback]\nlanguage = "both"\n',
    )
    folder.write("hidden/t/zh_CN.po", CATALOGUE)
    return folder


@pytest.fixture(scope="module")
def grader(course_folder):
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        yield grader


def grade(course_folder, grader, name, code):
    return grader.grade(course_folder.submission(name, code))


OF = Form("of")


def rows(report, form=OF):
    return markdown([report], form=form).splitlines()[4:]


@pytest.mark.sandbox
def test_all_parts_and_extra_credit(course_folder, grader):
    report = grade(course_folder, grader, "right", "def double(x):\n    return 2 * x\n")
    assert (report.points, report.max_points, report.all_passed) == (18, 13, True)
    assert rows(report) == [
        "| Task3 - Case1: Doubles of numbers and lists | 7 / 7 | ✅ | |",
        "| Task3 - Case2 | 6 / 6 | ✅ | |",
        "| Task3 - Case3: Doubles of text (extra credit) | 5 / +5 | ✅ | |",
        "| Total | 18 / 13 | 😊 | |",
    ]


@pytest.mark.sandbox
def test_a_case_gives_the_points_of_the_parts_that_hold(course_folder, grader):
    report = grade(course_folder, grader, "part", "def double(x):\n    return 2 * abs(x)\n")
    assert [(case.verdict, case.points, case.max_points) for case in report.cases] == [
        (Verdict.WRONG, 2, 7),
        (Verdict.PASSED, 6, 6),
        (Verdict.ERROR, 0, 0),
    ]
    assert report.cases[0].message == "the result differs, first at its only element"
    assert rows(report, Form())[0] == (
        "| Task3 - Case1: Doubles of numbers and lists | 2 | ❌ "
        "| `the result differs, first at its only element` |"
    )
    assert rows(report, Form())[-1] == "| Total | 8 | 🥺 | |"


@pytest.mark.sandbox
def test_only_extra_credit_is_missing_and_the_face_smiles(course_folder, grader):
    code = "def double(x):\n    return None if isinstance(x, str) else 2 * x\n"
    report = grade(course_folder, grader, "no-extra", code)
    assert (report.points, report.max_points, report.all_passed) == (13, 13, True)
    assert rows(report, Form(languages=("zh-CN",)))[2:] == [
        "| Task3 - Case3: 文本加倍 (附加分) | 0 | ❌ | `结果是 None，应为 str` |",
        "| Total | 13 | 😊 | |",
    ]


@pytest.mark.sandbox
def test_what_a_part_does_not_need_proof_for_the_later_ones_do(course_folder, grader):
    """The first part ends with an error, a later one with a wrong value."""
    code = "def double(x):\n    return x.no if x == 3 else 5 if x == -3 else x + x\n"
    report = grade(course_folder, grader, "mixed", code)
    assert (report.cases[0].verdict, report.cases[0].points) == (Verdict.ERROR, 1)
    assert "AttributeError" in report.cases[0].message


@pytest.mark.sandbox
def test_a_submission_that_is_refused_keeps_titles_and_extra_credit(course_folder, grader):
    refused = grader.refused(SubmissionError("no"))
    assert (refused.points, refused.max_points) == (0, 13)
    assert rows(refused)[2] == "| Task3 - Case3: Doubles of text (extra credit) | 0 / +5 | ❓ | `no` |"
    assert from_json(refused.to_json()).extra == {"Task3 - Case3": 5}
    assert gradescope([refused])["tests"][2]["name"] == "Task3 - Case3: Doubles of text (extra credit)"


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("points=7", "points=6", "the points of the 3 cases add up to 12, not to 13"),
        ("part(2)", "part(3)", "the parts of a case are worth more than its 7 points"),
        ("part(2)", "part(0)", "part needs points of at least 1, got 0"),
        ("with part(4):\n", "with part(1), part(1):\n", "the parts of a case stand in each other"),
        (", [1, 1])", ", [1, 2])", "the reference itself fails 1 case"),
    ],
)
def test_a_suite_whose_points_are_wrong_is_refused(tmp_path, old, new, message):
    assert old in SCORE
    folder = CourseFolder(tmp_path, score=SCORE.replace(old, new), settings="points = 13\n")
    with (
        Grader(load(folder.config_file), "t", config_file=folder.config_file) as grader,
        pytest.raises(GraderError, match=message),
    ):
        grader.ready()


def test_a_part_outside_of_a_case_is_the_suite_s_fault():
    with pytest.raises(SuiteError, match="outside of a case"), part(1):
        pass


def test_our_faults_are_not_parts():
    for fault in (GraderError("busy"), OSError("disk"), testing.TooSlowError("slow")):
        with pytest.raises(type(fault)), collecting(5), part(1):
            raise fault


def test_the_first_failure_is_raised_at_the_end():
    with collecting(5) as parts:
        with part(1):
            raise SubmissionError("first")
        with part(2):
            pytest.fail("second")
        with part(2):
            pass
        first, _ = parts.failures
        parts.failures.clear()
    assert (str(first), parts.earned) == ("first", 2)
    with pytest.raises(SubmissionError, match="first"), collecting(5) as parts:
        parts.failures.append(first)
