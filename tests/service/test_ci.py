"""A CI job asks for the score of its commit: the request, the result, and the workflow that asks."""

import io
import json
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml

from autograder.errors import GraderError
from autograder.grading import seal
from autograder.ledger import JobState, Ledger, Source
from autograder.service import ci
from tests.support import ROOT
from tests.support.githost import script, serving
from tests.support.university import HALF, RIGHT, PretendedGraders, University, now

WORKFLOW = ROOT / "starter" / ".github" / "workflows" / "grade.yml"
CLOSED = 'closes = "2026-09-15 23:59"\nzone = "UTC"'
LATE = datetime(2026, 9, 20, tzinfo=timezone.utc)


@pytest.fixture
def university(tmp_path, request):
    return University(tmp_path, assignment=getattr(request, "param", ""))


@pytest.fixture
def graders():
    return PretendedGraders()


def ask(university, graders, commit, *, token="", repository="dls/t-ann", **options):
    return ci.grade(university.config(), ci.Request(repository, commit, token), graders, **options)


def history(university):
    settings = university.config()
    with Ledger.open(settings.ledger_url(), folder=Path(settings.folder)) as ledger:
        return ledger.history(university.repository())


# the request ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"cs/t-ann\n",
        b"cs/t-ann\nmain\ntoken\n",
        b"cs/t-ann\n" + b"a" * 39 + b"\ntoken\n",
        b"../t-ann\n" + b"a" * 40 + b"\n\n",
        b"--help\n" + b"a" * 40 + b"\n\n",
        b"cs/t-ann\n" + b"a" * 40 + b"\ntoken\nmore\n",
        b"cs/t-ann\n" + b"a" * 40 + b"\n" + b"t" * 5000,
        "cs/t-änn\n".encode() + b"a" * 40 + b"\n\n",
    ],
)
def test_what_is_no_request_is_refused(content):
    with pytest.raises(GraderError, match=r"three lines|not a repository|not the full id"):
        ci.read_request(io.BytesIO(content))


def test_a_request_hides_its_token():
    request = ci.read_request(io.BytesIO(b"cs/t-ann\n" + b"a" * 40 + b"\nvery-secret\n"))
    assert request == ci.Request("cs/t-ann", "a" * 40, "very-secret")
    assert "very-secret" not in repr(request)


# the result ----------------------------------------------------------------------------------------------


def test_a_commit_is_graded_recorded_and_published(university, graders):
    commit = university.push(HALF).commit
    assert "| Total | 40 | 🥺 | |" in ask(university, graders, commit)
    assert university.score() == 40
    assert university.published() == [commit]
    (push,), (job,) = history(university).pushes, history(university).jobs
    assert (push.commit, push.ref) == (commit, "refs/heads/main")
    assert (job.job.state, job.job.commit, job.report.report.points) == (JobState.FINAL, commit, 40)


def test_what_is_published_bears_the_seal_of_the_course(university, graders):
    ask(university, graders, university.push().commit)
    assert seal.KEY in json.loads(university.bare().show("score-feedback:score.json"))


def test_a_second_request_gets_the_same_report(university, graders):
    commit = university.push().commit
    first = ask(university, graders, commit)
    tip = university.bare().tip("score-feedback")
    assert ask(university, graders, commit) == first
    assert university.bare().tip("score-feedback") == tip
    assert graders.graded == [commit]
    assert len(history(university).pushes) == 1


def test_a_repository_that_asks_twice_at_once_is_graded_once(university, graders):
    commit = university.push().commit
    second = threading.Thread(target=ask, args=(university, PretendedGraders(), commit), daemon=True)
    alone = []

    def meanwhile(*_):
        second.start()
        second.join(1)
        alone.append(second.is_alive())

    graders.before = meanwhile
    assert "| Total | 100 |" in ask(university, graders, commit)
    second.join(60)
    assert not second.is_alive()
    assert alone == [True]
    (job,) = history(university).jobs
    assert sum(change.after is JobState.RUNNING for change in job.changes) == 1


def test_a_commit_that_was_recorded_is_graded_whatever_came_later(university, graders):
    """Its first CI job was cancelled after the push was recorded; now GitHub runs it again."""
    old = university.push(HALF)
    with university.parts() as parts:
        parts.intake.receive(old, now(), source=Source.CI)
    university.push()
    assert "| Total | 40 |" in ask(university, graders, old.commit)
    assert university.score() == 40


def test_a_commit_that_the_host_recorded_is_graded_whatever_came_later(university, graders):
    """Its first CI job was cancelled before it reached the grader."""
    university.bare().git("config", "core.logAllRefUpdates", "true")
    log = university.bare().path / "logs" / "refs" / "heads" / "main"
    old = university.push(HALF)
    new = university.push()
    log.write_text(
        f"{'0' * 40} {old.commit} a <a@b> 1789380000 +0000\tpush\n"
        f"{old.commit} {new.commit} a <a@b> 1789380060 +0000\tpush\n"
    )
    assert "| Total | 40 |" in ask(university, graders, old.commit)


def test_a_branch_that_is_set_back_shows_the_score_of_that_commit_again(university, graders):
    old = university.push(HALF)
    ask(university, graders, old.commit)
    new = university.push()
    ask(university, graders, new.commit)
    assert university.score() == 100
    university.bare().git("update-ref", "refs/heads/main", old.commit)
    ask(university, graders, old.commit)
    assert university.score() == 40


@pytest.mark.parametrize("university", ["pushes_per_hour = 1"], indirect=True)
def test_without_a_service_a_push_over_the_limit_is_graded_when_its_job_runs_again(university, graders):
    start = datetime.now(timezone.utc)

    def after(minutes):
        return {"clock": lambda: start + timedelta(minutes=minutes)}

    ask(university, graders, university.push(HALF).commit, **after(0))
    commit = university.push().commit
    for minutes in (1, 59):  # another run of the job grades nothing before its time
        assert "| Total |" not in ask(university, graders, commit, **after(minutes))
    assert (len(graders.graded), university.score()) == (1, 40)
    assert "| Total | 100 |" in ask(university, graders, commit, **after(61))
    assert university.score() == 100
    ask(university, graders, commit, **after(70))
    assert len(graders.graded) == 2


def test_a_starter_is_not_graded(university, graders):
    starter = university.push(HALF)
    with university.parts() as parts:
        parts.ledger.add_own_commit(starter.commit, "starter of t")
    with pytest.raises(GraderError, match="made by the course staff"):
        ask(university, graders, starter.commit)


def test_a_commit_that_is_not_the_tip_is_not_graded(university, graders):
    old = university.push(HALF).commit
    university.push()
    with pytest.raises(GraderError, match="is not the tip of main"):
        ask(university, graders, old)
    assert graders.graded == []


def test_an_old_report_is_shown_but_not_published_over_a_newer_one(university, graders):
    old = university.push(HALF).commit
    first = ask(university, graders, old)
    ask(university, graders, university.push().commit)
    assert ask(university, graders, old) == first
    assert university.score() == 100


def test_a_branch_that_returns_to_an_earlier_commit_is_a_push(university, graders):
    old = university.push(HALF).commit
    ask(university, graders, old)
    new = university.push().commit
    ask(university, graders, new)
    university.bare().git("update-ref", "refs/heads/main", old)
    ask(university, graders, old)
    assert [push.commit for push in history(university).pushes] == [old, new, old]
    assert graders.graded == [old, new]


@pytest.mark.parametrize("university", [CLOSED], indirect=True)
def test_a_late_push_gets_feedback_and_is_not_graded(university, graders):
    commit = university.push().commit
    text = ask(university, graders, commit, clock=lambda: LATE)
    assert "not graded: late; see score.md on the branch score-feedback" in text
    assert "There is no score yet." in university.text()
    assert graders.graded == []


def test_a_fault_of_the_grader_gives_no_score_and_can_be_tried_again(university, graders):
    commit = university.push().commit

    def fails(*_):
        raise GraderError("disk full")

    graders.before = fails
    with pytest.raises(GraderError, match=r"failed: .*disk full"):
        ask(university, graders, commit)
    assert university.published() == []
    graders.before = lambda *_: None
    assert "| Total | 100 |" in ask(university, graders, commit)


@pytest.mark.parametrize(
    ("repository", "options", "message"),
    [
        ("dls/other", {}, "no assignment is configured for git.uni.example/dls/other"),
        ("dls/t-ann", {"host": "elsewhere.example"}, "no assignment is configured"),
    ],
)
def test_what_does_not_belong_to_the_course_is_refused(university, graders, repository, options, message):
    commit = university.push().commit
    with pytest.raises(GraderError, match=message):
        ask(university, graders, commit, repository=repository, **options)


def test_who_cannot_open_the_repository_learns_nothing(university, graders):
    commit = university.push().commit
    university.bare().git("config", "http.receivepack", "true")
    right, wrong = "the-right-one", "the-wrong-one"
    with serving(university.folder / "host", password=right) as site:
        text = university.config_file.read_text().replace('"folder"', '"gitea"').replace("../host", site.base)
        university.config_file.write_text(text)
        assert "| Total | 100 |" in ask(university, graders, commit, token=right)
        with pytest.raises(GraderError) as caught:
            ask(university, graders, commit, token=wrong)
    assert "100 / 100" not in str(caught.value)
    assert wrong not in str(caught.value)


def test_who_cannot_write_to_a_public_repository_cannot_spoil_its_job(university, graders):
    commit = university.push().commit
    university.bare().git("config", "http.receivepack", "false")
    stranger = "of-a-job-elsewhere"
    with serving(university.folder / "host") as site:
        text = university.config_file.read_text().replace('"folder"', '"gitea"').replace("../host", site.base)
        university.config_file.write_text(text)
        for _ in range(7):  # more often than a job is tried
            with pytest.raises(GraderError):
                ask(university, graders, commit, token=stranger)
        assert graders.graded == []
        university.bare().git("config", "http.receivepack", "true")
        assert "| Total | 100 |" in ask(university, graders, commit)
    assert university.published() == [commit]


# the workflow --------------------------------------------------------------------------------------------


def steps():
    """Return the `run:` steps of the workflow as (script, variables)."""
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    assert workflow["defaults"]["run"]["shell"] == "bash"
    return [(step["run"], step.get("env", {})) for step in job["steps"]]


def run_workflow(university, commit, tmp_path):
    """Run the steps in order as the runner does; return the summary and the output."""
    tools, runner = tmp_path / "tools", tmp_path / "runner"
    runner.mkdir()
    script(
        tools,
        "sudo",  # as sudo: another environment, the same input and output
        "#!/usr/bin/env bash\n"
        f'[[ "$1 $2 $3 $4" == "-n -u autograder --" ]] || exit 9\nshift 4\necho "$*" >> {tmp_path}/sudo.log\n'
        f"exec env -i PATH=/usr/local/bin:/usr/bin:/bin HOME={tmp_path} PYTHONPATH={ROOT} "
        f'AUTOGRADER_CONFIG={university.config_file} "$@"\n',
    )
    program = script(tools, "autograder", f'#!/bin/sh\nexec {sys.executable} -m autograder "$@"\n')
    values = {"TOKEN": "job-token", "AUTOGRADER": str(program)}
    printed = ""
    for text, variables in steps():
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "GITHUB_REPOSITORY": "dls/t-ann",
            "GITHUB_SHA": commit,
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "RUNNER_TEMP": str(runner),
        } | {name: values[name] for name in variables}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
            cwd=runner, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        printed += done.stdout + done.stderr
        if done.returncode:
            return None, printed
    return (tmp_path / "summary.md").read_text(), printed


def without_a_wall(university):
    text = university.config_file.read_text()
    university.config_file.write_text(f'{text}\n[sandbox]\nkind = "none"\n')


def test_the_workflow_s_steps_grade_publish_and_show_the_table(university, tmp_path):
    without_a_wall(university)
    commit = university.push(RIGHT).commit
    summary, printed = run_workflow(university, commit, tmp_path)
    assert summary is not None, printed
    assert "| Total | 100 | 😊 | |" in summary
    assert university.score() == 100
    assert "job-token" not in printed
    assert (
        tmp_path / "sudo.log"
    ).read_text() == f"{tmp_path}/tools/autograder ci\n"  # no token among arguments


def test_the_workflow_fails_without_a_table_when_there_is_no_score(university, tmp_path):
    old = university.push(HALF).commit
    university.push()
    summary, printed = run_workflow(university, old, tmp_path)
    assert summary is None
    assert "is not the tip of main" in printed
    assert not (tmp_path / "summary.md").exists()


def test_the_workflow_uses_nobody_else_s_actions_and_few_rights():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    assert not any("uses" in step for step in job["steps"])
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "write"}
    # a late push must not cancel one that waits
    assert workflow["concurrency"] == {"group": "grade-${{ github.sha }}", "cancel-in-progress": False}
    assert set(workflow[True]) == {"push", "workflow_dispatch"}  # YAML reads `on` as a truth value
    # without a runner that the organisation names, no job waits for one
    assert job["if"] == "vars.AUTOGRADER_RUNNER != '' && github.ref == 'refs/heads/main'"
    assert "vars.AUTOGRADER_RUNNER" in job["runs-on"]
    assert all("${{" not in step["run"] for step in job["steps"])


@pytest.mark.parametrize(
    "path", [WORKFLOW, *sorted((ROOT / ".github" / "workflows").glob("*.yml"))], ids=lambda p: p.name
)
@pytest.mark.parametrize("tool", ["actionlint", "zizmor"])
def test_the_workflows_pass(tool, path, tmp_path):
    (tmp_path / "actionlint.yaml").write_text("self-hosted-runner:\n  labels: [gpu]\n")
    arguments = {
        "actionlint": ["-config-file", tmp_path / "actionlint.yaml"],
        "zizmor": ["--offline", "--persona", "pedantic", "--no-progress"],
    }
    command = [Path(sys.executable).parent / tool, *arguments[tool], path]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
