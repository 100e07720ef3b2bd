"""Commit statuses: what a git host shows beside a commit, whatever happens to the job, the host, or the order."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autograder.config import load
from autograder.course.course import Course
from autograder.ledger import AdjustmentKind, JobState
from autograder.service.jobs.statuses import Statuses
from tests.support.apihost import Answer, ApiHost, Repository, serving
from tests.support.course import CourseFolder
from tests.support.desk import Desk as ServiceDesk
from tests.support.ledgers import commit, report, repository
from tests.support.university import BROKEN, University

SETTINGS = """
[assignments.a0]
suite = "hidden/t"
repositories = ["dls/a0-*"]
{assignment}

[hosts."git.uni.example"]
kind = "{kind}"
base = "https://git.uni.example"
api = "{api}"
token_file = "token"

[feedback]
{feedback}
"""


class Desk:
    """A ledger, a host with an API, and what is sent from one to the other."""

    def __init__(self, folder, site, semester, *, assignment="", feedback=""):
        self.semester, self.site = semester, site
        settings = SETTINGS.format(kind=site.kind, api=site.base, assignment=assignment, feedback=feedback)
        course = CourseFolder(folder / "course", settings=settings)
        course.write("token", "t0ken\n")
        (folder / "host").mkdir(exist_ok=True)
        site.repositories["dls/a0-ann"] = Repository(folder / "host" / "a0-ann.git", True)
        self.course = Course.of(load(course.config_file))
        self.statuses = Statuses(semester.ledger, self.course)

    def show(self, word, student="ann"):
        """Send the status of a commit; return all that the host has for it."""
        self.look(word, student)
        self.statuses.close(20)
        self.statuses = Statuses(self.semester.ledger, self.course)
        return self.all(word)

    def look(self, word, student="ann"):

        self.statuses.look(repository(student), commit(word))

    def all(self, word):
        found = [each for each in self.site["dls/a0-ann"].statuses if each["commit"] == commit(word)]
        return [(each["state"], each["description"]) for each in found]

    def last(self, word):
        return self.show(word)[-1]


@pytest.fixture(params=["github", "gitea", "gitlab"])
def kind(request):
    return request.param


@pytest.fixture
def desk(tmp_path, kind, semester):
    with serving(ApiHost(kind, tmp_path)) as site:
        yield Desk(tmp_path, site, semester)


@pytest.fixture
def gitea(tmp_path, semester):
    """A function that makes a desk with further settings."""
    with serving(ApiHost("gitea", tmp_path)) as site:
        yield lambda **settings: Desk(tmp_path, site, semester, **settings)


def eventually(true):
    """Wait until something is true."""
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_from_pending_to_points(desk, kind):
    desk.semester.push("one")
    job = desk.semester.open("one")
    assert desk.last("one") == ("pending", "Waiting to be graded.")
    desk.semester.ledger.move(job.id, JobState.RUNNING, worker="host:0")

    desk.semester.ledger.add_report(job.id, report(85))
    desk.semester.ledger.move(job.id, JobState.FINAL, reason="graded")
    assert desk.last("one") == ("success", "85 / 100")
    page = {"github": "/blob/", "gitea": "/src/branch/", "gitlab": "/-/blob/"}[kind]
    assert desk.site["dls/a0-ann"].statuses[-1]["target_url"] == (
        f"https://git.uni.example/dls/a0-ann{page}score-feedback/score.md"
    )


def test_a_fault_is_said_to_be_ours(desk, kind):
    desk.semester.push("one")
    job = desk.semester.run("one")
    desk.semester.ledger.move(job.id, JobState.FAILED, reason="the disk is full")
    assert desk.last("one") == ("pending", "A fault of the grader, not of your code. It will try again.")
    desk.semester.ledger.move(job.id, JobState.RUNNING, worker="host:1")
    desk.semester.ledger.move(job.id, JobState.DEAD, reason="the disk is full")
    state, text = desk.last("one")
    assert state == ("failed" if kind == "gitlab" else "error")
    assert text == "A fault of the grader, not of your code. The course staff will see to it."
    assert "target_url" not in desk.site["dls/a0-ann"].statuses[-1]


def test_a_push_that_is_passed_over(desk, kind):
    desk.semester.push("one")
    job = desk.semester.open("one")
    desk.semester.ledger.move(job.id, JobState.SUPERSEDED, reason="a newer push")
    state = {"github": "success", "gitea": "warning", "gitlab": "canceled"}[kind]
    assert desk.last("one") == (state, "A newer push is graded instead.")


def test_a_late_push(desk, kind):
    desk.semester.push("one")
    job = desk.semester.run("one")
    desk.semester.ledger.move(job.id, JobState.FINAL, reason="not graded: late")
    state = "failed" if kind == "gitlab" else "failure"
    assert desk.last("one") == (state, "Not graded: it came after the deadline.")


def test_our_own_commit_has_none(gitea):
    desk = gitea()
    desk.semester.ledger.add_own_commit(commit("one"), "starter of a0")
    desk.semester.push("one")
    desk.semester.open("one")
    assert desk.show("one") == []


def test_what_staff_adjusted_is_shown(gitea):
    desk = gitea()
    desk.semester.push("one")
    desk.semester.grade("one", 85)

    desk.semester.ledger.add_adjustment(
        repository(), "a0", AdjustmentKind.POINTS, points=5, who="tutor", why="a good idea"
    )
    assert desk.last("one") == ("success", "90 / 100. The course staff added 5 points: a good idea.")


def test_the_language_of_the_course(gitea):
    desk = gitea(feedback='language = "zh-CN"')
    desk.semester.push("one")
    desk.semester.open("one")
    assert desk.last("one") == ("pending", "等待评分。")
    both = gitea(feedback='language = "both"')
    assert both.last("one") == ("pending", "Waiting to be graded. 等待评分。")


def test_a_status_is_sent_once(gitea):
    desk = gitea()
    desk.semester.push("one")
    desk.semester.grade("one", 85)
    for _ in range(5):
        desk.look("one")
    assert desk.show("one") == [("success", "85 / 100")]


def test_the_ledger_decides_however_late_a_status_is(gitea):
    desk = gitea()
    desk.semester.push("one")
    job = desk.semester.run("one")
    waits, go_on = threading.Event(), threading.Event()
    respond = desk.site.respond

    def slowly(*call):
        if not waits.is_set():
            waits.set()
            assert go_on.wait(60)
        return respond(*call)

    desk.site.respond = slowly
    desk.look("one")
    assert waits.wait(60)  # the pending status is on its way, and the job ends meanwhile

    desk.semester.ledger.add_report(job.id, report(85))
    desk.semester.ledger.move(job.id, JobState.FINAL, reason="graded")
    go_on.set()
    eventually(lambda: desk.all("one") == [("pending", "Waiting to be graded."), ("success", "85 / 100")])
    desk.statuses.close(20)


def test_a_host_that_fails_is_asked_again(gitea, monkeypatch):
    monkeypatch.setattr("autograder.service.jobs.statuses.WAITS", (0.01,) * 5)
    desk = gitea()
    desk.semester.push("one")
    desk.semester.grade("one", 85)
    desk.site.answers = [Answer(502), Answer(429, {}, {"Retry-After": "0"}), Answer(503)]
    desk.look("one")
    eventually(lambda: desk.all("one") == [("success", "85 / 100")])
    desk.statuses.close(20)


def test_a_host_that_refuses_is_left_alone(gitea, caplog):
    desk = gitea()
    desk.site.token = "another"
    for word in ("one", "two", "three"):
        desk.semester.push(word)
        desk.semester.grade(word, 85)
        desk.look(word)
    desk.statuses.close(20)
    assert len(desk.site.requests) == 1
    assert len([line for line in caplog.records if "refuses the status" in line.message]) == 1


def test_no_host_is_asked_without_a_token(gitea):
    desk = gitea()
    desk.semester.push("one")
    desk.semester.grade("one", 85)
    text = desk.course.config.file
    Path(text).write_text(Path(text).read_text().replace('token_file = "token"', ""))
    desk.course = Course.of(load(Path(text)))
    desk.statuses = Statuses(desk.semester.ledger, desk.course)
    assert desk.show("one") == []
    assert desk.site.requests == []


def test_no_host_is_asked_if_the_course_wants_no_statuses(gitea):
    desk = gitea(feedback="commit_status = false")
    desk.semester.push("one")
    desk.semester.grade("one", 85)
    assert desk.show("one") == []
    assert desk.site.requests == []


def test_a_host_without_an_answer_blocks_nothing(gitea, monkeypatch):
    monkeypatch.setattr("autograder.service.jobs.statuses.WAITS", (60.0,))
    desk = gitea()
    desk.semester.push("one")
    desk.semester.grade("one", 85)
    desk.site.respond = lambda *_: (_ for _ in ()).throw(Answer(500))
    desk.look("one")
    desk.statuses.close(0.01)
    desk.statuses.look_at_all(desk.course.target(desk.semester.ledger.repositories()[0], "main"))


class Recorder:
    """Takes the place of Statuses, and notes what it is asked to look at, and in which state the job is then."""

    def __init__(self, ledger):
        self.ledger, self.seen = ledger, []

    def look(self, repository, commit):
        (job,) = [job for job in self.ledger.jobs(repository=repository) if job.commit == commit]
        self.seen.append((commit, job.state))

    def look_at_all(self, target):
        self.seen.append(target.repository.name)


def test_every_step_of_a_job_is_told(folder):
    university = University(folder)
    with university.parts() as parts:
        recorder = Recorder(parts.ledger)
        desk = ServiceDesk(university, parts, folder / "work")
        desk.intake = replace(parts.intake, statuses=recorder)
        desk.pipeline.intake, desk.pipeline.statuses = desk.intake, recorder
        first = desk.push()
        second = desk.push(BROKEN)
        desk.run(second)
        one, two = parts.ledger.job(first).commit, parts.ledger.job(second).commit
        assert recorder.seen == [
            (one, JobState.QUEUED),
            (one, JobState.SUPERSEDED),
            (two, JobState.QUEUED),
            (two, JobState.RUNNING),
            (two, JobState.FINAL),
        ]
