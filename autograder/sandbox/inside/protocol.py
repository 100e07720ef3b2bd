"""Plain data as bytes: the only thing that crosses the wall.

Theory of operation
-------------------
A value is written as one tag byte and what that tag needs, lengths first, all integers big-endian:

    message    = MAGIC value
    value      = "N" | "T" | "F"                        None, True, False
               | "i" u32 two's-complement               int
               | "f" f64 | "c" f64 f64                  float, complex
               | "s" u32 utf-8 | "b" u32 raw            str, bytes
               | "l" u32 value* | "t" u32 value*        list, tuple
               | "d" u32 (value value)*                 dict, in its own order
               | "g" code raw                           NumPy scalar
               | "a" code layout raw                    NumPy array
               | "r" name device flags layout raw       torch tensor
               | "D" code | "E" name                    NumPy dtype, torch dtype
               | "o" value value                        Opaque(type_name, summary)
    layout     = u8 u64* u8*                            axes, shape, order of the axes in memory

A value has exactly one encoding, so equal values of equal types give equal bytes. Nothing in a message can name code:
there is no pickle, no `eval`, no import by name. For every malformed input `decode` raises `ProtocolError`, after work
that is bounded by the size of the input and by `DecodeLimits`.

Types are exact. A subclass of `list`, `str`, `float`, `ndarray` or `Tensor` may compare equal to everything, so it is
never sent as its base class: it becomes an `Opaque`, an inert description that equals nothing but itself.
(`torch.nn.Parameter` is the exception: it has no behaviour of its own and is sent as a tensor.)

An array keeps its shape, dtype, byte order and the order of its axes in memory (a transposed array arrives transposed);
gaps between its elements are not kept. A tensor is decoded on the CPU, and `device_of(tensor)` says on which kind of
device it was.

This file is loaded on both sides of the wall and imports only the standard library. NumPy and torch are used if the
process already has them. `decode(..., load=True)` imports them; only the side that receives trusted bytes asks for
that. Without them an array or tensor is decoded as an `Opaque`, so a NumPy-only grader never pays for `import torch`,
whatever a submission sends.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import select
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAGIC = b"\xa6AG\x01"
"""The first bytes of every message: one that never begins a text, then the name and the version of the format."""

Describe = Callable[[object], str]


class ProtocolError(Exception):
    """The bytes are not a message, or the value is not plain data, or either exceeds the limits."""


class ConnectionLostError(Exception):
    """The other end closed the channel."""


class DeadlineExceededError(Exception):
    """The other end did not send, or did not read, in time."""


@dataclass(frozen=True, eq=False)
class Opaque:
    """Stands for a value that is not plain data. Equal to itself only: two unknown values are not equal."""

    type_name: str
    summary: str = ""


@dataclass(frozen=True)
class DecodeLimits:
    """Bounds of a message: `encode` writes nothing beyond them, and `decode` reads nothing beyond them."""

    total_bytes: int = 64 * 2**20
    depth: int = 64
    items: int = 1_000_000
    """All values together: each may cost a hundred bytes of memory for one byte of input."""
    arrays: int = 10_000
    """All NumPy scalars, arrays and tensors together: each may cost a kilobyte in addition to its data."""
    int_bytes: int = 1024
    """Fewer than 4300 decimal digits, beyond which Python refuses to print an int."""
    guessable_keys: int = 4096
    """All dict keys that are neither str nor bytes: their hashes are not secret, so they can be made to collide."""


DEFAULT_LIMITS = DecodeLimits()

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_F64 = struct.Struct(">d")
_COMPLEX = struct.Struct(">dd")

MAX_AXES = 64
"""NumPy's own maximum."""
MAX_NAME_BYTES = 200
MAX_SUMMARY_BYTES = 1000

NUMPY_CODES: dict[str, int] = {
    "|b1": 1,
    "|i1": 1,
    "|u1": 1,
    **{f"{order}{kind}{size}": size for order in "<>" for kind in "iu" for size in (2, 4, 8)},
    **{f"{order}f{size}": size for order in "<>" for size in (2, 4, 8)},
    **{f"{order}c{size}": size for order in "<>" for size in (8, 16)},
}
"""NumPy's `dtype.str` of every dtype that may be sent, with its bytes per element."""

TORCH_DTYPES: dict[str, int] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
"""The name below `torch.` of every dtype that may be sent, with its bytes per element."""

_FLAG_REQUIRES_GRAD = 1
_DIFFERENTIABLE = frozenset({"float16", "bfloat16", "float32", "float64", "complex64", "complex128"})
_DEVICE_ATTRIBUTE = "_device_before_protocol"


# ── encode ───────────────────────────────────────────────────────────────────────────────────────────────


def encode(
    value: object,
    limits: DecodeLimits = DEFAULT_LIMITS,
    *,
    opaque: bool = True,
    describe: Describe | None = None,
) -> bytes:
    """Return `value` as one message.

    What is not plain data becomes an `Opaque` or, with `opaque=False`, raises ProtocolError. `describe` returns the
    summary of such an object; it may run the object's own code, so leave it out where the object is not trusted.
    Raises ProtocolError if the value is deeper, larger or has more parts than `limits` allow.
    """
    encoder = _Encoder(limits, opaque, describe)
    encoder.value(value, 0)
    return b"".join(encoder.chunks)


class _Encoder:
    def __init__(self, limits: DecodeLimits, opaque: bool, describe: Describe | None) -> None:
        self.limits = limits
        self.opaque_allowed = opaque
        self.describe = describe
        self.chunks: list[bytes | bytearray | memoryview] = [MAGIC]
        self.size = len(MAGIC)
        self.items = 0
        self.arrays = 0
        self.guessable_keys = 0

    def put(self, chunk: bytes | bytearray | memoryview) -> None:
        self.reserve(chunk.nbytes if isinstance(chunk, memoryview) else len(chunk))
        self.chunks.append(chunk)

    def reserve(self, count: int) -> None:
        """Count `count` bytes in; where they are costly to make, before they are made."""
        self.size += count
        if self.size > self.limits.total_bytes:
            raise ProtocolError(f"larger than {self.limits.total_bytes} bytes")

    def value(self, value: object, depth: int) -> None:
        if depth > self.limits.depth:
            raise ProtocolError(f"nested deeper than {self.limits.depth} levels")
        self.items += 1
        if self.items > self.limits.items:
            raise ProtocolError(f"more than {self.limits.items} parts")
        kind = type(value)
        if value is None:
            self.put(b"N")
        elif kind is bool:
            self.put(b"T" if value else b"F")
        elif kind is int:
            self.integer(value)  # type: ignore[arg-type]
        elif kind is float:
            self.put(b"f" + _F64.pack(value))
        elif kind is complex:
            self.put(b"c" + _COMPLEX.pack(value.real, value.imag))  # type: ignore[attr-defined]
        elif kind is str:
            self.text(value)  # type: ignore[arg-type]
        elif kind is bytes:
            self.sized(b"b", value)  # type: ignore[arg-type]
        elif kind is list or kind is tuple:
            self.sequence(b"l" if kind is list else b"t", value, depth)  # type: ignore[arg-type]
        elif kind is dict:
            self.mapping(value, depth)  # type: ignore[arg-type]
        elif kind is Opaque:
            self.opaque(value.type_name, value.summary)  # type: ignore[attr-defined]
        elif not (self.numpy_value(value) or self.torch_value(value)):
            self.unknown(value)

    def sized(self, tag: bytes, raw: bytes) -> None:
        if len(raw) > 0xFFFFFFFF:
            raise ProtocolError("larger than 4 GiB")
        self.put(tag + _U32.pack(len(raw)))
        self.put(raw)

    def integer(self, value: int) -> None:
        raw = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        if len(raw) > self.limits.int_bytes:
            raise ProtocolError(f"an int of more than {self.limits.int_bytes} bytes")
        self.sized(b"i", raw)

    def text(self, value: str) -> None:
        try:
            self.sized(b"s", value.encode())
        except UnicodeEncodeError:
            # Sent as it is, it would break any code that prints it on the other side.
            self.refuse("str", "text with lone surrogates, which is not valid Unicode")

    def sequence(self, tag: bytes, items: list[object] | tuple[object, ...], depth: int) -> None:
        self.put(tag + _U32.pack(len(items)))
        for item in items:
            self.value(item, depth + 1)

    def mapping(self, value: dict[object, object], depth: int) -> None:
        if any(not _is_key(key) for key in value):
            self.refuse("dict", "a dict whose keys are not all plain values")
            return
        self.guessable_keys += sum(type(key) not in (str, bytes) for key in value)
        if self.guessable_keys > self.limits.guessable_keys:
            raise ProtocolError(f"more than {self.limits.guessable_keys} dict keys that are not str or bytes")
        self.put(b"d" + _U32.pack(len(value)))
        for key, item in value.items():
            self.value(key, depth + 1)
            self.value(item, depth + 1)

    def opaque(self, type_name: str, summary: str) -> None:
        self.put(b"o")
        for text, bound in ((type_name, MAX_NAME_BYTES), (summary, MAX_SUMMARY_BYTES)):
            raw = text.encode("utf-8", "replace")[:bound]
            self.sized(b"s", raw.decode("utf-8", "ignore").encode())

    def refuse(self, type_name: str, summary: str) -> None:
        if not self.opaque_allowed:
            raise ProtocolError(f"{type_name} is not plain data: {summary}")
        self.opaque(type_name, summary)

    def unknown(self, value: object) -> None:
        name = type_name_of(value)
        if not self.opaque_allowed:
            raise ProtocolError(f"{name} is not plain data")
        self.opaque(name, self.describe(value) if self.describe else "")

    def array_part(self) -> None:
        self.arrays += 1
        if self.arrays > self.limits.arrays:
            raise ProtocolError(f"more than {self.limits.arrays} arrays and tensors")

    def layout(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.put(bytes([len(shape)]) + b"".join(_U64.pack(n) for n in shape) + bytes(axes))

    # NumPy and torch are looked up, never imported: a value of theirs cannot exist without them.

    def numpy_value(self, value: object) -> bool:
        numpy = sys.modules.get("numpy")
        if numpy is None:
            return False
        if type(value) is numpy.ndarray:
            self.numpy_array(numpy, value)
        elif isinstance(value, numpy.generic) and type(value) is value.dtype.type:
            code = value.dtype.str
            if code not in NUMPY_CODES:
                self.refuse(type_name_of(value), f"a NumPy scalar of dtype {value.dtype}")
                return True
            self.array_part()
            self.put(b"g")
            self.name(code)
            self.put(value.tobytes())
        elif isinstance(value, numpy.dtype) and value.str in NUMPY_CODES and value.metadata is None:
            self.put(b"D")
            self.name(value.str)
        else:
            return False
        return True

    def numpy_array(self, numpy: Any, value: Any) -> None:
        code = value.dtype.str
        if code not in NUMPY_CODES:
            self.refuse("numpy.ndarray", f"an array of dtype {str(value.dtype)[:80]} and shape {value.shape}")
            return
        self.array_part()
        axes = _memory_order(value.shape, value.strides)
        self.put(b"a")
        self.name(code)
        self.layout(value.shape, axes)
        self.reserve(value.nbytes)
        block = numpy.ascontiguousarray(value.transpose(axes))
        if code == "|b1":
            block = block.view(numpy.uint8) != 0  # a bool made by a view may hold any byte
        self.chunks.append(memoryview(block.reshape(-1).view(numpy.uint8)) if block.size else b"")

    def torch_value(self, value: object) -> bool:
        torch = sys.modules.get("torch")
        if torch is None or not hasattr(torch, "nn"):  # still being imported
            return False
        if type(value) is torch.dtype:
            name = str(value).removeprefix("torch.")
            if name not in TORCH_DTYPES:
                return False
            self.put(b"E")
            self.name(name)
            return True
        if type(value) is not torch.Tensor and type(value) is not torch.nn.Parameter:
            return False
        self.tensor(torch, value)
        return True

    def tensor(self, torch: Any, value: Any) -> None:
        name = str(value.dtype).removeprefix("torch.")
        if (
            name not in TORCH_DTYPES
            or value.layout is not torch.strided
            or value.is_meta
            or value.is_quantized
        ):
            shape = tuple(value.shape)
            what = f"a tensor of dtype {name}, layout {value.layout}, device {value.device}, shape {shape}"
            self.refuse("torch.Tensor", what)
            return
        self.array_part()
        requires_grad = bool(value.requires_grad)
        shape = tuple(value.shape)
        axes = _memory_order(shape, tuple(value.stride()))
        self.put(b"r")
        self.name(name)
        self.name(value.device.type)
        self.put(bytes([_FLAG_REQUIRES_GRAD if requires_grad else 0]))
        self.layout(shape, axes)
        count = math.prod(shape) * TORCH_DTYPES[name]
        self.reserve(count)
        with torch.no_grad():
            block = value.detach().cpu().resolve_conj().resolve_neg().permute(axes).contiguous()
        raw = ctypes.string_at(block.data_ptr(), count) if count else b""
        if name == "bool":
            raw = raw.translate(_TRUTH)
        self.chunks.append(raw)

    def name(self, name: str) -> None:
        raw = name.encode()
        self.put(bytes([len(raw)]) + raw)


_TRUTH = bytes([0]) + bytes([1]) * 255


def _memory_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes from the slowest to the fastest in memory, in the usual order wherever it makes no difference."""
    if any(n == 0 for n in shape):
        return tuple(range(len(shape)))
    # An axis of length 1, or a repeated one (stride 0), does not determine the order: it stays in place.
    telling = [axis for axis in range(len(shape)) if shape[axis] > 1 and strides[axis] != 0]
    ordered = iter(sorted(telling, key=lambda axis: -abs(strides[axis])))
    return tuple(next(ordered) if axis in telling else axis for axis in range(len(shape)))


def _is_key(key: object) -> bool:
    """Whether `key` may be a key of a dict: a plain value whose hash is hard to make collide."""
    kind = type(key)
    if kind is int:
        return abs(key) < 2**60  # type: ignore[arg-type]  # beyond 61 bits hashes wrap around
    if kind is tuple:
        return all(_is_key(item) and type(item) is not tuple for item in key)  # type: ignore[attr-defined]
    return key is None or kind in (bool, float, str, bytes)


def type_name_of(value: object) -> str:
    """Return `module.Class` of a value, without running its code."""
    kind = type(value)
    module = type.__getattribute__(kind, "__module__")
    name = type.__getattribute__(kind, "__qualname__")
    text = name if module == "builtins" else f"{module}.{name}"
    return text if type(text) is str else "object"


# ── decode ───────────────────────────────────────────────────────────────────────────────────────────────


def decode(
    data: bytes | bytearray | memoryview, limits: DecodeLimits = DEFAULT_LIMITS, *, load: bool = False
) -> Any:
    """Return the value of one message. Raises ProtocolError, and nothing else, for whatever is wrong with it.

    `load` imports NumPy or torch if the message needs them: only for bytes from the trusted side.
    """
    if len(data) > limits.total_bytes:
        raise ProtocolError(f"{len(data)} bytes where at most {limits.total_bytes} are allowed")
    decoder = _Decoder(memoryview(data), limits, load)
    try:
        if bytes(decoder.take(len(MAGIC))) != MAGIC:
            raise ProtocolError("not a message, or one of another version")
        value = decoder.value(0)
    except ProtocolError:
        raise
    except (ValueError, TypeError, OverflowError, RuntimeError, MemoryError, ImportError) as error:
        raise ProtocolError(f"cannot be decoded: {type(error).__name__}: {str(error)[:200]}") from error
    if decoder.at != len(data):
        raise ProtocolError(f"{len(data) - decoder.at} bytes after the end of the message")
    return value


class _Decoder:
    def __init__(self, data: memoryview, limits: DecodeLimits, load: bool) -> None:
        self.data = data
        self.limits = limits
        self.load = load
        self.at = 0
        self.items = 0
        self.arrays = 0
        self.guessable_keys = 0

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise ProtocolError(f"ends early: {count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count : self.at]

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def count(self, bytes_each: int) -> int:
        """Read a number of items; refuse it if the rest of the message cannot hold so many."""
        count = self.u32()
        if count * bytes_each > len(self.data) - self.at:
            raise ProtocolError(f"{count} items announced with {len(self.data) - self.at} bytes left")
        return count

    def value(self, depth: int) -> Any:
        if depth > self.limits.depth:
            raise ProtocolError(f"nested deeper than {self.limits.depth} levels")
        self.items += 1
        if self.items > self.limits.items:
            raise ProtocolError(f"more than {self.limits.items} parts")
        tag = bytes(self.take(1))
        read = _READERS.get(tag)
        if read is None:
            raise ProtocolError(f"unknown tag {tag!r}")
        return read(self, depth)

    def none(self, _depth: int) -> None:
        return None

    def true(self, _depth: int) -> bool:
        return True

    def false(self, _depth: int) -> bool:
        return False

    def integer(self, _depth: int) -> int:
        count = self.count(1)
        if not 1 <= count <= self.limits.int_bytes:
            raise ProtocolError(f"an int of {count} bytes where 1 to {self.limits.int_bytes} are allowed")
        raw = self.take(count)
        value = int.from_bytes(raw, "big", signed=True)
        if value.bit_length() // 8 + 1 != count:
            raise ProtocolError("an int with superfluous bytes")
        return value

    def real(self, _depth: int) -> float:
        return float(_F64.unpack(self.take(8))[0])

    def read_complex(self, _depth: int) -> complex:
        return complex(*_COMPLEX.unpack(self.take(16)))

    def text(self, _depth: int = 0) -> str:
        return str(self.take(self.count(1)), "utf-8")

    def raw(self, _depth: int) -> bytes:
        return bytes(self.take(self.count(1)))

    def read_list(self, depth: int) -> list[Any]:
        return [self.value(depth + 1) for _ in range(self.count(1))]

    def read_tuple(self, depth: int) -> tuple[Any, ...]:
        return tuple(self.read_list(depth))

    def read_dict(self, depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _ in range(self.count(2)):
            key = self.value(depth + 1)
            if not _is_key(key):
                raise ProtocolError(f"a dict key of type {type_name_of(key)}")
            if type(key) not in (str, bytes):
                self.guessable_keys += 1
                if self.guessable_keys > self.limits.guessable_keys:
                    raise ProtocolError(f"more than {self.limits.guessable_keys} dict keys not str or bytes")
            if key in result:
                raise ProtocolError("a dict with the same key twice")
            result[key] = self.value(depth + 1)
        return result

    def opaque(self, _depth: int) -> Opaque:
        texts = []
        for bound in (MAX_NAME_BYTES, MAX_SUMMARY_BYTES):
            if bytes(self.take(1)) != b"s":
                raise ProtocolError("a description that is not text")
            start = self.at
            texts.append(self.text())
            if self.at - start - 4 > bound:
                raise ProtocolError(f"a description longer than {bound} bytes")
        return Opaque(*texts)

    def name(self, known: dict[str, int] | None = None) -> str:
        name = str(self.take(self.take(1)[0]), "ascii")
        if known is not None and name not in known:
            raise ProtocolError(f"dtype {name!r} may not be sent")
        return name

    def array_part(self) -> None:
        self.arrays += 1
        if self.arrays > self.limits.arrays:
            raise ProtocolError(f"more than {self.limits.arrays} arrays and tensors")

    def block(self, itemsize: int, is_bool: bool) -> tuple[tuple[int, ...], tuple[int, ...], bytearray]:
        """Read the shape, the order of the axes in memory, and a writable copy of the elements."""
        axis_count = self.take(1)[0]
        if axis_count > MAX_AXES:
            raise ProtocolError(f"{axis_count} axes where at most {MAX_AXES} are allowed")
        shape = tuple(int(n) for (n,) in _U64.iter_unpack(self.take(8 * axis_count)))
        axes = tuple(self.take(axis_count))
        if sorted(axes) != list(range(axis_count)):
            raise ProtocolError(f"{axes} does not name each of {axis_count} axes once")
        if math.prod(n for n in shape if n) * itemsize >= 2**63:
            raise ProtocolError("a shape beyond all memory")
        raw = bytearray(self.take(math.prod(shape) * itemsize))
        if is_bool and raw.translate(None, b"\0\1"):
            raise ProtocolError("a bool that is neither 0 nor 1")
        return shape, axes, raw

    def library(self, name: str) -> Any:
        """Return the module if this process has it or may import it now, otherwise None."""
        module = sys.modules.get(name)
        return importlib.import_module(name) if module is None and self.load else module

    def numpy_scalar(self, _depth: int) -> Any:
        self.array_part()
        code = self.name(NUMPY_CODES)
        raw = bytes(self.take(NUMPY_CODES[code]))
        if code == "|b1" and raw[0] > 1:
            raise ProtocolError("a bool that is neither 0 nor 1")
        numpy = self.library("numpy")
        if numpy is None:
            return Opaque("numpy.generic", f"a NumPy scalar of dtype {code}")
        return numpy.frombuffer(raw, dtype=code)[0]

    def numpy_array(self, _depth: int) -> Any:
        self.array_part()
        code = self.name(NUMPY_CODES)
        shape, axes, raw = self.block(NUMPY_CODES[code], code == "|b1")
        numpy = self.library("numpy")
        if numpy is None:
            return Opaque("numpy.ndarray", f"an array of dtype {code} and shape {shape}")
        flat = numpy.frombuffer(raw, dtype=code) if raw else numpy.empty(0, dtype=code)
        return flat.reshape([shape[axis] for axis in axes]).transpose(_inverse(axes))

    def tensor(self, _depth: int) -> Any:
        self.array_part()
        name = self.name(TORCH_DTYPES)
        device = self.name()
        flags = self.take(1)[0]
        if flags & ~_FLAG_REQUIRES_GRAD or (flags and name not in _DIFFERENTIABLE):
            raise ProtocolError(f"flags {flags} on a tensor of dtype {name}")
        shape, axes, raw = self.block(TORCH_DTYPES[name], name == "bool")
        torch = self.library("torch")
        if torch is None or not hasattr(torch, name):
            return Opaque("torch.Tensor", f"a tensor of dtype {name} and shape {shape}")
        dtype = getattr(torch, name)
        flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        tensor = flat.reshape([shape[axis] for axis in axes]).permute(_inverse(axes))
        tensor.requires_grad_(bool(flags & _FLAG_REQUIRES_GRAD))
        setattr(tensor, _DEVICE_ATTRIBUTE, device)
        return tensor

    def numpy_dtype(self, _depth: int) -> Any:
        code = self.name(NUMPY_CODES)
        numpy = self.library("numpy")
        return Opaque("numpy.dtype", code) if numpy is None else numpy.dtype(code)

    def torch_dtype(self, _depth: int) -> Any:
        name = self.name(TORCH_DTYPES)
        torch = self.library("torch")
        return (
            Opaque("torch.dtype", name)
            if torch is None
            else getattr(torch, name, Opaque("torch.dtype", name))
        )


_READERS: dict[bytes, Callable[[_Decoder, int], Any]] = {
    b"N": _Decoder.none,
    b"T": _Decoder.true,
    b"F": _Decoder.false,
    b"i": _Decoder.integer,
    b"f": _Decoder.real,
    b"c": _Decoder.read_complex,
    b"s": _Decoder.text,
    b"b": _Decoder.raw,
    b"l": _Decoder.read_list,
    b"t": _Decoder.read_tuple,
    b"d": _Decoder.read_dict,
    b"o": _Decoder.opaque,
    b"g": _Decoder.numpy_scalar,
    b"a": _Decoder.numpy_array,
    b"r": _Decoder.tensor,
    b"D": _Decoder.numpy_dtype,
    b"E": _Decoder.torch_dtype,
}


def _inverse(axes: tuple[int, ...]) -> list[int]:
    return sorted(range(len(axes)), key=axes.__getitem__)


def device_of(tensor: Any) -> str:
    """Return the kind of device ("cpu", "cuda") that a decoded tensor was on when it was sent."""
    return str(getattr(tensor, _DEVICE_ATTRIBUTE, tensor.device.type))


# ── frames: messages on a byte stream ────────────────────────────────────────────────────────────────────

MAX_FRAME_BYTES = 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """Return a payload with its length before it."""
    if len(payload) > MAX_FRAME_BYTES:
        raise ProtocolError("larger than 4 GiB")
    return _U32.pack(len(payload)) + payload


def send_frame(fd: int, payload: bytes, deadline: float | None = None) -> None:
    """Write one frame to a pipe or stream socket, by `deadline` on `time.monotonic()`'s clock.

    With a deadline `fd` must be non-blocking. Raises ConnectionLostError or DeadlineExceededError.
    """
    for part in (_U32.pack(len(payload)), payload) if len(payload) > 65536 else (frame(payload),):
        rest = memoryview(part)
        while rest:
            _wait(fd, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError) as error:
                raise ConnectionLostError("the other end stopped reading") from error


def receive_frame(fd: int, limit: int, deadline: float | None = None) -> bytes:
    """Read one frame, of up to `limit` bytes, by `deadline`.

    Raises ConnectionLostError, DeadlineExceededError, or ProtocolError for a larger frame.
    """
    (size,) = _U32.unpack(_receive(fd, 4, deadline))
    if size > limit:
        raise ProtocolError(f"a frame of {size} bytes where at most {limit} are allowed")
    return bytes(_receive(fd, size, deadline))


def _receive(fd: int, count: int, deadline: float | None) -> bytearray:
    data = bytearray()
    while len(data) < count:
        _wait(fd, select.POLLIN, deadline)
        try:
            chunk = os.read(fd, min(count - len(data), 2**20))
        except BlockingIOError:
            continue
        except ConnectionResetError as error:
            raise ConnectionLostError("the other end is gone") from error
        if not chunk:
            raise ConnectionLostError("the other end closed the channel")
        data += chunk
    return data


def _wait(fd: int, event: int, deadline: float | None) -> None:
    if deadline is None:
        return
    poll = select.poll()
    poll.register(fd, event)
    remaining = max(0.0, deadline - time.monotonic())
    if not poll.poll(math.ceil(remaining * 1000)):
        raise DeadlineExceededError(f"nothing happened for {remaining:.1f} s")
