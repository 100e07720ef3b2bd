"""An import that does not end costs one time limit, and the student reads which module it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from autograder.sandbox.bubblewrap import BwrapWall
from autograder.sandbox.inside.reply import IMPORTED, IMPORTING, STARTED, Reply
from autograder.sandbox.outcome import Outcome, Status
from tests.support.walls import PATIENCE, PATIENT


def note(kind: bytes, name: str) -> bytes:
    return kind + bytes([len(name)]) + name.encode()


BEGAN = STARTED.pack(b"S", 1.0, 0, 0)
FRAME = b"\0\0\0\x02ok"
NOTES = note(IMPORTING, "src") + note(IMPORTED, "src") + note(IMPORTING, "src.a") + note(IMPORTING, "src.b")


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_notes_say_which_import_has_begun_and_not_ended(piece: int) -> None:
    reply = Reply(100)
    data = BEGAN + NOTES
    for start in range(0, len(data), piece):
        reply.add(data[start : start + piece])
    assert reply.importing == "src.b"
    assert not reply.complete
    reply.add(note(IMPORTED, "src.b") + FRAME)
    assert (reply.importing, reply.complete, reply.payload()) == ("src.a", True, b"ok")


def test_notes_that_student_code_makes_up_change_nothing_but_the_name() -> None:
    reply = Reply(100)
    reply.add(BEGAN + note(IMPORTED, "never") + note(IMPORTING, "x") * 100_000 + b"\x81\x05ab")
    assert len(reply.imports) <= 100
    assert not reply.complete
    reply.add(b"cde" + FRAME)
    assert reply.payload() == b"ok"


# ── in the sandbox ───────────────────────────────────────────────────────────────────────────────────────

PROBES = """
import importlib

def use(module):
    return importlib.import_module(f"src.{module}").VALUE
"""
FILES = {
    "src/__init__.py": b"",
    "src/right.py": b"VALUE = 1\n",
    "src/nested.py": b"from .endless import VALUE\n",
    "src/endless.py": b"while True:\n    pass\n",
    "src/inspected.py": b"import inspect, sys\nVALUE = inspect.getsource(sys.modules[__name__])\n",
    "src/data/__init__.py": b"import pkgutil\nVALUE = pkgutil.get_data(__name__, 'text').decode()\n",
    "src/data/text": b"here",
}


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BwrapWall]:
    probes = tmp_path_factory.mktemp("wall") / "probes.py"
    probes.write_text(PROBES)
    with BwrapWall(probes, limits=replace(PATIENT, starved_seconds=2 * PATIENCE)) as wall:
        yield wall


@pytest.mark.sandbox
def test_an_import_that_does_not_end_costs_one_limit(wall: BwrapWall) -> None:
    with wall.open(FILES) as session:

        def use(module: str, seconds: float) -> Outcome:
            return session.run("use", (module,), timeout=seconds)

        first = use("nested", 1.0)
        assert (first.status, first.importing) == (Status.TIMEOUT, "src.endless")
        assert first.seconds >= 1.0
        for module in ("endless", "nested"):
            again = use(module, 1.0)
            assert (again.status, again.importing) == (Status.TIMEOUT, "src.endless")
            assert again.seconds < 0.9, "it ended when that import began"
        assert use("right", 10.0).value == 1
        longer = use("endless", 1.2)
        assert longer.status is Status.TIMEOUT
        assert longer.seconds >= 1.2, "a case with a larger limit tries the import itself"


@pytest.mark.sandbox
def test_modules_are_loaded_as_python_loads_them(wall: BwrapWall) -> None:
    with wall.open(FILES) as session:
        assert session.run("use", ("inspected",)).value == FILES["src/inspected.py"].decode()
        assert session.run("use", ("data",)).value == "here"
        missing = session.run("use", ("missing",))
        assert (missing.exception, missing.message) == (
            "ModuleNotFoundError",
            "No module named 'src.missing'",
        )
