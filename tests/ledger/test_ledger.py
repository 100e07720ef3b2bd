"""The ledger: what is recorded, what is recognised as the same thing again, what counts. On SQLite and PostgreSQL."""

import dataclasses
import json
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from autograder.errors import GraderError
from autograder.ledger import (
    OPEN,
    TRANSITIONS,
    AdjustmentKind,
    Conflict,
    Cutoffs,
    GradedTree,
    IllegalTransition,
    JobState,
    LedgerError,
    RepositoryName,
    ScorePolicy,
    Source,
    Unknown,
    job_id,
    tables,
)
from autograder.ledger.values import storable
from autograder.report import Report, from_json
from autograder.verdict import CaseResult, Verdict
from tests.support.ledgers import MAIN, NOON, commit, current_scores, problems, report, repository

# pushes --------------------------------------------------------------------------------------------------


def test_a_push_comes_back_as_it_was_recorded(ledger):
    recorded = ledger.record_push(
        repository(),
        commit=commit("one"),
        ref=MAIN,
        before="0" * 40,
        sender="ann",
        delivery_id="d-1",
        payload_digest="ab" * 32,
    )
    assert recorded.new
    push = recorded.row
    assert dataclasses.asdict(push) == {
        "id": push.id,
        "repository": dataclasses.asdict(repository()),
        "ref": MAIN,
        "commit": commit("one"),
        "before": "0" * 40,
        "sender": "ann",
        "delivery_id": "d-1",
        "payload_digest": "ab" * 32,
        "received": NOON,
        "source": Source.WEBHOOK,
        "position": 1.0,
        "recorded": NOON,
    }
    assert ledger.history(repository()).pushes == (push,)
    assert ledger.repositories() == [repository()]


@pytest.mark.parametrize(
    "again",
    [
        {"delivery_id": "d-1"},
        {"delivery_id": "d-2"},  # another way in, the same move
        {"delivery_id": None},
        {"delivery_id": None, "before": ""},  # a way in that does not know the commit before
    ],
    ids=["same-delivery", "other-delivery", "no-delivery", "no-before"],
)
def test_a_push_that_is_reported_again_is_the_same(semester, again):
    first = semester.push("one", delivery_id="d-1", before="0" * 40)
    second = semester.push("one", **({"before": "0" * 40} | again))
    assert second.row == first.row
    assert (first.new, second.new) == (True, False)


def test_a_delivery_id_is_unique_per_host_only(ledger):
    for host in ("github.com", "git.uni.example"):
        name = RepositoryName(host, "dls", "a0-ann")
        assert ledger.record_push(name, commit=commit("one"), ref=MAIN, delivery_id="7").new


def test_a_delivery_id_of_another_push_is_a_conflict(semester):
    semester.push("one", delivery_id="7")
    for word, student in (("two", "ann"), ("one", "bob")):
        with pytest.raises(Conflict, match="came again for"):
            semester.push(word, student, delivery_id="7")
    assert len(semester.ledger.repositories()) == 1


def test_a_branch_that_returns_to_a_commit_is_pushed_again(semester):
    first = semester.push("one")
    semester.push("two")
    again = semester.push("one")
    assert again.new
    assert again.row.received > first.row.received
    # ... and being reported again, it is the same push as before
    assert not semester.push("one", before=commit("two")).new
    assert not semester.push("one", before="").new


def test_the_time_of_a_spool_is_kept(semester):
    noted = datetime(2026, 9, 10, 8, tzinfo=timezone(timedelta(hours=-4)))
    push = semester.push("one", received=noted).row
    assert push.received == noted
    assert push.received.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "values",
    [
        {"commit": "main"},
        {"commit": "A" * 40},
        {"ref": "main"},
        {"ref": "refs/heads/a\n"},
        {"before": "x"},
        {"delivery_id": ""},
        {"delivery_id": "x" * 201},
        {"received": datetime(2026, 9, 10)},
    ],
    ids=[
        "branch-as-commit",
        "upper-case-commit",
        "short-ref",
        "ref-with-newline",
        "short-before",
        "empty-delivery",
        "long-delivery",
        "naive-time",
    ],
)
def test_an_invalid_push_is_refused(ledger, values):
    with pytest.raises(LedgerError):
        ledger.record_push(repository(), **({"commit": commit("one"), "ref": MAIN} | values))
    assert ledger.repositories() == []


@pytest.mark.parametrize(
    "parts",
    [
        ("GitHub.com", "o", "n"),
        ("h", "..", "n"),
        ("h", "o", "-n"),
        ("h", "o/", "n"),
        ("", "o", "n"),
        ("h", "", "n"),
    ],
    ids="/".join,
)
def test_an_invalid_repository_is_refused(parts):
    with pytest.raises(LedgerError, match="is not a repository"):
        RepositoryName(*parts)


def test_a_repository_is_written_as_one_word():
    name = RepositoryName("git.uni.example:3000", "dls/fall", "a0")
    assert str(name) == "git.uni.example:3000/dls/fall/a0"
    assert RepositoryName.parse(str(name)) == name


def test_text_that_a_database_does_not_take(semester):
    push = semester.push("one", sender="a\0b\ud800c" + "d" * 500).row
    assert push.sender.startswith("a\\x00b\\ud800cd")
    assert len(push.sender) == 200


@given(st.text(max_size=50))
def test_storable_text(text):
    stored = storable(text, 20)
    assert len(stored) <= 20
    assert "\0" not in stored
    stored.encode()


# jobs ----------------------------------------------------------------------------------------------------


def test_a_job_has_a_name_that_tells_what_it_is():
    name = repository()
    assert job_id(name, "a" * 40, "a0") == f"grade:git.uni.example/dls/a0-ann:{'a' * 40}:a0"
    assert job_id(name, "a" * 40, "a0", 2).endswith(":a0:r2")


def test_a_job_is_opened_once(semester):
    semester.push("one")
    first = semester.ledger.open_job(repository(), commit("one"), "a0")
    again = semester.ledger.open_job(repository(), commit("one"), "a0")
    assert (first.new, again.new, again.row) == (True, False, first.row)
    assert first.row.state is JobState.QUEUED
    assert semester.ledger.job(first.row.id) == first.row
    assert semester.ledger.open_job(repository(), commit("one"), "a1").new


def test_a_job_needs_a_push(semester):
    with pytest.raises(Unknown, match="no push of"):
        semester.open("one")
    semester.push("one", "bob")
    with pytest.raises(Unknown):
        semester.open("one")


def test_regrades_are_counted_without_a_gap(semester):
    semester.push("one")
    with pytest.raises(Conflict, match="the next is 1"):
        semester.open("one", attempt=2)
    semester.open("one")
    with pytest.raises(Conflict, match="the next is 2"):
        semester.open("one", attempt=3)
    assert semester.open("one", attempt=2).attempt == 2
    with pytest.raises(Conflict, match="may_lower"):
        semester.open("one", attempt=2, may_lower=True)


@pytest.mark.parametrize(
    "name", ["", "a:0", "a/0", "a" * 33, "a 0"], ids=["empty", "colon", "slash", "long", "space"]
)
def test_an_invalid_assignment_is_refused(semester, name):
    semester.push("one")
    with pytest.raises(LedgerError, match="is not an assignment"):
        semester.open("one", assignment=name)


def ways_to(state):
    """Return moves that lead from queued to a state."""
    return {
        JobState.QUEUED: (),
        JobState.RUNNING: (JobState.RUNNING,),
        JobState.FINAL: (JobState.RUNNING, JobState.FINAL),
        JobState.SUPERSEDED: (JobState.SUPERSEDED,),
        JobState.FAILED: (JobState.RUNNING, JobState.FAILED),
        JobState.DEAD: (JobState.DEAD,),
    }[state]


@pytest.mark.parametrize("after", JobState)
@pytest.mark.parametrize("before", JobState)
def test_each_move_is_legal_or_raises(semester, before, after):
    semester.push("one")
    job = semester.open("one")
    for state in ways_to(before):
        job = semester.ledger.move(job.id, state, reason="on the way")
    if after in TRANSITIONS[before]:
        assert semester.ledger.move(job.id, after, reason="now").state is after
    elif before is after:
        assert semester.ledger.move(job.id, after, reason="again") == job
    else:
        with pytest.raises(IllegalTransition, match=f"is {before.value} and cannot become {after.value}"):
            semester.ledger.move(job.id, after, reason="now")
        assert semester.ledger.job(job.id) == job
    assert problems(semester.ledger) == []


def test_a_job_s_changes_are_recorded(semester):
    semester.push("one")
    job = semester.run("one")
    semester.ledger.move(job.id, JobState.RUNNING, worker="host:2", reason="host:1 died")
    semester.ledger.move(job.id, JobState.FAILED, reason="git host: 502")
    semester.ledger.move(job.id, JobState.QUEUED)
    last = semester.ledger.move(job.id, JobState.DEAD, reason="3 tries")
    (history,) = semester.ledger.history(repository()).jobs
    assert history.job == last
    assert (last.tries, last.worker, last.reason) == (2, "host:2", "3 tries")
    assert last.finished is not None
    assert [(c.after.value, c.reason, c.worker) for c in history.changes] == [
        ("queued", "", ""),
        ("running", "", "host:1"),
        ("running", "host:1 died", "host:2"),
        ("failed", "git host: 502", ""),
        ("queued", "", ""),
        ("dead", "3 tries", ""),
    ]


def test_a_final_job_has_a_report_or_says_why_not(semester):
    semester.push("one")
    job = semester.run("one")
    with pytest.raises(IllegalTransition, match="has no report"):
        semester.ledger.move(job.id, JobState.FINAL)
    semester.ledger.move(job.id, JobState.FINAL, reason="late: the deadline was an hour before")
    assert semester.points() == {}


def test_a_job_with_a_report_is_not_superseded(semester):
    semester.push("one")
    job = semester.run("one")
    semester.ledger.add_report(job.id, report())
    with pytest.raises(IllegalTransition, match="publish it"):
        semester.ledger.move(job.id, JobState.SUPERSEDED)


def test_an_unknown_job(ledger):
    for call in (
        lambda: ledger.job("x"),
        lambda: ledger.move("x", JobState.RUNNING),
        lambda: ledger.add_report("x", report()),
        lambda: ledger.add_feedback("x", commit=commit("f"), branch="b"),
        lambda: ledger.supersede_older("x"),
    ):
        with pytest.raises(Unknown, match="there is no job 'x'"):
            call()


def test_a_newer_push_supersedes_what_still_waits(semester):
    for word in ("waits", "runs", "failed", "done", "newest"):
        semester.push(word)
    semester.push("waits", "bob")
    for word in ("waits", "newest"):
        semester.open(word)
    semester.open("waits", assignment="a1")
    semester.open("waits", "bob")
    semester.run("runs")
    failed = semester.run("failed")
    semester.ledger.move(failed.id, JobState.FAILED, reason="ours")
    semester.grade("done")
    semester.open("done", attempt=2)  # staff asked for this one
    newest = job_id(repository(), commit("newest"), "a0")
    superseded = semester.ledger.supersede_older(newest)
    assert {job.commit for job in superseded} == {commit("waits"), commit("failed")}
    assert all(job.state is JobState.SUPERSEDED and newest in job.reason for job in superseded)
    assert semester.ledger.supersede_older(newest) == []
    assert semester.ledger.supersede_older(job_id(repository(), commit("waits"), "a0")) == []
    assert semester.ledger.count_jobs() == {
        JobState.QUEUED: 4,
        JobState.RUNNING: 1,
        JobState.FINAL: 1,
        JobState.SUPERSEDED: 2,
        JobState.FAILED: 0,
        JobState.DEAD: 0,
    }


def test_jobs_are_listed_by_state_assignment_and_repository(semester):
    for student in ("ann", "bob"):
        semester.push("one", student)
        semester.open("one", student)
        semester.run("one", student, "a1")
    listed = semester.ledger.jobs
    assert len(listed()) == 4
    assert {job.assignment for job in listed(states=[JobState.RUNNING])} == {"a1"}
    assert [job.repository for job in listed(assignment="a0")] == [repository("ann"), repository("bob")]
    assert len(listed(repository=repository("bob"))) == 2
    assert len(listed(limit=3)) == 3
    assert listed(states=[]) == []


# unsettled pushes ----------------------------------------------------------------------------------------


def test_pushes_without_a_settled_job(semester):
    for word in ("no job", *(state.value for state in JobState)):
        semester.push(word)
    for state in JobState:
        job = semester.open(state.value)
        for step in ways_to(state):
            semester.ledger.move(job.id, step, reason="x")
    found = semester.ledger.unsettled()
    assert [item.push.commit for item in found] == [
        commit(word) for word in ("no job", "queued", "running", "failed")
    ]
    assert [[job.state for job in item.jobs] for item in found] == [
        [],
        [JobState.QUEUED],
        [JobState.RUNNING],
        [JobState.FAILED],
    ]
    assert {state for item in found for state in (job.state for job in item.jobs)} == OPEN
    since = found[2].push.received
    assert semester.ledger.unsettled(since=since) == found[2:]
    assert semester.ledger.unsettled(limit=1) == found[:1]


def test_pushes_without_a_settled_job_for_one_assignment(semester):
    semester.push("one")
    semester.grade("one", assignment="a0")
    assert semester.ledger.unsettled() == []
    assert semester.ledger.unsettled(assignment="a0") == []
    assert [item.push.commit for item in semester.ledger.unsettled(assignment="a1")] == [commit("one")]


# reports and feedback ------------------------------------------------------------------------------------


def test_a_report_comes_back_as_it_was_published(semester):
    semester.push("one")
    job = semester.run("one")
    given_report = report(80, note="ünï\u202e", nested=[{"a": [1, 2.5, None, True]}])
    stored = semester.ledger.add_report(job.id, given_report)
    assert stored.new
    assert stored.row.report == from_json(json.loads(json.dumps(given_report.to_json())))
    assert stored.row.report.points == 80
    assert semester.ledger.report(job.id) == stored.row


def test_the_first_report_of_a_job_stays(semester):
    semester.push("one")
    job = semester.run("one")
    first = semester.ledger.add_report(job.id, report(40)).row
    again = semester.ledger.add_report(job.id, report(100))
    assert (again.new, again.row) == (False, first)
    semester.ledger.move(job.id, JobState.FINAL)
    assert semester.ledger.add_report(job.id, report(100)).row == first
    assert semester.points() == {"ann": 40}


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.RUNNING])
def test_only_a_running_job_gets_a_report(semester, state):
    semester.push("one")
    job = semester.open("one")
    for step in ways_to(state):
        semester.ledger.move(job.id, step, reason="x")
    with pytest.raises(IllegalTransition, match="only a running job"):
        semester.ledger.add_report(job.id, report())
    assert semester.ledger.report(job.id) is None


def case(name="Task0 - Case1", points=10, of=10):
    return CaseResult(name, Verdict.PASSED, points, of)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Report("a1", (case(),)), "does not belong"),
        (Report("a0", (case(), case())), "twice"),
        (Report("a0", (case(points=11),)), "11 of 10 points"),
        (Report("a0", (case(points=-1),)), "-1 of 10 points"),
        (Report("a0", (), {"x": float("nan")}), "not plain JSON"),
        (Report("a0", (), {"x": object()}), "not plain JSON"),
        (Report("a0", (), {"x": "\0"}), "NUL"),
    ],
    ids=["assignment", "twice", "too-many", "negative", "nan", "object", "nul"],
)
def test_an_invalid_report_is_refused(semester, bad, message):
    semester.push("one")
    job = semester.run("one")
    with pytest.raises(LedgerError, match=message):
        semester.ledger.add_report(job.id, bad)
    assert semester.ledger.report(job.id) is None


def test_feedback_is_recorded_once_per_commit(semester):
    semester.push("one")
    job = semester.run("one")
    first = semester.ledger.add_feedback(job.id, commit=commit("f1"), branch="score-feedback")
    assert not semester.ledger.add_feedback(job.id, commit=commit("f1"), branch="score-feedback").new
    # The student deleted the branch, and it was published again.
    second = semester.ledger.add_feedback(job.id, commit=commit("f2"), branch="score-feedback")
    assert second.new
    assert semester.ledger.history(repository()).jobs[0].feedback == (first.row, second.row)


def test_a_waiting_job_has_no_feedback(semester):
    semester.push("one")
    with pytest.raises(IllegalTransition, match="only a running or final job"):
        semester.ledger.add_feedback(semester.open("one").id, commit=commit("f"), branch="score-feedback")


# what counts ---------------------------------------------------------------------------------------------


def test_last_and_best(semester):
    for word, points in (("one", 60), ("two", 90), ("three", 70)):
        semester.push(word)
        semester.grade(word, points)
    semester.push("one", "bob")
    semester.grade("one", 10, "bob")
    assert semester.points(ScorePolicy.LAST) == {"ann": 70, "bob": 10}
    assert semester.points(ScorePolicy.BEST) == {"ann": 90, "bob": 10}
    assert semester.points(ScorePolicy.BEST, repository=repository("bob")) == {"bob": 10}
    assert semester.points(assignment="a1") == {}


def test_receive_time_decides_what_is_late(semester):
    on_time = semester.push("one").row
    semester.grade("one", 60)
    late = semester.push("two").row
    semester.grade("two", 90)
    for policy in ScorePolicy:
        assert semester.points(policy, Cutoffs(on_time.received)) == {"ann": 60}
        assert semester.points(policy, Cutoffs(late.received)) == {"ann": 90}
        assert semester.points(policy, Cutoffs(late.received - timedelta(microseconds=1))) == {"ann": 60}
        assert semester.points(policy, Cutoffs(on_time.received - timedelta(microseconds=1))) == {}


def test_an_extension_is_for_one_repository(semester):
    for student in ("ann", "bob"):
        semester.push("one", student)
        semester.grade("one", 50, student)
    deadline = semester.clock.now
    for student in ("ann", "bob"):
        semester.push("two", student)
        semester.grade("two", 80, student)
    assert semester.points(cutoffs=Cutoffs(deadline, {repository("bob"): None})) == {"ann": 50, "bob": 80}
    assert semester.points(cutoffs=Cutoffs(None, {repository("bob"): deadline})) == {"ann": 80, "bob": 50}


def test_a_score_says_where_it_comes_from(semester):
    push = semester.push("one").row
    job = semester.grade("one", 60)
    (score,) = current_scores(semester.ledger, "a0", ScorePolicy.LAST, Cutoffs())
    assert (score.repository, score.points, score.max_points) == (repository(), 60, 100)
    assert (score.commit, score.received, score.job_id) == (push.commit, push.received, job.id)


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.FINAL])
def test_the_score_stays_until_a_newer_one_is_final(semester, state):
    semester.push("one")
    semester.grade("one", 60)
    semester.push("two")
    job = semester.open("two")
    for step in ways_to(state):
        semester.ledger.move(job.id, step, reason="x")
    assert semester.points() == {"ann": 60}


def test_a_report_counts_only_when_its_job_is_final(semester):
    semester.push("one")
    job = semester.run("one")
    semester.ledger.add_report(job.id, report(60))
    assert semester.points() == {}


def test_a_regrade_never_lowers_a_score_unless_allowed(semester):
    semester.push("one")
    semester.grade("one", 60)
    semester.grade("one", 50, attempt=2)
    assert semester.points() == {"ann": 60}
    semester.grade("one", 70, attempt=3)
    assert semester.points() == {"ann": 70}
    semester.grade("one", 20, attempt=4, may_lower=True)
    assert semester.points() == {"ann": 20}
    semester.grade("one", 30, attempt=5)
    assert semester.points() == {"ann": 30}


def test_a_commit_that_is_pushed_again_is_the_last_again(semester):
    semester.push("one")
    semester.grade("one", 60)
    semester.push("two")
    semester.grade("two", 40)
    deadline = semester.clock.now
    semester.push("one")
    assert semester.points() == {"ann": 60}
    assert semester.points(cutoffs=Cutoffs(deadline)) == {"ann": 40}


def test_a_report_that_comes_late_keeps_its_place(semester):
    noted = semester.clock.after(minutes=1)
    semester.push("two", before=commit("one"))
    semester.grade("two", 40)
    semester.push("one", before="0" * 40, received=noted)
    semester.grade("one", 60)
    assert semester.points(ScorePolicy.LAST) == {"ann": 40}


# audit ---------------------------------------------------------------------------------------------------


def test_audit_lines(ledger, clock):
    first = ledger.audit(
        "okafor", "regrade", why="case 3 was wrong", subject="a0", details={"dry_run": False}
    )
    clock.after(minutes=1)
    second = ledger.audit("okafor", "jobs retry", why="disk is free again")
    assert ledger.audit_lines() == [second, first]
    assert ledger.audit_lines(subject="a0") == [first]
    assert ledger.audit_lines(limit=1) == [second]
    assert (first.who, first.at, first.details) == ("okafor", NOON, {"dry_run": False})


@pytest.mark.parametrize("values", [("", "x", "y"), ("x", " ", "y"), ("x", "y", "")])
def test_an_audit_line_says_who_what_and_why(ledger, values):
    who, what, why = values
    with pytest.raises(LedgerError, match="none of them may be empty"):
        ledger.audit(who, what, why=why)


# it only grows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", tables.ONLY_GROW)
def test_the_database_refuses_to_change_or_delete(semester, table):
    push = semester.push("one").row
    semester.grade("one")
    semester.ledger.audit("okafor", "look", why="a test")
    semester.ledger.set_received(push.id, NOON, source=Source.STAFF, who="okafor", why="a test")
    semester.ledger.add_own_commit(commit("starter"), "starter of a0")
    semester.ledger.add_adjustment(repository(), "a0", AdjustmentKind.EXCUSE, who="okafor", why="a test")
    key = "position" if table == "report_cases" else "id"
    before = rows(semester.ledger, table)
    assert before
    statements = [f"UPDATE {table} SET {key} = {key} + 1", f"DELETE FROM {table}"]  # noqa: S608
    if semester.ledger.database.file:
        statements.append(f"REPLACE INTO {table} SELECT * FROM {table}")  # noqa: S608
    else:
        statements.append(f"TRUNCATE {table} CASCADE")
    for statement in statements:
        with pytest.raises(LedgerError, match="only grows"), semester.ledger.database.writing() as connection:
            connection.execute(sa.text(statement))
    assert rows(semester.ledger, table) == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM jobs",
        "UPDATE jobs SET id = 'x'",
        "UPDATE jobs SET assignment = 'a1'",
        "UPDATE jobs SET attempt = 2",
        "UPDATE jobs SET may_lower = true",
        "UPDATE jobs SET state = 'queued'",
        "UPDATE jobs SET reason = 'x'",
    ],
)
def test_a_final_job_stays_as_it_is(semester, statement):
    semester.push("one")
    semester.grade("one")
    before = rows(semester.ledger, "jobs")
    with (
        pytest.raises(LedgerError, match=r"only grows|stays final"),
        semester.ledger.database.writing() as connection,
    ):
        connection.execute(sa.text(statement))
    assert rows(semester.ledger, "jobs") == before


def rows(ledger, table):
    with ledger.database.reading() as connection:
        return list(connection.execute(tables.metadata.tables[table].select()))


def test_every_error_is_ours():
    for error in (LedgerError, Conflict, IllegalTransition, Unknown):
        assert issubclass(error, GraderError)


# for the service -----------------------------------------------------------------------------------------


def test_pushes_of_a_commit_a_branch_and_since_another(ledger, semester):
    first = semester.push("one").row
    semester.push("two")
    again = semester.push("one").row
    semester.push("one", "bob")
    other = semester.push("three", ref="refs/heads/try").row
    ann = repository()
    assert [push.commit for push in ledger.pushes(ann)] == list(map(commit, ("one", "two", "one", "three")))
    assert ledger.pushes(ann, commit=commit("one")) == [first, again]
    assert ledger.pushes(ann, ref="refs/heads/try") == [other]
    assert ledger.pushes(ann, ref=MAIN, after=first.id)[-1] == again
    assert ledger.pushes(ann, after=other.id) == []


def test_tries_are_counted_from_the_last_time_that_a_job_was_queued(ledger, semester):
    semester.push("one")
    job = semester.run("one").id
    assert ledger.recent_tries(job) == 1
    ledger.move(job, JobState.RUNNING)
    ledger.move(job, JobState.FAILED, reason="broken")
    ledger.move(job, JobState.RUNNING)
    assert ledger.recent_tries(job) == 3
    ledger.move(job, JobState.DEAD, reason="given up")
    ledger.move(job, JobState.QUEUED, reason="mended")
    assert ledger.recent_tries(job) == 0
    ledger.move(job, JobState.RUNNING)
    assert (ledger.recent_tries(job), ledger.job(job).tries) == (1, 4)


def test_the_history_of_a_case_counts_the_reports_of_its_assignment(semester):
    assert semester.ledger.case_history("a0") == {}
    for word in ("one", "two"):
        semester.push(word)
        semester.grade(word)
        semester.grade(word, assignment="a1")
    assert semester.ledger.case_history("a0") == {
        "Task0 - Case1": {"reports": 2, "passed": 2, "slowest": 0.0123},
        "Task0 - Case2": {"reports": 2, "passed": 0, "slowest": 1.5},
        "Task0 - Case3": {"reports": 2, "passed": 0, "slowest": 10.0},
    }


def test_the_digests_of_graded_trees_and_the_sources_of_last_pushes(semester):
    first, second = repository("ann"), repository("bob")
    for word, student, tree in (("x", "ann", "t1"), ("y", "ann", None), ("z", "bob", "t1")):
        semester.push(word, student, source=Source.HOST if word == "z" else Source.HOOK)
        job = semester.run(word, student)
        semester.ledger.add_report(job.id, report(70, tree_digest=tree))
    assert semester.ledger.graded_trees("a0") == [
        GradedTree(first, commit("x"), "t1", 70),
        GradedTree(second, commit("z"), "t1", 70),
    ]
    assert semester.ledger.graded_trees("a1") == []
    assert semester.ledger.last_sources() == {first: Source.HOOK, second: Source.HOST}


# receive times, own commits, what is shown ----------------------------------------------------------------


def test_the_time_of_a_push_can_be_learned_later(ledger, semester, clock):
    found = semester.push("one", source=Source.UNKNOWN).row
    assert ledger.undated() == [found]
    dated = ledger.set_received(found.id, NOON, source=Source.HOST)
    assert (dated.received, dated.source) == (NOON, Source.HOST)
    assert ledger.push(found.id) == dated
    assert ledger.undated() == []
    assert ledger.set_received(found.id, clock.after(minutes=5), source=Source.WEBHOOK) == dated
    late = ledger.set_received(found.id, clock.now, source=Source.STAFF, who="okafor", why="a mail")
    assert ledger.set_received(found.id, NOON, source=Source.HOST) == late
    semester.grade("one", 70)
    assert semester.points(cutoffs=Cutoffs(NOON)) == {}
    ledger.set_received(found.id, NOON, source=Source.STAFF, who="okafor", why="the right mail")
    assert semester.points(cutoffs=Cutoffs(NOON)) == {"ann": 70}
    with pytest.raises(Unknown, match="there is no push 99"):
        ledger.set_received(99, NOON, source=Source.HOST)


def test_a_push_whose_time_is_unknown_counts(semester):
    semester.push("one", source=Source.UNKNOWN)
    semester.grade("one", 70)
    assert semester.points(cutoffs=Cutoffs(NOON - timedelta(days=1))) == {"ann": 70}
    assert semester.points(cutoffs=Cutoffs(opens=NOON + timedelta(days=1))) == {}


def test_a_wrong_clock_does_not_change_which_push_is_the_last(semester, clock):
    clock.after(hours=1)  # the clock is an hour ahead
    semester.push("one")
    semester.grade("one", 100)
    clock.after(hours=-1)  # and is corrected
    semester.push("two")
    semester.grade("two", 40)
    assert semester.points(ScorePolicy.LAST) == {"ann": 40}


def test_our_own_commits_are_no_candidates(ledger, semester):
    assert ledger.add_own_commit(commit("starter"), "starter of a0")
    assert not ledger.add_own_commit(commit("starter"), "again")
    assert ledger.own_commits() == {commit("starter"): "starter of a0"}
    semester.push("one")
    semester.grade("one", 70)
    semester.push("starter")
    assert [item.push.commit for item in ledger.unsettled()] == []
    semester.grade("starter", 5)
    assert semester.points() == {"ann": 70}
    with pytest.raises(LedgerError, match="not a full commit id"):
        ledger.add_own_commit("abc", "short")


def test_a_repository_is_found_whatever_the_case(ledger, semester):
    semester.push("one")
    assert ledger.recorded_name(RepositoryName("git.uni.example", "DLS", "A0-Ann")) == repository()
    other = RepositoryName("git.uni.example", "DLS", "A0-Bob")
    assert ledger.recorded_name(other) == other


def test_what_happened_after_the_last_feedback(ledger, semester, clock):
    assert ledger.last_feedback(repository(), "a0") is None
    push = semester.push("one").row
    assert [name for name, _ in ledger.unanswered()] == [repository()]
    job = semester.run("one")
    ledger.add_report(job.id, report(70))
    ledger.move(job.id, JobState.FINAL)
    clock.after(minutes=1)
    ledger.add_feedback(job.id, commit=commit("f"), branch="score-feedback", shows="ab")
    assert ledger.last_feedback(repository(), "a0").shows == "ab"
    assert ledger.unanswered() == []
    ledger.set_received(push.id, NOON, source=Source.STAFF, who="okafor", why="a mail")
    assert ledger.unanswered() == []  # in the same moment
    later = clock.after(minutes=1)
    ledger.set_received(push.id, NOON - timedelta(hours=1), source=Source.STAFF, who="okafor", why="a mail")
    assert ledger.unanswered() == [(repository(), later)]
    assert ledger.unanswered(since=later + timedelta(seconds=1)) == []


def test_final_jobs_without_a_report_are_listed_until_they_are_graded(ledger, semester):
    semester.push("one")
    job = semester.run("one")
    ledger.move(job.id, JobState.FINAL, reason="not graded: late")
    assert [found.id for found in ledger.ungraded()] == [job.id]
    semester.grade("one", 70, attempt=2)
    assert ledger.ungraded() == []
