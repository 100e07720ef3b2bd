"""Pid 1 of one submission: holds its files, follows its cases, enforces their limits, and ends when its channel ends.

Theory of operation
-------------------
`enter` is called in a fork of the fork server. It makes new namespaces (user, mount, pid, net, ipc, uts, cgroup), forks
once more to become pid 1 of the new pid namespace, forks the template process from which cases are forked (see
`template`), waits for a channel, and serves requests on this channel:

    ("open", files, limits)     once: write the files below /submission, let the template import the packages that they
                                name
    ("build", files)            keep the files of the build, for the cases that need it
    ("run", probe, limits, stuck, build)   followed by a frame of encoded inputs: run one case. `stuck` lists
                                modules whose import did not end in an earlier case; the case ends as soon as it
                                imports one. `build` says whether the case sees the build

After "open" and "build" this process sends ("ready",). For a case it sends ("started",) when student code begins,
then ("ended", facts) and a frame with the case's reply, which it does not decode. If the sandbox has a fault, it sends
("failed", text) and ends.

Student code does not run in this process, but in a case, which has the same uid. Therefore this process is protected
from cases: it cannot be traced, its descriptors are not inherited, signals from inside do not reach pid 1, and the
seccomp filter of a case does not let the case change the priority and the limits of this process.

When a case has replied, ended, or reached a limit, all its processes are killed at once, so no process survives until
the next case. Every file system that the next case sees is as it was for the first case: /tmp and /dev/shm are new, the
submission is read-only, and its files have one age. The build lies in a folder of its own, which is empty in other
cases. It is the only one of these folders from which machine code can be loaded.

The memory watch and the case's clock run every TICK. /proc is hidden from cases, so both use a descriptor of the wall's
/proc that was opened earlier. RLIMIT_AS stops a single process at the memory limit; the watch stops many processes that
each stay below it. The clock counts no time in which the case was ready and had no processor. If wall time reaches its
own bound before the clock reaches the limit, the case has not shown that it is too slow: the reason is "starved".
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, NoReturn

from . import (
    BUILD_DIRECTORY,
    INSIDE_ID,
    SUBMISSION_DIRECTORY,
    WRITABLE_DIRECTORIES,
    case,
    imports,
    kernel,
    protocol,
)
from .clock import CaseClock
from .processes import CaseProcesses, MemoryWatch, ProcessTable
from .reply import PACKAGE, Reply
from .template import Lost, Task, Template

TICK = 0.05
PREPARATION_SECONDS = 30.0
"""The time that a case may take before student code begins. A longer time is our fault."""
EMPTY = "/empty"
"""An empty directory of the wall. It is bind-mounted over directories that a case must not see."""

NAMESPACES = {
    "user-namespace": kernel.CLONE_NEWUSER,
    "mount-namespace": kernel.CLONE_NEWNS,
    "pid-namespace": kernel.CLONE_NEWPID,
    "network-namespace": kernel.CLONE_NEWNET,
    "ipc-namespace": kernel.CLONE_NEWIPC,
    "uts-namespace": kernel.CLONE_NEWUTS,
    "cgroup-namespace": kernel.CLONE_NEWCGROUP,
}


@dataclass(frozen=True)
class Setup:
    """The data that the fork server passes to every submission."""

    features: frozenset[str]
    seccomp: bytes
    landlock_version: int
    probes: ModuleType
    importable: tuple[str, ...]
    """The packages that student code may import, besides those that are loaded already."""
    hidden: tuple[str, ...]
    """Directories that no case may see."""
    shown: tuple[str, ...]
    """In a container: paths that a case may read although they are in a private folder."""
    devices: tuple[str, ...]
    """Devices that a case may use; Landlock would refuse to write to them."""
    rehearsal_limits: Mapping[str, Any]


def enter(waiting: socket.socket, setup: Setup) -> NoReturn:
    """Become a submission that serves the channel that arrives through `waiting`. No process returns from this."""
    channel = -1
    try:
        processes = ProcessTable(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        _enter_namespaces(setup.features)
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # with a handler, processes of a case could signal pid 1
        submission = Submission(setup, processes)
        channel = _receive_channel(waiting)
        submission.serve(channel, channel)
    except (protocol.ConnectionLostError, BrokenPipeError, Lost):
        pass
    except BaseException:  # noqa: BLE001  # sent to the other side, which raises it as a GraderError
        with contextlib.suppress(BaseException):
            text = "".join(traceback.format_exception(*sys.exc_info()))[-2000:]
            channel = _receive_channel(waiting) if channel < 0 else channel
            protocol.send_frame(channel, protocol.encode(("failed", text)))
    os._exit(0)


def _receive_channel(waiting: socket.socket) -> int:
    _, channels, _, _ = socket.recv_fds(waiting, 64, 1)
    waiting.close()
    if not channels:
        raise protocol.ConnectionLostError("the wall ended")
    return channels[0]


def _enter_namespaces(features: frozenset[str]) -> None:
    uid, gid = os.getuid(), os.getgid()
    flags = 0
    for name, flag in NAMESPACES.items():
        flags |= flag if name in features else 0
    kernel.unshare(flags)
    if flags & kernel.CLONE_NEWUSER:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{INSIDE_ID} {uid} 1"),
            ("gid_map", f"{INSIDE_ID} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)


# ── output and files of a case ───────────────────────────────────────────────────────────────────────────


@dataclass
class Excerpt:
    """The first and the last bytes of a stream."""

    keep: int
    head: bytes = b""
    tail: bytes = b""
    total: int = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self.keep - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail = (self.tail + data)[-self.keep :] if self.keep else b""


BUILD_BYTES = 64 * 2**20
"""Space for the build."""
AGE = 946_684_800
"""The time that every file of a submission has: the beginning of the year 2000, in seconds."""
QUIET = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOATIME


class Folders:
    """The folders of a submission and of its cases. Here they are mounts; a container has folders of another kind."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.paths: list[str] = [SUBMISSION_DIRECTORY]
        """The files and folders of the submission."""
        self.build: dict[str, bytes] = {}
        """The files of the build, by name."""
        self.landlock = -1
        """The descriptor of Landlock's rules for the present folders."""
        self.writable = WRITABLE_DIRECTORIES if "private-tmp" in setup.features else ()
        """The folders that are new for each case."""
        self.sizes: object = None
        """The limits that the present /tmp was made for."""
        self.make()

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write the files of the submission."""
        self.protect(read_only=False)
        paths = {SUBMISSION_DIRECTORY: None}
        for name, content in files.items():
            path = submission_path(name)
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)  # noqa: PTH103, PTH120
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(content)
            parents = [str(parent) for parent in PurePosixPath(path).parents]
            paths |= dict.fromkeys(
                [path, *(parent for parent in parents if parent.startswith(SUBMISSION_DIRECTORY))]
            )
        self.paths = [*paths]
        self.protect(read_only=True)

    def prepare(self, limits: Mapping[str, Any], build: bool) -> None:
        """Make the folders ready for a case."""
        if self.sizes != _sizes(limits):
            self._renew(limits)
        self.protect(read_only=False)
        if build:
            for name, content in self.build.items():
                with open(f"{BUILD_DIRECTORY}/{name}", "wb") as file:  # noqa: PTH123
                    file.write(content)
        for path in (*self.paths, BUILD_DIRECTORY, *self.writable):
            # Nobody can set the time of the last change, but this makes it the present.
            os.utime(path, (AGE, AGE))
        self.protect(read_only=True)

    def clean(self, limits: Mapping[str, Any]) -> None:
        """Remove what a case left, when all its processes are dead. So the next case finds new folders at once."""
        if self.build:
            self.protect(read_only=False)
            for name in os.listdir(BUILD_DIRECTORY):  # noqa: PTH208
                os.unlink(f"{BUILD_DIRECTORY}/{name}")  # noqa: PTH108
            self.protect(read_only=True)
        self._renew(limits)

    def _renew(self, limits: Mapping[str, Any]) -> None:
        if self.writable:
            self.renew(limits)
        if "landlock" in self.setup.features:
            if self.landlock >= 0:
                os.close(self.landlock)
            self.landlock = self.ruleset()
        self.sizes = _sizes(limits)

    # what a container does in another way

    def make(self) -> None:
        """Make the folders that are there for all cases."""
        if "mount-namespace" not in self.setup.features:
            return
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount(
            "tmpfs", SUBMISSION_DIRECTORY, "tmpfs", QUIET | self._no_code, _options(0o755, 2**30, 100_000)
        )
        kernel.mount("tmpfs", BUILD_DIRECTORY, "tmpfs", QUIET, _options(0o755, BUILD_BYTES, 100))
        for path in self.setup.hidden:
            kernel.mount(EMPTY, path, "", kernel.MS_BIND)

    def renew(self, limits: Mapping[str, Any]) -> None:
        """Give the next case new folders that it can write to."""
        for path in self.writable:
            if self.sizes is not None:
                kernel.unmount(path)
            options = _options(0o700, limits["tmp_bytes"], limits["tmp_files"])
            kernel.mount("tmpfs", path, "tmpfs", QUIET | self._no_code, options)

    def protect(self, read_only: bool) -> None:
        """Make the submission and the build read-only, or writable for this process."""
        if "read-only-submission" in self.setup.features:
            flags = kernel.MS_REMOUNT | kernel.MS_BIND | QUIET | (kernel.MS_RDONLY if read_only else 0)
            kernel.mount("none", SUBMISSION_DIRECTORY, "", flags | self._no_code)
            kernel.mount("none", BUILD_DIRECTORY, "", flags)

    def unnamed_file(self, content: bytes) -> int:
        """Return the descriptor of a new file that has no name, at its beginning."""
        return filled(os.memfd_create("request"), content)

    def ruleset(self) -> int:
        """Return the descriptor of Landlock's rules for the present folders."""
        devices = [path for path in self.setup.devices if os.path.exists(path)]  # noqa: PTH110
        writable = (*WRITABLE_DIRECTORIES, os.devnull, *devices)
        return kernel.landlock_ruleset(self.setup.landlock_version, ("/",), writable)

    @property
    def _no_code(self) -> int:
        return kernel.MS_NOEXEC if "no-new-code" in self.setup.features else 0


def filled(fd: int, content: bytes) -> int:
    """Write to an empty file, and return its descriptor at the beginning of the file."""
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _sizes(limits: Mapping[str, Any]) -> object:
    return limits["tmp_bytes"], limits["tmp_files"]


def _options(mode: int, size: int, files: int) -> str:
    return f"mode={mode:04o},size={size},nr_inodes={files}"


class Submission:
    """Serves the requests on one channel; the docstring of this module explains them."""

    folders_kind: type[Folders] = Folders

    def __init__(self, setup: Setup, processes: ProcessTable) -> None:
        self.reading = self.writing = -1
        self.setup = setup
        self.processes = processes
        self.folders = self.folders_kind(setup)
        if "capabilities-dropped" in setup.features:
            kernel.bound_capabilities()
        kernel.set_dumpable(False)
        confinement = case.Confinement(setup.features, setup.seccomp)
        self.template = Template(setup.probes, setup.importable, confinement, processes)

    # requests

    def serve(self, reading: int, writing: int) -> NoReturn:
        """Serve requests until the channel ends, which raises ConnectionLostError. A socket is both arguments."""
        self.reading, self.writing = reading, writing
        while True:
            self.serve_one()

    def serve_one(self) -> None:
        """Read one request and carry it out."""
        request = self._receive()
        kind = request[0]
        if kind == "open":
            self.folders.write(request[1])
            if imports.may_name(request[1], self.setup.importable):
                self._import_packages(request[2])
            self._send(("ready",))
        elif kind == "build":
            self.folders.build = dict(request[1])
            self._send(("ready",))
        else:
            _, probe, limits, stuck, build = request
            inputs = protocol.receive_frame(self.reading, protocol.MAX_FRAME_BYTES)
            self._run(case.Request(probe, inputs, limits, build), frozenset(stuck))

    def _receive(self) -> Any:
        data = protocol.receive_frame(self.reading, protocol.MAX_FRAME_BYTES)
        return protocol.decode(data, protocol.DecodeLimits(total_bytes=len(data)))

    def _send(self, message: tuple[object, ...]) -> None:
        protocol.send_frame(self.writing, protocol.encode(message))

    def _import_packages(self, limits: Mapping[str, Any]) -> None:
        """Let the template import the allowed packages that the submission names, for all cases."""
        trial = case.Request("trial", protocol.encode(()), {**limits, **imports.LIMITS})
        _, reply = self._call(trial, frozenset(), lambda _: None, Task.TRIAL)
        with contextlib.suppress(protocol.ProtocolError, ValueError):
            kind, *value = protocol.decode(reply, protocol.DecodeLimits(total_bytes=2**16))
            if kind == "returned":
                self.template.load(value[0])
        self.folders.clean(limits)

    # one case

    def _run(self, request: case.Request, stuck: frozenset[str]) -> None:
        facts, reply = self._call(request, stuck, self._send, Task.CASE)
        self._send(("ended", facts))
        protocol.send_frame(self.writing, reply)
        self.folders.clean(request.limits)

    def _call(
        self,
        request: case.Request,
        stuck: frozenset[str],
        send: Callable[[tuple[object, ...]], None],
        task: Task,
    ) -> tuple[dict[str, object], bytes]:
        """Run one case until it is over; return the facts about it, and its reply."""
        limits = request.limits
        self.folders.prepare(limits, request.build)
        pipes = [os.pipe() for _ in range(3)]
        written = self.folders.unnamed_file(request.encode())
        stdout, stderr, reply = (write_end for _, write_end in pipes)
        descriptors = case.Descriptors(stdout, stderr, reply, written, self.folders.landlock)
        try:
            pid, anchor = self.template.fork(descriptors, task)
        finally:
            for fd in (stdout, stderr, reply, written):
                os.close(fd)
        processes = CaseProcesses(self.processes, self.template.table_pid, str(anchor))
        watched = Case(pid, [read_end for read_end, _ in pipes], limits, stuck, processes, self)
        try:
            facts = watched.follow(send)
        finally:
            for read_end, _ in pipes:
                os.close(read_end)
        return facts, watched.reply.payload()


class Case:
    """A running case, seen from pid 1, which follows the case until it is over."""

    def __init__(
        self,
        pid: int,
        pipes: list[int],
        limits: Mapping[str, Any],
        stuck: frozenset[str],
        processes: CaseProcesses,
        submission: Submission,
    ) -> None:
        """`pipes`: the reading ends of stdout, stderr and the reply."""
        stdout, stderr, reply = pipes
        self.pid = pid
        self.limits = limits
        self.stuck = stuck
        self.template = submission.template
        self.channel = submission.reading
        self.watched = "memory-watchdog" in submission.setup.features
        self.watch = MemoryWatch(processes, limits["memory_bytes"])
        self.clock = CaseClock(processes)
        self.reply_fd = reply
        self.reply = Reply(limits["reply_bytes"])
        self.streams = {
            stdout: Excerpt(limits["kept_output_bytes"]),
            stderr: Excerpt(limits["kept_output_bytes"]),
        }
        self.excerpts = tuple(self.streams.values())
        self.began = self.ended = time.monotonic()

    def follow(self, send: Callable[[tuple[object, ...]], None]) -> dict[str, object]:
        """Wait until the case is over, kill its processes, and return the facts about it.

        Raises RuntimeError if student code never began, and Lost if the template has ended.
        """
        reason = self._wait(send)
        self.ended = time.monotonic()
        seconds = self.ended - self.began
        if self.reply.began is not None and seconds > TICK:
            seconds = self.clock.seconds()
        files = self.watch.files_now()
        ended = self.template.end()
        if reason == "ended" and ended.status & 0x7F == signal.SIGKILL:
            reason = self.watch.who_ran_out() or reason
        for fd, excerpt in self.streams.items():
            _drain(fd, excerpt)
        if self.reply.began is None:
            text = self.reply.failure()
            raise RuntimeError(
                f"a case did not get as far as student code (wait status {ended.status}): {text}"
            )
        return {
            "reason": reason,
            "status": ended.status,
            "importing": self.reply.importing,
            "seconds": seconds,
            "cpu_seconds": ended.cpu_seconds,
            "peak_bytes": max(self.watch.peak, ended.peak_bytes - self.watch.baseline - files, 0),
            "output_bytes": sum(excerpt.total for excerpt in self.excerpts),
            "stdout": (self.excerpts[0].head, self.excerpts[0].tail, self.excerpts[0].total),
            "stderr": (self.excerpts[1].head, self.excerpts[1].tail, self.excerpts[1].total),
        }

    def _wait(self, send: Callable[[tuple[object, ...]], None]) -> str:
        """Wait until the case is over. Return the reason: replied, ended, wall, starved, memory, output or reply.

        `follow` may find another reason for "ended": memory, or "no memory" if the machine has none left.
        """
        poll = select.poll()
        process = os.pidfd_open(self.pid)
        for fd in (process, self.reply_fd, *self.streams):
            poll.register(fd, select.POLLIN)
        poll.register(self.channel, select.POLLRDHUP)
        poll.register(self.template.socket, select.POLLRDHUP)
        deadline = self.began + PREPARATION_SECONDS
        tick = self.began + TICK
        sent = False
        try:
            while True:
                now = time.monotonic()
                if now >= deadline:
                    if self.reply.began is None:
                        return "wall"
                    left = self.limits["wall_seconds"] - self.clock.seconds()
                    if left <= 0:
                        return "wall"
                    bound = self.began + self.limits["starved_seconds"]
                    if now >= bound:
                        return "starved"
                    deadline = min(now + max(left, TICK), bound)
                if now >= tick:
                    tick = now + TICK
                    if self.reply.began is not None:
                        self.clock.look()
                        if self.watch.total() > self.limits["memory_bytes"] and self.watched:
                            return "memory"
                ready = dict(poll.poll(max(1, int((min(deadline, tick) - now) * 1000))))
                if self.channel in ready:
                    raise protocol.ConnectionLostError("the session was closed")
                if self.template.socket.fileno() in ready:
                    raise Lost
                for fd in [fd for fd in self.streams if fd in ready]:
                    if not _read_into(fd, self.streams[fd]):
                        poll.unregister(fd)
                if sum(excerpt.total for excerpt in self.excerpts) > self.limits["output_bytes"]:
                    return "output"
                if self.reply_fd in ready:
                    data = os.read(self.reply_fd, 2**20)
                    if data:
                        self.reply.add(data)
                    else:
                        poll.unregister(self.reply_fd)
                    if self.reply.began is not None and not sent:
                        sent = True
                        self.began = self.reply.began
                        self.watch.baseline, self.watch.files = self.reply.baseline
                        self.clock.begin(self.began)
                        deadline = self.began + min(
                            self.limits["wall_seconds"], self.limits["starved_seconds"]
                        )
                        send(("started",))
                    if self.reply.importing in self.stuck:
                        return "wall"
                    if self.reply.too_large:
                        return "reply"
                    if self.reply.complete:
                        return "replied"
                elif process in ready:  # the case ended, and the reply is read to its end
                    return "ended"
        finally:
            os.close(process)


def _read_into(fd: int, excerpt: Excerpt) -> bool:
    data = os.read(fd, 2**18)
    excerpt.add(data)
    return bool(data)


def _drain(fd: int, excerpt: Excerpt) -> None:
    """Read the rest of a pipe whose writers are dead or dying."""
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while excerpt.total < 2**40 and _read_into(fd, excerpt):
            pass


def submission_path(name: str) -> str:
    """Return the path for a file of the submission. Raises ValueError for a name that leads elsewhere."""
    path = PurePosixPath(name)
    if path.parts[:1] != (PACKAGE,) or len(path.parts) < 2 or ".." in path.parts or "\0" in name:
        raise ValueError(f"not a file below {PACKAGE}/: {name[:200]!r}")
    return f"{SUBMISSION_DIRECTORY}/{path}"
