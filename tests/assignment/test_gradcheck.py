"""The gradient checker is itself checked: right gradients pass, slightly wrong ones do not."""
# ruff: noqa: ARG002 -- a wrong gradient ignores its arguments

import numpy as np
import pytest

import src.needle as ndl
from tests.support.gradcheck import check_gradient, check_second_order, numeric_gradient


class Cube(ndl.Op):
    """a ** 3, with a gradient that a subclass spoils."""

    def compute(self, a):
        return a**3

    def gradient(self, out_grad, node):
        return out_grad * (node.inputs[0] ** 2 * 3)


class WrongByATenthOfAPercent(Cube):
    def gradient(self, out_grad, node):
        return super().gradient(out_grad, node) * 1.001


class WrongInOneElement(Cube):
    def gradient(self, out_grad, node):
        bump = np.zeros(out_grad.shape)
        bump.flat[0] = 1e-3
        return super().gradient(out_grad, node) + bump


class RightForOnesOnly(Cube):
    def gradient(self, out_grad, node):
        return node.inputs[0] ** 2 * 3


class NaN(Cube):
    def gradient(self, out_grad, node):
        return super().gradient(out_grad, node) * float("nan")


class WrongShape(Cube):
    def gradient(self, out_grad, node):
        return super().gradient(out_grad, node).sum(0)

    def gradient_as_tuple(self, out_grad, node):  # without the framework's own check
        return (self.gradient(out_grad, node),)


class WrongDtype(Cube):
    def gradient(self, out_grad, node):
        return ndl.Tensor(super().gradient(out_grad, node), dtype=np.float32)


class Missing(Cube):
    def gradient(self, out_grad, node):
        return None


class ChangesItsInput(Cube):
    def compute(self, a):
        a += 1
        return a**3


class ChangesOutGrad(Cube):
    def gradient(self, out_grad, node):
        grad = super().gradient(out_grad, node)
        out_grad.numpy()[...] = 0
        return grad


class NotDifferentiableAgain(Cube):
    def gradient(self, out_grad, node):
        return out_grad * node.constant(3 * node.inputs[0].numpy() ** 2)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x(rng):
    return rng.uniform(0.5, 1.5, (2, 3))


def test_a_right_gradient_is_accepted(rng, x):
    check_gradient(Cube(), x, rng=rng)
    check_second_order(Cube(), x, rng=rng)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (WrongByATenthOfAPercent, "gradient 0 is wrong by"),
        (WrongInOneElement, "gradient 0 is wrong by"),
        (RightForOnesOnly, "gradient 0 is wrong by"),
        (NaN, "gradient 0 is not finite"),
        (WrongShape, r"gradient 0 has shape \(3,\), input \(2, 3\)"),
        (WrongDtype, "gradient 0 has dtype float32, input float64"),
        (ChangesItsInput, "input 0 was changed in place"),
        (ChangesOutGrad, "out_grad was changed in place"),
    ],
)
def test_a_wrong_gradient_is_rejected(op, message, rng, x):
    with pytest.raises(AssertionError, match=message):
        check_gradient(op(), x, rng=rng)


def test_a_missing_gradient_is_rejected_by_the_graph(rng, x):
    with pytest.raises(TypeError, match=r"Missing\.gradient must return a Tensor for input 0, got NoneType"):
        check_gradient(Missing(), x, rng=rng)


def test_only_the_second_input_wrong_is_rejected(rng, x):
    with pytest.raises(AssertionError, match="gradient 1 is wrong by"):
        check_gradient(lambda a, b: Cube()(a) + WrongByATenthOfAPercent()(b), x, x, rng=rng)


def test_a_gradient_wrong_at_second_order_only_is_rejected(rng, x):
    check_gradient(NotDifferentiableAgain(), x, rng=rng)
    with pytest.raises(AssertionError, match="gradient 0 is wrong by"):
        check_second_order(NotDifferentiableAgain(), x, rng=rng)


def test_the_numeric_gradient_of_a_known_function():
    a, b = np.array([1.0, 2.0]), np.array([[3.0]])
    np.testing.assert_allclose(numeric_gradient(lambda a, b: (a**2).sum() * b[0, 0], 0, (a, b)), [6.0, 12.0])
    np.testing.assert_allclose(numeric_gradient(lambda a, b: (a**2).sum() * b[0, 0], 1, (a, b)), [[5.0]])
    np.testing.assert_array_equal(a, [1.0, 2.0])
