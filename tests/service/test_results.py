"""What a student reads where grading alone does not decide the score: late days, adjustments, limits of pushes."""

import json
from datetime import datetime, timedelta, timezone

import pytest

from autograder.course.standing import standing
from autograder.ledger import AdjustmentKind, JobState
from autograder.service.staff import Staff
from tests.support.university import HALF

TIMES = 'zone = "UTC"\ncloses = "2026-09-15 23:59"\n'
LATE = TIMES + "late_days_allowed = 3\nlate_points_per_day = 10\n"


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


IN_TIME, ONE_DAY, TOO_LATE = (
    moment("2026-09-10 12:00"),
    moment("2026-09-16 12:00"),
    moment("2026-09-25 12:00"),
)


def page(desk):
    """Return score.md above its table, and the facts in score.json."""
    text = desk.university.text()
    data = json.loads(desk.university.bare().show("score-feedback:score.json"))
    return text.partition("| Test Case")[0], data.get("result"), text


def tip(desk):
    """Return the newest commit of the student."""
    return desk.university.bare().tip("main")


def result(desk):
    target = desk.intake.target_at(desk.university.repository())
    return standing(desk.ledger, desk.course, target).result


def adjust(desk, kind, **values):
    repository = desk.university.repository()
    return desk.ledger.add_adjustment(repository, "t", kind, who="okafor", why="her mail of 3 May", **values)


def show(desk):
    """Do what the service does within seconds."""
    return desk.reconciler().show()


# late days -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("desk", [LATE], indirect=True)
def test_the_table_is_what_grading_gave_and_the_line_says_what_counts(desk):
    desk.run(desk.push(received=ONE_DAY))
    above, facts, text = page(desk)
    assert "| Total | 100 |" in text
    assert "It is 1 day late." in above
    assert above.rstrip().endswith(
        "\n\n**Your score is 90 / 100.** Grading gave 100 / 100 to commit "
        f"`{tip(desk)[:10]}`. It came 1 day late. This takes off 10 points."
    )
    assert (facts["points"], facts["graded"], facts["late_days"], facts["penalty"]) == (90, 100, 1, 10)
    assert show(desk) == 0


@pytest.mark.parametrize("desk", [LATE], indirect=True)
def test_under_last_an_earlier_push_may_be_better_because_of_the_penalty(desk):
    desk.run(desk.push(received=IN_TIME))
    first = tip(desk)
    desk.run(desk.push(received=ONE_DAY))
    above, _, _ = page(desk)
    assert f"An earlier push was better: commit `{first[:10]}` had 100 / 100. The last push counts." in above
    assert "**Your score is 90 / 100.**" in above


@pytest.mark.parametrize("desk", [LATE], indirect=True)
def test_a_push_in_time_reads_as_ever(desk):
    desk.run(desk.push(received=IN_TIME))
    above, facts, _ = page(desk)
    assert facts is None
    assert "Your score" not in above


@pytest.mark.parametrize("desk", [LATE], indirect=True)
def test_a_push_that_is_too_late_says_how_late_is_accepted(desk):
    desk.run(desk.push(received=TOO_LATE))
    above, _, _ = page(desk)
    assert "; a push is accepted up to 3 days late. It is recorded but does not change your score." in above
    assert "There is no score yet." in above


SECOND = f"""{LATE}
[assignments.u]
suite = "hidden/t"
repositories = ["dls/u-*"]
zone = "UTC"
closes = "2026-09-25 23:59"
late_days_allowed = 3
late_points_per_day = 10

[course]
late_days = 1
"""


@pytest.mark.parametrize("desk", [SECOND], indirect=True)
def test_a_free_day_that_an_earlier_assignment_takes_is_taken_from_a_later_one_everywhere(desk):
    desk.university.prefix = "u"
    desk.run(desk.push(received=moment("2026-09-26 12:00")))
    assert "**Your score is 100 / 100.**" in page(desk)[0]
    assert "1 day is taken from your late days: 0 of 1 are left." in page(desk)[0]
    assert show(desk) == 0
    desk.university.prefix = "t"
    desk.run(desk.push(received=ONE_DAY))
    assert "**Your score is 100 / 100.**" in page(desk)[0]
    desk.university.prefix = "u"
    assert show(desk) == 1
    assert "**Your score is 90 / 100.**" in page(desk)[0]
    assert show(desk) == 0


# adjustments -----------------------------------------------------------------------------------------------


def test_an_adjustment_is_published_and_taken_back(desk):
    desk.run(desk.push(HALF))
    before = page(desk)
    given = adjust(desk, AdjustmentKind.POINTS, points=5)
    assert show(desk) == 1
    above, facts, text = page(desk)
    assert "**Your score is 45 / 100.** Grading gave 40 / 100" in above
    assert "The course staff added 5 points: her mail of 3 May." in above
    assert "| Total | 40 |" in text
    (shown,) = facts["adjustments"]
    assert (shown["kind"], shown["points"], shown["why"]) == ("points", 5, "her mail of 3 May")
    assert "okafor" not in text + json.dumps(facts)
    adjust(desk, AdjustmentKind.UNDO, undoes=given.id)
    assert show(desk) == 1
    assert page(desk) == before
    assert show(desk) == 0


def test_an_excuse(desk):
    desk.run(desk.push(HALF))
    adjust(desk, AdjustmentKind.EXCUSE)
    show(desk)
    above, facts, _ = page(desk)
    assert "**This assignment does not count for you.** Grading gave 40 / 100" in above
    assert (facts["points"], facts["excused"]) == (None, True)


def test_the_commit_that_staff_choose_counts(desk):
    desk.run(desk.push())
    first = tip(desk)
    desk.run(desk.push(HALF))
    adjust(desk, AdjustmentKind.USE, commit=first)
    show(desk)
    above, _, text = page(desk)
    assert "An earlier push was better" not in above
    assert f"**Your score is 100 / 100.** Grading gave 100 / 100 to commit `{first[:10]}`." in above
    assert f"The course staff chose commit `{first[:10]}`: her mail of 3 May." in above
    assert "| Total | 40 |" in text  # of the newest push
    staff = Staff(desk.ledger, desk.course, desk.intake, "okafor")
    assert [choice.commit for choice in staff.choices("t")] == [first]  # a regrade grades what counts


@pytest.mark.parametrize("desk", [TIMES], indirect=True)
def test_a_late_commit_is_graded_when_staff_choose_it(desk):
    desk.run(desk.push(HALF, received=IN_TIME))
    desk.run(desk.push(received=TOO_LATE))
    late = tip(desk)
    assert result(desk).points == 40
    adjust(desk, AdjustmentKind.USE, commit=late)
    assert desk.reconciler().grade_what_counts() == 1
    desk.run_all()
    assert (result(desk).points, result(desk).late_days) == (100, 0)
    above, _, text = page(desk)
    assert "It is recorded but does not change your score" not in above
    assert "**Your score is 100 / 100.**" in above
    assert "| Total | 100 |" in text
    assert desk.reconciler().grade_what_counts() == 0


def test_a_commit_that_was_pushed_over_is_graded_when_staff_choose_it(desk):
    first = desk.push()
    commit = tip(desk)
    desk.run(desk.push(HALF))
    assert desk.state(first) is JobState.SUPERSEDED
    adjust(desk, AdjustmentKind.USE, commit=commit)
    assert desk.reconciler().grade_what_counts() == 1
    desk.run_all()
    assert desk.state(first) is JobState.FINAL
    assert result(desk).points == 100


# limits of pushes ------------------------------------------------------------------------------------------

LIMIT = TIMES + "pushes_per_hour = 1\n"


def clock(desk, at):
    """Set the clock of the worker and of the intake."""
    desk.pipeline.clock = lambda: at
    object.__setattr__(desk.intake, "clock", lambda: at)


@pytest.mark.parametrize("desk", [LIMIT], indirect=True)
def test_a_push_over_the_limit_waits_and_is_graded_then(desk):
    desk.run(desk.push(HALF, received=IN_TIME))
    first = tip(desk)
    soon = IN_TIME + timedelta(minutes=5)
    clock(desk, soon)
    job = desk.push(received=soon)
    desk.run(job)
    assert desk.ledger.job(job).reason == "not graded: over the limit of pushes"
    above, _, _ = page(desk)
    assert (
        "1 push per hour is graded. This one is over that limit. It is graded soon after Thu 10 Sep" in above
    )
    assert f"Your score is 40 / 100, from commit `{first[:10]}`." in above
    assert result(desk).points == 40
    assert desk.reconciler().grade_what_counts() == 0
    clock(desk, IN_TIME + timedelta(minutes=60))
    assert desk.reconciler().grade_what_counts() == 1
    desk.run_all()
    assert result(desk).points == 100
    above, _, _ = page(desk)
    assert "limit" not in above
    assert "graded again" not in above


@pytest.mark.parametrize("desk", [LIMIT], indirect=True)
def test_a_push_over_the_limit_takes_nothing_from_one_that_waits(desk):
    first = desk.push(HALF, received=IN_TIME)
    soon = IN_TIME + timedelta(minutes=5)
    clock(desk, soon)
    second = desk.push(received=soon)
    assert desk.state(first) is JobState.QUEUED
    desk.run(first)
    desk.run(second)
    assert desk.ledger.report(first) is not None
    assert desk.ledger.report(second) is None
    assert result(desk).points == 40


@pytest.mark.parametrize("desk", [LIMIT, LIMIT + 'policy = "best"\n'], indirect=True)
def test_of_the_pushes_that_wait_the_newest_is_graded_even_after_the_deadline(desk):
    start = moment("2026-09-15 23:30")
    desk.run(desk.push(HALF, received=start))
    for minute in (1, 2):
        at = start + timedelta(minutes=minute)
        clock(desk, at)
        desk.run(desk.push(received=at))
    last = tip(desk)
    clock(desk, start + timedelta(hours=3))
    assert desk.reconciler().grade_what_counts() == 1
    desk.run_all()
    reports = [job.commit for job in desk.ledger.jobs() if desk.ledger.report(job.id)]
    assert len(reports) == 2
    assert reports[-1] == last
    assert result(desk).points == 100
    assert desk.reconciler().grade_what_counts() == 0


@pytest.mark.parametrize("desk", [LIMIT], indirect=True)
def test_our_own_commits_do_not_count_as_pushes(desk):
    own = desk.university.push(HALF)
    desk.ledger.add_own_commit(own.commit, "starter of t")
    desk.intake.receive(own, IN_TIME)
    clock(desk, IN_TIME + timedelta(minutes=5))
    desk.run(desk.push(received=IN_TIME + timedelta(minutes=5)))
    assert result(desk).points == 100
