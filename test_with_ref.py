"""Compare your `src` with the closed-source reference `ref` on random inputs: `pytest test_with_ref.py`.

The reference comes with the course's image: `bash run_docker.sh pytest test_with_ref.py`. Where it is not
installed, or a task is not part of your assignment, the tests are skipped. Change and add what you like:
this file is yours, it is not used for the score.
"""

import copy
import importlib
import importlib.util

import numpy as np
import pytest

pytest.importorskip(
    "ref",
    reason="the reference package `ref` is not installed here; "
    "it comes with the course's image: bash run_docker.sh pytest test_with_ref.py",
)

RNG = np.random.default_rng()  # other inputs at every run


def both(module):
    """Return your module and the reference's: both("softmax") is src.softmax and ref.softmax."""
    for package in ("src", "ref"):
        if importlib.util.find_spec(f"{package}.{module}") is None:
            pytest.skip(f"{package}/{module} is not part of this assignment")
    return importlib.import_module(f"src.{module}"), importlib.import_module(f"ref.{module}")


def assert_same(yours, reference, *, tol=1e-4):
    """tol: float32 sums in another order differ by about 1e-6; a wrong formula differs by far more."""
    yours, reference = np.asarray(yours), np.asarray(reference)
    assert yours.dtype == reference.dtype
    assert yours.shape == reference.shape
    np.testing.assert_allclose(yours, reference, rtol=tol, atol=tol)


def examples(m, n, k):
    return RNG.standard_normal((m, n)).astype(np.float32), RNG.integers(k, size=m).astype(np.uint8)


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# Task0 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 3, 5)])
def test_linear(leading):
    torch = pytest.importorskip("torch")
    yours, reference = both("linear")
    X, G = torch.randn(*leading, 4), torch.randn(*leading, 3)
    mine, theirs = yours.ManualLinear(4, 3), reference.ManualLinear(4, 3)
    theirs.W = mine.W.clone()
    assert_same(mine.forward(X), theirs.forward(X))
    for _ in range(2):  # a second backward replaces the gradient
        assert_same(mine.backward(G), theirs.backward(G))
        assert_same(mine.W_grad, theirs.W_grad)


# Task1 ---------------------------------------------------------------------------------------------------


def test_add():
    yours, reference = both("softmax")
    x, y = RNG.standard_normal((2, 3, 4))
    assert_same(yours.add(x, y), reference.add(x, y))


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_softmax_loss(scale):
    yours, reference = both("softmax")
    Z, y = weights(50, 7) * np.float32(10 * scale), RNG.integers(7, size=50)
    assert_same(yours.softmax_loss(Z, y), reference.softmax_loss(Z, y))


@pytest.mark.parametrize("batch", [10, 16, 100], ids=["even", "partial-last-batch", "batch-above-m"])
def test_softmax_regression_epoch(batch):
    yours, reference = both("softmax")
    (X, y), mine = examples(50, 6, 4), weights(6, 4)
    theirs = mine.copy()
    yours.softmax_regression_epoch(X, y, mine, lr=0.3, batch=batch)
    reference.softmax_regression_epoch(X, y, theirs, lr=0.3, batch=batch)
    assert_same(mine, theirs)


@pytest.mark.parametrize("batch", [10, 16, 100], ids=["even", "partial-last-batch", "batch-above-m"])
def test_softmax_regression_epoch_cpp(batch):
    yours, reference = both("softmax_ext")
    (X, y), mine = examples(50, 6, 4), weights(6, 4)
    theirs = mine.copy()
    yours.softmax_regression_epoch_cpp(X, y, mine, lr=0.3, batch=batch)
    reference.softmax_regression_epoch_cpp(X, y, theirs, lr=0.3, batch=batch)
    assert_same(mine, theirs)


@pytest.mark.parametrize("batch", [10, 16, 100], ids=["even", "partial-last-batch", "batch-above-m"])
def test_nn_epoch(batch):
    yours, reference = both("softmax")
    (X, y), mine = examples(50, 6, 4), [weights(6, 8), weights(8, 4)]
    theirs = copy.deepcopy(mine)
    yours.nn_epoch(X, y, *mine, lr=0.3, batch=batch)
    reference.nn_epoch(X, y, *theirs, lr=0.3, batch=batch)
    assert_same(mine[0], theirs[0])
    assert_same(mine[1], theirs[1])


# Task2 ---------------------------------------------------------------------------------------------------

OPS = {
    "add": (lambda ndl, a, b: ndl.add(a, b), [(3, 4), (3, 4)]),
    "multiply": (lambda ndl, a, b: ndl.multiply(a, b), [(3, 4), (3, 4)]),
    "divide": (lambda ndl, a, b: ndl.divide(a, b), [(3, 4), (3, 4)]),
    "power": (lambda ndl, a, b: ndl.power(a, b), [(3, 4), (3, 4)]),
    "power_scalar": (lambda ndl, a: ndl.power_scalar(a, 3), [(3, 4)]),
    "matmul": (lambda ndl, a, b: ndl.matmul(a, b), [(3, 4), (4, 5)]),
    "matmul-batched": (lambda ndl, a, b: ndl.matmul(a, b), [(2, 1, 3, 4), (6, 4, 5)]),
    "summation": (lambda ndl, a: ndl.summation(a, axes=(0, 2)), [(3, 4, 5)]),
    "broadcast_to": (lambda ndl, a: ndl.broadcast_to(a, (2, 3, 4)), [(3, 1)]),
    "reshape": (lambda ndl, a: ndl.reshape(a, (2, 6)), [(3, 4)]),
    "transpose": (lambda ndl, a: ndl.transpose(a), [(2, 3, 4)]),
    "negate": (lambda ndl, a: ndl.negate(a), [(3, 4)]),
    "log": (lambda ndl, a: ndl.log(a), [(3, 4)]),
    "exp": (lambda ndl, a: ndl.exp(a), [(3, 4)]),
    "relu": (lambda ndl, a: ndl.relu(a - 1), [(3, 4)]),
    "expression": (lambda ndl, a, b: (1 - a) * b + 2 / a - a / b, [(3, 4), (3, 4)]),
}


def with_both(name):
    """Yield (ndl, inputs, output) of an entry of OPS, for your needle and for the reference's, on the same numbers."""
    function, shapes = OPS[name]
    numbers = [RNG.uniform(0.5, 2, shape) for shape in shapes]  # positive: log and power need it
    for ndl in both("needle"):
        inputs = [ndl.Tensor(array) for array in numbers]
        yield ndl, inputs, function(ndl, *inputs)


@pytest.mark.parametrize("name", OPS)
def test_forward(name):
    yours, reference = (output.numpy() for _, _, output in with_both(name))
    assert_same(yours, reference)


@pytest.mark.parametrize("name", [name for name in OPS if name != "expression"])
def test_gradient(name):
    results = []
    for ndl, _, output in with_both(name):
        out_grad = ndl.Tensor(np.linspace(1, 2, output.numpy().size).reshape(output.shape))
        results.append(output.op.gradient_as_tuple(out_grad, output))
    for yours, reference in zip(*results, strict=True):
        assert_same(yours.numpy(), reference.numpy())


def test_find_topo_sort():
    orders = []
    pairs = [RNG.integers(0, i, 2) for i in range(2, 20)]
    for ndl in both("needle"):
        nodes = [ndl.Tensor(1.0), ndl.Tensor(2.0)]
        for i, j in pairs:
            nodes.append(nodes[i] + nodes[j])
        places = {id(node): place for place, node in enumerate(nodes)}
        orders.append([places[id(node)] for node in ndl.autograd.find_topo_sort([nodes[10], nodes[-1]])])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("name", OPS)
def test_backward(name):
    results = []
    for _, inputs, output in with_both(name):
        output.backward()
        results.append([x.grad.numpy() for x in inputs])
    for yours, reference in zip(*results, strict=True):
        assert_same(yours, reference)


@pytest.mark.parametrize("scale", [1, 10_000])
def test_needle_softmax_loss(scale):
    results, Z, one_hot = [], weights(50, 7) * np.float32(10 * scale), np.eye(7, dtype=np.float32)
    y = RNG.integers(7, size=50)
    for ndl in both("needle"):
        logits = ndl.Tensor(Z)
        loss = ndl.softmax_loss(logits, ndl.Tensor(one_hot[y]))
        loss.backward()
        results.append([loss.numpy(), logits.grad.numpy()])
    for yours, reference in zip(*results, strict=True):
        assert_same(yours, reference)


@pytest.mark.parametrize("batch", [10, 16, 100], ids=["even", "partial-last-batch", "batch-above-m"])
def test_needle_nn_epoch(batch):
    (X, y), W1, W2 = examples(50, 6, 4), weights(6, 8), weights(8, 4)
    results = []
    for ndl in both("needle"):
        updated = ndl.nn_epoch(X, y, ndl.Tensor(W1), ndl.Tensor(W2), lr=0.3, batch=batch)
        results.append([weight.numpy() for weight in updated])
    for yours, reference in zip(*results, strict=True):
        assert_same(yours, reference)
