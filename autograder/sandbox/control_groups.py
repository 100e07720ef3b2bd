"""Control groups: the kernel counts what all processes of a submission use together, and keeps it within limits.

Theory of operation
-------------------
A group counts what no process owns: data in pipes and sockets, files in memory, pages that forks have changed. When a
submission's processes exceed the group's memory, the kernel kills one of them, and no other process of the machine.
Groups also share the processors equally: a submission with many processes gets as much as one with a single process.

A group can be made where this process may make folders below its own group: as root with version 1, or in a subtree
that was delegated to it with version 2 (`Delegate=yes` in a systemd unit). Elsewhere the other limits must do.

With version 2 a group that has processes cannot have groups that are limited. So `find` first moves the processes of
its own group into a group below it.

The group of a submission is a last resort: the watch inside measures more exactly and says which case is the cause.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import GraderError

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PREFIX = "autograder"
LEAF = f"{PREFIX}-itself"
"""With version 2: the group for the grader's own processes."""
SPARE_BYTES = 512 * 2**20
"""Memory of our own processes of a submission, with inputs and replies, and of what the kernel needs for them."""
SPARE_PROCESSES = 16
REMOVAL_SECONDS = 2.0

_numbers = itertools.count(1)
_NAME = re.compile(rf"{PREFIX}-(\d+)-(\d+)-\d+")


@dataclass
class Group:
    """The group of one submission: one folder for each controller, or a single one with version 2."""

    folders: tuple[Path, ...]

    def add(self, pid: int) -> None:
        """Move a process, and all that it has started, into the group. Raises GraderError."""
        try:
            for each in (pid, *_descendants(pid)):
                for folder in self.folders:
                    with contextlib.suppress(ProcessLookupError):
                        (folder / "cgroup.procs").write_text(str(each))
        except OSError as error:
            raise GraderError(f"cannot use a control group: {error}; see: autograder doctor") from error

    def oom_kills(self) -> int:
        """Return how many processes of the group the kernel has killed because its memory ran out."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    for line in (folder / name).read_text().splitlines():
                        if line.startswith("oom_kill "):
                            return int(line.split()[1])
        return 0

    def close(self) -> bool:
        """Remove the group. Return whether it is gone: its processes may take a while to end."""
        gone = [_removed(folder) for folder in self.folders]
        return all(gone)


class ControlGroups:
    """Makes groups below the group of this process."""

    def __init__(self, parents: dict[str, Path], version: int) -> None:
        """`parents`: the folder in which a group is made, by controller."""
        self._parents = parents
        self._version = version
        self._closed: list[Group] = []
        """Groups that could not be removed yet."""

    @classmethod
    def find(cls, root: Path = ROOT, own: Path = OWN) -> ControlGroups | None:
        """Return where groups can be made, or None if memory cannot be limited in this way here."""
        try:
            lines = [line.split(":", 2) for line in own.read_text().splitlines()]
        except OSError:
            return None
        paths = {name: path.lstrip("/") for _, names, path in lines for name in names.split(",")}
        parents: dict[str, Path] = {
            name: root / name / paths[name] for name in ("memory", "pids", "cpu") if name in paths
        }
        version = 1
        if "memory" not in parents and "" in paths:
            parents, version = _delegated(root / paths[""]), 2
        usable: dict[str, Path] = {
            name: parent for name, parent in parents.items() if _can_make_groups(parent)
        }
        if "memory" not in usable:
            return None
        return cls(usable, version)

    def make(self, memory_bytes: int, processes: int) -> Group:
        """Return a new group. Raises GraderError."""
        self.sweep()
        name = f"{PREFIX}-{os.getpid()}-{_start_time(os.getpid())}-{next(_numbers)}"
        folders = tuple(dict.fromkeys(parent / name for parent in self._parents.values()))
        made = Group(folders)
        try:
            for folder in folders:
                folder.mkdir()
            for controller, file, value in self._settings(memory_bytes, processes):
                (self._parents[controller] / name / file).write_text(str(value))
        except OSError as error:
            made.close()
            raise GraderError(f"cannot make a control group: {error}; see: autograder doctor") from error
        return made

    def close(self, group: Group) -> None:
        """Remove a group whose processes are ending, now or with a later group."""
        if not group.close():
            self._closed.append(group)

    def sweep(self) -> bool:
        """Remove the groups that were closed, and those of graders that have ended. Return whether all are gone."""
        self._closed = [group for group in self._closed if not group.close()]
        gone = True
        for parent in {*self._parents.values()}:
            for folder in parent.glob(f"{PREFIX}-*"):
                owner = _NAME.fullmatch(folder.name)
                if owner is not None and _start_time(int(owner[1])) != owner[2]:
                    gone &= _removed(folder)
        return gone and not self._closed

    def end(self) -> None:
        """Remove everything that can be removed within REMOVAL_SECONDS."""
        deadline = time.monotonic() + REMOVAL_SECONDS
        while not self.sweep() and time.monotonic() < deadline:
            time.sleep(0.005)

    def _settings(self, memory_bytes: int, processes: int) -> list[tuple[str, str, int]]:
        memory = "memory.limit_in_bytes" if self._version == 1 else "memory.max"
        wanted = [
            ("memory", memory, memory_bytes + SPARE_BYTES),
            ("pids", "pids.max", processes + SPARE_PROCESSES),
        ]
        return [setting for setting in wanted if setting[0] in self._parents]


def _delegated(folder: Path) -> dict[str, Path]:
    """Return the controllers that groups below a delegated folder of version 2 can use, after making them usable."""
    try:
        if not _is_delegated(folder):
            return {}
        leaf = folder / LEAF
        leaf.mkdir(exist_ok=True)
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
        offered = set((folder / "cgroup.controllers").read_text().split())
        found: dict[str, Path] = {}
        for name in ("memory", "pids", "cpu"):
            if name in offered:
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{name}")
                    found[name] = folder
    except OSError:
        return {}
    return found


def _is_delegated(folder: Path) -> bool:
    """Return whether systemd has given the folder to this process, or somebody else to its user."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return os.geteuid() != 0 and folder.stat().st_uid == os.geteuid()


def _can_make_groups(parent: Path) -> bool:
    trial = parent / f"{PREFIX}-{os.getpid()}-{_start_time(os.getpid())}-0"
    try:
        trial.mkdir(exist_ok=True)
        trial.rmdir()
    except OSError:
        return False
    return True


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    queue = [pid]
    while queue:
        parent = queue.pop()
        with contextlib.suppress(OSError):  # it ended meanwhile
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            found += map(int, children)
            queue += map(int, children)
    return found


def _start_time(pid: int) -> str:
    """Return when a process started, in ticks since boot; "0" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "0"
