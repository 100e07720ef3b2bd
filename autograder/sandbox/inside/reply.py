"""Calling a probe and saying what came of it, in one encoded answer.

    ("returned", value)
    ("raised", kind, type name, message, file, line)     kind: "exception", "memory" or "reply"

A file is named relative to the submission (`src/softmax.py`), and left out when it is not part of it.
Everything a student's object is asked here (its `str`, its `repr`) may run their code: it is inside the case
and its time limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from . import protocol

PACKAGE = "src"
MAX_MESSAGE = 500


def reply_of_call(call: Callable[..., Any], inputs: Any, limits: Mapping[str, Any], root: str) -> bytes:
    bounds = protocol.DecodeLimits(total_bytes=limits["reply_bytes"])
    try:
        value = call(*inputs)
        return protocol.encode(("returned", value), bounds, describe=_describe)
    except protocol.ProtocolError as error:
        raised: tuple[object, ...] = (
            "raised",
            "reply",
            "",
            _one_line(f"the returned value is {error}"),
            None,
            None,
        )
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
