"""Running without a wall, for development: the same outcomes as with a real one, and no claim to protect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autograder.errors import GraderError, SubmissionError
from autograder.sandbox.kinds import KINDS
from autograder.sandbox.limits import Limits
from autograder.sandbox.none import NoWall
from autograder.sandbox.outcome import Status
from autograder.sandbox.wall import Wall
from tests.support.walls import PATIENCE, PROBES, submission


@pytest.fixture
def wall(tmp_path: Path) -> Iterator[NoWall]:
    (tmp_path / "probes.py").write_text(PROBES)
    with NoWall(tmp_path / "probes.py") as wall:
        yield wall


def test_it_is_a_wall_that_admits_that_it_protects_from_nothing(wall: NoWall) -> None:
    seam: Wall = wall
    assert not KINDS["none"].isolated
    assert seam.protections == ()


def test_values_go_there_and_back(wall: NoWall) -> None:
    with wall.open(submission("def go(x):\n print('hi')\n return x.T")) as session:
        outcome = session.run("call", ("go", np.arange(6.0).reshape(2, 3)))
    assert outcome.value.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert outcome.stdout.text.strip() == "hi"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("def go(): raise ValueError('no')", Status.RAISED),
        ("def go(:", Status.RAISED),
        ("import os\ndef go(): os._exit(3)", Status.EXITED),
        ("import ctypes\ndef go(): ctypes.string_at(0)", Status.CRASHED),
        ("def go():\n while True: pass", Status.TIMEOUT),
        ("def go():\n while True: print('x' * 10000)", Status.OUTPUT_LIMIT),
        ("def go(): return b'x' * 5_000_000", Status.REPLY_LIMIT),
        ("def go(): raise MemoryError", Status.OUT_OF_MEMORY),
    ],
    ids=["raised", "syntax error", "exit", "crash", "loop", "output", "large value", "MemoryError"],
)
def test_ways_to_end(wall: NoWall, code: str, status: Status) -> None:
    seconds = 1.0 if status is Status.TIMEOUT else PATIENCE
    limits = Limits(wall_seconds=seconds, reply_bytes=2**20, output_bytes=2**20)
    with wall.open(submission(code), limits) as session:
        assert session.run("call", ("go",)).status is status


def test_an_exception_names_the_line_of_the_submission(wall: NoWall) -> None:
    with wall.open(submission("def go():\n raise ValueError('no')")) as session:
        outcome = session.run("call", ("go",))
    assert outcome.describe() == "raised: ValueError: no (src/code.py, line 2)"


def test_the_solved_package_of_the_staff_is_not_imported_in_the_students_place(wall: NoWall) -> None:
    with wall.open({"src/__init__.py": b"", "src/code.py": b"def go():\n import src.linear"}) as session:
        assert session.run("call", ("go",)).exception == "ModuleNotFoundError"


def test_the_build_is_where_the_environment_says(wall: NoWall) -> None:
    code = "import os, pathlib\ndef go(): return pathlib.Path(os.environ['AUTOGRADER_BUILD'], 'x.so').read_bytes()"
    with wall.open(submission(code)) as session:
        session.set_build({"anywhere/x.so": b"built"})
        assert session.run("call", ("go",), build=True).value == b"built"
        assert session.run("call", ("go",)).exception == "KeyError"


def test_faults_of_ours_are_grader_errors(wall: NoWall) -> None:
    with wall.open(submission("")) as session:
        with pytest.raises(GraderError, match="no function 'missing'"):
            session.run("missing")
        with pytest.raises(GraderError, match="set is not plain data"):
            session.run("echo", ({1},))
    with pytest.raises(SubmissionError, match="cannot be used"):
        wall.open({"../x": b""})


def test_what_a_case_printed_is_there_when_its_reply_is(wall: NoWall) -> None:
    with wall.open(submission("def go():\n print('x' * 1000)\n return 1")) as session:
        for _ in range(5):
            assert session.run("call", ("go",)).stdout.total_bytes == 1001
