"""What tests put into a ledger: a clock, reports, and a semester in a few calls."""

import hashlib
from datetime import datetime, timedelta, timezone

from autograder.ledger import Cutoffs, JobState, RepositoryName, ScorePolicy
from autograder.ledger.maintenance import check_database
from autograder.ledger.scores import current
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
    """Return a report with three cases and `points` points."""
    cases = [
        CaseResult("Task0 - Case1", Verdict.PASSED, points, points, seconds=0.0123, peak_bytes=2**40),
        CaseResult("Task0 - Case2", Verdict.WRONG, 0, of - points, "values differ: ‘1’ ≠ \u202e2", 1.5, 1.25),
        CaseResult("Task0 - Case3", Verdict.TIMEOUT, 0, 0, "", 10.0, 9.9),
    ]
    return Report(
        assignment, tuple(cases), {"commit": None, "versions": {"numpy": "2.0"}, "x": 0.1, **provenance}
    )


def current_scores(ledger, assignment, policy, cutoffs, **values):
    """Return the scores that follow from the ledger, without late days and adjustments."""
    return current(ledger.candidates(assignment, **values), assignment, policy, cutoffs)


def problems(ledger):
    """Return what is wrong in an open ledger."""
    return [f"{item.name}: {item.detail}" for item in check_database(ledger.database) if not item.ok]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now

    def after(self, **delta):
        self.now += timedelta(**delta)
        return self.now


class Semester:
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
        scores = current_scores(self.ledger, assignment, policy, cutoffs, **values)
        return {score.repository.name.removeprefix("a0-"): score.points for score in scores}
