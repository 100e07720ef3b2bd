"""The branch, the page, the status and the ledger agree on which commit counts, when it came, and what it is worth."""

from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.cli.release import _ours
from autograder.course.standing import standing
from autograder.ledger import JobState, Source
from autograder.service import attention
from autograder.service.staff import Staff, StaffError
from tests.support.desk import Desk
from tests.support.university import HALF, now

CLOSED = 'zone = "UTC"\nopens = "2026-09-01 08:00"\ncloses = "2026-09-15 23:59"'
BEST = 'policy = "best"'


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


IN_TIME, LATE = moment("2026-09-10 12:00"), moment("2026-09-20 12:00")


def score(desk, student="ann"):
    """Return the points that count, and the commit that they come from."""
    target = desk.intake.target_at(desk.university.repository(student))
    found = standing(desk.ledger, desk.course, target).score
    return None if found is None else (found.points, found.commit)


def shown(desk, student="ann"):
    """Return the points on the branch, and the commit that its tip is about."""
    return desk.university.score(student), desk.university.published(student)[-1]


def agree(desk, points, commit, student="ann"):
    """The ledger and the branch say the same."""
    assert score(desk, student) == (points, commit)
    assert shown(desk, student) == (points, commit)


def found(desk):
    """Return the pushes of ann: the commit, and how its time is known."""
    return [(push.commit, push.source) for push in desk.ledger.pushes(desk.university.repository())]


# what was pushed -------------------------------------------------------------------------------------------


def test_force_pushes_back_and_forth_end_with_the_last_one(desk):
    """A 0 points, B 100 points: A, B, A, B. The last move is B's, although it is the same as the second."""
    a, b = desk.university.push(HALF), None
    desk.run(desk.take(a))
    b = desk.university.push()
    desk.run(desk.take(b))
    for commit in (a.commit, b.commit):
        push = desk.set_back(commit)
        push = type(push)(**{**vars(push), "delivery_id": f"again-{commit[:5]}"})
        desk.intake.receive(push, now())
    assert [push.commit for push in desk.ledger.pushes(desk.university.repository())] == [
        a.commit,
        b.commit,
        a.commit,
        b.commit,
    ]
    desk.reconciler().show()
    agree(desk, 100, b.commit)


def test_a_branch_that_is_set_back_to_a_graded_commit_shows_its_score_again(desk):
    a = desk.university.push()
    desk.run(desk.take(a))
    b = desk.university.push(HALF)
    desk.run(desk.take(b))
    agree(desk, 40, b.commit)
    desk.take(desk.set_back(a.commit))
    assert desk.reconciler().show() == 1
    agree(desk, 100, a.commit)
    assert len(desk.graders.graded) == 2
    assert desk.reconciler().show() == 0
    assert desk.university.published() == [a.commit, b.commit, a.commit]


def test_a_set_back_that_nobody_reported_is_found(desk):
    a = desk.university.push()
    desk.run(desk.take(a))
    b = desk.university.push(HALF)
    desk.run(desk.take(b))
    desk.set_back(a.commit)
    assert desk.reconciler().look()
    assert found(desk)[-1] == (a.commit, Source.UNKNOWN)
    desk.reconciler().show()
    agree(desk, 100, a.commit)


def test_an_old_delivery_that_is_sent_again_under_a_new_id_changes_nothing(desk):
    a = desk.university.push()
    desk.run(desk.take(a))
    b = desk.university.push(HALF)
    desk.run(desk.take(b))
    again = type(a)(**{**vars(a), "delivery_id": "again"})
    assert desk.intake.receive(again, now()).result == "known"
    desk.reconciler().show()
    agree(desk, 40, b.commit)


def test_a_feedback_branch_that_a_student_rewrote_is_repaired(desk):
    a = desk.university.push()
    desk.run(desk.take(a))
    desk.university.bare().commit({"score.md": b"100 of course"}, branch="score-feedback")
    assert not desk.reconciler().look()
    assert desk.university.published()[-1] == a.commit
    desk.university.bare().git("update-ref", "-d", "refs/heads/score-feedback")
    desk.reconciler().look()
    agree(desk, 100, a.commit)


@pytest.mark.parametrize("desk", ["", BEST], indirect=True)
def test_a_late_report_of_an_older_push_leaves_the_newer_one_in_front(desk):
    first, second = desk.university.push(HALF), desk.university.push()
    desk.run(desk.take(second))
    desk.run(desk.take(first))
    agree(desk, 100, second.commit)


def test_our_own_commits_are_not_graded_and_do_not_count(desk):
    starter = desk.university.push("raise NotImplementedError\n")
    desk.ledger.add_own_commit(starter.commit, "starter of t")
    assert desk.intake.receive(starter, now()).job is None
    work = desk.university.push()
    job = desk.take(work)
    update = desk.university.push(HALF)  # `release --update` puts it on top; no hook runs
    desk.ledger.add_own_commit(update.commit, "update of the starter of t")
    assert not desk.reconciler(listed=lambda: ()).look()
    assert desk.run(job) is JobState.FINAL
    agree(desk, 100, work.commit)
    assert [job.id for job in desk.ledger.jobs()] == [job]
    assert desk.reconciler().repair() == 0
    assert standing(desk.ledger, desk.course, desk.intake.target_at(work_name(desk))).chosen == [work.commit]


def work_name(desk):
    return desk.university.repository()


def test_an_amended_starter_is_the_student_s(desk):
    starter = desk.university.push(HALF)
    desk.ledger.add_own_commit(starter.commit, "starter of t")
    bare = desk.university.bare()
    tree = bare.git("rev-parse", f"{starter.commit}^{{tree}}")
    amended = bare.commit_tree(tree, message="starter\n\nStarter: t")
    assert desk.run(desk.take(desk.university.reported(amended, starter.commit))) is JobState.FINAL
    agree(desk, 40, amended)


@pytest.mark.parametrize("branch", ["master", "dev", "score-feedback/old"])
def test_a_push_to_another_branch_is_seen(desk, branch):
    assert desk.intake.receive(desk.university.push(branch=branch), now()).result == "ignored"
    (loss,) = desk.ledger.losses()
    assert loss.subject == str(desk.university.repository())
    assert branch in loss.reason
    shown = "\n".join(attention.lines(attention.look(desk.ledger, desk.course)))
    assert branch in shown


def test_our_own_feedback_is_no_loss(desk):
    desk.intake.receive(desk.university.push(branch="score-feedback"), now())
    assert desk.ledger.losses() == []


# when it was received --------------------------------------------------------------------------------------


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_a_push_that_is_found_late_is_dated_by_the_reflog(desk):
    desk.university.bare().git("config", "core.logAllRefUpdates", "true")
    when = {
        "GIT_COMMITTER_DATE": "2026-09-14T10:00:00Z",
        "GIT_COMMITTER_NAME": "ann",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    lost = desk.university.push()
    log = desk.university.bare().path / "logs" / "refs" / "heads" / "main"
    log.write_text(f"{'0' * 40} {lost.commit} {when['GIT_COMMITTER_NAME']} <a@b> 1789380000 +0000\tpush\n")
    assert desk.reconciler(clock=lambda: LATE).look()
    desk.run_all()
    assert found(desk) == [(lost.commit, Source.HOST)]
    assert "received on Mon 14 Sep 2026, 10:00:00 UTC, in time" in desk.university.text()
    agree(desk, 100, lost.commit)


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_without_any_record_the_time_is_unknown_and_the_push_counts_until_staff_say(desk):
    desk.run(desk.push(HALF, received=IN_TIME))
    lost = desk.university.push()
    desk.reconciler().look()
    desk.run_all()
    assert found(desk)[-1] == (lost.commit, Source.UNKNOWN)
    agree(desk, 100, lost.commit)
    assert "Nobody knows yet when it was pushed. It counts, unless" in desk.university.text()
    (push,) = attention.undated(desk.ledger, desk.course)
    shown = "\n".join(attention.lines(attention.look(desk.ledger, desk.course)))
    assert f"push {push.id} of {push.repository}" in shown

    staff = Staff(desk.ledger, desk.course, desk.intake, "tutor")
    staff.set_received(push, LATE, "the student's laptop says so")
    desk.reconciler().show()
    assert score(desk)[0] == desk.university.score() == 40
    assert "5 days" in desk.university.text() or "4 days" in desk.university.text()
    assert attention.undated(desk.ledger, desk.course) == []

    staff.set_received(desk.ledger.push(push.id), IN_TIME, "the mail of the host says so")
    desk.reconciler().show()
    agree(desk, 100, lost.commit)
    assert [line.what for line in desk.ledger.audit_lines()] == ["pushes received"] * 2


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_a_late_push_that_staff_date_in_time_is_graded_now(desk):
    late = desk.push(received=LATE)
    desk.run(late)
    assert desk.university.score() == 0
    (push,) = desk.ledger.pushes(desk.university.repository())
    Staff(desk.ledger, desk.course, desk.intake, "tutor").set_received(push, IN_TIME, "the network was down")
    assert desk.reconciler().grade_what_counts() == 1
    desk.run_all()
    agree(desk, 100, push.commit)
    assert desk.reconciler().grade_what_counts() == 0


def test_staff_cannot_set_a_time_after_the_recording(desk):
    desk.push()
    (push,) = desk.ledger.pushes(desk.university.repository())
    with pytest.raises(StaffError, match="cannot have been received later"):
        Staff(desk.ledger, desk.course, desk.intake, "tutor").set_received(
            push, now() + timedelta(hours=1), "a slip"
        )


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_a_webhook_that_comes_right_after_the_finding_is_the_time(desk):
    push = desk.university.push()
    desk.reconciler().look()
    assert found(desk) == [(push.commit, Source.UNKNOWN)]
    assert desk.intake.receive(push, now()).result == "known"
    assert found(desk) == [(push.commit, Source.WEBHOOK)]


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_a_hook_s_file_that_comes_after_the_finding_is_the_time(desk):
    push = desk.university.push()
    desk.reconciler().look()
    desk.intake.receive(push, IN_TIME, source=Source.HOOK)
    (recorded,) = desk.ledger.pushes(desk.university.repository())
    assert (recorded.source, recorded.received) == (Source.HOOK, IN_TIME)


def test_a_first_push_whose_report_was_lost_is_found(desk):
    push = desk.university.push()
    assert desk.ledger.repositories() == []
    assert desk.reconciler().look()
    desk.run_all()
    agree(desk, 100, push.commit)


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_a_lost_ledger_is_restored_from_the_sealed_feedback(desk, folder):
    """The push was in time and has feedback. A new ledger knows nothing of it, and the host has no record."""
    job = desk.push(received=IN_TIME)
    desk.run(job)
    commit = desk.ledger.job(job).commit
    (desk.university.config_file).write_text(
        desk.university.config_file.read_text() + '\n[ledger]\nurl = "sqlite:///new/ledger.sqlite"\n'
    )
    with desk.university.parts() as parts:
        again = Desk(desk.university, parts, folder / "again")
        assert again.reconciler().look()
        again.run_all()
        assert found(again) == [(commit, Source.FEEDBACK)]
        agree(again, 100, commit)
        assert again.university.text().startswith("# Score Summary\n\nCommit")


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_forged_feedback_gives_no_time(desk):
    push = desk.university.push()
    desk.university.bare().commit(
        {"score.json": b'{"seal": {"received": "2026-09-10T12:00:00+00:00"}}'}, branch="score-feedback"
    )
    desk.reconciler().look()
    assert found(desk) == [(push.commit, Source.UNKNOWN)]


@pytest.mark.parametrize("desk", [CLOSED], indirect=True)
def test_an_older_ledger_that_is_restored_does_not_show_an_older_score(desk, folder):
    desk.run(desk.push(HALF, received=IN_TIME))
    backup = folder / "backup.sqlite"
    run = CliRunner()
    config = ["--config", str(desk.university.config_file)]
    result = run.invoke(main, ["ledger", "backup", str(backup), *config])
    assert result.exit_code == 0, result.output
    assert "the course secret is not in it" in result.output
    newer = desk.push(received=IN_TIME + timedelta(hours=1))
    desk.run(newer)
    commit = desk.ledger.job(newer).commit
    desk.ledger.close()
    result = run.invoke(main, ["ledger", "restore", "--force", str(backup), *config])
    assert result.exit_code == 0, result.output
    with desk.university.parts() as parts:
        again = Desk(desk.university, parts, folder / "again")
        repairs = again.reconciler()
        repairs.show()
        assert again.university.score() == 100
        assert repairs.look()
        assert again.university.score() == 100
        again.run_all()
        repairs.show()
        agree(again, 100, commit)


# commands --------------------------------------------------------------------------------------------------


def test_a_starter_that_was_released_is_ours(desk):
    starter = desk.university.push(HALF)
    _ours(desk.university.config(), starter.commit, "starter of t")
    assert desk.intake.receive(starter, now()).job is None
    other = desk.university.push()
    arguments = ["ledger", "own", "--config", str(desk.university.config_file)]
    result = CliRunner().invoke(main, [*arguments, other.commit, "--what", "hand-out"])
    assert f"{other.commit}: recorded" in result.output
    assert (
        f"{starter.commit}  starter of t\n{other.commit}  hand-out"
        in CliRunner().invoke(main, arguments).output
    )
    assert desk.intake.receive(other, now()).job is None


def test_a_ledger_that_cannot_be_reached_does_not_stop_a_release(desk, capsys, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_LEDGER_URL", "sqlite:////proc/nowhere/ledger.sqlite")
    _ours(desk.university.config(), "a" * 40, "starter of t")
    assert f"autograder ledger own {'a' * 40} --what 'starter of t'" in capsys.readouterr().err


def test_republish_repairs_a_branch(desk):
    desk.run(desk.push())
    desk.university.bare().commit({"score.md": b"junk"}, branch="score-feedback")
    arguments = ["republish", "--config", str(desk.university.config_file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "published again" in result.output
    assert desk.university.score() == 100
    assert "0 branches published again, 0 could not be" in CliRunner().invoke(main, arguments).output


def test_pushes_are_listed_and_dated_on_the_command_line(desk):
    desk.push()
    config = ["--config", str(desk.university.config_file)]
    listed = CliRunner().invoke(main, ["pushes", "list", *config])
    (push,) = desk.ledger.pushes(desk.university.repository())
    assert f"{push.id:6} " in listed.output
    assert "webhook" in listed.output
    dated = CliRunner().invoke(
        main, ["pushes", "received", str(push.id), "--at", "2026-09-10 12:00", "--why", "a mail", *config]
    )
    assert dated.exit_code == 0, dated.output
    assert desk.ledger.push(push.id).received == IN_TIME
