"""Reports and their renderings: pure, so every odd text can be tried."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.language import CHINESE, LANGUAGES, languages, tell
from autograder.ledger import tables
from autograder.report import (
    MAX_MESSAGE,
    Form,
    Report,
    Row,
    both_ends,
    code_span,
    combined,
    dumps,
    from_json,
    gradescope,
    junit,
    markdown,
    one_line,
    reports_from_json,
    summary_csv,
    translated,
)
from autograder.verdict import CaseResult, Verdict


def case(name="Task0 - Case1", verdict=Verdict.PASSED, message=""):
    return CaseResult(
        name, verdict, 20 if verdict.traits.earns_points else 0, 20, message, 0.01234567, 0.01, 5000
    )


MIXED = Report(
    "a0",
    (
        case("Task0 - Case1"),
        case("Task0 - Case2", Verdict.WRONG, "the result has shape (3,), expected (4,)"),
        case("Task0 - Case3", Verdict.TIMEOUT, "no answer in 10 s"),
        case("Task0 - Case4", Verdict.ERROR, "your code raised ValueError: a|b"),
    ),
    {"commit": "abc"},
)


def test_score_md_as_the_handout_of_the_course_shows_it():
    assert markdown([MIXED]) == (
        "# Score Summary\n"
        "\n"
        "| Test Case | Score | Status | Error Message |\n"
        "|---|---|---|---|\n"
        "| Task0 - Case1 | 20 | ✅ | |\n"
        "| Task0 - Case2 | 0 | ❌ | `the result has shape (3,), expected (4,)` |\n"
        "| Task0 - Case3 | 0 | 🕛 | `no answer in 10 s` |\n"
        "| Task0 - Case4 | 0 | ❓ | `your code raised ValueError: a¦b` |\n"
        "| Total | 20 | 🥺 | |\n"
    )


def test_a_course_may_show_what_each_case_is_worth():
    assert markdown([MIXED], form=Form("of")).splitlines()[4:6] == [
        "| Task0 - Case1 | 20 / 20 | ✅ | |",
        "| Task0 - Case2 | 0 / 20 | ❌ | `the result has shape (3,), expected (4,)` |",
    ]
    assert markdown([MIXED], form=Form("of")).splitlines()[-1] == "| Total | 20 / 80 | 🥺 | |"


def rows(text):
    """Read the table as a script of a course would that knows only its documented form."""
    return {
        name: int(score)
        for name, score in re.findall(
            r"^\| (Task\d+ - Case\d+|Total) \| (\d+) \| \S+ \| .*\|$", text, re.MULTILINE
        )
    }


@pytest.mark.parametrize("choice", ["en", "zh-CN", "both"])
def test_the_rows_add_up_to_the_total_for_a_script_in_every_language(choice):
    found = rows(markdown([MIXED], "a note", Form(languages=languages(choice))))
    total = found.pop("Total")
    assert len(found) == len(MIXED.cases)
    assert sum(found.values()) == total == 20


SLOW = tell("less than a second")


def test_score_md_in_chinese_and_in_both():
    cases = (case(), case("Task0 - Case2", Verdict.WRONG, SLOW), case("Task0 - Case3", Verdict.ERROR, "old"))
    facts = {"messages": translated(cases[:2], LANGUAGES)}
    report = from_json(json.loads(dumps(Report("a0", cases, facts).to_json())))
    assert report.messages == {"Task0 - Case2": {CHINESE: "不到 1 秒"}}
    assert markdown([report], SLOW, Form(languages=(CHINESE,))) == (
        "# 评分结果\n"
        "\n"
        "不到 1 秒\n"
        "\n"
        "| 测试点 | 得分 | 状态 | 错误信息 |\n"
        "|---|---|---|---|\n"
        "| Task0 - Case1 | 20 | ✅ | |\n"
        "| Task0 - Case2 | 0 | ❌ | `不到 1 秒` |\n"
        "| Task0 - Case3 | 0 | ❓ | `old` |\n"
        "| Total | 20 | 🥺 | |\n"
    )
    assert markdown([report], SLOW, Form("of", LANGUAGES)) == (
        "# Score Summary 评分结果\n"
        "\n"
        "less than a second\n"
        "\n"
        "不到 1 秒\n"
        "\n"
        "| Test Case 测试点 | Score 得分 | Status 状态 | Error Message 错误信息 |\n"
        "|---|---|---|---|\n"
        "| Task0 - Case1 | 20 / 20 | ✅ | |\n"
        "| Task0 - Case2 | 0 / 20 | ❌ | `less than a second`<br>`不到 1 秒` |\n"
        "| Task0 - Case3 | 0 / 20 | ❓ | `old` |\n"
        "| Total | 20 / 60 | 🥺 | |\n"
    )


def test_an_english_course_keeps_no_translations():
    assert translated([case("Task0 - Case2", Verdict.WRONG, SLOW)], ["en"]) == {}


def test_the_face_smiles_only_when_all_passed():
    assert "| Total | 20 | 😊 | |" in markdown([Report("a0", (case(),))])


def test_several_assignments_are_several_tables_under_one_heading():
    text = markdown([MIXED, Report("a1", (case("Task1 - Case1"),))], note="Late.")
    assert text.count("# Score Summary") == 1
    assert text.count("| Total |") == 2
    assert "\n\nLate.\n\n" in text


HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "image": "![x](http://example.com/x.png)",
    "mention": "@everyone #1",
    "code": "`` ` code ` ``",
    "cells": "a | b | c",
    "lines": "two\nlines\r\nthree",
    "control": "\x1b[31mred\x07",
    "direction": "\u202eabc\u2066",
    "surrogate": "\ud800",
    "long": "x" * 100_000,
    "escape": "\\` escaped",
    "table": "</td></table>",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_student_text_stays_inside_one_code_span_of_one_cell(text):
    (row,) = [
        line
        for line in markdown([Report("a0", (case(verdict=Verdict.ERROR, message=text),))]).splitlines()
        if "Case1" in line
    ]
    cells = row.split("|")
    assert len(cells) == 6
    cell = cells[4].strip()
    assert cell.startswith("`")
    assert cell.endswith("`")
    assert "`" not in cell[1:-1]
    assert cell.isprintable()


@given(st.text(max_size=600))
def test_one_line_is_bounded_printable_and_stable(text):
    line = one_line(text)
    assert len(line) <= MAX_MESSAGE
    assert "\n" not in line
    assert one_line(line) == line
    assert code_span(text).count("`") in (0, 2)


@given(st.text(max_size=2000), st.integers(20, 400))
def test_a_text_that_is_cut_in_the_middle_keeps_both_ends(text, limit):
    line = both_ends(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    if len(one_line(text, 10**6)) <= limit:
        assert line == one_line(text, 10**6)


def test_json_round_trip():
    data = json.loads(dumps(MIXED.to_json()))
    again = from_json(data)
    assert again.to_json() == MIXED.to_json()
    assert data["schema"] == 1
    assert data["points"] == 20
    assert data["max_points"] == 80
    assert data["cases"][2] == {
        "name": "Task0 - Case3",
        "verdict": "timeout",
        "points": 0,
        "max_points": 20,
        "message": "no answer in 10 s",
        "seconds": 0.0123,
        "cpu_seconds": 0.01,
        "peak_bytes": 5000,
    }


@pytest.mark.parametrize(
    "data",
    [{}, {"schema": 2}, {"schema": 1}, {"schema": 1, "assignment": "a0", "cases": [{}]}],
    ids=["empty", "schema", "no-cases", "empty-case"],
)
def test_what_is_no_report_is_refused(data):
    with pytest.raises(ValueError, match="this is not a report"):
        from_json(data)


def test_the_ledger_keeps_every_field_of_a_case():
    """A field without a column would be dropped without an error when a report is recorded."""
    columns = [column.name for column in tables.report_cases.columns]
    assert columns == ["report_id", "position", *(field.name for field in fields(CaseResult))]


@pytest.mark.parametrize("verdict", Verdict, ids=lambda verdict: verdict.value)
def test_every_verdict_has_what_each_rendering_needs(verdict):
    """A new verdict whose traits are incomplete fails here as well as in the type checker."""
    report = Report("a0", (case(verdict=verdict, message="why"),))
    assert f"| {verdict.traits.icon} | `why` |" in markdown([report])
    assert gradescope([report])["tests"][0]["status"] == verdict.traits.gradescope
    properties, *marks = ElementTree.fromstring(junit([report]))[0]
    assert properties.tag == "properties"
    assert [element.tag for element in marks] == [verdict.traits.junit] * bool(verdict.traits.junit)
    assert from_json(report.to_json()).cases[0].verdict is verdict


def test_no_two_verdicts_look_alike():
    assert len({verdict.traits.icon for verdict in Verdict}) == len(Verdict)
    assert len({verdict.traits.meaning for verdict in Verdict}) == len(Verdict)


def test_only_a_passed_case_earns_points():
    assert [verdict for verdict in Verdict if verdict.traits.earns_points] == [Verdict.PASSED]


def test_gradescope_results():
    data = gradescope([MIXED])
    assert data["score"] == 20
    assert [test["status"] for test in data["tests"]] == ["passed", "failed", "failed", "failed"]
    assert sum(test["max_score"] for test in data["tests"]) == 80


def test_junit_counts_failures_and_errors():
    suite = ElementTree.fromstring(junit([MIXED]))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "2")
    assert suite[1].find("failure").get("message").startswith("the result has shape")


def test_points_of_parts_and_extra_credit_are_in_every_form():
    part = replace(case(verdict=Verdict.WRONG, message="why"), points=5)
    cases = (part, replace(case("Task0 - Case2"), points=3, max_points=0))
    titles = {"Task0 - Case1": {"en": "Sums"}}
    report = Report("a0", cases, {"extra": {"Task0 - Case2": 3}, "titles": titles})
    first, second = (
        {element.get("name"): element.get("value") for element in found.find("properties")}
        for found in ElementTree.fromstring(junit([report]))
    )
    assert first == {"points": "5", "max_points": "20", "title": "Sums"}
    assert second == {"points": "3", "extra": "3"}
    tests = gradescope([report])["tests"]
    assert [(test["name"], test["score"], test["max_score"], test["status"]) for test in tests] == [
        ("Task0 - Case1: Sums", 5, 20, "failed"),
        ("Task0 - Case2 (extra credit)", 3, 0, "passed"),
    ]
    table = markdown([report], form=Form("of"))
    assert "| Task0 - Case1: Sums | 5 / 20 | ❌ |" in table
    assert "| Task0 - Case2 (extra credit) | 3 / +3 | ✅ |" in table
    assert table.splitlines()[-1] == "| Total | 8 / 20 | 🥺 | |"


def test_junit_of_hostile_text_is_well_formed():
    for text in HOSTILE.values():
        ElementTree.fromstring(junit([Report("a0", (case(verdict=Verdict.ERROR, message=text),))]))


def test_grades_csv():
    found = [
        Row("ann", "a0", MIXED),
        Row("=cmd()", "a0", MIXED, "-1"),
        Row("eve", "a0", None, "not graded: our fault"),
    ]
    rows = list(csv.reader(io.StringIO(summary_csv(found))))
    assert rows[0][:5] == ["submission", "assignment", "points", "max_points", "Task0 - Case1"]
    assert rows[0][-1] == "reason"
    assert rows[1] == ["ann", "a0", "20", "80", "20", "0", "0", "0", ""]
    assert rows[2] == ["'=cmd()", "a0", "20", "80", "20", "0", "0", "0", "'-1"]
    assert rows[3] == ["eve", "a0", "", "", "", "", "", "", "not graded: our fault"]


def test_a_bar_in_the_name_of_a_case_does_not_end_its_cell():
    text = markdown([Report("a0", (case("Task0 - |x| > 1"),))])
    assert "\n| Task0 - \\|x\\| > 1 | 20 | ✅ | |\n" in text


LATER = Report("a1", (case("Task1 - Case1", Verdict.WRONG, "no"),))


def test_the_reports_of_several_assignments_in_every_format():
    data = json.loads(dumps(combined([MIXED, LATER])))
    reports = reports_from_json(data)
    assert [report.assignment for report in reports] == ["a0", "a1"]
    assert reports_from_json(MIXED.to_json()) == [from_json(MIXED.to_json())]
    results = gradescope(reports)
    assert results["score"] == 20
    assert [test["name"] for test in results["tests"]][3:] == ["a0: Task0 - Case4", "a1: Task1 - Case1"]
    assert results["extra_data"] == data
    suites = ElementTree.fromstring(junit(reports))
    assert suites.tag == "testsuites"
    assert [suite.get("name") for suite in suites] == ["a0", "a1"]
    assert markdown(reports).count("| Total |") == 2


@pytest.mark.parametrize(
    "data", [[], 1, {"reports": []}, {"reports": {}}, {"reports": [1]}, {"reports": [{}]}]
)
def test_a_list_of_something_else_is_no_report(data):
    with pytest.raises(ValueError, match="this is not a report"):
        reports_from_json(data)
