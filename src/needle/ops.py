"""Task2: the operations, each with its gradient.

Write `compute` with NumPy and `gradient` with the ops of this file (or the operators of Tensor, which call
them). For a loss L and Y = op(A, B), `gradient` gets out_grad = dL/dY and returns dL/dA and dL/dB, each of
exactly the shape of A and B. The first four ops are given as examples.

NumPy broadcasts: (3, 1) + (4,) is (3, 4). Each element of a broadcast input is used several times, so its
gradient is the sum over all of its uses. Write `sum_to_shape` first; most gradients need it.

Number types follow NumPy: a float32 array and a Python number give float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .graph import Op

if TYPE_CHECKING:  # in annotations only: autograd.py imports this file
    from .autograd import Tensor


def sum_to_shape(grad: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo a broadcast: sum `grad` over the dimensions that broadcasting from `shape` added or stretched.

    Args:
        grad: a Tensor of a shape that `shape` can be broadcast to.
        shape: the shape before the broadcast. Broadcasting aligns shapes at the right, adds the dimensions
            missing at the left, and stretches dimensions of size 1: (1, 4) to (2, 3, 4) adds the 2 and
            stretches the 1 to 3.

    Returns:
        a Tensor of exactly `shape`, made by ops; `grad` itself when it already has that shape.
    """
    ### BEGIN SOLUTION
    if grad.shape == shape:
        return grad
    added = grad.ndim - len(shape)
    stretched = [added + i for i, size in enumerate(shape) if size == 1 and grad.shape[added + i] != 1]
    return reshape(summation(grad, (*range(added), *stretched)), shape)
    ### END SOLUTION


# --- Given: four examples ---------------------------------------------------------------------------------


class EWiseAdd(Op):
    """a + b, elementwise, broadcasting as NumPy does."""

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor, Tensor]:
        a, b = node.inputs
        return sum_to_shape(out_grad, a.shape), sum_to_shape(out_grad, b.shape)


class AddScalar(Op):
    """a + scalar."""

    def __init__(self, scalar: float) -> None:
        self.scalar = _python_number("AddScalar", scalar)

    def compute(self, a: np.ndarray) -> np.ndarray:
        return a + self.scalar

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad


class EWiseMul(Op):
    """a * b, elementwise, broadcasting as NumPy does."""

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor, Tensor]:
        a, b = node.inputs
        return sum_to_shape(out_grad * b, a.shape), sum_to_shape(out_grad * a, b.shape)


class MulScalar(Op):
    """a * scalar."""

    def __init__(self, scalar: float) -> None:
        self.scalar = _python_number("MulScalar", scalar)

    def compute(self, a: np.ndarray) -> np.ndarray:
        return a * self.scalar

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        return out_grad * self.scalar


# --- Elementwise ------------------------------------------------------------------------------------------


class EWisePow(Op):
    """a ** b, elementwise, broadcasting as NumPy does."""

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a ** b. NumPy refuses integers to negative integer powers: then the result is float64."""
        ### BEGIN SOLUTION
        if a.dtype.kind in "iu" and b.dtype.kind == "i" and (b < 0).any():
            return a ** b.astype(float)
        return a**b
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of base and exponent: d(a**b)/da = b a**(b-1), d(a**b)/db = a**b log(a).

        Both hold for a > 0. The gradient of the base holds for a < 0 as well, where a**b is defined, and is 0
        for b = 0 also where a = 0 (0**0 is 1). The gradient of the exponent is 0 where a = 0 and b >= 0, and
        NaN where a < 0, without a warning. Each is computed only if its input requires a gradient, else None.
        """
        ### BEGIN SOLUTION
        a, b = node.inputs
        base, exponent = a.cached_data, b.cached_data
        grad_a = grad_b = None
        if a.requires_grad:
            undefined = (base == 0) & (exponent == 0)  # would be 0 * 0**-1; with base 1 it is 0 * 1**-1
            safe = a + undefined
            grad_a = sum_to_shape(out_grad * (b * power(safe, b - 1)), a.shape)
        if b.requires_grad:
            vanishing = (base == 0) & (exponent >= 0)  # 0 * log(0); with base 1 it is 0 * log(1)
            offset = np.where(base < 0, np.nan, vanishing).astype(np.result_type(node.dtype, 1.0))
            safe = a + offset
            grad_b = sum_to_shape(out_grad * (node * log(safe)), b.shape)
        return grad_a, grad_b
        ### END SOLUTION


class PowerScalar(Op):
    """a ** scalar."""

    def __init__(self, scalar: float) -> None:
        self.scalar = _python_number("PowerScalar", scalar)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a ** scalar, in float64 for an integer array and a negative integer scalar."""
        ### BEGIN SOLUTION
        return a ** (float(self.scalar) if self.scalar < 0 else self.scalar)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a: d(a**s)/da = s a**(s-1); 0 for s = 0, also where a = 0."""
        ### BEGIN SOLUTION
        (a,) = node.inputs
        if self.scalar == 0:
            return out_grad * 0
        return out_grad * (power_scalar(a, self.scalar - 1) * self.scalar)
        ### END SOLUTION


class EWiseDiv(Op):
    """a / b, elementwise, broadcasting as NumPy does."""

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a / b, the true quotient also for integers."""
        ### BEGIN SOLUTION
        return a / b
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of numerator and denominator, also where a and b were broadcast."""
        ### BEGIN SOLUTION
        a, b = node.inputs
        grad_a = out_grad / b
        return sum_to_shape(grad_a, a.shape), sum_to_shape(-(grad_a * node), b.shape)
        ### END SOLUTION


class DivScalar(Op):
    """a / scalar."""

    def __init__(self, scalar: float) -> None:
        self.scalar = _python_number("DivScalar", scalar)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a / scalar, the true quotient also for integers."""
        ### BEGIN SOLUTION
        return a / self.scalar
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        ### BEGIN SOLUTION
        return out_grad / self.scalar
        ### END SOLUTION


class Negate(Op):
    """-a."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return -a, as a new array."""
        ### BEGIN SOLUTION
        return np.negative(a)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        ### BEGIN SOLUTION
        return negate(out_grad)
        ### END SOLUTION


class Log(Op):
    """The natural logarithm."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return log(a), elementwise."""
        ### BEGIN SOLUTION
        return np.log(a)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        ### BEGIN SOLUTION
        (a,) = node.inputs
        return out_grad / a
        ### END SOLUTION


class Exp(Op):
    """e ** a."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return exp(a), elementwise."""
        ### BEGIN SOLUTION
        return np.exp(a)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a. `node` is exp(a) already."""
        ### BEGIN SOLUTION
        return out_grad * node
        ### END SOLUTION


class ReLU(Op):
    """max(a, 0), elementwise."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return max(a, 0), with the dtype of a."""
        ### BEGIN SOLUTION
        return np.maximum(a, 0)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return out_grad where a > 0, and 0 elsewhere (at a = 0 too), keeping the dtype of out_grad.

        Which elements are positive is a constant: `node.constant(array)` makes one.
        """
        ### BEGIN SOLUTION
        return out_grad * node.constant(node.cached_data > 0)
        ### END SOLUTION


# --- Shapes -----------------------------------------------------------------------------------------------


class Transpose(Op):
    """Swap two axes: axes = (i, j), negative ones count from the end; by default the last two."""

    def __init__(self, axes: tuple[int, int] | None = None) -> None:
        if axes is not None and len(axes) != 2:
            raise ValueError(f"Transpose swaps two axes, got axes={axes}")
        self.axes = axes

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a with the two axes swapped. ValueError if a lacks them."""
        ### BEGIN SOLUTION
        first, second = self.axes or (-2, -1)
        return np.swapaxes(a, first, second)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        ### BEGIN SOLUTION
        return transpose(out_grad, self.axes)
        ### END SOLUTION


class Reshape(Op):
    """The same elements, in row-major order, in another shape; one size may be -1, for "what is left"."""

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = _int_tuple(shape)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a in the new shape. ValueError if the number of elements differs."""
        ### BEGIN SOLUTION
        return np.reshape(a, self.shape)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        ### BEGIN SOLUTION
        (a,) = node.inputs
        return reshape(out_grad, a.shape)
        ### END SOLUTION


class BroadcastTo(Op):
    """Repeat along new leading dimensions and along dimensions of size 1, as NumPy broadcasts."""

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = _int_tuple(shape)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a broadcast to the new shape. ValueError if NumPy cannot."""
        ### BEGIN SOLUTION
        return np.broadcast_to(a, self.shape)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a: every element of a was used several times."""
        ### BEGIN SOLUTION
        (a,) = node.inputs
        return sum_to_shape(out_grad, a.shape)
        ### END SOLUTION


class Summation(Op):
    """Sum over axes, which are removed: None for all, else an int or a tuple; negative ones count from the
    end."""

    def __init__(self, axes: int | Sequence[int] | None = None) -> None:
        self.axes = None if axes is None else _int_tuple(axes)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return the sum, of shape () when axes is None. ValueError for an axis that a lacks."""
        ### BEGIN SOLUTION
        return np.sum(a, axis=self.axes)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a: put the summed axes back with size 1, then broadcast along them."""
        ### BEGIN SOLUTION
        (a,) = node.inputs
        axes = range(a.ndim) if self.axes is None else self.axes
        summed = {axis % a.ndim for axis in axes}
        kept = tuple(1 if i in summed else size for i, size in enumerate(a.shape))
        return broadcast_to(reshape(out_grad, kept), a.shape)
        ### END SOLUTION


class MatMul(Op):
    """a @ b of matrices (..., n, k) and (..., k, m), or stacks of them whose leading dimensions broadcast."""

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a @ b, of shape (..., n, m).

        Raises:
            ValueError: a or b has fewer than two dimensions, or the sizes do not fit. (NumPy gives 1-D
                operands a meaning of their own, which would need gradients of their own.)
        """
        ### BEGIN SOLUTION
        if a.ndim < 2 or b.ndim < 2:
            raise ValueError(
                "both operands must have at least 2 dimensions; reshape a vector to (1, k) or (k, 1)"
            )
        return np.matmul(a, b)
        ### END SOLUTION

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of a and b, each of its shape, also when leading dimensions were broadcast:
        (5, 1, n, k) @ (6, k, m) is (5, 6, n, m).

        Return None for an operand that does not require a gradient: training data is one, and its product
        would be as expensive as the forward pass.
        """
        ### BEGIN SOLUTION
        a, b = node.inputs
        grad_a = sum_to_shape(matmul(out_grad, transpose(b)), a.shape) if a.requires_grad else None
        grad_b = sum_to_shape(matmul(transpose(a), out_grad), b.shape) if b.requires_grad else None
        return grad_a, grad_b
        ### END SOLUTION


# --- Given: the ops as functions --------------------------------------------------------------------------


def add(a: Tensor, b: Tensor) -> Tensor:
    return EWiseAdd()(a, b)


def add_scalar(a: Tensor, scalar: float) -> Tensor:
    return AddScalar(scalar)(a)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    return EWiseMul()(a, b)


def mul_scalar(a: Tensor, scalar: float) -> Tensor:
    return MulScalar(scalar)(a)


def power(a: Tensor, b: Tensor) -> Tensor:
    return EWisePow()(a, b)


def power_scalar(a: Tensor, scalar: float) -> Tensor:
    return PowerScalar(scalar)(a)


def divide(a: Tensor, b: Tensor) -> Tensor:
    return EWiseDiv()(a, b)


def divide_scalar(a: Tensor, scalar: float) -> Tensor:
    return DivScalar(scalar)(a)


def negate(a: Tensor) -> Tensor:
    return Negate()(a)


def log(a: Tensor) -> Tensor:
    return Log()(a)


def exp(a: Tensor) -> Tensor:
    return Exp()(a)


def relu(a: Tensor) -> Tensor:
    return ReLU()(a)


def transpose(a: Tensor, axes: tuple[int, int] | None = None) -> Tensor:
    return Transpose(axes)(a)


def reshape(a: Tensor, shape: int | Sequence[int]) -> Tensor:
    return Reshape(shape)(a)


def broadcast_to(a: Tensor, shape: int | Sequence[int]) -> Tensor:
    return BroadcastTo(shape)(a)


def summation(a: Tensor, axes: int | Sequence[int] | None = None) -> Tensor:
    return Summation(axes)(a)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    return MatMul()(a, b)


def _python_number(op: str, scalar: float) -> float:
    """Return a NumPy number, or an array of one element, as a Python number: NumPy lets np.float64(2)
    promote a float32 array to float64, and 2.0 not."""
    if isinstance(scalar, np.generic | np.ndarray) and scalar.size == 1:
        scalar = scalar.item()
    if not isinstance(scalar, int | float):
        raise TypeError(f"{op} needs a number as its scalar, got {type(scalar).__name__}")
    return scalar


def _int_tuple(numbers: int | Sequence[int]) -> tuple[int, ...]:
    return (int(numbers),) if isinstance(numbers, int | np.integer) else tuple(int(n) for n in numbers)
