"""The protocol `Wall`, which every sandbox implements, and the code that real walls share."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import resource
import select
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
from autograder.sandbox.control_groups import ControlGroups
from autograder.sandbox.inside import CONFIGURATION_FILE, GRADER_DIRECTORY, PROBES_FILE, protocol
from autograder.sandbox.limits import Limits
from autograder.sandbox.session import Session, StreamSession

LOG_BYTES = 8000

if TYPE_CHECKING:
    from typing_extensions import Self


class Wall(Protocol):
    """Runs submissions in a sandbox."""

    @property
    def protections(self) -> tuple[str, ...]:
        """The names in `policy.PROTECTIONS` that are in force; known once the wall is ready."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Further facts about the wall for the report; known once the wall is ready."""

    def start(self) -> None:
        """Start the wall and return at once; `ready` waits until the wall is ready."""

    def ready(self, timeout: float = 120.0) -> None:
        """Wait until submissions can be opened. Raises GraderError if the wall cannot start."""

    def open(self, files: Mapping[str, bytes], limits: Limits | None = None) -> Session:
        """Return a session for a submission. `files`: the content by path, `{"src/__init__.py": b"..."}`."""

    def close(self) -> None:
        """End the wall and every process inside it."""

    def __enter__(self) -> Wall: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ControlledWall(ABC):
    """A wall that runs as a separate process with a control socket.

    The process sends one message on the socket, ("ready", protections, ...) or ("failed", text). It runs until it is
    ended. Its output is kept, to explain a failure.
    """

    def __init__(self, limits: Limits | None, required: frozenset[str]) -> None:
        """`required`: the wall is ready only if all these protections are in force."""
        self._limits = limits or Limits()
        self._required = required
        self._groups: ControlGroups | None = None
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
        found = self._ready_message()[1]
        return tuple(name for name in policy.PROTECTIONS if name in found)

    @property
    def provenance(self) -> Mapping[str, Any]:
        return {}

    @abstractmethod
    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        """Start the process and give it this end of the control socket. Raises OSError or GraderError."""

    @abstractmethod
    def _connect(self) -> socket.socket:
        """Return a stream to pid 1 of a new submission. Raises GraderError if there can be no new submission."""

    def start(self) -> None:
        if self._process is not None:
            return
        self._owner = os.getpid()
        allow_many_descriptors()
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
        # MSG_PEEK leaves the message in the socket, so that processes forked from this one can read it too.
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
                f"not in force inside the sandbox: {', '.join(sorted(missing))}; "
                "see: autograder doctor, or waive them by name in the configuration"
            )
        self._ready = (kind, *details)

    def open(self, files: Mapping[str, bytes], limits: Limits | None = None) -> StreamSession:
        self.ready()
        return StreamSession(self._connect, self._explain_loss, files, limits or self._limits, self._groups)

    def close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None and os.getpid() == self._owner:
            self._end(self._process)
            self._process = None
            os.close(self._log)
            if self._groups is not None:
                self._groups.end()

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def _ready_message(self) -> tuple[Any, ...]:
        self.ready()
        return self._ready or ()

    def _open_control(self) -> socket.socket:
        if self._control is None:
            raise GraderError("the sandbox is closed")
        return self._control

    def _popen(
        self, command: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        """Start the process of the wall. It inherits only `descriptors` and its standard streams."""
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C must not reach the wall, only the process that uses it
        )

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
        """Return the end of the process's output, with a hint for staff."""
        with contextlib.suppress(subprocess.TimeoutExpired, AttributeError):
            if os.getpid() == self._owner and self._process is not None:
                self._process.wait(1.0)
        return f"{end_of(self._log).strip() or 'it printed nothing'}; try: autograder doctor"


def descriptors_allowed() -> int:
    """Return how many descriptors this process may allow itself."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def allow_many_descriptors() -> None:
    """Allow this process, and those that it starts, as many open descriptors as possible.

    The kernel counts the descriptors that all processes of a user have sent and nobody has received yet. Above the
    limit of a process, the process can send no descriptor, and every session begins with one. The processes of cases
    have the same user and a low limit. So they alone cannot reach a limit that is much higher than theirs.
    """
    allowed = descriptors_allowed()
    with contextlib.suppress(ValueError):  # macOS has a limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))


def protections_wanted(waived: frozenset[str]) -> frozenset[str]:
    """Return all protections that are not waived. Raises GraderError for a name that cannot be waived."""
    for name in waived:
        if name not in policy.PROTECTIONS:
            raise GraderError(
                f"there is no protection {name!r} to waive; the protections are: {', '.join(policy.PROTECTIONS)}"
            )
        if name in policy.INDISPENSABLE:
            raise GraderError(f"the protection {name!r} cannot be waived: there is no sandbox without it")
    if "pid-namespace" in waived:
        waived |= {"case-pid-namespace"}  # the namespace of a case lies within that of its submission
    return frozenset(policy.PROTECTIONS) - waived


def refuse_to_show(probes: Path, shown: Sequence[str]) -> None:
    """Raise GraderError if the probes file, and so the staff's other files, would be visible inside."""
    for folder in (*policy.SYSTEM_DIRECTORIES, *shown):
        if probes.resolve().is_relative_to(Path(folder).resolve()):
            raise GraderError(
                f"{probes} lies below {folder}, which student code can read; move the staff's files elsewhere"
            )


def configuration(
    features: frozenset[str],
    preload: Sequence[str],
    importable: Sequence[str],
    *,
    site_packages: Sequence[str] = (),
    hidden: Sequence[str] = (),
    shown: Sequence[str] = (),
    devices: Sequence[str] = (),
    **others: object,
) -> dict[str, object]:
    """Return the configuration for the first process inside the wall. `submission.Setup` explains the paths."""
    return {
        "features": sorted(features),
        "preload": list(preload),
        "importable": list(importable),
        "site_packages": list(site_packages),
        "seccomp": seccomp.program() if "seccomp" in features else b"",
        "hidden": list(hidden),
        "shown": list(shown),
        "devices": list(devices),
        "limits": Limits().message(),
        **others,
    }


def inside_files(probes: bytes, configuration: Mapping[str, object]) -> dict[str, bytes]:
    """Return the files below /grader: the package `inside`, the probes, the configuration."""
    base = f"{GRADER_DIRECTORY}/autograder"
    inside = importlib.resources.files("autograder.sandbox.inside")
    return {
        f"{base}/__init__.py": b"",
        f"{base}/sandbox/__init__.py": b"",
        f"{base}/cpp.py": importlib.resources.files("autograder").joinpath("cpp.py").read_bytes(),
        **{
            f"{base}/sandbox/inside/{file.name}": file.read_bytes()
            for file in inside.iterdir()
            if file.name.endswith(".py")
        },
        PROBES_FILE: probes,
        CONFIGURATION_FILE: protocol.encode(dict(configuration), opaque=False),
    }


def anonymous_file(content: bytes) -> int:
    """Return a descriptor of a file without a path, from which `content` can be read."""
    descriptor = os.memfd_create("sandbox-file")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def end_of(log: int) -> str:
    """Return the end of a log. `log`: its descriptor."""
    size = os.fstat(log).st_size
    return os.pread(log, LOG_BYTES, max(0, size - LOG_BYTES)).decode("utf-8", "replace")
