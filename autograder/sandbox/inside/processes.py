"""What the processes of a case use, read from /proc by pid 1 of the submission."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProcessTable:
    """The wall's /proc, read through a descriptor that stays valid when the path is hidden."""

    descriptor: int

    def read(self, path: str) -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.descriptor)
        try:
            return os.read(fd, 65536)
        finally:
            os.close(fd)

    def own_pid(self) -> str:
        return os.readlink("self", dir_fd=self.descriptor)

    def threads(self, pid: str) -> list[str]:
        task = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.descriptor)
        try:
            return os.listdir(task)  # noqa: PTH208
        finally:
            os.close(task)

    def children(self, pid: str) -> list[str]:
        """Return the pids of the children of a process with one thread, the oldest first."""
        return self.read(f"{pid}/task/{pid}/children").decode().split()

    def descendants(self, pid: str) -> list[str]:
        """Return the pids of all descendants of `pid`, in the wall's pid namespace."""
        found: list[str] = []
        queue = [pid]
        while queue:
            parent = queue.pop()
            with contextlib.suppress(OSError):  # it ended meanwhile
                for thread in self.threads(parent):
                    children = self.read(f"{parent}/task/{thread}/children").decode().split()
                    found += children
                    queue += children
        return found

    def own_bytes(self, pid: str) -> int:
        """Return the size of a process's memory that no file backs: anonymous, shared and swapped out, in bytes."""
        return self._sum(f"{pid}/status", (b"RssAnon:", b"RssShmem:", b"VmSwap:"))

    def file_bytes(self, pid: str) -> int:
        """Return how much of a process's memory is parts of files, such as libraries, in bytes."""
        return self._sum(f"{pid}/status", (b"RssFile:",))

    def proportional_bytes(self, pid: str) -> int:
        """Return the same as `own_bytes`, but a page that N processes share counts as 1/N. This takes milliseconds."""
        return self._sum(f"{pid}/smaps_rollup", (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:"))

    def _sum(self, path: str, names: tuple[bytes, ...]) -> int:
        """Return the sum of some lines of a file, in bytes."""
        return sum(
            int(line.split()[1]) * 1024 for line in self.read(path).splitlines() if line.startswith(names)
        )

    def stack_start(self, pid: str) -> int:
        """Return the address where the stack begins.

        Until it executes a program, a forked process has the address of its parent, or 0.
        """
        return self._stat(pid)[25]

    def cpu_ticks(self, pid: str) -> int:
        """Return the CPU time of a process and of the children that it waited for, in clock ticks."""
        return sum(self._stat(pid)[11:15])

    def _stat(self, pid: str) -> list[int]:
        """Return the numbers after the name and the state of a process, with the state as 0."""
        _state, *numbers = self.read(f"{pid}/stat").rpartition(b")")[2].split()
        return [0, *map(int, numbers)]

    def run_delays(self, pid: str) -> dict[str, int]:
        """Return, for each thread of a process, how long it was ready and had no processor, in nanoseconds.

        It is the second number of schedstat. A kernel without schedstat gives an empty dict.
        """
        delays: dict[str, int] = {}
        for thread in self.threads(pid):
            with contextlib.suppress(OSError):  # it ended meanwhile
                delays[thread] = int(self.read(f"{pid}/task/{thread}/schedstat").split()[1])
        return delays

    def machine_ticks(self) -> tuple[int, int]:
        """Return the time of all processors together that programs used, and that a hypervisor took, in clock ticks."""
        user, nice, system, _idle, _wait, irq, softirq, stolen, *_ = (
            int(field) for field in self.read("stat").split(b"\n", 1)[0].split()[1:]
        )
        return user + nice + system + irq + softirq, stolen

    def machine_oom_kills(self) -> int:
        """Return how many processes of this machine the kernel has killed because memory ran out."""
        for line in self.read("vmstat").splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0

    def address_space(self, pid: str) -> int:
        return int(self.read(f"{pid}/statm").split()[0]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class CaseProcesses:
    """The processes of a case: the descendants of the template, without the anchor of the case's namespace."""

    table: ProcessTable
    template: str
    anchor: str = "0"

    def first(self) -> str:
        """Return the pid of the case's first process."""
        return next(pid for pid in self.table.children(self.template) if pid != self.anchor)

    def pids(self) -> list[str]:
        return [pid for pid in self.table.descendants(self.template) if pid != self.anchor]


NEW_FILES = 64 * 2**20


@dataclass
class MemoryWatch:
    """Measures the memory of a case's processes, without the memory that the case began with.

    For one process this is simple. For several, it is the sum if that is below the limit. Otherwise the kernel is asked
    for the exact figure, in which a page that several processes share counts once. This takes milliseconds for each
    process.
    """

    processes: CaseProcesses
    limit: int
    """The memory in bytes above which the exact figure matters."""
    baseline: int = 0
    """What the case began with, in bytes; the case itself reports it before student code begins."""
    files: int = 0
    """How much of files was in memory then."""
    peak: int = 0
    stack: int = field(init=False)
    kills: int = field(init=False)
    machine_kills: int = field(init=False)
    _next_look: float = 0.0
    _exact: int = 0

    def __post_init__(self) -> None:
        # This process has the same stack as the template, which does not show its own.
        self.stack = self.processes.table.stack_start(self.processes.table.own_pid())
        self.kills = oom_kills()
        self.machine_kills = self.processes.table.machine_oom_kills()

    def who_ran_out(self) -> str:
        """Return why the kernel may have killed a process: memory of the case, or of the machine, or neither."""
        if oom_kills() > self.kills:
            return "memory"
        if self.processes.table.machine_oom_kills() > self.machine_kills and self.peak <= self.limit:
            return "no memory"
        return ""

    def total(self) -> int:
        """Return the memory of all processes of the case together, in bytes."""
        table, pids = self.processes.table, self.processes.pids()
        total = most = 0
        for pid in pids:
            with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
                own = table.own_bytes(pid)
                forked = table.stack_start(pid) in (self.stack, 0)
                total += max(0, own - self.baseline) if forked else own
                most += own
        if len(pids) > 1 and most > self.limit:
            total = self._exactly(pids)
        self.peak = max(self.peak, total)
        return total

    def files_now(self) -> int:
        """Return how much of files the case's first process has in memory, in bytes.

        Which parts of a library are in memory depends on the machine's other programs. Only NEW_FILES bytes may be more
        than at the beginning, so that nobody hides memory behind files.
        """
        now = 0
        with contextlib.suppress(OSError, StopIteration):  # the process has ended
            now = self.processes.table.file_bytes(self.processes.first())
        return min(max(now, self.files), self.files + NEW_FILES)

    def _exactly(self, pids: list[str]) -> int:
        """Return the exact figure; it is read at most half of the time."""
        began = time.monotonic()
        if began >= self._next_look:
            self._exact = 0
            for pid in pids:
                with contextlib.suppress(OSError, ValueError, IndexError):
                    self._exact += self.processes.table.proportional_bytes(pid)
            now = time.monotonic()
            self._next_look = now + (now - began)
        return self._exact


OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
"""The counters of this process's control group, if it can see the group: for version 2 and for version 1."""


def oom_kills() -> int:
    """Return the number of processes in the control group that the kernel has killed because memory ran out."""
    for path in OOM_COUNTERS:
        with contextlib.suppress(OSError), open(path) as file:  # noqa: PTH123
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0
