"""The order of a branch's moves, and which report of a push's time holds."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.ledger import RecordedPush, Source, moves
from tests.support.ledgers import MAIN, NOON, commit, repository

ZERO = "0" * 40
C = {word: commit(word) for word in "abcd"} | {"": "", "0": ZERO}


class Branch:
    """What is recorded of one branch. `ab` is a move from a to b, `0a` the first one, `.b` one from anywhere."""

    def __init__(self, *reports):
        self.pushes = []
        for report in reports:
            self.report(report)

    def report(self, text, head=None):
        """Record a report unless it is a repeat; return whether it is a new move."""
        before, after = C[text[0].strip(".")], C[text[1]]
        place = moves.place(self.pushes, after, before, head and C[head])
        if isinstance(place, RecordedPush):
            return False
        number = len(self.pushes) + 1
        position = (
            place if place is not None else max((push.position for push in self.pushes), default=0.0) + 1
        )
        push = RecordedPush(
            number, repository(), MAIN, after, before, "", None, "", NOON, Source.WEBHOOK, position, NOON
        )
        self.pushes = sorted([*self.pushes, push], key=lambda push: push.position)
        return True

    def __str__(self):
        words = {value: key for key, value in C.items()}
        return "".join(words[push.commit] for push in self.pushes)


@pytest.mark.parametrize(
    ("reports", "order"),
    [
        (["0a", "ab"], "ab"),
        (["0a", "0a", "ab", "ab"], "ab"),  # each delivered twice
        (["ab", "0a"], "ab"),  # out of order
        (["0a", "bc", "ab"], "abc"),
        (["0a", "ab", "ba", "ab"], "abab"),  # back and forth
        (["0a", ".b", "ab"], "ab"),  # found on the branch before its webhook came
        (["0a", ".c", "ab"], "abc"),  # b was pushed over, and its webhook came last
        (["0a", "ab", ".a"], "ab"),  # nobody says that the branch is at a again
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_the_order_of_reports(reports, order):
    assert str(Branch(*reports)) == order


@pytest.mark.parametrize(
    ("recorded", "report", "head", "new"),
    [
        (["0a", "ab", "ba"], "ab", "b", True),  # the branch is there again
        (["0a", "ab", "ba"], "ab", "a", False),  # an old delivery that was sent again
        (["0a", "ab", "ba"], "ab", "d", True),  # it has moved on since
        (["0a", "ab"], "0a", "b", False),
        (["0a", "ab"], ".a", "a", True),  # found there
        (["0a", "ab"], ".b", "b", False),
    ],
)
def test_the_branch_decides_whether_an_old_move_was_made_again(recorded, report, head, new):
    assert Branch(*recorded).report(report, head) is new


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_reports_in_order_are_the_moves_of_the_branch(commits, random):
    """Whatever the branch does, reports that come in order, each perhaps twice, give its moves."""
    branch, at = Branch(), "0"
    for word in commits:
        if word == at:
            continue
        assert branch.report(at + word, word)
        if random.random() < 0.3:
            assert not branch.report(at + word, word)
        at = word
        assert str(branch)[-1] == word
    moved = [word for index, word in enumerate(commits) if index == 0 or word != commits[index - 1]]
    assert str(branch) == "".join(moved)


MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("known", "report", "result"),
    [
        ((0, "unknown"), (-60, "host"), (-60, "host")),
        ((0, "unknown"), (1, "webhook"), (0, "webhook")),  # the webhook was on its way
        ((0, "unknown"), (60, "webhook"), None),  # staff had it delivered again
        ((0, "unknown"), (60, "unknown"), None),
        ((0, "webhook"), (-5, "hook"), (-5, "hook")),
        ((0, "host"), (60, "webhook"), None),
        ((0, "webhook"), (60, "staff"), (60, "staff")),
        ((0, "staff"), (-60, "host"), None),
        ((0, "staff"), (-60, "staff"), (-60, "staff")),
    ],
)
def test_which_report_of_the_time_holds(known, report, result):
    def moment(pair):
        return None if pair is None else (NOON + pair[0] * MINUTE, Source(pair[1]))

    assert moves.improves(moment(known), *moment(report)) == moment(result)
