"""What staff do to jobs: which commits are graded again, what a preview shows, and that every change is recorded."""

import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.cli.jobs import _line
from autograder.config import load
from autograder.course.course import Course
from autograder.course.gradebook import gradebook
from autograder.errors import GraderError, SubmissionError
from autograder.grading.grader import Graded
from autograder.ledger import AdjustmentKind, JobState, Ledger, RepositoryName
from autograder.service import staff as acts
from autograder.service.intake.intake import Intake
from autograder.service.staff import Staff, StaffError, find
from autograder.verdict import Verdict
from tests.support.githost import SRC, Bare
from tests.support.ledgers import NOON, Clock, commit, current_scores, report

SETTINGS = """\
[hosts.files]
kind = "folder"
base = "git"

[assignments.a0]
suite = "hidden/a0"
repositories = ["cs/a0-*"]
zone = "UTC"
closes = "2026-09-10 13:00"
extensions_file = "extensions.csv"

[assignments.a1]
suite = "hidden/a1"
repositories = ["cs/a1-*"]
policy = "best"
"""
MAIN = "refs/heads/main"
NEVER = "0" * 40


class Queue:
    """Records its calls."""

    def __init__(self):
        self.waiting, self.cancelled, self.broken = [], [], False

    def enqueue(self, job, *_, **__):
        self.waiting.append(job.id)
        return True

    def cancel(self, job_id):
        if self.broken:
            raise GraderError("the queue cannot be reached")
        self.cancelled.append(job_id)


class Graders:
    """Gives every commit the same points, and records the files that it got."""

    def __init__(self, **points):
        self.points, self.seen = points, []

    def grade(self, assignment, folder, _commit, _draws):
        self.seen.append({path.name: path.read_bytes() for path in (folder / "src").iterdir()})
        return report(self.points["points"], assignment=assignment)

    def refused(self, assignment, _error, _commit):
        return report(0, assignment=assignment)

    def grade_many(self, assignment, submissions, *, jobs, draws):  # noqa: ARG002 (one at a time)
        for path, sha in submissions:
            yield Graded(path, self.grade(assignment, path, sha, draws(path)), None)


class World:
    """A course with one folder as its host; tests decide how the jobs of its pushes end."""

    def __init__(self, folder):
        (folder / "autograder.toml").write_text(SETTINGS)
        (folder / "extensions.csv").write_text("student,assignment,closes\n")
        self.folder, self.clock, self.queue = folder, Clock(), Queue()
        self.ledger = Ledger.open(f"sqlite:///{folder}/.autograder/ledger.sqlite", clock=self.clock)
        self.course = Course.of(load(folder / "autograder.toml"))
        self.staff = Staff(
            self.ledger, self.course, Intake(self.ledger, self.course, self.queue, clock=self.clock), "tutor"
        )

    def name(self, student, assignment="a0"):
        return RepositoryName("files", "cs", f"{assignment}-{student}")

    def push(self, word, student="ann", assignment="a0", **values):
        """Push the commit for a word, or a full id; return its job."""
        self.clock.after(minutes=1)
        name, sha = self.name(student, assignment), word if len(word) == 40 else commit(word)
        self.ledger.record_push(name, commit=sha, ref=MAIN, before=NEVER, **values)
        return self.ledger.open_job(name, sha, assignment).row

    def grade(self, word, points, student="ann", assignment="a0"):
        return self.finish(self.push(word, student, assignment), points)

    def finish(self, job, points):
        self.ledger.move(job.id, JobState.RUNNING)
        self.ledger.add_report(job.id, report(points, assignment=job.assignment))
        return self.ledger.move(job.id, JobState.FINAL)

    def die(self, job):
        self.ledger.move(job.id, JobState.RUNNING)
        return self.ledger.move(job.id, JobState.DEAD, reason="disk full")

    def chosen(self, assignment="a0", **values):
        return [
            (choice.target.student, choice.commit[:10], choice.obstacle)
            for choice in self.staff.choices(assignment, **values)
        ]

    def points(self, assignment="a0"):
        scores = current_scores(
            self.ledger,
            assignment,
            self.course.policy(assignment),
            self.course.cutoffs(assignment, self.ledger.repositories()),
        )
        return {score.repository.name: score.points for score in scores}


@pytest.fixture
def world(folder):
    world = World(folder)
    yield world
    world.ledger.close()


def short(word):
    return commit(word)[:10]


# one job -------------------------------------------------------------------------------------------------


def test_a_dead_job_is_tried_again_and_it_is_recorded_who_did_it_and_why(world):
    job = world.die(world.push("one"))
    assert world.staff.retry(job, "there is room again").state is JobState.QUEUED
    assert world.queue.waiting == [job.id]
    (line,) = world.ledger.audit_lines()
    assert (line.who, line.what, line.why, line.subject) == (
        "tutor",
        "jobs retry",
        "there is room again",
        job.id,
    )
    assert line.details == {"state": "dead", "reason": "disk full"}


def test_a_failed_job_need_not_wait(world):
    job = world.push("one")
    world.ledger.move(job.id, JobState.RUNNING)
    job = world.ledger.move(job.id, JobState.FAILED, reason="network")
    assert world.staff.retry(job, "it is back").state is JobState.QUEUED


@pytest.mark.parametrize("state", ["queued", "running", "final", "superseded"])
def test_any_other_job_is_not_tried_again(world, state):
    job = world.push("one")
    if state in ("running", "superseded"):
        job = world.ledger.move(job.id, JobState(state))
    if state == "final":
        job = world.finish(job, 100)
    with pytest.raises(StaffError, match="autograder regrade" if state == "final" else f"is {state}"):
        world.staff.retry(job, "why not")
    assert world.ledger.audit_lines() == []


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_that_waits_or_runs_can_be_cancelled(world, state):
    job = world.push("one")
    if state == "running":
        world.ledger.move(job.id, JobState.RUNNING)
    job = world.staff.cancel(world.ledger.job(job.id), "a fork bomb")
    assert (job.state, job.reason) == (JobState.DEAD, "cancelled by tutor: a fork bomb")
    assert world.queue.cancelled == [job.id]
    assert world.ledger.audit_lines()[0].what == "jobs cancel"
    with pytest.raises(StaffError, match="is dead already"):
        world.staff.cancel(job, "again")


def test_a_cancelled_job_stays_cancelled_when_the_queue_cannot_be_reached(world):
    world.queue.broken = True
    job = world.staff.cancel(world.push("one"), "a fork bomb")
    assert world.ledger.job(job.id).state is JobState.DEAD


def test_an_act_without_a_reason_is_refused_and_not_done(world):
    job = world.push("one")
    with pytest.raises(GraderError, match="who did what, and why"):
        world.staff.cancel(job, " ")
    assert world.ledger.job(job.id).state is JobState.QUEUED


def test_a_job_is_found_by_a_part_of_its_id(world):
    job = world.push("one")
    world.push("two")
    assert find(world.ledger, short("one")).id == job.id
    assert find(world.ledger, job.id) == job
    with pytest.raises(StaffError, match="2 jobs have 'a0-ann'"):
        find(world.ledger, "a0-ann")
    with pytest.raises(StaffError, match="no job has 'zzz'"):
        find(world.ledger, "zzz")


def test_an_id_that_is_the_beginning_of_another_is_found(world):
    job = world.grade("one", 60)
    (choice,) = world.staff.choices("a0")
    again = world.staff.regrade(choice, "x")
    assert find(world.ledger, job.id).id == job.id
    assert find(world.ledger, ":r2").id == again.id
    assert find(world.ledger, short("one")).id == again.id  # of several attempts, the last


def test_after_a_regrade_an_abbreviated_id_is_still_enough(world):
    """What a student or score.md names is a commit, and staff type its first digits."""
    world.grade("one", 60)
    world.grade("two", 40, student="bob")
    for choice in world.staff.choices("a0"):
        world.staff.regrade(choice, "x")
    name = ["--config", str(world.folder / "autograder.toml")]
    shown = CliRunner().invoke(main, ["jobs", "show", short("one"), *name])
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines()[0].endswith(f":{commit('one')}:a0:r2")
    with pytest.raises(StaffError, match="4 jobs have ':a0' in the id"):
        find(world.ledger, ":a0")


def test_the_end_of_a_long_reason_is_shown(world):
    job = world.push("one")
    world.ledger.move(job.id, JobState.RUNNING)
    reason = (
        "the suite cannot be collected:\n" + "a frame of the import system\n" * 40 + "SyntaxError: invalid"
    )
    world.ledger.move(job.id, JobState.DEAD, reason=reason)
    for command in (["status"], ["jobs", "list"]):
        shown = CliRunner().invoke(main, [*command, "--config", str(world.folder / "autograder.toml")])
        assert "the suite cannot be collected: a frame" in shown.output
        assert "SyntaxError: invalid" in shown.output


# which commits -------------------------------------------------------------------------------------------


def test_the_last_push_in_time_is_graded_again(world):
    world.grade("one", 60)
    world.grade("two", 80)
    world.grade("other", 80, student="bo")
    world.clock.now = NOON + timedelta(hours=2)
    world.grade("late", 100)
    assert world.chosen() == [("ann", short("two"), ""), ("bo", short("other"), "")]


def test_an_extension_makes_a_late_push_one_that_counts(world):
    world.grade("one", 60)
    world.clock.now = NOON + timedelta(hours=2)
    job = world.push("late")
    world.ledger.move(job.id, JobState.RUNNING)
    world.ledger.move(job.id, JobState.FINAL, reason="not graded: late")
    assert world.chosen() == [("ann", short("one"), "")]
    (world.folder / "extensions.csv").write_text("student,assignment,closes\nann,a0,2026-09-11 13:00\n")
    assert world.chosen() == [("ann", short("late"), "")]


def test_under_best_every_commit_can_count(world):
    for word, points in (("one", 60), ("two", 40)):
        world.grade(word, points, assignment="a1")
    assert world.chosen("a1") == [("ann", short("two"), ""), ("ann", short("one"), "")]


def test_a_superseded_commit_gives_way_to_the_one_before(world):
    world.grade("one", 60)
    world.ledger.move(world.push("two").id, JobState.SUPERSEDED)
    assert world.chosen() == [("ann", short("one"), "")]


def test_what_is_being_graded_or_dead_is_named_and_not_graded_again(world):
    world.push("one")
    world.die(world.push("two", student="bo"))
    (ann, bo) = world.staff.choices("a0")
    assert ann.obstacle == "is being graded"
    assert bo.obstacle.startswith("is dead (disk full); autograder jobs retry grade:files/cs/a0-bo:")
    with pytest.raises(StaffError, match="is being graded"):
        world.staff.regrade(ann, "why not")


def test_only_the_named_repositories(world):
    world.grade("one", 60)
    world.grade("other", 80, student="bo")
    assert world.chosen(repositories=[world.name("bo")]) == [("bo", short("other"), "")]
    with pytest.raises(StaffError, match="files/cs/a1-bo does not belong to a0"):
        world.chosen(repositories=[world.name("bo", "a1")])
    with pytest.raises(GraderError, match="no assignment 'a9'"):
        world.chosen("a9")


def test_a_regrade_is_a_further_attempt(world):
    first = world.grade("one", 60)
    (choice,) = world.staff.choices("a0")
    job = world.staff.regrade(choice, "case 2 was wrong")
    assert (job.id, job.attempt, job.may_lower) == (f"{first.id}:r2", 2, False)
    assert world.queue.waiting == [job.id]
    (line,) = world.ledger.audit_lines()
    assert (line.what, line.subject, line.details) == ("regrade", job.id, {"allow_lower": False})
    world.finish(job, 80)
    assert world.points() == {"a0-ann": 80}
    (choice,) = world.staff.choices("a0")
    assert world.staff.regrade(choice, "once more").attempt == 3


def test_a_regrade_lowers_a_score_only_if_staff_allow_it(world):
    world.grade("one", 80)
    (choice,) = world.staff.choices("a0")
    world.finish(world.staff.regrade(choice, "a harder suite"), 60)
    assert world.points() == {"a0-ann": 80}
    (choice,) = world.staff.choices("a0")
    world.finish(world.staff.regrade(choice, "they cheated", allow_lower=True), 60)
    assert world.points() == {"a0-ann": 60}


# previews -----------------------------------------------------------------------------------


@pytest.fixture
def pushed(world):
    """A graded commit that can be fetched."""
    head = Bare(world.folder / "git" / "cs" / "a0-ann.git").commit(SRC)
    world.grade(head, 60)
    return head


def case(old, name, verdict):
    return replace(old, name=name, verdict=Verdict(verdict))


def previews(world, graders, **values):
    return list(world.staff.preview(world.staff.choices("a0"), graders, **values))


def test_a_preview_says_whose_score_would_change_and_how(world, pushed):
    graders = Graders(points=80)
    (preview,) = previews(world, graders)
    assert (preview.before.points, preview.after.points, preview.changes) == (60, 80, True)
    assert graders.seen == [{"__init__.py": b"", "linear.py": b"x = 1\n"}]


def test_a_preview_records_nothing(world, pushed):
    before = world.ledger.history(world.name("ann"))
    previews(world, Graders(points=80))
    assert world.ledger.history(world.name("ann")) == before
    assert world.queue.waiting == []
    assert world.ledger.audit_lines() == []


@pytest.mark.parametrize(("allow_lower", "after"), [(False, 60), (True, 40)])
def test_a_preview_says_that_a_score_is_not_lowered(world, pushed, allow_lower, after):
    (preview,) = previews(world, Graders(points=40), allow_lower=allow_lower)
    assert (preview.after.points, preview.best) == (after, 40)
    assert preview.changes is allow_lower


def test_a_preview_names_the_cases_that_change(world, pushed, monkeypatch):
    fresh = report(80)
    cases = (
        *fresh.cases[:1],
        case(fresh.cases[1], "Task0 - Case2", "passed"),
        case(fresh.cases[2], "new", "wrong"),
    )
    graders = Graders(points=80)
    monkeypatch.setattr(graders, "grade", lambda *_: type(fresh)("a0", cases, {}))
    (preview,) = previews(world, graders)
    assert preview.changed == (
        ("Task0 - Case2", "wrong", "passed"),
        ("new", "-", "wrong"),
        ("Task0 - Case3", "timeout", "-"),
    )


def test_a_preview_has_what_counts_and_whose_work_it_is(world, pushed):
    text = (world.folder / "autograder.toml").read_text()
    (world.folder / "autograder.toml").write_text(f'[course]\nroster = "roster.csv"\n{text}')
    (world.folder / "roster.csv").write_text("id,name,login\n1,王小明,ann\n")
    world.ledger.add_adjustment(world.name("ann"), "a0", AdjustmentKind.POINTS, points=5, who="x", why="y")
    course = Course.of(load(world.folder / "autograder.toml"))
    staff = replace(world.staff, course=course)
    (preview,) = staff.preview(staff.choices("a0"), Graders(points=80))
    assert (preview.before.points, preview.after.points) == (65, 85)
    assert _line(preview).startswith(
        "* files/cs/a0-ann (王小明)  65 → 85 of 100; grading gives 80, then lateness"
    )
    entry = gradebook(world.ledger, course, datetime.now(timezone.utc)).rows[0].entries["a0"]
    assert entry == preview.before


def test_a_refused_submission_is_previewed_too(world, monkeypatch, pushed):
    def refuse(*_, **__):
        raise SubmissionError("a link in src")

    monkeypatch.setattr(acts, "fetch_commit", refuse)
    (preview,) = previews(world, Graders())
    assert preview.best == 0
    assert preview.after.points == 60


def test_what_cannot_be_fetched_keeps_its_score_and_is_named(world, pushed):
    world.grade("gone", 20, student="bo")
    ann, bo = previews(world, Graders(points=80))
    assert ann.obstacles == ()
    assert bo.best is None
    assert not bo.changes
    assert short("gone") in bo.obstacles[0]


def test_a_preview_grades_several_at_a_time_and_keeps_the_order(world):
    students = ("ann", "bo", "cy", "dan", "eve")
    for student in students:
        path = world.folder / "git" / "cs" / f"a0-{student}.git"
        world.grade(Bare(path).commit({**SRC, "NAME": student.encode()}), 60, student=student)
    at_a_time = []

    class Several(Graders):
        def grade_many(self, assignment, submissions, *, jobs, draws):  # noqa: ARG002
            while running := list(itertools.islice(submissions, jobs)):
                at_a_time.append(sum((path / "src").is_dir() for path, _ in running))
                for path, _ in reversed(running):
                    yield Graded(path, report(80, assignment=assignment), None)

    found = previews(world, Several(), jobs=2)
    assert [preview.repository.name for preview in found] == [f"a0-{student}" for student in students]
    assert at_a_time == [2, 2, 1]
    assert [preview.after.points for preview in found] == [80] * 5


# the commands --------------------------------------------------------------------------------------------


def autograder(world, *arguments):
    return CliRunner().invoke(main, [*map(str, arguments), "--config", str(world.folder / "autograder.toml")])


def test_the_list_shows_what_is_open_and_all_when_asked(world):
    done, waiting = world.grade("one", 60), world.push("two", student="bo")
    dead = world.die(world.push("three", student="cy"))
    result = autograder(world, "jobs", "list")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.output.splitlines()] == ["queued", "dead"]
    assert result.output.splitlines()[1].endswith(f"{dead.id}: disk full")
    assert done.id in autograder(world, "jobs", "list", "--all").output
    result = autograder(world, "jobs", "list", "--all", "--repo", "files/cs/a0-bo")
    assert result.output.count("grade:") == 1
    assert waiting.id in result.output


def test_the_list_is_narrowed_to_states_that_the_ledger_knows(world):
    done, dead = world.grade("one", 60), world.die(world.push("two", student="bo"))
    world.push("three", student="cy")
    result = autograder(world, "jobs", "list", "--state", "dead", "--state", "final")
    assert [line.split()[0] for line in result.output.splitlines()] == ["final", "dead"]
    assert done.id in result.output
    assert dead.id in result.output
    result = autograder(world, "jobs", "list", "--state", "gone")
    assert result.exit_code == 2
    for state in JobState:
        assert state.value in result.output
        assert state.value in autograder(world, "jobs", "list", "--help").output


def test_the_list_in_json_has_the_points(world):
    world.grade("one", 60)
    world.push("two", student="bo")
    rows = json.loads(autograder(world, "jobs", "list", "--all", "--json").stdout)
    assert [(row["state"], row["points"], row["max_points"]) for row in rows] == [
        ("final", 60, 100),
        ("queued", None, None),
    ]


def test_a_job_is_shown_with_its_life(world):
    job = world.grade("one", 60)
    world.ledger.add_feedback(job.id, commit=commit("feedback"), branch="score-feedback")
    result = autograder(world, "jobs", "show", short("one"))
    assert result.exit_code == 0, result.output
    for part in (
        job.id,
        "running",
        "report: 60 / 100",
        "Task0 - Case2: wrong",
        f"feedback: {commit('feedback')}",
    ):
        assert part in result.output
    result = autograder(world, "jobs", "show", "--json", short("one"))
    assert '"state": "final"' in result.output


def test_acts_on_the_command_line_reach_the_ledger_and_the_queue(world):
    dead = world.die(world.push("one"))
    done = world.grade("two", 60, student="bo")
    result = autograder(world, "jobs", "retry", short("one"), "--why", "there is room", "--who", "tutor")
    assert result.exit_code == 0, result.output
    assert world.ledger.job(dead.id).state is JobState.QUEUED
    result = autograder(world, "jobs", "cancel", short("one"), "--why", "no", "--who", "tutor")
    assert result.exit_code == 0, result.output
    assert world.ledger.job(dead.id).state is JobState.DEAD
    result = autograder(world, "jobs", "retry", "--dead", "--why", "yes", "--who", "tutor")
    assert result.output == f"queued     {dead.id}\n"
    result = autograder(world, "jobs", "retry", "--dead", "--why", "yes", "--who", "tutor")
    assert result.output == "no jobs are dead\n"
    result = autograder(world, "regrade", "-a", "a0", "--why", "suite", "--who", "tutor")
    assert result.exit_code == 0, result.output
    assert world.ledger.job(f"{done.id}:r2").state is JobState.QUEUED
    assert "files/cs/a0-ann  not graded again: it is being graded" in result.output
    assert len(world.ledger.audit_lines()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["jobs", "retry", "--why", "x"], "name jobs, or give --dead"),
        (["jobs", "cancel", "x"], "Missing option '--why'"),
        (["regrade", "-a", "a0"], "give --why, or --dry-run"),
    ],
)
def test_what_is_missing_is_asked_for(world, arguments, message):
    result = autograder(world, *arguments)
    assert result.exit_code == 2
    assert message in result.output
