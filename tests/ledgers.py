"""What tests put into a ledger: a clock, reports, and a course in a few calls."""

import dataclasses
import hashlib
from datetime import datetime, timedelta, timezone
from enum import Enum

from autograder.ledger import Cutoffs, JobState, RepositoryName, ScorePolicy, workers
from autograder.ledger.maintenance import check_database
from autograder.report import Report
from autograder.verdict import CaseResult, Verdict

MAIN = "refs/heads/main"
NOON = datetime(2026, 9, 10, 12, tzinfo=timezone.utc)
FOREVER = Cutoffs()


def repository(student="ann"):
    return RepositoryName("git.uni.example", "dls", f"a0-{student}")


def commit(text):
    """Return a commit id for a word."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def report(points=100, of=100, assignment="a0", **provenance):
    """Return a report with three cases that come to `points`."""
    cases = [
        CaseResult("Task0 - Case1", Verdict.PASSED, points, points, seconds=0.0123, peak_bytes=2**40),
        CaseResult("Task0 - Case2", Verdict.WRONG, 0, of - points, "values differ: ‘1’ ≠ \u202e2", 1.5, 1.25),
        CaseResult("Task0 - Case3", Verdict.TIMEOUT, 0, 0, "", 10.0, 9.9),
    ]
    return Report(
        assignment, tuple(cases), {"commit": None, "versions": {"numpy": "2.0"}, "x": 0.1, **provenance}
    )


def problems(ledger):
    """Return what is wrong in an open ledger."""
    return [f"{item.name}: {item.detail}" for item in check_database(ledger.database) if not item.ok]


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def after(self, **delta):
        self.now += timedelta(**delta)
        return self.now


class Course:
    """Students and a grader; each act takes a minute."""

    def __init__(self, ledger, clock):
        self.ledger, self.clock = ledger, clock
        self.head = {}

    def push(self, word, student="ann", **values):
        """Push the commit for `word`."""
        self.clock.after(minutes=1)
        values = {"before": self.head.get(student, "0" * 40), "ref": MAIN, "sender": student} | values
        self.head[student] = commit(word)
        return self.ledger.record_push(repository(student), commit=commit(word), **values)

    def open(self, word, student="ann", assignment="a0", **values):
        return self.ledger.open_job(repository(student), commit(word), assignment, **values).row

    def run(self, word, student="ann", assignment="a0", **values):
        """Open a job and start it."""
        job = self.open(word, student, assignment, **values)
        self.clock.after(minutes=1)
        return self.ledger.move(job.id, JobState.RUNNING, worker="host:1")

    def grade(self, word, points=100, student="ann", assignment="a0", **values):
        """Run a job to its end with a report."""
        job = self.run(word, student, assignment, **values)
        self.ledger.add_report(job.id, report(points, assignment=assignment))
        self.ledger.add_feedback(job.id, commit=commit(job.id), branch="score-feedback")
        return self.ledger.move(job.id, JobState.FINAL)

    def points(self, policy=ScorePolicy.LAST, cutoffs=FOREVER, assignment="a0", **values):
        """Return the current points by student."""
        scores = self.ledger.current_scores(assignment, policy, cutoffs, **values)
        return {score.repository.name.removeprefix("a0-"): score.points for score in scores}


def fill(course):
    """Put rows into every table: jobs in every state, regrades, a push without a job, odd characters."""
    ledger = course.ledger
    course.push("one", delivery_id="d-1", payload_digest="ab" * 32)
    course.grade("one", 70)
    course.grade("one", 60, attempt=2)
    course.grade("one", 50, attempt=3, may_lower=True)
    course.push("two", delivery_id="d-2", before="")
    ledger.move(course.run("two").id, JobState.FAILED, reason="git host: 502")
    course.push("three", sender="ünï\u202e\0")
    ledger.move(course.open("three").id, JobState.SUPERSEDED, reason="a newer push")
    course.push("four")
    course.open("four")
    course.push("one", "bob", received=NOON)
    course.grade("one", 100, "bob", "a1")
    ledger.move(course.run("one", "bob").id, JobState.DEAD, reason="3 tries")
    course.push("two", "bob", ref="refs/heads/try")
    course.push("one", "eve")
    course.run("one", "eve")
    ledger.move(course.run("one", "eve", "a1").id, JobState.FINAL, reason="late")
    ledger.audit("okafor", "regrade", why="case 3 was wrong", subject="a0", details={"lower": [True, 1.5]})
    workers.start(ledger.database, "host:0", origin="here", queues=["cpu"], version="1", now=course.clock.now)
    workers.beat(ledger.database, "host:0", now=course.clock.after(seconds=5))


def everything(ledger):
    """Return what each reader of a ledger returns, as plain JSON data."""
    repositories, jobs, assignments = ledger.repositories(), ledger.jobs(), ("a0", "a1")
    return plain(
        {
            "repositories": repositories,
            "pushes": {name: ledger.pushes(name) for name in repositories},
            "unsettled": ledger.unanswered(),
            "jobs": jobs,
            "counts": ledger.count_jobs(),
            "tries": {job.id: ledger.recent_tries(job.id) for job in jobs},
            "reports": {job.id: ledger.report(job.id) for job in jobs},
            "results": ledger.results(limit=100),
            "histories": {name: ledger.history(name) for name in repositories},
            "scores": {
                f"{assignment} {policy.value} {minutes}": ledger.current_scores(
                    assignment, policy, Cutoffs(NOON + timedelta(minutes=minutes))
                )
                for assignment in assignments
                for policy in ScorePolicy
                for minutes in (0, 3, 60)
            },
            "candidates": {
                assignment: sorted(ledger.candidates(assignment), key=lambda c: (c.push_id, c.attempt))
                for assignment in assignments
            },
            "audit": ledger.audit_lines(),
            "workers": workers.workers(ledger.database),
        }
    )


def plain(value):
    """Return a value that readers return as plain JSON data."""
    if isinstance(value, Report):
        return value.to_json()
    if isinstance(value, RepositoryName):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
