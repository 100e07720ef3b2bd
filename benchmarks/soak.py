"""Many submissions in a row through one grader: is anything left over? (`python -m benchmarks.soak`)

After every hundred submissions it prints what the grader's processes hold: how many processes there are, their open
descriptors, their mounts, the files in the temporary folder, and the private memory of all of them. It ends with status
1 if processes, descriptors, mounts or files grew, or if memory grew by more than a tenth.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from autograder.config import load
from autograder.grading.grader import Grader

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20


class Holding(NamedTuple):
    """What one process and the processes below it hold at a moment."""

    processes: int
    descriptors: int
    mounts: int
    files: int
    private_mib: float  # memory that is not shared with another process, added up


def descendants(pid: int) -> list[int]:
    """Return `pid` and all processes below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += children.get(current, [])
    return found


def holding(pid: int, temporary: Path) -> Holding:
    """Return what `pid` and the processes below it hold."""
    processes = descendants(pid)
    descriptors, private = 0, 0
    for process in processes:
        try:
            descriptors += len(list(Path(f"/proc/{process}/fd").iterdir()))
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Private_"):
                    private += int(line.split()[1]) * 1024
        except OSError:
            continue
    mounts = len(Path("/proc/self/mounts").read_text().splitlines())
    return Holding(len(processes), descriptors, mounts, len(list(temporary.iterdir())), private / MIB)


def main() -> int:
    """Grade, print a row for every hundred submissions, and compare the last row with the first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--assignment", default="a0")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    config_file = ROOT / "autograder.toml"
    with tempfile.TemporaryDirectory() as folder:
        checkout, temporary = Path(folder, "checkout"), Path(folder, "tmp")
        temporary.mkdir()
        os.environ["TMPDIR"] = str(temporary)
        shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
        print("| Submissions | Processes | Descriptors | Mounts | Temp. files | Private MiB | /minute |")
        print("|------------:|----------:|------------:|-------:|------------:|------------:|--------:|")
        rows: list[Holding] = []
        points: Counter[int] = Counter()
        with Grader(load(config_file), options.assignment, config_file=config_file) as grader:
            grader.ready()
            for done in tqdm(range(0, options.count, options.every), leave=False, disable=None):
                start = time.perf_counter()
                for graded in grader.grade_many([(checkout, None)] * options.every, jobs=options.jobs):
                    assert graded.report is not None, graded.fault
                    points[graded.report.points] += 1
                rate = 60 * options.every / (time.perf_counter() - start)
                time.sleep(0.5)  # the processes of the last submission are ending
                row = holding(os.getpid(), temporary)
                rows.append(row)
                print(
                    f"| {done + options.every:11} | {row.processes:9} | {row.descriptors:11} | {row.mounts:6} "
                    f"| {row.files:11} | {row.private_mib:11.1f} | {rate:7.0f} |",
                    flush=True,
                )
        left = holding(os.getpid(), temporary)
    print(f"\nscores: {dict(points)}; after the end: {left.processes} process, {left.files} temporary files")
    grew = [
        name
        for name, first, last in zip(Holding._fields[:4], rows[0], rows[-1], strict=False)
        if last > first
    ]
    if rows[-1].private_mib > 1.1 * rows[0].private_mib:
        grew.append("private_mib")
    if grew or left.processes != 1 or left.files:
        print(f"grew: {', '.join(grew) or 'nothing, but something was left'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
