"""The student's C++ file under AddressSanitizer, UBSan and LeakSanitizer, and proof that they would notice.

Covered: heap overflows, use after free, signed overflow, misaligned access, leaks, wrong numbers, for 2,835
combinations of awkward sizes. Not covered: reads of uninitialised memory, which need MemorySanitizer.
"""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.tuned import SOURCE as TUNED
from src.softmax_ext import build as ext
from tests.support import ROOT

pytestmark = pytest.mark.compiler

DRIVER = ROOT / "tests" / "support" / "asan_driver.cpp"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SOLUTION = ext.SOURCE.read_text()


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A compiler whose sanitizers work here. They need a library, and LeakSanitizer may be forbidden."""
    compiler = ext.find_compiler()
    directory = tmp_path_factory.mktemp("probe")
    leak = "int main() { volatile char *p = new char[9]; p[0] = 1; p = nullptr; }"
    (directory / "leak.cpp").write_text(leak)
    built = run([*compiler, *SANITIZE, "leak.cpp", "-o", "leak"], directory)
    if built.returncode:
        pytest.skip(f"{compiler[0]} cannot link with {SANITIZE[0]}: {built.stdout.strip().splitlines()[-1]}")
    ran = run(["./leak"], directory)
    if "detected memory leaks" not in ran.stdout:
        pytest.skip(f"LeakSanitizer does not work here: {ran.stdout.strip()[:200] or 'it missed a leak'}")
    return compiler


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def driver(compiler: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The object of the driver, compiled once for all sources."""
    output = tmp_path_factory.mktemp("driver") / "driver.o"
    command = [*compiler, "-std=c++17", "-O1", *SANITIZE, "-Wall", "-Wextra", "-Werror", f"-I{ext.DIRECTORY}"]
    built = run([*command, "-c", str(DRIVER), "-o", str(output)], output.parent)
    assert built.returncode == 0, built.stdout
    return output


def examine(
    source: str, compiler: tuple[str, ...], driver: Path, directory: Path, flags: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs the driver with `source` in place of the student's file."""
    file = directory / ext.SOURCE.name
    file.write_text(source)
    command = [*compiler, "-std=c++17", "-O1", "-g", *SANITIZE, *flags, f"-I{ext.DIRECTORY}"]
    built = run([*command, str(file), str(driver), "-o", "examined"], directory)
    assert built.returncode == 0, built.stdout
    return run(["./examined"], directory)


def mutant(old: str, new: str) -> str:
    assert SOLUTION.count(old) == 1, f"{old!r} does not occur exactly once in {ext.SOURCE.name}"
    return SOLUTION.replace(old, new)


@pytest.mark.parametrize("native", [False, True], ids=["any processor", "this processor"])
def test_the_solution_touches_nothing_else_and_leaks_nothing(
    compiler: tuple[str, ...], driver: Path, tmp_path: Path, native: bool
) -> None:
    flags = tuple(flag for flag in ext.compile_flags() if flag.startswith("-march")) if native else ()
    ran = examine(SOLUTION, compiler, driver, tmp_path, flags)
    assert (ran.returncode, ran.stdout) == (0, "2835 runs\n")


def test_the_tuned_epoch_touches_nothing_else_and_leaks_nothing(
    compiler: tuple[str, ...], driver: Path, tmp_path: Path
) -> None:
    flags = tuple(flag for flag in ext.compile_flags() if flag.startswith("-march"))
    ran = examine(TUNED.read_text(), compiler, driver, tmp_path, flags)
    assert (ran.returncode, ran.stdout) == (0, "2835 runs\n")


FAULTS = {
    "reads past the last row": (
        ("b = std::min(batch, m - start)", "b = batch"),
        "heap-buffer-overflow",
    ),
    "writes past theta": (
        ("c < k; ++c) theta[j * k + c] =", "c <= k; ++c) theta[j * k + c] ="),
        "heap-buffer-overflow",
    ),
    "writes past its own array": (
        ("std::vector<float> Z(4 * k);", "std::vector<float> Z(4 * k - 1);"),
        "heap-buffer-overflow",
    ),
    "leaks": (
        (
            "std::vector<float> Z(4 * k);",
            "std::vector<float> Z(4 * k); volatile float *lost = new float[n]; lost[0] = 0;",
        ),
        "detected memory leaks",
    ),
    "divides by the nominal batch size": (
        ("lr / b * gradient", "lr / batch * gradient"),
        "theta[0] is",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_solution_with_a_fault_is_caught(
    compiler: tuple[str, ...], driver: Path, tmp_path: Path, fault: str
) -> None:
    change, report = FAULTS[fault]
    ran = examine(mutant(*change), compiler, driver, tmp_path)
    assert ran.returncode != 0
    assert report in ran.stdout
