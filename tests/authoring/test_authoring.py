"""`autograder init` and `autograder new`: what they make works as it is."""

import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from autograder import config
from autograder.cli import main
from autograder.release import starter
from tests.support import ROOT

KINDS = ["--numpy", "--plain", "--cuda", pytest.param("--cpp", marks=pytest.mark.compiler)]
HERE = ["--numpy", "--cpp"]  # test_installed.py does the same for --plain


def run(*arguments):
    options = [option for option in map(str, arguments) if option != "--numpy"]
    return CliRunner().invoke(main, options)


def made(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def course(tmp_path):
    made("init", tmp_path / "course", "--name", "Compilers", "--plain")
    return tmp_path / "course"


def new(course, *arguments):
    return run("new", *arguments, "--config", course / "autograder.toml")


def test_a_course_is_a_folder_with_a_first_assignment(course):
    settings = config.load(course / "autograder.toml")
    assert settings.course.name == "Compilers"
    assert list(settings.assignments) == ["a0"]
    assert settings.assignments["a0"].packages == ()
    files = {path.relative_to(course).as_posix() for path in course.rglob("*") if path.is_file()}
    assert files == {
        ".gitignore",
        "autograder.toml",
        "conftest.py",
        "requirements.txt",
        "docs/a0.md",
        "hidden/a0/probes.py",
        "hidden/a0/test_score.py",
        "samples/a0/wrong-touching/src/__init__.py",
        "samples/a0/wrong-touching/src/a0.py",
        "src/__init__.py",
        "src/a0.py",
        "starter/.gitattributes",
        "starter/.gitignore",
        "starter/pytest.ini",
        "test_a0.py",
    }


def test_nothing_is_left_of_a_placeholder_and_no_line_is_long(course):
    new(course, "b0")
    new(course, "b1", "--cpp")
    for path in course.rglob("*"):
        if path.is_file() and path.suffix != ".md":
            for line in path.read_text().splitlines():
                assert len(line) <= 120, f"{path}: {line}"
        if path.is_file() and path.name != "build.py":
            text = path.read_text()
            assert not re.search(r"@\w+@", text), path


@pytest.mark.parametrize("kind", KINDS)
def test_the_starter_can_be_made_and_the_visible_tests_pass_with_the_solution(course, kind):
    assert new(course, "b0", kind).exit_code == 0
    settings = config.load(course / "autograder.toml")
    release = starter.build(settings, "b0")
    assert {path.partition("/")[0] for path in release.files} == {
        *("src", "README.md", "requirements.txt", "test_b0.py", "conftest.py"),
        *(".gitignore", ".gitattributes", "pytest.ini"),
    }
    files = ("b0.cpp", "b0.hpp", "binding.cpp", "__init__.py", "build.py")
    wanted = {f"src/b0_ext/{name}" for name in files} if kind == "--cpp" else {"src/b0.py"}
    assert {path for path in release.files if path.startswith("src/")} == {"src/__init__.py", *wanted}
    assert b"Task1 - Case3 | " in release.files["README.md"]
    assert b"`src/` may hold 500 files of at most 4 MiB, 16 MiB in all" in release.files["README.md"]
    assert (b"pytest -s test_b0.py" in release.files["README.md"]) == (
        kind == "--cpp"
    )  # what a crash refers to
    packages = {
        "--numpy": {"numpy"},
        "--cuda": {"numpy", "torch"},
        "--plain": set(),
        "--cpp": {"numpy", "pybind11"},
    }
    wanted = {"pytest", "pytest-timeout"} | packages[kind]
    lines = release.files["requirements.txt"].decode().splitlines()
    assert {line.split(">")[0] for line in lines if not line.startswith("#")} == wanted
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_b0.py"]
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_build_of_an_extension_is_the_one_of_this_repository(course):
    assert new(course, "b0", "--cpp").exit_code == 0
    ours = ROOT / "src" / "softmax_ext" / "build.py"
    assert (course / "src" / "b0_ext" / "build.py").read_bytes() == ours.read_bytes()
    assignment = config.load(course / "autograder.toml").assignments["b0"]
    assert assignment.given == tuple(f"src/b0_ext/{name}" for name in ("*.py", "*.hpp", "binding.cpp"))
    assert assignment.build.packages == ("pybind11",)


def test_tests_run_in_processes_of_their_own_as_in_this_repository(course):
    assert (course / "conftest.py").read_bytes() == (ROOT / "conftest.py").read_bytes()
    made("new", "b0", "--cpp", "--config", course / "autograder.toml")
    assert "pytest.mark.own_process" in (course / "test_b0.py").read_text()


def test_a_course_that_has_assignments_gets_one_more(tmp_path):
    """In our course: its handout has two languages, and Task3 is the next one."""
    for path in ("src", "docs", "starter", "hidden"):
        shutil.copytree(ROOT / path, tmp_path / path, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, tmp_path / path.name)
    assert new(tmp_path, "b0").exit_code == 0
    settings = config.load(tmp_path / "autograder.toml")
    assert settings.assignments["b0"].release.task == "Task3"
    release = starter.build(settings, "b0")
    assert "在 `src/b0.py` 里".encode() in release.files["README.zh-CN.md"]
    assert (tmp_path / "autograder.toml").read_text().startswith((ROOT / "autograder.toml").read_text())
    assert (tmp_path / "requirements.txt").read_text() == (ROOT / "requirements.txt").read_text()


def test_a_folder_that_is_not_empty_is_left_alone(course):
    result = run("init", course)
    assert result.exit_code == 2
    assert f"{course} is not an empty folder; give a new one" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a0"], "there is an assignment a0 already: "),
        (["b0", "--task", "0"], "Task0 is the task of a0; choose another number"),
        (["0b"], "'0b' cannot be the name of an assignment; use up to 32 letters"),
        (["for"], "'for' cannot be the name"),
        (["A0"], "docs/a0.md"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_changed(course, arguments, message):
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    result = new(course, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert {path: path.read_bytes() for path in course.rglob("*") if path.is_file()} == before


@pytest.mark.sandbox
@pytest.mark.release
@pytest.mark.parametrize("kind", HERE)
def test_it_is_checked_graded_and_released_as_it_is(tmp_path, kind):
    course = tmp_path / "course"
    made("init", course, kind)
    file = ["--config", course / "autograder.toml"]
    assert "the reference passes the suite" in made("config", "check", *file)
    graded = made("grade", course / "samples" / "a0", "-a", "a0", "--out", tmp_path / "grades", *file)
    assert "/ 100" in graded
    assert " 100 / 100" not in graded
    assert "starter 0 / 100" in made("release", "a0", "--to", tmp_path / "starter", *file)


@pytest.mark.sandbox
@pytest.mark.release
@pytest.mark.parametrize("kind", HERE)
def test_its_suite_is_good(tmp_path, kind):
    course = tmp_path / "course"
    made("init", course, kind)
    shown = made("suite", "check", "a0", "--min-kill", "1", "--config", course / "autograder.toml")
    assert "Survivors" not in shown
    assert "the cheat" not in shown
