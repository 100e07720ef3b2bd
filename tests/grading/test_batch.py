"""Which commit a checkout is, found without trust in its configuration; and the files with the results."""

import csv
import io
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import autograder
from autograder.grading.batch import Batch, Found, find_checkouts, head_commit, write_grades, write_single
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


def test_a_checkout_of_another_owner_has_its_commit_too(checkout):
    if os.getuid() != 0:
        pytest.skip("only root can give a file to another user")
    commit = git(checkout, "rev-parse", "HEAD")
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 65534, 65534)
    assert head_commit(checkout) == commit


def test_one_checkout_or_a_folder_of_them(tmp_path):
    for name in ("bob", "ann"):
        (tmp_path / name / "src").mkdir(parents=True)
    assert find_checkouts(tmp_path).checkouts == (tmp_path / "ann", tmp_path / "bob")
    assert find_checkouts(tmp_path / "ann") == Found((tmp_path / "ann",), single=True)


def test_no_folder_and_no_archive_is_left_out(tmp_path):
    for name in ("ann/src", "bob/Src", "eve", "grades", ".git", "__MACOSX"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("ann.zip", "dan.tar.gz", "list.csv"):
        (tmp_path / name).touch()
    found = find_checkouts(tmp_path, out=tmp_path / "grades")
    assert [path.name for path in found.checkouts] == ["ann", "bob", "eve"]
    assert [path.name for path in found.packed] == ["dan.tar.gz"]
    assert [path.name for path in found.others] == ["ann.zip", "list.csv"]


def test_without_any_src_there_is_nothing_to_grade(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "ann.zip").touch()
    assert find_checkouts(tmp_path).checkouts == ()


def test_every_checkout_and_archive_has_a_row(tmp_path):
    refused = Report("a0", REPORT.cases, {"tree_digest": None})
    refused = replace(refused, cases=(replace(REPORT.cases[0], message="there is no folder src/"),))
    ann, bob, eve = (tmp_path / name for name in ("ann", "bob", "eve"))
    done = Batch({ann: [REPORT], bob: [refused], eve: []}, {(eve, "a0"): "not graded: interrupted"})
    write_grades(done, [tmp_path / "dan.zip"], ["a0"], tmp_path / "out")
    content = (tmp_path / "out" / "grades.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfsubmission,")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [(row["submission"], row["points"], row["reason"]) for row in rows] == [
        ("ann", "100", ""),
        ("bob", "100", "there is no folder src/"),
        ("dan.zip", "", "not graded: this is an archive, not a folder; unpack it"),
        ("eve", "", "not graded: interrupted"),
    ]


def test_files_of_a_checkout(tmp_path):
    write_single([REPORT], tmp_path / "out" / "ann")
    assert sorted(path.name for path in (tmp_path / "out" / "ann").iterdir()) == ["score.json", "score.md"]
    assert (tmp_path / "out" / "ann" / "score.md").stat().st_mode & 0o777 == 0o644
