"""The ledger under any sequence of calls: it agrees with a model of a few lines, and its own check passes."""

import atexit
import contextlib
import functools
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autograder.ledger import (
    TRANSITIONS,
    AdjustmentKind,
    Conflict,
    Cutoffs,
    IllegalTransition,
    JobState,
    Ledger,
    ScorePolicy,
    Source,
    Unknown,
    job_id,
    scores,
)
from autograder.ledger.adjustments import in_force
from autograder.ledger.scores import Candidate
from tests.support import postgres
from tests.support.ledgers import MAIN, NOON, Clock, commit, current_scores, problems, report, repository

STUDENTS = st.sampled_from(["ann", "bob"])
WORDS = st.sampled_from(["one", "two", "three"])
ATTEMPTS = st.integers(1, 3)


@functools.cache
def empty_ledger():
    """Return a file with an empty ledger, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    atexit.register(shutil.rmtree, folder)
    Ledger.open(f"sqlite:///{folder / 'empty.sqlite'}").close()
    return folder / "empty.sqlite"


class LedgerMachine(RuleBasedStateMachine):
    """Students, workers, staff and a forgetful network, in any order."""

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-", dir=postgres.in_memory(50 * 2**20)))
        self.clock = Clock()
        shutil.copy(empty_ledger(), self.folder / "ledger.sqlite")
        self.ledger = Ledger.open(f"sqlite:///{self.folder / 'ledger.sqlite'}", clock=self.clock)
        self.pushes = {}  # (student, word, before, position) -> received, in order
        self.deliveries = {}  # delivery id -> (student, word)
        self.jobs = {}  # id -> [student, word, attempt, may_lower, state, points or None]

    def teardown(self):
        if hasattr(self, "ledger"):
            assert problems(self.ledger) == []
            self.ledger.close()
            shutil.rmtree(self.folder)

    @rule(
        student=STUDENTS,
        word=WORDS,
        before=st.sampled_from(["", "zero", "one", "two"]),
        number=st.integers(0, 5),
    )
    def push(self, student, word, before, number):
        now = self.clock.after(minutes=1)
        delivery = f"d{number}" if number else None
        call = {
            "commit": commit(word),
            "ref": MAIN,
            "before": before and commit(before),
            "delivery_id": delivery,
        }
        if self.deliveries.get(delivery, (student, word)) != (student, word):
            with pytest.raises(Conflict):
                self.ledger.record_push(repository(student), **call)
            return
        recorded = self.ledger.record_push(repository(student), **call)
        own = [key for key in self.pushes if key[0] == student]
        if delivery in self.deliveries or (own and own[-1][1:3] == (word, before)):
            assert not recorded.new
        if not any(key[:2] == (student, word) for key in own):
            assert recorded.new
        if recorded.new:
            self.pushes[student, word, before, recorded.row.position] = now
            self.pushes = dict(sorted(self.pushes.items(), key=lambda item: (item[0][0], item[0][3])))
            if delivery:
                self.deliveries[delivery] = (student, word)

    @rule(student=STUDENTS, word=WORDS, attempt=ATTEMPTS, may_lower=st.booleans())
    def open(self, student, word, attempt, may_lower):
        self.clock.after(minutes=1)
        name = job_id(repository(student), commit(word), "a0", attempt)
        earlier = [job for job in self.jobs.values() if job[:2] == [student, word]]
        expected = contextlib.nullcontext()
        if not any(key[:2] == (student, word) for key in self.pushes):
            expected = pytest.raises(Unknown)
        elif name in self.jobs:
            if self.jobs[name][3] != may_lower:
                expected = pytest.raises(Conflict)
        elif attempt != len(earlier) + 1:
            expected = pytest.raises(Conflict)
        else:
            self.jobs[name] = [student, word, attempt, may_lower, JobState.QUEUED, None]
        with expected:
            self.ledger.open_job(
                repository(student), commit(word), "a0", attempt=attempt, may_lower=may_lower
            )

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), state=st.sampled_from(JobState), reason=st.sampled_from(["", "why"]))
    def move(self, data, state, reason):
        self.clock.after(minutes=1)
        name = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[name]
        legal = state in TRANSITIONS[job[4]] or state is job[4]
        if state is not job[4]:
            legal &= not (state is JobState.FINAL and job[5] is None and not reason)
            legal &= not (state is JobState.SUPERSEDED and job[5] is not None)
        with contextlib.nullcontext() if legal else pytest.raises(IllegalTransition):
            assert self.ledger.move(name, state, reason=reason).state is state
            job[4] = state

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), points=st.integers(0, 100))
    def grade(self, data, points):
        name = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[name]
        legal = job[5] is not None or job[4] is JobState.RUNNING
        with contextlib.nullcontext() if legal else pytest.raises(IllegalTransition):
            stored = self.ledger.add_report(name, report(points))
            assert stored.new is (job[5] is None)
            job[5] = points if job[5] is None else job[5]
            assert stored.row.report.points == job[5]

    @rule(after=st.integers(0, 60), policy=st.sampled_from(ScorePolicy))
    def scores_are_those_of_the_model(self, after, policy):
        cutoff = NOON + timedelta(minutes=after)
        found = current_scores(self.ledger, "a0", policy, Cutoffs(cutoff))
        assert {s.repository: s.points for s in found} == self.expected(cutoff, policy)

    @rule(student=STUDENTS, points=st.integers(-5, 5))
    def adjust(self, student, points):
        self.clock.after(minutes=1)
        self.ledger.add_adjustment(
            repository(student), "a0", AdjustmentKind.POINTS, points=points, who="okafor", why="a test"
        )

    @rule(student=STUDENTS, number=st.integers(1, 4))
    def undo(self, student, number):
        before = in_force(self.ledger.adjustments())
        try:
            self.ledger.add_adjustment(
                repository(student), "a0", AdjustmentKind.UNDO, undoes=number, who="okafor", why="a test"
            )
        except (Conflict, Unknown):
            assert in_force(self.ledger.adjustments()) == before
        else:
            assert in_force(self.ledger.adjustments()) == tuple(each for each in before if each.id != number)

    def expected(self, cutoff, policy):
        """Return the points by repository, computed in the plainest way."""
        points = {}
        for student in ("ann", "bob"):
            counted = []
            for (owner, word, _, _), received in self.pushes.items():
                if owner != student or received > cutoff:
                    continue
                value = None
                for job in sorted(
                    (j for j in self.jobs.values() if j[:2] == [student, word]), key=lambda j: j[2]
                ):
                    if job[4] is JobState.FINAL and job[5] is not None:
                        value = job[5] if value is None or job[3] else max(value, job[5])
                if value is not None:
                    counted.append(value)
            if counted:
                points[repository(student)] = max(counted) if policy is ScorePolicy.BEST else counted[-1]
        return points

    @invariant()
    def the_reconciler_sees_what_is_open(self):
        if not hasattr(self, "ledger"):
            return
        expected = set()
        for student, word, _, _ in self.pushes:
            states = [job[4] for job in self.jobs.values() if job[:2] == [student, word]]
            if not states or {JobState.QUEUED, JobState.RUNNING, JobState.FAILED} & set(states):
                expected.add((repository(student), commit(word)))
        assert {(u.push.repository, u.push.commit) for u in self.ledger.unsettled()} == expected


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


# the rule for scores by itself ---------------------------------------------------------------------------


def candidate(push, points, attempt=1, may_lower=False, student="ann"):
    received = NOON + timedelta(minutes=push)
    return Candidate(
        repository(student),
        push,
        received,
        Source.WEBHOOK,
        push,
        commit(str(push)),
        "",
        attempt,
        may_lower,
        points,
        100,
    )


@pytest.mark.parametrize(
    ("candidates", "last", "best"),
    [
        ([], None, None),
        ([candidate(1, 0)], 0, 0),
        ([candidate(1, 50), candidate(2, 40)], 40, 50),
        ([candidate(2, 40), candidate(1, 50)], 40, 50),
        ([candidate(1, 50), candidate(1, 40, 2)], 50, 50),
        ([candidate(1, 50), candidate(1, 40, 2, True)], 40, 40),
        ([candidate(1, 50), candidate(1, 40, 2, True), candidate(1, 45, 3)], 45, 45),
        ([candidate(1, 50), candidate(1, 10, 2, True), candidate(2, 30)], 30, 30),
        ([candidate(1, 50), candidate(9, 90)], 50, 50),  # late
    ],
)
def test_which_score_counts(candidates, last, best):
    for policy, expected in ((ScorePolicy.LAST, last), (ScorePolicy.BEST, best)):
        found = scores.current(candidates, "a0", policy, Cutoffs(NOON + timedelta(minutes=5)))
        assert [score.points for score in found] == ([] if expected is None else [expected])


def test_of_two_equal_scores_best_takes_the_later_push():
    (score,) = scores.current([candidate(1, 50), candidate(2, 50)], "a0", ScorePolicy.BEST, Cutoffs())
    assert score.commit == commit("2")
