"""What each step of the sandbox costs: medians and minima in milliseconds, as a table and as JSON.

    python -m benchmarks.sandbox_steps [--preload numpy,torch] [--rounds 30] [--json FILE]

start     from nothing to a wall that can open submissions: the imports, and the rehearsal of a case
opened    from a submission's files to the outcome of its first case
case      each further case of the same submission
session   a submission of five cases: opened, run and closed
The case returns twice its input. CPU time is that of everything inside the wall, for each session.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from autograder.sandbox.bubblewrap import BwrapWall

PROBES = "def double(x):\n    from src.double import double\n    return double(x)\n"
FILES = {"src/__init__.py": b"", "src/double.py": b"def double(x):\n    return x * 2\n"}
CASES = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--preload", default="numpy,torch", help="modules that the fork server imports, or an empty string"
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    preload = [name for name in options.preload.split(",") if name]
    figures = measure(preload, options.rounds)
    for name, value in figures.items():
        print(f"{name:28} {value:10.1f}")
    if options.json:
        options.json.write_text(json.dumps({"preload": preload, "figures": figures}, indent=2))


def measure(preload: list[str], rounds: int) -> dict[str, float]:
    """Return figures by name; times are in milliseconds."""
    times: dict[str, list[float]] = {"start": [], "opened": [], "case": [], "session": []}
    with tempfile.TemporaryDirectory() as folder:
        probes = Path(folder) / "probes.py"
        probes.write_text(PROBES)
        began = time.perf_counter()
        with BwrapWall(probes, preload=preload) as wall:
            wall.ready()
            times["start"].append(time.perf_counter() - began)
            time.sleep(3)  # the idle fork server gathers its memory in huge pages
            before = cpu_seconds(wall)
            for _ in range(rounds):
                one_session(wall, times)
            time.sleep(0.5)
            cpu = (cpu_seconds(wall) - before) / rounds
            pace = submissions_per_minute(wall, rounds)
    figures = {}
    for name, values in times.items():
        figures[f"{name} median ms"] = statistics.median(values) * 1000
        if len(values) > 1:
            figures[f"{name} minimum ms"] = min(values) * 1000
    figures["session CPU ms"] = cpu * 1000
    figures["submissions/min, 2 at a time"] = pace
    return figures


def one_session(wall: BwrapWall, times: dict[str, list[float]]) -> None:
    began = time.perf_counter()
    with wall.open(FILES) as session:
        for case in range(CASES):
            mark = began if case == 0 else time.perf_counter()
            outcome = session.run("double", (3.0,))
            assert outcome.value == 6.0, outcome.describe()
            times["opened" if case == 0 else "case"].append(time.perf_counter() - mark)
    times["session"].append(time.perf_counter() - began)


def submissions_per_minute(wall: BwrapWall, rounds: int) -> float:
    ignored: dict[str, list[float]] = {"opened": [], "case": [], "session": []}

    def work() -> None:
        for _ in range(rounds):
            one_session(wall, ignored)

    threads = [threading.Thread(target=work) for _ in range(2)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 60 * 2 * rounds / (time.perf_counter() - began)


def cpu_seconds(wall: BwrapWall) -> float:
    """Return the user and system time of the wall's processes, including those of its processes that have ended."""
    assert wall._process is not None
    queue, ticks = [str(wall._process.pid)], 0
    while queue:
        pid = queue.pop()
        try:
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += (task / "children").read_text().split()
        except OSError:  # it has ended meanwhile
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
