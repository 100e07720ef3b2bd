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
    duration,
    end,
    parse_extensions,
    sentence,
    shown,
)
from autograder.ledger import Cutoffs, RepositoryName, Source

UTC = timezone.utc
AUTUMN = Deadline.of("Europe/Berlin", opens="2026-10-01 08:00", closes="2026-10-12 23:59", grace_minutes=30)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("received", "timing"),
    [
        ("2026-10-01 05:59:59.999999", Timing.EARLY),
        ("2026-10-01 06:00:00", Timing.ON_TIME),
        ("2026-10-12 21:59:59.999999", Timing.ON_TIME),  # 23:59 holds to the end of that minute
        ("2026-10-12 22:00:00", Timing.IN_GRACE),
        ("2026-10-12 22:29:59.999999", Timing.IN_GRACE),
        ("2026-10-12 22:30:00", Timing.LATE),
    ],
    ids=["early", "opens", "closes", "grace begins", "grace ends", "late"],
)
def test_each_boundary_belongs_to_the_student(received, timing):
    assert AUTUMN.decide(at(received)).timing is timing


def test_a_deadline_with_seconds_holds_to_that_second():
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
    cutoffs = Cutoffs(end(deadline.closes) + deadline.grace, opens=deadline.opens)
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
    assert deadline.closes == at("2026-03-28 22:00")
    assert deadline.decide(at("2026-03-29 22:00")).timing is Timing.IN_GRACE  # shown as 00:00 on Monday
    assert deadline.decide(at("2026-03-29 22:01")).timing is Timing.LATE


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
    assert deadline.closes == at("2026-10-25 01:30")  # the second time, CET
    assert "02:30 CET (Europe/Berlin)" in shown(deadline.closes, deadline.zone)
    assert "02:15 CEST (Europe/Berlin)" in shown(deadline.opens, deadline.zone)


def test_lateness_over_a_change_of_clocks_is_in_real_hours():
    deadline = Deadline.of("Europe/Berlin", closes="2026-10-25 01:00")
    decision = deadline.decide(at("2026-10-25 02:00"))  # 03:00 CET: two hours on the clock, three hours later
    assert "3 hours after the deadline" in sentence(decision)


def test_a_half_hour_change_and_a_zone_without_a_name():
    deadline = Deadline.of("Australia/Lord_Howe", closes="2026-04-05 01:45")  # clocks go back by half an hour
    assert deadline.closes == at("2026-04-04 15:15")
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


# extensions ----------------------------------------------------------------------------------------------

DEADLINES = {
    "a1": AUTUMN,
    "a2": Deadline.of("Asia/Tokyo", closes="2026-11-01 12:00"),
    "a0": Deadline.of("UTC"),
}
CSV = "student,assignment,closes,reason\n\nAlice,a1,2026-10-25 02:30,ill\nbob , a2 , 2026-11-02T00:00:30,\n"
TOML = """
# granted in October
[[extension]]
student = "Alice"
assignment = "a1"
closes = 2026-10-25T02:30:00
reason = "ill"

[[extension]]
student = "bob"
assignment = "a2"
closes = "2026-11-02 00:00:30"
"""


@pytest.mark.parametrize(
    ("text", "file"),
    [(CSV, "x.csv"), ("\ufeff" + CSV, "x.csv"), (TOML, "x.toml")],
    ids=["csv", "csv with a mark", "toml"],
)
def test_extensions_of_both_kinds_of_file(text, file):
    extensions = parse_extensions(text, file, DEADLINES)
    alice = extensions.of("aLICE", "a1")
    assert alice == Extension("Alice", "a1", at("2026-10-25 01:30"), "ill")
    assert extensions.of("bob", "a2").closes == at("2026-11-01 15:00:30")
    assert extensions.of("alice", "a2") is None
    decision = AUTUMN.decide(at("2026-10-25 01:45"), alice)
    assert decision.timing is Timing.IN_GRACE
    assert "15 minutes after your extended deadline, Sun 25 Oct 2026, 02:30 CET" in sentence(decision)
    assert "ill" not in sentence(decision).replace("still", "")


def test_an_offset_in_toml_is_taken_at_its_word():
    text = '[[extension]]\nstudent = "a"\nassignment = "a1"\ncloses = 2026-10-20T12:00:00-04:00\n'
    assert parse_extensions(text, "x.toml", DEADLINES).of("a", "a1").closes == at("2026-10-20 16:00")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "student;assignment;closes\n",
            r"x\.csv:1: 'student;assignment;closes' is not allowed; allowed are student",
        ),
        ("student,assignment\n", r"x\.csv:1: student, assignment, closes are required"),
        ("student,assignment,closes,closes\n", r"x\.csv:1: .* each once"),
        ("student,assignment,closes\na,a1\n", r"x\.csv:2: 2 columns, but the first line names 3"),
        (
            "student,assignment,closes\n\na b,a1,2026-10-20 10:00\n",
            r"x\.csv:3: student: must be a name without spaces",
        ),
        (
            "student,assignment,closes\na,a9,2026-10-20 10:00\n",
            r"x\.csv:2: assignment: 'a9' does not exist; there are a1, a2, a0",
        ),
        ("student,assignment,closes\na,a0,2026-10-20 10:00\n", r"x\.csv:2: assignment: a0 has no deadline"),
        ("student,assignment,closes\na,a1,tomorrow\n", r"x\.csv:2: closes: not a time: 'tomorrow'"),
        (
            "student,assignment,closes\na,a1,2026-10-02 10:00\n",
            r"x\.csv:2: closes: must be later than the deadline",
        ),
        ("student,assignment,closes\na,a1,2027-03-28 02:30\n", r"x\.csv:2: closes: .* does not exist"),
        (
            "student,assignment,closes\na,a1,2026-10-20 10:00\nA,a1,2026-10-21 10:00\n",
            r"x\.csv:3: A already has an extension of a1 in line 2",
        ),
        ('student,assignment,closes\na,a1,"2026', r"x\.csv:2: not CSV"),
    ],
    ids=[
        "semicolons",
        "no closes",
        "closes twice",
        "short row",
        "spaces",
        "assignment",
        "no deadline",
        "form",
        "earlier",
        "skipped time",
        "student twice",
        "no csv",
    ],
)
def test_mistakes_in_csv_are_reported_with_their_line(text, message):
    with pytest.raises(DeadlineError, match=message):
        parse_extensions(text, "x.csv", DEADLINES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[extension]\n", r"x\.toml: .*line 1"),
        ("[[extensions]]\n", r"x\.toml:1: only tables \[\[extension\]\]"),
        ("extension = 3\n", r"x\.toml:1: only tables"),
        ('\n[[extension]]\nstudent = "a"\n', r"x\.toml:2: student, assignment, closes are required"),
        (TOML.replace("reason", "resaon"), r"x\.toml:3: 'resaon' is not allowed"),
        (TOML.replace('"bob"', "7"), r"x\.toml:9: student: must be a name without spaces, not 7"),
        (TOML.replace("2026-10-25T02:30:00", "2026-10-25"), r"x\.toml:3: closes: not a time"),
    ],
    ids=["syntax", "other table", "no table", "no closes", "other key", "student", "no clock"],
)
def test_mistakes_in_toml_are_reported_with_their_line(text, message):
    with pytest.raises(DeadlineError, match=message):
        parse_extensions(text, "x.toml", DEADLINES)


def test_another_kind_of_file_is_refused():
    with pytest.raises(DeadlineError, match=r"\.csv or a \.toml"):
        parse_extensions("", "x.xlsx", DEADLINES)
