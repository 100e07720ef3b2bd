"""Real walls for tests: one probe that calls any function of the submission, and what a machine must have."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autograder.errors import GraderError
from autograder.sandbox.bubblewrap import BwrapWall, find_bwrap
from autograder.sandbox.outcome import Outcome

PROBES = '''
import os

def call(name, *arguments):
    """Call a function of the submission's only module."""
    import src.code
    return getattr(src.code, name)(*arguments)

def nothing():
    return None

def echo(value):
    return value

def compile_it():
    import pathlib, subprocess
    source = pathlib.Path("/submission/src/code.cpp")
    subprocess.run(["g++", "-shared", "-fPIC", "-o", "/tmp/out.so", str(source)], check=True)
    return pathlib.Path("/tmp/out.so").read_bytes()

def load(path):
    import ctypes
    return ctypes.CDLL(path).answer()

not_a_function = 3
'''


def why_no_wall() -> str:
    """Why no sandbox can be started on this machine; empty where one can."""
    try:
        find_bwrap()
    except GraderError as error:
        return str(error)
    path = Path("/proc/sys/user/max_user_namespaces")
    if path.exists() and int(path.read_text()) == 0:
        return "user namespaces are switched off: sysctl user.max_user_namespaces"
    return ""


needs_wall = pytest.mark.skipif(bool(why_no_wall()), reason=why_no_wall() or "a wall can be started")


def new_wall(folder: Path, **options: Any) -> BwrapWall:
    """A wall around PROBES, not yet started. Without `preload` it imports neither NumPy nor torch."""
    probes = folder / "probes.py"
    probes.write_text(PROBES)
    return BwrapWall(probes, **options)


def submission(code: str, **others: bytes) -> Mapping[str, bytes]:
    """The files of a submission whose `src/code.py` is `code`."""
    return {"src/__init__.py": b"", "src/code.py": textwrap.dedent(code).encode(), **others}


def run(wall: BwrapWall, code: str, *arguments: object, **options: Any) -> Outcome:
    """What becomes of `go(*arguments)` of `code`."""
    with wall.open(submission(code)) as session:
        return session.run("call", ("go", *arguments), **options)


def value(wall: BwrapWall, code: str, *arguments: object, **options: Any) -> Any:
    """What `go(*arguments)` of `code` returns; it must return."""
    outcome = run(wall, code, *arguments, **options)
    assert outcome.returned, f"{outcome.describe()}\n{outcome.stderr.text}"
    return outcome.value
