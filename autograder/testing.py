"""What hidden suites are written with: `case`, `assert_close`, `assert_equal`, `agreed`.

    from autograder.testing import assert_close, case
    import probes

    @case(task=0, points=20)
    def test_weight_gradient(student, ref, rng):
        \"\"\"W_grad = X^T G for a plain matrix.\"\"\"
        x, w, g = ...
        assert_close(student(probes.backward, x, w, g), ref(probes.backward, x, w, g))

The fixtures `student`, `ref` and `rng` come from `autograder.grading.plugin`. What `student` returns is plain data
that a hostile process may have made up. Pass it to the functions of this module: they look at types before they
look at values, and their messages are short enough for a table cell. A message shows where a result differs,
never what was expected there.
"""

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from autograder.sandbox.inside import protocol

__all__ = ["agreed", "assert_close", "assert_equal", "case"]

Data = TypeVar("Data")

# Relative and absolute tolerance by dtype: enough for sums of a few hundred terms in another order.
TOLERANCE = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2}
TOLERANCE["bfloat16"] = 4e-2  # 8 bits of mantissa


def case(
    *, task: int, points: int, name: str | None = None, needs_build: bool = False
) -> pytest.MarkDecorator:
    """Mark a test as a scored case.

    Args:
        task: number of the task, shown as `Task0`.
        points: what the case is worth; each parameter set of a parametrized test is a case with these points.
        name: shown instead of `Task0 - Case1`, whose number counts the cases of the task in file order.
        needs_build: the case needs what the suite's `build` probe makes. If the build fails, the case does not
            run, and its message is the build's.

    The first line of the test's docstring tells staff what is tested. A `@pytest.mark.timeout(10)` beside it is the
    time limit of the student's code in seconds, for all probes of the case together.
    """
    return pytest.mark.case(task=task, points=points, name=name, needs_build=needs_build)


def assert_close(
    actual: object,
    expected: object,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    what: str = "the result",
) -> None:
    """Fail unless `actual` is `expected` up to rounding: structure, kind, dtype, shape, device and values.

    A difference of at most atol + rtol * |expected| passes. NaN equals nothing, not even NaN; infinities
    equal themselves. Integers and booleans are compared exactly. A Python number, a NumPy scalar and an
    array of shape () count as the same kind, "a number"; their dtypes are compared if both have one.

    Args:
        actual: what `student` returned.
        expected: what `ref` returned, or a value computed by the check; may nest lists, tuples and dicts.
        rtol, atol: tolerances; None: those of the dtype in `TOLERANCE`.
        what: what the message calls `actual`.

    Raises:
        AssertionError: with one line for the student.
    """
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            raise AssertionError(_mismatch(what, actual, "a dict"))
        _ensure(
            set(actual) == set(expected),
            f"{what} has the keys {sorted(map(str, actual))[:9]}, expected {sorted(map(str, expected))[:9]}",
        )
        for key, value in expected.items():
            assert_close(actual[key], value, rtol=rtol, atol=atol, what=str(key))
    elif isinstance(expected, (list, tuple)):
        if not isinstance(actual, (list, tuple)):
            raise AssertionError(_mismatch(what, actual, f"{len(expected)} values"))
        _ensure(len(actual) == len(expected), f"{what} has {len(actual)} values, expected {len(expected)}")
        for index, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_close(a, e, rtol=rtol, atol=atol, what=f"{what}[{index}]")
    elif _is_number(expected):
        _require(_is_number(actual), what, actual, "a number")
        _compare(
            np.asarray(actual),
            np.asarray(expected),
            rtol,
            atol,
            what,
            dtype=_has_dtype(actual) and _has_dtype(expected),
        )
    elif isinstance(expected, np.ndarray):
        _require(type(actual) is np.ndarray, what, actual, _describe(expected))
        _compare(actual, expected, rtol, atol, what, dtype=True)
    elif _is_tensor(expected):
        _require(_is_tensor(actual), what, actual, _describe(expected))
        _ensure(
            protocol.device_of(actual) == protocol.device_of(expected),
            f"{what} is on {protocol.device_of(actual)}, expected on {protocol.device_of(expected)}",
        )
        _compare(actual, expected, rtol, atol, what, dtype=True)
    else:
        assert_equal(actual, expected, what=what)


def assert_equal(actual: object, expected: object, *, what: str = "the result") -> None:
    """Fail unless `actual` has exactly the type and the value of `expected`, a plain non-array value.

    The message shows the expected value. Use it for None, booleans, strings, bytes and dtypes, and `assert_close`
    for numbers and arrays.
    """
    _require(type(actual) is type(expected), what, actual, _describe(expected))
    _ensure(actual == expected, f"{what} is {_short(actual)}, expected {_short(expected)}")


def agreed(
    reference: Data,
    formula: object,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    what: str = "the result",
) -> Data:
    """Return `reference` if the check's own value agrees with it, so that two independent computations decide.

    Raises:
        ValueError: they differ. That is our fault, so it is not an AssertionError and costs no points.
    """
    try:
        assert_close(reference, formula, rtol=rtol, atol=atol, what=what)
    except AssertionError as error:
        raise ValueError(f"the reference and the check's own formula disagree: {error}") from error
    return reference


def _ensure(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _mismatch(what: str, actual: object, expected: str) -> str:
    return f"{what} is {_describe(actual)}, expected {expected}"


def _require(condition: bool, what: str, actual: object, expected: str) -> None:
    _ensure(condition, _mismatch(what, actual, expected))


def _is_tensor(value: object) -> bool:
    return type(value).__module__ == "torch" and type(value).__name__ == "Tensor"


def _is_number(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "iufc"
    return type(value) in (int, float, complex) or isinstance(value, np.number)


def _has_dtype(value: object) -> bool:
    return isinstance(value, (np.generic, np.ndarray))


def _describe(value: object) -> str:
    """Return the kind of a value in words: `a float32 array of shape (4, 10)`, `a list`, `None`."""
    if value is None:
        return "None"
    if isinstance(value, protocol.Opaque):
        return f"a {_short(value.type_name, quote=False)} object"
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if _is_tensor(value):
        return f"a {_dtype_name(value)} tensor of shape {tuple(value.shape)}"  # type: ignore[attr-defined]
    if isinstance(value, np.generic):
        return f"a {value.dtype} number"
    article = "an" if type(value).__name__[0] in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def _short(value: object, *, quote: bool = True) -> str:
    text = repr(value) if quote else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dtype_name(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def _plain(value: Any) -> npt.NDArray[Any]:
    """Return a NumPy array to compare in: widened to float64, complex128, or left as integers."""
    if _is_tensor(value):
        value = value.detach()
        if value.dtype.is_floating_point:
            value = value.double()  # NumPy has no bfloat16
        value = value.resolve_conj().numpy()
    if value.dtype.kind in "fc":
        return np.asarray(value, np.complex128 if value.dtype.kind == "c" else np.float64)
    return np.asarray(value)


def _compare(
    actual: Any, expected: Any, rtol: float | None, atol: float | None, what: str, *, dtype: bool
) -> None:
    _ensure(
        tuple(actual.shape) == tuple(expected.shape),
        f"{what} has shape {tuple(actual.shape)}, expected {tuple(expected.shape)}",
    )
    name = _dtype_name(expected)
    _ensure(
        not dtype or _dtype_name(actual) == name, f"{what} has dtype {_dtype_name(actual)}, expected {name}"
    )
    a, e = _plain(actual), _plain(expected)
    if a.size == 0:
        return
    if dtype and e.dtype.kind in "iub":
        differs, difference = a != e, None
    else:
        tolerance = TOLERANCE.get(name, 1e-9)
        rtol, atol = tolerance if rtol is None else rtol, tolerance if atol is None else atol
        with np.errstate(all="ignore"):
            difference = np.abs(a - e)
            allowed = atol + rtol * np.abs(e)
            # NaN on either side must differ; the difference of equal infinities is NaN, and they must agree.
            differs = ~((difference <= allowed) & np.isfinite(e) | (a == e))
    count = int(np.count_nonzero(differs))
    if count == 0:
        return
    place = f" in {count} of {a.size} elements" if a.shape else ""
    nan = int(np.count_nonzero(np.isnan(a))) if a.dtype.kind in "fc" else 0
    if nan:
        where = np.argwhere(np.isnan(np.atleast_1d(a)))[0]
        raise AssertionError(f"{what} differs{place}: {nan} NaN, the first at {_index(where, a)}")
    if difference is None:
        raise AssertionError(
            f"{what} differs{place}, first at {_index(np.argwhere(np.atleast_1d(differs))[0], a)}"
        )
    finite = np.where(np.isnan(difference), math.inf, difference)
    worst = np.unravel_index(int(np.argmax(np.where(differs, finite, -1))), np.atleast_1d(a).shape)
    largest = float(np.atleast_1d(finite)[worst])
    raise AssertionError(f"{what} differs{place}; largest difference {largest:.3g} at {_index(worst, a)}")


def _index(position: Any, array: npt.NDArray[Any]) -> str:
    return "[" + ", ".join(str(int(i)) for i in position) + "]" if array.shape else "its only element"
