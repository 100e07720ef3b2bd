"""Calls a probe by its name, writes the bytes that a case sends on its reply pipe, and reads them.

A case first writes STARTED when student code begins, or FAILED and a text if it fails before that. After STARTED it
writes a note when the import of a file of the submission begins, and one when it ends, so that a case that never comes
back can say where it was. Then it writes one frame with the reply:

    ("returned", value)
    ("raised", kind, type name, message, places)     kind: "exception", "memory" or "reply"

A place is (file, line), with a path relative to the submission (`src/softmax.py`). The places are those of the
traceback, the innermost last; files that do not belong to the submission are left out. The `str` and `repr` of a
student's object may run student code, so they are called inside the case and within its time limit.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType, TracebackType
from typing import Any

from . import protocol

PACKAGE = "src"
MAX_MESSAGE = 500
MAX_PLACES = 20

BUILD_VARIABLE = "AUTOGRADER_BUILD"
"""The environment variable that names the folder of the build, in the cases that may use it."""

PROBES_MODULE = "_probes"
"""The name of the probes module inside: private, so that no submission can take it."""

CPP_MODULE = f"{__package__}.cpp"

STARTED = struct.Struct(">cdQQ")
"""The byte b"S", the time of `time.monotonic()` at which student code begins, and the memory that the case began with.

The memory is `own_bytes` of `ProcessTable`, with the encoded inputs, and `file_bytes`.
"""
IMPORTING, IMPORTED = b"\x81", b"\x82"
"""The first byte of a note; the length of the module's name in one byte and the name follow.

A frame that began so would be longer than any limit.
"""
MAX_IMPORTS = 100
"""How many imports that have begun are remembered."""
FAILED = b"F"
FAILED_STATUS = 71
"""The exit status of a case that failed before student code began."""


# ── the probe ────────────────────────────────────────────────────────────────────────────────────────────


def load_probes(path: str) -> ModuleType:
    """Import the probes file as PROBES_MODULE. Exceptions of the file are not caught.

    If the file imports `autograder.cpp`, the module gets the probes that build the C++ extension.
    """
    spec = importlib.util.spec_from_file_location(PROBES_MODULE, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PROBES_MODULE] = module
    spec.loader.exec_module(module)
    vars(module).update(getattr(sys.modules.get(CPP_MODULE), "PROBES", {}))
    return module


def find_probe(probes: ModuleType, name: str) -> Callable[..., Any]:
    """Return the public function `name` of the probes module. Raises LookupError if there is no such function."""
    call = getattr(probes, name, None)
    if name.startswith("_") or not callable(call):
        raise LookupError(f"the probes file has no function {name!r}")
    return call  # type: ignore[no-any-return]


def decode_inputs(data: bytes) -> Any:
    """Decode the inputs of a probe. They come from the trusted side, so there is no limit except their size."""
    bounds = protocol.DecodeLimits(total_bytes=len(data), items=2**31, arrays=2**31, guessable_keys=2**31)
    return protocol.decode(data, bounds, load=True)


# ── writing the reply ────────────────────────────────────────────────────────────────────────────────────


def failure(error: BaseException) -> bytes:
    """Return the bytes that a case writes if it fails before student code begins."""
    return FAILED + f"{type(error).__name__}: {error}".encode()[:2000]


def call_and_reply(
    call: Callable[..., Any],
    inputs: Any,
    limits: Mapping[str, Any],
    root: str,
    write: Callable[[bytes], object],
    baseline: tuple[int, int] = (0, 0),
) -> None:
    """Call a probe beside the submission below `root`. Write the time when student code begins, then the reply.

    `baseline`: the memory that the case began with, see STARTED.
    """
    sys.path.insert(0, root)
    sys.meta_path.insert(0, ImportNotes(write))
    write(STARTED.pack(b"S", time.monotonic(), *baseline))
    encoded = reply_of_call(call, inputs, limits, root)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    write(protocol.frame(encoded))


class ImportNotes:
    """Finds the submission's modules as Python does, and lets each write a note before and after it runs."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,
        target: object = None,  # noqa: ARG002 (Python passes it)
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE:
            return None
        spec = PathFinder.find_spec(name, path, None)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _NotedLoader(spec.loader.name, spec.loader.path)
            spec.loader.write = self._write
        return spec


class _NotedLoader(SourceFileLoader):
    write: Callable[[bytes], object]

    def exec_module(self, module: ModuleType) -> None:
        name = self.name.encode("utf-8", "replace")[:255]
        note = bytes([len(name)]) + name
        self.write(IMPORTING + note)
        super().exec_module(module)
        self.write(IMPORTED + note)


def reply_of_call(call: Callable[..., Any], inputs: Any, limits: Mapping[str, Any], root: str) -> bytes:
    """Call a probe and return the encoded reply, also if the call raises an exception."""
    bounds = protocol.DecodeLimits(total_bytes=limits["reply_bytes"])
    try:
        value = call(*inputs)
        return protocol.encode(("returned", value), bounds, describe=_describe)
    except protocol.ProtocolError as error:
        text = _one_line(f"the returned value is {error}")
        raised: tuple[object, ...] = ("raised", "reply", "", text, ())
    except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt come from student code as well
        kind = "memory" if _is_out_of_memory(error) else "exception"
        raised = ("raised", kind, protocol.type_name_of(error), _message(error), _places(error, root))
    return protocol.encode(raised)


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed. Python and NumPy raise MemoryError, torch raises RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    words = ("can't allocate memory", "not enough memory", "CUDA out of memory")
    return isinstance(error, RuntimeError) and any(word in _message(error) for word in words)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
        if isinstance(error, SyntaxError):
            text += f" [Python {sys.version_info.major}.{sys.version_info.minor}]"
        elif isinstance(error, ModuleNotFoundError):
            text += _similar_module(error.name)
        return _one_line(text)
    except BaseException:  # noqa: BLE001  # the student's own __str__
        return ""


def _similar_module(name: str | None) -> str:
    """Return a hint at a file of the submission whose name is nearly that of a missing module."""
    import difflib

    parent, _, last = (name or "").rpartition(".")
    folders = getattr(sys.modules.get(parent), "__path__", ()) if parent.partition(".")[0] == PACKAGE else ()
    for folder in folders:
        files = {file.casefold(): file for file in sorted(os.listdir(folder))}  # noqa: PTH208
        for close in difflib.get_close_matches(f"{last}.py".casefold(), files, n=1):
            return f"; there is a file {files[close]} in {parent.replace('.', '/')}"
    return ""


def _describe(value: object) -> str:
    try:
        return _one_line(repr(value))
    except BaseException:  # noqa: BLE001  # the student's own __repr__
        return ""


def _one_line(text: str) -> str:
    text = " ".join(text[: 4 * MAX_MESSAGE].encode("utf-8", "replace").decode().split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _places(error: BaseException, root: str) -> tuple[tuple[str, int | None], ...]:
    """Return the last files and lines of the submission in the traceback, and the line that does not parse."""
    prefix = root + "/"
    places: deque[tuple[str, int | None]] = deque(maxlen=MAX_PLACES)
    step: TracebackType | None = error.__traceback__
    # A recursion leaves a long traceback, and hostile code may make an endless one.
    deadline = time.monotonic() + 1.0
    while step is not None and time.monotonic() < deadline:
        name = step.tb_frame.f_code.co_filename
        if name.startswith(prefix + PACKAGE + "/"):
            places.append((name[len(prefix) :][:200], step.tb_lineno))
        elif step.tb_frame.f_code is _NotedLoader.exec_module.__code__:
            # The file itself, for an error before its first line runs. If it does not parse, the error knows the line.
            loader = step.tb_frame.f_locals["self"]
            if str(loader.path).startswith(prefix):
                places.append((str(loader.path)[len(prefix) :][:200], None))
        step = step.tb_next
    if isinstance(error, SyntaxError) and str(error.filename).startswith(prefix):
        line = error.lineno if type(error.lineno) is int else None
        places.append((str(error.filename)[len(prefix) :][:200], line))
    return tuple(places)


# ── reading the reply ────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Reply:
    """Collects the bytes that a case writes: first STARTED, then one frame."""

    limit: int
    """The largest size of the frame's payload, in bytes."""
    began: float | None = None
    """The time when student code began. Our code writes it before student code runs in that process."""
    baseline: tuple[int, int] = (0, 0)
    """The memory that the case began with, see STARTED."""
    imports: list[str] = field(default_factory=list)
    """The modules whose import has begun and not ended, the innermost last."""
    size: int | None = None
    data: bytearray = field(default_factory=bytearray)

    def add(self, data: bytes) -> None:
        self.data += data
        head = STARTED.size
        if self.began is None and self.data[:1] != FAILED and len(self.data) >= head:
            _, self.began, *baseline = STARTED.unpack_from(self.data)
            self.baseline = (baseline[0], baseline[1])
            del self.data[:head]
        while self.began is not None and self.size is None and self._read_note():
            pass
        noted = self.data[:1] in (IMPORTING, IMPORTED)
        if self.began is not None and self.size is None and not noted and len(self.data) >= 4:
            (self.size,) = struct.unpack_from(">I", self.data)

    def _read_note(self) -> bool:
        """Take one note from the beginning of the data; return whether there was a whole one."""
        kind, end = self.data[:1], 2 + (self.data[1] if len(self.data) > 1 else 255)
        if kind not in (IMPORTING, IMPORTED) or len(self.data) < end:
            return False
        name = bytes(self.data[2:end]).decode("utf-8", "replace")
        del self.data[:end]
        if kind == IMPORTING and len(self.imports) < MAX_IMPORTS:
            self.imports.append(name)
        elif kind == IMPORTED and self.imports[-1:] == [name]:
            self.imports.pop()
        return True

    @property
    def importing(self) -> str:
        """The module whose import has begun and not ended; empty if there is no such module."""
        return self.imports[-1] if self.imports else ""

    @property
    def too_large(self) -> bool:
        return self.size is not None and self.size > self.limit

    @property
    def complete(self) -> bool:
        return self.size is not None and len(self.data) >= 4 + self.size

    def payload(self) -> bytes:
        """Return the payload of the frame; empty if the frame is incomplete or too large."""
        return bytes(self.data[4 : 4 + (self.size or 0)]) if self.complete and not self.too_large else b""

    def failure(self) -> str:
        """Return the text with which the case explained why it failed before student code began."""
        return bytes(self.data[1:]).decode("utf-8", "replace")
