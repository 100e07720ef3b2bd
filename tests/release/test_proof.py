"""Nothing leaves unproven: `autograder release` on a small course with a fault in it, and on ours."""

import subprocess

import pytest
from click.testing import CliRunner

from autograder.cli import main
from tests.support.githost import git
from tests.support.staff import ENGLISH, SETTINGS, TOY, WORK, Staff


def release(staff, to, *options, assignment="t"):
    arguments = [
        "release",
        assignment,
        "--to",
        str(to),
        "--config",
        str(staff.config_file),
        "--sandbox",
        "none",
    ]
    return CliRunner().invoke(main, [*arguments, *options])


@pytest.fixture
def out(tmp_path):
    return tmp_path / "handed" / "out"


def refused(staff, out, message):
    """Expect that nothing is handed out, and one line that says why."""
    result = release(staff, out)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not out.exists()
    assert list(out.parent.iterdir()) == []  # nor is anything left behind


def test_a_starter_is_handed_out_twice_as_the_same_commit(tmp_path, out):
    staff = Staff(tmp_path / "staff")
    first = release(staff, out)
    assert first.exit_code == 0, first.output
    for line in (
        "leaks: none; ",
        "test_toy.py: 1 to write",
        "scores: reference 100 / 100, starter 0 / 100",
        f"{out}: commit {git(out, 'rev-parse', 'main')}",
    ):
        assert line in first.stderr
    assert git(out, "status", "--porcelain") == ""
    (tmp_path / "again").mkdir()
    release(staff, tmp_path / "again")
    assert git(tmp_path / "again", "rev-parse", "HEAD") == git(out, "rev-parse", "HEAD")


def test_a_contact_that_is_not_set_is_said(tmp_path):
    staff = Staff(tmp_path / "staff")
    assert "set contact in [course]" in release(staff, tmp_path / "without").stderr
    text = staff.config_file.read_text()
    staff.config_file.write_text(
        '[course]\ncontact = "help@course.example"\n' + text.replace('course = "test"\n', "")
    )
    assert "set contact" not in release(staff, tmp_path / "with").stderr


def test_a_table_of_cases_that_is_not_that_of_the_suite_is_refused(tmp_path, out):
    staff = Staff(tmp_path / "staff")
    staff.write("docs/assignment.md", f"{ENGLISH}\n| Task1 - Case1 | 99 |\n")
    refused(staff, out, "the table of cases in docs/assignment.md is not that of the suite: Task1 - Case")


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_proven(tmp_path):
    (tmp_path / "file").touch()
    result = release(Staff(tmp_path / "staff"), tmp_path / "file" / "t")
    assert result.exit_code == 1
    assert f"error: cannot write to {tmp_path / 'file'}: " in result.stderr
    assert "leaks" not in result.stderr


def test_a_folder_that_is_not_empty_is_refused(tmp_path, out):
    out.mkdir(parents=True)
    (out / "mine").touch()
    result = release(Staff(tmp_path / "staff"), out)
    assert result.exit_code == 2
    assert "is not empty; give a new folder" in result.stderr
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_help_names_the_assignments_of_the_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_CONFIG", str(Staff(tmp_path).config_file))
    shown = CliRunner().invoke(main, ["release", "--help"]).output.partition("Commands:")[2].split("\n")
    assert [line.split()[0] for line in shown if line] == ["t", "s", "u", "image", "ref"]


def test_help_works_without_a_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_CONFIG", str(tmp_path / "none.toml"))
    result = CliRunner().invoke(main, ["release", "--help"])
    assert result.exit_code == 0
    assert "ASSIGNMENT --to DIR" in result.output


@pytest.mark.parametrize("options", [(), ("--to", "x", "--update", ".")], ids=["neither", "both"])
def test_either_a_new_folder_or_an_update(tmp_path, options):
    result = CliRunner().invoke(main, ["release", "t", *options])
    assert result.exit_code == 2
    assert "give either --to DIR or --update DIR" in result.stderr


def test_an_update_is_proven_too_and_says_what_it_did(tmp_path, out):
    staff = Staff(tmp_path / "staff")
    release(staff, out)
    (out / "src" / "work.py").write_text("mine = 1\n")
    git(out, "commit", "--quiet", "--all", "-m", "work")
    staff.write("Dockerfile", "FROM new\n")
    staff.write("src/work.py", WORK.replace("Return twice x.", "Return two times x."))
    options = ["--update", str(out), "--config", str(staff.config_file), "--sandbox", "none"]
    result = CliRunner().invoke(main, ["release", "t", *options])
    assert result.exit_code == 0, result.output
    assert f"{out}: commit {git(out, 'rev-parse', 'main')}: Dockerfile\n" in result.stderr
    assert f"{out}: left as the student has them: src/work.py\n" in result.stderr
    (tmp_path / "nothing").mkdir()
    result = CliRunner().invoke(main, ["release", "t", "--update", str(tmp_path / "nothing"), *options])
    assert result.exit_code == 1
    assert f"{tmp_path / 'nothing'}: failed: " in result.stderr
    assert f"{out}: nothing to update" in result.stderr
    assert "1 of 2 repositories were not updated; see above" in result.stderr


def test_a_reference_that_loses_points_is_refused(tmp_path, out):
    staff = Staff(tmp_path / "staff")
    staff.write("src/work.py", WORK.replace("return x * factor", "return x * factor + 1"))
    refused(staff, out, "error: ")


def test_a_starter_that_scores_otherwise_than_declared_is_refused(tmp_path, out):
    staff = Staff(tmp_path / "staff", settings=SETTINGS.replace("score = 0", "score = 40", 1))
    refused(staff, out, "the starter scores 0 of 100, but declares 40")


@pytest.mark.parametrize(
    ("toy", "message"),
    [
        ("import src.nothing\n\n\ndef test_it():\n    src.nothing()\n", "No module named 'src.nothing'"),
        (
            f"{TOY}\n\ndef test_broken():\n    assert 1 == 2\n",
            "test_broken fails, but not for a missing solution",
        ),
        (
            f'{TOY}\n\ndef test_other():\n    raise NotImplementedError("later")\n',
            "test_other fails, but not",
        ),
        ("def test_nothing():\n    pass\n", "passes, although src/work.py have stubs"),
        ("raise SystemExit(3)\n", "test_toy.py of the starter"),
    ],
    ids=["import", "assertion", "not-a-task", "says-nothing", "exit"],
)
def test_visible_tests_that_fail_otherwise_are_refused(tmp_path, out, toy, message):
    staff = Staff(tmp_path / "staff")
    staff.write("test_toy.py", toy)
    refused(staff, out, message)


def test_a_planted_leak_is_refused(tmp_path, out):
    staff = Staff(tmp_path / "staff")
    staff.write("test_with_ref.py", "# return _scaled_by_a_factor(x, 2 + math.floor(0.5))\n")
    refused(staff, out, "test_with_ref.py:1: a line of the solution in src/work.py")


@pytest.mark.sandbox
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("assignment", "score", "tests"),
    [("a0", 100, "9 passed"), ("a1", 0, " to write"), ("a2", 0, " to write")],
)
def test_ours_are_handed_out(tmp_path, assignment, score, tests):
    out = tmp_path / assignment
    result = CliRunner().invoke(main, ["release", assignment, "--to", str(out)])
    assert result.exit_code == 0, result.output
    assert f"reference 100 / 100, starter {score} / 100" in result.stderr
    assert tests in result.stderr
    assert git(out, "status", "--porcelain") == ""
    says = subprocess.run(
        ["bash", "test_script.sh"], cwd=out, env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert b"The hidden suite is not here" in says.stderr
