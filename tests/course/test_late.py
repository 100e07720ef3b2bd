"""Late rules: how many days late a push is, what that costs, and whose late days pay for it."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.config import parse
from autograder.course.deadline import Deadline, Timing, deadline_of, described, sentence
from autograder.course.late import Cost, LateRule
from autograder.errors import ConfigError

BERLIN = 'zone = "Europe/Berlin"\ncloses = "2026-10-12 23:59"\n'


def deadline(**values):
    keys = "".join(f"{key} = {value!r}\n" for key, value in values.items())
    config = parse(f'[assignments.a0]\nsuite = "a0"\n{BERLIN}{keys}', Path("autograder.toml"))
    return deadline_of(config.assignment("a0"))


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


CLOSES = at("2026-10-12 21:59")  # in Berlin it is 23:59, and the whole minute belongs to it


@pytest.mark.parametrize(
    ("received", "timing", "days"),
    [
        ("2026-10-12 21:59:59", Timing.ON_TIME, 0),
        ("2026-10-12 22:14:59", Timing.IN_GRACE, 0),
        ("2026-10-12 22:15:00", Timing.LATE_DAY, 1),
        ("2026-10-13 22:14:59", Timing.LATE_DAY, 1),  # each late day has the grace period
        ("2026-10-13 22:15:00", Timing.LATE_DAY, 2),
        ("2026-10-14 22:14:59", Timing.LATE_DAY, 2),
        ("2026-10-14 22:15:00", Timing.LATE, 3),
        ("2027-01-12 22:00:00", Timing.LATE, 92),
    ],
)
def test_a_late_day_ends_at_the_hour_of_the_deadline(received, timing, days):
    decision = deadline(late_days_allowed=2, grace_minutes=15).decide(at(received))
    assert (decision.timing, decision.late_days) == (timing, days)
    assert decision.timing.counts is (timing is not Timing.LATE)


def test_the_hour_is_that_of_the_clock_on_the_wall():
    """The clocks go back on 25 October: that late day has 25 hours."""
    closes = Deadline.of("Europe/Berlin", closes="2026-10-24 23:59")
    assert closes.late_days(at("2026-10-25 22:59:59"), closes.closes) == 1
    assert closes.late_days(at("2026-10-25 23:00:00"), closes.closes) == 2
    spring = Deadline.of("Europe/Berlin", closes="2027-03-27 23:59")
    assert spring.late_days(at("2027-03-28 21:59:59"), spring.closes) == 1
    assert spring.late_days(at("2027-03-28 22:00:00"), spring.closes) == 2


@given(hours=st.floats(0.01, 24 * 400), accepted=st.integers(0, 10), grace=st.sampled_from([0, 15, 3000]))
def test_what_is_accepted_is_what_comes_before_the_last_moment(hours, accepted, grace):
    window = deadline(late_days_allowed=accepted, grace_minutes=grace)
    received = CLOSES + timedelta(hours=hours)
    counts = window.decide(received).timing.counts
    assert counts is (received <= window.until(window.closes))
    assert counts is (window.late_days(received, window.closes) <= accepted)


def test_nobody_knows_how_late_a_push_is_that_was_found():
    decision = deadline(late_days_allowed=2).decide(CLOSES + timedelta(days=5), known=False)
    assert (decision.timing, decision.late_days) == (Timing.UNKNOWN, 0)


def test_the_student_and_the_staff_read_it():
    window = deadline(late_days_allowed=2)
    found = sentence(window.decide(at("2026-10-14 06:00")))
    assert found.endswith("Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin). It is 2 days late.")
    assert "1 day 8 hours after the deadline" in found
    assert "按迟交 2 天计" in found.in_("zh-CN")
    assert described(window).endswith("; accepts pushes up to 2 days late")


# what it costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "points", "days", "left", "cost"),
    [
        (LateRule(), 90, 2, 0, Cost(2, 0, 0, 0)),
        (LateRule(points_per_day=10), 90, 2, 0, Cost(2, 0, 20, 0)),
        (LateRule(points_per_day=10), 15, 2, 0, Cost(2, 0, 15, 0)),  # never below 0
        (LateRule(percent_per_day=10), 95, 1, 0, Cost(1, 0, 9, 0)),  # 9.5, for the student
        (LateRule(percent_per_day=2.9), 100, 10, 0, Cost(10, 0, 29, 0)),  # no error of binary fractions
        (LateRule(percent_per_day=60), 100, 2, 0, Cost(2, 0, 100, 0)),
        (LateRule(10, budget=3), 90, 2, 3, Cost(2, 2, 0, 1)),
        (LateRule(10, budget=3), 90, 2, 1, Cost(2, 1, 10, 0)),
        (LateRule(10, budget=3), 90, 2, 0, Cost(2, 0, 20, 0)),
        (LateRule(budget=3), 90, 2, 2, Cost(2, 2, 0, 0)),
        (LateRule(budget=3), 90, 2, 1, None),  # a further day has no price
        (LateRule(budget=3), 90, 0, 0, Cost(0, 0, 0, 0)),
    ],
)
def test_what_late_days_cost(rule, points, days, left, cost):
    assert rule.cost(points, days, left) == cost


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("late_days_allowed = 2", "late_days_allowed: there is no deadline: add the key closes"),
        (BERLIN + "late_points_per_day = 5", "late_points_per_day: no late push is accepted"),
        (BERLIN + "late_percent_per_day = 5.0", "late_percent_per_day: no late push is accepted"),
        (
            BERLIN + "late_days_allowed = 2\nlate_points_per_day = 5\nlate_percent_per_day = 5.0",
            "late_percent_per_day: a late day costs points or percent",
        ),
        (BERLIN + "late_days_allowed = 2\nlate_percent_per_day = 101.0", "Expected `float` <= 100"),
        (BERLIN + "late_days_allowed = -1", "Expected `int` >= 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        parse(f'[assignments.a0]\nsuite = "a0"\n{keys}\n', Path("autograder.toml"))
