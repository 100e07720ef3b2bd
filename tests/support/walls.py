"""Real walls for tests: one probe that calls any function of the submission, what a machine must have, and stops.

A test that needs a case to be at a certain point, or two cases to run at the same time, does not sleep for a while: the
case waits at a `Stop`, where the test sees it, and goes on when the test lets it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from autograder.errors import GraderError
from autograder.sandbox.bubblewrap import BwrapWall, find_bwrap
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome

PATIENCE = 60.0
"""Seconds for what must happen, on a machine that is busy."""
PATIENT = Limits(wall_seconds=PATIENCE, starved_seconds=10 * PATIENCE)
"""The limits of cases in tests that are not about the time limit, or set one of their own."""

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
    return ctypes.CDLL(path).number()

not_a_function = 3
'''


@functools.cache
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


def new_wall(folder: Path, **options: Any) -> BwrapWall:
    """Return a wall around PROBES, not yet started. Without `preload` it imports neither NumPy nor torch."""
    probes = folder / "probes.py"
    probes.write_text(PROBES)
    return BwrapWall(probes, **{"limits": PATIENT, **options})


def submission(code: str, **others: bytes) -> Mapping[str, bytes]:
    """Return the files of a submission whose `src/code.py` is `code`."""
    return {"src/__init__.py": b"", "src/code.py": textwrap.dedent(code).encode(), **others}


def run(wall: BwrapWall, code: str, *arguments: object, **options: Any) -> Outcome:
    """Return the outcome of `go(*arguments)` in `code`."""
    with wall.open(submission(code)) as session:
        return session.run("call", ("go", *arguments), **options)


def value(wall: BwrapWall, code: str, *arguments: object, **options: Any) -> Any:
    """Return what `go(*arguments)` in `code` returns; it must return."""
    outcome = run(wall, code, *arguments, **options)
    assert outcome.returned, f"{outcome.describe()}\n{outcome.stderr.text}"
    return outcome.value


# ── processes of cases, seen from here ───────────────────────────────────────────────────────────────────

STOP = """
import ctypes, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
def stop_at(name):
    libc = ctypes.CDLL(None)
    libc.prctl(15, name.encode(), 0, 0, 0)  # PR_SET_NAME, which everybody can read
    signal.sigtimedwait({signal.SIGUSR1}, 60)
    libc.prctl(15, b"went-on", 0, 0, 0)
"""
"""Put this before the code of a submission that calls `stop_at(name)`."""


class Stop:
    """A point in student code, with a name that no other test uses."""

    def __init__(self) -> None:
        self.name = f"at-{secrets.token_hex(5)}"

    def wait_for(self, count: int = 1, *, but: Collection[int] = ()) -> list[int]:
        """Wait until `count` cases are here, and return their pids. Cases in `but` do not count."""
        found: list[int] = []

        def all_are_here() -> bool:
            found[:] = [pid for pid in _named(self.name) if pid not in but]
            return len(found) >= count

        assert wait_until(all_are_here), f"{len(found)} of {count} cases came to the stop"
        return found

    def release(self, pids: Collection[int]) -> None:
        """Let cases go on. A case that belongs to another user goes on by itself after a minute."""
        for pid in pids:
            with contextlib.suppress(PermissionError):
                os.kill(pid, signal.SIGUSR1)


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait until a condition holds; return whether it did."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _named(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == name:
                found.append(int(entry.name))
    return found


def status_of(pid: int, key: str) -> list[str]:
    """Return a line of a process's status as words, without its key; empty if the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return line.split()[1:]
    return []


def keeper_of(pid: int) -> int:
    """Return pid 1 of the submission that a case belongs to, as its pid here."""
    template = int(status_of(pid, "PPid")[0])
    return int(status_of(template, "PPid")[0])


def below(pid: int) -> list[int]:
    """Return every process below `pid`."""
    found: list[int] = []
    queue = [pid]
    while queue:
        with contextlib.suppress(OSError):  # it ended meanwhile
            for task in Path(f"/proc/{queue.pop()}/task").iterdir():
                children = list(map(int, (task / "children").read_text().split()))
                found += children
                queue += children
    return found


def all_gone(pids: Collection[int]) -> bool:
    """Wait until none of the processes exists any more; return whether that happened."""
    return wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep the processors busy. Each loop has a session of its own, or the kernel would count all of them as one."""
    with contextlib.ExitStack() as loops:
        for _ in range(count):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
            loops.enter_context(loop)
            loops.callback(loop.kill)
        yield
