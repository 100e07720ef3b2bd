"""`pytest test_with_ref.py`: skipped without the reference, and a true comparison with it.

Here the reference is a copy of `src` under the name `ref`, as the released package has it.
"""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.release


@pytest.fixture
def student_repository(tmp_path):
    for package in ("student/src", "reference/ref"):
        shutil.copytree(ROOT / "src", tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "test_with_ref.py", tmp_path / "student")
    return tmp_path / "student"


def compare(folder, *arguments, reference=True):
    environment = os.environ | ({"PYTHONPATH": str(folder.parent / "reference")} if reference else {})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_with_ref.py", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_all_pass_against_the_reference(student_repository):
    result = compare(student_repository)
    assert result.returncode == 0, result.stdout
    assert "skipped" not in result.stdout
    assert "passed" in result.stdout


def test_a_wrong_result_fails(student_repository):
    path = student_repository / "src" / "softmax.py"
    path.write_text(path.read_text().replace("Z /= len(y)", "Z /= len(y) + 1"))
    result = compare(student_repository, "-k", "epoch and not cpp and not needle")
    assert result.returncode == 1
    assert "6 failed" in result.stdout


def test_skipped_without_the_reference_with_how_to_get_it(student_repository):
    result = compare(student_repository, "-rs", reference=False)
    assert "1 skipped" in result.stdout
    assert "run_docker.sh pytest test_with_ref.py" in result.stdout


def test_tasks_absent_from_an_assignment_are_skipped(student_repository):
    shutil.rmtree(student_repository / "src" / "needle")
    result = compare(student_repository, "-rs", "-k", "needle or op")
    assert result.returncode == 0, result.stdout
    assert "src/needle is not part of this assignment" in result.stdout
