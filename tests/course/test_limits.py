"""Limits of pushes: which pushes are graded at once, which later, and which never."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.course.limits import DAY, HOUR, OverLimit, PushLimits, over, sentence

START = datetime(2026, 9, 10, 12, tzinfo=timezone.utc)


def minutes(limits, *pushes):
    """Return for each push, `commit minute`, when it is graded: `now`, the minute, or `never`."""
    read = [(word.split()[0], START + timedelta(minutes=float(word.split()[1]))) for word in pushes]
    found = []
    for each in over(PushLimits(*limits), read):
        if each is None:
            found.append("now")
        elif each.until is None:
            found.append("never")
        else:
            found.append((each.until - START) / timedelta(minutes=1))
    return found


@pytest.mark.parametrize(
    ("limits", "pushes", "graded"),
    [
        ((0, 0), ["a 0", "b 0", "c 0"], ["now", "now", "now"]),
        ((2, 0), ["a 0", "b 10", "c 20"], ["now", "now", 60]),
        ((2, 0), ["a 0", "b 10", "c 20", "d 30"], ["now", "now", "never", 60]),
        ((2, 0), ["a 0", "b 10", "c 20", "d 61"], ["now", "now", 60, 70]),  # c was graded at 60
        ((2, 0), ["a 0", "b 10", "c 60"], ["now", "now", "now"]),
        ((1, 2), ["a 0", "b 60", "c 120"], ["now", "now", 1440]),
        ((1, 2), ["a 0", "b 60", "c 1441"], ["now", "now", "now"]),
        (
            (2, 0),
            ["a 0", "b 10", "a 20", "b 30", "c 40"],
            ["now", "now", "now", "now", 60],
        ),  # graded once already
        ((1, 0), ["a 0", "b 10", "a 20"], ["now", "never", "now"]),
        ((1, 0), ["a 0", "b 10", "b 20"], ["now", 60, 60]),
        ((1, 0), ["a 0", "b 10", "c 20", "b 30"], ["now", "never", "never", 60]),
        ((1, 0), ["a 30", "b 0"], ["now", 90]),  # a clock was wrong: the order of the moves holds
    ],
)
def test_when_pushes_are_graded(limits, pushes, graded):
    assert minutes(limits, *pushes) == graded


@given(
    pushes=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 200)), max_size=30),
    per_hour=st.integers(0, 3),
    per_day=st.integers(0, 5),
)
def test_no_window_has_more_than_allowed_and_the_last_push_is_graded(pushes, per_hour, per_day):
    at = START
    read = []
    for word, gap in pushes:
        at += timedelta(minutes=gap)
        read.append((word, at))
    found = over(PushLimits(per_hour, per_day), read)
    first = {}
    for (word, received), each in zip(read, found, strict=True):
        if each is None or each.until is not None:
            first.setdefault(word, received if each is None else each.until)
    graded = sorted(first.values())
    for allowed, within in ((per_hour, HOUR), (per_day, DAY)):
        for at in graded:
            assert not allowed or sum(at - within < other <= at for other in graded) <= allowed
    assert not found or found[-1] is None or found[-1].until is not None


def test_the_sentences():
    zone = ZoneInfo("UTC")
    waits = sentence(OverLimit(START, 3, HOUR), zone)
    assert waits == (
        "3 pushes per hour are graded. This one is over that limit. It is graded soon after "
        "Thu 10 Sep 2026, 12:00 UTC, unless a newer push comes before that."
    )
    assert waits.in_("zh-CN").startswith("每小时最多对 3 次推送评分。")
    assert sentence(OverLimit(None, 1, DAY), zone) == (
        "1 push per day is graded. This one was over that limit, and a newer push came before it could be graded."
    )
