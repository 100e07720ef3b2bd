"""Task2, the visible tests: each part of needle has tests that need no other part, and a mistake gets its hint.

A sample of samples/a2.toml gets `test_toy.py` beside it, which runs there as a student would run it.
"""

import shutil
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.samples import ALL, build

pytestmark = pytest.mark.release


def run(sample, selection, folder):
    checkout = build(ALL[sample], folder / "checkout")
    shutil.copy(ROOT / "test_toy.py", checkout)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_toy.py", "-k", selection]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize(
    ("sample", "selection"),
    [
        ("partial-needle-forward", "test_forward"),
        ("partial-needle-ops", "test_forward or test_gradient"),
        ("partial-needle-sort", "topo"),
        ("partial-needle-engine", "topo or (test_backward and not second)"),
        ("partial-needle-no-sort", "test_forward or test_gradient or (needle_softmax_loss and not grad)"),
    ],
)
def test_a_part_alone_passes_its_own_tests(sample, selection, tmp_path):
    result = run(sample, selection, tmp_path)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("sample", "selection", "hint"),
    [
        ("wrong-ops-relu-is-abs", "test_forward", "compute of ReLU"),
        ("wrong-ops-negate-sign", "test_gradient", "gradient of Negate for input 0: out_grad times"),
        ("wrong-ops-added-not-summed", "test_gradient", "sum_to_shape"),
        ("wrong-graph-right-first", "topo", "visit the inputs from left to right"),
        ("wrong-graph-recursion", "topo", "too deep for recursion"),
        ("wrong-graph-leaf-output", "test_backward", "the output may be a leaf"),
        ("wrong-graph-last-contribution", "test_backward", "both contributions count"),
        ("wrong-graph-accumulates", "test_backward", "a second backward replaces the grad"),
        ("wrong-training-loss-overflows", "needle", "subtract the largest logit of each row first"),
    ],
)
def test_a_mistake_fails_its_part_with_a_hint(sample, selection, hint, tmp_path):
    result = run(sample, selection, tmp_path)
    assert result.returncode == 1, result.stdout
    assert hint in result.stdout
