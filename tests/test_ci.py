"""A CI job asks for the score of its commit: what it may ask, what it gets, and the workflow that asks."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from autograder import ci, config
from autograder.errors import GraderError
from autograder.ledger import Ledger
from autograder.ledger.rows import JobState, RepositoryName
from tests.course import Course
from tests.githost import Bare, script, serving

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "starter" / "github" / "workflows" / "grade.yml"
RIGHT = {"src/__init__.py": b"", "src/work.py": b"def double(x):\n    return 2 * x\n"}
HALF = RIGHT | {"src/work.py": b"def double(x):\n    return 2 * x if hasattr(x, 'shape') else None\n"}
ANN = RepositoryName("localhost", "cs", "t-ann")


@pytest.fixture(scope="module")
def staff(tmp_path_factory):
    return Course(tmp_path_factory.mktemp("course"))


@pytest.fixture
def settings(staff, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.sqlite")
    return config.load(staff.config_file)


@pytest.fixture
def bare(tmp_path):
    return Bare(tmp_path / "host" / "cs" / "t-ann.git")


def ask(settings, staff, bare, commit, *, token="", base=None):
    return ci.answer(
        settings,
        staff.config_file,
        ci.Request("cs/t-ann", commit, token),
        assignment="t",
        base=base or str(bare.path.parent.parent),
        branch="main",
        sandbox="none",
    )


def history(settings):
    with Ledger.open(settings.ledger_url()) as ledger:
        return ledger.history(ANN)


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


# the answer ----------------------------------------------------------------------------------------------


def test_a_commit_is_graded_recorded_and_published(settings, staff, bare):
    commit = bare.commit(HALF)
    text = ask(settings, staff, bare, commit)
    assert "| Total | 60 / 100 | 🥺 |  |" in text
    assert bare.show("score-feedback:score.md").decode() == text
    assert json.loads(bare.show("score-feedback:score.json"))["provenance"]["commit"] == commit
    (job,) = history(settings).jobs
    assert (job.job.state, job.job.commit, job.report.report.points) == (JobState.FINAL, commit, 60)
    assert [feedback.commit for feedback in job.feedback] == [bare.tip("score-feedback")]


def test_asked_again_it_answers_with_the_same_report(settings, staff, bare):
    commit = bare.commit(HALF)
    first = ask(settings, staff, bare, commit)
    tip = bare.tip("score-feedback")
    assert ask(settings, staff, bare, commit) == first
    assert bare.tip("score-feedback") == tip
    assert len(history(settings).pushes) == len(history(settings).jobs) == 1
    assert history(settings).jobs[0].job.tries == 1


def test_a_commit_that_is_not_the_tip_is_not_graded(settings, staff, bare):
    old = bare.commit(HALF)
    bare.commit(RIGHT, parent=old)
    with pytest.raises(GraderError, match="is not the tip of main"):
        ask(settings, staff, bare, old)
    assert history(settings).jobs == ()


def test_an_old_report_is_shown_but_not_published_over_a_newer_one(settings, staff, bare):
    old = bare.commit(HALF)
    first = ask(settings, staff, bare, old)
    bare.commit(RIGHT, parent=old)
    ask(settings, staff, bare, bare.tip("main"))
    assert ask(settings, staff, bare, old) == first
    assert "100 / 100" in bare.show("score-feedback:score.md").decode()


def test_a_commit_that_must_not_be_graded_costs_every_case(settings, staff, bare):
    source = bare.tree(("120000", b"work.py", bare.blob(b"/etc/passwd")))
    commit = bare.commit_tree(bare.tree(("40000", b"src", source)))
    text = ask(settings, staff, bare, commit)
    assert text.count("`src/work.py is a symbolic link; commit the file itself`") == 2
    assert "| Total | 0 / 100 |" in text


def test_a_fault_of_ours_gives_no_score_and_can_be_tried_again(settings, staff, bare, monkeypatch):
    commit = bare.commit(HALF)

    def fails(*_):
        raise GraderError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("autograder.grade.Grader.grade", fails)
        with pytest.raises(GraderError, match="disk full"):
            ask(settings, staff, bare, commit)
    assert bare.tip("score-feedback") is None
    assert history(settings).jobs[0].job.state is JobState.FAILED
    assert "60 / 100" in ask(settings, staff, bare, commit)
    assert history(settings).jobs[0].job.tries == 2


def test_who_cannot_open_the_repository_learns_nothing(settings, staff, bare):
    commit = bare.commit(HALF)
    right, wrong = "the-right-one", "the-wrong-one"
    with serving(bare.path.parent.parent, password=right) as site:
        assert "60 / 100" in ask(settings, staff, bare, commit, token=right, base=site.base)
        with pytest.raises(GraderError) as caught:
            ask(settings, staff, bare, commit, token=wrong, base=site.base)
    assert "60 / 100" not in str(caught.value)
    assert wrong not in str(caught.value)


# the workflow --------------------------------------------------------------------------------------------


def steps():
    """Return the `run:` steps of the workflow as (script, variables)."""
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    shared = workflow["env"]
    assert workflow["defaults"]["run"]["shell"] == "bash"
    return [(step["run"], shared | step.get("env", {})) for step in job["steps"]]


def run_workflow(settings, staff, bare, commit, tmp_path):
    """Run the steps in order as the runner does; return the summary and what was printed."""
    tools, runner = tmp_path / "tools", tmp_path / "runner"
    runner.mkdir()
    script(
        tools,
        "sudo",  # what sudo does here: another environment, the same input and output
        "#!/usr/bin/env bash\n"
        f'[[ "$1 $2 $3 $4" == "-n -u autograder --" ]] || exit 9\nshift 4\necho "$*" >> {tmp_path}/sudo.log\n'
        f"exec env -i PATH=/usr/local/bin:/usr/bin:/bin HOME={tmp_path} PYTHONPATH={ROOT} "
        f'AUTOGRADER_LEDGER_URL={settings.ledger_url()} "$@"\n',
    )
    program = script(
        tools,
        "autograder",
        f'#!/bin/sh\nexec {sys.executable} -m autograder "$@" --base {bare.path.parent.parent} --sandbox none '
        f"--config {staff.config_file}\n",
    )
    values = {"TOKEN": "job-token", "AUTOGRADER": str(program), "ASSIGNMENT": "t"}
    printed = ""
    for text, variables in steps():
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "GITHUB_REPOSITORY": "cs/t-ann",
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


def test_the_workflow_s_steps_grade_publish_and_show_the_table(settings, staff, bare, tmp_path):
    commit = bare.commit(HALF)
    summary, printed = run_workflow(settings, staff, bare, commit, tmp_path)
    assert summary is not None, printed
    assert "| Total | 60 / 100 | 🥺 |  |" in summary
    assert bare.show("score-feedback:score.md").decode() == summary
    assert "job-token" not in printed
    assert (
        tmp_path / "sudo.log"
    ).read_text() == f"{tmp_path}/tools/autograder ci t\n"  # no token among arguments


def test_the_workflow_fails_without_a_table_when_there_is_no_score(settings, staff, bare, tmp_path):
    old = bare.commit(HALF)
    bare.commit(RIGHT, parent=old)
    summary, printed = run_workflow(settings, staff, bare, old, tmp_path)
    assert summary is None
    assert "is not the tip of main" in printed
    assert not (tmp_path / "summary.md").exists()


def test_the_workflow_uses_nobody_else_s_actions_and_few_rights():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    assert not any("uses" in step for step in job["steps"])
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "write"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert set(workflow[True]) == {"push", "workflow_dispatch"}  # YAML reads `on` as a truth value
    assert job["if"] == "github.ref == 'refs/heads/main'"
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
