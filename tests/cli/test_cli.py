"""The command line as people use it: tables, files, exit status."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.cli.config import config_group
from autograder.cli.hook import hook
from autograder.cli.ledger import ledger
from tests.support import ROOT
from tests.support.course import CourseFolder


def autograder(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "autograder", *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def environment(folder):
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "AUTOGRADER_CONFIG": str(folder / "autograder.toml"),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def course_folder(tmp_path_factory):
    course_folder = CourseFolder(tmp_path_factory.mktemp("course"))
    course_folder.submission("ann")
    course_folder.submission("bob", "def double(x):\n    return 2 * x if hasattr(x, 'shape') else None\n")
    course_folder.submission("eve", "import os\nos._exit(0)\n")
    return course_folder


@pytest.mark.sandbox
def test_one_checkout(course_folder):
    result = autograder("grade", "submissions/bob", cwd=course_folder.folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("# Score Summary\n\n| Test Case | Score | Status | Error Message |\n")
    assert "| Task1 - Case2 | 0 | ❌ | `the result is None, expected a number` |" in result.stdout
    assert "| Total | 60 | 🥺 |" in result.stdout
    folder = course_folder.folder / "submissions" / "bob"
    assert (folder / "score.md").read_text() in result.stdout
    assert json.loads((folder / "score.json").read_text())["points"] == 60


@pytest.mark.sandbox
def test_a_folder_of_checkouts(course_folder, tmp_path):
    result = autograder("grade", "submissions", "--out", tmp_path, "--jobs", "2", cwd=course_folder.folder)
    assert result.returncode == 0, result.stderr
    shown = {line.split()[0]: line.split()[2] for line in result.stdout.splitlines()}
    assert shown == {"ann": "100", "bob": "60", "eve": "0"}
    assert "3 graded, 0 faults" in result.stderr
    rows = list(csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8-sig")))
    assert [(row["submission"], row["points"]) for row in rows] == [
        ("ann", "100"),
        ("bob", "60"),
        ("eve", "0"),
    ]
    assert "| Task1 - Case1 | 0 | ❓ |" in (tmp_path / "eve" / "score.md").read_text()


@pytest.mark.sandbox
def test_a_folder_without_src_gets_a_row_with_the_reason(course_folder, tmp_path):
    course_folder.submission("ann")
    folder = tmp_path / "handed in"
    shutil.copytree(course_folder.folder / "submissions" / "ann", folder / "ann")
    shutil.copytree(folder / "ann" / "src", folder / "bob" / "Src")
    shutil.copytree(folder / "ann", folder / "dan" / "t-dan-main")
    (folder / "eve").mkdir()
    (folder / "fay.zip").touch()
    result = autograder("grade", folder, "--out", tmp_path / "out", cwd=course_folder.folder)
    assert result.returncode == 1, result.stderr  # the archive is not graded
    assert "fay.zip is an archive; unpack it" in result.stderr
    rows = list(csv.DictReader((tmp_path / "out" / "grades.csv").open(encoding="utf-8-sig")))
    assert [(row["submission"], row["points"], row["reason"].partition("/ in the ")[2]) for row in rows] == [
        ("ann", "100", ""),
        ("bob", "0", "repository, but a folder Src/: rename it to src"),
        ("dan", "0", "repository, but in its folder t-dan-main/: move what is in t-dan-main/ to the top"),
        ("eve", "0", "repository: it is empty"),
        ("fay.zip", "", ""),
    ]
    assert rows[-1]["reason"].startswith("not graded: ")


@pytest.mark.sandbox
def test_a_suite_that_cannot_start_does_not_end_the_other_assignments(tmp_path):
    course_folder = CourseFolder(tmp_path, settings='[assignments.broken]\nsuite = "hidden/broken"\n')
    course_folder.write("hidden/broken/test_score.py", "1 +\n")
    course_folder.write("hidden/broken/probes.py", "")
    for name in ("ann", "bob"):
        course_folder.submission(name)
    result = autograder("grade", "submissions", cwd=tmp_path)
    assert result.returncode == 1
    assert "broken: the suite cannot be collected" in result.stderr
    rows = list(csv.DictReader((tmp_path / "grades" / "grades.csv").open(encoding="utf-8-sig")))
    assert [(row["submission"], row["assignment"], row["points"]) for row in rows] == [
        ("ann", "t", "100"),
        ("ann", "broken", ""),
        ("bob", "t", "100"),
        ("bob", "broken", ""),
    ]
    assert rows[1]["reason"].startswith("not graded: the suite cannot be collected")


@pytest.mark.sandbox
def _listen_to_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell lets programs in the background ignore it


def test_ctrl_c_keeps_what_is_graded(tmp_path):
    course_folder = CourseFolder(tmp_path)
    course_folder.submission("ann")
    waits = "import time\ntime.sleep(100)\ndef double(x):\n    return 2 * x\n"
    for name in ("bob", "eve"):
        course_folder.submission(name, waits)
    command = [sys.executable, "-m", "autograder", "grade", "submissions", "--jobs", "1"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_listen_to_ctrl_c,
    ) as running:
        assert running.stdout.readline().split()[:3] == ["ann", "t", "100"]
        running.send_signal(signal.SIGINT)
        _, messages = running.communicate(timeout=120)
    assert running.returncode == 130, messages
    assert "interrupted: 2 reports are missing" in messages
    assert json.loads((tmp_path / "grades" / "ann" / "score.json").read_text())["points"] == 100
    rows = list(csv.DictReader((tmp_path / "grades" / "grades.csv").open(encoding="utf-8-sig")))
    assert [(row["submission"], row["points"], row["reason"]) for row in rows] == [
        ("ann", "100", ""),
        ("bob", "", "not graded: interrupted"),
        ("eve", "", "not graded: interrupted"),
    ]


@pytest.mark.sandbox
def test_json(course_folder, tmp_path):
    result = autograder("grade", "submissions/ann", "--json", "--out", tmp_path, cwd=course_folder.folder)
    (report,) = json.loads(result.stdout)
    assert report["points"] == 100


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", ["gradescope", "junit", "markdown"])
def test_export(course_folder, tmp_path, kind):
    autograder("grade", "submissions/bob", "--out", tmp_path, cwd=course_folder.folder)
    result = autograder("export", tmp_path / "score.json", "--format", kind, cwd=course_folder.folder)
    assert result.returncode == 0, result.stderr
    assert {"gradescope": '"score": 60', "junit": "<testsuite", "markdown": "# Score Summary"}[
        kind
    ] in result.stdout


@pytest.mark.sandbox
def test_export_of_several_assignments(tmp_path):
    course_folder = CourseFolder(tmp_path, settings='[assignments.u]\nsuite = "hidden/t"\n')
    course_folder.submission("ann")
    assert autograder("grade", "submissions/ann", cwd=tmp_path).returncode == 0
    score = tmp_path / "submissions" / "ann" / "score.json"
    score.write_text(score.read_text(), encoding="utf-8-sig")  # as some editors save it
    for kind, text in {
        "gradescope": '"score": 200',
        "junit": "<testsuites>",
        "markdown": "| Total |",
    }.items():
        result = autograder("export", score, "--format", kind, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert text in result.stdout


def test_export_refuses_what_is_no_report(course_folder, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    result = autograder("export", tmp_path / "x.json", "--format", "junit", cwd=course_folder.folder)
    assert result.returncode == 2
    assert "this is not a report" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["grade", "submissions/ann", "-a", "a9"], 2, "there is no assignment 'a9'"),
        (["grade", "nowhere"], 2, "does not exist"),
        (["grade", "hidden"], 2, "there is no folder src in hidden"),
        (["grade", "--sandbox", "magic"], 2, "is not one of"),
        (["grade", "--jobs", "0"], 2, "is not in the range"),
        (
            ["grade", "submissions/ann", "--image", "x", "--sandbox", "bwrap"],
            2,
            "--image needs --sandbox docker",
        ),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_wrong_usage(course_folder, arguments, status, message):
    result = autograder(*arguments, cwd=course_folder.folder)
    assert result.returncode == status
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.sandbox
def test_a_fault_of_ours_is_status_1_and_writes_no_score(tmp_path):
    course_folder = CourseFolder(tmp_path)
    course_folder.submission("ann")
    course_folder.write("src/work.py", "def double(x):\n    return 3 * x\n")  # a broken reference
    result = autograder("grade", "submissions/ann", cwd=course_folder.folder)
    assert result.returncode == 1
    assert "the reference itself fails 1 case(s)" in result.stderr
    assert not (course_folder.folder / "submissions" / "ann" / "score.md").exists()


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_graded(course_folder, tmp_path):
    (tmp_path / "file").touch()
    for path in ("submissions/ann", "submissions"):
        result = autograder("grade", path, "--out", tmp_path / "file" / "x", cwd=course_folder.folder)
        assert result.returncode == 1
        assert f"error: cannot write to {tmp_path / 'file' / 'x'}: Not a directory" in result.stderr
        assert "100" not in result.stdout
        assert "Traceback" not in result.stderr


def test_an_allowed_package_that_is_not_installed_is_named(tmp_path):
    course_folder = CourseFolder(tmp_path, settings='packages = ["numpy", "numpyy"]\n')
    course_folder.submission("ann")
    result = autograder("grade", "submissions/ann", cwd=course_folder.folder)
    assert result.returncode == 1
    assert "packages: numpyy is not installed here" in result.stderr


@pytest.mark.sandbox
def test_a_module_to_preload_that_is_not_installed_is_named(tmp_path):
    course_folder = CourseFolder(tmp_path, settings='preload = ["numpyy"]\n')
    course_folder.submission("ann")
    result = autograder("grade", "submissions/ann", cwd=course_folder.folder)
    assert result.returncode == 1
    assert "preload: numpyy cannot be imported" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_configuration_that_does_not_exist_is_named(tmp_path):
    (tmp_path / "src").mkdir()
    result = autograder("grade", ".", cwd=tmp_path)
    assert result.returncode == 2
    assert f"cannot read {tmp_path / 'autograder.toml'}" in result.stderr


# help --------------------------------------------------------------------------------------------------


def groups(command=main, path=()):
    """Yield the names that lead to each group of commands, and the group."""
    if isinstance(command, click.Group):
        yield path, command
        for name, child in command.commands.items():
            yield from groups(child, (*path, name))


def commands(command=main):
    """Yield every command and group."""
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from commands(child)


def help_of(path):
    result = CliRunner().invoke(main, [*path, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def test_help_names_every_command_once():
    listed = re.findall(r"^  (\w+) +[A-Z]", help_of(()).split("Options:")[1], re.MULTILINE)
    assert sorted(listed) == sorted(main.commands)
    for name in ("grade", "doctor", "export", "ledger"):
        assert name in listed


@pytest.mark.parametrize(
    "path", [path for path, _ in groups()], ids=lambda path: " ".join(path) or "autograder"
)
def test_help_shows_whole_summaries_on_one_line_each(path):
    text = help_of(path)
    assert "..." not in text.replace("[ARGS]...", "").replace("[OPTION]...", "")
    for name in dict(groups())[path].commands:
        (line,) = re.findall(rf"^  {name} +(.*)$", text, re.MULTILINE)
        assert line.endswith("."), f"the summary of {name} goes on in the next line"


def test_help_does_not_know_the_assignments_of_a_course():
    names = re.compile(r"\ba[0-9]\b|deep-learning")
    assert not names.search(help_of(()))
    for command in commands():
        for option in command.params:
            assert not names.search(getattr(option, "help", None) or ""), f"{command.name} {option.name}"


def test_the_help_of_an_option_is_a_sentence():
    for command in (*config_group.commands.values(), *hook.commands.values(), *ledger.commands.values()):
        for option in command.params:
            text = getattr(option, "help", None)
            if text:
                assert text[0].isupper() or "://" in text.split()[0], f"{command.name} {option.name}: {text}"
                assert text.endswith("."), f"{command.name} {option.name}: {text}"
