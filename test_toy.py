"""Small cases whose answers you can check by hand: `pytest test_toy.py`.

A failure says what is probably wrong. Passing here is the beginning, not the end: the hidden suite asks
more (larger inputs, other shapes, extreme numbers). Tasks that are not part of your assignment are skipped.
Change and add what you like: this file is yours, it is not used for the score.

Run one test with `pytest test_toy.py -k softmax_loss`, stop at the first failure with `-x`.
"""

import ast
import gzip
import importlib.util
import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest


def needs(module):
    """Skip a test where the assignment has no such module."""
    missing = importlib.util.find_spec(module) is None
    path = module.replace(".", "/")
    return pytest.mark.skipif(missing, reason=f"{path} is not part of this assignment")


linear = needs("src.linear")
mnist = needs("src.mnist")
softmax = needs("src.softmax")
softmax_ext = needs("src.softmax_ext")
needle = needs("src.needle")

pytestmark = pytest.mark.timeout(120)  # the first import of src.softmax_ext compiles it


def check(actual, expected, hint, *, tol=1e-5):
    """Fail with `hint` unless `actual` has the shape and the values of `expected`.

    tol: float32 carries about seven digits; these answers are all of size one.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    shown = f"\nexpected {expected.tolist()}, got {actual.tolist()}\nHint: {hint}"
    assert actual.shape == expected.shape, f"expected shape {expected.shape}, got {actual.shape}{shown}"
    assert np.allclose(actual, expected, rtol=tol, atol=tol), shown


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
    assert not found, "\n".join(found)


# Task0: ManualLinear -------------------------------------------------------------------------------------


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


@linear
def test_linear_forward(layer):
    import torch

    Y = layer.forward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    check(Y, [[5, 2, -1], [11, 4, -3]], "Y = X W, with W of shape (in_features, out_features)")


@linear
def test_linear_backward(layer):
    import torch

    layer.forward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    grad_input = layer.backward(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]))
    check(layer.W_grad, [[1, 3, 5], [2, 4, 8]], "W_grad = X^T G, the shape of W; no mean over the batch")
    check(grad_input, [[-1, 2], [-1, 1]], "grad_input = G W^T, the shape of the input")


@linear
def test_linear_with_two_leading_dimensions(layer):
    import torch

    X = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # shape (2, 1, 2)
    check(layer.forward(X), [[[5, 2, -1]], [[11, 4, -3]]], "the matrix product works on the last dimension")
    grad_input = layer.backward(torch.tensor([[[1.0, 0.0, 2.0]], [[0.0, 1.0, 1.0]]]))
    hint = "every row of every leading dimension meets the same W: reshape to (-1, features) before X^T G"
    check(layer.W_grad, [[1, 3, 5], [2, 4, 8]], hint)
    check(grad_input, [[[-1, 2]], [[-1, 1]]], "grad_input has the shape of the input")


@linear
def test_linear_second_backward_replaces_the_gradient(layer):
    import torch

    layer.forward(torch.tensor([[1.0, 2.0]]))
    layer.backward(torch.tensor([[1.0, 1.0, 1.0]]))
    layer.backward(torch.tensor([[1.0, 0.0, 0.0]]))
    check(layer.W_grad, [[1, 0, 0], [2, 0, 0]], "W_grad is replaced, not added to: `=` instead of `+=`")


@linear
def test_linear_needs_no_autograd(layer):
    import torch

    Y = layer.forward(torch.tensor([[1.0, 2.0]], requires_grad=True))
    grad_input = layer.backward(torch.ones(1, 3))
    for name, tensor in (("Y", Y), ("W_grad", layer.W_grad), ("grad_input", grad_input)):
        assert not tensor.requires_grad, f"{name} requires grad: compute it under torch.no_grad()"


@linear
def test_linear_second_backward_returns_the_same_shape(layer):
    import torch

    layer.forward(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
    G = torch.tensor([[[1.0, 0.0, 2.0]], [[0.0, 1.0, 1.0]]])
    hint = "keep the input in the shape that it has: a second backward returns grad_input in this shape again"
    for _ in range(2):
        check(layer.backward(G), [[[-1, 2]], [[-1, 1]]], hint)


@linear
def test_linear_backward_needs_a_forward(layer):
    import torch

    with pytest.raises(RuntimeError):  # say what to do in the message: call forward first
        layer.backward(torch.ones(1, 3))


@linear
def test_linear_refuses_other_shapes(layer):
    import torch

    with pytest.raises(ValueError):  # the layer has 2 in_features
        layer.forward(torch.ones(1, 3))
    layer.forward(torch.ones(4, 2))
    for shape in ((4, 2), (5, 3), (2, 2, 3), (1, 3)):
        with pytest.raises(ValueError):  # the output has shape (4, 3)
            layer.backward(torch.ones(shape))


# Task1: NumPy --------------------------------------------------------------------------------------------


@softmax
def test_add():
    from src.softmax import add

    assert add(2, 3) == 5
    check(add(np.array([1, 2]), np.array([10, 20])), [11, 22], "add works on arrays, too: return x + y")


def write_idx(path, magic, shape, content):
    path.write_bytes(gzip.compress(struct.pack(f">I{len(shape)}I", magic, *shape) + bytes(content)))
    return path


@mnist
def test_parse_mnist(tmp_path):
    from src.mnist import parse_mnist

    pixels = [0, 51, 102, 153, 204, 255, 0, 0, 0, 0, 0, 51]
    images = write_idx(tmp_path / "images.gz", 0x803, (2, 2, 3), pixels)  # two images of 2 rows, 3 columns
    labels = write_idx(tmp_path / "labels.gz", 0x801, (2,), [7, 1])
    X, y = parse_mnist(images, labels)
    expected = [[0, 0.2, 0.4, 0.6, 0.8, 1], [0, 0, 0, 0, 0, 0.2]]
    check(X, expected, "one row per image, each pixel divided by 255; rows and columns come from the file")
    check(y, [7, 1], "the labels follow the 8 bytes of the header")
    assert X.dtype == np.float32, f"X must be float32, got {X.dtype}"
    assert y.dtype == np.uint8, f"y must be uint8, got {y.dtype}"


@mnist
def test_parse_mnist_refuses_a_label_file_in_place_of_images(tmp_path):
    from src.mnist import parse_mnist

    labels = write_idx(tmp_path / "labels.gz", 0x801, (2,), [7, 1])
    with pytest.raises(ValueError, match=r"labels\.gz"):  # the message names the file
        parse_mnist(labels, labels)


@softmax
def test_softmax_loss():
    from src.softmax import softmax_loss

    zeros = np.zeros((1, 4), np.float32)
    check(softmax_loss(zeros, np.array([3])), math.log(4), "equal logits: the loss is log(k)")
    Z = np.log(np.array([[1.0, 3.0], [1.0, 1.0]], np.float32))  # probabilities 1/4, 3/4 and 1/2, 1/2
    expected = (math.log(4 / 3) + math.log(2)) / 2
    check(softmax_loss(Z, np.array([1, 0])), expected, "the mean over the batch, not the sum")


@softmax
def test_softmax_loss_of_large_logits():
    from src.softmax import softmax_loss

    Z = np.array([[10_000, 0], [-10_000, 0]], np.float32)
    hint = "exp(10000) overflows: subtract the largest logit of each row first"
    check(softmax_loss(Z, np.array([1, 0])), 10_000, hint)
    check(Z, [[10_000, 0], [-10_000, 0]], "Z must not be changed: `Z = Z - c` instead of `Z -= c`")


def softmax_regression(epoch):
    """The cases that the NumPy version and the C++ version share."""
    theta = np.zeros((2, 2), np.float32)
    result = epoch(np.array([[1, 2]], np.float32), np.array([0], np.uint8), theta, lr=1.0, batch=1)
    assert result is None, "the epoch changes theta in place and returns None"
    hint = "theta -= lr * X^T (softmax(X theta) - I_y), in place; softmax is 1/2 here"
    check(theta, [[0.5, -0.5], [1, -1]], hint)

    # Each example has a feature of its own, so each row of theta shows what one example did.
    theta = np.zeros((3, 2), np.float32)
    epoch(np.eye(3, dtype=np.float32), np.array([0, 1, 0], np.uint8), theta, lr=1.0, batch=2)
    hint = (
        "the last minibatch has one example only: divide by 1 there, not by batch=2 "
        "(last row ±0.25), and do not drop it (last row 0)"
    )
    check(theta, [[0.25, -0.25], [-0.25, 0.25], [0.5, -0.5]], hint)

    theta = np.zeros((1, 3), np.float32)
    epoch(np.ones((1, 1), np.float32), np.array([0], np.uint8), theta, lr=3.0, batch=10)
    hint = "three classes although only label 0 occurs: the number of classes is theta.shape[1]"
    check(theta, [[2, -1, -1]], hint)


@softmax
def test_softmax_regression_epoch():
    from src.softmax import softmax_regression_epoch

    softmax_regression(softmax_regression_epoch)


@softmax
def test_nn_epoch():
    from src.softmax import nn_epoch

    W1, W2 = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)
    result = nn_epoch(np.ones((1, 2), np.float32), np.array([0], np.uint8), W1, W2, lr=1.0, batch=1)
    assert result is None, "the epoch changes W1 and W2 in place and returns None"
    hint = "both gradients belong to the weights before the step: compute G1 before changing W2"
    check(W1, [[1.5, -0.5], [0.5, 0.5]], hint)
    check(W2, [[1.5, -0.5], [0.5, 0.5]], "gradient of W2 = 1/b * relu(X W1)^T G2")

    W1, W2 = np.eye(2, dtype=np.float32), np.array([[1, 1], [2, 0]], np.float32)
    nn_epoch(np.array([[1, -1]], np.float32), np.array([0], np.uint8), W1, W2, lr=1.0, batch=1)
    check(W1, [[1, 0], [0, 1]], "no gradient flows where the ReLU is off: the factor 1{Z1 > 0}")
    check(W2, [[1.5, 0.5], [2, 0]], "gradient of W2 = 1/b * relu(X W1)^T G2")


# Task1: the C++ extension --------------------------------------------------------------------------------


@softmax_ext
def test_softmax_regression_epoch_cpp():
    from src.softmax_ext import softmax_regression_epoch_cpp

    softmax_regression(softmax_regression_epoch_cpp)


@softmax_ext
def test_softmax_regression_epoch_cpp_with_large_logits():
    from src.softmax_ext import softmax_regression_epoch_cpp

    theta = np.array([[10_000, 0]], np.float32)
    softmax_regression_epoch_cpp(np.ones((1, 1), np.float32), np.array([1], np.uint8), theta, lr=1.0)
    hint = "expf(10000) overflows: subtract the largest logit of the row first"
    check(theta, [[9_999, 1]], hint)


# Task2: needle -------------------------------------------------------------------------------------------
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


@needle
@pytest.mark.parametrize("name", OPS)
def test_forward(name):
    _, _, output, _, value, _ = take(name)
    check(output.numpy(), value, f"compute of {type(output.op).__name__}")


@needle
@pytest.mark.parametrize(
    "name", [name for name in OPS if "scalar_by" not in name and "from_scalar" not in name]
)
def test_gradient(name):
    ndl, tensors, output, out_grad, _, gradients = take(name)
    found = output.op.gradient_as_tuple(ndl.Tensor(out_grad), output)
    assert len(found) == len(tensors)
    for position, (actual, gradient) in enumerate(zip(found, gradients, strict=True)):
        hint = (
            f"gradient of {type(output.op).__name__} for input {position}: out_grad times the derivative, "
            "summed to the shape of the input where the op repeated it"
        )
        check(actual.numpy(), gradient, hint)


@needle
def test_gradient_helper_sum_to_shape():
    import src.needle as ndl

    grad = ndl.Tensor(np.arange(12.0).reshape(2, 2, 3))
    hint = "sum over the axes that were added at the left, and over those that were stretched from size 1"
    check(ndl.ops.sum_to_shape(grad, (2, 3)).numpy(), [[6, 8, 10], [12, 14, 16]], hint)
    check(ndl.ops.sum_to_shape(grad, (2, 1)).numpy(), [[24], [42]], hint)
    check(ndl.ops.sum_to_shape(grad, ()).numpy(), 66, hint)
    assert ndl.ops.sum_to_shape(grad, (2, 2, 3)) is grad, "nothing to sum: return grad itself"


@needle
def test_find_topo_sort():
    import src.needle as ndl

    a, b, c = ndl.Tensor([1.0]), ndl.Tensor([2.0]), ndl.Tensor([3.0])
    d = a * b
    e = d + c
    f = e + a
    order = ndl.autograd.find_topo_sort([f])
    expected = [a, b, d, c, e, f]
    assert len(order) == 6, f"every node once: expected 6 nodes, got {len(order)}"
    assert all(x is y for x, y in zip(order, expected, strict=True)), (
        "post-order depth-first search: visit the inputs from left to right, then the node itself"
    )


@needle
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


@needle
def test_backward_sets_the_grad_of_leaves():
    import src.needle as ndl

    x, c = ndl.Tensor([2.0]), ndl.Tensor([5.0], requires_grad=False)
    y = product()(x, c)
    z = y * 3
    z.backward(ndl.Tensor([10.0]))
    check(x.grad.numpy(), [150], "x.grad is the gradient of z, times out_grad")
    assert y.grad is None, "only leaves keep a grad"
    assert c.grad is None, "a Tensor that requires no gradient gets none"
    z.backward()
    check(x.grad.numpy(), [15], "a second backward replaces the grad; out_grad is ones by default")
    x.backward(ndl.Tensor([7.0]))
    check(x.grad.numpy(), [7], "the output may be a leaf: its gradient is out_grad")


@needle
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


@needle
def test_backward_of_a_deep_graph():
    import src.needle as ndl

    x = y = ndl.Tensor([1.0])
    for _ in range(5_000):
        y = y * -1
    y.backward()
    check(x.grad.numpy(), [1], "5,000 times * -1")


@needle
def test_backward_of_a_grad_gives_the_second_derivative():
    import src.needle as ndl

    x = ndl.Tensor([3.0])
    (x * x * x).backward()
    first = x.grad
    check(first.numpy(), [27], "d/dx x^3 = 3 x^2")
    first.backward()
    check(x.grad.numpy(), [18], "d/dx 3 x^2 = 6 x: write gradients with Tensor operations, not with NumPy")


@needle
def test_needle_softmax_loss():
    import src.needle as ndl

    Z = ndl.Tensor(np.zeros((2, 4), np.float32))
    loss = ndl.softmax_loss(Z, ndl.Tensor(np.eye(4, dtype=np.float32)[[0, 3]]))
    check(loss.numpy(), math.log(4), "equal logits: the loss is log(k), the mean over the batch")
    loss = ndl.softmax_loss(ndl.Tensor([[10_000.0, 0.0]]), ndl.Tensor([[0.0, 1.0]]))
    check(loss.numpy(), 10_000, "exp(10000) overflows: subtract the largest logit of each row first")


@needle
def test_needle_softmax_loss_and_its_grad():
    import src.needle as ndl

    Z = ndl.Tensor(np.zeros((2, 4), np.float32))
    ndl.softmax_loss(Z, ndl.Tensor(np.eye(4, dtype=np.float32)[[0, 3]])).backward()
    expected = [[-0.375, 0.125, 0.125, 0.125], [0.125, 0.125, 0.125, -0.375]]
    check(Z.grad.numpy(), expected, "the gradient is (softmax(Z) - one_hot) / batch size")


@needle
def test_needle_nn_epoch():
    import src.needle as ndl

    W1, W2 = ndl.Tensor(np.eye(2, dtype=np.float32)), ndl.Tensor(np.eye(2, dtype=np.float32))
    X, y = np.ones((1, 2), np.float32), np.array([0], np.uint8)
    new_W1, new_W2 = ndl.nn_epoch(X, y, W1, W2, lr=1.0, batch=1)
    check(new_W1.numpy(), [[1.5, -0.5], [0.5, 0.5]], "return the new weights W1, W2, both from the old ones")
    check(new_W2.numpy(), [[1.5, -0.5], [0.5, 0.5]], "gradient of W2 = 1/b * relu(X W1)^T G2")
    for name, weight in (("W1", new_W1), ("W2", new_W2)):
        assert weight.dtype == np.float32, f"{name} must stay float32, got {weight.dtype}"
    assert new_W1.op is None, "the new weights start a new graph: make them of NumPy arrays (or detach them)"
