"""What grading costs, compared with bare pytest on the same cases (`python -m benchmarks.grading`).

Bare pytest is what a home-made grader does: the suite's files and the student's src are in one folder, where
`python -m pytest test_score.py` runs. Its `student` and `ref` call the probe in the same process. In turns with bare
pytest, the same submission (the reference) is graded with the same suite

    cold      by `autograder grade CHECKOUT`, a new command each time
    warm      by a grader that is already running, one submission after the other
    folder    in a folder of submissions, as many at a time as there are processors

A second table shows where the time of a warm submission goes, and how much memory each further submission in flight
takes. A ratio is the median of the ratios within a round. The folder, including the start of the grader, is compared
with bare pytest in a loop, one submission after the other as in a script, and also with as many bare pytests at a
time as there are processors.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from autograder.config import load
from autograder.grading.grader import Grader
from benchmarks.soak import holding

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "grading.json"
BARE_FIXTURES = """
import numpy, pytest

@pytest.fixture
def student():
    return lambda probe, *inputs: probe(*inputs)

ref = student

@pytest.fixture
def rng():
    return numpy.random.default_rng()
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def few_cases(folder: Path, suite: Path, cases: int) -> Path:
    """Copy the first `cases` cases of a suite; their points are changed to add up to 100."""
    shutil.copytree(suite, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "conftest.py").write_text(
        "import pytest\n\n\n@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_collection_modifyitems(items):\n"
        f"    del items[{cases}:]\n"
        "    for number, item in enumerate(items):\n"
        "        points = 100 // len(items) + (100 % len(items) if number == 0 else 0)\n"
        "        item.get_closest_marker('case').kwargs['points'] = points\n"
    )
    return folder


def bare_folder(folder: Path, suite: Path) -> Path:
    """Make a folder in which bare pytest runs the cases that `few_cases` copied."""
    shutil.copytree(suite, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "conftest.py").open("a") as conftest:
        conftest.write(BARE_FIXTURES)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  case\n  timeout\n")
    return folder


def run_bare(folder: Path) -> None:
    """Run bare pytest once."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_score.py"]
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` took."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def measure(assignment: str, cases: int, rounds: int, count: int, scratch: Path) -> dict[str, float]:
    """Return the figures of one assignment."""
    suite = few_cases(scratch / f"{assignment}-suite", ROOT / "hidden" / assignment, cases)
    bare = bare_folder(scratch / f"{assignment}-bare", suite)
    config_file = scratch / f"{assignment}.toml"
    text = (ROOT / "autograder.toml").read_text().replace('reference = "."', f'reference = "{ROOT}"')
    config_file.write_text(text.replace(f'"hidden/{assignment}"', f'"{suite}"'))
    checkouts = []
    for number in range(count):
        checkouts.append(scratch / assignment / f"s{number:03}")
        shutil.copytree(ROOT / "src", checkouts[-1] / "src", ignore=shutil.ignore_patterns("__pycache__"))
    processors = len(os.sched_getaffinity(0))
    grade = [sys.executable, "-m", "autograder", "grade", str(checkouts[0]), "-a", assignment]

    def cold() -> None:
        command = [*grade, "--config", str(config_file)]
        subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True)

    cold_seconds, warm_seconds, bare_seconds, parts = [], [], [], []
    start = time.perf_counter()
    with Grader(load(config_file), assignment, config_file=config_file) as grader:
        grader.ready()
        start_seconds = time.perf_counter() - start
        for round_ in range(rounds + 1):
            times = (
                seconds(lambda: run_bare(bare)),
                seconds(cold),
                seconds(lambda: grader.grade(checkouts[0])),
            )
            if round_ > 0:  # the first round only warms up
                bare_seconds.append(times[0])
                cold_seconds.append(times[1])
                warm_seconds.append(times[2])
        for _ in range(rounds):
            start = time.perf_counter()
            report = grader.grade(checkouts[0])
            whole = time.perf_counter() - start
            students = sum(case.seconds for case in report.cases)
            parts.append(
                (students, report.provenance["seconds"] - students, whole - report.provenance["seconds"])
            )
        memory = memory_in_flight(grader, checkouts[0], scratch / f"{assignment}-sleeper")

    def folder() -> None:
        with Grader(load(config_file), assignment, config_file=config_file) as own:
            results = list(own.grade_many([(c, None) for c in checkouts], jobs=processors))
        assert all(done.report and done.report.points == 100 for done in results)

    def loop(at_a_time: int) -> None:
        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(lambda _: run_bare(bare), range(loops)))

    loops = max(processors * 4, count // 5)
    rates: dict[str, list[float]] = {"folder": [], "bare": [], "bare_parallel": []}
    for _ in range(min(rounds, 3)):
        rates["folder"].append(60 * count / seconds(folder))
        rates["bare"].append(60 * loops / seconds(lambda: loop(1)))
        rates["bare_parallel"].append(60 * loops / seconds(lambda: loop(processors)))
    return {
        "cases": cases,
        "bare_seconds": statistics.median(bare_seconds),
        "cold_seconds": statistics.median(cold_seconds),
        "cold_over_bare": ratio(cold_seconds, bare_seconds),
        "warm_seconds": statistics.median(warm_seconds),
        "warm_over_bare": ratio(warm_seconds, bare_seconds),
        "folder_per_minute": statistics.median(rates["folder"]),
        "bare_per_minute": statistics.median(rates["bare"]),
        "folder_over_bare": ratio(rates["folder"], rates["bare"]),
        "folder_over_parallel": ratio(rates["folder"], rates["bare_parallel"]),
        "start_seconds": start_seconds,
        "student_seconds": statistics.median(part[0] for part in parts),
        "checking_seconds": statistics.median(part[1] for part in parts),
        "around_seconds": statistics.median(part[2] for part in parts),
        "mib_in_flight": memory,
    }


def memory_in_flight(grader: Grader, checkout: Path, sleeper: Path, others: int = 4) -> float:
    """Return how many MiB of private memory each further submission in flight takes while its code waits."""
    shutil.copytree(checkout, sleeper)
    for path in (sleeper / "src").rglob("*.py"):
        path.write_text("import time\ntime.sleep(1)\n")
    taken = []
    for jobs in (1, 1 + others):
        work = threading.Thread(
            target=lambda jobs=jobs: list(grader.grade_many([(sleeper, None)] * jobs, jobs=jobs))
        )
        work.start()
        time.sleep(2)
        taken.append(holding(os.getpid(), sleeper).private_mib)
        work.join()
    return (taken[1] - taken[0]) / others


def main() -> None:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--assignments",
        nargs="+",
        default=["a0", "a2"],
        help="Suites to measure. Default: a0, which uses torch, and a2, which uses NumPy.",
    )
    parser.add_argument("--cases", type=int, default=5, help="Cases of each suite. Default: 5.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds to measure. Default: 5.")
    parser.add_argument("--count", type=int, default=50, help="Submissions in the folder. Default: 50.")
    parser.add_argument("--json", type=Path, default=RESULTS, help="File for the figures.")
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for assignment in options.assignments:
            rows[assignment] = measure(
                assignment, options.cases, options.rounds, options.count, Path(scratch).resolve()
            )
    print(
        f"{options.cases} cases, medians of {options.rounds} rounds in turns; {options.count} in the folder\n"
    )
    print(
        "| Suite | Bare s | Cold s | / bare | Warm s | / bare | Folder /min | Loop /min | / loop | / parallel |"
    )
    print(
        "|:------|-------:|-------:|-------:|-------:|-------:|------------:|----------:|-------:|-----------:|"
    )
    for name, row in rows.items():
        print(
            f"| {name:5} | {row['bare_seconds']:6.2f} | {row['cold_seconds']:6.2f} "
            f"| {row['cold_over_bare']:6.2f} | {row['warm_seconds']:6.3f} | {row['warm_over_bare']:6.3f} "
            f"| {row['folder_per_minute']:11.0f} | {row['bare_per_minute']:9.0f} "
            f"| {row['folder_over_bare']:6.1f} | {row['folder_over_parallel']:10.1f} |"
        )
    print(
        "\nWhere the time of a warm submission goes, in ms (more on the sandbox: python -m benchmarks.sandbox_steps)\n"
    )
    print(
        "| Suite | Start, once | Student code | Sandbox, checks, reference | Fork, report | MiB in flight |"
    )
    print(
        "|:------|------------:|-------------:|---------------------------:|-------------:|--------------:|"
    )
    for name, row in rows.items():
        print(
            f"| {name:5} | {1000 * row['start_seconds']:11.0f} | {1000 * row['student_seconds']:12.1f} "
            f"| {1000 * row['checking_seconds']:26.1f} | {1000 * row['around_seconds']:12.1f} "
            f"| {row['mib_in_flight']:13.1f} |"
        )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"schema": 1, "suites": rows}, indent=2) + "\n")
    print(f"\nwritten: {options.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
