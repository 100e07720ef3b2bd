"""The functions for writing hidden suites: `case`, `part`, `assert_close`, `assert_equal`, `assert_raised`,
`assert_fast` and `agreed`.

    from autograder.testing import assert_close, case
    import probes

    @case(task=0, points=20)
    def test_weight_gradient(student, ref, rng):
        \"\"\"W_grad = X^T G for a plain matrix.\"\"\"
        x, w, g = ...
        assert_close(student(probes.backward, x, w, g), ref(probes.backward, x, w, g))

The fixtures `student`, `ref` and `rng` come from `autograder.grading.plugin`. `student` returns plain data
that a hostile process may have made up. Pass this data to the functions of this module: they look at types before they
look at values, and their messages are short enough for a table cell. A message of `assert_close` shows where a number
differs, but not the expected number.
"""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from autograder.errors import GraderError, SuiteError
from autograder.language import Text, as_text, tell
from autograder.sandbox.inside import protocol
from autograder.timing import RaceResult

__all__ = ["agreed", "assert_close", "assert_equal", "assert_fast", "assert_raised", "case", "part"]

Data = TypeVar("Data")

# Relative and absolute tolerance by dtype: enough for a few hundred terms summed in another order.
TOLERANCE = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2}
TOLERANCE["bfloat16"] = 4e-2  # 8 bits of mantissa

RESULT = tell("the result")


def case(
    *,
    task: int,
    points: int,
    name: str | None = None,
    title: str = "",
    extra: bool = False,
    needs_build: bool = False,
) -> pytest.MarkDecorator:
    """Mark a test as a scored case.

    Args:
        task: number of the task, shown as `Task0`.
        points: points of the case; each parameter set of a parametrized test is a case with these points.
        name: shown instead of the default `Task0 - Case1`, which counts the cases of the task in file order.
        title: what students read beside the name; empty: they read the name alone.
        extra: the points are extra credit: they are added to what was earned, and not to what the assignment is worth.
        needs_build: the case needs the files that the suite's `build` probe makes. If the build fails, the case
            does not run, and its message is the build's.

    The first line of the test's docstring tells staff what is tested. A `@pytest.mark.timeout(10)` on the
    same test sets the time limit of the student's code in seconds, for all probes of the case together.
    """
    return pytest.mark.case(
        task=task, points=points, name=name, title=title, extra=extra, needs_build=needs_build
    )


class TooSlowError(Exception):
    """A check has used its time. If the reference's values need less, the student's values are the cause."""


class Parts:
    """The parts of one run of a case.

    Attributes:
        points: what the case is worth.
        earned: the points of the parts that held.
        failures: what the other parts raised, in their order.
    """

    def __init__(self, points: int) -> None:
        self.points, self.earned, self.failures = points, 0, list[BaseException]()
        self._worth, self._inside = 0, False

    @contextlib.contextmanager
    def part(self, points: int) -> Iterator[None]:
        """See `part`."""
        if type(points) is not int or points < 1:
            raise SuiteError(f"part needs points of at least 1, got {points!r}; fix the suite")
        self._worth += points
        if self._inside or self._worth > self.points:
            why = "stand in each other" if self._inside else f"are worth more than its {self.points} points"
            raise SuiteError(f"the parts of a case {why}; fix the suite")
        self._inside = True
        try:
            yield
        except (GraderError, OSError, TooSlowError):
            raise
        except pytest.fail.Exception as failure:
            self.failures.append(failure)
        except Exception as failure:  # noqa: BLE001 (what it means is decided when the check has ended)
            self.failures.append(failure)
        else:
            self.earned += points
        finally:
            self._inside = False


_parts: list[Parts] = []  # of the check that is running, and of the one that it interrupts


@contextlib.contextmanager
def collecting(points: int) -> Iterator[Parts]:
    """Collect the parts of a check that runs in the body; the first failure is raised when the body has ended.

    The plugin calls this. `points` is what the case is worth.
    """
    parts = Parts(points)
    _parts.append(parts)
    try:
        yield parts
        if parts.failures:
            raise parts.failures[0]
    finally:
        _parts.pop()


@contextlib.contextmanager
def part(points: int) -> Iterator[None]:
    """Give points for a part of a case: `with part(5): assert_close(...)`.

    A part that fails does not end the check: the parts after it still earn their points. The case passes if all parts
    hold, and everything outside of them; then it gets all its points. Otherwise it gets the points of the parts that
    held, at most one point less than all, and its verdict and message are those of the first part that failed.

    Args:
        points: a whole number. The parts of a case together are worth at most its points.
    """
    if not _parts:
        raise SuiteError("part is used outside of a case; fix the suite")
    with _parts[-1].part(points):
        yield


def assert_close(
    actual: object,
    expected: object,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    check_dtype: bool = True,
    what: str = RESULT,
) -> None:
    """Fail unless `actual` equals `expected` up to rounding: in structure, device, shape, values and dtype.

    A difference of at most atol + rtol * |expected| passes. NaN equals nothing, not even NaN; infinities
    equal themselves. Integers and booleans are compared exactly. A Python number, a NumPy scalar and an
    array of shape () count as the same kind, "a number"; their dtypes are compared if both have one.
    Values come before dtypes, so a message about a dtype says that everything else is right. A complex number
    never equals a real one, and a boolean never equals a number.

    Args:
        actual: what `student` returned.
        expected: what `ref` returned, or a value computed by the check; may nest lists, tuples and dicts.
        rtol, atol: tolerances; None: those of the expected dtype in `TOLERANCE`.
        check_dtype: whether the dtype counts. Let one case of a suite check dtypes, and the others only values: then
            one mistake costs one case.
        what: the name of `actual` in the message.

    Raises:
        AssertionError: with one line for the student.
    """
    what = as_text(what)
    tolerances: Any = {"rtol": rtol, "atol": atol, "check_dtype": check_dtype}
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            raise AssertionError(_mismatch(what, actual, _with_article("dict")))
        _ensure(
            set(actual) == set(expected),
            tell(
                "{what} has the keys {keys}, expected {expected}",
                what=what,
                keys=sorted(map(str, actual))[:9],
                expected=sorted(map(str, expected))[:9],
            ),
        )
        for key, value in expected.items():
            assert_close(actual[key], value, **tolerances, what=str(key))
    elif isinstance(expected, (list, tuple)):
        if not isinstance(actual, (list, tuple)):
            raise AssertionError(_mismatch(what, actual, tell("{n} values", n=len(expected))))
        _ensure(
            len(actual) == len(expected),
            tell("{what} has {n} values, expected {m}", what=what, n=len(actual), m=len(expected)),
        )
        for index, (a, e) in enumerate(zip(actual, expected, strict=True)):
            assert_close(a, e, **tolerances, what=tell("{what}[{index}]", what=what, index=index))
    elif _is_number(expected):
        _require(_is_number(actual), what, actual, tell("a number"))
        dtype = check_dtype and _has_dtype(actual) and _has_dtype(expected)
        _compare(np.asarray(actual), np.asarray(expected), rtol, atol, what, dtype=dtype)
    elif isinstance(expected, np.ndarray):
        _require(type(actual) is np.ndarray, what, actual, _describe(expected))
        _compare(actual, expected, rtol, atol, what, dtype=check_dtype)
    elif _is_tensor(expected):
        _require(_is_tensor(actual), what, actual, _describe(expected))
        _ensure(
            protocol.device_of(actual) == protocol.device_of(expected),
            tell(
                "{what} is on {device}, expected on {other}",
                what=what,
                device=protocol.device_of(actual),
                other=protocol.device_of(expected),
            ),
        )
        _compare(actual, expected, rtol, atol, what, dtype=check_dtype)
    else:
        assert_equal(actual, expected, what=what)


def assert_equal(actual: object, expected: object, *, what: str = RESULT) -> None:
    """Fail unless `actual` has exactly the type and the value of `expected`, a plain non-array value.

    The message shows the expected value. Use this function for None, booleans, strings, bytes and dtypes. Use
    `assert_close` for numbers and arrays.
    """
    _require(type(actual) is type(expected), what, actual, _describe(expected))
    _ensure(actual == expected, _is_not(what, Text(_short(actual)), Text(_short(expected))))


def assert_raised(
    actual: object, kind: str, *, naming: Iterable[object] = (), sparing: Iterable[object] = (), what: str
) -> None:
    """Fail unless `actual` describes an exception of the right type whose message names what it is about.

    Only names, numbers and other things of the input are looked for, never words of a language: a message may be in
    any. A number is found where it stands alone, so 1 is not in 13.

    Args:
        actual: what a probe returned: {"raised": names of the exception's classes, "message": its text}. The list
            is empty if nothing was raised.
        kind: the name of the class, which may be a base class of the exception's.
        naming: what the message must contain: a file's name, a number that was found, one that was expected.
        sparing: what it must not contain, so that one text for everything is not enough.
        what: the input, as the object of "for": "3 rows for 4 labels".

    Raises:
        AssertionError: with one line for the student.
    """
    what = as_text(what)
    raised = actual.get("raised") if isinstance(actual, dict) else None
    message = actual.get("message") if isinstance(actual, dict) else None
    if not isinstance(raised, (list, tuple)) or not isinstance(message, str):
        raise AssertionError(
            _mismatch(tell("what is raised for {what}", what=what), actual, _with_article(kind))
        )
    _ensure(len(raised) > 0, tell("no {kind} is raised for {what}", kind=kind, what=what))
    found = _short(raised[0], quote=False)
    other = tell(
        "{found} is raised for {what}, expected {kind}",
        found=_with_article(found),
        what=what,
        kind=_with_article(kind),
    )
    _ensure(kind in raised, other)
    for thing in naming:
        unnamed = tell(
            "the message of the {found} for {what} does not name {thing}", found=found, what=what, thing=thing
        )
        _ensure(_names(message, thing), unnamed)
    for thing in sparing:
        named = tell(
            "the message of the {found} for {what} names {thing}, which is right",
            found=found,
            what=what,
            thing=thing,
        )
        _ensure(not _names(message, thing), named)


def assert_fast(result: RaceResult, *, factor: float) -> None:
    """Fail if the student's code takes more than `factor` times the time of the baseline, for any size of the race.

    Args:
        result: what the fixture `race` returned.
        factor: at most the race's `give_up`. Choose it in the middle between right and wrong solutions: code at the
            factor passes in one run and fails in another.

    Raises:
        AssertionError: with one line for the student.
        BusyError: the times do not decide; the case runs again.
    """
    slow = result.slow(factor)
    if slow is not None:
        raise AssertionError(result.explain(slow, factor))


def _names(message: str, thing: object) -> bool:
    if isinstance(thing, int):
        return re.search(rf"(?<![\d.]){thing}(?![\d]|\.\d)", message) is not None
    return str(thing) in message


def agreed(
    reference: Data,
    formula: object,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    what: str = RESULT,
) -> Data:
    """Return `reference` if `formula`, the value that the check computed itself, agrees with it.

    So two independent computations decide what is expected.

    Raises:
        ValueError: they differ. That is our fault, so the error is not an AssertionError and costs no points.
    """
    try:
        assert_close(reference, formula, rtol=rtol, atol=atol, what=what)
    except AssertionError as error:
        raise ValueError(f"the reference and the check's own formula disagree: {error}") from error
    return reference


def _ensure(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _mismatch(what: str, actual: object, expected: Text) -> Text:
    return _is_not(what, _describe(actual), expected)


def _is_not(what: str, actual: Text, expected: Text) -> Text:
    return tell(
        "{what} is {actual}, expected {expected}", what=as_text(what), actual=actual, expected=expected
    )


def _require(condition: bool, what: str, actual: object, expected: Text) -> None:
    _ensure(condition, _mismatch(what, actual, expected))


def _is_tensor(value: object) -> bool:
    return type(value).__module__ == "torch" and type(value).__name__ == "Tensor"


def _is_number(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "iufc"
    return type(value) in (int, float, complex) or isinstance(value, np.number)


def _has_dtype(value: object) -> bool:
    return isinstance(value, (np.generic, np.ndarray))


def _describe(value: object) -> Text:
    """Return the kind of a value in words: `a float32 array of shape (4, 10)`, `a list`, `None`."""
    if value is None:
        return Text("None")
    if isinstance(value, protocol.Opaque):
        return tell("a {kind} object", kind=_short(value.type_name, quote=False))
    if isinstance(value, np.ndarray):
        return tell("a {dtype} array of shape {shape}", dtype=value.dtype, shape=value.shape)
    if _is_tensor(value):
        shape = tuple(value.shape)  # type: ignore[attr-defined]
        return tell("a {dtype} tensor of shape {shape}", dtype=_dtype_name(value), shape=shape)
    if isinstance(value, np.generic):
        return tell("a {dtype} number", dtype=value.dtype)
    return _with_article(type(value).__name__)


def _with_article(noun: str) -> Text:
    return tell("an {noun}", noun=noun) if noun[:1] in tuple("AEIOUaeiou") else tell("a {noun}", noun=noun)


def _short(value: object, *, quote: bool = True) -> str:
    text = repr(value) if quote else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dtype_name(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def _plain(value: Any) -> npt.NDArray[Any]:
    """Return a NumPy array for comparison: floats as float64, complex numbers as complex128, other values unchanged."""
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
        tell(
            "{what} has shape {shape}, expected {expected}",
            what=as_text(what),
            shape=tuple(actual.shape),
            expected=tuple(expected.shape),
        ),
    )
    name = _dtype_name(expected)
    a, e = _plain(actual), _plain(expected)
    other = tell(
        "{what} has dtype {dtype}, expected {expected}",
        what=as_text(what),
        dtype=_dtype_name(actual),
        expected=name,
    )
    _ensure(_domain(a) == _domain(e), other)
    _compare_values(a, e, rtol, atol, what, tolerance=TOLERANCE.get(name, 1e-9))
    _ensure(not dtype or _dtype_name(actual) == name, other)


def _domain(array: npt.NDArray[Any]) -> str:
    """Return what the elements are: booleans, complex numbers, real numbers, or something else."""
    return {"b": "boolean", "c": "complex"}.get(
        array.dtype.kind, "real" if array.dtype.kind in "iuf" else "other"
    )


def _compare_values(
    a: npt.NDArray[Any],
    e: npt.NDArray[Any],
    rtol: float | None,
    atol: float | None,
    what: str,
    *,
    tolerance: float,
) -> None:
    if a.size == 0:
        return
    if a.dtype.kind in "iub" and e.dtype.kind in "iub":
        differs, difference = a != e, None
    else:
        rtol, atol = tolerance if rtol is None else rtol, tolerance if atol is None else atol
        with np.errstate(all="ignore"):
            difference = np.abs(a - e)
            allowed = atol + rtol * np.abs(e)
            # A NaN on either side must count as different. Equal infinities must count as equal, although their
            # difference is NaN.
            differs = ~((difference <= allowed) & np.isfinite(e) | (a == e))
    count = int(np.count_nonzero(differs))
    if count == 0:
        return
    differing = tell("{what} differs", what=as_text(what))
    if a.shape:
        differing = tell(
            "{what} differs in {count} of {size} elements", what=as_text(what), count=count, size=a.size
        )
    nan = int(np.count_nonzero(np.isnan(a))) if a.dtype.kind in "fc" else 0
    if nan:
        where = np.argwhere(np.isnan(np.atleast_1d(a)))[0]
        raise AssertionError(
            tell(
                "{differs}: {nan} NaN, the first at {place}",
                differs=differing,
                nan=nan,
                place=_index(where, a),
            )
        )
    if difference is None:
        first = _index(np.argwhere(np.atleast_1d(differs))[0], a)
        raise AssertionError(tell("{differs}, first at {place}", differs=differing, place=first))
    finite = np.where(np.isnan(difference), math.inf, difference)
    worst = np.unravel_index(int(np.argmax(np.where(differs, finite, -1))), np.atleast_1d(a).shape)
    largest = float(np.atleast_1d(finite)[worst])
    raise AssertionError(
        tell(
            "{differs}; largest difference {difference} at {place}",
            differs=differing,
            difference=f"{largest:.3g}",
            place=_index(worst, a),
        )
    )


def _index(position: Any, array: npt.NDArray[Any]) -> Text:
    if not array.shape:
        return tell("its only element")
    return Text("[" + ", ".join(str(int(i)) for i in position) + "]")
