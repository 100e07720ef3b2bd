"""Compare your `src` with the closed-source reference `ref` on random inputs: `pytest test_with_ref.py`.

    pytest test_with_ref.py --seed 7          the inputs of a run that printed this seed; it is new at every run
    pytest test_with_ref.py --device cuda     the tensors of Task0 on a GPU

The reference comes with the course's image: `bash run_docker.sh pytest test_with_ref.py`. Where it is not
installed, the tests are skipped. Change and add what you like: this file is yours, it is not used for the score.
"""

import copy
import gzip
import importlib
import signal
import struct

import numpy as np
import pytest

pytest.importorskip(
    "ref",
    reason="the reference package `ref` is not installed here; "
    "it comes with the course's image: bash run_docker.sh pytest test_with_ref.py",
)
pytestmark = pytest.mark.timeout(30, method="signal" if hasattr(signal, "SIGALRM") else "thread")


def both(module):
    """Return your module and the reference's: both("softmax") is src.softmax and ref.softmax."""
    return importlib.import_module(f"src.{module}"), importlib.import_module(f"ref.{module}")


def assert_same(yours, reference, *, tol=1e-4):
    """tol: float32 sums in another order differ by about 1e-6; a wrong formula differs by far more."""
    __tracebackhide__ = True
    yours, reference = np.asarray(yours), np.asarray(reference)
    if yours.dtype != reference.dtype:
        pytest.fail(f"dtype {yours.dtype}, the reference has {reference.dtype}")
    if yours.shape != reference.shape:
        pytest.fail(f"shape {yours.shape}, the reference has {reference.shape}")
    close = np.isclose(yours, reference, rtol=tol, atol=tol, equal_nan=True)
    if not close.all():
        place = tuple(map(int, np.unravel_index(np.argmin(close), close.shape)))
        pytest.fail(
            f"{np.sum(~close)} of {close.size} values differ from the reference's, "
            f"the first at {place}: {yours[place]:.6g} instead of {reference[place]:.6g}"
        )


def examples(rng, m, n, k):
    return rng.standard_normal((m, n)).astype(np.float32), rng.integers(k, size=m).astype(np.uint8)


def weights(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


# Task0 ---------------------------------------------------------------------------------------------------
# with src/linear.py


@pytest.fixture
def device(request):
    """The device that `--device` names; without it the CPU."""
    import torch

    name = request.config.getoption("device")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        pytest.skip(f"--device {name}: PyTorch cannot use it here: {str(error).partition(chr(10))[0]}")


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 3, 5)])
def test_linear(leading, rng, device):
    import torch

    yours, reference = both("linear")
    X, G = (torch.from_numpy(weights(rng, *leading, size)).to(device) for size in (4, 3))
    mine, theirs = yours.ManualLinear(4, 3, device=device), reference.ManualLinear(4, 3, device=device)
    theirs.W = mine.W = torch.from_numpy(weights(rng, 4, 3)).to(device)

    def compare(result, expected):
        assert result.device == expected.device
        assert_same(result.cpu(), expected.cpu())

    compare(mine.forward(X), theirs.forward(X))
    for _ in range(2):  # a second backward replaces the gradient
        compare(mine.backward(G), theirs.backward(G))
        compare(mine.W_grad, theirs.W_grad)


# Task1 ---------------------------------------------------------------------------------------------------
# with src/softmax.py

BATCHES = pytest.mark.parametrize("batch", [10, 16, 100], ids=["even", "partial-last-batch", "batch-above-m"])


def write_idx(path, array):
    """Write a uint8 array in MNIST's format."""
    header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))
    return path


@pytest.mark.parametrize("shape", [(20, 28, 28), (7, 3, 5), (1, 1, 1)], ids=["28x28", "3x5", "one-pixel"])
def test_parse_mnist(shape, rng, tmp_path):
    yours, reference = both("mnist")
    images = write_idx(tmp_path / "images.gz", rng.integers(200, size=shape, dtype=np.uint8))
    labels = write_idx(tmp_path / "labels.gz", rng.integers(10, size=shape[0], dtype=np.uint8))
    for mine, theirs in zip(
        yours.parse_mnist(images, labels), reference.parse_mnist(images, labels), strict=True
    ):
        assert_same(mine, theirs)
        assert mine.flags.writeable, "a writable array is asked for"


def test_parse_mnist_refuses_what_the_reference_refuses(rng, tmp_path):
    yours, reference = both("mnist")
    images = write_idx(tmp_path / "images.gz", rng.integers(256, size=(20, 2, 3), dtype=np.uint8))
    labels = write_idx(tmp_path / "labels.gz", rng.integers(10, size=20, dtype=np.uint8))
    content = gzip.decompress(images.read_bytes())
    fewer = write_idx(tmp_path / "fewer.gz", rng.integers(10, size=19, dtype=np.uint8))
    longer, shorter, torn = (tmp_path / name for name in ("longer.gz", "shorter.gz", "torn.gz"))
    longer.write_bytes(gzip.compress(content + b"0"))
    shorter.write_bytes(gzip.compress(content[:-1]))
    torn.write_bytes(images.read_bytes()[:-9])
    for pair in ((labels, images), (images, fewer), (longer, labels), (shorter, labels), (torn, labels)):
        with pytest.raises(ValueError) as expected:
            reference.parse_mnist(*pair)
        with pytest.raises(ValueError) as raised:
            yours.parse_mnist(*pair)
        for path in pair:  # the name of the file at fault, and no other
            assert (path.name in str(raised.value)) == (path.name in str(expected.value)), str(raised.value)


def test_add(rng):
    yours, reference = both("softmax")
    x, y = rng.standard_normal((2, 3, 4))
    assert_same(yours.add(x, y), reference.add(x, y))


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_softmax_loss(scale, rng):
    yours, reference = both("softmax")
    Z, y = weights(rng, 50, 7) * np.float32(10 * scale), rng.integers(7, size=50)
    assert_same(yours.softmax_loss(Z, y), reference.softmax_loss(Z, y))


@BATCHES
def test_softmax_regression_epoch(batch, rng):
    yours, reference = both("softmax")
    (X, y), mine = examples(rng, 50, 6, 4), weights(rng, 6, 4)
    theirs = mine.copy()
    yours.softmax_regression_epoch(X, y, mine, lr=0.3, batch=batch)
    reference.softmax_regression_epoch(X, y, theirs, lr=0.3, batch=batch)
    assert_same(mine, theirs)


@BATCHES
def test_nn_epoch(batch, rng):
    yours, reference = both("softmax")
    (X, y), mine = examples(rng, 50, 6, 4), [weights(rng, 6, 8), weights(rng, 8, 4)]
    theirs = copy.deepcopy(mine)
    yours.nn_epoch(X, y, *mine, lr=0.3, batch=batch)
    reference.nn_epoch(X, y, *theirs, lr=0.3, batch=batch)
    assert_same(mine[0], theirs[0])
    assert_same(mine[1], theirs[1])


# Task1 in C++ --------------------------------------------------------------------------------------------
# with src/softmax_ext/binding.cpp


@pytest.fixture
def epochs_cpp():
    """Your function and the reference's, compiled. This comes before the test begins."""
    yours, reference = both("softmax_ext")
    return yours.softmax_regression_epoch_cpp, reference.softmax_regression_epoch_cpp


@pytest.mark.own_process
@BATCHES
def test_softmax_regression_epoch_cpp(batch, rng, epochs_cpp):
    yours, reference = epochs_cpp
    (X, y), mine = examples(rng, 50, 6, 4), weights(rng, 6, 4)
    theirs = mine.copy()
    yours(X, y, mine, lr=0.3, batch=batch)
    reference(X, y, theirs, lr=0.3, batch=batch)
    assert_same(mine, theirs)


# Task2 ---------------------------------------------------------------------------------------------------
# with src/needle/ops.py

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


def with_both(name, rng):
    """Yield (ndl, inputs, output) of an entry of OPS, for your needle and for the reference's, on the same numbers."""
    function, shapes = OPS[name]
    numbers = [rng.uniform(0.5, 2, shape) for shape in shapes]  # positive: log and power need it
    for ndl in both("needle"):
        inputs = [ndl.Tensor(array) for array in numbers]
        yield ndl, inputs, function(ndl, *inputs)


@pytest.mark.parametrize("name", OPS)
def test_forward(name, rng):
    yours, reference = (output.numpy() for _, _, output in with_both(name, rng))
    assert_same(yours, reference)


@pytest.mark.parametrize("name", [name for name in OPS if name != "expression"])
def test_gradient(name, rng):
    results = []
    for ndl, _, output in with_both(name, rng):
        out_grad = ndl.Tensor(np.linspace(1, 2, output.numpy().size).reshape(output.shape))
        results.append(output.op.gradient_as_tuple(out_grad, output))
    for yours, reference in zip(*results, strict=True):
        assert_same(yours.numpy(), reference.numpy())


def test_find_topo_sort(rng):
    orders = []
    pairs = [rng.integers(0, i, 2) for i in range(2, 20)]
    for ndl in both("needle"):
        nodes = [ndl.Tensor(1.0), ndl.Tensor(2.0)]
        for i, j in pairs:
            nodes.append(nodes[i] + nodes[j])
        places = {id(node): place for place, node in enumerate(nodes)}
        orders.append([places[id(node)] for node in ndl.autograd.find_topo_sort([nodes[10], nodes[-1]])])
    assert orders[0] == orders[1]


@pytest.mark.parametrize("name", OPS)
def test_backward(name, rng):
    results = []
    for _, inputs, output in with_both(name, rng):
        output.backward()
        results.append([x.grad.numpy() for x in inputs])
    for yours, reference in zip(*results, strict=True):
        assert_same(yours, reference)


@pytest.mark.parametrize("scale", [1, 10_000])
def test_needle_softmax_loss(scale, rng):
    results, Z, one_hot = [], weights(rng, 50, 7) * np.float32(10 * scale), np.eye(7, dtype=np.float32)
    y = rng.integers(7, size=50)
    for ndl in both("needle"):
        logits = ndl.Tensor(Z)
        loss = ndl.softmax_loss(logits, ndl.Tensor(one_hot[y]))
        loss.backward()
        results.append([loss.numpy(), logits.grad.numpy()])
    for yours, reference in zip(*results, strict=True):
        assert_same(yours, reference)


@pytest.mark.parametrize("batch", [10, 16, 100], ids=["even", "partial-last-batch", "batch-above-m"])
def test_needle_nn_epoch(batch, rng):
    (X, y), W1, W2 = examples(rng, 50, 6, 4), weights(rng, 6, 8), weights(rng, 8, 4)
    results = []
    for ndl in both("needle"):
        updated = ndl.nn_epoch(X, y, ndl.Tensor(W1), ndl.Tensor(W2), lr=0.3, batch=batch)
        results.append([weight.numpy() for weight in updated])
    for yours, reference in zip(*results, strict=True):
        assert_same(yours, reference)
