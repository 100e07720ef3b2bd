"""Lets one submission be graded alone on this machine, and the others side by side.

    turns = Turns(folder)
    with turns.together() as turn:       # any number of processes at a time
        ...
        with turn.alone():               # waits until no other process is in `together`
            ...

Two files are locked with flock. Who waits to be alone keeps the gate, through which everybody comes, so newcomers
come after it. If the files cannot be made, nobody waits. A lock ends with its process, whatever happens to that.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from autograder.locks import open_lock


class Turns:
    """The locks in one folder. Processes that use the same folder take turns.

    Args:
        folder: for the two files; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def together(self) -> Iterator["Turn"]:
        """Wait while somebody is alone, then work beside others."""
        with contextlib.ExitStack() as files:
            turn = NO_TURN
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                gate, room = (
                    files.enter_context(open_lock(self._folder / name)) for name in ("gate", "room")
                )
                turn = Turn(gate, room)
            turn.enter()
            yield turn


class Turn:
    """One process's place in the room."""

    def __init__(self, gate: IO[bytes] | None, room: IO[bytes] | None) -> None:
        self._gate, self._room = gate, room

    def enter(self) -> None:
        """Wait at the gate, then be in the room beside others."""
        if self._gate is not None and self._room is not None:
            fcntl.flock(self._gate, fcntl.LOCK_EX)
            fcntl.flock(self._room, fcntl.LOCK_SH)
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Leave the room, wait until it is empty, and be alone in it; afterwards be in it beside others again."""
        if self._gate is None or self._room is None:
            yield
            return
        fcntl.flock(self._room, fcntl.LOCK_UN)
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_SH)
            fcntl.flock(self._gate, fcntl.LOCK_UN)


NO_TURN = Turn(None, None)
"""Of a process that takes no turns."""
