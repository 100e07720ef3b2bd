"""Which commit a checkout is, found without trust in its configuration; and the files with the results."""

import subprocess
from pathlib import Path

import pytest

import autograder
from autograder.grading.batch import find_checkouts, head_commit, write_many
from autograder.report import Report
from autograder.verdict import CaseResult, Verdict

pytestmark = pytest.mark.sandbox

REPORT = Report("a0", (CaseResult("Task0 - Case1", Verdict.PASSED, 100, 100),))


def git(folder, *arguments):
    identity = ["-c", "user.name=x", "-c", "user.email=x"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(params=["sha1", "sha256"])
def checkout(tmp_path, request):
    root = tmp_path / "checkout"
    (root / "src" / "needle").mkdir(parents=True)
    (root / "src" / "__init__.py").write_text("")
    (root / "src" / "needle" / "ops.py").write_text("x = 1\n")
    (root / "README.md").write_text("read me\n")
    subprocess.run(["git", "init", "-q", f"--object-format={request.param}", str(root)], check=True)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "x")
    return root


def test_a_clean_checkout_is_its_commit(checkout):
    assert head_commit(checkout) == git(checkout, "rev-parse", "HEAD")


def test_what_lies_outside_src_or_is_left_by_tools_does_not_matter(checkout):
    (checkout / "README.md").write_text("changed\n")
    (checkout / "src" / "__pycache__").mkdir()
    (checkout / "src" / "__pycache__" / "x.pyc").write_bytes(b"")
    assert head_commit(checkout) == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "change",
    [
        lambda src: (src / "needle" / "ops.py").write_text("x = 2\n"),
        lambda src: (src / "new.py").write_text(""),
        lambda src: (src / "needle" / "ops.py").unlink(),
        lambda src: (src / "link.py").symlink_to("needle/ops.py"),
    ],
    ids=["changed", "added", "removed", "refused"],
)
def test_a_checkout_with_changes_below_src_is_no_commit(checkout, change):
    change(checkout / "src")
    assert head_commit(checkout) is None


def test_variables_of_the_caller_do_not_reach_git(checkout, monkeypatch, tmp_path):
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.repositoryFormatVersion=99'")
    assert head_commit(checkout) == commit


def test_whoever_runs_git_does_so_in_the_one_closed_environment():
    package = Path(autograder.__file__).parent
    texts = {path: path.read_text() for path in package.rglob("*.py")}
    callers = {path.name: text for path, text in texts.items() if '["git", ' in text}
    assert callers.keys() >= {"batch.py", "process.py", "repository.py", "starter.py"}
    assert [name for name, text in callers.items() if "closed_environment(" not in text] == []


def test_a_folder_without_git_is_no_commit(tmp_path):
    (tmp_path / "src").mkdir()
    assert head_commit(tmp_path) is None


def test_one_checkout_or_a_folder_of_them(tmp_path):
    for name in ("bob", "ann"):
        (tmp_path / name / "src").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    assert find_checkouts(tmp_path) == [tmp_path / "ann", tmp_path / "bob"]
    assert find_checkouts(tmp_path / "ann") == [tmp_path / "ann"]


def test_files_of_several_checkouts(tmp_path):
    write_many({tmp_path / "ann": [REPORT], tmp_path / "bob": []}, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == [
        "ann",
        "grades.csv",
        "score.json",
        "score.md",
    ]
    assert (tmp_path / "out" / "ann" / "score.md").stat().st_mode & 0o777 == 0o644
