"""The NumPy part of Task1: the softmax loss and the two epochs, against float64 formulas and torch."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.softmax import add, nn_epoch, softmax_loss, softmax_regression_epoch

# float32 carries 24 bits; a hundred steps of sums of a hundred terms stay well within this.
TOL = {"rtol": 1e-4, "atol": 1e-5}


def torch_epoch(X, y, weights, lr, batch):
    """The same epoch by autograd in float64; return the new weights. Logits: X W1, or relu(X W1) W2."""
    weights = [torch.tensor(W, dtype=torch.float64, requires_grad=True) for W in weights]
    X, y = torch.tensor(X, dtype=torch.float64), torch.tensor(y, dtype=torch.int64)
    for start in range(0, len(X), batch):
        Z = X[start : start + batch]
        for layer, W in enumerate(weights):
            Z = (Z.relu() if layer else Z) @ W
        loss = torch.nn.functional.cross_entropy(Z, y[start : start + batch])
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for W, gradient in zip(weights, gradients, strict=True):
                W -= lr * gradient
    return [W.detach().numpy() for W in weights]


def problem(m, n, k, *hidden, seed=0, dtype=np.float32):
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((m, n)).astype(np.float32)
    y = generator.integers(k, size=m).astype(np.uint8)
    sizes = [n, *hidden, k]
    weights = [(generator.standard_normal(s) * 0.3).astype(dtype) for s in pairwise(sizes)]
    return X, y, weights


def run(weights, X, y, lr, batch):
    """Run the epoch that fits the number of weights, in place."""
    epoch = softmax_regression_epoch if len(weights) == 1 else nn_epoch
    assert epoch(X, y, *weights, lr=lr, batch=batch) is None


BOTH = pytest.mark.parametrize("hidden", [(), (7,)], ids=["softmax_regression_epoch", "nn_epoch"])


# add -----------------------------------------------------------------------------------------------------


def test_add_numbers_and_arrays():
    assert add(2, 3) == 5
    assert np.array_equal(add(np.ones((2, 1)), np.arange(3)), [[1, 2, 3], [1, 2, 3]])


# softmax_loss --------------------------------------------------------------------------------------------


@given(
    m=st.integers(1, 20),
    k=st.integers(1, 12),
    scale=st.sampled_from([0.1, 1, 30, 1e4]),
    seed=st.integers(0, 99),
)
def test_loss_agrees_with_float64(m, k, scale, seed):
    generator = np.random.default_rng(seed)
    Z = (generator.uniform(-1, 1, (m, k)) * scale).astype(np.float32)
    y = generator.integers(k, size=m).astype(np.uint8)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(Z, dtype=torch.float64), torch.tensor(y, dtype=torch.int64)
    )
    np.testing.assert_allclose(softmax_loss(Z, y), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("right", "wrong"), [(1e4, -1e4), (-1e4, 1e4), (90, 0), (0, 90)])
def test_loss_is_finite_for_extreme_logits(right, wrong):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss = softmax_loss(np.array([[right, wrong]], np.float32), np.array([0], np.uint8))
    np.testing.assert_allclose(loss, max(wrong - right, 0), rtol=1e-6, atol=1e-6)


def test_loss_is_a_mean_over_the_batch():
    Z, y = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32), np.array([0, 1, 2, 3, 0, 1])
    single = [softmax_loss(Z[i : i + 1], y[i : i + 1]) for i in range(6)]
    np.testing.assert_allclose(softmax_loss(Z, y), np.mean(single), rtol=1e-6)


def test_loss_does_not_change_its_inputs_and_takes_read_only_ones():
    Z, y = np.array([[1, 2], [3, 0]], np.float32), np.array([1, 0], np.uint8)
    Z.flags.writeable = y.flags.writeable = False
    softmax_loss(Z, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loss_keeps_the_dtype_of_the_logits(dtype):
    assert softmax_loss(np.ones((2, 3), dtype), np.array([0, 1])).dtype == dtype


def test_labels_may_lack_the_top_class():
    np.testing.assert_allclose(softmax_loss(np.zeros((3, 5), np.float32), np.zeros(3, np.uint8)), np.log(5))


@pytest.mark.parametrize(("largest", "dtype"), [(255, np.uint8), (299, np.int32), (299, np.int64)])
def test_loss_of_labels_at_the_edge_of_their_type(largest, dtype):
    Z = np.random.default_rng(0).standard_normal((4, 301))
    y = np.array([0, 128, 200, largest], dtype)
    expected = np.mean(np.log(np.exp(Z).sum(axis=1)) - Z[[0, 1, 2, 3], [0, 128, 200, largest]])
    np.testing.assert_allclose(softmax_loss(Z, y), expected)


# the epochs ----------------------------------------------------------------------------------------------


@BOTH
@given(m=st.integers(1, 30), batch=st.integers(1, 40), k=st.integers(2, 5), seed=st.integers(0, 99))
def test_epoch_agrees_with_autograd(hidden, m, batch, k, seed):
    X, y, weights = problem(m, 6, k, *hidden, seed=seed)
    expected = torch_epoch(X, y, weights, 0.2, batch)
    run(weights, X, y, 0.2, batch)
    for W, W_expected in zip(weights, expected, strict=True):
        np.testing.assert_allclose(W, W_expected, **TOL)


@BOTH
def test_partial_last_batch_is_divided_by_its_own_size(hidden):
    X, y, weights = problem(25, 6, 3, *hidden)
    expected = [W.copy() for W in weights]
    run(weights, X, y, 0.2, 10)
    for start, stop in ((0, 10), (10, 20), (20, 25)):
        run(expected, X[start:stop], y[start:stop], 0.2, stop - start)
    for W, W_expected in zip(weights, expected, strict=True):
        np.testing.assert_allclose(W, W_expected, **TOL)


@BOTH
def test_batch_above_m_is_one_step_over_all(hidden):
    X, y, weights = problem(8, 6, 3, *hidden)
    expected = [W.copy() for W in weights]
    run(weights, X, y, 0.2, 10**12)
    run(expected, X, y, 0.2, 8)
    for W, W_expected in zip(weights, expected, strict=True):
        assert np.array_equal(W, W_expected)


@BOTH
def test_examples_are_taken_in_order(hidden):
    X, y, weights = problem(20, 6, 3, *hidden)
    backwards = [W.copy() for W in weights]
    expected = torch_epoch(X, y, weights, 0.5, 5)
    run(weights, X, y, 0.5, 5)
    run(backwards, X[::-1], y[::-1], 0.5, 5)
    np.testing.assert_allclose(weights[0], expected[0], **TOL)
    assert not np.allclose(
        weights[0], backwards[0], **TOL
    )  # the order matters here, so the line above shows it


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lr", [0.1, np.float64(0.1), 1], ids=["float", "float64", "int"])
def test_weights_are_updated_in_place_and_keep_their_dtype(hidden, dtype, lr):
    X, y, weights = problem(20, 6, 3, *hidden, dtype=dtype)
    before = [W.copy() for W in weights]
    run(weights, X, y, lr, 7)
    for W, old in zip(weights, before, strict=True):
        assert W.dtype == dtype
        assert not np.array_equal(W, old)


@BOTH
def test_weights_may_be_views(hidden):
    X, y, weights = problem(20, 6, 3, *hidden)
    expected = [W.copy() for W in weights]
    run(expected, X, y, 0.2, 7)
    stores = [np.full((2 * W.shape[1], W.shape[0] + 1), 9, np.float32) for W in weights]
    views = [store[::2, 1:].T for store in stores]  # every second row, transposed
    for view, W in zip(views, weights, strict=True):
        view[...] = W
    run(views, X, y, 0.2, 7)
    for view, store, W in zip(views, stores, expected, strict=True):
        np.testing.assert_allclose(view, W, **TOL)
        assert (store[1::2] == 9).all()  # nothing beside the view was touched
        assert (store[:, 0] == 9).all()


@BOTH
def test_data_is_not_changed(hidden):
    X, y, weights = problem(20, 6, 3, *hidden)
    X.flags.writeable = y.flags.writeable = False
    run(weights, X, y, 0.2, 7)


@BOTH
def test_epoch_is_stable_for_extreme_logits(hidden):
    X, y, weights = problem(20, 6, 3, *hidden)
    weights[-1] *= 1e4
    expected = torch_epoch(X, y, weights, 0.2, 7)
    with np.errstate(over="raise", invalid="raise"):
        run(weights, X, y, 0.2, 7)
    for W, W_expected in zip(weights, expected, strict=True):
        np.testing.assert_allclose(W, W_expected, rtol=1e-4, atol=1e-3)


@BOTH
def test_labels_of_an_epoch_may_lack_the_top_class(hidden):
    X, _, weights = problem(20, 6, 5, *hidden)
    y = np.zeros(20, np.uint8)
    expected = torch_epoch(X, y, weights, 0.2, 7)
    run(weights, X, y, 0.2, 7)
    np.testing.assert_allclose(weights[-1], expected[-1], **TOL)


@BOTH
def test_labels_of_an_epoch_may_be_above_127(hidden):
    X, _, weights = problem(4, 6, 300, *hidden)
    y = np.array([0, 127, 128, 255], np.uint8)
    expected = torch_epoch(X, y, weights, 0.2, 3)
    run(weights, X, y, 0.2, 3)
    np.testing.assert_allclose(weights[-1], expected[-1], **TOL)


@BOTH
def test_no_examples_change_nothing(hidden):
    X, y, weights = problem(20, 6, 3, *hidden)
    before = [W.copy() for W in weights]
    run(weights, X[:0], y[:0], 0.2, 7)
    for W, old in zip(weights, before, strict=True):
        assert np.array_equal(W, old)
