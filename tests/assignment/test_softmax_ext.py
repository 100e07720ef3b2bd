"""softmax_regression_epoch_cpp: its numbers against float64 NumPy, and every argument that it refuses."""

import re
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.tuned import tuned_epoch
from src.softmax_ext import softmax_regression_epoch_cpp


def reference_epoch(
    X: np.ndarray, y: np.ndarray, theta: np.ndarray, lr: float = 0.1, batch: int = 100
) -> np.ndarray:
    """One epoch, written as plainly as possible and in float64. Returns the new theta."""
    X, theta = X.astype(np.float64), theta.astype(np.float64)
    for start in range(0, len(X), batch):
        rows, labels = X[start : start + batch], y[start : start + batch]
        logits = rows @ theta
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = exp / exp.sum(axis=1, keepdims=True) - np.eye(theta.shape[1])[labels]
        theta -= lr / len(rows) * rows.T @ error
    return theta


def problem(
    m: int, n: int, k: int, seed: int = 0, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((m, n), dtype=np.float32) * np.float32(scale)
    return (
        X,
        generator.integers(0, k, m).astype(np.uint8),
        generator.standard_normal((n, k), dtype=np.float32),
    )


def assert_agrees(X: np.ndarray, y: np.ndarray, theta: np.ndarray, lr: float = 0.1, batch: int = 100) -> None:
    expected = reference_epoch(X, y, theta, lr, batch)
    X_before, y_before = X.copy(), y.copy()
    assert softmax_regression_epoch_cpp(X, y, theta, lr=lr, batch=batch) is None
    # float32 carries 7 digits; an epoch of a few hundred updates loses about one of them.
    np.testing.assert_allclose(theta, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)


@pytest.fixture
def arguments() -> Iterator[dict]:
    """Good arguments, of which a test spoils one. Whatever it is, theta must stay as it was."""
    X, y, theta = problem(6, 4, 3)
    before = theta.copy()
    yield {"X": X, "y": y, "theta": theta}
    np.testing.assert_array_equal(theta, before)


# --- Numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 10, 11, 17, 33, 100, 256])
def test_any_number_of_classes(k: int) -> None:
    assert_agrees(*problem(103, 37, k), batch=20)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 784])
def test_any_number_of_features(n: int) -> None:
    assert_agrees(*problem(103, n, 10), batch=20)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 19, 20, 21, 39, 40, 41])
def test_partial_last_batch_is_divided_by_its_own_size(m: int) -> None:
    assert_agrees(*problem(m, 13, 10), batch=20)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 49, 50, 51, 1000, 2**63, 10**30])
def test_any_batch_size_also_above_m(batch: int) -> None:
    assert_agrees(*problem(50, 13, 10), batch=batch)


@settings(max_examples=150, deadline=None)
@given(
    m=st.integers(0, 70),
    n=st.integers(1, 70),
    k=st.integers(1, 40),
    batch=st.integers(1, 90),
    lr=st.floats(-1, 1, width=32),
    seed=st.integers(0, 2**32),
)
def test_any_shape(m: int, n: int, k: int, batch: int, lr: float, seed: int) -> None:
    # Rows of length about 1: with longer ones and lr = 1, each update multiplies the rounding errors of those before.
    assert_agrees(*problem(m, n, k, seed, scale=n**-0.5), lr=lr, batch=batch)


def test_logits_of_ten_thousand_stay_finite_and_right() -> None:
    X, y, theta = problem(60, 9, 10)
    X *= 1e4 / np.abs(X @ theta).max()
    assert np.abs(X @ theta).max() > 9.9e3
    assert_agrees(X, y, theta, lr=1e-3, batch=7)


def test_a_confident_wrong_answer_is_corrected() -> None:
    theta = np.array([[1e4, -1e4, 0]], dtype=np.float32)
    softmax_regression_epoch_cpp(np.ones((1, 1), np.float32), np.array([1], np.uint8), theta, lr=1.0)
    np.testing.assert_array_equal(theta, np.array([[9999, -9999, 0]], np.float32))


def test_labels_may_lack_the_top_classes() -> None:
    X, y, theta = problem(50, 9, 10)
    assert_agrees(X, y % 3, theta)


@pytest.mark.parametrize("k", [256, 300])
def test_labels_of_255_and_300_classes(k: int) -> None:
    X, _, theta = problem(5, 3, k)
    assert_agrees(X, np.full(5, 255, np.uint8), theta)


def test_the_size_of_mnist_agrees_and_defaults_are_those_documented() -> None:
    X, y, theta = problem(2000, 784, 10, scale=0.1)
    theta[:] = 0
    expected = reference_epoch(X, y, theta, lr=0.1, batch=100)
    softmax_regression_epoch_cpp(X, y, theta)
    np.testing.assert_allclose(theta, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("m", "n", "k", "batch"), [(0, 5, 3, 2), (41, 37, 11, 20), (2000, 784, 10, 100)])
def test_the_tuned_epoch_computes_the_same_values(m: int, n: int, k: int, batch: int) -> None:
    X, y, theta = problem(m, n, k, scale=0.1)
    tuned = theta.copy()
    softmax_regression_epoch_cpp(X, y, theta, batch=batch)
    tuned_epoch()(X, y, tuned, batch=batch)
    np.testing.assert_allclose(tuned, theta, rtol=1e-5, atol=1e-6)


def test_no_examples_change_nothing() -> None:
    theta = np.ones((3, 2), np.float32)
    softmax_regression_epoch_cpp(np.empty((0, 3), np.float32), np.empty(0, np.uint8), theta)
    np.testing.assert_array_equal(theta, np.ones((3, 2), np.float32))


def test_no_features_and_no_classes_are_no_trouble() -> None:
    softmax_regression_epoch_cpp(
        np.empty((4, 0), np.float32), np.zeros(4, np.uint8), np.empty((0, 2), np.float32)
    )
    softmax_regression_epoch_cpp(
        np.empty((0, 3), np.float32), np.empty(0, np.uint8), np.empty((3, 0), np.float32)
    )


def test_nan_stays_visible() -> None:
    X, y, theta = problem(8, 3, 4)
    X[5, 1] = np.nan
    softmax_regression_epoch_cpp(X, y, theta)
    assert np.isnan(theta).all()


def test_theta_is_updated_in_place_also_through_a_view() -> None:
    X, y, theta = problem(30, 5, 3)
    expected = reference_epoch(X, y, theta)
    whole = np.full((9, 3), 7, np.float32)
    whole[2:7] = theta
    softmax_regression_epoch_cpp(X, y, whole[2:7])
    np.testing.assert_allclose(whole[2:7], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(whole[[0, 1, 7, 8]], np.full((4, 3), 7, np.float32))


def test_read_only_examples_and_numpy_scalars_are_welcome() -> None:
    X, y, theta = problem(30, 5, 3)
    X.flags.writeable = y.flags.writeable = False
    assert_agrees(X, y, theta, lr=np.float32(0.1), batch=np.int64(7))


def test_other_threads_run_meanwhile() -> None:
    X, y, theta = problem(2000, 784, 100)
    started = threading.Event()

    def one_long_call() -> None:
        started.set()
        softmax_regression_epoch_cpp(X, y, theta, batch=1)

    training = threading.Thread(target=one_long_call)
    training.start()
    started.wait()
    turns = 0
    while training.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 10  # with the GIL held there is a turn before the call and one after it


# --- What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X", "theta"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", ">f4", "complex64", "bool", "object"])
def test_floats_of_another_dtype(arguments: dict, name: str, dtype: str) -> None:
    arguments[name] = arguments[name].astype(dtype)
    with pytest.raises(TypeError) as raised:
        softmax_regression_epoch_cpp(**arguments)
    expected = f"{name} has dtype {np.dtype(dtype)}, not float32; pass {name}.astype(np.float32)"
    if name == "theta":
        expected += ", and keep that array: theta is updated in place"
    assert str(raised.value) == expected


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32", "bool"])
def test_labels_of_another_dtype(arguments: dict, dtype: str) -> None:
    arguments["y"] = arguments["y"].astype(dtype)
    with pytest.raises(TypeError) as raised:
        softmax_regression_epoch_cpp(**arguments)
    assert str(raised.value) == f"y has dtype {dtype}, not uint8; pass y.astype(np.uint8)"


@pytest.mark.parametrize("name", ["X", "y", "theta"])
@pytest.mark.parametrize("value", [None, 3, [[1.0]], b"bytes", memoryview(b"view")])
def test_what_is_no_array(arguments: dict, name: str, value: object) -> None:
    arguments[name] = value
    message = (
        f"{name} is of type {type(value).__name__}, not a NumPy array; pass np.asarray({name}, dtype=np."
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        softmax_regression_epoch_cpp(**arguments)


def test_a_tensor_is_named_with_its_module(arguments: dict) -> None:
    torch = pytest.importorskip("torch")
    arguments["X"] = torch.from_numpy(arguments["X"])
    with pytest.raises(TypeError, match=re.escape("X is of type torch.Tensor, not a NumPy array")):
        softmax_regression_epoch_cpp(**arguments)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("X", (24,), "X has shape (24,), but must be 2-dimensional; pass one row per example: X.reshape"),
        ("X", (6, 2, 2), "X has shape (6, 2, 2), but must be 2-dimensional; pass one row per example"),
        ("y", (6, 1), "y has shape (6, 1), but must be 1-dimensional; pass one label per example: y.ravel()"),
        ("y", (), "y has shape (), but must be 1-dimensional"),
        (
            "theta",
            (12,),
            "theta has shape (12,), but must be 2-dimensional; pass one row per feature, one column",
        ),
        ("X", (5, 4), "y has 6 labels, but X has 5 rows; pass one label per row of X"),
        ("X", (7, 4), "y has 6 labels, but X has 7 rows"),
        ("theta", (3, 4), "theta has 3 rows, but X has 4 columns; pass theta of 4 rows"),
        ("theta", (5, 3), "theta has 5 rows, but X has 4 columns"),
    ],
)
def test_a_wrong_shape(arguments: dict, name: str, shape: tuple, message: str) -> None:
    arguments[name] = np.zeros(shape, arguments[name].dtype)
    with pytest.raises(ValueError, match=re.escape(message)):
        softmax_regression_epoch_cpp(**arguments)


def test_layouts_that_a_plain_pointer_cannot_follow(arguments: dict) -> None:
    good = dict(arguments)
    for name, array, strides in (
        ("X", np.asfortranarray(good["X"]), "(4, 24)"),
        ("X", np.zeros((12, 4), np.float32)[::2], "(32, 4)"),
        ("y", np.zeros(12, np.uint8)[::2], "(2,)"),
        ("y", np.zeros(6, np.uint8)[::-1], "(-1,)"),
        ("theta", np.asfortranarray(good["theta"]), "(4, 16)"),
        ("theta", np.zeros((4, 6), np.float32)[:, :3], "(24, 4)"),
    ):
        message = f"{name} is not C-contiguous (shape {array.shape}, strides {strides}); pass np.ascontiguous"
        with pytest.raises(ValueError, match=re.escape(message)):
            softmax_regression_epoch_cpp(**{**good, name: array})


@pytest.mark.parametrize("name", ["X", "theta"])
def test_floats_at_an_odd_address(arguments: dict, name: str) -> None:
    array = arguments[name]
    arguments[name] = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
    with pytest.raises(ValueError, match=re.escape(f"{name} is not aligned in memory; pass {name}.copy()")):
        softmax_regression_epoch_cpp(**arguments)


def test_a_read_only_theta(arguments: dict) -> None:
    arguments["theta"] = arguments["theta"].view()
    arguments["theta"].flags.writeable = False
    with pytest.raises(
        ValueError, match=re.escape("theta is read-only; pass theta.copy(), and keep that array")
    ):
        softmax_regression_epoch_cpp(**arguments)


def test_arrays_that_share_memory_with_theta(arguments: dict) -> None:
    memory = np.zeros(60, np.float32)
    X, theta = memory[:24].reshape(6, 4), memory[23:35].reshape(4, 3)
    with pytest.raises(ValueError, match=re.escape("X shares memory with theta, which is updated in place")):
        softmax_regression_epoch_cpp(X, arguments["y"], theta)
    with pytest.raises(ValueError, match=re.escape("y shares memory with theta, which is updated in place")):
        softmax_regression_epoch_cpp(arguments["X"], theta.reshape(-1).view(np.uint8)[3:9], theta)
    softmax_regression_epoch_cpp(X, arguments["y"], memory[24:36].reshape(4, 3))  # neighbours are no overlap


def test_a_label_without_a_column(arguments: dict) -> None:
    arguments["y"][4] = 3
    with pytest.raises(ValueError, match=re.escape("y[4] is 3, but theta has 3 columns; pass labels below")):
        softmax_regression_epoch_cpp(**arguments)


@pytest.mark.parametrize("batch", [0, -1, -(10**30)])
def test_a_batch_of_nothing(arguments: dict, batch: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"batch is {batch}; pass an int of at least 1")):
        softmax_regression_epoch_cpp(**arguments, batch=batch)


@pytest.mark.parametrize("batch", [1.0, "100", None, np.float32(3)])
def test_a_batch_that_is_no_integer(arguments: dict, batch: object) -> None:
    with pytest.raises(TypeError, match=r"^batch is of type .*; pass an int such as 100$"):
        softmax_regression_epoch_cpp(**arguments, batch=batch)


@pytest.mark.parametrize("lr", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_a_learning_rate_that_would_wipe_theta_out(arguments: dict, lr: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"lr is {lr}, not a finite float32")):
        softmax_regression_epoch_cpp(**arguments, lr=lr)


def test_a_learning_rate_beyond_float64(arguments: dict) -> None:
    with pytest.raises(ValueError, match="lr is too large"):
        softmax_regression_epoch_cpp(**arguments, lr=10**400)


@pytest.mark.parametrize("lr", [None, "0.1", 1j])
def test_a_learning_rate_that_is_no_number(arguments: dict, lr: object) -> None:
    with pytest.raises(TypeError, match=r"^lr is of type .*; pass a number such as 0.1$"):
        softmax_regression_epoch_cpp(**arguments, lr=lr)
