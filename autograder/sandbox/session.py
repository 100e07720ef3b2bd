"""One submission behind a wall, from the trusted side: send its files, run probes, read outcomes.

Theory of operation
-------------------
A session is one stream to pid 1 of a submission. Its cases run one
after the other, each in a process and file systems of its own, so no case can tell whether another one ran
before it. That makes it safe to answer trouble by starting over: when the submission's processes vanish in
the middle of a case (the machine ran out of memory, somebody killed them) the session opens the submission
anew and repeats that case, once.

Whose fault is it? Before student code begins, whatever goes wrong is ours: GraderError. After it began,
whatever ends the case is an Outcome, the student's. In between lies the loss of pid 1 itself while student
code ran: repeated, and when it happens again, the student's. The wall's own end is always ours.

Limits are kept inside by pid 1, which student code cannot reach. If even pid 1 does not answer, the deadline
here is the last one: the session is cut, which ends every process of it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, NoReturn, Protocol

from autograder.errors import GraderError, SubmissionError
from autograder.sandbox.inside import protocol
from autograder.sandbox.inside.reply import PACKAGE
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import SIGKILL, Outcome, Status, interpret

MAX_FILES = 20_000
MAX_FILES_BYTES = 512 * 2**20
PREPARATION_SECONDS = 60.0
"""For the files and inputs to arrive and student code to begin, on a machine that may be busy."""
GRACE_SECONDS = 10.0
"""Beyond the time limit, before pid 1 is given up."""

_OWN_MESSAGE = protocol.DecodeLimits(total_bytes=64 * 2**20)
_INPUTS = protocol.DecodeLimits(total_bytes=2**31, items=10**8, arrays=10**7, guessable_keys=10**7)


class Session(Protocol):
    """A submission that is ready to run probes. Use it as a context manager, in one process and thread."""

    def run(
        self,
        probe: str,
        inputs: Sequence[object] = (),
        *,
        timeout: float | None = None,
        limits: Limits | None = None,
    ) -> Outcome:
        """Call `probes.<probe>(*inputs)` beside the student's package, in a process of its own.

        `timeout` replaces `limits.wall_seconds`, `limits` those of the session. Whatever student code does
        becomes an Outcome. Raises GraderError for what is not its doing: no such probe, inputs that are not
        plain data, a sandbox that does not work.
        """

    def add_files(self, files: Mapping[str, bytes]) -> None:
        """Add or replace files of the submission, for instance an extension that an earlier case compiled."""

    def close(self) -> None:
        """End every process of the submission."""

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _LostError(Exception):
    """The channel closed, or was closed here; `began` says whether student code was running."""

    def __init__(self, began: bool) -> None:
        super().__init__()
        self.began = began


class StreamSession:
    """A Session over a stream socket; `connect` makes a fresh stream to a fresh submission process."""

    def __init__(
        self,
        connect: Callable[[], socket.socket],
        explain_loss: Callable[[], str | None],
        files: Mapping[str, bytes],
        limits: Limits,
    ) -> None:
        """`explain_loss` tells why the wall is gone, or None when it stands."""
        self._connect = connect
        self._explain_loss = explain_loss
        self._files = checked_files(files)
        self._limits = limits
        self._channel: socket.socket | None = None
        self._awaited = 0
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

    def add_files(self, files: Mapping[str, bytes]) -> None:
        added = checked_files(files)
        self._files.update(added)
        try:
            if self._channel is None:
                self._open()
            else:
                self._send(("add", added))
                self._awaited += 1
            self._await_ready()
        except _LostError:
            raise self._broken("while files were added") from None

    def run(
        self,
        probe: str,
        inputs: Sequence[object] = (),
        *,
        timeout: float | None = None,
        limits: Limits | None = None,
    ) -> Outcome:
        limits = limits or self._limits
        if timeout is not None:
            limits = replace(limits, wall_seconds=timeout)
        try:
            encoded = protocol.encode(tuple(inputs), _INPUTS, opaque=False)
        except protocol.ProtocolError as error:
            raise GraderError(f"inputs of probe {probe!r} cannot be sent to the sandbox: {error}") from error
        lost_while_running = 0
        for _ in range(3):
            try:
                return self._run_once(probe, encoded, limits)
            except protocol.ProtocolError as error:
                self._fail([f"its answer {error}"])
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
        try:
            self._send(("open", self._files, self._limits.message()))
        except _LostError:
            raise self._broken("while it was opened") from None
        self._awaited = 1

    def _run_once(self, probe: str, inputs: bytes, limits: Limits) -> Outcome:
        if self._channel is None:
            self._open()
        self._await_ready()
        self._send(("run", probe, limits.message()), inputs)
        began = False
        deadline = time.monotonic() + PREPARATION_SECONDS
        try:
            while True:
                kind, *rest = self._receive(deadline)
                if kind == "started":
                    began = True
                    deadline = time.monotonic() + limits.wall_seconds + GRACE_SECONDS
                elif kind == "ended":
                    reply = protocol.receive_frame(self._fd(), limits.reply_bytes, deadline)
                    return interpret(rest[0], reply, limits)
                else:
                    self._fail(rest)
        except protocol.ConnectionLostError:
            raise _LostError(began) from None
        except protocol.DeadlineExceededError:
            self.close()
            if began:
                return Outcome(Status.TIMEOUT, seconds=limits.wall_seconds + GRACE_SECONDS)
            raise _LostError(began) from None

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
            raise GraderError(f"the sandbox answered with {message!r:.200}")
        return message

    def _await_ready(self) -> None:
        """Answers to "open" and "add" are read with the next request: nothing waits for them before."""
        deadline = time.monotonic() + PREPARATION_SECONDS
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
        reason = self._explain_loss() or "its processes ended; was the machine out of memory?"
        return GraderError(f"the sandbox broke {when}: {reason}; try: autograder doctor")


def checked_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a submission with their names checked: relative, below `src/`, going nowhere else.

    Raises SubmissionError, since names come from the student's repository.
    """
    checked: dict[str, bytes] = {}
    folders: set[str] = set()
    for name, content in files.items():
        path = PurePosixPath(name)
        if not _is_good(path):
            raise SubmissionError(f"a file name that cannot be used: {name!a:.200}")
        if str(path) in checked:
            raise SubmissionError(f"two files of one name: {path!s:.200}")
        checked[str(path)] = bytes(content)
        folders.update(map(str, path.parents))
    for name in folders & checked.keys():
        raise SubmissionError(f"a file and a folder of one name: {name!r:.200}")
    if len(checked) > MAX_FILES or sum(map(len, checked.values())) > MAX_FILES_BYTES:
        raise SubmissionError(
            f"more than {MAX_FILES} files, or more than {MAX_FILES_BYTES >> 20} MiB of them"
        )
    return checked


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
    """Both ends of a stream; neither is inherited by programs that this process starts."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (ours, theirs):
        os.set_inheritable(end.fileno(), False)
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    return ours, theirs
