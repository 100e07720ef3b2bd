"""How a probe call ended, as data. The sentences for students are made elsewhere.

`interpret` makes an Outcome from the facts that pid 1 of the submission measured and the bytes of the case's reply.
The reply comes from the student's process, so it is not trusted: bytes that are not a reply give `BAD_REPLY`, never an
exception. The submission is the cause of every outcome but `STARVED`. Any other failure raises GraderError and has no
outcome.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autograder.sandbox.inside import protocol
from autograder.sandbox.inside.reply import MAX_PLACES
from autograder.sandbox.limits import Limits

SIGKILL = 9
SIGXCPU = 24
"""The signal numbers of Linux, which are used on every system."""


class Status(enum.Enum):
    """How a case ended."""

    RETURNED = "returned"
    RAISED = "raised"
    TIMEOUT = "timeout"
    STARVED = "starved"
    """The machine was too busy to tell whether the case is too slow, or had no memory left: then `message` says so.

    The submission is not at fault.
    """
    CPU_TIMEOUT = "cpu timeout"
    OUT_OF_MEMORY = "out of memory"
    OUTPUT_LIMIT = "output limit"
    REPLY_LIMIT = "reply limit"
    CRASHED = "crashed"
    EXITED = "exited"
    BAD_REPLY = "bad reply"


@dataclass(frozen=True)
class Output:
    """The text that was printed on one stream: all of it, or its beginning and its end."""

    text: str = ""
    total_bytes: int = 0


@dataclass(frozen=True)
class Outcome:
    """How one probe call ended. Every text and value in it comes from student code and is not trusted."""

    status: Status
    value: Any = None
    """The returned value, if RETURNED."""
    exception: str = ""
    """The type of the exception, if RAISED or OUT_OF_MEMORY."""
    message: str = ""
    """The message of the exception, or the reason why the reply is not valid; one line."""
    file: str | None = None
    """The last file of the submission in the traceback, such as `src/softmax.py`."""
    line: int | None = None
    places: tuple[tuple[str, int | None], ...] = ()
    """Files and lines of the submission in the traceback, the innermost last. `file` and `line` are the last one."""
    importing: str = ""
    """The module of the submission whose import had begun and not ended, if TIMEOUT."""
    signal: int | None = None
    """The signal that killed the process, if CRASHED."""
    exit_code: int | None = None
    """The exit code of the process, if EXITED."""
    seconds: float = 0.0
    """Time of student code that counts against the limit, measured outside its process."""
    cpu_seconds: float = 0.0
    """CPU time of the case's process and of the children that it waited for."""
    peak_bytes: int = 0
    """The peak memory of the case, without the memory that the fork server has."""
    stdout: Output = Output()
    stderr: Output = Output()

    @property
    def returned(self) -> bool:
        return self.status is Status.RETURNED

    def describe(self) -> str:
        """Return the outcome as one line for staff and logs."""
        place = f" ({self.file}, line {self.line})" if self.file else ""
        if self.status is Status.CRASHED:
            return f"crashed with {signal_name(self.signal or 0)}"
        if self.status is Status.EXITED:
            return f"exited with code {self.exit_code} before it returned"
        if self.exception:
            return f"{self.status.value}: {self.exception}: {self.message}{place}"
        return f"{self.status.value}: {self.message}" if self.message else self.status.value


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_REASONS = {
    "starved": Status.STARVED,
    "memory": Status.OUT_OF_MEMORY,
    "output": Status.OUTPUT_LIMIT,
    "reply": Status.REPLY_LIMIT,
}
_KINDS = {
    "exception": Status.RAISED,
    "memory": Status.OUT_OF_MEMORY,
    "reply": Status.REPLY_LIMIT,
}


def interpret(facts: Mapping[str, Any], reply: bytes, limits: Limits) -> Outcome:
    """Return the outcome of a case in which student code began, from the measured facts and the reply."""
    measured: dict[str, Any] = {
        "seconds": facts["seconds"],
        "cpu_seconds": facts["cpu_seconds"],
        "peak_bytes": facts["peak_bytes"],
        "stdout": _output(*facts["stdout"]),
        "stderr": _output(*facts["stderr"]),
    }
    reason = facts["reason"]
    if reason == "wall":
        return Outcome(Status.TIMEOUT, importing=facts["importing"][:100], **measured)
    if reason == "no memory":
        return Outcome(Status.STARVED, message="memory", **measured)
    if reason in _REASONS:
        return Outcome(_REASONS[reason], **measured)
    if reason == "replied":
        return Outcome(**_read_reply(reply, limits), **measured)
    status = facts["status"]
    number = status & 0x7F  # a wait status, decoded by hand: Windows has no functions for it
    if number:
        used_up = facts["cpu_seconds"] >= limits.message()["cpu_seconds"] * 0.8  # type: ignore[operator]
        if number == SIGXCPU or (number == SIGKILL and used_up):
            return Outcome(Status.CPU_TIMEOUT, **measured)
        return Outcome(Status.CRASHED, signal=number, **measured)
    return Outcome(Status.EXITED, exit_code=status >> 8, **measured)


def _read_reply(reply: bytes, limits: Limits) -> dict[str, Any]:
    try:
        decoded = protocol.decode(reply, protocol.DecodeLimits(total_bytes=limits.reply_bytes))
    except protocol.ProtocolError as error:
        return {"status": Status.BAD_REPLY, "message": f"the reply {error}"}
    if type(decoded) is tuple and len(decoded) == 2 and decoded[0] == "returned":
        return {"status": Status.RETURNED, "value": decoded[1]}
    if type(decoded) is tuple and len(decoded) == 5 and decoded[0] == "raised":
        _, kind, name, message, places = decoded
        texts = all(type(text) is str for text in (kind, name, message))
        if texts and kind in _KINDS and type(places) is tuple and all(map(_is_place, places)):
            kept = tuple((file[:200], line) for file, line in places[-MAX_PLACES:])
            file, line = kept[-1] if kept else (None, None)
            return {
                "status": _KINDS[kind],
                "exception": name[:200],
                "message": message[:1000],
                "file": file,
                "line": line,
                "places": kept,
            }
    return {"status": Status.BAD_REPLY, "message": "the reply is of no known form"}


def _is_place(place: object) -> bool:
    return (
        type(place) is tuple
        and len(place) == 2
        and type(place[0]) is str
        and (place[1] is None or type(place[1]) is int)
    )


def _output(head: bytes, tail: bytes, total: int) -> Output:
    left_out = total - len(head) - len(tail)
    gap = f"\n… {left_out} bytes …\n".encode() if left_out > 0 else b""
    return Output((head + gap + tail).decode("utf-8", "replace"), total)
