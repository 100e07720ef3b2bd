"""How close the C++ epoch comes to the limits of the machine (`python -m benchmarks.roofline`).

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
    rounds = []
    with tempfile.TemporaryDirectory() as directory:
        program = compile_limits(Path(directory))
        for _ in range(options.rounds):
            cpp, numpy = (
                seconds_of(e, X, y) for e in (softmax_regression_epoch_cpp, softmax_regression_epoch)
            )
            rounds.append((cpp, numpy, *limits(program)))

    cpp, numpy, peak, bandwidth = map(statistics.median, zip(*rounds, strict=True))
    ratio = statistics.median(round_[1] / round_[0] for round_ in rounds)
    compute, memory = OPERATIONS / peak, BYTES / bandwidth
    print(f"One epoch of {M:,} x {N}, {K} classes, batch {BATCH}, one thread;")
    print(f"medians of {options.rounds} rounds in turns.\n")
    print(f"work         {OPERATIONS / 1e9:6.2f} GFLOP of multiply-adds, {BYTES / 1e6:.0f} MB of X")
    print(f"limits       {peak / 1e9:6.1f} GFLOP/s in registers, {bandwidth / 1e9:.1f} GB/s from memory")
    print(
        f"             {compute * 1e3:6.1f} ms for the multiply-adds, {memory * 1e3:.1f} ms for reading X\n"
    )
    print("| epoch | ms     | GFLOP/s | of the limit | GB/s   |")
    print("|:------|-------:|--------:|-------------:|-------:|")
    for name, seconds in (("C++", cpp), ("NumPy", numpy)):
        share = compute / seconds
        print(
            f"| {name:5} | {seconds * 1e3:6.1f} | {OPERATIONS / seconds / 1e9:7.1f} | {share:12.0%} "
            f"| {BYTES / seconds / 1e9:6.1f} |"
        )
    print(f"\nNumPy's time over that of C++: {ratio:.2f}; it would be {numpy / compute:.2f} at the limit.")


if __name__ == "__main__":
    main()
