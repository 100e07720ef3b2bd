"""The format that crosses the wall: values arrive as they were sent, and malformed input is a ProtocolError."""

from __future__ import annotations

import contextlib
import math
import os
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder.sandbox.inside import protocol
from autograder.sandbox.inside.protocol import MAGIC, DecodeLimits, Opaque, ProtocolError, decode, encode


def there_and_back(value: object) -> object:
    return decode(encode(value))


# ── plain values ─────────────────────────────────────────────────────────────────────────────────────────

ints = st.integers(-(2**2000), 2**2000)
texts = st.text()
scalars = st.none() | st.booleans() | ints | st.floats() | st.complex_numbers() | texts | st.binary()
keys = (
    st.none()
    | st.booleans()
    | st.integers(-(2**59), 2**59)
    | st.floats(allow_nan=False)
    | texts
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys | st.tuples(keys, keys), inner)
    ),
    max_leaves=30,
)


def same(left: object, right: object) -> bool:
    """Whether two values are equal and have equal types all the way down; NaN equals NaN here."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))  # type: ignore[arg-type]
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))  # type: ignore[attr-defined]
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)  # type: ignore[attr-defined]
    return left == right


@given(values)
def test_plain_values_come_back_with_their_exact_types(value: object) -> None:
    assert same(there_and_back(value), value)


@given(values)
def test_equal_values_give_equal_bytes(value: object) -> None:
    assert encode(there_and_back(value)) == encode(value)


def test_text_with_lone_surrogates_becomes_a_description() -> None:
    got = there_and_back(["\ud800"])[0]  # type: ignore[index]
    assert type(got) is Opaque
    assert got.type_name == "str"


@pytest.mark.parametrize("value", [2**9000, -(2**9000)], ids=["positive", "negative"])
def test_an_int_too_long_to_print_is_refused(value: int) -> None:
    with pytest.raises(ProtocolError, match="int of more than"):
        encode(value)


@pytest.mark.parametrize("value", [2**8000, -(2**8000)], ids=["positive", "negative"])
def test_every_int_that_crosses_can_be_printed(value: int) -> None:
    assert str(there_and_back(value)) == str(value)


# ── exact types ──────────────────────────────────────────────────────────────────────────────────────────


class _EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


def _subclass(base: type) -> type:
    return type(
        "Cheat", (base,), {"__eq__": lambda _s, _o: True, "__ne__": lambda _s, _o: False, "__hash__": None}
    )


@pytest.mark.parametrize("base", [int, float, complex, str, bytes, list, tuple, dict, np.ndarray, np.float64])
def test_a_subclass_of_a_plain_type_is_not_sent_as_its_base(base: type) -> None:
    cheat = np.zeros(3).view(_subclass(base)) if base is np.ndarray else _subclass(base)()
    assert type(there_and_back(cheat)) is Opaque


def test_a_subclass_of_tensor_is_not_sent_as_a_tensor() -> None:
    cheat = torch.zeros(3).as_subclass(_subclass(torch.Tensor))  # type: ignore[arg-type]
    assert type(there_and_back(cheat)) is Opaque


@pytest.mark.parametrize(
    "value",
    [_EqualToAll(), object, {1, 2}, bytearray(b"x"), range(3), len, ..., np.float32, open],
    ids=["equal to all", "class", "set", "bytearray", "range", "len", "...", "float32", "open"],
)
def test_what_is_not_plain_data_becomes_a_description_equal_to_nothing(value: object) -> None:
    got = there_and_back(value)
    assert type(got) is Opaque
    assert got != there_and_back(value)
    assert got != value or isinstance(value, _EqualToAll)


def test_an_object_inside_a_key_makes_the_whole_dict_a_description() -> None:
    assert type(there_and_back({_EqualToAll(): 1})) is Opaque


def test_encoding_for_the_sandbox_refuses_what_is_not_plain_data() -> None:
    with pytest.raises(ProtocolError, match="set is not plain data"):
        encode([1, {2}], opaque=False)


def test_a_description_runs_no_code_of_the_object() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError

        __str__ = __format__ = __repr__  # type: ignore[assignment]

    assert there_and_back(Loud()).type_name.endswith("Loud")  # type: ignore[attr-defined]


# ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────

array_dtypes = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="=")
    | hnp.unsigned_integer_dtypes(endianness="=")
    | hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="=", sizes=(64, 128))
    | hnp.integer_dtypes(endianness=">")
    | hnp.floating_dtypes(endianness=">", sizes=(16, 32, 64))
)
arrays = hnp.arrays(array_dtypes, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))


@given(arrays, st.randoms())
def test_arrays_come_back_with_dtype_shape_order_and_bits(array: np.ndarray, random: object) -> None:
    axes = list(range(array.ndim))
    random.shuffle(axes)  # type: ignore[attr-defined]
    array = array.transpose(axes)
    got = there_and_back(array)
    assert type(got) is np.ndarray
    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert got.tobytes() == array.tobytes()
    assert got.flags.writeable
    if array.size:
        assert got.flags.c_contiguous == array.flags.c_contiguous
        assert got.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10)[::3],
        np.arange(10)[::-1],
        np.broadcast_to(np.float32(2), (3, 4)),
        np.zeros((2, 0, 3)),
        np.zeros((0, 10**18)),
        np.arange(24.0).reshape(2, 3, 4)[:, 1:, ::2],
        np.array(["x", "y"], dtype=object)[:0].astype("f8"),
    ],
    ids=lambda array: f"{array.shape} {array.strides}",
)
def test_views_come_back_with_their_values(array: np.ndarray) -> None:
    got = there_and_back(array)
    assert got.dtype == array.dtype  # type: ignore[attr-defined]
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[s]", "m8[s]", [("a", "f4")], "g", "V4"])
def test_arrays_of_other_dtypes_become_descriptions(dtype: object) -> None:
    got = there_and_back(np.zeros(2, dtype=dtype))  # type: ignore[call-overload]
    assert type(got) is Opaque
    assert got.type_name == "numpy.ndarray"


@given(hnp.from_dtype(np.dtype("f4")) | hnp.from_dtype(np.dtype("i8")) | hnp.from_dtype(np.dtype("?")))
def test_numpy_scalars_stay_numpy_scalars(scalar: np.generic) -> None:
    got = there_and_back(scalar)
    assert type(got) is type(scalar)
    assert got.tobytes() == scalar.tobytes()  # type: ignore[attr-defined]


def test_a_bool_array_made_by_a_view_is_sent_as_proper_bools() -> None:
    odd = np.array([0, 1, 2, 255], dtype=np.uint8).view(bool)
    assert there_and_back(odd).view(np.uint8).tolist() == [0, 1, 1, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype(">i2"), torch.bfloat16, torch.int64])
def test_dtypes_are_values(dtype: object) -> None:
    assert there_and_back(dtype) == dtype


# ── tensors ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", protocol.TORCH_DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (2, 1, 3, 2)])
def test_tensors_of_every_dtype_come_back(name: str, shape: tuple[int, ...]) -> None:
    tensor = (torch.rand(shape) * 5).to(getattr(torch, name))
    got = there_and_back(tensor)
    assert type(got) is torch.Tensor
    assert (got.dtype, got.shape, got.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
    torch.testing.assert_close(got, tensor, rtol=0, atol=0)


def test_a_transposed_tensor_stays_transposed() -> None:
    assert there_and_back(torch.rand(2, 3).t()).stride() == (1, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("requires_grad", [False, True])
def test_requires_grad_is_kept_and_parameters_are_tensors(requires_grad: bool) -> None:
    got = there_and_back(torch.nn.Parameter(torch.ones(2), requires_grad=requires_grad))
    assert type(got) is torch.Tensor
    assert got.requires_grad is requires_grad
    assert got.is_leaf


def test_a_tensor_remembers_its_device() -> None:
    assert protocol.device_of(there_and_back(torch.ones(2))) == "cpu"
    moved = encode(torch.ones(2)).replace(b"\x03cpu", b"\x04cuda")
    assert protocol.device_of(decode(moved)) == "cuda"
    assert decode(moved).device.type == "cpu"


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, device="meta"),
        torch.ones(2).to(torch.float8_e5m2),
    ],
    ids=["sparse", "meta", "float8"],
)
def test_tensors_without_plain_elements_become_descriptions(tensor: torch.Tensor) -> None:
    assert type(there_and_back(tensor)) is Opaque


def test_lazy_conjugation_and_negation_are_resolved() -> None:
    tensor = torch.tensor([1 + 2j])
    assert there_and_back(tensor.conj()).tolist() == [1 - 2j]  # type: ignore[attr-defined]
    assert there_and_back(tensor.conj().imag).tolist() == [-2.0]  # type: ignore[attr-defined]


# ── malformed input ──────────────────────────────────────────────────────────────────────────────────────

SAMPLE = [
    None,
    (True, False, 7, -(2**70), 1.5, 2j, "é", b"raw"),
    {"a": [1, [2]], 3: {}, (1, "x"): ()},
    np.arange(6, dtype=">i2").reshape(2, 3).T,
    np.float32(2),
    np.array([True, False]),
    torch.ones(2, 2, requires_grad=True),
    np.dtype("f8"),
    torch.float16,
    Opaque("a.B", "what it was"),
]


def test_a_message_cut_anywhere_is_refused() -> None:
    message = encode(SAMPLE)
    for length in range(len(message)):
        with pytest.raises(ProtocolError):
            decode(message[:length])


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(ProtocolError, match="after the end"):
        decode(encode(SAMPLE) + b"\0")


def test_every_flipped_bit_gives_a_value_or_a_protocol_error() -> None:
    message = encode(SAMPLE)
    for at in range(len(message)):
        for bit in range(8):
            flipped = bytearray(message)
            flipped[at] ^= 1 << bit
            _decode_or_refuse(bytes(flipped))


@settings(max_examples=400)
@given(st.binary(max_size=300))
def test_random_bytes_give_a_value_or_a_protocol_error(data: bytes) -> None:
    _decode_or_refuse(MAGIC + data)


tags = st.sampled_from(b"NTFifcsbltdgarDEo").map(lambda tag: bytes([tag]))
counts = st.sampled_from([0, 1, 2, 3, 255, 2**16, 2**31, 2**32 - 1]).map(lambda n: n.to_bytes(4, "big"))
wide = st.sampled_from([0, 1, 2, 2**32, 2**62, 2**63, 2**64 - 1]).map(lambda n: n.to_bytes(8, "big"))
names = st.sampled_from(
    [b"\x03<f4", b"\x03|b1", b"\x07float32", b"\x04bool", b"\x03cpu", b"\x03|O8", b"\x01\xff"]
)


@settings(max_examples=1000)
@given(st.lists(tags | counts | wide | names | st.binary(max_size=4), max_size=30))
def test_plausible_pieces_give_a_value_or_a_protocol_error(pieces: list[bytes]) -> None:
    _decode_or_refuse(MAGIC + b"".join(pieces))


def _decode_or_refuse(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode(data)


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers)


MALFORMED = {
    "nothing": b"",
    "no message": b"hello",
    "another version": MAGIC[:-1] + b"\x02N",
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "unknown tag": MAGIC + b"?",
    "str that is not utf-8": MAGIC + b"s" + _u32(1) + b"\xff",
    "str with an encoded surrogate": MAGIC + b"s" + _u32(3) + b"\xed\xa0\x80",
    "int without bytes": MAGIC + b"i" + _u32(0),
    "int with superfluous bytes": MAGIC + b"i" + _u32(2) + b"\0\1",
    "int beyond the limit": MAGIC + b"i" + _u32(2000) + b"\1" * 2000,
    "list longer than the message": MAGIC + b"l" + _u32(2**32 - 1),
    "dict with a key twice": MAGIC + b"d" + _u32(2) + b"TNTN",
    "dict with keys that are equal": MAGIC + b"d" + _u32(2) + b"TN" + b"i" + _u32(1) + b"\1N",
    "dict with a list as key": MAGIC + b"d" + _u32(1) + b"l" + _u32(0) + b"N",
    "dict with a key of 61 bits": MAGIC + b"d" + _u32(1) + b"i" + _u32(9) + (2**64).to_bytes(9, "big") + b"N",
    "array of objects": MAGIC + b"a\x02|O\x01" + _u64(1) + b"\0" + b"\0" * 8,
    "array with less data than its shape": MAGIC + b"a\x03<f4\x01" + _u64(2) + b"\0" + b"\0" * 4,
    "array whose size overflows": MAGIC + b"a\x03<f4\x02" + _u64(2**63, 2) + b"\0\1",
    "array whose size wraps to zero": MAGIC + b"a\x03<f4\x02" + _u64(2**32, 2**32) + b"\0\1",
    "empty array with a shape beyond memory": MAGIC + b"a\x03<f4\x03" + _u64(0, 2**63, 2**63) + b"\0\1\2",
    "array with an axis twice": MAGIC + b"a\x03<f4\x02" + _u64(1, 1) + b"\0\0" + b"\0" * 4,
    "array with an axis too far": MAGIC + b"a\x03<f4\x01" + _u64(1) + b"\1" + b"\0" * 4,
    "array of too many axes": MAGIC + b"a\x03<f4\x41" + _u64(*[1] * 65) + bytes(range(65)) + b"\0" * 4,
    "bool array with a 2": MAGIC + b"a\x03|b1\x01" + _u64(1) + b"\0\2",
    "bool scalar with a 2": MAGIC + b"g\x03|b1\x02",
    "bool tensor with a 2": MAGIC + b"r\x04bool\x03cpu\0\x01" + _u64(1) + b"\0\2",
    "int tensor that requires grad": MAGIC + b"r\x05int64\x03cpu\1\x00" + b"\0" * 8,
    "tensor with unknown flags": MAGIC + b"r\x07float32\x03cpu\2\x00" + b"\0" * 4,
    "tensor of no dtype": MAGIC + b"r\x04load\x03cpu\0\x00",
    "dtype that is a function": MAGIC + b"E\x04load",
    "description that is not text": MAGIC + b"oNN",
    "description without end": MAGIC + b"os" + _u32(5000) + b"x" * 5000 + b"s" + _u32(0),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────


def _nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded_both_ways() -> None:
    assert there_and_back(_nested(60)) == _nested(60)
    with pytest.raises(ProtocolError, match="nested deeper"):
        encode(_nested(100))
    with pytest.raises(ProtocolError, match="nested deeper"):
        decode(MAGIC + (b"l" + _u32(1)) * 100_000 + b"N")


def test_a_list_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ProtocolError, match="nested deeper"):
        encode(loop)


def test_a_small_graph_with_exponentially_many_paths_is_refused() -> None:
    bomb: object = []
    for _ in range(50):
        bomb = [bomb, bomb]
    with pytest.raises(ProtocolError, match="parts"):
        encode(bomb)


@pytest.mark.parametrize(
    ("limits", "value"),
    [
        (DecodeLimits(total_bytes=100), b"x" * 100),
        (DecodeLimits(total_bytes=100), np.zeros(100)),
        (DecodeLimits(total_bytes=100), torch.zeros(100)),
        (DecodeLimits(items=10), [None] * 10),
        (DecodeLimits(arrays=2), [np.float32(1)] * 3),
        (DecodeLimits(guessable_keys=2), [{1: 0}, {2: 0}, {3: 0}]),
        (DecodeLimits(depth=2), [[[1]]]),
        (DecodeLimits(int_bytes=2), 2**16),
    ],
    ids=["bytes", "bytes of an array", "bytes of a tensor", "items", "arrays", "keys", "depth", "int"],
)
def test_limits_hold_both_ways(limits: DecodeLimits, value: object) -> None:
    with pytest.raises(ProtocolError):
        encode(value, limits)
    with pytest.raises(ProtocolError):
        decode(encode(value), limits)


def test_dict_keys_that_collide_on_purpose_are_refused() -> None:
    modulus = 2**61 - 1  # hashes of int wrap there
    assert type(there_and_back({modulus * n: n for n in range(1, 100)})) is Opaque


def test_decoding_does_not_allocate_what_a_message_only_announces() -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    tracemalloc.start()
    for data in (MAGIC + b"b" + _u32(2**31), MAGIC + b"a\x03<f8\x01" + _u64(2**40) + b"\0"):
        with pytest.raises(ProtocolError):
            decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


# ── libraries are used, not loaded ───────────────────────────────────────────────────────────────────────


def _python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_protocol_imports_only_the_standard_library() -> None:
    code = "import sys, autograder.sandbox.inside.protocol; print([m for m in ('numpy', 'torch') if m in sys.modules])"
    assert _python(code) == "[]"


@pytest.mark.parametrize(
    "value",
    [torch.ones(2), np.ones(2), np.float32(1), np.dtype("f4"), torch.float32],
    ids=["tensor", "array", "scalar", "NumPy dtype", "torch dtype"],
)
def test_a_process_without_the_library_sees_a_description_and_does_not_load_it(value: object) -> None:
    code = (
        "import sys; from autograder.sandbox.inside import protocol;"
        "value = protocol.decode(bytes.fromhex(sys.argv[1]));"
        "print(type(value).__name__, 'numpy' in sys.modules, 'torch' in sys.modules)"
    )
    assert _python(code, encode(value).hex()) == "Opaque False False"


def test_the_side_that_receives_trusted_bytes_may_load_it() -> None:
    code = (
        "import sys; from autograder.sandbox.inside import protocol;"
        "print(type(protocol.decode(bytes.fromhex(sys.argv[1]), load=True)).__name__)"
    )
    assert _python(code, encode(np.ones(2)).hex()) == "ndarray"


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────────


def test_frames_larger_than_a_pipe_arrive_whole() -> None:
    read, write = os.pipe()
    payload = os.urandom(3_000_000)
    sender = threading.Thread(target=protocol.send_frame, args=(write, payload))
    sender.start()
    assert protocol.receive_frame(read, len(payload), time.monotonic() + 30) == payload
    sender.join()
    os.close(read)
    os.close(write)


def test_a_frame_beyond_the_limit_is_refused_by_its_header() -> None:
    read, write = os.pipe()
    os.write(write, struct.pack(">I", 2**32 - 1))
    with pytest.raises(ProtocolError, match="at most 10"):
        protocol.receive_frame(read, 10)
    os.close(read)
    os.close(write)


def test_a_silent_other_end_meets_the_deadline() -> None:
    read, write = os.pipe()
    with pytest.raises(protocol.DeadlineExceededError):
        protocol.receive_frame(read, 10, time.monotonic() + 0.01)
    os.set_blocking(write, False)
    with pytest.raises(protocol.DeadlineExceededError):
        protocol.send_frame(write, b"x" * 10_000_000, time.monotonic() + 0.01)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("sent", [b"", b"\0\0", struct.pack(">I", 5) + b"123"])
def test_a_closed_channel_is_told_apart(sent: bytes) -> None:
    read, write = os.pipe()
    os.write(write, sent)
    os.close(write)
    with pytest.raises(protocol.ConnectionLostError):
        protocol.receive_frame(read, 10)
    os.close(read)


def test_nan_is_sent_and_still_equals_nothing() -> None:
    got = there_and_back(math.nan)
    assert got != got
