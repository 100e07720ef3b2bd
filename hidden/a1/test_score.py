"""Task1, 100 points: reading MNIST, softmax regression and a two-layer network in NumPy, and in C++.

Results are compared with answers on which the reference and formulas in float64 agree. Sizes and numbers are new for
each submission. A case varies one thing and keeps the rest simple: where a case is not about minibatches, `batch`
divides the number of examples.
"""

import gzip
import math
import struct

import numpy as np
import probes
import pytest

from autograder.testing import agreed, assert_close, assert_equal, case

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # 24 bits, after some steps of sums of up to a hundred terms near 1
EXACT = {"rtol": 0, "atol": 0}  # for values that need no computation
IMAGE_MAGIC, LABEL_MAGIC = 0x0803, 0x0801


@case(task=1, points=2)
def test_add(student, ref, rng):
    """x + y for numbers and arrays; rejects x += y, which changes the caller's array."""
    x, y = rng.standard_normal((3, 1)), rng.standard_normal((3, 4))
    for inputs in ((2, 3), (x, x + 1), (x, y)):
        expected = agreed(ref(probes.add, *inputs)["the sum"], inputs[0] + inputs[1])
        assert_close(
            student(probes.add, *inputs), {"the sum": expected, "x": inputs[0], "y": inputs[1]}, **EXACT
        )


# parse_mnist -----------------------------------------------------------------------------------------------


@case(task=1, points=8)
def test_parse_mnist(student, ref, rng):
    """Pixels and labels of 28 x 28 images; rejects min-max scaling, /256, float64, little-endian counts."""
    check_parse(student, ref, draw_pixels(rng, 28, 28), rng.integers(10, size=PICTURES))


@case(task=1, points=4)
def test_parse_mnist_of_any_size(student, ref, rng):
    """Images of other rows and columns, one pixel too; rejects a fixed 784 and a fixed count."""
    for rows, columns in (rng.permutation([5, 6, 7])[:2], (1, 1)):
        pixels = draw_pixels(rng, rows, columns)
        check_parse(
            student, ref, pixels, rng.integers(10, size=PICTURES), label=f" ({rows} x {columns} pixels)"
        )


@case(task=1, points=2)
def test_parse_mnist_gives_arrays_of_ones_own(student, ref, rng):
    """X and y can be written to; rejects labels straight from np.frombuffer, which are read-only."""
    pixels, labels = draw_pixels(rng, 4, 3), rng.integers(10, size=PICTURES)
    files = image_file(pixels), label_file(labels)
    parsed = student(probes.parse_mnist, *files)
    # The values too: any other array could be written to as well.
    assert_close(parsed["y"], labels.astype(np.uint8), what="y")
    flags = parsed["flags"]
    for what, expected in ref(probes.parse_mnist, *files)["flags"].items():
        assert_equal(flags[what], expected, what=f"whether {what}")


HEADER_WORDS = ("magic", "type", "dimension", "header")
SIZE_WORDS = (
    "size",
    "byte",
    "length",
    "long",
    "short",
    "trunc",
    "trail",
    "data",
    "end",
    "header",
    "dimension",
)
COUNT_WORDS = ("count", "number", "mismatch", "match", "differ")


@case(task=1, points=3)
def test_parse_mnist_refuses_a_wrong_header(student, rng):
    """Wrong magic, type code, swapped files: ValueError naming file and field; rejects unchecked headers."""
    pixels, labels = draw_pixels(rng, 28, 28), rng.integers(10, size=PICTURES)
    images_gz, labels_gz = image_file(pixels), label_file(labels)
    check_acceptance(student, (images_gz, labels_gz))
    for label, files, culprits in (
        ("an image file with a wrong magic number", (image_file(pixels, magic=0x12340803), labels_gz), [0]),
        ("a label file with a wrong magic number", (images_gz, label_file(labels, magic=0x12340801)), [1]),
        ("an image file of type float", (image_file(pixels, magic=0x0D03), labels_gz), [0]),
        ("a label file of type short", (images_gz, label_file(labels, magic=0x0B01)), [1]),
        ("image and label file swapped", (labels_gz, images_gz), [0, 1]),
    ):
        check_refusal(student, files, culprits, HEADER_WORDS, label)


@case(task=1, points=3)
def test_parse_mnist_refuses_a_wrong_size(student, rng):
    """Files too short, too long, not gzip, of two counts: ValueError; rejects what reshape would say."""
    pixels, labels = draw_pixels(rng, 28, 28), rng.integers(10, size=PICTURES)
    images_gz, labels_gz = image_file(pixels), label_file(labels)
    check_acceptance(student, (images_gz, labels_gz))
    fewer = label_file(labels[:-1])
    for label, files, culprits, words in (
        ("a truncated image file", (image_file(pixels, change=lambda b: b[:-1]), labels_gz), [0], SIZE_WORDS),
        ("a truncated label file", (images_gz, label_file(labels, change=lambda b: b[:-1])), [1], SIZE_WORDS),
        (
            "an image file that ends in its header",
            (gzip.compress(b"\0\0\x08\x03\0\0"), labels_gz),
            [0],
            SIZE_WORDS,
        ),
        (
            "an image file with trailing bytes",
            (image_file(pixels, change=lambda b: b + b"1"), labels_gz),
            [0],
            SIZE_WORDS,
        ),
        (
            "a label file with trailing bytes",
            (images_gz, label_file(labels, change=lambda b: b + b"1")),
            [1],
            SIZE_WORDS,
        ),
        (
            "an image file whose gzip stream is cut off",
            (images_gz[:-12], labels_gz),
            [0],
            ("gz", *SIZE_WORDS),
        ),
        ("a label file that is not gzip", (images_gz, gzip.decompress(labels_gz)), [1], ("gz",)),
        ("more images than labels", (images_gz, fewer), [0, 1], COUNT_WORDS),
    ):
        check_refusal(student, files, culprits, words, label)


PICTURES = 9


def draw_pixels(rng, rows, columns):
    """Return random images; their largest pixel is not 255, nor their smallest 0."""
    return rng.integers(10, 200, size=(PICTURES, int(rows), int(columns)), dtype=np.uint8)


def image_file(pixels, magic=IMAGE_MAGIC, change=bytes):
    return gzip.compress(change(struct.pack(">I3I", magic, *pixels.shape) + pixels.tobytes()))


def label_file(labels, magic=LABEL_MAGIC, change=bytes):
    return gzip.compress(change(struct.pack(">II", magic, len(labels)) + labels.astype(np.uint8).tobytes()))


def check_parse(student, ref, pixels, labels, label=""):
    files = image_file(pixels), label_file(labels)
    formula = {"X": (pixels.reshape(PICTURES, -1) / 255).astype(np.float32), "y": labels.astype(np.uint8)}
    expected, actual = ref(probes.parse_mnist, *files), student(probes.parse_mnist, *files)
    for name, value in formula.items():
        tolerances = {"rtol": 1e-6, "atol": 0}  # one division: a unit in the last place
        value = agreed(expected[name], value, **tolerances)
        assert_close(actual[name], value, **tolerances, what=name + label)


def check_acceptance(student, contents):
    """Require that good files are read: code that refuses every file has not looked at any."""
    error = student(probes.parse_broken, dict(zip(("train-x.gz", "train-y.gz"), contents, strict=True)))
    if error["raised"]:
        pytest.fail("files without a fault must not be refused")


def check_refusal(student, contents, culprits, words, label):
    """Require a ValueError that names a file at fault and says what is wrong with one of `words`."""
    names = ("train-x.gz", "train-y.gz")  # these contain none of the words
    error = student(probes.parse_broken, dict(zip(names, contents, strict=True)))
    if "ValueError" not in error["raised"]:
        pytest.fail(f"{label}: parse_mnist must raise a ValueError")
    message = error["message"].lower()
    if not any(names[i] in message for i in culprits):
        pytest.fail(f"{label}: the message of the ValueError must name the file")
    if not any(word in message for word in words):
        pytest.fail(f"{label}: the message of the ValueError must say which field or size is wrong")


# softmax_loss ----------------------------------------------------------------------------------------------


@case(task=1, points=8)
def test_softmax_loss(student, ref, rng):
    """The mean loss of ordinary logits; rejects a sum, labels read along the wrong axis."""
    for m, k in ((12, 5), (30, 10)):
        check_loss(student, ref, rng.standard_normal((m, k)).astype(np.float32) * 3, all_classes(rng, m, k))


@case(task=1, points=6)
def test_softmax_loss_is_stable(student, ref, rng):
    """Logits of ±1e4, sure wrong answers; rejects plain exp, one shift for all rows, log(probability)."""
    m, k = 8, 6
    Z, y = rng.standard_normal((m, k)).astype(np.float32), all_classes(rng, m, k)
    large = Z * np.float32(1e4 / np.abs(Z).max())
    sure_and_wrong = Z.copy()
    sure_and_wrong[np.arange(m), y] -= 200
    offsets = np.where(np.arange(m) % 2, 1e4, -1e4).astype(np.float32)[:, None]
    for logits, label in (
        (large, " (logits as large as ±1e4)"),
        (sure_and_wrong, " (the right class has the smallest logit by 200)"),
        (Z + offsets, " (logits near 1e4 in one row, near -1e4 in the next)"),
    ):
        check_loss(
            student, ref, logits, y, atol=2e-3, label=label
        )  # one unit in the last place of 1e4 is 1e-3


@case(task=1, points=3)
def test_softmax_loss_for_any_classes(student, ref, rng):
    """1 to 1000 classes, labels without the top ones; rejects one-hot rows as wide as the largest label."""
    m = 10
    for k, largest in ((7, 4), (1, 1), (2, 1), (300, 200), (1000, 256)):
        Z, y = rng.standard_normal((m, k)).astype(np.float32), rng.integers(largest, size=m).astype(np.uint8)
        check_loss(student, ref, Z, y, label=f" ({k} classes, labels below {largest})")


@case(task=1, points=3)
def test_softmax_loss_keeps_inputs_and_dtype(student, ref, rng):
    """float64 stays exact, float32 stays float32, Z and y stay as they are; rejects Z -= Z.max(), a cast."""
    Z, y = rng.standard_normal((9, 4)), all_classes(rng, 9, 4)
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-5)):  # some roundings
        logits = Z.astype(dtype)
        actual = check_loss(student, ref, logits, y, rtol=rtol, atol=rtol, label=f" ({dtype.__name__})")
        assert_close(actual["Z"], logits, **EXACT, what="Z after the call")
        assert_close(actual["y"], y, **EXACT, what="y after the call")


def all_classes(rng, m, k):
    """Return m labels, each of the k classes among them."""
    return rng.permutation(np.arange(m) % k).astype(np.uint8)


def check_loss(student, ref, Z, y, rtol=1e-5, atol=1e-5, label=""):  # 1e-5: float32, a hundred roundings
    z = Z.astype(np.float64)
    top = z.max(axis=1)
    formula = np.mean(top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[np.arange(len(y)), y])
    tolerances = {"rtol": rtol, "atol": atol}
    expected = agreed(ref(probes.softmax_loss, Z, y)["loss"], Z.dtype.type(formula), **tolerances)
    actual = student(probes.softmax_loss, Z, y)
    assert_close(actual["loss"], expected, **tolerances, what=f"the loss{label}")
    return actual


# softmax_regression_epoch ----------------------------------------------------------------------------------


@case(task=1, points=10)
def test_softmax_regression_epoch(student, ref, rng):
    """Epochs of whole minibatches; rejects theta = theta - ..., shuffling, an ignored lr."""
    for m, batch in ((24, 24), (24, 4), (12, 1)):
        check_epoch(student, ref, probes.softmax_regression_epoch, regression(rng, m, batch))


@case(task=1, points=6)
def test_softmax_regression_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, batch > m; rejects division by batch, a dropped or repeated rest, a crash."""
    for m, batch in ((13, 5), (11, 10), (6, 100)):
        label = f" (batch {batch} for {m} examples)"
        check_epoch(student, ref, probes.softmax_regression_epoch, regression(rng, m, batch), label)


@case(task=1, points=4)
def test_softmax_regression_epoch_in_place(student, ref, rng):
    """theta as a view, lr as np.float64, X and y untouched, None returned; rejects ravel(), return theta."""
    X, y, theta, lr, batch = regression(rng, 12, 4)
    inputs = (X, y, theta, np.float64(lr), batch)
    actual = student(probes.softmax_regression_epoch_on_a_view, *inputs)
    expected = ref(probes.softmax_regression_epoch_on_a_view, *inputs)
    check_in_place(actual, expected, X, y, ["theta"])


# nn_epoch --------------------------------------------------------------------------------------------------


@case(task=1, points=10)
def test_nn_epoch(student, ref, rng):
    """Epochs of whole minibatches; rejects no ReLU mask, swapped layers, W1's gradient from the new W2."""
    for m, batch in ((20, 20), (20, 5)):
        check_epoch(student, ref, probes.nn_epoch, network(rng, m, batch))


@case(task=1, points=5)
def test_nn_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, batch > m; rejects division by batch, a dropped or repeated rest, a crash."""
    for m, batch in ((13, 5), (11, 10), (6, 100)):
        check_epoch(
            student, ref, probes.nn_epoch, network(rng, m, batch), f" (batch {batch} for {m} examples)"
        )


@case(task=1, points=3)
def test_nn_epoch_in_place(student, ref, rng):
    """Weights as views, None returned, a hidden unit at exactly 0; rejects return W1, W2 and Z >= 0."""
    X, y, W1, W2, lr, batch = network(rng, 12, 4, dead=True)
    inputs = (X, y, W1, W2, np.float64(lr), batch)
    actual, expected = student(probes.nn_epoch_on_views, *inputs), ref(probes.nn_epoch_on_views, *inputs)
    check_in_place(actual, expected, X, y, ["W1", "W2"])


@case(task=1, points=2)
def test_epochs_are_stable(student, ref, rng):
    """Both epochs with logits of thousands; rejects plain exp, and clipped logits."""
    tolerances = {"rtol": 1e-4, "atol": 1e-3}  # features of a thousand, steps of one
    for probe, draw in ((probes.softmax_regression_epoch, regression), (probes.nn_epoch, network)):
        check_epoch(student, ref, probe, draw(rng, 12, 12, large=True), f" ({probe.__name__})", **tolerances)


# softmax_regression_epoch_cpp ------------------------------------------------------------------------------


@case(task=1, points=7, needs_build=True)
def test_cpp_epoch(student, ref, rng):
    """The numbers of the NumPy version for whole minibatches; rejects a wrong index, a stale buffer."""
    for m, batch, sizes in ((24, 24, SMALL), (24, 4, SMALL), (12, 1, SMALL), (45, 15, LARGER)):
        check_epoch(student, ref, probes.cpp_epoch, regression(rng, m, batch, sizes=sizes))


@case(task=1, points=5, needs_build=True)
def test_cpp_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, NaN after it; rejects reading past the end, division by batch."""
    for m, batch in ((13, 5), (11, 10), (6, 100)):
        X, y, theta, lr, batch = inputs = regression(rng, m, batch)
        (formula,), _ = epoch_in_float64(X, y, [theta], lr, batch)
        surrounded = np.pad(formula.astype(np.float32), ((1, 1), (0, 0)), constant_values=7)
        expected = agreed(ref(probes.cpp_epoch_between_guards, *inputs)["theta"], surrounded, **FLOAT32)
        actual = student(probes.cpp_epoch_between_guards, *inputs)["theta"]
        what = f"theta, or the memory around it, after the epoch (batch {batch} for {m} examples)"
        assert_close(actual, expected, **FLOAT32, what=what)


@case(task=1, points=2, needs_build=True)
def test_cpp_epoch_is_stable(student, ref, rng):
    """Logits of thousands; rejects plain exp, which overflows a float beyond 88."""
    inputs = regression(rng, 12, 12, large=True)
    check_epoch(student, ref, probes.cpp_epoch, inputs, rtol=1e-4, atol=1e-3)  # as for the NumPy epochs


@case(task=1, points=2, needs_build=True)
@pytest.mark.timeout(30)
def test_cpp_epoch_frees_its_memory(student, ref, rng):
    """Memory after 600 epochs; rejects new[] or malloc without delete[] or free."""
    check_epoch(student, ref, probes.cpp_epoch, regression(rng, 12, 4))
    m, n, k, batch = 200, 100, 50, 50
    X, y = rng.standard_normal((m, n)).astype(np.float32), rng.integers(k, size=m).astype(np.uint8)
    inputs = (X, y, np.zeros((n, k), np.float32), batch)
    # Measured from outside the student's process, so that nothing in it can make the figure smaller.
    student(probes.cpp_epochs, *inputs, 20)
    before = student.peak_bytes
    student(probes.cpp_epochs, *inputs, 620)
    # If every epoch loses one array of batch * k floats, that is 6 MB; with n * k floats it is 12 MB.
    allowed = 3_000_000
    if student.peak_bytes - before > allowed:
        pytest.fail("the process grows with every epoch: free what you allocate, or use std::vector")


@case(task=1, points=1, needs_build=True)
@pytest.mark.timeout(30)
def test_cpp_epoch_with_large_arrays(student, rng):
    """A minibatch, then a gradient, of 9 MB; rejects arrays of variable length on the stack (of 8 MiB)."""
    k = 100
    for m, n in ((22_500, 2), (2, 22_500)):
        X, y = rng.standard_normal((m, n)).astype(np.float32), rng.integers(k, size=m).astype(np.uint8)
        inputs = (X / np.float32(math.sqrt(n)), y, np.zeros((n, k), np.float32), 0.5, m)
        # The formula alone: the reference would need too long for arrays of this size.
        (expected,), _ = epoch_in_float64(*inputs[:2], [inputs[2]], *inputs[3:])
        actual = student(probes.cpp_epoch, *inputs)["theta"]
        what = f"theta after the epoch ({m} examples of {n} features, {k} classes)"
        assert_close(actual, expected.astype(np.float32), **FLOAT32, what=what)


@case(task=1, points=1, needs_build=True)
def test_cpp_epoch_of_unusual_arguments(student, ref, rng):
    """No examples, one class, what the binding must refuse; rejects 0 / 0, an update of a converted copy."""
    X, y, theta, lr, batch = regression(rng, 12, 4)
    usual = (X, y, theta, lr, batch)
    none, single = (X[:0], y[:0], theta, lr, batch), (X, np.zeros_like(y), theta[:, :1], lr, batch)
    for inputs, label in ((usual, ""), (none, " (no examples)"), (single, " (one class)")):
        check_epoch(student, ref, probes.cpp_epoch, inputs, label)
    errors = student(probes.cpp_refusals, X, y, theta)
    for label in ref(probes.cpp_refusals, X, y, theta):
        if {"TypeError", "ValueError"}.isdisjoint(errors[label]["raised"]):
            pytest.fail(f"{label} must be refused with a TypeError or ValueError")


# Inputs and answers for epochs -----------------------------------------------------------------------------


SMALL, LARGER = (4, 5, 6, 7), (10, 13, 19, 35)


def regression(rng, m, batch, large=False, sizes=SMALL):
    """Return X, y, theta, lr, batch.

    With `large`, the margins between logits exceed 30, so that no probability is in doubt.
    """
    n, k = (int(size) for size in rng.choice(sizes, 2, replace=False))
    while True:
        X, y = rng.standard_normal((m, n)), rng.integers(k, size=m).astype(np.uint8)
        theta = rng.standard_normal((n, k)) * 0.3
        lr = float(rng.uniform(0.3, 0.9))
        if large:
            X, theta, lr = X * 1000, theta * 10, lr / 1000
        X, theta = X.astype(np.float32), theta.astype(np.float32)
        if not large or margin(X @ theta) > 30:
            return X, y, theta, lr, batch


def network(rng, m, batch, large=False, dead=False):
    """Return X, y, W1, W2, lr, batch, with no hidden unit so near 0 that rounding decides about its ReLU.

    `large` is as in `regression`. With `dead`, the first hidden unit is exactly 0 for every example.
    """
    n, d, k = (int(size) for size in rng.choice(SMALL, 3, replace=False))
    while True:
        X, y = rng.standard_normal((m, n)), rng.integers(k, size=m).astype(np.uint8)
        W1, W2 = rng.standard_normal((n, d)) * 0.5, rng.standard_normal((d, k)) * 0.5
        lr = float(rng.uniform(0.3, 0.9))
        if large:
            X, W2, lr = X * 1000, W2 * 10, lr / 1000
        if dead:
            W1[:, 0] = 0
        X, W1, W2 = (array.astype(np.float32) for array in (X, W1, W2))
        _, nearest = epoch_in_float64(X, y, [W1, W2], lr, batch)
        sure = margin(np.maximum(X @ W1, 0) @ W2) > 30
        if nearest > 1e-5 * np.abs(X).max() and (sure or not large):
            return X, y, W1, W2, lr, batch


def margin(Z):
    """Return the smallest distance, over all rows, between the largest logit and the next one."""
    largest = np.sort(Z, axis=1)[:, -2:]
    return (largest[:, 1] - largest[:, 0]).min()


def epoch_in_float64(X, y, weights, lr, batch):
    """Return the weights after an epoch, and the smallest distance from 0 of a hidden unit that is not 0."""
    X, weights, nearest = X.astype(np.float64), [W.astype(np.float64) for W in weights], math.inf
    for start in range(0, len(X), batch):
        Xb, yb = X[start : start + batch], y[start : start + batch]
        before = Xb @ weights[0]
        hidden = Xb if len(weights) == 1 else np.maximum(before, 0)
        Z = hidden @ weights[-1]
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        G = (P / P.sum(axis=1, keepdims=True) - np.eye(Z.shape[1])[yb]) / len(yb)
        gradients = [hidden.T @ G]
        if len(weights) == 2:
            gradients.insert(0, Xb.T @ ((before > 0) * (G @ weights[1].T)))
            nearest = min(nearest, np.abs(before[before != 0]).min())
        weights = [W - lr * gradient for W, gradient in zip(weights, gradients, strict=True)]
    return weights, nearest


def check_epoch(student, ref, probe, inputs, label="", **tolerances):
    """Compare the weights after one epoch with reference and formula."""
    X, y, *weights, lr, batch = inputs
    names = ["theta"] if len(weights) == 1 else ["W1", "W2"]
    tolerances = tolerances or FLOAT32
    formula, _ = epoch_in_float64(X, y, weights, lr, batch)
    expected, actual = ref(probe, *inputs), student(probe, *inputs)
    for name, value in zip(names, formula, strict=True):
        value = agreed(expected[name], value.astype(np.float32), **tolerances)
        assert_close(actual[name], value, **tolerances, what=f"{name} after the epoch{label}")


def check_in_place(actual, expected, X, y, names):
    """Compare views after an epoch, what surrounds them, and what must not have changed."""
    for name in names:
        what = f"{name}, a view of a larger array, or what surrounds it"
        assert_close(actual[name], expected[name], **FLOAT32, what=what)
    assert_close(actual["X"], X, **EXACT, what="X after the epoch")
    assert_close(actual["y"], y, **EXACT, what="y after the epoch")
    assert_equal(actual["returned"], None, what="what the epoch returns")
