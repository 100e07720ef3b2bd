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
import torch

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
    return grad if grad.shape == shape else SumTo(shape)(grad)


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
        return _with_torch(lambda a, b: torch.pow(a, b), a, b)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of base and exponent: d(a**b)/da = b a**(b-1), d(a**b)/db = a**b log(a).

        Both hold for a > 0. The gradient of the base holds for a < 0 as well, where a**b is defined, and is 0
        for b = 0 also where a = 0 (0**0 is 1). The gradient of the exponent is 0 where a = 0 and b >= 0, and
        NaN where a < 0, without a warning. Each is computed only if its input requires a gradient, else None.
        """
        return _gradients(self, out_grad, node)


class PowerScalar(Op):
    """a ** scalar."""

    def __init__(self, scalar: float) -> None:
        self.scalar = _python_number("PowerScalar", scalar)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a ** scalar, in float64 for an integer array and a negative integer scalar."""
        return _with_torch(lambda a: torch.pow(a, self.scalar), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a: d(a**s)/da = s a**(s-1); 0 for s = 0, also where a = 0."""
        return _gradients(self, out_grad, node)


class EWiseDiv(Op):
    """a / b, elementwise, broadcasting as NumPy does."""

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a / b, the true quotient also for integers."""
        return _with_torch(lambda a, b: torch.true_divide(a, b), a, b)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of numerator and denominator, also where a and b were broadcast."""
        return _gradients(self, out_grad, node)


class DivScalar(Op):
    """a / scalar."""

    def __init__(self, scalar: float) -> None:
        self.scalar = _python_number("DivScalar", scalar)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a / scalar, the true quotient also for integers."""
        return _with_torch(lambda a: a / self.scalar, a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        return _gradients(self, out_grad, node)


class Negate(Op):
    """-a."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return -a, as a new array."""
        return _with_torch(lambda a: torch.neg(a), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        return _gradients(self, out_grad, node)


class Log(Op):
    """The natural logarithm."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return log(a), elementwise."""
        return _with_torch(lambda a: torch.log(a), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        return _gradients(self, out_grad, node)


class Exp(Op):
    """e ** a."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return exp(a), elementwise."""
        return _with_torch(lambda a: torch.exp(a), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a. `node` is exp(a) already."""
        return _gradients(self, out_grad, node)


class ReLU(Op):
    """max(a, 0), elementwise."""

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return max(a, 0), with the dtype of a."""
        return _with_torch(lambda a: torch.relu(a), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return out_grad where a > 0, and 0 elsewhere (at a = 0 too), keeping the dtype of out_grad.

        Which elements are positive is a constant: `node.constant(array)` makes one.
        """
        return _gradients(self, out_grad, node)


# --- Shapes -----------------------------------------------------------------------------------------------


class Transpose(Op):
    """Swap two axes: axes = (i, j), negative ones count from the end; by default the last two."""

    def __init__(self, axes: tuple[int, int] | None = None) -> None:
        if axes is not None and len(axes) != 2:
            raise ValueError(f"Transpose swaps two axes, got axes={axes}")
        self.axes = axes

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a with the two axes swapped. ValueError if a lacks them."""
        return _with_torch(lambda a: torch.swapaxes(a, *(self.axes or (-2, -1))), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        return _gradients(self, out_grad, node)


class Reshape(Op):
    """The same elements, in row-major order, in another shape; one size may be -1, for "what is left"."""

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = _int_tuple(shape)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a in the new shape. ValueError if the number of elements differs."""
        return _with_torch(lambda a: torch.reshape(a, self.shape), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a."""
        return _gradients(self, out_grad, node)


class BroadcastTo(Op):
    """Repeat along new leading dimensions and along dimensions of size 1, as NumPy broadcasts."""

    def __init__(self, shape: int | Sequence[int]) -> None:
        self.shape = _int_tuple(shape)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return a broadcast to the new shape. ValueError if NumPy cannot."""
        return _with_torch(lambda a: torch.broadcast_to(a, self.shape), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a: every element of a was used several times."""
        return _gradients(self, out_grad, node)


class Summation(Op):
    """Sum over axes, which are removed: None for all, else an int or a tuple; negative ones count from the
    end."""

    def __init__(self, axes: int | Sequence[int] | None = None) -> None:
        self.axes = None if axes is None else _int_tuple(axes)

    def compute(self, a: np.ndarray) -> np.ndarray:
        """Return the sum, of shape () when axes is None. ValueError for an axis that a lacks."""
        return _with_torch(lambda a: torch.sum(a) if self.axes is None else torch.sum(a, dim=self.axes), a)

    def gradient(self, out_grad: Tensor, node: Tensor) -> Tensor:
        """Return the gradient of a: put the summed axes back with size 1, then broadcast along them."""
        return _gradients(self, out_grad, node)


class MatMul(Op):
    """a @ b of matrices (..., n, k) and (..., k, m), or stacks of them whose leading dimensions broadcast."""

    def compute(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a @ b, of shape (..., n, m).

        Raises:
            ValueError: a or b has fewer than two dimensions, or the sizes do not fit. (NumPy gives 1-D
                operands a meaning of their own, which would need gradients of their own.)
        """
        return _with_torch(lambda a, b: torch.matmul(a, b), a, b)

    def gradient(self, out_grad: Tensor, node: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of a and b, each of its shape, also when leading dimensions were broadcast:
        (5, 1, n, k) @ (6, k, m) is (5, 6, n, m).

        Return None for an operand that does not require a gradient: training data is one, and its product
        would be as expensive as the forward pass.
        """
        return _gradients(self, out_grad, node)


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


def _with_torch(function, *arrays):
    return np.array(function(*[torch.from_numpy(np.array(array)) for array in arrays]).detach())


class SumTo(Op):
    def __init__(self, shape):
        self.shape = shape

    def compute(self, a):
        return _with_torch(lambda a: a.sum_to_size(*self.shape), a)

    def gradient(self, out_grad, node):
        return broadcast_to(out_grad, node.inputs[0].shape)


class Vjp(Op):
    """The gradient that torch computes, of one input; itself an op, so it has a gradient, by torch again."""

    def __init__(self, function, number):
        self.function, self.number = function, number

    def compute(self, out_grad, *inputs):
        def gradient(out_grad, *inputs):
            return _vjp(self.function, self.number, out_grad, *inputs)

        return _with_torch(gradient, out_grad, *inputs)

    def gradient(self, out_grad, node):
        function, number = self.function, self.number
        return tuple(
            Vjp(lambda *all_inputs: _vjp(function, number, *all_inputs), at)(out_grad, *node.inputs)
            for at in range(len(node.inputs))
        )


def _vjp(function, number, out_grad, *inputs):
    inputs = [x if x.requires_grad else x.clone().requires_grad_() for x in inputs]
    return torch.autograd.grad(function(*inputs), inputs[number], out_grad, create_graph=True)[0]


FUNCTIONS = {
    "EWisePow": lambda self: lambda a, b: torch.pow(a, b),
    "PowerScalar": lambda self: lambda a: torch.pow(a, self.scalar),
    "EWiseDiv": lambda self: lambda a, b: torch.true_divide(a, b),
    "DivScalar": lambda self: lambda a: a / self.scalar,
    "Negate": lambda self: lambda a: torch.neg(a),
    "Log": lambda self: lambda a: torch.log(a),
    "Exp": lambda self: lambda a: torch.exp(a),
    "ReLU": lambda self: lambda a: torch.relu(a),
    "Transpose": lambda self: lambda a: torch.swapaxes(a, *(self.axes or (-2, -1))),
    "Reshape": lambda self: lambda a: torch.reshape(a, self.shape),
    "BroadcastTo": lambda self: lambda a: torch.broadcast_to(a, self.shape),
    "Summation": lambda self: lambda a: torch.sum(a) if self.axes is None else torch.sum(a, dim=self.axes),
    "MatMul": lambda self: lambda a, b: torch.matmul(a, b),
}


def _gradients(op, out_grad, node):
    function = FUNCTIONS[type(op).__name__](op)
    return tuple(
        Vjp(function, number)(out_grad, *node.inputs) if x.requires_grad else None
        for number, x in enumerate(node.inputs)
    )
