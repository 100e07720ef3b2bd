"""Numeric gradient checks for src/needle: is the gradient that reverse mode finds the derivative?

For inputs x and a random out_grad v, the loss is L(x) = sum(v * f(x)). Its central difference

    (L(x + h e) - L(x - h e)) / 2h

in float64 errs by about h^2 f''' / 6 + 1e-16 |L| / h, which is near 1e-10 for h = 1e-5 and numbers near 1.
A random v, because an out_grad of ones hides transposed and missing factors.
"""

from collections.abc import Callable

import numpy as np

import src.needle as ndl

__all__ = ["check_gradient", "check_second_order", "numeric_gradient"]


def check_gradient(
    f: Callable[..., ndl.Tensor],
    *arrays: np.ndarray,
    rng: np.random.Generator,
    rtol: float = 1e-5,  # 100 times below the smallest mistake worth finding (0.1 %)
    atol: float = 1e-7,  # 1000 times the rounding error of the difference, for gradients near 0
    unreached_is_zero: bool = False,
) -> None:
    """Compare the gradients of f(*Tensors) from reverse mode with central differences.

    Args:
        f: from Tensors to a Tensor; smooth within 1e-5 of the arrays. Called many times.
        arrays: the inputs; converted to float64.
        rng: draws out_grad.
        rtol, atol: |gradient - difference| <= atol + rtol * (largest |difference| of that input).
        unreached_is_zero: accept grad None as zeros, for an f that does not depend on every input.

    Raises:
        AssertionError: a gradient is missing, not finite, of another shape or dtype, or wrong; or an input or
            out_grad was changed in place.
    """
    arrays = tuple(np.asarray(array, dtype=np.float64) for array in arrays)
    tensors = [ndl.Tensor(array) for array in arrays]
    out = f(*tensors)
    assert isinstance(out, ndl.Tensor), f"f must return a Tensor, got {type(out).__name__}"
    out_grad = rng.standard_normal(out.shape)
    v = ndl.Tensor(out_grad)
    for tensor in tensors:
        tensor.grad = None
    out.backward(v)

    np.testing.assert_array_equal(v.numpy(), out_grad, err_msg="out_grad was changed in place")
    for i, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
        np.testing.assert_array_equal(tensor.numpy(), array, err_msg=f"input {i} was changed in place")
        expected = numeric_gradient(lambda *xs: np.sum(out_grad * f(*map(ndl.Tensor, xs)).numpy()), i, arrays)
        if tensor.grad is None:
            assert unreached_is_zero, f"input {i} got no gradient"
            actual = np.zeros_like(array)
        else:
            actual = tensor.grad.numpy()
        assert actual.shape == array.shape, f"gradient {i} has shape {actual.shape}, input {array.shape}"
        assert actual.dtype == array.dtype, f"gradient {i} has dtype {actual.dtype}, input {array.dtype}"
        assert np.isfinite(actual).all(), f"gradient {i} is not finite:\n{actual}"
        error = np.abs(actual - expected).max(initial=0)
        allowed = atol + rtol * np.abs(expected).max(initial=0)
        assert error <= allowed, (
            f"gradient {i} is wrong by {error:.3g}, allowed {allowed:.3g}\n"
            f"reverse mode:\n{actual}\ncentral difference:\n{expected}"
        )


def check_second_order(
    f: Callable[..., ndl.Tensor], *arrays: np.ndarray, rng: np.random.Generator, **tolerances: float
) -> None:
    """Check that the gradients of f are right when they are differentiated again.

    Checks the function (x, v) -> sum_i w_i * (gradient of sum(v * f(x)) with respect to x_i) for random w,
    with out_grad v as one more input. Takes the keywords of `check_gradient`.
    """
    weights = [rng.standard_normal(array.shape) for array in arrays]
    out_grad = rng.standard_normal(f(*map(ndl.Tensor, arrays)).shape)

    def weighted_gradients(*inputs: ndl.Tensor) -> ndl.Tensor:
        *xs, v = inputs
        f(*xs).backward(v)
        terms = [(x.grad * w).sum() for x, w in zip(xs, weights, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    check_gradient(weighted_gradients, *arrays, out_grad, rng=rng, unreached_is_zero=True, **tolerances)


def numeric_gradient(
    loss: Callable[..., float],
    i: int,
    arrays: tuple[np.ndarray, ...],
    *,
    step: float = 1e-5,  # balances the two errors above
) -> np.ndarray:
    """Return the central differences of loss(*arrays) with respect to arrays[i]. No array is changed."""
    gradient = np.zeros(arrays[i].shape)
    for index in np.ndindex(arrays[i].shape):
        values = []
        for h in (step, -step):
            moved = [np.array(array) for array in arrays]
            moved[i][index] += h
            values.append(float(loss(*moved)))
        gradient[index] = (values[0] - values[1]) / (2 * step)
    return gradient
