"""A submission that is open in a sandbox, seen from the trusted side: send its files, run probes, read outcomes.

Theory of operation
-------------------
A session is one stream to pid 1 of a submission. Its cases run one after the other. Each case has its own process and
its own file systems, so it cannot tell whether another case ran before it. Therefore a case can be repeated safely. If
the submission's processes vanish during a case (the machine ran out of memory, somebody killed them), the session opens
the submission again and repeats the case, once. A module whose import does not end costs one time limit: a later case
with the same limit, or a smaller one, ends as soon as it imports that module.

The session decides whose fault a failure is. A failure before student code begins is our fault: it raises GraderError.
A failure after that is the student's: it becomes an Outcome. There are two exceptions. If pid 1 of the submission is
lost while student code runs, the case is repeated, and only a second loss is the student's fault. If the wall has
ended, that is always our fault.

Pid 1 enforces the limits inside the wall, where student code cannot reach it. If pid 1 does not respond, the deadline
of the session is the last resort: the session closes the stream, which ends every process of the submission. That is
our fault, since student code cannot keep pid 1 from responding.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, NoReturn, Protocol

from autograder.errors import GraderError, SubmissionError
from autograder.language import tell
from autograder.sandbox.control_groups import ControlGroups, Group
from autograder.sandbox.inside import protocol
from autograder.sandbox.inside.reply import PACKAGE
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import SIGKILL, Outcome, Status, interpret

MAX_FILES = 20_000
MAX_FILES_BYTES = 512 * 2**20
PREPARATION_SECONDS = 60.0
"""The time until files and inputs have arrived and student code begins. The machine may be busy."""
GRACE_SECONDS = 10.0
"""The time after the bound for wall time within which pid 1 must respond."""

_CREDENTIALS = struct.Struct("iII")
"""The pid, uid and gid of a sender."""
_OWN_MESSAGE = protocol.DecodeLimits(total_bytes=64 * 2**20)
INPUTS = protocol.DecodeLimits(total_bytes=2**31, items=10**8, arrays=10**7, guessable_keys=10**7)


class Session(Protocol):
    """A submission that is open in a sandbox. Use it as a context manager, in one process and one thread."""

    def run(
        self,
        probe: str,
        inputs: Sequence[object] = (),
        *,
        timeout: float | None = None,
        limits: Limits | None = None,
        build: bool = False,
    ) -> Outcome:
        """Call `probes.<probe>(*inputs)` beside the student's package, in a separate process.

        `timeout` replaces `limits.wall_seconds`; `limits` replaces the limits of the session. With `build`, the
        case finds the files of `set_build` in the folder that the environment variable AUTOGRADER_BUILD names.
        Every failure of student code is an Outcome. Raises GraderError for every other failure: there is no such probe,
        the inputs are not plain data, the sandbox does not work.
        """

    def set_build(self, files: Mapping[str, bytes]) -> None:
        """Set the files that were built from the submission, by name. Cases see them only if `run` says so.

        They are the only files of a submission from which machine code can be loaded.
        """

    def close(self) -> None:
        """End every process of the submission."""

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _LostError(Exception):
    """The channel was closed, by either end. `began`: whether student code was running."""

    def __init__(self, began: bool) -> None:
        super().__init__()
        self.began = began


class StreamSession:
    """A Session over a stream socket."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        explain_loss: Callable[[], str | None],
        files: Mapping[str, bytes],
        limits: Limits,
        groups: ControlGroups | None = None,
    ) -> None:
        """
        connect       returns a stream to the processes of a new submission
        explain_loss  returns why the wall ended, or None if it still runs
        groups        makes a control group for the submission
        """
        self._groups = groups
        self._group: Group | None = None
        self._connect = connect
        self._explain_loss = explain_loss
        self._files = checked_files(files)
        self._build: dict[str, bytes] = {}
        self._limits = limits
        self._channel: socket.socket | None = None
        self._awaited = 0
        self._stuck: dict[str, float] = {}
        """The modules whose import did not end, and the time limit that they had, in seconds."""
        self._open()

    def __enter__(self) -> StreamSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._group is not None and self._groups is not None:
            self._groups.close(self._group)
            self._group = None

    def set_build(self, files: Mapping[str, bytes]) -> None:
        self._build = checked_names(files)
        try:
            if self._channel is None:
                self._open()
            else:
                self._send_build()
            self._await_ready()
        except _LostError:
            raise self._broken("while the build was sent") from None

    def run(
        self,
        probe: str,
        inputs: Sequence[object] = (),
        *,
        timeout: float | None = None,
        limits: Limits | None = None,
        build: bool = False,
    ) -> Outcome:
        limits = case_limits(limits or self._limits, timeout)
        encoded = encoded_inputs(probe, inputs)
        lost_while_running = 0
        for _ in range(3):
            try:
                outcome = self._run_once(probe, encoded, limits, build)
                if outcome.status is Status.TIMEOUT and outcome.importing:
                    tried = self._stuck.get(outcome.importing, 0.0)
                    self._stuck[outcome.importing] = max(tried, limits.wall_seconds)
                return outcome
            except protocol.ProtocolError as error:
                self._fail([f"its message {error}"])
            except _LostError as loss:
                self.close()
                if self._explain_loss() is not None:
                    break
                lost_while_running += loss.began
                if lost_while_running == 2:
                    message = "killed twice, with all its processes"
                    return Outcome(Status.CRASHED, signal=SIGKILL, message=message)
        raise self._broken(f"while probe {probe!r} was run")

    # the stream

    def _open(self) -> None:
        self._channel = self._connect()
        self._channel.setblocking(False)
        if self._groups is not None:
            self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            self._send(("open", self._files, self._limits.message()))
        except _LostError:
            raise self._broken("while it was opened") from None
        self._awaited = 1
        if self._build:
            self._send_build()

    def _join_group(self, groups: ControlGroups) -> None:
        """Put the submission's processes into a group. No case runs yet."""
        limits, channel = self._limits, socket.socket(fileno=os.dup(self._fd()))
        with channel:
            poll = select.poll()
            poll.register(channel, select.POLLIN)
            if not poll.poll(PREPARATION_SECONDS * 1000):
                raise _LostError(began=False)
            space = socket.CMSG_SPACE(_CREDENTIALS.size)
            try:
                attached = channel.recvmsg(1, space, socket.MSG_PEEK)[1]
            except OSError:
                raise _LostError(began=False) from None
        # The kernel says who has sent the first message, with the pid that the process has here.
        for level, kind, data in attached:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                pid, _, _ = _CREDENTIALS.unpack(data)
                files = sum(map(len, self._files.values()))
                memory = limits.memory_bytes + 2 * limits.tmp_bytes + limits.reply_bytes + files
                self._group = groups.make(memory, limits.processes)
                self._group.add(pid)

    def _send_build(self) -> None:
        self._send(("build", self._build))
        self._awaited += 1

    def _run_once(self, probe: str, inputs: bytes, limits: Limits, build: bool) -> Outcome:
        if self._channel is None:
            self._open()
        self._await_ready()
        kills = 0 if self._group is None else self._group.oom_kills()
        stuck = [module for module, seconds in self._stuck.items() if seconds >= limits.wall_seconds]
        self._send(("run", probe, limits.message(), stuck, build), inputs)
        began = False
        deadline = time.monotonic() + PREPARATION_SECONDS
        try:
            while True:
                kind, *rest = self._receive(deadline)
                if kind == "started":
                    began = True
                    deadline = time.monotonic() + limits.bound() + GRACE_SECONDS
                elif kind == "ended":
                    reply = protocol.receive_frame(self._fd(), limits.reply_bytes, deadline)
                    facts = rest[0]
                    if (
                        self._group is not None
                        and self._group.oom_kills() > kills
                        and facts["reason"] != "replied"
                    ):
                        facts |= {"reason": "memory"}
                    return interpret(facts, reply, limits)
                else:
                    self._fail(rest)
        except protocol.ConnectionLostError:
            raise _LostError(began) from None
        except protocol.DeadlineExceededError:
            self.close()
            raise _LostError(began=False) from None

    def _fd(self) -> int:
        if self._channel is None:
            raise _LostError(began=False)
        return self._channel.fileno()

    def _send(self, message: tuple[object, ...], raw: bytes | None = None) -> None:
        deadline = time.monotonic() + PREPARATION_SECONDS
        bounds = protocol.DecodeLimits(total_bytes=MAX_FILES_BYTES + 2**20)
        try:
            protocol.send_frame(self._fd(), protocol.encode(message, bounds, opaque=False), deadline)
            if raw is not None:
                protocol.send_frame(self._fd(), raw, deadline)
        except (protocol.ConnectionLostError, protocol.DeadlineExceededError):
            raise _LostError(began=False) from None

    def _receive(self, deadline: float) -> tuple[Any, ...]:
        data = protocol.receive_frame(self._fd(), _OWN_MESSAGE.total_bytes, deadline)
        message = protocol.decode(data, _OWN_MESSAGE)
        if type(message) is not tuple or not message:
            raise GraderError(f"the sandbox sent {message!r:.200}")
        return message

    def _await_ready(self) -> None:
        """Read ("ready",) for every "open" and "build". `_open` does not wait for it; the next request does."""
        deadline = time.monotonic() + PREPARATION_SECONDS
        if self._awaited and self._groups is not None and self._group is None:
            self._join_group(self._groups)
        while self._awaited:
            try:
                kind, *rest = self._receive(deadline)
            except (protocol.ConnectionLostError, protocol.DeadlineExceededError):
                raise _LostError(began=False) from None
            if kind != "ready":
                self._fail(rest)
            self._awaited -= 1

    def _fail(self, rest: Sequence[object]) -> NoReturn:
        self.close()
        raise GraderError(f"the sandbox failed: {' '.join(map(str, rest))}; try: autograder doctor")

    def _broken(self, when: str) -> GraderError:
        self.close()
        reason = self._explain_loss() or "its processes ended; did the machine run out of memory?"
        return GraderError(f"the sandbox broke {when}: {reason}; try: autograder doctor")


def case_limits(limits: Limits, timeout: float | None) -> Limits:
    """Return `limits`, with `timeout` as the time limit if it is given."""
    return limits if timeout is None else replace(limits, wall_seconds=timeout)


def encoded_inputs(probe: str, inputs: Sequence[object]) -> bytes:
    """Return the inputs of a probe as one message. Raises GraderError if they are not plain data."""
    try:
        return protocol.encode(tuple(inputs), INPUTS, opaque=False)
    except protocol.ProtocolError as error:
        raise GraderError(f"inputs of probe {probe!r} cannot be sent to the sandbox: {error}") from error


def checked_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a submission, with checked names: relative paths below `src/` that cannot lead elsewhere.

    Raises SubmissionError for a bad name, because the names come from the student's repository.
    """
    checked: dict[str, bytes] = {}
    folders: set[str] = set()
    for name, content in files.items():
        path = PurePosixPath(name)
        if not _is_good(path):
            raise SubmissionError(tell("a file name that cannot be used: {name}", name=f"{name!a:.200}"))
        if str(path) in checked:
            raise SubmissionError(tell("two files of one name: {path}", path=f"{path!s:.200}"))
        checked[str(path)] = bytes(content)
        folders.update(map(str, path.parents))
    for name in folders & checked.keys():
        raise SubmissionError(tell("a file and a folder of one name: {name}", name=f"{name!r:.200}"))
    if len(checked) > MAX_FILES or sum(map(len, checked.values())) > MAX_FILES_BYTES:
        raise SubmissionError(
            tell(
                "more than {files} files, or more than {mebibytes} MiB of them",
                files=MAX_FILES,
                mebibytes=MAX_FILES_BYTES >> 20,
            )
        )
    return checked


def checked_names(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a build, by the last part of their names. Raises GraderError: our suite made them."""
    named = {PurePosixPath(name).name: bytes(content) for name, content in files.items()}
    if len(named) < len(files) or not all(named):
        raise GraderError(f"the files of a build need different names, not {', '.join(files)}")
    return named


def _is_good(path: PurePosixPath) -> bool:
    try:
        lengths = [len(part.encode()) for part in path.parts]
    except UnicodeEncodeError:
        return False
    return (
        path.parts[:1] == (PACKAGE,)
        and len(path.parts) > 1
        and ".." not in path.parts
        and "\0" not in str(path)
        and max(lengths) <= 255
        and sum(lengths) + len(lengths) <= 2048
    )


def stream_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a stream. Programs that this process starts inherit neither end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (ours, theirs):
        os.set_inheritable(end.fileno(), False)
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    return ours, theirs
