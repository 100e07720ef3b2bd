"""The computational graph: values, and the ops that make a value from other values. Nothing to write here.

    a = Tensor([1.0, 2.0])              a leaf: op None, no inputs
    b = multiply(a, a)                  b.op is an EWiseMul, b.inputs is (a, a)

An op is called on values. Its `compute` sees their NumPy arrays and runs at once; the value that comes
back remembers the op and the inputs. Reverse mode later walks the graph from the output to the leaves and
asks each op for the `gradient` of its inputs. That method works on values, not on arrays, so a gradient is
a graph too, and can be differentiated again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["Op", "Value"]


class Value:
    """A node of the graph. Everything that users see is in its subclass, `Tensor`.

    Attributes:
        cached_data: the NumPy array.
        op, inputs: how it was made; None and () for a leaf.
        requires_grad: whether reverse mode computes a gradient for it. That of a leaf is chosen; a value
            made by an op requires one when any of its inputs does. When none does, op and inputs are not
            recorded.
        grad: set on leaves by `Tensor.backward`; None before.
    """

    __slots__ = ("__weakref__", "cached_data", "grad", "inputs", "op", "requires_grad")

    cached_data: np.ndarray
    op: "Op | None"
    inputs: "tuple[Value, ...]"
    requires_grad: bool
    grad: "Value | None"

    @classmethod
    def constant(cls, array: Any) -> Any:
        """Return a leaf that requires no gradient. Shares the memory of `array`, if that is an array."""
        value = cls.__new__(cls)
        value.cached_data = np.asarray(array)
        value.op = None
        value.inputs = ()
        value.requires_grad = False
        value.grad = None
        return value

    @classmethod
    def make_from_op(cls, op: "Op", inputs: "Sequence[Value]") -> Any:
        """Compute `op` of `inputs`, and record how the result was made if any input requires a gradient.

        Raises:
            ValueError: `op.compute` raised one; the message then names the op and all shapes as well.
            TypeError: `op.compute` returned something else than numbers.
        """
        try:
            value = cls.constant(op.compute(*[x.cached_data for x in inputs]))
        except ValueError as error:
            shapes = " and ".join(str(x.shape) for x in inputs)
            raise ValueError(f"{op} of shape {shapes}: {error}") from error
        if value.cached_data.dtype.kind not in "biuf":
            found = value.cached_data.item(0) if value.cached_data.size else None
            raise TypeError(
                f"{type(op).__name__}.compute must return an array of real numbers, got {type(found).__name__}"
            )
        for x in inputs:
            if x.requires_grad:
                value.op = op
                value.inputs = tuple(inputs)
                value.requires_grad = True
                break
        return value

    def realize_cached_data(self) -> np.ndarray:
        """Return the array itself, not a copy."""
        return self.cached_data

    def is_leaf(self) -> bool:
        """Whether no recorded op made this value."""
        return self.op is None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.cached_data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.cached_data.dtype

    @property
    def ndim(self) -> int:
        return self.cached_data.ndim


class Op:
    """A differentiable operation. A subclass writes `compute` and `gradient`; its attributes are fixed
    parameters, such as axes or a scalar, which have no gradient."""

    def __call__(self, *inputs: Value) -> Any:
        """Apply the op to Tensors.

        Raises:
            TypeError: an input is not a Tensor.
            ValueError: the shapes do not fit.
        """
        for x in inputs:
            if not isinstance(x, Value):
                raise TypeError(
                    f"{type(self).__name__} works on Tensors, got {type(x).__name__}; wrap it: Tensor(...)"
                )
        return inputs[0].make_from_op(self, inputs)

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({parameters})"

    def compute(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the result for NumPy arrays, without changing them. May return a view."""
        raise NotImplementedError(f"{type(self).__name__}.compute")

    def gradient(self, out_grad: Any, node: Any) -> Any:
        """Return the gradient of a scalar loss with respect to each input of `node`.

        Args:
            out_grad: gradient of the loss with respect to `node`, of its shape.
            node: the result of this op; the inputs are `node.inputs`.

        Returns:
            One Tensor for an op of one input, a tuple for several; each of exactly the shape of its input,
            and computed by ops, so that it can be differentiated again, also if it is 0. In place of the
            gradient of an input that does not require one, None will do. Neither out_grad nor the inputs are changed.
        """
        raise NotImplementedError(f"{type(self).__name__}.gradient")

    def gradient_as_tuple(self, out_grad: Any, node: Any) -> tuple:
        """Return `gradient` as a tuple, also for an op of one input.

        Raises:
            ValueError: `gradient` returned too few or too many, or one that has not the shape of its input.
            TypeError: `gradient` returned something else than a Tensor, or None for an input that requires one.
        """
        grads = self.gradient(out_grad, node)
        grads = tuple(grads) if isinstance(grads, (tuple, list)) else (grads,)
        name = type(self).__name__
        if len(grads) != len(node.inputs):
            raise ValueError(
                f"{name}.gradient must return one gradient per input ({len(node.inputs)}), got {len(grads)}"
            )
        for i, (grad, x) in enumerate(zip(grads, node.inputs, strict=True)):
            if grad is None and not x.requires_grad:
                continue
            if not isinstance(grad, Value):
                raise TypeError(
                    f"{name}.gradient must return a Tensor for input {i}, got {type(grad).__name__}"
                )
            if grad.shape != x.shape:
                raise ValueError(
                    f"{name}.gradient of input {i} must have its shape {x.shape}, got {grad.shape}"
                )
        return grads
