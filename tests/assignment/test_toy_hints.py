"""The visible tests themselves: each common mistake fails the test that is meant for it, with its hint.

A copy of the repository's student side gets one mistake by replacing text in one file; then
`pytest test_toy.py` runs there as a student would run it.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.release import handout
from tests.support import ROOT

pytestmark = pytest.mark.release
CPP = "softmax_ext/softmax_regression.cpp"

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
    "pixels by 256": ("mnist.py", "X /= 255", "X /= 256", "test_parse_mnist", "divided by 255, not by 256"),
    "pixels as they are": (
        "mnist.py",
        "X /= 255",
        "X /= 1",
        "test_parse_mnist",
        "each pixel is divided by 255",
    ),
    "sum instead of mean": (
        "softmax.py",
        "return np.mean(logsumexp",
        "return np.sum(logsumexp",
        "test_softmax_loss",
        "the mean over the batch, not the sum",
    ),
    "mean over all elements": (
        "softmax.py",
        "return np.mean(logsumexp",
        "return np.mean(logsumexp / Z.shape[1]",
        "test_softmax_loss and not large",
        "divide by the number of rows, not of all elements",
    ),
    "no return": (
        "softmax.py",
        "    return x + y\n",
        "    x + y\n",
        "test_add",
        "None instead of 5: is there a `return`?",
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
        "divide by 1 there, not by batch=8",
    ),
    "sum in an epoch": (
        "softmax.py",
        "    Z /= len(y)\n    return Z",
        "    return Z",
        "test_softmax_regression_epoch and not cpp",
        "the mean over the minibatch, not the sum",
    ),
    "sum in both layers": (
        "softmax.py",
        "    Z /= len(y)\n    return Z",
        "    return Z",
        "test_nn_epoch",
        "the mean over the minibatch, not the sum",
    ),
    "divided by all examples": (
        "softmax.py",
        "theta -= lr * (Xb.T",
        "theta -= lr * len(yb) / len(y) * (Xb.T",
        "test_softmax_regression_epoch and not cpp",
        "not of all examples",
    ),
    "last batch dropped": (
        "softmax.py",
        "    for start in range(0, len(X), batch):\n"
        "        Xb, yb = X[start : start + batch], y[start : start + batch]\n        theta",
        "    for start in range(0, len(X) // batch * batch or len(X), batch):\n"
        "        Xb, yb = X[start : start + batch], y[start : start + batch]\n        theta",
        "test_softmax_regression_epoch and not cpp",
        "the last minibatch, which is smaller, was left out",
    ),
    "shuffled": (
        "softmax.py",
        "    for start in range(0, len(X), batch):\n"
        "        Xb, yb = X[start : start + batch], y[start : start + batch]\n        theta",
        "    order = np.roll(np.arange(len(X)), 3)\n    X, y = X[order], y[order]\n"
        "    for start in range(0, len(X), batch):\n"
        "        Xb, yb = X[start : start + batch], y[start : start + batch]\n        theta",
        "test_softmax_regression_epoch and not cpp",
        "take the examples in their order: no shuffling",
    ),
    "not in place": (
        "softmax.py",
        "theta -= lr * (Xb.T",
        "theta = theta - lr * (Xb.T",
        "test_softmax_regression_epoch and not cpp",
        "write `theta -= step`",
    ),
    "uphill": (
        "softmax.py",
        "theta -= lr * (Xb.T",
        "theta += lr * (Xb.T",
        "test_softmax_regression_epoch and not cpp",
        "the wrong direction",
    ),
    "reads past the last row": (
        CPP,
        "b = std::min(batch, m - start), end = start + b;",
        "b = std::min(batch, m - start), end = start + batch;",
        "test_softmax_regression_epoch_cpp",
        "read past the last row of X",
    ),
    "largest from 0": (
        CPP,
        "*std::max_element(z, z + k)",
        "std::max(0.0f, *std::max_element(z, z + k))",
        "test_softmax_regression_epoch_cpp",
        "a search for it does not begin at 0",
    ),
    "writes past theta": (
        CPP,
        "for (std::size_t c = 0; c < k; ++c) theta[j * k + c] = weights[c * n + j];",
        "for (std::size_t c = 0; c <= k; ++c) theta[j * k + c] = weights[c % k * n + j];",
        "test_softmax_regression_epoch_cpp",
        "wrote outside theta",
    ),
    "divided by batch in C++": (
        CPP,
        "lr / b * gradient",
        "lr / batch * gradient",
        "test_softmax_regression_epoch_cpp",
        "divide by 1 there, not by batch=8",
    ),
    "segmentation fault": (
        CPP,
        "weights[q] -= lr",
        "weights[q << 40] -= lr",
        "test_softmax_regression_epoch_cpp or test_softmax_loss",
        "your C++ crashed (SIGSEGV): it reads or writes outside an array",
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


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for compiled files, so that the given ones are compiled once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def student_repository(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("SOFTMAX_EXT_CACHE", str(cache))
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ("test_toy.py", "conftest.py", "starter/pytest.ini"):
        shutil.copy(ROOT / path, tmp_path)
    return tmp_path


def run_toy_tests(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_toy.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def spoil(folder, file, right, wrong):
    path = folder / "src" / file
    source = path.read_text()
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_caught_with_its_hint(student_repository, mistake):
    file, right, wrong, selection, hint = MISTAKES[mistake]
    spoil(student_repository, file, right, wrong)
    result = run_toy_tests(student_repository, "-k", selection)
    assert result.returncode == 1, result.stdout
    _, _, summary = result.stdout.partition("short test summary info")
    assert any(hint in line for line in summary.splitlines() if line.startswith("FAILED ")), result.stdout


def test_everything_passes_in_a_copy_of_the_solved_repository(student_repository):
    result = run_toy_tests(student_repository)
    assert result.returncode == 0, result.stdout
    assert "skipped" not in result.stdout


def test_a_crash_in_cpp_costs_its_own_test(student_repository):
    spoil(student_repository, CPP, "weights[q] -= lr", "weights[q << 40] -= lr")
    result = run_toy_tests(student_repository, "-k", "cpp or softmax_loss or add")
    failed = re.findall(r"^FAILED test_toy\.py::(\w+)", result.stdout, re.MULTILINE)
    assert failed == ["test_softmax_regression_epoch_cpp"]
    assert re.search(r"1 failed, [1-9]\d* passed", result.stdout)


def test_an_endless_loop_in_cpp_ends(student_repository):
    spoil(student_repository, CPP, "start += batch", "start += 0 * batch")
    conftest = student_repository / "conftest.py"
    conftest.write_text(conftest.read_text().replace("SECONDS = 20.0", "SECONDS = 1.0"))
    result = run_toy_tests(student_repository, "-k", "cpp and not without or add")
    assert "no end after 1 s: look for an endless loop in your C++" in result.stdout
    assert "1 failed, " in result.stdout


def test_ctrl_c_ends_an_endless_loop_in_cpp(student_repository):
    spoil(student_repository, CPP, "start += batch", "start += 0 * batch")
    assert run_toy_tests(student_repository, "-k", "cpp_without").returncode == 0  # now it is compiled
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "test_toy.py",
        "-k",
        "cpp and not without",
    ]

    def listen_to_ctrl_c():  # a shell starts background processes so that they ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command,
        cwd=student_repository,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    ) as process:
        child = wait_for_child(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does: all processes in front get it
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 2, shown
    assert not Path(f"/proc/{child}").exists()


def wait_for_child(pid):
    """Return the id of the process of the test, as soon as it has begun to compute."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while True:
        for child in children.read_text().split():
            with contextlib.suppress(OSError):  # it may have ended
                if "_softmax_regression" in Path(f"/proc/{child}/maps").read_text():
                    return child
        time.sleep(0.05)


def test_a_part_that_needs_an_absent_file_is_left_out_of_a_starter(student_repository):
    text = (student_repository / "test_toy.py").read_text()
    (student_repository / "test_toy.py").write_text(handout.own_sections(text, {"src/linear.py"}))
    for entry in (student_repository / "src").iterdir():
        if entry.name not in ("__init__.py", "linear.py"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    result = run_toy_tests(student_repository)
    assert result.returncode == 0, result.stdout
    assert "9 passed in" in result.stdout
