"""The process from which the cases of a submission are forked. It never holds an input or a reply.

Theory of operation
-------------------
A fork inherits the memory and the process id of the moment. If cases were forked from pid 1 of the submission, which
reads inputs and replies, a case could find those of earlier cases in its heap, and count the cases by its process id.
So pid 1 forks this process before any request arrives, and asks it for each case:

    b"case" and descriptors         fork a case; the descriptors are those of `case.Descriptors`
        -> the pid of the case, and the pid of its anchor in the wall's /proc, or 0
    b"trial" and descriptors        the same, for the trial of `imports`
    b"end"                          kill every process of the case
        -> the case's wait status, its user and system time in seconds, and its largest resident memory in KiB
    b"load" and names               import the modules that did well in the trial
        -> b"loaded"

The case reads its request itself, from one of the descriptors. This process does the same for every case, so its own
memory stays as it is. Modules are loaded only before the first case.

Where a pid namespace can be made, each case has a new one, so process ids begin at the same number in each. Its pid 1,
the anchor, is a program that only sleeps: it is started without copying this process, which is faster than a fork.
The namespace and the anchor are made while no case runs. The kernel kills all processes of a namespace with its pid 1.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import os
import signal
import socket
import struct
import time
from dataclasses import dataclass
from types import ModuleType
from typing import NoReturn

from . import case, imports, kernel, protocol
from .processes import ProcessTable

ANCHOR = ("/bin/sleep", "2147483647")
LOAD, LOADED = b"load", b"loaded"
MAX_MESSAGE = 65536
_STARTED = struct.Struct(">qq")
_ENDED = struct.Struct(">qddq")


class Task(enum.Enum):
    """What a case is for."""

    CASE = b"case"
    """It calls a probe of the suite beside the submission."""
    TRIAL = b"trial"
    """It tries imports, without student code."""


class Lost(Exception):
    """The template process has ended. Student code can end it where the case has no pid namespace of its own."""


@dataclass(frozen=True)
class Ended:
    """How a case ended, from the kernel's accounting."""

    status: int
    """The status that `waitpid` returned."""
    cpu_seconds: float
    peak_bytes: int
    """The largest resident memory of the case's first process."""


class Template:
    """The template process, seen from pid 1 of the submission."""

    def __init__(
        self,
        probes: ModuleType,
        importable: tuple[str, ...],
        confinement: case.Confinement,
        processes: ProcessTable,
    ) -> None:
        """`importable`: the packages that student code may import."""
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = _fork()
        if pid == 0:
            self.socket.close()
            _serve(theirs, probes, importable, confinement, processes)
        theirs.close()
        self.table_pid = str(_STARTED.unpack(self._receive(_STARTED.size))[1])
        """The pid in the wall's /proc."""

    def fork(self, descriptors: case.Descriptors, task: Task = Task.CASE) -> tuple[int, int]:
        """Fork a case. Return its pid, and the pid of its anchor in the wall's /proc, or 0. Raises Lost."""
        try:
            socket.send_fds(self.socket, [task.value], [fd for fd in descriptors if fd >= 0])
        except OSError as error:
            raise Lost from error
        pid, anchor = _STARTED.unpack(self._receive(_STARTED.size))
        return pid, anchor

    def end(self) -> Ended:
        """Kill every process of the case, and return how the case ended. Raises Lost."""
        try:
            self.socket.send(b"end")
        except OSError as error:
            raise Lost from error
        status, user, system, peak = _ENDED.unpack(self._receive(_ENDED.size))
        return Ended(status, user + system, peak * 1024)

    def load(self, names: object) -> None:
        """Let the template import modules, before the first case. `names`: what the trial returned. Raises Lost."""
        try:
            self.socket.send(LOAD + protocol.encode(names))
        except OSError as error:
            raise Lost from error
        self._receive(len(LOADED))

    def close(self) -> None:
        self.socket.close()

    def _receive(self, size: int) -> bytes:
        try:
            data = self.socket.recv(size)
        except OSError as error:
            raise Lost from error
        if len(data) != size:
            raise Lost
        return data


def _serve(
    requests: socket.socket,
    probes: ModuleType,
    importable: tuple[str, ...],
    confinement: case.Confinement,
    processes: ProcessTable,
) -> NoReturn:
    """Fork cases until pid 1 of the submission closes the socket. No process returns from this."""
    try:
        case.first_in_namespace = os.getppid() == 1
        own_pid = processes.own_pid()
        namespaces = Namespaces(processes) if "case-pid-namespace" in confinement.features else None
        everything = case.first_in_namespace and "pid-namespace" in confinement.features
        if everything:
            kernel.adopt_orphans()
        requests.send(_STARTED.pack(0, int(own_pid)))
        while True:
            if namespaces is not None:
                namespaces.enter()
            data, descriptors, _, _ = socket.recv_fds(requests, MAX_MESSAGE, len(case.Descriptors._fields))
            if not data:
                os._exit(0)
            if data.startswith(LOAD):
                if (
                    namespaces is not None
                ):  # no thread can start in a process whose children have another namespace
                    _kill(namespaces.anchor)
                    namespaces.leave()
                imports.load(protocol.decode(data[len(LOAD) :]), importable)
                gc.collect()
                gc.freeze()
                requests.send(LOADED)
                continue
            pid = _fork()
            if pid == 0:
                used = imports.module(importable) if data == Task.TRIAL.value else probes
                case.run(case.Descriptors(*descriptors), used, confinement, processes)
            for fd in descriptors:
                os.close(fd)
            requests.send(_STARTED.pack(pid, int(namespaces.anchor_in_table) if namespaces else 0))
            if not requests.recv(16):
                os._exit(0)
            if namespaces is not None:
                _kill(namespaces.anchor)
            else:
                _kill(-1 if everything else -pid)
            _kill(pid)
            _, status, usage = os.wait4(pid, 0)
            if namespaces is not None:
                namespaces.leave()
            _reap_all()
            requests.send(_ENDED.pack(status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss))
    finally:
        os._exit(1)


class Namespaces:
    """Makes a pid namespace for each case. The processes that this process forks meanwhile are in the namespace."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._own = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=processes.descriptor)
        self._table_pid = processes.own_pid()
        self.anchor = 0
        """The pid of the namespace's pid 1, as this process sees it."""
        self.anchor_in_table = "0"
        """The same in the wall's /proc."""

    def enter(self) -> None:
        """Make a namespace and its anchor."""
        kernel.unshare(kernel.CLONE_NEWPID)
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        self.anchor = os.posix_spawn(ANCHOR[0], ANCHOR, {}, file_actions=null)
        (self.anchor_in_table,) = self._processes.children(self._table_pid)

    def leave(self) -> None:
        """Wait until the namespace has ended. Its processes have been killed, and the case has been waited for."""
        os.waitpid(self.anchor, 0)
        kernel.enter_namespace(self._own, kernel.CLONE_NEWPID)


def _fork() -> int:
    """Fork, and try again if it fails: processes of the previous case may still be ending."""
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            return os.fork()
        time.sleep(0.02)
    return os.fork()


def _kill(target: int) -> None:
    """Send SIGKILL to `target`: -1 is every process of the namespace but pid 1 and this one, -PID is a process group.

    If a process is forking when the signal arrives, its fork fails, so no new process escapes the signal.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(target, signal.SIGKILL)


def _reap_all() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
