"""`pytest test_with_ref.py`: skipped without the reference, and a true comparison with it.

Here the reference is a copy of `src` under the name `ref`, as the released package has it.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest

from autograder.release import handout
from tests.support import ROOT

pytestmark = pytest.mark.release


@pytest.fixture
def student_repository(tmp_path):
    for package in ("student/src", "reference/ref"):
        shutil.copytree(ROOT / "src", tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ("test_with_ref.py", "conftest.py", "starter/pytest.ini"):
        shutil.copy(ROOT / path, tmp_path / "student")
    return tmp_path / "student"


def compare(folder, *arguments, reference=True):
    environment = os.environ | ({"PYTHONPATH": str(folder.parent / "reference")} if reference else {})
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_with_ref.py", *arguments]
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


def test_a_seed_that_was_printed_repeats_the_inputs(student_repository):
    path = student_repository / "src" / "softmax.py"
    path.write_text(path.read_text().replace("Z /= len(y)", "Z /= len(y) + 1"))
    first = compare(student_repository, "-k", "nn_epoch and even and not needle").stdout
    seed = re.search(r"^random inputs: --seed (\d+) repeats them$", first, re.MULTILINE)[1]
    assert f"--seed {seed} repeats these inputs" in first  # beside the failure too
    numbers = re.compile(r"\d+ of \d+ values differ .*$", re.MULTILINE)
    again = compare(student_repository, "-k", "nn_epoch and not needle", "--seed", seed).stdout
    assert numbers.search(first)[0] in again
    other = compare(student_repository, "-k", "nn_epoch and even and not needle", "--seed", f"{seed}1").stdout
    assert numbers.search(first)[0] not in other


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("X /= 255", "X /= 256"), ("{name}: magic number", "magic number"), ("labels.copy()", "labels")],
    ids=["pixels", "unnamed-file", "read-only"],
)
def test_parse_mnist_is_compared(student_repository, right, wrong):
    path = student_repository / "src" / "mnist.py"
    assert path.read_text().count(right) == 1
    path.write_text(path.read_text().replace(right, wrong))
    result = compare(student_repository, "-k", "mnist")
    assert result.returncode == 1, result.stdout


def test_a_device_that_is_not_there_is_why_a_test_is_skipped(student_repository):
    result = compare(student_repository, "-k", "linear", "--device", "cuda:9")
    assert result.returncode == 0, result.stdout
    assert re.search(
        r"^SKIPPED \[4\].*--device cuda:9: PyTorch cannot use it here: ", result.stdout, re.MULTILINE
    )


def test_tasks_absent_from_an_assignment_are_left_out(student_repository):
    shutil.rmtree(student_repository / "src" / "needle")
    path = student_repository / "test_with_ref.py"
    released = {f"src/{name}" for name in ("linear.py", "softmax.py", "softmax_ext/binding.cpp")}
    path.write_text(handout.own_sections(path.read_text(), released))
    result = compare(student_repository)
    assert result.returncode == 0, result.stdout
    assert "needle" not in result.stdout
