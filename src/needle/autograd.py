"""Task2: Tensor, topological sort, and reverse-mode automatic differentiation.

`Tensor` is given. Write the three functions below it: `find_topo_sort` with its depth-first search
`topo_sort_dfs`, and `compute_gradient_of_variables`, which `Tensor.backward` calls.

Reverse mode for a loss L: visit the values from the output back to the leaves, so that a value comes after
everything that was computed from it. Its gradient is then complete: the sum, over all of its uses, of what
the op of that use returned for it. A value used twice by one op, as in x * x, has two uses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import ops
from .graph import Op, Value

__all__ = ["Device", "Op", "Tensor", "Value", "compute_gradient_of_variables", "cpu", "find_topo_sort"]


@dataclass(frozen=True)
class Device:
    """Where an array lives. There is one, the CPU."""

    name: str

    def __repr__(self) -> str:
        return f"{self.name}()"


def cpu() -> Device:
    """Return the CPU device."""
    return Device("cpu")


class Tensor(Value):
    """A NumPy array that remembers how it was computed.

    The operators + - * / ** @ and unary - build the graph. The other operand, on either side, may be a
    Tensor, a number (Python's or NumPy's; a float32 Tensor stays float32), or an array, which is a constant.
    """

    __slots__ = ()
    __array_ufunc__ = None  # array * Tensor: NumPy leaves it to Tensor.__rmul__

    inputs: "tuple[Tensor, ...]"
    grad: "Tensor | None"

    def __init__(
        self, array: Any, *, device: Device | None = None, dtype: Any = None, requires_grad: bool = True
    ) -> None:
        """Make a leaf of a copy of `array`.

        Args:
            array: a Tensor, an array, a number, or nested sequences of numbers. Integers stay integers.
            device: `cpu()`, the default.
            dtype: of the copy; that of `array` when None.
            requires_grad: whether `backward` computes a gradient for this leaf.

        Raises:
            TypeError: `array` does not consist of real numbers, or `device` is not a Device.
        """
        if device is not None and not isinstance(device, Device):
            raise TypeError(f"device must be cpu(), got {device!r}")
        data = np.array(array.cached_data if isinstance(array, Value) else array, dtype=dtype)
        if data.dtype.kind not in "biuf":
            raise TypeError(f"a Tensor holds real numbers, got {type(array).__name__} of dtype {data.dtype}")
        self.cached_data = data
        self.op = None
        self.inputs = ()
        self.requires_grad = requires_grad
        self.grad = None

    def numpy(self) -> np.ndarray:
        """Return the array itself, not a copy."""
        return self.cached_data

    def detach(self) -> "Tensor":
        """Return a constant that shares this Tensor's memory and is not connected to its graph."""
        return self.constant(self.cached_data)

    @property
    def data(self) -> "Tensor":
        """The same as `detach()`. Assign a Tensor of the same shape and dtype to replace the array, for
        example in a step of SGD: `w.data = w.data - lr * w.grad.data`."""
        return self.detach()

    @data.setter
    def data(self, value: "Tensor") -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"data must be a Tensor, got {type(value).__name__}")
        if value.shape != self.shape or value.dtype != self.dtype:
            raise ValueError(
                f"data must keep shape {self.shape} and dtype {self.dtype}, "
                f"got {value.shape} and {value.dtype}"
            )
        self.cached_data = value.cached_data

    @property
    def device(self) -> Device:
        return cpu()

    def backward(self, out_grad: "Tensor | None" = None) -> None:
        """Compute the gradients of this Tensor, and set `grad` of every leaf that it was computed from and
        that requires one. What was in `grad` is replaced, not added to.

        Args:
            out_grad: gradient of the loss with respect to this Tensor, of its shape; ones by default, so
                that the loss is the sum of the elements.

        Raises:
            ValueError: `out_grad` has another shape.
            RuntimeError: this Tensor requires no gradient: it does not depend on any leaf that does.
        """
        if out_grad is None:
            out_grad = self.constant(np.ones(self.shape, self.dtype))
        if not isinstance(out_grad, Tensor):
            raise TypeError(f"out_grad must be a Tensor, got {type(out_grad).__name__}")
        if out_grad.shape != self.shape:
            raise ValueError(f"out_grad must have the Tensor's shape {self.shape}, got {out_grad.shape}")
        if not self.requires_grad:
            raise RuntimeError(
                "backward of a Tensor that does not depend on any leaf with requires_grad=True"
            )
        compute_gradient_of_variables(self, out_grad)

    def sum(self, axes: int | Sequence[int] | None = None) -> "Tensor":
        return ops.summation(self, axes)

    def reshape(self, shape: int | Sequence[int]) -> "Tensor":
        return ops.reshape(self, shape)

    def broadcast_to(self, shape: int | Sequence[int]) -> "Tensor":
        return ops.broadcast_to(self, shape)

    def transpose(self, axes: tuple[int, int] | None = None) -> "Tensor":
        return ops.transpose(self, axes)

    def matmul(self, other: "Tensor") -> "Tensor":
        return ops.matmul(self, other)

    def __add__(self, other: Any) -> "Tensor":
        return self._with(other, ops.add, ops.add_scalar)

    def __sub__(self, other: Any) -> "Tensor":
        return self._with(other, lambda a, b: ops.add(a, ops.negate(b)), lambda a, s: ops.add_scalar(a, -s))

    def __mul__(self, other: Any) -> "Tensor":
        return self._with(other, ops.multiply, ops.mul_scalar)

    def __truediv__(self, other: Any) -> "Tensor":
        return self._with(other, ops.divide, ops.divide_scalar)

    def __pow__(self, other: Any) -> "Tensor":
        return self._with(other, ops.power, ops.power_scalar)

    def __matmul__(self, other: Any) -> "Tensor":
        return self._with(other, ops.matmul, None)

    def __neg__(self) -> "Tensor":
        return ops.negate(self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> "Tensor":
        return ops.negate(self) + other

    def __rtruediv__(self, other: Any) -> "Tensor":
        return self._with(
            other,
            lambda a, b: ops.divide(b, a),
            lambda a, s: ops.mul_scalar(ops.power_scalar(a, -1), s),
        )

    def __rpow__(self, other: Any) -> "Tensor":
        def number_to_power(a: Tensor, s: float) -> Tensor:
            base = np.asarray(s, dtype=a.dtype if a.dtype.kind == "f" else None)
            return ops.power(a.constant(base), a)

        return self._with(other, lambda a, b: ops.power(b, a), number_to_power)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return self._with(other, lambda a, b: ops.matmul(b, a), None)

    def _with(self, other: Any, with_tensor: Callable, with_number: Callable | None) -> Any:
        """Apply the op that suits the type of `other`; NotImplemented makes Python raise its TypeError."""
        if isinstance(other, Tensor):
            return with_tensor(self, other)
        if isinstance(other, np.ndarray) and other.ndim > 0:
            return with_tensor(self, Tensor(other, requires_grad=False))
        if isinstance(other, np.generic | np.ndarray):
            other = other.item()
        if isinstance(other, int | float) and with_number is not None:
            return with_number(self, other)
        return NotImplemented

    def __repr__(self) -> str:
        values = np.array2string(self.cached_data, separator=", ", prefix="Tensor(")
        made_by = f", op={type(self.op).__name__}" if self.op is not None else ""
        constant = "" if self.requires_grad else ", requires_grad=False"
        return f"Tensor({values}, dtype={self.dtype}{made_by}{constant})"

    def __str__(self) -> str:
        return str(self.cached_data)


def find_topo_sort(node_list: Sequence[Value]) -> list[Value]:
    """Return the given values and all values that they were computed from, in topological order.

    The order is the post-order of a depth-first search from each given value in turn: a value comes after
    its inputs, the inputs in the order of `inputs`, and each value comes once. For c = a * b + a it is
    a, b, a * b, c.

    The time is linear in the number of values and inputs, also where there are exponentially many paths
    (60 times x = x + x). Graphs are deep: a loop of 100,000 steps makes 100,000 levels, where a recursive
    function ends in a RecursionError.
    """
    ### BEGIN SOLUTION
    visited: set[Value] = set()
    topo_order: list[Value] = []
    for node in node_list:
        topo_sort_dfs(node, visited, topo_order)
    return topo_order
    ### END SOLUTION


def topo_sort_dfs(node: Value, visited: set[Value], topo_order: list[Value]) -> None:
    """Append to `topo_order`, in post-order, `node` and what it was computed from, except for values in
    `visited`; add the appended ones to `visited`. Use a stack of your own, not recursion."""
    ### BEGIN SOLUTION
    if node in visited:
        return
    visited.add(node)
    path = [(node, iter(node.inputs))]
    while path:
        current, inputs_left = path[-1]
        for x in inputs_left:
            if x not in visited:
                visited.add(x)
                path.append((x, iter(x.inputs)))
                break
        else:
            topo_order.append(current)
            path.pop()
    ### END SOLUTION


def compute_gradient_of_variables(output_tensor: Tensor, out_grad: Tensor) -> None:
    """Set `grad` of every leaf that requires a gradient and that `output_tensor` was computed from.

    Args:
        output_tensor: the Tensor to differentiate; requires a gradient, may be a leaf.
        out_grad: gradient of the loss with respect to it, of the same shape.

    `op.gradient_as_tuple(grad, node)` gives what one use contributes to each of `node.inputs`. Sum over all
    uses with Tensor addition, so that gradients can be differentiated again. An op returns None for an
    input that requires no gradient; leave values that require none out. Only leaves keep a `grad`, which
    replaces the one from before. Takes one visit per value.
    """
    ### BEGIN SOLUTION
    grads: dict[Value, Tensor] = {output_tensor: out_grad}
    for node in reversed(find_topo_sort([output_tensor])):
        grad = grads.pop(node, None)
        if grad is None:  # node requires none
            continue
        if node.is_leaf():
            node.grad = grad
        else:
            for x, contribution in zip(node.inputs, node.op.gradient_as_tuple(grad, node), strict=True):
                if x.requires_grad and contribution is not None:
                    grads[x] = grads[x] + contribution if x in grads else contribution
    ### END SOLUTION
