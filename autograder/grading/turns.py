"""Lets one submission be graded alone on this machine, the others side by side, and one at a time on a device.

    turns = Turns(folder)
    with turns.together(devices) as turn:  # any number of processes at a time, but one for each device
        ...
        with turn.alone():                 # waits until no other process is in `together`
            ...

Files are locked with flock. Who waits to be alone keeps the gate, through which everybody comes, so newcomers come
after it. If the files cannot be made, nobody waits. A lock ends with its process, whatever happens to that. Each lock
is also given up by name, because a process that was forked meanwhile may have the file for longer.

Nobody can wait indefinitely, because locks are taken in one order: devices by name, then the gate, then the room. Who
waits for a device is not in the room yet, so it does not keep the process that has the device from being alone.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from autograder.locks import open_lock

_SHARED = re.compile(r"/dev/nvidia(ctl|-.+)|/dev/kfd")


class Turns:
    """The locks in one folder. Processes that use the same folder take turns.

    Args:
        folder: for the files; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def with_devices(self, devices: Iterable[str]) -> Iterator[None]:
        """Wait until no other process has one of these device nodes, then have them all.

        Call it outside of `together`. The control nodes that all GPUs of a machine share are nobody's.
        """
        names = {os.path.realpath(device) for device in devices if not _SHARED.fullmatch(device)}
        with contextlib.ExitStack() as locks:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                for name in sorted(names):
                    file = locks.enter_context(open_lock(self._folder / f"device{name.replace('/', '-')}"))
                    fcntl.flock(file, fcntl.LOCK_EX)
                    locks.callback(fcntl.flock, file, fcntl.LOCK_UN)
            yield

    @contextlib.contextmanager
    def together(self, devices: Iterable[str] = ()) -> Iterator["Turn"]:
        """Wait for the devices, and while somebody is alone; then work beside others."""
        with self.with_devices(devices), contextlib.ExitStack() as files:
            turn = NO_TURN
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                gate, room = (
                    files.enter_context(open_lock(self._folder / name)) for name in ("gate", "room")
                )
                turn = Turn(gate, room)
                files.callback(fcntl.flock, room, fcntl.LOCK_UN)
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
