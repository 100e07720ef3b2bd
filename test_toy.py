"""Small cases whose answers you can check by hand: `pytest test_toy.py`.

A failure says what is probably wrong: the hint is its first line, and stands in the summary at the end. Passing here is
the beginning, not the end: the hidden suite asks more (larger inputs, other shapes, extreme numbers). Change and add
what you like: this file is yours, it is not used for the score.

Run one test with `pytest test_toy.py -k softmax_loss`, stop at the first failure with `-x`.
"""

import ast
import gzip
import math
import os
import signal
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

# A signal ends an endless loop in Python, and the next test goes on. C++ lets no signal through: see `own_process`.
pytestmark = pytest.mark.timeout(30, method="signal" if hasattr(signal, "SIGALRM") else "thread")


def require(condition, hint):
    """Fail with a hint unless the condition holds."""
    __tracebackhide__ = True
    if not condition:
        pytest.fail(hint)


def check(actual, expected, hint, *, mistakes=(), tol=1e-5):
    """Fail with a hint unless `actual` has the shape and the values of `expected`.

    mistakes: pairs (hint, result). If `actual` is the result of one of these mistakes, its hint takes precedence.
    tol: float32 carries about seven digits; these answers are all of size one.
    """
    __tracebackhide__ = True
    require(actual is not None, f"None instead of {np.asarray(expected).tolist()}: is there a `return`?")
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape == expected.shape and np.allclose(actual, expected, rtol=tol, atol=tol):
        return
    for better, wrong in mistakes:
        if actual.shape == np.shape(wrong) and np.allclose(actual, wrong, rtol=tol, atol=tol):
            hint = better
            break
    shapes = (
        "" if actual.shape == expected.shape else f"expected shape {expected.shape}, got {actual.shape}\n"
    )
    pytest.fail(f"{hint}\n{shapes}expected {expected.tolist()}\ngot      {actual.tolist()}")


# Imports -------------------------------------------------------------------------------------------------

PACKAGES = ("torch", "numpy", "matplotlib", "tqdm")  # may be imported in src, besides the standard library
NEVER_GRADED = ("src/train.py", "src/softmax_ext/build.py")  # given programs, which need more


def not_allowed(file, line, package, packages):
    """Return what the grader says about an import that is not allowed."""
    allowed = ", ".join(["the standard library", *packages])
    return (
        f"{file}, line {line}, imports {package}; this assignment allows {allowed}, "
        "and your own files with a dot (from .name import …)"
    )


def test_imports():
    """Where your code is graded, other packages do not exist. Editors sometimes add such an import by themselves."""
    root, found = Path(__file__).parent, []
    for path in sorted(root.glob("src/**/*.py")):
        file = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_bytes(), file)) if file not in NEVER_GRADED else ():
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            packages = {name.partition(".")[0] for name in names} - {
                "src",
                *PACKAGES,
                *sys.stdlib_module_names,
            }
            found += [not_allowed(file, node.lineno, package, PACKAGES) for package in sorted(packages)]
    require(not found, "\n".join(found))


# Task0: ManualLinear -------------------------------------------------------------------------------------
# with src/linear.py


@pytest.fixture
def layer(monkeypatch):
    """A layer with W = [[1, 0, -1], [2, 1, 0]]. While it is tested, autograd refuses to compute gradients."""
    import torch

    def refuse(*_arguments, **_keywords):
        pytest.fail("Task0 is without autograd: compute W_grad and the gradient of the input by hand")

    for place in (torch.Tensor, torch.autograd):
        monkeypatch.setattr(place, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)

    from src.linear import ManualLinear

    layer = ManualLinear(2, 3)
    layer.W = torch.tensor([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]])
    return layer


def test_linear_forward(layer):
    import torch

    Y = layer.forward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    check(Y, [[5, 2, -1], [11, 4, -3]], "Y = X W, with W of shape (in_features, out_features)")


def test_linear_backward(layer):
    import torch

    layer.forward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    grad_input = layer.backward(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]))
    mean = (
        "W_grad = X^T G is a sum over the rows: no mean over the batch here",
        [[0.5, 1.5, 2.5], [1, 2, 4]],
    )
    check(layer.W_grad, [[1, 3, 5], [2, 4, 8]], "W_grad = X^T G, which has the shape of W", mistakes=[mean])
    check(grad_input, [[-1, 2], [-1, 1]], "grad_input = G W^T, the shape of the input")


def test_linear_with_two_leading_dimensions(layer):
    import torch

    X = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # shape (2, 1, 2)
    check(layer.forward(X), [[[5, 2, -1]], [[11, 4, -3]]], "the matrix product works on the last dimension")
    grad_input = layer.backward(torch.tensor([[[1.0, 0.0, 2.0]], [[0.0, 1.0, 1.0]]]))
    hint = "every row of every leading dimension meets the same W: reshape to (-1, features) before X^T G"
    check(layer.W_grad, [[1, 3, 5], [2, 4, 8]], hint)
    check(grad_input, [[[-1, 2]], [[-1, 1]]], "grad_input has the shape of the input")


def test_linear_second_backward_replaces_the_gradient(layer):
    import torch

    layer.forward(torch.tensor([[1.0, 2.0]]))
    layer.backward(torch.tensor([[1.0, 1.0, 1.0]]))
    layer.backward(torch.tensor([[1.0, 0.0, 0.0]]))
    check(layer.W_grad, [[1, 0, 0], [2, 0, 0]], "W_grad is replaced, not added to: `=` instead of `+=`")


def test_linear_needs_no_autograd(layer):
    import torch

    Y = layer.forward(torch.tensor([[1.0, 2.0]], requires_grad=True))
    grad_input = layer.backward(torch.ones(1, 3))
    for name, tensor in (("Y", Y), ("W_grad", layer.W_grad), ("grad_input", grad_input)):
        require(not tensor.requires_grad, f"{name} requires grad: compute it under torch.no_grad()")


def test_linear_second_backward_returns_the_same_shape(layer):
    import torch

    layer.forward(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
    G = torch.tensor([[[1.0, 0.0, 2.0]], [[0.0, 1.0, 1.0]]])
    hint = "keep the input in the shape that it has: a second backward returns grad_input in this shape again"
    for _ in range(2):
        check(layer.backward(G), [[[-1, 2]], [[-1, 1]]], hint)


def test_linear_backward_needs_a_forward(layer):
    import torch

    with pytest.raises(RuntimeError):  # say what to do in the message: call forward first
        layer.backward(torch.ones(1, 3))


def test_linear_refuses_other_shapes(layer):
    import torch

    with pytest.raises(ValueError):  # the layer has 2 in_features
        layer.forward(torch.ones(1, 3))
    layer.forward(torch.ones(4, 2))
    for shape in ((4, 2), (5, 3), (2, 2, 3), (1, 3)):
        with pytest.raises(ValueError):  # the output has shape (4, 3)
            layer.backward(torch.ones(shape))


# Task1: NumPy --------------------------------------------------------------------------------------------
# with src/softmax.py


def test_add():
    from src.softmax import add

    check(add(2, 3), 5, "add returns x + y")
    check(add(np.array([1, 2]), np.array([10, 20])), [11, 22], "add works on arrays, too: return x + y")


def write_idx(path, magic, shape, content):
    path.write_bytes(gzip.compress(struct.pack(f">I{len(shape)}I", magic, *shape) + bytes(content)))
    return path


def test_parse_mnist(tmp_path):
    from src.mnist import parse_mnist

    pixels = [0, 51, 102, 153, 204, 255, 0, 0, 0, 0, 0, 51]
    images = write_idx(tmp_path / "images.gz", 0x803, (2, 2, 3), pixels)  # two images of 2 rows, 3 columns
    labels = write_idx(tmp_path / "labels.gz", 0x801, (2,), [7, 1])
    X, y = parse_mnist(images, labels)
    expected = [[0, 0.2, 0.4, 0.6, 0.8, 1], [0, 0, 0, 0, 0, 0.2]]
    mistakes = [
        ("each pixel is divided by 255", np.multiply(expected, 255)),
        ("each pixel is divided by 255, not by 256", np.multiply(expected, 255 / 256)),
        ("one row per image: reshape to (count, rows * columns)", np.reshape(expected, (2, 2, 3))),
    ]
    hint = "one row per image, each pixel divided by 255; the pixels follow the 16 bytes of the header"
    check(X, expected, hint, mistakes=mistakes)
    check(y, [7, 1], "the labels follow the 8 bytes of the header")
    require(X.dtype == np.float32, f"X must be float32, got {X.dtype}")
    require(y.dtype == np.uint8, f"y must be uint8, got {y.dtype}")


def test_parse_mnist_refuses_a_label_file_in_place_of_images(tmp_path):
    from src.mnist import parse_mnist

    labels = write_idx(tmp_path / "labels.gz", 0x801, (2,), [7, 1])
    with pytest.raises(ValueError, match=r"labels\.gz"):  # the message names the file
        parse_mnist(labels, labels)


def test_softmax_loss():
    from src.softmax import softmax_loss

    zeros = np.zeros((1, 4), np.float32)
    mean = (
        "the mean over the batch alone: divide by the number of rows, not of all elements",
        math.log(4) / 4,
    )
    check(
        softmax_loss(zeros, np.array([3])), math.log(4), "equal logits: the loss is log(k)", mistakes=[mean]
    )
    Z = np.log(np.array([[1.0, 3.0], [1.0, 1.0]], np.float32))  # probabilities 1/4, 3/4 and 1/2, 1/2
    total = math.log(4 / 3) + math.log(2)
    mistakes = [
        ("the mean over the batch, not the sum", total),
        ("the loss of each example is wanted as one number: their mean", [math.log(4 / 3), math.log(2)]),
    ]
    hint = "the loss of an example is log(sum of exp(z)) - z[y], with y its label"
    check(softmax_loss(Z, np.array([1, 0])), total / 2, hint, mistakes=mistakes)


def test_softmax_loss_of_large_logits():
    from src.softmax import softmax_loss

    Z = np.array([[10_000, 0], [-10_000, 0]], np.float32)
    hint = "exp(10000) overflows: subtract the largest logit of each row first"
    mistakes = [("the mean over the batch, not the sum", 20_000)]
    check(softmax_loss(Z, np.array([1, 0])), 10_000, hint, mistakes=mistakes)
    check(Z, [[10_000, 0], [-10_000, 0]], "Z must not be changed: `Z = Z - c` instead of `Z -= c`")


def guarded(array, guard):
    """Return the array with memory before and after it that nobody may touch, and a function that tells if it was."""
    room = 8 * array.size
    memory = np.full(array.size + 2 * room, guard, array.dtype)
    inside = memory[room : room + array.size].reshape(array.shape)
    inside[:] = array
    outside = (memory[:room], memory[room + array.size :])
    return inside, lambda: all(np.array_equal(part, np.full(room, guard, array.dtype)) for part in outside)


def softmax_regression(epoch):
    """The cases that the NumPy version and the C++ version share."""
    theta = np.zeros((2, 2), np.float32)
    result = epoch(np.array([[1, 2]], np.float32), np.array([0], np.uint8), theta, lr=1.0, batch=1)
    require(result is None, "the epoch changes theta in place and returns None")
    right = np.array([[0.5, -0.5], [1, -1]])
    mistakes = [
        ("theta did not change: write `theta -= step`; `theta = theta - step` makes a new array", 0 * right),
        ("the wrong direction: theta -= lr * gradient, with the gradient X^T (softmax - one-hot)", -right),
        ("subtract the one-hot labels from the softmax", [[-0.5, -0.5], [-1, -1]]),
    ]
    hint = "theta -= lr * X^T (softmax(X theta) - I_y), in place; softmax is 1/2 here"
    check(theta, right, hint, mistakes=mistakes)

    # Nine examples, each with a feature of its own, so each row of theta shows what one example did. In the minibatch
    # of eight an example moves theta by 0.5 / 8, in the last minibatch it is alone and moves theta by 0.5.
    batch, labels = 8, np.array([0, 1, 0, 1, 0, 1, 0, 1, 0], np.uint8)
    direction = np.where(labels == 0, 1, -1)[:, None] * np.array([1, -1])
    alone = np.arange(9)[:, None] == 8
    if "asan" in os.environ.get(
        "LD_PRELOAD", ""
    ):  # AddressSanitizer knows where an array ends, but not where a part does
        epoch(np.eye(9, dtype=np.float32), labels.copy(), np.zeros((9, 2), np.float32), lr=1.0, batch=batch)
    theta, unharmed = guarded(np.zeros((9, 2), np.float32), 0.25)
    X, y = guarded(np.eye(9, dtype=np.float32), np.nan)[0], guarded(labels, 1)[0]
    epoch(X, y, theta, lr=1.0, batch=batch)
    require(not np.isnan(theta).any(), "read past the last row of X: the last minibatch ends at row m")
    require(unharmed(), "wrote outside theta: its elements are theta[j * k + c], j below n and c below k")
    mistakes = [
        ("the mean over the minibatch, not the sum: divide by its number of examples", direction * 0.5),
        ("the last minibatch has one example: divide by 1 there, not by batch=8", direction / 16),
        ("the last minibatch, which is smaller, was left out", direction / 16 * ~alone),
        ("divide by the number of examples of the minibatch, not of all examples", direction / 18),
        *(
            ("take the examples in their order: no shuffling", direction * np.where(place, 0.5, 1 / 16))
            for place in np.eye(9, dtype=bool)[:8, :, None]
        ),
    ]
    hint = "two minibatches: rows 0 to 7, then row 8 alone; each is divided by its own number of examples"
    check(theta, direction * np.where(alone, 0.5, 1 / 16), hint, mistakes=mistakes)

    theta = np.zeros((1, 3), np.float32)
    epoch(np.ones((1, 1), np.float32), np.array([0], np.uint8), theta, lr=3.0, batch=10)
    hint = "three classes although only label 0 occurs: the number of classes is theta.shape[1]"
    check(theta, [[2, -1, -1]], hint)

    for shift in (10_000, -10_000):
        theta = np.array([[shift, shift - 1]], np.float32)
        epoch(np.ones((1, 1), np.float32), np.array([1], np.uint8), theta, lr=1.0)
        step = 1 / (1 + math.exp(-1))
        hint = f"logits near {shift} overflow or vanish in exp: subtract the largest logit of each row first"
        if shift < 0:
            hint += ", which may be negative: a search for it does not begin at 0"
        check(theta, [[shift - step, shift - 1 + step]], hint, tol=1e-7)


def test_softmax_regression_epoch():
    from src.softmax import softmax_regression_epoch

    softmax_regression(softmax_regression_epoch)


def test_nn_epoch():
    from src.softmax import nn_epoch

    W1, W2 = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)
    result = nn_epoch(np.ones((1, 2), np.float32), np.array([0], np.uint8), W1, W2, lr=1.0, batch=1)
    require(result is None, "the epoch changes W1 and W2 in place and returns None")
    one_step = np.array([[1.5, -0.5], [0.5, 0.5]])
    of_W1 = "gradient of W1 = 1/b * X^T G1, with G1 = 1{Z1 > 0} * (G2 W2^T)"
    of_W2 = "gradient of W2 = 1/b * relu(X W1)^T G2"
    unchanged = "the weights did not change: write `W1 -= step`; `W1 = W1 - step` makes a new array"
    mistakes = [
        (unchanged, np.eye(2)),
        (
            "both gradients belong to the weights before the step: compute G1 before changing W2",
            [[2, 0], [1, 1]],
        ),
    ]
    check(W1, one_step, of_W1, mistakes=mistakes)
    check(W2, one_step, of_W2, mistakes=[(unchanged, np.eye(2))])

    # The same example twice: the mean of two equal gradients is that gradient.
    W1, W2 = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)
    nn_epoch(np.ones((2, 2), np.float32), np.array([0, 0], np.uint8), W1, W2, lr=1.0, batch=2)
    mistakes = [
        ("the mean over the minibatch, not the sum: divide by its number of examples", [[2, -1], [1, 0]])
    ]
    check(W1, one_step, of_W1, mistakes=mistakes)
    check(W2, one_step, of_W2, mistakes=mistakes)

    W1, W2 = np.eye(2, dtype=np.float32), np.array([[1, 1], [2, 0]], np.float32)
    nn_epoch(np.array([[1, -1]], np.float32), np.array([0], np.uint8), W1, W2, lr=1.0, batch=1)
    check(W1, [[1, 0], [0, 1]], "no gradient flows where the ReLU is off: the factor 1{Z1 > 0}")
    check(W2, [[1.5, 0.5], [2, 0]], of_W2)


# Task1: the C++ extension --------------------------------------------------------------------------------
# with src/softmax_ext/binding.cpp


@pytest.fixture
def epoch_cpp():
    """Your function, compiled. This comes before the test begins, so the compiler's time is not the test's."""
    from src.softmax_ext import softmax_regression_epoch_cpp

    return softmax_regression_epoch_cpp


@pytest.mark.own_process
def test_softmax_regression_epoch_cpp(epoch_cpp):
    softmax_regression(epoch_cpp)


@pytest.mark.own_process
def test_softmax_regression_epoch_cpp_without_examples(epoch_cpp):
    theta = np.ones((3, 2), np.float32)
    epoch_cpp(np.zeros((0, 3), np.float32), np.zeros(0, np.uint8), theta, lr=1.0)
    check(theta, np.ones((3, 2)), "no examples, no step: m may be 0, and 0 / 0 is NaN")


# Task2: needle -------------------------------------------------------------------------------------------
# with src/needle/ops.py
#
# Each part has tests that need no other part, so you can write them in this order:
#
#     pytest test_toy.py -k forward        `compute` of the ops
#     pytest test_toy.py -k gradient       `gradient` of the ops, and sum_to_shape
#     pytest test_toy.py -k topo           find_topo_sort
#     pytest test_toy.py -k backward       compute_gradient_of_variables
#     pytest test_toy.py -k needle         softmax_loss, nn_epoch

A = [[1.0, 2.0], [3.0, 4.0]]
B = [[2.0, 4.0], [1.0, 2.0]]
G = [[1.0, 10.0], [100.0, 1000.0]]  # out_grad: not all ones, so that a forgotten factor shows

# name: (expression, inputs, out_grad, value, gradient of each input)
OPS = {
    "add": (lambda ndl, a, b: a + b, [A, B], G, [[3, 6], [4, 6]], [G, G]),
    "add_scalar": (lambda ndl, a: a + 5, [A], G, [[6, 7], [8, 9]], [G]),
    "subtract_from_scalar": (lambda ndl, a: 1 - a, [A], G, [[0, -1], [-2, -3]], [[[-1, -10], [-100, -1000]]]),
    "multiply": (
        lambda ndl, a, b: a * b,
        [A, B],
        G,
        [[2, 8], [3, 8]],
        [[[2, 40], [100, 2000]], [[1, 20], [300, 4000]]],
    ),
    "mul_scalar": (lambda ndl, a: a * 3, [A], G, [[3, 6], [9, 12]], [[[3, 30], [300, 3000]]]),
    "power": (
        lambda ndl, a, b: ndl.power(a, b),
        [[1.0, 2.0], [2.0, 3.0]],
        [1.0, 10.0],
        [1, 8],
        [[2, 120], [0, 80 * math.log(2)]],
    ),
    "power_scalar": (
        lambda ndl, a: ndl.power_scalar(a, 2),
        [A],
        G,
        [[1, 4], [9, 16]],
        [[[2, 40], [600, 8000]]],
    ),
    "divide": (
        lambda ndl, a, b: ndl.divide(a, b),
        [A, B],
        G,
        [[0.5, 0.5], [3, 2]],
        [[[0.5, 2.5], [100, 500]], [[-0.25, -1.25], [-300, -1000]]],
    ),
    "divide_scalar": (
        lambda ndl, a: ndl.divide_scalar(a, 2),
        [A],
        G,
        [[0.5, 1], [1.5, 2]],
        [[[0.5, 5], [50, 500]]],
    ),
    "divide_scalar_by_tensor": (lambda ndl, a: 2 / a, [[1.0, 2.0]], [1.0, 10.0], [2, 1], [[-2, -5]]),
    "matmul": (
        lambda ndl, a, b: ndl.matmul(a, b),
        [A, [[1.0], [2.0]]],
        [[1.0], [10.0]],
        [[5], [11]],
        [[[1, 2], [10, 20]], [[31], [42]]],
    ),
    "matmul_with_broadcast_batch": (
        lambda ndl, a, b: ndl.matmul(a, b),
        [[[[1.0]], [[2.0]]], [[3.0]]],  # shapes (2, 1, 1) and (1, 1)
        [[[1.0]], [[10.0]]],
        [[[3]], [[6]]],
        [[[[3]], [[30]]], [[21]]],
    ),
    "summation": (lambda ndl, a: ndl.summation(a), [A], 2.0, 10, [[[2, 2], [2, 2]]]),
    "summation_over_last_axis": (
        lambda ndl, a: ndl.summation(a, axes=-1),
        [A],
        [1.0, 10.0],
        [3, 7],
        [[[1, 1], [10, 10]]],
    ),
    "broadcast_to": (
        lambda ndl, a: ndl.broadcast_to(a, (2, 2)),
        [[[1.0], [2.0]]],
        G,
        [[1, 1], [2, 2]],
        [[[11], [1100]]],
    ),
    "reshape": (
        lambda ndl, a: ndl.reshape(a, (4,)),
        [A],
        [1.0, 2.0, 3.0, 4.0],
        [1, 2, 3, 4],
        [[[1, 2], [3, 4]]],
    ),
    "transpose": (lambda ndl, a: ndl.transpose(a), [A], G, [[1, 3], [2, 4]], [[[1, 100], [10, 1000]]]),
    "negate": (lambda ndl, a: -a, [A], G, [[-1, -2], [-3, -4]], [[[-1, -10], [-100, -1000]]]),
    "log": (lambda ndl, a: ndl.log(a), [[1.0, 2.0]], [1.0, 10.0], [0, math.log(2)], [[1, 5]]),
    "exp": (lambda ndl, a: ndl.exp(a), [[0.0, math.log(2)]], [1.0, 10.0], [1, 2], [[1, 20]]),
    "relu": (lambda ndl, a: ndl.relu(a), [[-1.0, 2.0]], [1.0, 10.0], [0, 2], [[0, 10]]),
}


def take(name):
    """Return the package, the inputs as Tensors, the output, and what is expected of an entry of OPS."""
    import src.needle as ndl

    expression, inputs, out_grad, value, gradients = OPS[name]
    tensors = [ndl.Tensor(np.array(array, np.float64)) for array in inputs]
    return ndl, tensors, expression(ndl, *tensors), np.array(out_grad, np.float64), value, gradients


@pytest.mark.parametrize("name", OPS)
def test_forward(name):
    _, _, output, _, value, _ = take(name)
    check(output.numpy(), value, f"compute of {type(output.op).__name__}")


@pytest.mark.parametrize(
    "name", [name for name in OPS if "scalar_by" not in name and "from_scalar" not in name]
)
def test_gradient(name):
    ndl, tensors, output, out_grad, _, gradients = take(name)
    found = output.op.gradient_as_tuple(ndl.Tensor(out_grad), output)
    of_ones = output.op.gradient_as_tuple(ndl.Tensor(np.ones_like(out_grad)), output)
    assert len(found) == len(tensors)
    for position, (actual, gradient) in enumerate(zip(found, gradients, strict=True)):
        hint = f"gradient of {type(output.op).__name__} for input {position}: out_grad times the derivative"
        if np.shape(actual.numpy()) != np.shape(gradient):
            hint += ", summed to the shape of the input where the op repeated it: sum_to_shape"
        if np.array_equal(actual.numpy(), of_ones[position].numpy()):
            hint = (
                f"gradient of {type(output.op).__name__} for input {position}: multiply by out_grad, always"
            )
        check(actual.numpy(), gradient, hint)


def test_gradient_helper_sum_to_shape():
    import src.needle as ndl

    grad = ndl.Tensor(np.arange(12.0).reshape(2, 2, 3))
    hint = "sum over the axes that were added at the left, and over those that were stretched from size 1"
    check(ndl.ops.sum_to_shape(grad, (2, 3)).numpy(), [[6, 8, 10], [12, 14, 16]], hint)
    check(ndl.ops.sum_to_shape(grad, (2, 1)).numpy(), [[24], [42]], hint)
    check(ndl.ops.sum_to_shape(grad, ()).numpy(), 66, hint)
    require(ndl.ops.sum_to_shape(grad, (2, 2, 3)) is grad, "nothing to sum: return grad itself")


def test_find_topo_sort():
    import src.needle as ndl

    a, b, c = ndl.Tensor([1.0]), ndl.Tensor([2.0]), ndl.Tensor([3.0])
    d = a * b
    e = d + c
    f = e + a
    order = ndl.autograd.find_topo_sort([f])
    expected = [a, b, d, c, e, f]
    require(len(order) == 6, f"every node once: expected 6 nodes, got {len(order)}")
    hint = "post-order depth-first search: visit the inputs from left to right, then the node itself"
    require(all(x is y for x, y in zip(order, expected, strict=True)), hint)


def test_find_topo_sort_of_a_deep_graph():
    import src.needle as ndl

    x = ndl.Tensor([1.0])
    for _ in range(5_000):
        x = x + 1
    try:
        order = ndl.autograd.find_topo_sort([x])
    except RecursionError:
        pytest.fail("5,000 nodes in a row are too deep for recursion: keep a stack of your own")
    assert len(order) == 5_001


def product():
    """Return a * b as an op that needs nothing of yours."""
    import src.needle as ndl

    class Product(ndl.Op):
        def compute(self, a, b):
            return a * b

        def gradient(self, out_grad, node):
            left, right = node.inputs
            return out_grad * right, out_grad * left

    return Product()


def test_backward_sets_the_grad_of_leaves():
    import src.needle as ndl

    x, c = ndl.Tensor([2.0]), ndl.Tensor([5.0], requires_grad=False)
    y = product()(x, c)
    z = y * 3
    z.backward(ndl.Tensor([10.0]))
    check(x.grad.numpy(), [150], "x.grad is the gradient of z, times out_grad")
    require(y.grad is None, "only leaves keep a grad")
    require(c.grad is None, "a Tensor that requires no gradient gets none")
    z.backward()
    check(x.grad.numpy(), [15], "a second backward replaces the grad; out_grad is ones by default")
    x.backward(ndl.Tensor([7.0]))
    check(x.grad.numpy(), [7], "the output may be a leaf: its gradient is out_grad")


def test_backward_adds_up_over_all_uses():
    import src.needle as ndl

    times = product()
    x = ndl.Tensor([1.0, 3.0])
    times(x, x).backward(ndl.Tensor([1.0, 10.0]))
    check(x.grad.numpy(), [2, 60], "x is used twice by one op: both contributions count")
    x = ndl.Tensor([2.0])
    y = times(x, x)
    times(y, times(y, x)).backward()  # x ** 5
    check(x.grad.numpy(), [80], "the gradient of a value is complete only after all values that use it")


def test_backward_of_a_deep_graph():
    import src.needle as ndl

    x = y = ndl.Tensor([1.0])
    for _ in range(5_000):
        y = y * -1
    y.backward()
    check(x.grad.numpy(), [1], "5,000 times * -1")


def test_backward_of_a_grad_gives_the_second_derivative():
    import src.needle as ndl

    x = ndl.Tensor([3.0])
    (x * x * x).backward()
    first = x.grad
    check(first.numpy(), [27], "d/dx x^3 = 3 x^2")
    first.backward()
    check(x.grad.numpy(), [18], "d/dx 3 x^2 = 6 x: write gradients with Tensor operations, not with NumPy")


def test_needle_softmax_loss():
    import src.needle as ndl

    Z = ndl.Tensor(np.zeros((2, 4), np.float32))
    loss = ndl.softmax_loss(Z, ndl.Tensor(np.eye(4, dtype=np.float32)[[0, 3]]))
    total = ("the mean over the batch, not the sum", 2 * math.log(4))
    check(loss.numpy(), math.log(4), "equal logits: the loss of an example is log(k)", mistakes=[total])
    loss = ndl.softmax_loss(ndl.Tensor([[10_000.0, 0.0]]), ndl.Tensor([[0.0, 1.0]]))
    check(loss.numpy(), 10_000, "exp(10000) overflows: subtract the largest logit of each row first")


def test_needle_softmax_loss_and_its_grad():
    import src.needle as ndl

    Z = ndl.Tensor(np.zeros((2, 4), np.float32))
    ndl.softmax_loss(Z, ndl.Tensor(np.eye(4, dtype=np.float32)[[0, 3]])).backward()
    expected = [[-0.375, 0.125, 0.125, 0.125], [0.125, 0.125, 0.125, -0.375]]
    check(Z.grad.numpy(), expected, "the gradient is (softmax(Z) - one_hot) / batch size")


def test_needle_nn_epoch():
    import src.needle as ndl

    W1, W2 = ndl.Tensor(np.eye(2, dtype=np.float32)), ndl.Tensor(np.eye(2, dtype=np.float32))
    X, y = np.ones((1, 2), np.float32), np.array([0], np.uint8)
    new_W1, new_W2 = ndl.nn_epoch(X, y, W1, W2, lr=1.0, batch=1)
    check(new_W1.numpy(), [[1.5, -0.5], [0.5, 0.5]], "return the new weights W1, W2, both from the old ones")
    check(new_W2.numpy(), [[1.5, -0.5], [0.5, 0.5]], "gradient of W2 = 1/b * relu(X W1)^T G2")
    for name, weight in (("W1", new_W1), ("W2", new_W2)):
        require(weight.dtype == np.float32, f"{name} must stay float32, got {weight.dtype}")
    require(
        new_W1.op is None, "the new weights start a new graph: make them of NumPy arrays (or detach them)"
    )
