"""Looking at what a check gives and gets, in trials where the reference stands in for the student: which inputs are the
same in every draw, and how small an error the check notices. Pure, but for the observer's notes."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

MAX_LEAVES = 200  # of one case: more tell nothing new


class Observer:
    """Called with each probe call of one case; returns the reply that the check gets.

    Attributes:
        inputs: where an input array stands -> a digest of it; arrays full of one number have one digest.
        dtypes: the floating-point dtypes of the reply's arrays, by name.
    """

    def __init__(self, scale: tuple[str, float] | None) -> None:
        """`scale` is a dtype and a relative error for every reply's values of that dtype."""
        self.scale = scale
        self.inputs: dict[str, str] = {}
        self.dtypes: set[str] = set()
        self._calls = 0

    def __call__(self, probe: str, inputs: tuple[object, ...], value: Any) -> Any:
        self._calls += 1
        for place, leaf in leaves(inputs, f"{probe} {self._calls}"):
            if dtype_of(leaf) and len(self.inputs) < MAX_LEAVES and (array := _array(leaf)).size:
                self.inputs[place] = _digest(array)
        self.dtypes |= {name for _, leaf in leaves(value) if (name := dtype_of(leaf))}
        return value if self.scale is None else scaled(value, *self.scale)


def _digest(array: Any) -> str:
    """Return the digest of an array's values; of the one value, whatever the size, if all are equal."""
    values = array.ravel()[:1] if array.size and (array == array.flat[0]).all() else array
    return hashlib.sha256(repr(values.tolist()).encode()).hexdigest()[:12]


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield where each leaf of nested plain data stands, and the leaf."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{place}[{index}]")
    else:
        yield place, value


def dtype_of(value: Any) -> str:
    """Return the name of a floating-point array's dtype, also of a number; empty for everything else."""
    if isinstance(value, (np.ndarray, np.floating)):
        return value.dtype.name if value.dtype.kind == "f" else ""
    if isinstance(value, float):
        return "float64"
    if _is_tensor(value):
        return str(value.dtype).removeprefix("torch.") if value.dtype.is_floating_point else ""
    return ""


def scaled(value: Any, dtype: str, by: float) -> Any:
    """Return nested plain data in which every value of `dtype` is wrong by the relative error `by`."""
    if isinstance(value, dict):
        return {key: scaled(inner, dtype, by) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(scaled(inner, dtype, by) for inner in value)
    if dtype_of(value) != dtype:
        return value
    if _is_tensor(value):
        return (value.detach().double() * (1 + by)).to(value.dtype)
    with np.errstate(all="ignore"):
        made = np.asarray(value, np.float64) * (1 + by)
        return type(value)(made) if isinstance(value, (float, np.floating)) else made.astype(value.dtype)


def _is_tensor(value: Any) -> bool:
    return type(value).__module__ == "torch" and type(value).__name__ == "Tensor"


def _array(value: Any) -> Any:
    if _is_tensor(value):
        return value.detach().double().numpy()
    return np.asarray(value)
