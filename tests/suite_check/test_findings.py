"""What follows from the rows of trials: kill rate, advice, comparison with an earlier run, and the three reports."""

import json
import re
from dataclasses import replace

import pytest

from autograder.suite_check import html, messages, terminal
from autograder.suite_check.findings import (
    CAUGHT,
    EQUIVALENT,
    INVALID,
    SOMETIMES,
    SURVIVED,
    UNTRIED,
    CaseFindings,
    Cell,
    Entry,
    Findings,
    Tried,
    advice,
    compared,
    listed,
    status_of,
    worst,
)

DIFF = "@@ -3,2 +3,2 @@\n x = 1\n-y = a < b\n+y = a <= b"
CAUGHT_CELL = Cell(3, 3, "wrong", "<b>mean</b> differs")
PASSED_CELL = Cell(3, 0, "passed")


def mutant(name="m1", status=SURVIVED, kind="edge", cells=None):
    cells = {"Task1 - Case1": PASSED_CELL} if cells is None else cells
    promise = "The mean of <x>. (src/a.py:2)"
    return Tried(name, "src/a.py", "mean", kind, 4, DIFF, promise, status, "Task1 - Case1", cells)


def case(**changes):
    facts = CaseFindings("Task1 - Case1", "test_mean", "The mean.", 100, 10.0, draws=200, slowest=0.02)
    return replace(facts, **changes)


def findings(*, mutants=(), cases=None, **changes):
    base = Findings(
        assignment="a9", form="short", seed="0", complete=True, seconds=3.0, made={"src/a.py": 10}, declared=0,
        stale=[], mutants=list(mutants), cases=[case()] if cases is None else cases,
    )  # fmt: skip
    return replace(base, **changes)


WEAK = findings(
    mutants=[mutant("caught", CAUGHT, cells={"Task1 - Case1": CAUGHT_CELL}), mutant("left")],
    cases=[case(failed=4, failures=[("0:reference:7", "wrong", "mean differs")], constant_inputs=["mean 1[0]"],
                precision={"float64": 1e-2}, complaints=[("it has several lines", "a\nb")],
                history={"reports": 5, "passed": 4, "slowest": 0.5})],
    cheats=[Entry("zero", "every function returns 0", 100, ["Task1 - Case1"], [], 3)],
    samples=[Entry("wrong-axis", "", 0, [], ["Task1 - Case1"], 50)],
    unreached={"src/a.py": [7]},
    lines={"src/a.py": 5},
    untested=[{"path": "src/a.py", "line": 3, "function": "mean", "text": "Raises ValueError."}],
    stale=["src/a.py:mean:sign:00000000"],
)  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "faults", "status"),
    [
        ({}, 0, UNTRIED),
        ({"a": PASSED_CELL}, 0, SURVIVED),
        ({"a": PASSED_CELL, "b": CAUGHT_CELL}, 0, CAUGHT),
        ({"a": Cell(3, 1, "wrong")}, 0, SOMETIMES),
        ({"a": Cell(3, 1, "wrong"), "b": CAUGHT_CELL}, 0, CAUGHT),
        ({"a": PASSED_CELL}, 1, "no verdict"),
    ],
    ids=["untried", "survived", "caught", "sometimes", "one case is enough", "fault"],
)
def test_a_mutant_is_caught_by_a_case_that_catches_it_in_every_draw(cells, faults, status):
    assert status_of(cells, faults) == status


def test_the_kill_rate_leaves_out_equivalent_and_invalid_mutants():
    tried = [mutant(status=s) for s in (CAUGHT, CAUGHT, CAUGHT, SURVIVED, EQUIVALENT, INVALID)]
    assert findings(mutants=tried).kill_rate == 0.75
    assert findings(mutants=tried).rate_of("src/a.py") == (3, 4)
    assert findings().kill_rate is None


def test_the_worst_survivors_are_of_different_kinds():
    tried = [mutant("1", kind="check"), mutant("2", kind="check"), mutant("3", kind="edge")]
    assert [one.id for one in worst(findings(mutants=tried))] == ["1", "3", "2"]


def test_advice_names_every_weakness():
    said = "\n".join(advice(WEAK))
    for part in [
        "the reference fails 4 of 200 draws",
        "the cheat 'zero' gets 100 points",
        "wrong-axis: the verdict of Task1 - Case1 depends on the draw",
        "src/a.py:4 (edge) survives; Task1 - Case1: add an input exactly at the edge",
        "the docstring says: The mean of <x>.",
        "the same in every draw: mean 1[0]",
        "overlooks errors below 0.01 in float64",
    ]:
        assert part in said


def test_a_cheat_that_passes_everything_is_not_followed_by_every_name():
    two = [case(), case(name="Task1 - Case2")]
    assert listed(["Task1 - Case1", "Task1 - Case2"], two) == "every case"
    assert listed(["Task1 - Case1"], two) == listed(["Task1 - Case1"], two[:1]) == "Task1 - Case1"


def test_texts_without_a_translation_are_named():
    (advised,) = advice(findings(cases=[case(caught=1)], untranslated=[f"text {n}" for n in range(7)]))
    assert advised == (
        "7 texts of the suite have no translation; add them to its zh_CN.po: text 0; text 1; text 2; text 3; text 4"
    )


def test_a_good_suite_gets_no_advice():
    good = findings(mutants=[mutant(status=CAUGHT, cells={"Task1 - Case1": CAUGHT_CELL})])
    assert advice(good) == []


def test_a_slow_case_and_too_many_declared_mutants_are_reported():
    said = "\n".join(advice(findings(cases=[case(slowest=6.0)], declared=2)))
    assert "takes 6.00 s of 10 s" in said
    assert "more than 5 %" in said


def test_a_case_that_catches_nothing_is_reported_in_the_long_form_only():
    assert advice(findings(cases=[case(met=5)])) == []
    assert "catches no mutant" in advice(findings(cases=[case(met=5)], form="long"))[0]


def test_a_later_run_tells_what_got_worse():
    before = findings(mutants=[mutant("m", CAUGHT)], cases=[case(precision={"float64": 1e-9}),
                                                            case(name="b", function="test_gone")])  # fmt: skip
    after = findings(mutants=[mutant("m")], cases=[case(precision={"float64": 1e-3}, constant_inputs=["x"])])
    said = compared(json.loads(json.dumps(before.to_json())), after)
    assert [line.split(":")[0] for line in said] == [
        "Task1 - Case1", "Task1 - Case1", "the case test_gone is gone", "survives now",
    ]  # fmt: skip
    assert compared(None, after) == compared({"schema": 0}, after) == []


def test_a_run_with_other_inputs_does_not_compare_mutants():
    before = findings(mutants=[mutant("m", CAUGHT)], seed="1").to_json()
    assert compared(before, findings(mutants=[mutant("m")])) == []


def test_json_is_plain_data():
    data = json.loads(json.dumps(WEAK.to_json()))
    assert data["schema"] == 1
    assert data["kill_rate"] == 0.5
    assert data["mutants"][1]["cells"]["Task1 - Case1"]["verdict"] == "passed"
    assert data["advice"] == advice(WEAK)


def test_the_terminal_report_shows_survivors_with_diff_and_promise():
    text = terminal.render(WEAK)
    for part in ["Kill rate 50.0%", "-y = a < b", "+y = a <= b", "docstring: The mean of <x>.", "196/200",
                 "zero (every function returns 0): 100 points", "4 of 5 statements", "What to do next",
                 "Raises ValueError.", "src/a.py:mean:sign:00000000"]:  # fmt: skip
        assert part in text


def test_an_interrupted_run_says_so_everywhere():
    part = replace(WEAK, complete=False)
    assert "interrupted" in terminal.render(part)
    assert "interrupted" in html.render(part)
    assert part.to_json()["complete"] is False


def test_the_html_report_has_no_scripts_and_asks_nobody_for_anything():
    page = html.render(WEAK)
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|<iframe|\bsrc=|\bhref=|url\(|@import|https?://|\son\w+=", page)


def test_the_html_report_escapes_what_it_shows_and_has_every_part():
    page = html.render(WEAK)
    assert "<b>" not in page
    assert "&lt;b&gt;mean&lt;/b&gt; differs" in page
    for part in ["Survivors", "Mutants and cases", "Cheats and samples", "Coverage of the reference", "0:reference:7",
                 "4 of 5 passed", "it has several lines", "a &lt;= b"]:  # fmt: skip
        assert part in page


@pytest.mark.parametrize("form", ["short", "long"])
def test_a_report_of_nothing_can_be_rendered(form):
    empty = findings(form=form, complete=False)
    assert "unknown" in terminal.render(empty)
    assert "unknown" in html.render(empty)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("grad differs at [0, 1]", ""),
        ("Y (3-D input) has the shape (2, 3), expected (3, 2)", ""),
        ("loss: expected 3.25", "expected value"),
        ("W is array([1., 2.])", "numbers of an array"),
        ("one\ntwo", "several lines"),
        ("x" * 301, "longer than"),
        ("", "does not say what differs"),
        ("assert False", "does not say what differs"),
        ("the result differs at [0]", "name the input"),
    ],
)
def test_suspicious_messages_of_a_case_are_found(message, complaint):
    found = messages.complaints(message)
    assert (complaint in " ".join(found)) if complaint else found == []
