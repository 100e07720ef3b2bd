"""What staff decide about a score: recorded for good, and undone by a further row."""

import pytest

from autograder.ledger import AdjustmentKind, Conflict, LedgerError, Unknown, tables
from autograder.ledger.adjustments import in_force
from tests.support.ledgers import NOON, commit, problems, repository

POINTS, SET, EXCUSE, USE, UNDO = AdjustmentKind


def adjust(ledger, kind, student="ann", assignment="a0", **values):
    values = {"who": "okafor", "why": "the mail of 3 May"} | values
    return ledger.add_adjustment(repository(student), assignment, kind, **values)


def test_every_kind_is_recorded_and_returned(ledger):
    made = [
        adjust(ledger, POINTS, points=-5),
        adjust(ledger, SET, points=80),
        adjust(ledger, EXCUSE),
        adjust(ledger, USE, commit=commit("one")),
        adjust(ledger, UNDO, undoes=2),
    ]
    assert ledger.adjustments("a0") == ledger.adjustments(repository=repository()) == made
    assert [each.id for each in in_force(made)] == [1, 3, 4]
    first = made[0]
    assert (first.points, first.commit, first.undoes) == (-5, "", None)
    assert (first.who, first.why, first.at) == ("okafor", "the mail of 3 May", NOON)
    assert problems(ledger) == []


def test_it_belongs_to_one_repository_and_assignment(ledger):
    adjust(ledger, POINTS, points=1)
    adjust(ledger, POINTS, "bob", points=2)
    adjust(ledger, POINTS, assignment="a1", points=3)
    found = [each.points for each in ledger.adjustments("a0", repository=repository())]
    assert found == [1]
    assert [each.points for each in ledger.adjustments()] == [1, 2, 3]


def test_a_repository_without_a_push_is_no_repository_that_pushed(ledger, semester):
    adjust(ledger, SET, points=0)
    assert ledger.repositories() == []
    semester.push("one")
    assert ledger.repositories() == [repository()]
    assert problems(ledger) == []


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (POINTS, {}),
        (SET, {}),
        (USE, {}),
        (UNDO, {}),
        (EXCUSE, {"points": 3}),
        (POINTS, {"points": 3, "commit": commit("one")}),
        (SET, {"points": -1}),
        (POINTS, {"points": 10**7}),
        (USE, {"commit": "4f1c"}),
        (EXCUSE, {"why": " "}),
        (EXCUSE, {"who": ""}),
    ],
)
def test_values_that_do_not_fit_are_refused(ledger, kind, values):
    with pytest.raises(LedgerError):
        adjust(ledger, kind, **values)
    assert ledger.adjustments() == []


def test_what_can_be_undone(ledger):
    adjust(ledger, POINTS, points=1)
    with pytest.raises(Unknown, match="no adjustment 1 of this student for a0"):
        adjust(ledger, UNDO, "bob", undoes=1)
    with pytest.raises(Unknown, match="no adjustment 1 of this student for a1"):
        adjust(ledger, UNDO, assignment="a1", undoes=1)
    with pytest.raises(Unknown):
        adjust(ledger, UNDO, undoes=7)
    adjust(ledger, UNDO, undoes=1)
    with pytest.raises(Conflict, match="is undone already"):
        adjust(ledger, UNDO, undoes=1)
    with pytest.raises(Conflict, match="decide it again"):
        adjust(ledger, UNDO, undoes=2)
    assert in_force(ledger.adjustments()) == ()


def test_feedback_is_due_after_an_adjustment(ledger, semester, clock):
    semester.push("one")
    semester.grade("one")
    clock.after(minutes=1)
    ledger.add_feedback(ledger.jobs()[0].id, commit=commit("two"), branch="score-feedback")
    assert ledger.unanswered() == []
    at = clock.after(minutes=1)
    adjust(ledger, EXCUSE)
    assert ledger.unanswered() == [(repository(), at)]


WRONG = {
    "adjustment 4: an adjustment 'points' has points": {"kind": "points"},
    "adjustment 4: 'more' is not a valid AdjustmentKind": {"kind": "more"},
    "adjustment 4: an adjustment 'excuse' has points": {"kind": "excuse", "points": 3},
    "adjustment 4 undoes 2, which is of another repository or assignment": {
        "kind": "undo",
        "undoes": 2,
        "assignment": "a1",
    },
    "adjustment 4 undoes 3, which is no earlier decision": {"kind": "undo", "undoes": 3},
}


@pytest.mark.parametrize("problem", WRONG)
def test_check_finds_rows_that_nobody_decided(ledger, problem):
    adjust(ledger, POINTS, points=1)
    adjust(ledger, POINTS, points=2)
    adjust(ledger, UNDO, undoes=1)
    row = {"repository_id": 1, "assignment": "a0", "commit_sha": "", "who": "x", "why": "x", "at": NOON}
    with ledger.database.writing() as connection:
        connection.execute(tables.adjustments.insert().values(row | WRONG[problem]))
    assert any(problem in line for line in problems(ledger)), problems(ledger)
