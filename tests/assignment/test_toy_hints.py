"""The visible tests themselves: each common mistake fails the test that is meant for it, with its hint.

A copy of the repository's student side gets one mistake by replacing text in one file; then
`pytest test_toy.py` runs there as a student would run it.
"""

import shutil
import subprocess
import sys

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.release

# file, right text, wrong text, the tests that must fail (in `-k` words), what the failure must say
MISTAKES = {
    "W_grad accumulates": (
        "linear.py",
        "self.W_grad = X.reshape(-1, W.shape[0]).T @ G.reshape(-1, W.shape[1])",
        "self.W_grad = (0 if self.W_grad is None else self.W_grad) + "
        "X.reshape(-1, W.shape[0]).T @ G.reshape(-1, W.shape[1])",
        "test_linear_second_backward",
        "replaced, not added to",
    ),
    "requires grad": (
        "linear.py",
        "return G @ W.T",
        "return (G @ W.T).requires_grad_()",
        "test_linear_needs_no_autograd",
        "grad_input requires grad",
    ),
    "gradients by autograd": (
        "linear.py",
        "return G @ W.T",
        "return torch.autograd.grad(self(X.requires_grad_()).sum(), X)[0]",
        "test_linear_backward and not needs",
        "Task0 is without autograd: compute W_grad and the gradient of the input by hand",
    ),
    "import of a package that is not allowed": (
        "softmax.py",
        "import numpy as np\n",
        "import numpy as np\nfrom scipy import special\n",
        "test_imports",
        "src/softmax.py, line 17, imports scipy; this assignment allows the standard library, torch, numpy,",
    ),
    "import of a package in a function": (
        "softmax.py",
        "    return x + y\n",
        "    from jax import numpy as jnp\n\n    return x + y\n",
        "test_imports",
        "imports jax; this assignment allows",
    ),
    "import of an own file without a dot": (
        "softmax.py",
        "import numpy as np\n",
        "import numpy as np\nimport mnist\n",
        "test_imports",
        "tqdm, and your own files with a dot",
    ),
    "pixels by min-max": (
        "mnist.py",
        "X /= 255",
        "X /= 254",
        "test_parse_mnist",
        "each pixel divided by 255",
    ),
    "sum instead of mean": (
        "softmax.py",
        "return np.mean(logsumexp",
        "return np.sum(logsumexp",
        "test_softmax_loss",
        "the mean over the batch, not the sum",
    ),
    "exp overflows": (
        "softmax.py",
        "largest = Z.max(axis=1)",
        "largest = 0 * Z.max(axis=1)",
        "test_softmax_loss_of_large_logits",
        "subtract the largest logit",
    ),
    "last batch divided by batch": (
        "softmax.py",
        "theta -= lr * (Xb.T",
        "theta -= lr * len(yb) / batch * (Xb.T",
        "test_softmax_regression_epoch and not cpp",
        "divide by 1 there, not by batch=2",
    ),
    "W2 updated before G1": (
        "softmax.py",
        "        G1 = (Z1 > 0) * (G2 @ W2.T)\n",
        "        W2 -= lr * (Z1.T @ G2)\n        G1 = (Z1 > 0) * (G2 @ W2.T)\n        G2 *= 0\n",
        "test_nn_epoch",
        "compute G1 before changing W2",
    ),
    "no ReLU mask": (
        "softmax.py",
        "G1 = (Z1 > 0) * (G2 @ W2.T)",
        "G1 = G2 @ W2.T",
        "test_nn_epoch",
        "no gradient flows where the ReLU is off",
    ),
}


@pytest.fixture
def student_repository(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "test_toy.py", tmp_path)
    return tmp_path


def run_toy_tests(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_toy.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_caught_with_its_hint(student_repository, mistake):
    file, right, wrong, selection, hint = MISTAKES[mistake]
    path = student_repository / "src" / file
    source = path.read_text()
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong))
    result = run_toy_tests(student_repository, "-k", selection)
    assert result.returncode == 1, result.stdout
    assert hint in result.stdout


def test_everything_passes_in_a_copy_of_the_solved_repository(student_repository):
    result = run_toy_tests(student_repository)
    assert result.returncode == 0, result.stdout
    assert "skipped" not in result.stdout


def test_tasks_absent_from_a_starter_are_skipped(student_repository):
    for entry in (student_repository / "src").iterdir():
        if entry.name not in ("__init__.py", "linear.py"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    result = run_toy_tests(student_repository, "-rs")
    assert result.returncode == 0, result.stdout
    assert "9 passed" in result.stdout
    assert "src/softmax is not part of this assignment" in result.stdout
