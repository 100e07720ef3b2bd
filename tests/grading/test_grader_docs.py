"""The grader's documentation, followed word by word."""

import json
import re
import subprocess
import sys

import pytest

from autograder.config import load
from autograder.grading.grader import Grader
from autograder.report import Report
from autograder.verdict import CaseResult, Verdict
from tests.support import ROOT
from tests.support.course import CourseFolder

pytestmark = pytest.mark.sandbox

DOCS = ROOT / "docs"


def code_blocks(document, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)


@pytest.fixture
def documented_folder(tmp_path):
    probes, score, _ = code_blocks("writing-an-assignment.md", "python")
    settings, *_ = code_blocks("writing-an-assignment.md", "toml")
    course_folder = CourseFolder(tmp_path, probes=probes, score=score)
    course_folder.write("autograder.toml", settings.replace("hidden/a3", "hidden/t"))
    course_folder.write("src/statistics.py", "def mean(x):\n    return x.sum() / len(x)\n")
    return course_folder


@pytest.mark.parametrize(
    ("body", "points"),
    [("x.sum() / len(x)", 100), ("x.sum()", 40), ("x.sum() / max(len(x) - 1, 1)", 40), ("x.mean()", 100)],
    ids=["right", "sum", "n-minus-1", "method"],
)
def test_the_assignment_written_in_the_guide_grades(documented_folder, body, points):
    course_folder = documented_folder
    root = course_folder.submission("one", **{"src/statistics.py": f"def mean(x):\n    return {body}\n"})
    with Grader(load(course_folder.config_file), "a3", config_file=course_folder.config_file) as grader:
        assert grader.grade(root).points == points


@pytest.mark.parametrize(
    ("body", "points"),
    [("x.mean(axis)", 20), ("x.mean(0)", 5), ("x.mean(1)", 15), ("x.mean()", 0)],
    ids=["right", "first", "second", "everything"],
)
def test_the_case_with_parts_in_the_guide_gives_points_for_each(tmp_path, body, points):
    *_, parts = code_blocks("writing-an-assignment.md", "python")
    imports = "import probes\n\nfrom autograder.testing import assert_close, case, part\n\n\n"
    probes = "def mean(x, axis):\n    from src.statistics import mean\n\n    return mean(x, axis)\n"
    course_folder = CourseFolder(tmp_path, probes=probes, score=imports + parts)
    course_folder.write("src/statistics.py", "def mean(x, axis):\n    return x.mean(axis)\n")
    code = f"def mean(x, axis):\n    return {body}\n"
    root = course_folder.submission("one", **{"src/statistics.py": code})
    with Grader(load(course_folder.config_file), "t", config_file=course_folder.config_file) as grader:
        assert grader.grade(root).points == points


def test_every_key_of_a_report_is_documented():
    text = (DOCS / "report-format.md").read_text()
    example, *_ = code_blocks("report-format.md", "json")
    documented = json.loads(example)
    report = Report("a0", (CaseResult("Task0 - Case1", Verdict.PASSED, 20, 20),)).to_json()
    assert documented.keys() == report.keys()
    assert documented["cases"][0].keys() == report["cases"][0].keys()
    rows = [line for line in text.splitlines() if re.match(r"\| `\w+` \| \W+ \|", line)]
    assert rows == [f"| `{one.value}` | {one.traits.icon} | {one.traits.meaning} |" for one in Verdict]


def test_every_provenance_key_is_documented(documented_folder):
    course_folder = documented_folder
    root = course_folder.submission("one", **{"src/statistics.py": "def mean(x):\n    return x.mean()\n"})
    example, *_ = code_blocks("report-format.md", "json")
    with Grader(load(course_folder.config_file), "a3", config_file=course_folder.config_file) as grader:
        assert grader.grade(root).provenance.keys() == json.loads(example)["provenance"].keys()


def test_test_script_grades_a_repository_with_the_hidden_suite(tmp_path):
    course_folder = CourseFolder(tmp_path)
    root = course_folder.submission("ann")
    result = subprocess.run(
        ["bash", str(ROOT / "test_script.sh"), str(root), "--out", str(tmp_path / "out")],
        env={"PATH": "/usr/bin:/bin", "AUTOGRADER_CONFIG": str(course_folder.config_file)}
        | _interpreter(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "| Total | 100 | 😊 |" in result.stdout


def _interpreter(folder):
    """A folder on PATH with an `autograder` of this environment."""
    program = folder / "bin" / "autograder"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m autograder "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}


def test_test_script_in_a_student_s_repository_says_where_to_look(tmp_path):
    script = tmp_path / "test_script.sh"
    script.write_bytes((ROOT / "test_script.sh").read_bytes())
    result = subprocess.run(
        ["bash", str(script)], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "score-feedback" in result.stderr
