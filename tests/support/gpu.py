"""The assignment of docs/gpu-assignments.md on a real device, or on a pretended one: python -m tests.support.gpu

A course is made from the code on that page, and right, slow and dishonest solutions are graded. With a real GPU this
takes some minutes.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.config import load
from autograder.grading.grader import Grader
from autograder.report import Report
from tests.support import ROOT

PAGE = ROOT / "docs" / "gpu-assignments.md"
REAL = '["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"]'
PRETENDED = '["/dev/null"]'

LOOP = """
import torch


def softmax(x):
    rows = [torch.exp(row - row.max()) for row in x]
    return torch.stack([row / row.sum() for row in rows])
"""
UNSTABLE = """
import torch


def softmax(x):
    e = torch.exp(x)
    return e / e.sum(-1, keepdim=True)
"""
IGNORES = """
import torch


def softmax(x):
    return torch.full_like(x, 1 / x.shape[-1])
"""
REMEMBERS = """
import torch

seen = {}


def softmax(x):
    if x.shape not in seen:
        seen[x.shape] = torch.softmax(x, -1)
    return seen[x.shape]
"""
BACKGROUND = """
import threading

import torch


def softmax(x):
    result = torch.zeros_like(x)
    threading.Timer(0.2, lambda: result.copy_(torch.softmax(x, -1))).start()
    return result
"""


@dataclass(frozen=True)
class Solution:
    """A solution of g0.

    Attributes:
        name: of its folder.
        code: of src/softmax.py; empty: that of the reference.
        verdicts: of the three cases, on any device.
        points: what it gets.
        message: part of the message of the last case.
    """

    name: str
    code: str
    verdicts: tuple[str, str, str]
    points: int
    message: str = ""


SOLUTIONS = (
    Solution("reference", "", ("passed", "passed", "passed"), 100),
    Solution("unstable", UNSTABLE, ("passed", "wrong", "passed"), 80),
    Solution(
        "loop",
        LOOP,
        ("passed", "passed", "wrong"),
        60,
        "softmax takes more than 30 times as long as torch.softmax for (",
    ),
    Solution("ignores", IGNORES, ("wrong", "wrong", "wrong"), 0),
    Solution("remembers", REMEMBERS, ("passed", "passed", "wrong"), 60),
    Solution("background", BACKGROUND, ("wrong", "wrong", "wrong"), 0),
)

NOTE = """

_assert_fast = assert_fast


def assert_fast(result, *, factor):
    if student_code := getattr(result, "timings", ()):
        with open(__file__ + ".times", "a") as file:
            file.writelines(f"{timing}\\n" for timing in student_code)
    _assert_fast(result, factor=factor)
"""


class GpuCourse:
    """A course in a folder with the assignment g0."""

    def __init__(self, folder: Path, devices: str) -> None:
        """`devices`: the value of the key `devices`, as TOML."""
        self.folder = folder
        text = PAGE.read_text("utf-8")
        reference, probes, score = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        (settings,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
        assert REAL in settings
        self.write("autograder.toml", settings.replace(REAL, devices))
        self.write("src/__init__.py", "")
        self.write("src/softmax.py", reference)
        self.write("hidden/g0/probes.py", probes)
        self.write("hidden/g0/test_score.py", score + NOTE)

    @property
    def config_file(self) -> Path:
        return self.folder / "autograder.toml"

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")

    def submission(self, solution: Solution) -> Path:
        """Make a checkout of a solution; return its folder."""
        root = f"submissions/{solution.name}"
        self.write(f"{root}/src/__init__.py", "")
        self.write(
            f"{root}/src/softmax.py", solution.code or (self.folder / "src/softmax.py").read_text("utf-8")
        )
        return self.folder / root

    def times(self) -> list[str]:
        """Return what the races have measured since the last call, a line for each size."""
        file = self.folder / "hidden/g0/test_score.py.times"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return list(dict.fromkeys(lines))


def mistakes(solution: Solution, report: Report) -> Iterator[str]:
    """Yield how a report differs from what the solution must get."""
    verdicts = tuple(case.verdict.value for case in report.cases)
    if (verdicts, report.points) != (solution.verdicts, solution.points):
        yield f"expected {solution.verdicts}, {solution.points} points; got {verdicts}, {report.points} points"
    if solution.message not in report.cases[-1].message:
        yield f"expected a message with {solution.message!r}"


def main() -> int:
    """Run everything, print what was seen, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", type=int, default=0, help="number of the GPU")
    parser.add_argument("--image", default="", help="run submissions in containers of this image")
    parser.add_argument("--pretend", action="store_true", help="the CPU stands for the device")
    given = parser.parse_args()
    devices = PRETENDED if given.pretend else REAL.replace("nvidia0", f"nvidia{given.device}")
    if not given.pretend:
        if not Path(f"/dev/nvidia{given.device}").exists():
            print(f"this machine has no /dev/nvidia{given.device}; try --pretend", file=sys.stderr)
            return 2
        query = [
            "nvidia-smi",
            f"--id={given.device}",
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv",
        ]
        print(subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip())
    failed = False
    with tempfile.TemporaryDirectory(prefix="gpu-course-", dir=Path.cwd()) as folder:
        course = GpuCourse(Path(folder), devices)
        sandbox = "docker" if given.image else "auto"
        with Grader(
            load(course.config_file), "g0", config_file=course.config_file, sandbox=sandbox, image=given.image
        ) as grader:
            began = time.monotonic()
            facts = grader.ready()
            print(
                f"the suite has checked itself in {time.monotonic() - began:.0f} s; device: {facts['device']}"
            )
            print(f"versions: {facts['versions']}; protections: {', '.join(facts['protections'])}")
            failed |= facts["device"] != ("cpu" if given.pretend else "cuda")
            for solution in SOLUTIONS:
                began = time.monotonic()
                path = course.submission(solution)
                (done,) = grader.grade_many([(path, None)], jobs=1)
                print(f"\n{solution.name}: {time.monotonic() - began:.0f} s")
                failed |= _show(course, solution, done.report, done.fault)
            print("\ntwo submissions at the same time")
            pair = [(course.submission(solution), None) for solution in SOLUTIONS[:2]]
            for done in grader.grade_many(pair, jobs=2):
                solution = next(one for one in SOLUTIONS if one.name == done.path.name)
                failed |= _show(course, solution, done.report, done.fault)
    print("\nnot as expected" if failed else "\neverything as expected")
    return int(failed)


def _show(course: GpuCourse, solution: Solution, report: Report | None, fault: Exception | None) -> bool:
    """Print the result of a solution; return whether it is another than expected."""
    for line in course.times():
        print(f"  {line}")
    if report is None:
        print(f"  no report: {fault}")
        return True
    for case in report.cases:
        print(f"  {case.name}: {case.points} {case.verdict.value} {case.seconds:.2f} s {case.message}")
    found = list(mistakes(solution, report))
    print("".join(f"  {text}\n" for text in found), end="")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
