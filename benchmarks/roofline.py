"""How close the epochs come to the limits of the machine (`python -m benchmarks.roofline`).

Two loops measure the limits: multiply-adds that stay in registers, and reading an array from memory. An epoch
cannot be faster than its multiply-adds at the one rate, nor than reading X once at the other. One thread.
"""

import os

# One thread each: must be said before NumPy loads its library.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.tuned import tuned_epoch
from src.softmax import softmax_regression_epoch
from src.softmax_ext import softmax_regression_epoch_cpp
from src.softmax_ext.build import compile_flags, find_compiler

M, N, K, BATCH = 60_000, 784, 10, 100
SOURCE = Path(__file__).with_suffix(".cpp")

OPERATIONS = 4 * M * N * K  # two products of m × n × k multiply-adds, each of two operations
BYTES = 4 * M * N  # X, once


def compile_limits(directory: Path) -> Path:
    """Compile roofline.cpp with the flags of the extension."""
    program = directory / "roofline"
    subprocess.run([*find_compiler(), *compile_flags(), str(SOURCE), "-o", str(program)], check=True)
    return program


def limits(program: Path) -> tuple[float, float]:
    """Measure operations per second and bytes per second."""
    printed = subprocess.run([program, str(M * N)], capture_output=True, text=True, check=True).stdout
    gigaflops, gigabytes = map(float, printed.split())
    return gigaflops * 1e9, gigabytes * 1e9


def seconds_of(epoch: Callable[..., None], X: np.ndarray, y: np.ndarray) -> float:
    theta = np.zeros((N, K), np.float32)
    start = time.perf_counter()
    epoch(X, y, theta, 0.1, BATCH)
    return time.perf_counter() - start


def main() -> None:
    """Measure in turns and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="rounds in turns, default: %(default)s")
    options = parser.parse_args()

    generator = np.random.default_rng(0)
    X = generator.random((M, N), np.float32)
    y = generator.integers(K, size=M, dtype=np.uint8)
    epochs = {
        "C++": softmax_regression_epoch_cpp,
        "C++, tuned": tuned_epoch(),
        "NumPy": softmax_regression_epoch,
    }
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    rates = []
    with tempfile.TemporaryDirectory() as directory:
        program = compile_limits(Path(directory))
        for _ in range(options.rounds):
            for name, epoch in epochs.items():
                seconds[name].append(seconds_of(epoch, X, y))
            rates.append(limits(program))

    peak, bandwidth = map(statistics.median, zip(*rates, strict=True))
    compute, memory = OPERATIONS / peak, BYTES / bandwidth
    print(f"One epoch of {M:,} x {N}, {K} classes, batch {BATCH}, one thread;")
    print(f"medians of {options.rounds} rounds in turns.\n")
    print(f"work         {OPERATIONS / 1e9:6.2f} GFLOP of multiply-adds, {BYTES / 1e6:.0f} MB of X")
    print(f"limits       {peak / 1e9:6.1f} GFLOP/s in registers, {bandwidth / 1e9:.1f} GB/s from memory")
    print(
        f"             {compute * 1e3:6.1f} ms for the multiply-adds, {memory * 1e3:.1f} ms for reading X\n"
    )
    print("| epoch      | ms     | GFLOP/s | of the limit | GB/s   | NumPy's time over it |")
    print("|:-----------|-------:|--------:|-------------:|-------:|---------------------:|")
    for name, values in seconds.items():
        median = statistics.median(values)
        ratio = statistics.median(base / own for base, own in zip(seconds["NumPy"], values, strict=True))
        print(
            f"| {name:10} | {median * 1e3:6.1f} | {OPERATIONS / median / 1e9:7.1f} | {compute / median:12.0%} "
            f"| {BYTES / median / 1e9:6.1f} | {ratio:20.2f} |"
        )
    distance = statistics.median(seconds["NumPy"]) / compute
    print(f"\nNumPy takes {distance:.2f} times as long as the multiply-adds alone.")


if __name__ == "__main__":
    main()
