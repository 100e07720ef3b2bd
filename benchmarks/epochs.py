"""What one epoch costs: the C++ extension, its tuned version, NumPy, needle and torch (`make bench`).

The size of MNIST: 60,000 examples of 784 features, 10 classes, minibatches of 100; for the network, 100
hidden units. One thread each. The data is random: the cost does not depend on the values.

The competitors take turns, round after round, so that a machine that slows down in the middle slows all of
them; the ratio is the median of the ratios within a round.
"""

import os

# One thread each: must be said before NumPy and torch load their libraries.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import src.needle as ndl
from benchmarks.tuned import tuned_epoch
from src.softmax import nn_epoch, softmax_regression_epoch
from src.softmax_ext import softmax_regression_epoch_cpp

M, N, HIDDEN, K, BATCH, LR = 60_000, 784, 100, 10, 100, 0.1
RESULTS = Path(__file__).parent / "results" / "epochs.json"


def torch_epoch(X: torch.Tensor, y: torch.Tensor, weights: list[torch.Tensor]) -> None:
    """The same steps with torch's autograd; logits X W1, or relu(X W1) W2."""
    for start in range(0, len(X), BATCH):
        Z = X[start : start + BATCH]
        for layer, W in enumerate(weights):
            Z = (Z.relu() if layer else Z) @ W
        loss = torch.nn.functional.cross_entropy(Z, y[start : start + BATCH])
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for W, gradient in zip(weights, gradients, strict=True):
                W.sub_(gradient, alpha=LR)


def competitors(m: int) -> dict[str, dict[str, Callable[[], object]]]:
    """Return, for each of the two tasks, name -> one epoch; the first one is what the others are held to."""
    generator = np.random.default_rng(0)
    X = generator.random((m, N), np.float32)
    y = generator.integers(K, size=m, dtype=np.uint8)
    theta = np.zeros((N, K), np.float32)
    W1 = generator.standard_normal((N, HIDDEN), np.float32) * np.float32((2 / N) ** 0.5)
    W2 = generator.standard_normal((HIDDEN, K), np.float32) * np.float32((2 / HIDDEN) ** 0.5)
    X_torch, y_torch = torch.from_numpy(X), torch.from_numpy(y).long()

    def leaves(*arrays: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]

    theta_numpy, theta_cpp, theta_tuned, theta_torch = theta.copy(), theta.copy(), theta.copy(), leaves(theta)
    tuned = tuned_epoch()
    nn_numpy, nn_torch = (W1.copy(), W2.copy()), leaves(W1, W2)
    nn_needle = ndl.Tensor(W1), ndl.Tensor(W2)
    return {
        "softmax regression": {
            "NumPy": lambda: softmax_regression_epoch(X, y, theta_numpy, LR, BATCH),
            "C++": lambda: softmax_regression_epoch_cpp(X, y, theta_cpp, LR, BATCH),
            "C++, tuned": lambda: tuned(X, y, theta_tuned, LR, BATCH),
            "torch": lambda: torch_epoch(X_torch, y_torch, theta_torch),
        },
        "two-layer network": {
            "NumPy": lambda: nn_epoch(X, y, *nn_numpy, LR, BATCH),
            "needle": lambda: ndl.nn_epoch(X, y, *nn_needle, LR, BATCH),
            "torch": lambda: torch_epoch(X_torch, y_torch, nn_torch),
        },
    }


def measure(m: int, rounds: int) -> list[dict]:
    """Run everything in turns; return one row per competitor."""
    rows = []
    for task, epochs in competitors(m).items():
        seconds: dict[str, list[float]] = {name: [] for name in epochs}
        for round_ in tqdm(range(rounds + 1), desc=task, leave=False, disable=None):
            for name, epoch in epochs.items():
                start = time.perf_counter()
                epoch()
                if round_ > 0:  # the first round only warms up
                    seconds[name].append(time.perf_counter() - start)
        baseline = seconds["NumPy"]
        for name, values in seconds.items():
            ratios = [value / base for value, base in zip(values, baseline, strict=True)]
            rows.append(
                {
                    "task": task,
                    "implementation": name,
                    "median_seconds": statistics.median(values),
                    "min_seconds": min(values),
                    "time_over_numpy": statistics.median(ratios),
                }
            )
    return rows


def main() -> None:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epochs", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds, default: %(default)s")
    parser.add_argument("--examples", type=int, default=M, help="examples in an epoch, default: %(default)s")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)

    rows = measure(options.examples, options.rounds)
    print(f"One epoch of {options.examples:,} x {N}, {K} classes, batch {BATCH}, one thread;")
    print(f"median of {options.rounds} rounds in turns.\n")
    print("| Task               | Implementation | Seconds | Time / NumPy's |")
    print("|:-------------------|:---------------|--------:|---------------:|")
    for row in rows:
        print(
            f"| {row['task']:18} | {row['implementation']:14} | {row['median_seconds']:7.3f} "
            f"| {row['time_over_numpy']:14.2f} |"
        )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    machine = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    options.json.write_text(json.dumps({"schema": 1, **machine, "rows": rows}, indent=2) + "\n")
    print(f"\nwritten: {options.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
