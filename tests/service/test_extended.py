"""Extensions while the service runs: what waits for a correction, and what is graded because it counts now."""

import shutil
from datetime import datetime, timezone

import pytest

from autograder.course.standing import standing
from autograder.ledger import JobState
from autograder.service.intake.reconciler import Reconciler
from autograder.service.jobs import showing
from autograder.service.jobs.pipeline import Pipeline
from autograder.service.staff import Staff
from tests.support.ledgers import problems
from tests.support.processes import Processes, settled, until
from tests.support.university import HALF, RIGHT, PretendedGraders, University

HEADER = "student,assignment,closes\n"
KEYS = 'zone = "UTC"\ncloses = "2026-09-15 23:59"\nextensions_file = "extensions.csv"\n'
IN_TIME = datetime(2026, 9, 15, 23, 59, 30, tzinfo=timezone.utc)
LATE = datetime(2026, 9, 17, 12, tzinfo=timezone.utc)


class Desk:
    """A service without processes: pushes are taken, jobs run and repairs are made when a test says so."""

    def __init__(self, folder, keys=KEYS):
        self.folder = folder
        self.university = University(folder, assignment=keys)
        self.write(HEADER)

    def __enter__(self):
        self._parts = self.university.parts()
        parts = self._parts.__enter__()
        self.ledger, self.graders, self.queue = parts.ledger, PretendedGraders(), parts.queue
        self.pipeline = Pipeline(
            parts.ledger, parts.course, self.graders, parts.intake, self.folder / "work", "host:0", retries=2
        )
        self.reconciler = Reconciler(parts.ledger, parts.queue, parts.intake)
        self.intake = parts.intake
        return self

    def __exit__(self, *error):
        assert problems(self.ledger) == []
        self._parts.__exit__(*error)

    def write(self, text):
        (self.university.course.folder / "extensions.csv").write_text(text)

    def push(self, work=RIGHT, received=LATE, **values):
        job = self.intake.receive(self.university.push(work, **values), received).job.id
        self.run(job)
        return job

    def run(self, job):
        self.queue.cancel(job)  # a worker took it
        self.pipeline.run(job)

    def repair(self):
        """Let the reconciler look once, and run what it queued."""
        self.reconciler.repair()
        opened = self.reconciler.grade_what_counts()
        for entry in self.queue.entries():
            self.run(entry.job)
        return opened

    def state(self, job):
        return self.ledger.job(job).state


@pytest.fixture
def desk(folder):
    with Desk(folder) as desk:
        yield desk


def test_the_last_minute_belongs_to_the_student(desk):
    desk.push(received=IN_TIME)
    assert desk.university.score() == 100
    assert "in time for the deadline, Tue 15 Sep 2026, 23:59 UTC" in desk.university.text()


def test_while_a_line_is_wrong_a_late_push_waits_and_an_early_one_is_graded(desk):
    desk.write(HEADER + "ann,t,on Friday\n")
    in_time = desk.push(received=IN_TIME, student="bob")
    late = desk.push()
    assert desk.state(in_time) is JobState.FINAL
    for _ in range(5):  # more often than a job is tried
        desk.repair()
    assert desk.state(late) is JobState.FAILED
    reason = desk.ledger.job(late).reason
    assert "extensions.csv:2: closes: not a time: 'on Friday'" in reason
    assert "waits until the file is corrected" in reason
    assert desk.university.published() == []
    assert desk.ledger.recent_failures(late) == 0  # so that a fault after the correction is its first one
    desk.write(HEADER + "ann,t,2026/9/18 12:00\n")
    desk.repair()
    assert desk.state(late) is JobState.FINAL
    assert desk.university.score() == 100


def test_while_a_late_push_waits_the_earlier_ones_of_the_student_are_answered(desk):
    desk.write(HEADER + "ann,t,on Friday\n")
    in_time = desk.intake.receive(desk.university.push(HALF), IN_TIME).job.id
    late = desk.push(RIGHT)
    desk.run(in_time)
    assert [desk.state(late), desk.state(in_time)] == [JobState.FAILED, JobState.FINAL]
    assert desk.university.score() == 40
    (result,) = Staff(desk.ledger, desk.intake.course, desk.intake, "okafor").republish()
    assert (result.changed, result.problem) == (False, "")
    desk.write(HEADER)
    desk.repair()
    assert desk.ledger.job(late).reason == "not graded: late"
    assert desk.university.score() == 40


def test_feedback_that_was_right_stays_while_nobody_can_say_which_score_counts(folder):
    line = HEADER + "ann,t,2026-09-18 12:00\n"
    with Desk(folder) as desk:
        desk.push(HALF, received=IN_TIME)
        desk.write(line)
        desk.push(RIGHT)
        state = desk.university.config().state
    shutil.rmtree(state / "extensions")  # the copy of the last version without a mistake
    desk.write("")
    with desk:  # a new process
        course, target = desk.intake.course, desk.intake.target_at(desk.university.repository())
        stands = standing(desk.ledger, course, target)
        assert stands.score is None
        assert "extensions.csv:1" in stands.open
        (result,) = Staff(desk.ledger, course, desk.intake, "okafor").republish()
        assert "extensions.csv:1" in result.problem
        assert desk.university.score() == 100
        desk.write(line)
        assert standing(desk.ledger, course, target).score.points == 100
        assert showing.is_shown(desk.ledger, course, target)


def test_an_extension_that_comes_while_a_late_push_is_answered_counts(desk, monkeypatch):
    publish = showing.publish

    def extend_first(*arguments):
        desk.write(HEADER + "ann,t,2026-09-18 12:00\n")
        return publish(*arguments)

    monkeypatch.setattr(showing, "publish", extend_first)
    late = desk.push()
    assert desk.ledger.job(late).reason == "graded"
    assert desk.university.score() == 100


def test_a_push_that_is_late_after_the_correction_is_told_so(desk):
    desk.write("")
    late = desk.push()
    assert desk.state(late) is JobState.FAILED
    desk.write(HEADER)
    desk.repair()
    assert desk.ledger.job(late).reason == "not graded: late"
    assert "2026, 23:59 UTC" in desk.university.text()


def test_an_extension_of_the_last_readable_version_holds_after_a_restart(folder):
    with Desk(folder) as desk:
        desk.write(HEADER + "ann,t,2026-09-18 12:00\n")
        desk.push(HALF)
        assert desk.university.score() == 40
    desk.write("")
    with desk:  # a new process
        again = desk.push(RIGHT)
        assert desk.state(again) is JobState.FINAL
        assert desk.university.score() == 100


def test_an_extension_after_the_push_is_graded_now(desk):
    late = desk.push()
    assert desk.repair() == 0
    assert desk.ledger.job(late).reason == "not graded: late"
    assert "It is recorded but does not change your score" in desk.university.text()
    desk.write(HEADER + "ann,t,2026-09-18 12:00\n")
    assert desk.repair() == 1
    assert desk.university.score() == 100
    assert "in time for your extended deadline, Fri 18 Sep 2026, 12:00 UTC" in desk.university.text()
    assert desk.repair() == 0
    assert len(desk.graders.graded) == 1


def test_of_several_pushes_that_count_now_only_the_last_is_graded(desk):
    for number in range(3):
        desk.push(f"# {number}\n")
    last = desk.ledger.pushes(desk.university.repository())[-1].commit
    desk.write(HEADER + "ann,t,2026-09-18 12:00\n")
    assert desk.repair() == 1
    assert desk.graders.graded == [last]


def test_under_best_all_pushes_that_count_now_are_graded(folder):
    with Desk(folder, KEYS + 'policy = "best"\n') as desk:
        for number in range(3):
            desk.push(f"# {number}\n")
        desk.write(HEADER + "ann,t,2026-09-18 12:00\n")
        assert desk.repair() == 3


def test_a_push_before_one_that_is_graded_already_is_left_alone(desk):
    desk.push(HALF)  # late
    desk.write(HEADER + "ann,t,2026-09-18 12:00\n")
    desk.push(RIGHT)
    assert desk.repair() == 0


def test_a_deadline_that_was_moved_while_the_service_was_down_counts_at_the_next_start(folder):
    with Desk(folder) as desk:
        desk.push()
    file = desk.university.config_file
    file.write_text(file.read_text().replace("2026-09-15", "2026-09-20"))
    with desk:
        assert desk.repair() == 1
        assert desk.university.score() == 100


OFTEN = "from autograder.service.intake import reconciler\nreconciler.REPAIR_SECONDS = 0.2\n"


def test_a_running_service_notices_a_correction_and_an_extension(folder):
    university = University(folder, assignment=KEYS)
    extensions = university.course.folder / "extensions.csv"
    extensions.write_text(HEADER)
    processes = Processes(university)
    try:
        with university.parts() as parts:
            processes.start("--listen", "127.0.0.1:0", before=OFTEN)
            late = parts.intake.receive(university.push(), LATE).job.id
            assert settled(parts, late) is JobState.FINAL
            assert university.published() == [parts.ledger.job(late).commit]
            extensions.write_text(HEADER + "ann,t,2026-09-18 12:00\n")
            until(lambda: "| Total | 100 |" in university.text())
            extensions.write_text(HEADER + "ann,t,2026-09-18 12:00\nbob,t,Friday\n")
            waits = parts.intake.receive(university.push(student="bob"), LATE).job.id
            until(lambda: "extensions.csv:3" in parts.ledger.job(waits).reason)
            extensions.write_text(HEADER + "ann,t,2026-09-18 12:00\nbob,t,2026-09-18 12:00\n")
            assert settled(parts, waits) is JobState.FINAL
            assert university.score("bob") == 100
    finally:
        processes.end()


NO_LOOKS = "reconciler.LOOK_SECONDS = reconciler.FIRST_LOOK_SECONDS = 1000\n"


def test_an_extension_of_a_push_that_was_graded_is_shown_without_waiting_for_the_round(folder):
    university = University(folder, assignment=KEYS + "late_days_allowed = 5\nlate_points_per_day = 10\n")
    extensions = university.course.folder / "extensions.csv"
    extensions.write_text(HEADER)
    processes = Processes(university)
    try:
        with university.parts() as parts:
            processes.start("--listen", "127.0.0.1:0", before=OFTEN + NO_LOOKS)
            late = parts.intake.receive(university.push(), LATE).job.id
            assert settled(parts, late) is JobState.FINAL
            assert "Your score is 80 / 100" in university.text()
            extensions.write_text(HEADER + "ann,t,2026-09-18 12:00\n")
            until(lambda: "in time for your extended deadline" in university.text())
            assert "Your score is" not in university.text()
    finally:
        processes.end()


def test_a_running_service_takes_a_new_deadline_for_everybody(folder):
    university = University(folder, assignment='zone = "UTC"\ncloses = "2026-09-15 23:59"\n')
    processes = Processes(university)
    config = university.config_file
    try:
        with university.parts() as parts:
            processes.start("--listen", "127.0.0.1:0", before=OFTEN + NO_LOOKS)
            late = parts.intake.receive(university.push(), LATE).job.id
            assert settled(parts, late) is JobState.FINAL
            assert parts.ledger.job(late).reason == "not graded: late"
            config.write_text(config.read_text().replace("2026-09-15", "2026-09-20"))
            until(lambda: "in time for the deadline, Sun 20 Sep 2026" in university.text())
            assert university.score() == 100
            config.write_text(config.read_text().replace("2026-09-20", "2026-09-25"))  # in time all the same
            until(lambda: "in time for the deadline, Fri 25 Sep 2026" in university.text())
            config.write_text(config.read_text().replace("2026-09-25", '2026-09-30"'))
            until(lambda: "the configuration of before holds" in str(university.log()))
            again = parts.intake.receive(university.push(HALF), LATE).job.id
            assert settled(parts, again) is JobState.FINAL
            assert university.score() == 40
    finally:
        processes.end()
