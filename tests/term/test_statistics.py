"""`autograder stats`: how an assignment went."""

import json

import pytest

from autograder.term.statistics import CaseStatistics, Statistics, lines
from tests.term.test_archive import desk, run  # noqa: F401 (a fixture)


def statistics(*points, of=100, cases=()):
    return Statistics("a1", of, {"counts": len(points)}, tuple(sorted(points)), tuple(cases))


def test_the_command_shows_the_rows_of_the_gradebook(desk):  # noqa: F811
    arguments = ("stats", "-a", "t", "--config", desk.university.config_file)
    found = json.loads(run(*arguments, "--json").output)
    assert found["students"] == {"counts": 2, "no push": 1}
    assert found["points"] == {
        "min": 43, "lower_quartile": 57.25, "median": 71.5, "upper_quartile": 85.75, "max": 100, "mean": 71.5,
    }  # fmt: skip
    assert found["histogram"] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert found["cases"][0] == {
        "name": "Task1 - Case1",
        "reports": 2,
        "passed": 0.5,
        "verdicts": {"passed": 1, "wrong": 1},
        "mean_points": 30,
        "max_points": 60,
    }
    text = run(*arguments).output
    assert "t: 3 students: 2 counts, 1 no push\n" in text
    assert "median 71.5" in text
    assert "  Task1 - Case1   50 % passed, 30 of 60  (1 wrong)\n" in text
    assert run("stats", "-a", "x", "--config", desk.university.config_file).exit_code == 2


@pytest.mark.parametrize(
    ("points", "of", "bins"),
    [
        ((), 100, [0] * 10),
        ((0, 9, 10, 100, 110), 100, [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]),
        ((3,), 0, [1, *[0] * 9]),
        ((1, 2, 3), 3, [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]),
    ],
)
def test_the_tenths(points, of, bins):
    assert statistics(*points, of=of).bins == bins


def test_one_student_and_no_student():
    assert statistics(7).quantiles()["median"] == 7
    assert list(lines(statistics())) == ["a1: 0 students: 0 counts"]


def test_text_of_a_case_stays_on_its_line():
    case = CaseStatistics("Task\n\u202eevil", 0, {}, 0.0, 10)
    (line,) = list(lines(statistics(cases=[case])))[-1:]
    assert "\u202e" not in line
    assert "\n" not in line


def test_extra_credit_is_worth_nothing_of_the_points_and_is_called_so():
    case = CaseStatistics("Task1 - Case2", 2, {"passed": 1, "wrong": 1}, 2.5, 0)
    (line,) = list(lines(statistics(cases=[case])))[-1:]
    assert line == "  Task1 - Case2   50 % passed, 2.5 of extra credit  (1 wrong)"
