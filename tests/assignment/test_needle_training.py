"""Task2, training: the softmax loss and nn_epoch, against NumPy in float64 and PyTorch."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch

import src.needle as ndl
from src.needle import Tensor, nn_epoch, softmax_loss
from src.needle.autograd import find_topo_sort
from tests.support.gradcheck import check_gradient, check_second_order


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def one_hot(y, k, dtype="float64"):
    return np.eye(k, dtype=dtype)[y]


def numpy_softmax_loss(Z, y):
    """The mean of logsumexp(Z[i]) - Z[i, y_i], in float64."""
    Z = Z.astype("float64")
    return np.mean(np.logaddexp.reduce(Z, axis=1) - Z[np.arange(len(y)), y])


def numpy_nn_epoch(X, y, W1, W2, lr, batch):
    """The formulas of the two-layer network, in float64."""
    X, W1, W2 = (a.astype("float64") for a in (X, W1, W2))
    for start in range(0, len(y), batch):
        Xb, yb = X[start : start + batch], y[start : start + batch]
        hidden = np.maximum(Xb @ W1, 0)
        logits = hidden @ W2
        probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        G2 = (probabilities - one_hot(yb, W2.shape[1])) / len(yb)
        G1 = (G2 @ W2.T) * (hidden > 0)
        W1, W2 = W1 - lr * Xb.T @ G1, W2 - lr * hidden.T @ G2
    return W1, W2


def problem(rng, m=50, n=6, d=8, k=4, dtype="float32"):
    X = rng.standard_normal((m, n)).astype(dtype)
    y = rng.integers(k, size=m).astype("uint8")
    W1 = (rng.standard_normal((n, d)) / np.sqrt(d)).astype(dtype)
    W2 = (rng.standard_normal((d, k)) / np.sqrt(k)).astype(dtype)
    return X, y, W1, W2


# --- softmax_loss ---


@pytest.mark.parametrize(("m", "k"), [(1, 1), (1, 5), (7, 2), (20, 10)])
def test_the_loss_is_that_of_the_formula_and_of_torch(m, k, rng):
    Z, y = rng.standard_normal((m, k)) * 3, rng.integers(k, size=m)
    logits = Tensor(Z)
    loss = softmax_loss(logits, Tensor(one_hot(y, k)))
    loss.backward()
    theirs = torch.tensor(Z, requires_grad=True)
    their_loss = torch.nn.functional.cross_entropy(theirs, torch.tensor(y))
    their_loss.backward()
    assert type(loss) is Tensor
    assert loss.shape == ()
    np.testing.assert_allclose(loss.numpy(), numpy_softmax_loss(Z, y), rtol=1e-12, atol=1e-14)  # rounding
    np.testing.assert_allclose(loss.numpy(), their_loss.item(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(logits.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_the_loss_of_equal_logits_is_the_log_of_the_number_of_classes():
    loss = softmax_loss(Tensor(np.zeros((600, 10), "float32")), Tensor(one_hot(np.arange(600) % 10, 10)))
    np.testing.assert_allclose(loss.numpy(), np.log(10), rtol=1e-6)  # float32


def test_the_gradients_of_the_loss_are_right_to_second_order(rng):
    Z, Y = rng.standard_normal((3, 4)), one_hot([0, 3, 3], 4)
    check_gradient(softmax_loss, Z, Y, rng=rng)
    check_second_order(lambda logits: softmax_loss(logits, Tensor(Y)), Z, rng=rng)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize(
    "logits", [[1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4 + 1], [90.0, 0.0, -90.0]]
)
def test_extreme_logits_give_the_right_loss_and_gradient_without_a_warning(logits, label, dtype):
    Z = Tensor([logits], dtype=dtype)
    theirs = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
    their_loss = torch.nn.functional.cross_entropy(theirs, torch.tensor([label]))
    their_loss.backward()
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        loss = softmax_loss(Z, Tensor(one_hot([label], 3, dtype)))
        loss.backward()
    np.testing.assert_allclose(loss.numpy(), their_loss.item(), rtol=1e-6, atol=1e-6)  # float32
    np.testing.assert_allclose(Z.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-6)


def test_the_loss_keeps_float32_and_its_inputs(rng):
    Z, Y = rng.standard_normal((5, 3)).astype("float32"), one_hot([0, 0, 1, 1, 0], 3, "float32")
    logits, labels = Tensor(Z), Tensor(Y)
    loss = softmax_loss(logits, labels)
    loss.backward()
    assert loss.dtype == logits.grad.dtype == np.float32
    np.testing.assert_array_equal(logits.numpy(), Z)
    np.testing.assert_array_equal(labels.numpy(), Y)


@pytest.mark.parametrize(("Z", "Y"), [((3, 4), (3, 5)), ((3, 4), (3,)), ((4,), (4,)), ((2, 3, 4), (2, 3, 4))])
def test_the_loss_refuses_shapes_that_do_not_fit(Z, Y):
    with pytest.raises(ValueError, match="one shape"):
        softmax_loss(Tensor(np.zeros(Z)), Tensor(np.zeros(Y)))


# --- nn_epoch ---


@pytest.mark.parametrize(
    ("m", "batch"), [(50, 50), (50, 10), (50, 7), (50, 49), (50, 1), (50, 51), (50, 1000), (1, 100)]
)
def test_an_epoch_is_that_of_numpy_for_any_batch_size(m, batch, rng):
    X, y, W1, W2 = problem(rng, m=m)
    new_W1, new_W2 = nn_epoch(X, y, Tensor(W1), Tensor(W2), lr=0.5, batch=batch)
    expected_W1, expected_W2 = numpy_nn_epoch(X, y, W1, W2, 0.5, batch)
    np.testing.assert_allclose(new_W1.numpy(), expected_W1, rtol=1e-4, atol=1e-5)  # float32, 50 steps
    np.testing.assert_allclose(new_W2.numpy(), expected_W2, rtol=1e-4, atol=1e-5)


def test_an_epoch_in_float64_agrees_to_rounding(rng):
    X, y, W1, W2 = problem(rng, dtype="float64")
    actual = nn_epoch(X, y, Tensor(W1), Tensor(W2), lr=0.2, batch=8)
    for W, expected in zip(actual, numpy_nn_epoch(X, y, W1, W2, 0.2, 8), strict=True):
        assert W.dtype == np.float64
        np.testing.assert_allclose(W.numpy(), expected, rtol=1e-10, atol=1e-13)


def test_the_defaults_are_step_size_a_tenth_and_batches_of_100(rng):
    X, y, W1, W2 = problem(rng, m=150)
    for W, expected in zip(
        nn_epoch(X, y, Tensor(W1), Tensor(W2)), numpy_nn_epoch(X, y, W1, W2, 0.1, 100), strict=True
    ):
        np.testing.assert_allclose(W.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_labels_may_lack_the_top_classes(rng):
    X, y, W1, W2 = problem(rng, k=10)
    y %= 3
    _, new_W2 = nn_epoch(X, y, Tensor(W1), Tensor(W2), batch=20)
    assert new_W2.shape == (8, 10)
    np.testing.assert_allclose(new_W2.numpy(), numpy_nn_epoch(X, y, W1, W2, 0.1, 20)[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lr", [0.1, np.float64(0.1), np.float32(0.1), np.array(0.1), 1])
def test_float32_stays_float32_for_any_kind_of_step_size(lr, rng):
    X, y, W1, W2 = problem(rng)
    for W in nn_epoch(X, y, Tensor(W1), Tensor(W2), lr=lr, batch=20):
        assert W.dtype == np.float32


def test_float32_weights_stay_float32_for_float64_data(rng):
    X, y, W1, W2 = problem(rng)
    for W in nn_epoch(X.astype("float64"), y, Tensor(W1), Tensor(W2)):
        assert W.dtype == np.float32


def test_nothing_that_was_passed_in_changes(rng):
    X, y, W1, W2 = problem(rng)
    tensors = Tensor(W1), Tensor(W2)
    X_before, y_before = X.copy(), y.copy()
    new = nn_epoch(X, y, *tensors, batch=20)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)
    for tensor, array, result in zip(tensors, (W1, W2), new, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert tensor.grad is None
        assert not np.shares_memory(tensor.numpy(), result.numpy())


def test_read_only_and_strided_data_are_fine(rng):
    X, y, W1, W2 = problem(rng)
    X_view, y_view = np.asfortranarray(X), np.repeat(y, 2)[::2]
    X_view.flags.writeable = y_view.flags.writeable = False
    actual = nn_epoch(X_view, y_view, Tensor(W1), Tensor(W2), batch=20)
    for a, b in zip(actual, nn_epoch(X, y, Tensor(W1), Tensor(W2), batch=20), strict=True):
        np.testing.assert_allclose(
            a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6
        )  # BLAS may sum in another order


def test_the_new_weights_are_leaves_without_a_history(rng):
    X, y, W1, W2 = problem(rng)
    for W in nn_epoch(X, y, Tensor(W1), Tensor(W2), batch=10):
        assert type(W) is Tensor
        assert W.requires_grad
        assert W.grad is None
        assert find_topo_sort([W]) == [W]


def test_several_epochs_learn_a_simple_rule(rng):
    X = rng.standard_normal((400, 2)).astype("float32")
    y = (X[:, 0] * X[:, 1] > 0).astype("uint8")  # not linearly separable
    W1 = Tensor(rng.standard_normal((2, 16)), dtype="float32")
    W2 = Tensor(rng.standard_normal((16, 2)) / 4, dtype="float32")
    for _ in range(30):
        W1, W2 = nn_epoch(X, y, W1, W2, lr=0.5, batch=50)
    predicted = (ndl.relu(Tensor(X) @ W1) @ W2).numpy().argmax(axis=1)
    assert np.mean(predicted == y) > 0.95


def test_an_epoch_needs_the_memory_of_one_step_even_without_the_garbage_collector(rng):
    X, y, W1, W2 = problem(rng, m=4000, n=50, d=50)

    def peak(steps):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        nn_epoch(X[: 20 * steps], y[: 20 * steps], Tensor(W1), Tensor(W2), batch=20)
        return tracemalloc.get_traced_memory()[1] - before

    gc.disable()
    tracemalloc.start()
    try:
        peak(2)
        few, many = peak(5), peak(200)
    finally:
        tracemalloc.stop()
        gc.enable()
    assert many < 1.5 * few
