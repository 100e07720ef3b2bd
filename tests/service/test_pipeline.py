"""The steps of a job, one after the other, on real repositories: what a student gets, and what the ledger holds."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from autograder.errors import GraderError, SuiteError
from autograder.git import feedback
from autograder.git.process import GitHostError
from autograder.ledger import WORKER_LOST, JobState, tables
from autograder.report import SuiteFault
from autograder.service.intake.intake import Intake
from autograder.service.jobs import pipeline
from autograder.service.jobs.fairness import priority, used
from tests.support.university import HALF, now


def published(desk, student="ann"):
    return desk.university.published(student)


# a push in time ------------------------------------------------------------------------------------------


def test_a_push_is_fetched_graded_and_published(desk):
    job = desk.push()
    assert desk.run(job) is JobState.FINAL
    commit = desk.ledger.job(job).commit
    assert published(desk) == [commit]
    assert desk.university.score() == 100
    assert "There is no deadline" in desk.university.text()
    assert desk.ledger.report(job).report.points == 100
    history = desk.ledger.history(desk.university.repository())
    assert [feedback.commit for feedback in history.jobs[0].feedback] == [
        desk.university.bare().tip("score-feedback")
    ]
    assert not list(desk.folder.glob("*/*"))  # no files of the student stay


def test_a_partial_solution_gets_its_points(desk):
    assert desk.run(desk.push(HALF)) is JobState.FINAL
    assert desk.university.score() == 40


def test_a_submission_that_is_not_allowed_gets_an_error_in_every_case(desk):
    bare = desk.university.bare()
    push = desk.university.reported(bare.odd(("120000", b"link", bare.blob(b"/etc/passwd"))))
    job = desk.take(push)
    assert desk.run(job) is JobState.FINAL
    text = desk.university.text()
    assert text.count("| ❓ | `src/link is a symbolic link; commit the file itself` |") == 2
    assert desk.university.score() == 0


def test_a_job_that_is_final_is_not_done_again(desk):
    job = desk.push()
    desk.run(job)
    tip = desk.university.bare().tip("score-feedback")
    assert desk.run(job) is JobState.FINAL
    assert (len(desk.graders.graded), desk.university.bare().tip("score-feedback")) == (1, tip)


@pytest.mark.parametrize("dies", ["add_report", "show", "add_feedback", "move"])
def test_a_worker_that_dies_anywhere_leaves_one_report_and_one_feedback_commit(desk, monkeypatch, dies):
    class Died(BaseException):
        pass

    def dying(real):
        def call(*arguments, **values):
            if dies == "move" and JobState.FINAL not in arguments:
                return real(*arguments, **values)
            real(*arguments, **values)
            raise Died

        return call

    job = desk.push()
    with monkeypatch.context() as patch:
        owner = feedback if dies == "show" else desk.ledger
        patch.setattr(owner, dies, dying(getattr(owner, dies)))
        with pytest.raises(Died):
            desk.run(job)
    desk.pipeline = desk.worker("other:0")
    assert desk.run(job) is JobState.FINAL
    assert len(published(desk)) == 1
    assert len(desk.graders.graded) == 1
    (entry,) = desk.ledger.history(desk.university.repository()).jobs
    assert len(entry.feedback) == 1


def test_another_worker_fetches_again_what_the_first_one_had(desk):
    job = desk.push()
    facts = desk.pipeline.step(pipeline.FETCH, job, desk.pipeline.begin(job))
    desk.pipeline = desk.worker("other:0")
    assert desk.pipeline.step(pipeline.GRADE, job, facts)["next"] == pipeline.PUBLISH


def test_two_workers_at_once_make_one_feedback_commit(desk):
    job = desk.push()
    one, two = desk.worker("a:0"), desk.worker("b:0")
    facts = [worker.step(pipeline.FETCH, job, worker.begin(job)) for worker in (one, two)]
    facts = [one.step(pipeline.GRADE, job, facts[0]), two.step(pipeline.GRADE, job, facts[1])]
    assert one.step(pipeline.PUBLISH, job, facts[0])["next"] == pipeline.END
    assert two.step(pipeline.PUBLISH, job, facts[1])["next"] == pipeline.END
    assert len(published(desk)) == 1


# deadlines -----------------------------------------------------------------------------------------------

TIMES = 'zone = "UTC"\nopens = "2026-09-01 08:00"\ncloses = "2026-09-15 23:59"\ngrace_minutes = 15'


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize("desk", [TIMES], indirect=True)
@pytest.mark.parametrize(
    ("received", "words"),
    [
        ("2026-08-31 12:00", "before the assignment opens"),
        ("2026-09-16 00:15", "It is recorded but does not change your score"),
    ],
)
def test_early_and_late_pushes_get_feedback_and_are_not_graded(desk, received, words):
    job = desk.push(received=moment(received))
    assert desk.run(job) is JobState.FINAL
    assert desk.graders.graded == []
    assert desk.ledger.report(job) is None
    assert words in desk.university.text()
    assert "There is no score yet." in desk.university.text()
    assert len(published(desk)) == 1


@pytest.mark.parametrize("desk", [TIMES], indirect=True)
def test_a_late_push_shows_the_score_that_counts(desk):
    first = desk.push(HALF, received=moment("2026-09-10 12:00"))
    desk.run(first)
    late = desk.push(received=moment("2026-10-01 12:00"))
    assert desk.run(late) is JobState.FINAL
    commit = desk.ledger.job(first).commit
    assert f"Your score is 40 / 100, from commit `{commit[:10]}`." in desk.university.text()
    assert desk.university.score() == 40
    assert len(published(desk)) == 2


@pytest.mark.parametrize("desk", [TIMES], indirect=True)
def test_a_push_in_grace_is_graded(desk):
    desk.run(desk.push(received=moment("2026-09-16 00:10")))
    assert "within the grace period" in desk.university.text()
    assert desk.university.score() == 100


@pytest.mark.parametrize("desk", [TIMES], indirect=True)
def test_a_late_push_takes_nothing_from_one_that_waits(desk):
    in_time = desk.push(received=moment("2026-09-15 23:00"))
    late = desk.push(HALF, received=moment("2026-09-17 12:00"))
    assert desk.state(in_time) is JobState.QUEUED
    assert desk.run(in_time) is JobState.FINAL
    assert desk.run(late) is JobState.FINAL
    assert desk.ledger.report(in_time).report.points == 100
    assert desk.university.score() == 100


@pytest.mark.parametrize("desk", [TIMES], indirect=True)
def test_a_commit_that_was_pushed_in_time_is_graded_although_it_is_pushed_again_late(desk):
    push = desk.university.push()
    job = desk.take(push, moment("2026-09-10 12:00"))
    again = desk.university.reported(push.commit, "2" * 40)
    desk.take(again, moment("2026-09-20 12:00"))
    assert desk.run(job) is JobState.FINAL
    assert desk.ledger.report(job) is not None


@pytest.mark.parametrize("desk", ['policy = "last"'], indirect=True)
def test_after_a_lower_score_the_student_reads_which_commit_was_the_best(desk):
    best = desk.push()
    assert desk.run(best) is JobState.FINAL
    assert "An earlier push was better" not in desk.university.text()
    assert desk.run(desk.push(HALF)) is JobState.FINAL
    commit = desk.ledger.job(best).commit
    sentence = f"An earlier push was better: commit `{commit[:10]}` had 100 / 100. The last push counts."
    assert sentence in desk.university.text()
    assert desk.university.score() == 40
    assert desk.run(desk.push()) is JobState.FINAL
    assert "An earlier push was better" not in desk.university.text()


@pytest.mark.parametrize("desk", ['policy = "best"'], indirect=True)
def test_where_the_best_push_counts_a_worse_one_says_which_that_is(desk):
    best = desk.push()
    desk.run(best)
    desk.run(desk.push(HALF))
    commit = desk.ledger.job(best).commit
    assert f"Your score is 100 / 100, from commit `{commit[:10]}`." in desk.university.text()
    assert desk.university.score() == 40  # of this push


# superseded ----------------------------------------------------------------------------------------------


def test_a_newer_push_supersedes_one_that_waits(desk):
    old, new = desk.push(HALF), desk.push()
    assert desk.state(old) is JobState.SUPERSEDED
    assert [entry.job for entry in desk.queue.entries()] == [new]
    desk.run(old)
    desk.run(new)
    assert published(desk) == [desk.ledger.job(new).commit]


@pytest.mark.parametrize("desk", ['policy = "best"'], indirect=True)
def test_nothing_that_may_be_the_best_is_superseded(desk):
    best, worse = desk.push(), desk.push(HALF)
    assert [desk.state(job) for job in (best, worse)] == [JobState.QUEUED, JobState.QUEUED]
    assert desk.run(best) is JobState.FINAL  # the branch is at the other commit by now
    assert desk.run(worse) is JobState.FINAL
    assert "Your score is 100 / 100" in desk.university.text()


@pytest.mark.parametrize(
    "desk", ['policy = "best"\nzone = "UTC"\ncloses = "2026-09-15 23:59"'], indirect=True
)
def test_a_late_push_gives_way_to_a_newer_one_that_counts(desk):
    late = desk.push(HALF, received=moment("2026-09-16 12:00"))
    counts = desk.push(received=moment("2026-09-15 12:00"))
    assert desk.state(late) is JobState.SUPERSEDED or desk.run(late) is JobState.SUPERSEDED
    assert desk.run(counts) is JobState.FINAL


def test_webhooks_out_of_order_grade_what_the_branch_is_at(desk):
    first, second = desk.university.push(HALF), desk.university.push()
    newer, older = desk.take(second), desk.take(first)
    assert desk.state(newer) is JobState.QUEUED  # its webhook names the commit before it
    assert desk.run(older) is JobState.SUPERSEDED
    assert desk.run(newer) is JobState.FINAL
    assert published(desk) == [second.commit]


def test_a_push_whose_webhook_was_lost_is_found_and_graded(desk):
    job = desk.push(HALF)
    lost = desk.university.push()
    assert desk.run(job) is JobState.SUPERSEDED
    found = desk.ledger.pushes(desk.university.repository(), commit=lost.commit)
    assert len(found) == 1
    (entry,) = desk.queue.entries()[-1:]
    assert desk.run(entry.job) is JobState.FINAL
    assert desk.university.score() == 100
    assert desk.intake.receive(lost, now()).result == "known"


def test_a_push_while_another_is_graded_supersedes_it(desk):
    job = desk.push(HALF)
    desk.graders.before = lambda *_: desk.push()
    assert desk.run(job) is JobState.SUPERSEDED
    assert desk.ledger.report(job) is None
    assert published(desk) == []


def test_a_late_webhook_of_the_same_commit_while_it_is_graded_changes_nothing(desk):
    push = desk.university.push()
    job = desk.take(push)
    desk.graders.before = lambda *_: desk.take(desk.university.reported(push.commit, "3" * 40))
    assert desk.run(job) is JobState.FINAL


def test_a_superseded_commit_that_is_pushed_again_is_graded(desk):
    first = desk.university.push(HALF)
    old = desk.take(first)
    second = desk.university.push()
    new = desk.take(second)
    desk.university.bare().git("update-ref", "refs/heads/main", first.commit)
    assert desk.take(desk.university.reported(first.commit, second.commit)) == old
    assert desk.state(old) is JobState.QUEUED
    assert desk.state(new) is JobState.SUPERSEDED
    assert old in {entry.job for entry in desk.queue.entries()}
    assert desk.run(old) is JobState.FINAL


def test_a_commit_that_is_gone_needs_no_feedback(desk):
    push = desk.university.push()
    job = desk.take(push)
    bare = desk.university.bare()
    bare.git("update-ref", "-d", "refs/heads/main")
    bare.git("prune", "--expire=now")
    assert desk.run(job) is JobState.FAILED  # a host that lags behind says the same for a moment
    assert desk.run(job) is JobState.FINAL
    assert "pushed over" in desk.ledger.job(job).reason


# faults --------------------------------------------------------------------------------------------------


def test_a_fault_of_the_grader_is_tried_again_and_costs_nothing(desk):
    def fail(*_):
        raise GraderError("the sandbox broke")

    job = desk.push()
    desk.graders.before = fail
    assert desk.pipeline.run(job) == {"next": pipeline.RETRY}
    assert (desk.state(job), desk.ledger.job(job).reason) == (JobState.FAILED, "the sandbox broke")
    assert published(desk) == []
    desk.graders.before = lambda *_: None
    assert desk.run(job) is JobState.FINAL
    assert desk.university.score() == 100


def test_after_the_last_try_a_job_is_dead_until_staff_try_again(desk):
    def fail(*_):
        raise GraderError("the sandbox broke")

    job = desk.push()
    desk.graders.before = fail
    assert [desk.run(job) for _ in range(4)] == [
        JobState.FAILED,
        JobState.FAILED,
        JobState.DEAD,
        JobState.DEAD,
    ]
    assert desk.ledger.job(job).reason == "the sandbox broke (given up after 3 tries)"
    desk.graders.before = lambda *_: None
    desk.ledger.move(job, JobState.QUEUED, reason="repaired")
    assert desk.run(job) is JobState.FINAL


def test_a_suite_that_its_reference_fails_is_a_matter_for_staff_at_once(desk):
    def fail(*_):
        raise SuiteError("the reference fails Task1 - Case1; fix the suite", "AssertionError: expected 6.0")

    job = desk.push()
    desk.graders.before = fail
    assert desk.run(job) is JobState.DEAD
    assert desk.ledger.job(job).reason == "the reference fails Task1 - Case1; fix the suite"
    assert published(desk) == []


def test_a_case_that_was_drawn_again_is_counted_and_logged(desk, caplog):
    desk.graders.suite_faults = (SuiteFault("Task1 - Case1", 0, "AssertionError: expected 6.0"),)
    assert desk.run(desk.push()) is JobState.FINAL
    assert (
        'suite_faults_total{assignment="t",case="Task1 - Case1"} 1.0'
        in desk.pipeline.metrics.text([]).decode()
    )
    (record,) = [record for record in caplog.records if record.getMessage() == "the reference fails a case"]
    assert record.reason == "AssertionError: expected 6.0"
    assert "6.0" not in desk.university.text()


def test_a_git_host_that_fails_is_tried_again(desk, monkeypatch):
    def fail(*_arguments, **_values):
        raise GitHostError("the host is away")

    job = desk.push()
    with monkeypatch.context() as patch:
        patch.setattr(feedback, "show", fail)
        assert desk.run(job) is JobState.FAILED
    assert desk.run(job) is JobState.FINAL
    assert len(desk.graders.graded) == 1  # the report was recorded
    assert len(published(desk)) == 1


def test_a_bug_in_the_grader_is_no_verdict(desk):
    desk.graders.before = lambda *_: {}["nothing"]
    job = desk.push()
    assert desk.run(job) is JobState.FAILED
    assert desk.ledger.job(job).reason.startswith("a bug in the grader: KeyError: 'nothing' in ")


def test_a_job_that_ends_its_worker_each_time_is_dead_in_the_end(desk):
    job = desk.push()
    for _ in range(3):
        desk.ledger.move(job, JobState.RUNNING, worker="host:0")
    assert desk.run(job) is JobState.DEAD
    assert "does it end its worker?" in desk.ledger.job(job).reason


def test_a_worker_that_is_killed_does_not_count_as_a_try_of_its_job(desk):
    """The job has one failure of its own, and two workers were killed that ran it."""

    def fail(*_):
        raise GraderError("the sandbox broke")

    job = desk.push()
    desk.graders.before = fail
    assert desk.run(job) is JobState.FAILED
    desk.graders.before = lambda *_: None
    for _ in range(2):
        desk.ledger.move(job, JobState.RUNNING, worker="host:0")
    assert desk.ledger.recent_failures(job) == 1
    assert desk.run(job) is JobState.FAILED  # the second time, it lets the others go first
    assert desk.ledger.job(job).reason == WORKER_LOST
    assert desk.ledger.recent_failures(job) == 1
    assert desk.run(job) is JobState.FINAL


def test_a_job_whose_worker_was_killed_once_goes_on_at_once(desk):
    job = desk.push()
    desk.ledger.move(job, JobState.RUNNING, worker="host:0")
    assert desk.run(job) is JobState.FINAL


def test_a_clock_that_was_ahead_does_not_prolong_a_wait(desk):
    def fail(*_):
        raise GraderError("the sandbox broke")

    job = desk.push()
    desk.graders.before = fail
    desk.run(job)
    first = timedelta(seconds=10)
    corrected = now() - timedelta(hours=1)
    wait = pipeline.wait_before_next_try(desk.ledger, desk.ledger.job(job), first, lambda: corrected)
    assert wait == first


def test_a_repository_that_is_gone_is_for_staff(desk):
    job = desk.push()
    desk.university.bare().path.rename(desk.university.folder / "elsewhere")
    assert [desk.run(job) for _ in range(3)] == [JobState.FAILED, JobState.FAILED, JobState.DEAD]
    assert "no such repository" in desk.ledger.job(job).reason


def test_a_repository_that_is_gone_for_a_moment_is_graded(desk):
    """A folder that is not mounted yet, or one wrong response of a host, must not end all jobs at once."""
    job = desk.push()
    path = desk.university.bare().path
    away = path.rename(desk.university.folder / "elsewhere")
    assert desk.run(job) is JobState.FAILED
    away.rename(path)
    assert desk.run(job) is JobState.FINAL
    assert desk.university.score() == 100


def test_an_assignment_that_is_gone_is_for_staff(desk, monkeypatch):
    job = desk.push()
    monkeypatch.setattr(desk.course, "target", lambda *_: None)
    assert desk.run(job) is JobState.DEAD
    assert "does not belong to t any more" in desk.ledger.job(job).reason


def test_waits_grow():
    ten = timedelta(seconds=10)
    assert [pipeline.backoff(ten, tries).total_seconds() for tries in (1, 2, 3, 4)] == [10, 20, 40, 80]
    assert pipeline.backoff(ten, 1000) == pipeline.MAX_WAIT


# intake --------------------------------------------------------------------------------------------------


def test_a_push_that_is_delivered_twice_is_one(desk):
    push = desk.university.push()
    assert desk.intake.receive(push, now()).result == "recorded"
    assert desk.intake.receive(push, now()).result == "known"
    assert len(desk.queue.entries()) == 1


def test_what_no_assignment_wants_is_ignored_and_not_recorded(desk):
    receipt = desk.intake.receive(desk.university.push(student="ann", branch="try"), now())
    assert (receipt.result, receipt.job) == ("ignored", None)
    assert desk.ledger.repositories() == []


@pytest.mark.parametrize("desk", [TIMES], indirect=True)
def test_a_student_with_many_jobs_waits_for_one_with_few(desk):
    late = moment("2026-10-01 12:00")  # these do not supersede each other
    many = [desk.push(f"# {number}\n", received=late) for number in range(3)]
    other = desk.push(student="bob", received=late)
    regrade = desk.ledger.open_job(
        desk.university.repository("bob"), desk.ledger.job(other).commit, "t", attempt=2
    ).row
    priorities = {job: priority(desk.ledger, desk.ledger.job(job)) for job in [*many, other, regrade.id]}
    assert sorted(priorities, key=priorities.__getitem__) in (
        [many[0], other, many[1], many[2], regrade.id],
        [other, many[0], many[1], many[2], regrade.id],
    )
    assert len(set(priorities.values())) == 4


def test_a_student_whose_submissions_take_long_waits_for_one_whose_do_not(desk):
    """Eve's submission had a worker for twenty minutes. Her next push is taken after three pushes of Ann."""
    slow = desk.push(student="eve")
    desk.ledger.move(slow, JobState.RUNNING, worker="host:0")
    with desk.ledger.database.writing() as connection:
        long_ago = now() - timedelta(minutes=20)
        connection.execute(tables.jobs.update().where(tables.jobs.c.id == slow).values(started=long_ago))
    again = desk.ledger.job(desk.push(HALF, student="eve"))
    others = [desk.ledger.job(desk.push(student="ann", **{"n.txt": str(n).encode()})) for n in range(3)]
    assert priority(desk.ledger, again) > max(priority(desk.ledger, other) for other in others)


def test_what_a_student_used_is_forgotten_after_an_hour(desk):
    job = desk.ledger.job(desk.push())
    noon = now()

    def ran(begin, end):
        started, finished = (None if at is None else noon + timedelta(minutes=at) for at in (begin, end))
        return used([replace(job, started=started, finished=finished)], noon)

    assert ran(None, None) == timedelta(0)  # it waits
    assert ran(-10, None) == timedelta(minutes=10)  # it runs
    assert ran(-50, -30) == timedelta(minutes=20)
    assert ran(-70, -50) == timedelta(minutes=10)
    assert ran(-90, -70) == timedelta(0)
    assert ran(5, None) == timedelta(0)  # the clock of its worker is ahead


def test_a_queue_that_is_away_loses_nothing(desk, monkeypatch):
    class Away:
        def enqueue(self, *_arguments, **_values):
            raise GraderError("away")

        cancel = enqueue

    intake = Intake(desk.ledger, desk.course, Away())
    receipt = intake.receive(desk.university.push(), now())
    assert (receipt.result, receipt.job.state) == ("recorded", JobState.QUEUED)
    assert desk.queue.entries() == []


def test_a_push_is_recorded_before_its_job_is_opened(desk):
    """The sender of a webhook waits for the record alone; the reconciler opens a job that was not opened after it."""
    waiting = []
    receipt = desk.intake.receive(desk.university.push(), now(), later=waiting.append)
    assert (receipt.result, receipt.job) == ("recorded", None)
    assert [item.jobs for item in desk.ledger.unsettled()] == [()]
    waiting.pop()()
    assert [len(item.jobs) for item in desk.ledger.unsettled()] == [1]
