"""Task2, ops: values, dtypes and errors; gradients against central differences, first and second order."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import src.needle as ndl
from src.needle import Tensor
from tests.support.gradcheck import check_gradient, check_second_order

few = settings(max_examples=25, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
shapes = array_shapes(min_dims=0, max_dims=3, max_side=3)
shape_pairs = mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3).map(
    lambda s: s.input_shapes
)


def away_from_zero(rng, shape):
    """Uniform in ±[0.5, 1.5]: far from the kink of relu and the pole of 1/x."""
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


def positive(rng, shape):
    return rng.uniform(0.5, 1.5, shape)


def check_both_orders(f, *arrays, rng):
    check_gradient(f, *arrays, rng=rng)
    check_second_order(f, *arrays, rng=rng)


UNARY = {
    "add_scalar": (lambda a: ndl.add_scalar(a, 1.7), lambda a: a + 1.7, away_from_zero),
    "mul_scalar": (lambda a: ndl.mul_scalar(a, -2.5), lambda a: a * -2.5, away_from_zero),
    "divide_scalar": (lambda a: ndl.divide_scalar(a, 3), lambda a: a / 3, away_from_zero),
    "power_scalar 3": (lambda a: ndl.power_scalar(a, 3), lambda a: a**3, away_from_zero),
    "power_scalar 1": (lambda a: ndl.power_scalar(a, 1), lambda a: a, away_from_zero),
    "power_scalar 0": (lambda a: ndl.power_scalar(a, 0), np.ones_like, away_from_zero),
    "power_scalar -2": (lambda a: ndl.power_scalar(a, -2), lambda a: 1 / (a * a), away_from_zero),
    "power_scalar 0.5": (lambda a: ndl.power_scalar(a, 0.5), np.sqrt, positive),
    "negate": (ndl.negate, lambda a: -a, away_from_zero),
    "log": (ndl.log, np.log, positive),
    "exp": (ndl.exp, np.exp, away_from_zero),
    "relu": (ndl.relu, lambda a: np.where(a > 0, a, 0), away_from_zero),
}

BINARY = {
    "add": (ndl.add, lambda a, b: a + b, away_from_zero),
    "multiply": (ndl.multiply, lambda a, b: a * b, away_from_zero),
    "divide": (ndl.divide, lambda a, b: a / b, away_from_zero),
    "power": (ndl.power, lambda a, b: np.exp(b * np.log(a)), positive),
}


# --- Elementwise ops ---


@pytest.mark.parametrize("name", UNARY)
@given(shape=shapes, seed=seeds)
@few
def test_a_unary_op_has_the_value_and_the_gradients_of_its_function(name, shape, seed):
    op, function, draw = UNARY[name]
    rng = np.random.default_rng(seed)
    a = draw(rng, shape)
    np.testing.assert_allclose(op(Tensor(a)).numpy(), function(a), rtol=1e-12)  # a few roundings
    check_both_orders(op, a, rng=rng)


@pytest.mark.parametrize("name", BINARY)
@given(pair=shape_pairs, seed=seeds)
@few
def test_a_binary_op_has_the_value_and_the_gradients_of_its_function(name, pair, seed):
    op, function, draw = BINARY[name]
    rng = np.random.default_rng(seed)
    a, b = draw(rng, pair[0]), draw(rng, pair[1])
    np.testing.assert_allclose(op(Tensor(a), Tensor(b)).numpy(), function(a, b), rtol=1e-12)  # as above
    check_both_orders(op, a, b, rng=rng)


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_an_op_returns_a_new_array_of_float32_for_float32(name):
    op, _, draw = (UNARY | BINARY)[name]
    rng = np.random.default_rng(1)
    inputs = [Tensor(draw(rng, (2, 3)), dtype="float32") for _ in range(1 if name in UNARY else 2)]
    out = op(*inputs)
    assert out.dtype == np.float32
    assert not any(np.shares_memory(out.numpy(), x.numpy()) for x in inputs)
    out.backward()
    assert [x.grad.dtype for x in inputs] == [np.float32] * len(inputs)


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_no_op_changes_what_it_is_given(name):
    op, _, draw = (UNARY | BINARY)[name]
    rng = np.random.default_rng(5)
    arrays = [draw(rng, (2, 3)) for _ in range(1 if name in UNARY else 2)]
    inputs, out_grad = [Tensor(array) for array in arrays], Tensor(rng.standard_normal((2, 3)))
    before = out_grad.numpy().copy()
    op(*inputs).backward(out_grad)
    np.testing.assert_array_equal(out_grad.numpy(), before)
    for x, array in zip(inputs, arrays, strict=True):
        np.testing.assert_array_equal(x.numpy(), array)


def test_relu_has_gradient_zero_at_zero():
    a = Tensor([-1.0, -0.0, 0.0, 2.0])
    ndl.relu(a).backward(Tensor([5.0, 5.0, 5.0, 5.0]))
    np.testing.assert_array_equal(a.grad.numpy(), [0.0, 0.0, 0.0, 5.0])


@pytest.mark.parametrize("op", [ndl.AddScalar, ndl.MulScalar, ndl.DivScalar, ndl.PowerScalar])
@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2), np.array(2.0), np.array([2.0]), np.int64(2)])
def test_no_kind_of_scalar_promotes_float32(op, scalar):
    assert op(scalar)(Tensor([1.0, 2.0], dtype="float32")).dtype == np.float32


@pytest.mark.parametrize("op", [ndl.AddScalar, ndl.MulScalar, ndl.DivScalar, ndl.PowerScalar])
@pytest.mark.parametrize("scalar", ["2", None, np.ones(2), [2.0], 2j])
def test_a_scalar_that_is_no_number_is_refused_by_name(op, scalar):
    with pytest.raises(TypeError, match=f"{op.__name__} needs a number"):
        op(scalar)


def test_integers_stay_integers_where_they_can():
    a = Tensor([1, 2])
    assert {(a + 1).dtype, (a * a).dtype, (a**2).dtype, (-a).dtype, a.sum().dtype} == {np.dtype(np.int64)}
    assert (a / a).dtype == (a / 2).dtype == np.float64


# --- Powers ---


@pytest.mark.parametrize("exponent", [-1, -2, -3, -1.0, np.int64(-1)])
def test_integers_to_a_negative_power_are_fractions(exponent):
    a = Tensor([1, 2, -4])
    out = ndl.power_scalar(a, exponent)
    np.testing.assert_allclose(out.numpy(), np.array([1.0, 2.0, -4.0]) ** float(exponent))
    out.backward()
    np.testing.assert_allclose(a.grad.numpy(), exponent * np.array([1.0, 2.0, -4.0]) ** (exponent - 1.0))


def test_integer_tensors_with_negative_exponents_give_fractions():
    np.testing.assert_allclose(ndl.power(Tensor([2, 4]), Tensor([-1, -2])).numpy(), [0.5, 0.0625])
    np.testing.assert_array_equal((2 ** Tensor([-1, 0, 3])).numpy(), [0.5, 1.0, 8.0])


def test_power_with_an_integer_exponent_tensor():
    a, b = Tensor([1.0, 2.0, 3.0]), Tensor([0, 1, 2])
    out = ndl.power(a, b)
    np.testing.assert_array_equal(out.numpy(), [1.0, 2.0, 9.0])
    out.backward()
    np.testing.assert_array_equal(a.grad.numpy(), [0.0, 1.0, 6.0])
    np.testing.assert_allclose(b.grad.numpy(), [0.0, 2 * np.log(2), 9 * np.log(3)])


def test_power_scalar_of_zero_has_no_nan_gradient():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for exponent, expected in ((0, 0.0), (1, 1.0), (2, 0.0), (1.5, 0.0)):
            a = Tensor([0.0])
            ndl.power_scalar(a, exponent).backward()
            np.testing.assert_array_equal(a.grad.numpy(), [expected])


def test_the_gradient_of_a_negative_base_is_finite_and_warns_of_nothing():
    base, exponent = np.array([-2.0, -1.0, -3.0, -2.0]), np.array([2.0, 3.0, 0.0, -1.0])
    a, b = Tensor(base), Tensor(exponent)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ndl.power(a, b).backward()
    np.testing.assert_allclose(a.grad.numpy(), exponent * base ** (exponent - 1))
    assert np.isnan(b.grad.numpy()).all()


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 2.5])
def test_the_gradients_at_base_zero_are_those_of_torch(exponent):
    ours = Tensor([0.0, 2.0]), Tensor([exponent, exponent])
    theirs = [torch.tensor(t.numpy().copy(), requires_grad=True) for t in ours]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ndl.power(*ours).backward()
    torch.pow(*theirs).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-12)  # a few roundings


def test_second_derivatives_of_powers_are_right_also_for_exponent_zero():
    rng = np.random.default_rng(2)
    check_both_orders(ndl.power, np.array([0.7, 2.0]), np.array([0.0, 0.0]), rng=rng)


@pytest.mark.parametrize("constant", [0, 1])
def test_power_leaves_out_the_gradient_that_nobody_needs(constant):
    inputs = [Tensor([-2.0], requires_grad=constant != i) for i in range(2)]
    out = ndl.power(*inputs)
    grads = out.op.gradient_as_tuple(Tensor([1.0]), out)
    assert grads[constant] is None
    assert grads[1 - constant] is not None


# --- Ops that change the shape ---


@given(shape=shapes, seed=seeds, data=st.data())
@few
def test_summation_over_any_axes(shape, seed, data):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape)
    one_axis = st.integers(-len(shape), len(shape) - 1) if shape else st.just(())
    some = st.sets(st.integers(0, len(shape) - 1)) if shape else st.just(set())
    signed = some.map(lambda axes: tuple(i - len(shape) if i % 2 else i for i in axes))
    axes = data.draw(st.none() | one_axis | signed)
    out = ndl.summation(Tensor(a), axes=axes)
    np.testing.assert_allclose(out.numpy(), a.sum(axis=axes), rtol=1e-12, atol=1e-14)  # order of summing
    assert isinstance(out.numpy(), np.ndarray)
    check_both_orders(lambda t: ndl.summation(t, axes=axes), a, rng=rng)


@pytest.mark.parametrize("axes", [2, -3, (0, 5), (0, 0), (0, -2)])
def test_summation_refuses_axes_that_are_missing_or_named_twice(axes):
    with pytest.raises(ValueError, match=r"Summation\(axes=.*\) of shape \(2, 3\)"):
        ndl.summation(Tensor(np.ones((2, 3))), axes=axes)


@given(target=array_shapes(min_dims=1, max_dims=3, max_side=3), seed=seeds, data=st.data())
@few
def test_broadcast_to_new_dimensions_and_stretched_ones(target, seed, data):
    rng = np.random.default_rng(seed)
    kept = target[data.draw(st.integers(0, len(target))) :]
    source = tuple(1 if data.draw(st.booleans()) else size for size in kept)
    a = rng.standard_normal(source)
    np.testing.assert_array_equal(ndl.broadcast_to(Tensor(a), target).numpy(), np.broadcast_to(a, target))
    check_both_orders(lambda t: ndl.broadcast_to(t, target), a, rng=rng)


@pytest.mark.parametrize(("source", "target"), [((3,), (3, 2)), ((2, 3), (3,)), ((2, 1), (3, 4))])
def test_broadcast_to_names_both_shapes_when_it_cannot(source, target):
    with pytest.raises(ValueError) as raised:
        ndl.broadcast_to(Tensor(np.ones(source)), target)
    assert f"BroadcastTo(shape={target}) of shape {source}" in str(raised.value)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((6,), (2, 3)),
        ((2, 3), (3, 2)),
        ((2, 3), 6),
        ((2, 3), (-1, 2)),
        ((1,), ()),
        ((), (1, 1)),
        ((0, 3), (3, 0)),
    ],
)
def test_reshape_keeps_the_elements_in_order(source, target):
    rng = np.random.default_rng(3)
    a = rng.standard_normal(source)
    np.testing.assert_array_equal(ndl.reshape(Tensor(a), target).numpy(), a.reshape(target))
    check_both_orders(lambda t: ndl.reshape(t, target), a, rng=rng)


def test_reshape_to_another_number_of_elements_names_both_shapes():
    with pytest.raises(ValueError, match=r"Reshape\(shape=\(4,\)\) of shape \(2, 3\)"):
        ndl.reshape(Tensor(np.ones((2, 3))), (4,))


@given(shape=array_shapes(min_dims=2, max_dims=4, max_side=3), seed=seeds, data=st.data())
@few
def test_transpose_swaps_two_axes(shape, seed, data):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal(shape)
    axis = st.integers(-len(shape), len(shape) - 1)
    axes = data.draw(st.none() | st.tuples(axis, axis))
    expected = np.swapaxes(a, *(axes or (-1, -2)))
    np.testing.assert_array_equal(ndl.transpose(Tensor(a), axes).numpy(), expected)
    check_both_orders(lambda t: ndl.transpose(t, axes), a, rng=rng)


def test_transpose_refuses_axes_it_does_not_have():
    with pytest.raises(ValueError, match=r"Transpose\(axes=None\) of shape \(3,\)"):
        ndl.transpose(Tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="swaps two axes"):
        ndl.transpose(Tensor(np.ones((2, 3, 4))), axes=(0, 1, 2))


# --- MatMul ---


@given(
    batch=mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3).map(lambda s: s.input_shapes),
    sizes=st.tuples(*[st.integers(1, 3)] * 3),
    seed=seeds,
)
@few
def test_matmul_with_leading_dimensions_of_any_kind(batch, sizes, seed):
    rng = np.random.default_rng(seed)
    n, k, m = sizes
    a, b = rng.standard_normal((*batch[0], n, k)), rng.standard_normal((*batch[1], k, m))
    expected = np.einsum("...ij,...jk->...ik", a, b)
    np.testing.assert_allclose(ndl.matmul(Tensor(a), Tensor(b)).numpy(), expected, rtol=1e-12, atol=1e-14)
    check_both_orders(ndl.matmul, a, b, rng=rng)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((5, 1, 2, 3), (4, 3, 2)),
        ((1, 2, 3), (4, 3, 2)),
        ((4, 2, 3), (1, 3, 2)),
        ((1, 2, 3), (1, 3, 2)),
        ((1, 1, 2, 3), (3, 2)),
        ((2, 3), (1, 4, 3, 2)),
        ((2, 1, 1, 3), (1, 3, 3, 1)),
    ],
)
def test_matmul_sums_gradients_over_broadcast_leading_dimensions(left, right):
    rng = np.random.default_rng(4)
    check_both_orders(ndl.matmul, rng.standard_normal(left), rng.standard_normal(right), rng=rng)


@pytest.mark.parametrize(("left", "right"), [((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)), ((), (2, 2))])
def test_matmul_of_vectors_is_refused_with_a_remedy(left, right):
    with pytest.raises(ValueError, match=r"reshape a vector to \(1, k\) or \(k, 1\)") as raised:
        ndl.matmul(Tensor(np.ones(left)), Tensor(np.ones(right)))
    assert f"MatMul() of shape {left} and {right}" in str(raised.value)


def test_matmul_computes_no_gradient_for_constants():
    X, W = Tensor(np.ones((4, 3)), requires_grad=False), Tensor(np.ones((3, 2)))
    out = X @ W
    grad_X, grad_W = out.op.gradient_as_tuple(Tensor(np.ones((4, 2))), out)
    assert grad_X is None
    np.testing.assert_array_equal(grad_W.numpy(), np.full((3, 2), 4.0))


def test_gradient_as_tuple_gives_every_gradient_that_is_required():
    a, b = Tensor(np.ones((2, 3))), Tensor(np.ones((3, 2)))
    for out in (a @ b, a * a, ndl.divide(a, a), ndl.power(a, a), ndl.log(a), a.sum()):
        grads = out.op.gradient_as_tuple(Tensor(np.ones(out.shape)), out)
        assert [g.shape for g in grads] == [x.shape for x in out.inputs]


# --- Broadcasting and errors of all ops ---


@given(pair=shape_pairs, seed=seeds)
@few
def test_sum_to_shape_undoes_a_broadcast(pair, seed):
    rng = np.random.default_rng(seed)
    small = pair[0]
    grad = rng.standard_normal(np.broadcast_shapes(*pair))
    out = ndl.ops.sum_to_shape(Tensor(grad), small)
    assert out.shape == small
    ones = np.ones(small)  # <broadcast(e), grad> = <e, sum_to_shape(grad)> for every e
    e = rng.standard_normal(small)
    np.testing.assert_allclose(np.sum((e * ones) * out.numpy()), np.sum(e * grad), atol=1e-12)  # rounding
    same = Tensor(grad)
    assert ndl.ops.sum_to_shape(same, grad.shape) is same


def test_gradients_of_broadcast_empty_tensors_keep_their_shapes():
    a, b = Tensor(np.ones((1, 3))), Tensor(np.ones((0, 3)))
    (a * b).backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.zeros((1, 3)))
    assert b.grad.shape == (0, 3)


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (ndl.add, "EWiseAdd"),
        (ndl.multiply, "EWiseMul"),
        (ndl.divide, "EWiseDiv"),
        (ndl.power, "EWisePow"),
        (ndl.matmul, "MatMul"),
    ],
)
def test_shapes_that_do_not_fit_are_both_named(op, name):
    with pytest.raises(ValueError, match=rf"{name}\(\) of shape \(2, 3\) and \(4, 5\)"):
        op(Tensor(np.ones((2, 3))), Tensor(np.ones((4, 5))))


@pytest.mark.parametrize("other", [np.ones(2), 1.0, [1.0, 2.0], None])
def test_an_op_of_something_else_than_a_tensor_is_refused_by_name(other):
    for op, name in ((ndl.add, "EWiseAdd"), (ndl.power, "EWisePow"), (ndl.matmul, "MatMul")):
        with pytest.raises(TypeError, match=f"{name} works on Tensors, got {type(other).__name__}"):
            op(Tensor([1.0, 2.0]), other)
    with pytest.raises(TypeError, match="Exp works on Tensors"):
        ndl.exp(other)


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        (lambda g: g, r"Twice.gradient must return one gradient per input \(2\), got 1"),
        (lambda g: (g, g, g), "got 3"),
        (lambda g: (g, g.sum()), r"Twice.gradient of input 1 must have its shape \(2,\), got \(\)"),
    ],
)
def test_a_gradient_of_the_wrong_form_names_its_op(grads, message):
    class Twice(ndl.Op):
        def compute(self, a, b):
            return a + b

        def gradient(self, out_grad, node):  # noqa: ARG002
            return grads(out_grad)

    with pytest.raises(ValueError, match=message):
        Twice()(Tensor([1.0, 2.0]), Tensor([1.0, 2.0])).backward()


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        (NotImplemented, "NotImplementedType"),
        (np.ones(2), "ndarray"),
        (None, "NoneType"),
        (1.0, "float"),
    ],
)
def test_a_gradient_that_is_no_tensor_names_its_op(returned, kind):
    class Odd(ndl.Op):
        def compute(self, a):
            return a

        def gradient(self, out_grad, node):  # noqa: ARG002
            return returned

    with pytest.raises(TypeError, match=rf"Odd\.gradient must return a Tensor for input 0, got {kind}"):
        Odd()(Tensor([1.0, 2.0])).backward()


@pytest.mark.parametrize(
    ("returned", "kind"),
    [(NotImplemented, "NotImplementedType"), (None, "NoneType"), (1j, "complex"), ("1", "str")],
)
def test_a_value_that_is_no_real_number_names_its_op(returned, kind):
    class Odd(ndl.Op):
        def compute(self, a):  # noqa: ARG002
            return returned

    with pytest.raises(TypeError, match=rf"Odd\.compute must return an array of real numbers, got {kind}"):
        Odd()(Tensor([1.0, 2.0]))


def test_none_will_do_for_an_input_that_requires_no_gradient():
    class Left(ndl.Op):
        def compute(self, a, b):
            return a * b

        def gradient(self, out_grad, node):
            return out_grad * node.inputs[1], None

    x, c = Tensor([2.0]), Tensor([3.0], requires_grad=False)
    Left()(x, c).backward()
    assert x.grad.numpy() == 3.0
    with pytest.raises(TypeError, match=r"Left\.gradient must return a Tensor for input 1, got NoneType"):
        Left()(x, Tensor([3.0])).backward()


def test_an_unfinished_op_names_itself():
    class Half(ndl.Op):
        pass

    with pytest.raises(NotImplementedError, match=r"Half\.compute"):
        Half()(Tensor([1.0]))
    with pytest.raises(NotImplementedError, match=r"Half\.gradient"):
        Half().gradient(None, None)
