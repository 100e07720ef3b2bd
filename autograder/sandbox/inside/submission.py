"""Pid 1 of one submission: holds its files, forks its cases, enforces their limits, and ends when its channel ends.

Theory of operation
-------------------
`enter` is called in a fork of the fork server. It makes new namespaces (user, mount, pid, net, ipc, uts, cgroup), forks
once more to become pid 1 of the new pid namespace, waits for a channel, and serves requests on this channel:

    ("open", files, limits)     once: write the files below /submission, make them read-only, import the packages that
                                they name
    ("add", files)              add files, such as a compiled extension
    ("run", probe, limits, stuck)   followed by a frame of encoded inputs: run one case. `stuck` lists modules whose
                                import did not end in an earlier case; the case ends as soon as it imports one

After "open" and "add" this process sends ("ready",). For a case it sends ("started",) when student code begins, then
("ended", facts) and a frame with the case's reply, which it does not decode. If the sandbox has a fault, it sends
("failed", text) and ends.

Student code does not run in this process, but in its children, which have the same uid. Therefore this process is
protected from them: it cannot be traced, its descriptors are not inherited, signals from inside do not reach pid 1, and
the seccomp filter of a case does not let the case change the priority and the limits of this process.

When a case has replied, ended, or reached a limit, every other process in the pid namespace is killed at once, so no
process survives until the next case. The file systems that the case could write to are replaced.

The memory watch and the case's clock run every TICK. /proc is hidden from cases, so both use a descriptor of the wall's
/proc that was opened earlier. RLIMIT_AS stops a single process at the memory limit; the watch stops many processes that
each stay below it. The clock counts no time in which the case was ready and had no processor. If wall time reaches its
own bound before the clock reaches the limit, the case has not shown that it is too slow: the reason is "starved".
"""

from __future__ import annotations

import contextlib
import gc
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

from . import INSIDE_ID, SUBMISSION_DIRECTORY, WRITABLE_DIRECTORIES, case, imports, kernel, protocol
from .clock import CaseClock
from .processes import MemoryWatch, ProcessTable, oom_kills
from .reply import PACKAGE, Reply

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
    """In a container: devices that a case may use."""
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
    except (protocol.ConnectionLostError, BrokenPipeError):
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


class Writable:
    """The directories that a case can write to. They are new for each case, unless the last case left no trace."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.enabled = "private-tmp" in setup.features
        self.landlock = -1
        self.made: object = None
        """The limits that the directories were made for, and their state when they were new."""

    def renew(self, limits: Mapping[str, Any]) -> None:
        wanted = (limits["tmp_bytes"], limits["tmp_files"])
        if self.made == (wanted, self._look()):
            return  # the last case left no trace, and unmounting takes milliseconds
        if self.enabled:
            for path in WRITABLE_DIRECTORIES:
                if self.made is not None:
                    kernel.unmount(path)
                options = f"mode=0700,size={wanted[0]},nr_inodes={wanted[1]}"
                flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOATIME
                kernel.mount("tmpfs", path, "tmpfs", flags, options)
        if "landlock" in self.setup.features:
            if self.landlock >= 0:
                os.close(self.landlock)
            self.landlock = self._ruleset()
        self.made = (wanted, self._look())

    def _ruleset(self) -> int:
        return kernel.landlock_ruleset(
            self.setup.landlock_version, ("/",), (*WRITABLE_DIRECTORIES, os.devnull)
        )

    def _look(self) -> object:
        """Return the entries and the ctime of each writable directory. Student code cannot set a ctime."""
        if not self.enabled:
            return None
        return [(os.listdir(path), os.stat(path).st_ctime_ns) for path in WRITABLE_DIRECTORIES]  # noqa: PTH116, PTH208


class Submission:
    """Serves the requests on one channel; the docstring of this module explains them."""

    writable_kind: type[Writable] = Writable

    def __init__(self, setup: Setup, processes: ProcessTable) -> None:
        self.reading = self.writing = -1
        self.setup = setup
        self.processes = processes
        self.writable = self.writable_kind(setup)
        self.watch = MemoryWatch(processes, "memory-watchdog" in setup.features)
        if "mount-namespace" in setup.features:
            self._mount_base()
        if "capabilities-dropped" in setup.features:
            kernel.bound_capabilities()
        kernel.set_dumpable(False)

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
            self._write_files(request[1])
            self.writable.renew(request[2])
            if imports.may_name(request[1], self.setup.importable):
                self._import_packages(request[2])
            self._send(("ready",))
        elif kind == "add":
            self._write_files(request[1])
            self._send(("ready",))
        else:
            inputs = protocol.receive_frame(self.reading, protocol.MAX_FRAME_BYTES)
            self._run(case.Request(request[1], inputs, request[2], tuple(request[3])))

    def _receive(self) -> Any:
        data = protocol.receive_frame(self.reading, protocol.MAX_FRAME_BYTES)
        return protocol.decode(data, protocol.DecodeLimits(total_bytes=len(data)))

    def _send(self, message: tuple[object, ...]) -> None:
        protocol.send_frame(self.writing, protocol.encode(message))

    # file systems

    def _mount_base(self) -> None:
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        options = f"mode=0755,nr_inodes=100k,size={2**30}"
        kernel.mount("tmpfs", SUBMISSION_DIRECTORY, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
        for path in self.setup.hidden:
            kernel.mount(EMPTY, path, "", kernel.MS_BIND)

    def _protect_submission(self, read_only: bool) -> None:
        if "read-only-submission" in self.setup.features:
            flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_NOSUID | kernel.MS_NODEV
            kernel.mount("none", SUBMISSION_DIRECTORY, "", flags | (kernel.MS_RDONLY if read_only else 0))

    def _write_files(self, files: Mapping[str, bytes]) -> None:
        self._protect_submission(read_only=False)
        for name, content in files.items():
            path = submission_path(name)
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)  # noqa: PTH103, PTH120
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(content)
        self._protect_submission(read_only=True)

    def _import_packages(self, limits: Mapping[str, Any]) -> None:
        """Import the allowed packages that the submission names, for all cases."""
        importable = self.setup.importable
        trial = case.Request("trial", protocol.encode(()), {**limits, **imports.LIMITS})
        _, reply = self._call(trial, imports.module(importable), lambda _: None)
        with contextlib.suppress(protocol.ProtocolError, ValueError):
            kind, *value = protocol.decode(reply, protocol.DecodeLimits(total_bytes=2**16))
            imports.load(value[0] if kind == "returned" else [], importable)
            gc.collect()
            gc.freeze()
        _reap_all()
        self.writable.renew(limits)

    # one case

    def _run(self, request: case.Request) -> None:
        facts, reply = self._call(request, self.setup.probes, self._send)
        self._send(("ended", facts))
        protocol.send_frame(self.writing, reply)
        _reap_all()
        self.writable.renew(request.limits)

    def _call(
        self, request: case.Request, probes: ModuleType, send: Callable[[tuple[object, ...]], None]
    ) -> tuple[dict[str, object], bytes]:
        """Run one case until it is over; return the facts about it, and its reply."""
        limits = request.limits
        self.writable.renew(limits)
        self.watch.begin()
        address_space = self.processes.address_space(self.watch.own_pid)
        confinement = case.Confinement(
            self.setup.features, self.setup.seccomp, self.writable.landlock, address_space
        )
        pipes = [os.pipe() for _ in range(3)]
        pid = _fork()
        if pid == 0:
            self._oom_victim()
            case.run(request, probes, confinement, (pipes[0][1], pipes[1][1]), pipes[2][1])
        for _, write_end in pipes:
            os.close(write_end)
        own_namespace = "pid-namespace" in self.setup.features
        watched = Case(
            pid, [read_end for read_end, _ in pipes], request, self.watch, self.reading, own_namespace
        )
        try:
            facts = watched.follow(send)
        finally:
            for read_end, _ in pipes:
                os.close(read_end)
        return facts, watched.reply.payload()

    def _oom_victim(self) -> None:
        """If memory runs out, make the kernel kill the case, not pid 1."""
        with contextlib.suppress(OSError):
            kernel.set_dumpable(True)  # otherwise the file belongs to root
            fd = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=self.processes.descriptor)
            os.write(fd, b"1000")
            os.close(fd)


class Case:
    """A running case, seen from pid 1, which follows the case until it is over."""

    def __init__(
        self,
        pid: int,
        pipes: list[int],
        request: case.Request,
        watch: MemoryWatch,
        channel: int,
        own_namespace: bool,
    ) -> None:
        """`pipes`: the reading ends of stdout, stderr and the reply."""
        stdout, stderr, reply = pipes
        self.pid = pid
        self.own_namespace = own_namespace
        self.limits = limits = request.limits
        self.stuck = request.stuck
        self.watch = watch
        self.channel = channel
        self.reply_fd = reply
        self.reply = Reply(limits["reply_bytes"])
        self.streams = {
            stdout: Excerpt(limits["kept_output_bytes"]),
            stderr: Excerpt(limits["kept_output_bytes"]),
        }
        self.excerpts = tuple(self.streams.values())
        self.clock = CaseClock(watch.processes, watch.own_pid)
        self.began = self.ended = time.monotonic()

    def follow(self, send: Callable[[tuple[object, ...]], None]) -> dict[str, object]:
        """Wait until the case is over, kill its processes, and return the facts about it.

        Raises RuntimeError if student code never began.
        """
        reason = self._wait(send)
        self.ended = time.monotonic()
        seconds = self.ended - self.began
        if self.reply.began is not None and seconds > TICK:
            seconds = self.clock.seconds(self.ended)
        _kill_all(-1 if self.own_namespace else -self.pid)
        _, status, usage = os.wait4(self.pid, 0)
        if reason == "ended" and status & 0x7F == signal.SIGKILL and oom_kills() > self.watch.kills:
            reason = "memory"  # the kernel killed it before the watch did
        for fd, excerpt in self.streams.items():
            _drain(fd, excerpt)
        if self.reply.began is None:
            text = self.reply.failure()
            raise RuntimeError(f"a case did not get as far as student code (wait status {status}): {text}")
        return {
            "reason": reason,
            "status": status,
            "importing": self.reply.importing,
            "seconds": seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_bytes": max(self.watch.peak, usage.ru_maxrss * 1024 - self.watch.baseline, 0),
            "output_bytes": sum(excerpt.total for excerpt in self.excerpts),
            "stdout": (self.excerpts[0].head, self.excerpts[0].tail, self.excerpts[0].total),
            "stderr": (self.excerpts[1].head, self.excerpts[1].tail, self.excerpts[1].total),
        }

    def _wait(self, send: Callable[[tuple[object, ...]], None]) -> str:
        """Wait until the case is over. Return the reason: replied, ended, wall, starved, memory, output or reply."""
        poll = select.poll()
        process = os.pidfd_open(self.pid)
        for fd in (process, self.reply_fd, *self.streams):
            poll.register(fd, select.POLLIN)
        poll.register(self.channel, select.POLLRDHUP)
        deadline = self.began + PREPARATION_SECONDS
        tick = self.began + TICK
        sent = False
        try:
            while True:
                now = time.monotonic()
                if now >= deadline:
                    if self.reply.began is None:
                        return "wall"
                    left = self.limits["wall_seconds"] - self.clock.seconds(now)
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
                    if self.watch.total() > self.limits["memory_bytes"] and self.watch.enforced:
                        return "memory"
                ready = dict(poll.poll(max(1, int((min(deadline, tick) - now) * 1000))))
                if self.channel in ready:
                    raise protocol.ConnectionLostError("the session was closed")
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


def _fork() -> int:
    """Fork, and try again if it fails: processes of the previous case may still be ending."""
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            return os.fork()
        time.sleep(0.02)
    return os.fork()


def _kill_all(target: int) -> None:
    """Send SIGKILL to `target`: -1 is every process of the namespace except this one, -PID is a process group.

    If a process is forking when the signal arrives, its fork fails, so no new process escapes the signal.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(target, signal.SIGKILL)


def _reap_all() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def submission_path(name: str) -> str:
    """Return the path for a file of the submission. Raises ValueError for a name that leads elsewhere."""
    path = PurePosixPath(name)
    if path.parts[:1] != (PACKAGE,) or len(path.parts) < 2 or ".." in path.parts or "\0" in name:
        raise ValueError(f"not a file below {PACKAGE}/: {name[:200]!r}")
    return f"{SUBMISSION_DIRECTORY}/{path}"
