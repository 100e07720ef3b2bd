"""Deadlines: time zones, changing clocks, grace, extensions, and the sentences that a student reads."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.config.times import DeadlineError
from autograder.course.deadline import (
    Deadline,
    Extension,
    Timing,
    described,
    doubtful_zone,
    duration,
    sentence,
    shown,
)
from autograder.ledger import Cutoffs, RepositoryName, Source

UTC = timezone.utc
AUTUMN = Deadline.of("Europe/Berlin", opens="2026-10-01 08:00", closes="2026-10-12 23:59", grace_minutes=30)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def until(text):
    """Return the end of a minute."""
    return at(text) + timedelta(seconds=59, microseconds=999_999)


@pytest.mark.parametrize(
    ("received", "timing"),
    [
        ("2026-10-01 05:59:59.999999", Timing.EARLY),
        ("2026-10-01 06:00:00", Timing.ON_TIME),
        ("2026-10-12 21:59:00", Timing.ON_TIME),
        ("2026-10-12 21:59:30", Timing.ON_TIME),
        ("2026-10-12 21:59:59.999999", Timing.ON_TIME),  # 23:59 holds to the end of that minute
        ("2026-10-12 22:00:00", Timing.IN_GRACE),
        ("2026-10-12 22:29:59.999999", Timing.IN_GRACE),
        ("2026-10-12 22:30:00", Timing.LATE),
    ],
    ids=["early", "opens", "closes", "in that minute", "its end", "grace begins", "grace ends", "late"],
)
def test_each_boundary_belongs_to_the_student(received, timing):
    assert AUTUMN.decide(at(received)).timing is timing


def test_seconds_other_than_zero_are_the_exact_moment():
    deadline = Deadline.of("UTC", closes="2026-10-12 23:59:30")
    assert deadline.decide(at("2026-10-12 23:59:30")).timing is Timing.ON_TIME
    assert deadline.decide(at("2026-10-12 23:59:30.000001")).timing is Timing.LATE


def test_early_and_late_pushes_do_not_count():
    assert [timing for timing in Timing if not timing.counts] == [Timing.EARLY, Timing.LATE]


@pytest.mark.parametrize(
    ("found", "timing"),
    [
        ("2026-10-01 05:00", Timing.EARLY),
        ("2026-10-12 20:00", Timing.ON_TIME),
        ("2026-10-13 20:00", Timing.UNKNOWN),
    ],
)
def test_a_push_that_was_found_was_made_before(found, timing):
    decision = AUTUMN.decide(at(found), known=False)
    assert decision.timing is timing
    assert sentence(decision).startswith("This push was found on ")


@given(
    st.datetimes(datetime(2026, 9, 30), datetime(2026, 10, 14)),
    st.sampled_from(Source),
    st.sampled_from([0, 30]),
    st.sampled_from(["2026-10-12 23:59", "2026-10-12 23:59:30"]),
)
def test_a_decision_and_the_cutoffs_of_the_ledger_agree(received, source, grace, closes):
    """The two forms of one rule: for a push that a student reads about, and for all candidates of an assignment."""
    deadline = Deadline.of("UTC", opens="2026-10-01 08:00", closes=closes, grace_minutes=grace)
    cutoffs = Cutoffs(deadline.closes + deadline.grace, opens=deadline.opens)
    received = received.replace(tzinfo=UTC)
    decision = deadline.decide(received, known=source is not Source.UNKNOWN)
    assert decision.timing.counts is cutoffs.counts(RepositoryName("h", "o", "n"), received, source)


def test_the_zone_of_the_receive_time_does_not_matter():
    received = datetime(2026, 10, 12, 17, 59, tzinfo=timezone(timedelta(hours=-4)))
    assert AUTUMN.decide(received).timing is Timing.ON_TIME
    with pytest.raises(ValueError, match="needs a time zone"):
        AUTUMN.decide(datetime(2026, 10, 12))


def test_without_times_everything_is_on_time():
    decision = Deadline.of("UTC").decide(at("2026-01-01 00:00"))
    assert decision.timing is Timing.ON_TIME
    assert sentence(decision).endswith("There is no deadline.")


# changing clocks -----------------------------------------------------------------------------------------


def test_a_day_of_23_hours_is_not_24_hours_of_grace():
    # Sunday 29 March 2026: 02:00 becomes 03:00
    deadline = Deadline.of("Europe/Berlin", closes="2026-03-28 23:00", grace_minutes=24 * 60)
    assert deadline.closes == until("2026-03-28 22:00")
    assert deadline.decide(at("2026-03-29 22:00:59")).timing is Timing.IN_GRACE  # shown as 00:00 on Monday
    assert deadline.decide(at("2026-03-29 22:01:00")).timing is Timing.LATE


def test_a_local_time_that_the_clocks_skip_is_refused_with_the_one_to_write():
    with pytest.raises(DeadlineError, match=r"02:30 does not exist in Europe/Berlin.*write 2026-03-29 03:30"):
        Deadline.of("Europe/Berlin", closes="2026-03-29 02:30")
    with pytest.raises(
        DeadlineError, match=r"02:00 does not exist in America/New_York.*write 2026-03-08 03:00"
    ):
        Deadline.of("America/New_York", opens="2026-03-08 02:00")


def test_a_local_time_that_comes_twice_means_the_one_better_for_students():
    # Sunday 25 October 2026: 03:00 becomes 02:00
    deadline = Deadline.of("Europe/Berlin", opens="2026-10-25 02:15", closes="2026-10-25 02:30")
    assert deadline.opens == at("2026-10-25 00:15")  # the first time, still CEST
    assert deadline.closes == until("2026-10-25 01:30")  # the second time, CET
    assert "02:30 CET (Europe/Berlin)" in shown(deadline.closes, deadline.zone)
    assert "02:15 CEST (Europe/Berlin)" in shown(deadline.opens, deadline.zone)


def test_lateness_over_a_change_of_clocks_is_in_real_hours():
    deadline = Deadline.of("Europe/Berlin", closes="2026-10-25 01:00")
    decision = deadline.decide(at("2026-10-25 02:00"))  # 03:00 CET: two hours on the clock, three hours later
    assert "3 hours after the deadline" in sentence(decision)


def test_a_half_hour_change_and_a_zone_without_a_name():
    deadline = Deadline.of("Australia/Lord_Howe", closes="2026-04-05 01:45")  # clocks go back by half an hour
    assert deadline.closes == until("2026-04-04 15:15")
    assert shown(at("2026-05-01 12:00"), Deadline.of("UTC").zone) == "Fri 1 May 2026, 12:00 UTC"
    assert shown(at("2026-05-01 12:00"), Deadline.of("America/Sao_Paulo").zone) == (
        "Fri 1 May 2026, 09:00 UTC-03 (America/Sao_Paulo)"
    )


# what cannot be used -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "settings", "message"),
    [
        ("Europe/Atlantis", {}, "no such time zone: 'Europe/Atlantis'"),
        ("../etc/passwd", {}, "no such time zone"),
        ("", {}, "no such time zone"),
        ("UTC", {"closes": "2026-10-12"}, "write it as 2026-10-12 23:59"),
        ("UTC", {"closes": "12.10.2026 23:59"}, "write it as"),
        ("UTC", {"closes": "2026-02-30 10:00"}, "not a time: 2026-02-30 10:00"),
        ("UTC", {"closes": 5}, "not a time: 5"),
        ("UTC", {"opens": "2026-10-12 10:00", "closes": "2026-10-12 10:00"}, "must be later than opens"),
        ("UTC", {"grace_minutes": -1}, "grace period must be 0 to"),
        ("UTC", {"grace_minutes": float("nan")}, "grace period must be 0 to"),
        ("UTC", {"grace_minutes": 100_000}, "move the deadline"),
    ],
    ids=[
        "unknown",
        "path",
        "empty",
        "no clock",
        "other form",
        "no such day",
        "number",
        "order",
        "negative",
        "nan",
        "too long",
    ],
)
def test_settings_that_cannot_be_used(zone, settings, message):
    with pytest.raises(DeadlineError, match=message):
        Deadline.of(zone, **settings)


# words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "text"),
    [
        (
            "2026-09-30 05:00:07",
            "This push was received on Wed 30 Sep 2026, 07:00:07 CEST (Europe/Berlin), 1 day before the assignment "
            "opens on Thu 1 Oct 2026, 08:00 CEST (Europe/Berlin). It is recorded but not graded: push again then.",
        ),
        (
            "2026-10-12 20:00",
            "This push was received on Mon 12 Oct 2026, 22:00:00 CEST (Europe/Berlin), in time for the deadline, "
            "Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin).",
        ),
        (
            "2026-10-12 22:04:10",
            "This push was received on Tue 13 Oct 2026, 00:04:10 CEST (Europe/Berlin), 5 minutes 10 seconds after the "
            "deadline, Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin). It counts: it came within the grace period of "
            "30 minutes.",
        ),
        (
            "2026-10-15 00:00",
            "This push was received on Thu 15 Oct 2026, 02:00:00 CEST (Europe/Berlin), 2 days 2 hours after the "
            "deadline, Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin) and its grace period of 30 minutes. It is recorded "
            "but does not change your score. If you believe that this is wrong, write to the course staff.",
        ),
    ],
    ids=["early", "on time", "in grace", "late"],
)
def test_what_the_student_reads(received, text):
    assert sentence(AUTUMN.decide(at(received))) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(microseconds=1), "less than a second"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=61), "1 minute 1 second"),
        (timedelta(hours=2, seconds=5), "2 hours"),
        (timedelta(days=2, hours=3, minutes=59), "2 days 3 hours"),
    ],
)
def test_durations(length, text):
    assert duration(length) == text


def test_a_deadline_in_words_has_its_offset_and_the_time_in_utc():
    assert described(AUTUMN) == (
        "opens Thu 1 Oct 2026, 08:00 CEST (Europe/Berlin), UTC+02:00, which is Thu 1 Oct 2026, 06:00 UTC; "
        "closes Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin), UTC+02:00, which is Mon 12 Oct 2026, 21:59 UTC; "
        "then has 30 minutes of grace"
    )
    assert described(Deadline.of("UTC")) == "has no deadline"
    assert "UTC-03:30, which is Fri 15 Jan 2027, 15:30 UTC" in described(
        Deadline.of("America/St_Johns", closes="2027-01-15 12:00")
    )


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        ("Etc/GMT+8", "Etc/GMT+8 is UTC-08:00 here: the sign in this name is the opposite of the usual one"),
        ("EST", "EST is UTC-05:00 here, and the whole year"),
        ("EST5EDT", "EST5EDT is UTC-04:00 here; name a place"),
        ("Europe/Berlin", ""),
        ("UTC", ""),
        ("PRC", ""),
    ],
)
def test_a_zone_with_a_name_that_is_easily_misunderstood(zone, message):
    found = doubtful_zone(Deadline.of(zone, closes="2026-09-15 23:59"))
    assert message in found
    assert bool(found) == bool(message)


def test_an_extension_that_ends_before_the_deadline_changes_nothing():
    early = Extension("ann", "a1", at("2026-10-05 10:00"))
    decision = AUTUMN.decide(at("2026-10-10 10:00"), early)
    assert (decision.timing, decision.extended, decision.closes) == (Timing.ON_TIME, False, AUTUMN.closes)
    assert Deadline.of("UTC").decide(at("2026-10-10 10:00"), early).timing is Timing.ON_TIME
