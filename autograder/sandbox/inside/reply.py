"""Calling a probe: from its name to the bytes that a case writes on its reply pipe, and back.

A case first writes when student code begins, or FAILED and a text if it cannot get that far. Then follows one frame
with the reply:

    ("returned", value)
    ("raised", kind, type name, message, file, line)     kind: "exception", "memory" or "reply"

A file is named relative to the submission (`src/softmax.py`), and left out when it does not belong to it. Everything
that a student's object is asked here (its `str`, its `repr`) may run student code, so it happens inside the case and
its time limit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any

from . import protocol

PACKAGE = "src"
MAX_MESSAGE = 500

PROBES_MODULE = "_probes"
"""The name of the probes module inside: private, so that no submission can take it."""

STARTED = struct.Struct(">cd")
"""b"S" and the time on `time.monotonic()`'s clock when student code begins."""
FAILED = b"F"
FAILED_STATUS = 71
"""Exit status of a case that failed before student code began."""


# ── the probe ────────────────────────────────────────────────────────────────────────────────────────────


def load_probes(path: str) -> ModuleType:
    """Import the probes file as PROBES_MODULE. Raises whatever the file raises."""
    spec = importlib.util.spec_from_file_location(PROBES_MODULE, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PROBES_MODULE] = module
    spec.loader.exec_module(module)
    return module


def find_probe(probes: ModuleType, name: str) -> Callable[..., Any]:
    """Return the public function `name` of the probes module. Raises LookupError if there is no such function."""
    call = getattr(probes, name, None)
    if name.startswith("_") or not callable(call):
        raise LookupError(f"the probes file has no function {name!r}")
    return call  # type: ignore[no-any-return]


def decode_inputs(data: bytes) -> Any:
    """Decode the inputs of a probe, which come from the trusted side: only their size bounds them."""
    bounds = protocol.DecodeLimits(total_bytes=len(data), items=2**31, arrays=2**31, guessable_keys=2**31)
    return protocol.decode(data, bounds, load=True)


# ── what a case writes ───────────────────────────────────────────────────────────────────────────────────


def failure(error: BaseException) -> bytes:
    """What a case writes when it fails before student code begins."""
    return FAILED + f"{type(error).__name__}: {error}".encode()[:2000]


def call_and_reply(
    call: Callable[..., Any],
    inputs: Any,
    limits: Mapping[str, Any],
    root: str,
    write: Callable[[bytes], object],
) -> None:
    """Call a probe beside the submission below `root`, and write when it begins and its reply."""
    sys.path.insert(0, root)
    write(STARTED.pack(b"S", time.monotonic()))
    encoded = reply_of_call(call, inputs, limits, root)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    write(protocol.frame(encoded))


def reply_of_call(call: Callable[..., Any], inputs: Any, limits: Mapping[str, Any], root: str) -> bytes:
    """Call a probe and return the encoded reply, whatever the call does."""
    bounds = protocol.DecodeLimits(total_bytes=limits["reply_bytes"])
    try:
        value = call(*inputs)
        return protocol.encode(("returned", value), bounds, describe=_describe)
    except protocol.ProtocolError as error:
        text = _one_line(f"the returned value is {error}")
        raised: tuple[object, ...] = ("raised", "reply", "", text, None, None)
    except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt are the student's as well
        kind = "memory" if _is_out_of_memory(error) else "exception"
        place = _place(error, root)
        raised = ("raised", kind, protocol.type_name_of(error), _message(error), *place)
    return protocol.encode(raised)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: Python and NumPy raise MemoryError, torch RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "CUDA out of memory")
    return isinstance(error, RuntimeError) and any(word in _message(error) for word in words)


def _message(error: BaseException) -> str:
    try:
        return _one_line(str(error))
    except BaseException:  # noqa: BLE001  # the student's own __str__
        return ""


def _describe(value: object) -> str:
    try:
        return _one_line(repr(value))
    except BaseException:  # noqa: BLE001  # the student's own __repr__
        return ""


def _one_line(text: str) -> str:
    text = " ".join(text[: 4 * MAX_MESSAGE].encode("utf-8", "replace").decode().split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _place(error: BaseException, root: str) -> tuple[str | None, int | None]:
    """The innermost line of the submission that the error passed, or the line that does not parse."""
    prefix = root + "/"
    if isinstance(error, SyntaxError) and str(error.filename).startswith(prefix):
        return str(error.filename)[len(prefix) :][:200], error.lineno if type(error.lineno) is int else None
    place: tuple[str | None, int | None] = (None, None)
    step: TracebackType | None = error.__traceback__
    deadline = time.monotonic() + 1.0  # a recursion leaves a long trace, a hostile one perhaps an endless one
    while step is not None and time.monotonic() < deadline:
        name = step.tb_frame.f_code.co_filename
        if name.startswith(prefix + PACKAGE + "/"):
            place = (name[len(prefix) :][:200], step.tb_lineno)
        step = step.tb_next
    return place


# ── reading it ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Reply:
    """The bytes that a case has written so far: the start of student code, then one frame."""

    limit: int
    """Of the frame's payload, in bytes."""
    began: float | None = None
    """When student code began. Our code writes it, before any student code runs in that process."""
    size: int | None = None
    data: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        self.data += data
        head = STARTED.size
        if self.began is None and self.data[:1] != FAILED and len(self.data) >= head:
            _, self.began = STARTED.unpack_from(self.data)
            del self.data[:head]
        if self.began is not None and self.size is None and len(self.data) >= 4:
            (self.size,) = struct.unpack_from(">I", self.data)

    @property
    def too_large(self) -> bool:
        return self.size is not None and self.size > self.limit

    @property
    def complete(self) -> bool:
        return self.size is not None and len(self.data) >= 4 + self.size

    def payload(self) -> bytes:
        """The payload of the frame; empty if the frame did not arrive in full."""
        return bytes(self.data[4 : 4 + (self.size or 0)]) if self.complete and not self.too_large else b""

    def failure(self) -> str:
        """Why the case failed before student code began, in its own words."""
        return bytes(self.data[1:]).decode("utf-8", "replace")
