"""Task1, 100 points: reading MNIST, softmax regression and a two-layer network in NumPy, and in C++.

Results are compared with answers on which the reference and formulas in float64 agree. Sizes and numbers are new for
each submission, but what tells right from wrong is in every draw: labels that reach the top class where a case is not
about the number of classes, and never do where it is; a row of very negative logits; labels of 128 and more. A case
varies one thing and keeps the rest simple, and asks several questions in one call of a probe.

One mistake costs one case. A function may be wrong for all inputs: it sums instead of averaging, say. The first case of
the function, which has the most points, says so. The other cases then ask whether the function makes the same mistake
for their inputs, and no other one; see "What a mistake leaves right". A result that has nothing to do with the right
one earns nothing there.
"""

import gzip
import math
import re
import struct

import numpy as np
import probes
import pytest

from autograder.testing import agreed, assert_close, assert_equal, assert_raised, case

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # 24 bits, after some steps of sums of up to a hundred terms near 1
EXACT = {"rtol": 0, "atol": 0}  # for values that need no computation
IMAGE_MAGIC, LABEL_MAGIC = MAGIC = 0x0803, 0x0801


@case(task=1, points=2)
def test_add(student, ref, rng):
    """x + y for numbers and arrays; rejects x += y, which changes the caller's array."""
    x, y = rng.standard_normal((3, 1)), rng.standard_normal((3, 4))
    whole = rng.integers(-9, 9, size=4).astype(np.int32)
    inputs = [
        ("two numbers", 2, int(rng.integers(3, 9))),
        ("arrays of one shape", x, x + 1),
        ("arrays of shapes (3, 1) and (3, 4)", x, y),
        ("an array and a number", y.astype(np.float32), 2),
        ("float32 and int32", whole.astype(np.float32), whole),
    ]
    expected, actual = ref(probes.additions, inputs), student(probes.additions, inputs)
    for (label, x, y), right, result in zip(inputs, expected, actual, strict=True):
        right = {"sum": agreed(right["the sum"], x + y), "x": x, "y": y}
        result = {"sum": result["the sum"], "x": result["x"], "y": result["y"]}
        for name, value in right.items():
            assert_close(result[name], value, **EXACT, what=f"{name} ({label})")


# parse_mnist -----------------------------------------------------------------------------------------------


@case(task=1, points=7)
def test_parse_mnist(student, ref, rng):
    """Pixels and labels of 28 x 28 images; rejects min-max scaling, /256, little-endian counts."""
    drawn = [draw_pixels(rng, count, 28, 28) for count in rng.permutation([9, 12])]
    check_parse(student, ref, [(pixels, rng.integers(10, size=len(pixels))) for pixels in drawn])


@case(task=1, points=4)
def test_parse_mnist_of_any_size(student, ref, rng):
    """Other counts, rows and columns, one pixel too; rejects a fixed 784, sizes taken from one byte."""
    rows, columns = rng.permutation([5, 6, 7])[:2]
    drawn = [
        draw_pixels(rng, count, rows, columns, black_and_white=True)
        for count, rows, columns in (
            (9, rows, columns),
            (8, 1, 1),
            (1, columns, rows),
            (300, 2, 1),
            (2, 3, 258),
        )
    ]
    labels = [rng.permutation(np.arange(len(pixels)) * 53 % 256) for pixels in drawn]
    usual = [draw_pixels(rng, 9, 28, 28), draw_pixels(rng, 11, 28, 28)]
    check_parse(student, ref, list(zip(drawn, labels, strict=True)), usual)


@case(task=1, points=2)
def test_parse_mnist_gives_arrays_of_ones_own(student, ref, rng):
    """float32 and uint8, C-contiguous, writable; rejects other dtypes, labels straight from np.frombuffer."""
    drawn = [(draw_pixels(rng, count, 4, 3), rng.integers(10, size=count)) for count in (5, 9)]
    inputs = [(count_of(pixels), pair(pixels, labels)) for pixels, labels in drawn]
    expected, actual = ref(probes.parse_mnist, inputs), student(probes.parse_mnist, inputs)
    for (_, labels), right, result in zip(drawn, expected, actual, strict=True):
        # The labels themselves too: any other array could have these properties as well.
        assert_close(result["y"], labels.astype(np.uint8), what="y")
        for what, value in right["properties"].items():
            assert_equal(result["properties"].get(what), value, what=what)


@case(task=1, points=3)
def test_parse_mnist_refuses_a_wrong_header(student, rng):
    """Wrong magic numbers, swapped files: ValueError with file and numbers; rejects unchecked headers."""
    pixels, labels = draw_pixels(rng, 9, 28, 28), rng.integers(10, size=9)
    images_gz, labels_gz = image_file(pixels), label_file(labels)
    first = int(rng.integers(1, 200)) << 24

    def images(what, magic):
        contents = image_file(pixels, magic=magic), labels_gz
        return f"{what} (magic 0x{magic:08x})", contents, wrong_magic(0, magic, pixels.size)

    def answers(what, magic):
        contents = images_gz, label_file(labels, magic=magic)
        return f"{what} (magic 0x{magic:08x})", contents, wrong_magic(1, magic, pixels.size)

    for_images, for_labels = (
        wrong_magic(0, LABEL_MAGIC, pixels.size),
        wrong_magic(1, IMAGE_MAGIC, pixels.size),
    )
    faults = [
        images("an image file with a wrong first byte", first | IMAGE_MAGIC),
        images("an image file of type float", 0x0D03),
        images("an image file of two dimensions", 0x0802),
        answers("a label file with a wrong second byte", first >> 8 | LABEL_MAGIC),
        answers("a label file of type short", 0x0B01),
        ("a label file in place of the image file", (labels_gz, labels_gz), for_images),
        ("an image file in place of the label file", (images_gz, images_gz), for_labels),
    ]
    check_refusals(student, rng, faults)


@case(task=1, points=3)
def test_parse_mnist_refuses_a_wrong_size(student, rng):
    """Files too short or too long, two counts: ValueError with file and numbers; rejects what reshape would say."""
    pixels, labels = draw_pixels(rng, int(rng.integers(41, 60)), 6, 5), rng.integers(10, size=70)
    labels = labels[: len(pixels)]
    images_gz, labels_gz = image_file(pixels), label_file(labels)
    size, count, some = pixels.size, len(labels), int(rng.integers(2, 9))

    def images(what, found, called_for, **changes):
        return what, (image_file(pixels, **changes), labels_gz), wrong_size(0, found, called_for)

    def answers(what, found, called_for, **changes):
        return what, (images_gz, label_file(labels, **changes)), wrong_size(1, found, called_for)

    faults = [
        images("an image file without its last byte", size - 1, size, change=lambda b: b[:-1]),
        images("an image file without its last bytes", size - some, size, change=lambda b: b[:-some]),
        images("an image file with a trailing byte", size + 1, size, change=lambda b: b + b"1"),
        images("an image file with trailing bytes", size + some, size, change=lambda b: b + b"1" * some),
        images("a header that counts 60000 images", size, 60000 * 30, shape=(60000, 6, 5)),
        images("an image file that ends after its header", 0, size, change=lambda b: b[:16]),
        answers("a label file that ends after its header", 0, count, change=lambda b: b[:8]),
        answers("a label file without its last byte", count - 1, count, change=lambda b: b[:-1]),
        answers("a label file with a trailing byte", count + 1, count, change=lambda b: b + b"1"),
        answers("a label file with trailing bytes", count + some, count, change=lambda b: b + b"1" * some),
        ("an image file that ends in its header", (compress(b"\0\0\x08\x03\0\0"), labels_gz), only_named(0)),
        ("an image file of three bytes", (compress(b"\0\0\x08"), labels_gz), only_named(0)),
        ("a label file that ends in its header", (images_gz, compress(b"\0\0\x08\x01\0\0")), only_named(1)),
        ("a label file that is empty", (images_gz, compress(b"")), only_named(1)),
        ("more images than labels", (images_gz, label_file(labels[:-1])), two_counts(count, count - 1)),
        ("more labels than images", (image_file(pixels[:-some]), labels_gz), two_counts(count - some, count)),
    ]
    check_refusals(student, rng, faults)


@case(task=1, points=2)
def test_parse_mnist_refuses_damaged_gzip(student, rng):
    """Files that are not gzip, cut off or damaged: ValueError that names them; rejects gzip's and zlib's own errors."""
    pixels, labels = draw_pixels(rng, 9, 28, 28), rng.integers(10, size=9)
    images_gz, labels_gz = image_file(pixels), label_file(labels)
    damaged = bytearray(images_gz)
    damaged[10] = 0xFF  # after gzip's header: a block of a type that does not exist
    checksum = bytearray(labels_gz)
    checksum[-8] ^= 0xFF
    faults = [
        ("an image file that is not gzip", (gzip.decompress(images_gz), labels_gz), only_named(0)),
        ("a label file that is not gzip", (images_gz, gzip.decompress(labels_gz)), only_named(1)),
        ("an image file whose gzip stream is cut off", (images_gz[:-12], labels_gz), only_named(0)),
        ("a label file whose gzip stream is cut off", (images_gz, labels_gz[:-3]), only_named(1)),
        ("an image file whose gzip stream is damaged", (bytes(damaged), labels_gz), only_named(0)),
        ("a label file whose gzip checksum is wrong", (images_gz, bytes(checksum)), only_named(1)),
    ]
    check_refusals(student, rng, faults)


@case(task=1, points=1)
def test_parse_mnist_of_any_path(student, rng):
    """str and Path, any name, a file that does not exist; rejects .endswith(".gz"), FileNotFoundError changed."""
    questions = []
    for paths in (("str", "str"), ("Path", "Path"), ("str", "Path"), ("Path", "str")):
        names = rng.permutation(["pixels", "labels.idx", "my digits.data", "t10k.gz"])[:2].tolist()
        pixels, labels = draw_pixels(rng, 4, 3, 2), rng.integers(10, size=4)
        contents = [image_file(pixels), label_file(labels)]
        what = f"{paths[0]} {names[0]!r} and {paths[1]} {names[1]!r}"
        questions.append((what, paths, dict(zip(names, contents, strict=True)), labels))
        missing = int(rng.integers(2))
        contents[missing] = None
        what = f"{paths[missing]} {names[missing]!r}, which does not exist"
        questions.append((what, paths, dict(zip(names, contents, strict=True)), None))
    questions = [questions[i] for i in rng.permutation(len(questions))]
    replies = student(probes.parse_anything, [(paths, files) for _, paths, files, _ in questions])
    for (what, _, _, labels), reply in zip(questions, replies, strict=True):
        if labels is None:
            assert_raised(reply, "FileNotFoundError", what=what)
        else:
            check_accepted(reply, labels, what)


def draw_pixels(rng, count, rows, columns, black_and_white=False):
    """Return random images: some pixels of 128 and more; 0 and 255 only, and then always, if they are asked for."""
    pixels = rng.integers(10, 200, size=(count, int(rows), int(columns)), dtype=np.uint8)
    first, second = rng.permutation(pixels.size)[:2]
    pixels.flat[first], pixels.flat[second] = (0, 255) if black_and_white else (9, 200)
    return pixels


def compress(content):
    return gzip.compress(content, mtime=0)


def image_file(pixels, magic=IMAGE_MAGIC, shape=None, change=bytes):
    return compress(change(struct.pack(">I3I", magic, *(shape or pixels.shape)) + pixels.tobytes()))


def label_file(labels, magic=LABEL_MAGIC, change=bytes):
    return compress(change(struct.pack(">II", magic, len(labels)) + labels.astype(np.uint8).tobytes()))


def pair(pixels, labels):
    return {"images.gz": image_file(pixels), "labels.gz": label_file(labels)}


def count_of(pixels):
    return "{} images of {} x {} pixels".format(*pixels.shape)


def check_parse(student, ref, drawn, usual=()):
    """Compare the values of X and y, whatever their dtypes.

    If X is wrong for the usual images too, it may be wrong for these in the same way: by a factor, or by its shape.
    """
    inputs = [(count_of(pixels), pair(pixels, labels)) for pixels, labels in drawn]
    expected, actual = ref(probes.parse_mnist, inputs), student(probes.parse_mnist, inputs)
    tolerances = {"rtol": 1e-6, "atol": 0}  # one division: a unit in the last place
    answers = []
    for (pixels, labels), right in zip(drawn, expected, strict=True):
        X = (pixels.reshape(len(pixels), -1) / 255).astype(np.float32)
        answers.append(
            [
                agreed(value, one, **tolerances)
                for value, one in ((right["X"], X), (right["y"], labels.astype(np.uint8)))
            ]
        )

    def compare(answers, note=""):
        for (pixels, _), result, (X, y) in zip(drawn, actual, answers, strict=True):
            for name, value in (("X", X), ("y", y)):
                what = f"{name} ({count_of(pixels)}){note}"
                assert_close(result[name], value, **tolerances, check_dtype=False, what=what)

    try:
        compare(answers)
    except AssertionError:
        mistake = mistake_in_pixels(student, usual)
        if mistake is None:
            raise
        factor, flat = mistake
        for (pixels, _), answer in zip(drawn, answers, strict=True):
            answer[0] = np.reshape(answer[0] * factor, answer[0].shape if flat else pixels.shape)
        tolerances["rtol"] = 1e-5
        compare(answers, SAME_MISTAKE)


def mistake_in_pixels(student, usual):
    """Return the factor by which X is wrong for the usual images, and whether it is flat; None if it is right or no
    multiple."""
    inputs = [(count_of(pixels), pair(pixels, np.zeros(len(pixels)))) for pixels in usual]
    factors, flat = [], []
    for pixels, result in zip(usual, student(probes.parse_mnist, inputs) if inputs else (), strict=True):
        X = result["X"]
        if not isinstance(X, np.ndarray) or X.shape not in (pixels.shape, (len(pixels), 28 * 28)):
            return None
        factors.append(factor_of(X.ravel(), pixels.ravel() / 255))
        flat.append(X.ndim == 2)
    if not same_factors(factors) or len(set(flat)) != 1 or (flat[0] and factors[0] == 1):
        return None
    return factors[0], flat[0]


def check_refusals(student, rng, faults):
    """Ask about files with faults and files without, in random order.

    Args:
        faults: (what, content of the image file and of the label file, check of what is raised).
    """
    names = rng.permutation(["garden.gz", "harbour.gz", "meadow.gz", "orchard.gz"])[:2].tolist()
    questions = [(what, contents, check, None) for what, contents, check in faults]
    for count in rng.permutation(np.arange(5, 40))[:3]:  # code that refuses every file has not looked at any
        pixels, labels = draw_pixels(rng, int(count), 4, 3), rng.integers(10, size=count)
        files = (image_file(pixels), label_file(labels))
        questions.append((f"files of {count_of(pixels)}, without a fault,", files, None, labels))
    questions = [questions[i] for i in rng.permutation(len(questions))]
    asked = [(("str", "str"), dict(zip(names, files, strict=True))) for _, files, _, _ in questions]
    replies = list(zip(questions, student(probes.parse_anything, asked), strict=True))
    for (what, _, check, labels), reply in replies:
        if check is None:
            check_accepted(reply, labels, what)
    for (what, _, check, _), reply in replies:
        if check is not None:
            check(reply, names, what)


def check_accepted(reply, labels, what):
    raised = reply["raised"]
    if isinstance(raised, (list, tuple)) and raised:
        pytest.fail(f"{what} must be read, but parse_mnist raises {str(raised[0])[:40]}")
    assert_close(reply["y"], labels.astype(np.uint8), check_dtype=False, what=f"y of {what}")


def wrong_magic(culprit, found, image_size):
    """Return the check of a wrong magic number."""

    def check(reply, names, what):
        naming = [names[culprit], *magic_in(reply, found, MAGIC[culprit])]
        sparing = [names[1 - culprit], image_size, image_size + 16]
        assert_raised(reply, "ValueError", naming=naming, sparing=sparing, what=what)

    return check


def wrong_size(culprit, found, called_for):
    """Return the check of a wrong size: the message gives both numbers with the header's bytes, or both without."""
    header = (16, 8)[culprit]

    def check(reply, names, what):
        numbers = [found, called_for]
        if all(says(reply, number + header) for number in numbers):
            numbers = [number + header for number in numbers]
        sparing = [names[1 - culprit], *magic_in(reply, MAGIC[culprit])]
        assert_raised(reply, "ValueError", naming=[names[culprit], *numbers], sparing=sparing, what=what)

    return check


def two_counts(images, labels):
    """Return the check of two counts that differ."""

    def check(reply, names, what):
        assert_raised(
            reply, "ValueError", naming=[*names, images, labels], sparing=magic_in(reply, *MAGIC), what=what
        )

    return check


def only_named(culprit):
    """Return the check of a file about which there is nothing to say but its name."""

    def check(reply, names, what):
        assert_raised(reply, "ValueError", naming=[names[culprit]], sparing=[names[1 - culprit]], what=what)

    return check


def says(reply, number):
    return re.search(rf"(?<!\d){number}(?!\d)", str(reply["message"])) is not None


def magic_in(reply, *numbers):
    """Return magic numbers as the message spells them: in hexadecimal if it does so, or else in decimal."""
    pattern = r"(?<![0-9a-f])(?:0x)?0*{:x}(?![0-9a-f])"
    found = [re.search(pattern.format(number), str(reply["message"]), re.IGNORECASE) for number in numbers]
    return [number if spelled is None else spelled[0] for number, spelled in zip(numbers, found, strict=True)]


# softmax_loss ----------------------------------------------------------------------------------------------


@case(task=1, points=7)
def test_softmax_loss(student, ref, rng):
    """The mean loss of ordinary logits; rejects a sum, labels read along the wrong axis."""
    inputs = []
    for m, k in ((12, 5), (30, 10), (1, 4), (6, 6)):
        Z, y = rng.standard_normal((m, k)).astype(np.float32) * 3, top_labels(rng, m, k)
        inputs.append((f"{m} examples, {k} classes", Z, y))
    check_losses(student, ref, inputs)


@case(task=1, points=5)
def test_softmax_loss_is_stable(student, ref, rng):
    """Logits of ±1e4, sure wrong answers; rejects plain exp, one shift for all rows, log(probability)."""
    m, k = 8, 6
    Z, y = rng.standard_normal((m, k)).astype(np.float32), top_labels(rng, m, k)
    large = Z * np.float32(1e4 / np.abs(Z).max())
    sure_and_wrong = Z.copy()
    sure_and_wrong[np.arange(m), y] -= 200
    offsets = rng.permutation(np.where(np.arange(m) % 2, 1e4, -1e4)).astype(np.float32)[:, None]
    inputs = [
        ("logits as large as ±1e4", large, y),
        ("the right class has the smallest logit by 200", sure_and_wrong, y),
        ("logits near 1e4 in some rows, near -1e4 in others", Z + offsets, y),
        ("all logits near -1e4", Z - np.float32(1e4), y),
        ("all logits near -200", Z - np.float32(200), y),
    ]
    check_losses(student, ref, inputs, rng, atol=2e-3)  # one unit in the last place of 1e4 is 1e-3


@case(task=1, points=3)
def test_softmax_loss_for_any_classes(student, ref, rng):
    """1 to 1000 classes, labels without the top ones, of three dtypes; rejects one-hot rows as wide as max(y)."""
    m, inputs = 10, []
    for k, below, dtype in (
        *((7, 4, np.uint8), (1, 1, np.int64), (2, 1, np.int32), (300, 256, np.uint8)),
        *((300, 299, np.int64), (1000, 700, np.int32), (12, 11, np.int64)),
    ):
        y = rng.integers(below, size=m)
        y[rng.integers(m)] = below - 1  # the largest one: 255 in a uint8, more than 255 in others
        label = f"{k} classes, labels below {below}, {np.dtype(dtype)}"
        inputs.append((label, rng.standard_normal((m, k)).astype(np.float32), y.astype(dtype)))
    check_losses(student, ref, inputs, rng)


@case(task=1, points=3)
def test_softmax_loss_keeps_inputs_and_dtype(student, ref, rng):
    """float64 stays exact, float32 stays float32, Z and y are read-only; rejects Z -= Z.max(), a cast."""
    Z, y = rng.standard_normal((9, 4)), top_labels(rng, 9, 4)
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-5)):  # some roundings
        label = f"read-only {np.dtype(dtype)} logits"
        inputs = [(label, Z.astype(dtype), y), (label, Z[:5].astype(dtype) * 2, y[:5])]
        for result in check_losses(student, ref, inputs, rng, rtol=rtol, atol=rtol, read_only=True):
            assert_equal(result["type"], str(np.dtype(dtype)), what=f"the type of the loss ({label})")


def top_labels(rng, m, k, batch=None):
    """Return m labels below k, with the top class in every minibatch, and if possible every class among them."""
    y = rng.permutation(np.arange(m) % k).astype(np.uint8)
    batch = min(batch or m, m)
    for start in range(0, m, batch):
        if k - 1 not in y[start : start + batch]:
            y[start + rng.integers(min(batch, m - start))] = k - 1
    return y


def check_losses(
    student, ref, inputs, rng=None, rtol=1e-5, atol=1e-5, read_only=False
):  # 1e-5: float32, a hundred roundings
    """Compare losses with reference and formula, whatever their dtypes; return what the student's code returned.

    With `rng`, losses that are wrong for ordinary logits by a factor may be wrong by the same factor here.
    """
    tolerances = {"rtol": rtol, "atol": atol}
    expected = ref(probes.softmax_losses, inputs, read_only)
    actual = student(probes.softmax_losses, inputs, read_only)
    answers = [
        agreed(right["loss"], Z.dtype.type(loss_formula(Z, y)), **tolerances)
        for (_, Z, y), right in zip(inputs, expected, strict=True)
    ]

    def compare(factors, note=""):
        for (label, *_), value, result, factor in zip(inputs, answers, actual, factors, strict=True):
            allowed = {"rtol": rtol, "atol": atol * max(1, abs(factor))}
            what = f"the loss ({label}){note}"
            assert_close(result["loss"], value * type(value)(factor), **allowed, check_dtype=False, what=what)

    try:
        compare([1] * len(inputs))
    except AssertionError:
        factors = factors_of_losses(student, rng, [Z for _, Z, _ in inputs]) if rng else None
        if factors is None:
            raise
        compare(factors, SAME_MISTAKE)
    return actual


def factors_of_losses(student, rng, logits):
    """Return, for logits of each shape and dtype, the factor by which ordinary losses are wrong; or None."""
    ordinary = []
    for Z in logits:
        for _ in range(2):
            y = rng.integers(min(Z.shape[1], 10), size=len(Z))
            y[0] = min(Z.shape[1], 128) - 1
            ordinary.append(
                ("ordinary logits", rng.standard_normal(Z.shape).astype(Z.dtype), y.astype(np.uint8))
            )
    own = student(probes.softmax_losses_if_any, ordinary)
    if own is None:
        return None
    factors = [
        factor_of(np.asarray([loss]), np.asarray([loss_formula(Z, y)]))
        for loss, (_, Z, y) in zip(own, ordinary, strict=True)
    ]
    pairs = list(zip(factors[::2], factors[1::2], strict=True))
    return [first for first, _ in pairs] if all(map(same_factors, pairs)) and set(factors) != {1.0} else None


def loss_formula(Z, y):
    Z, y = Z.astype(np.float64), y.astype(np.int64)
    top = Z.max(axis=1)
    return np.mean(top + np.log(np.exp(Z - top[:, None]).sum(axis=1)) - Z[np.arange(len(y)), y])


# softmax_regression_epoch ----------------------------------------------------------------------------------


@case(task=1, points=9)
def test_softmax_regression_epoch(student, ref, rng):
    """Epochs of whole minibatches; rejects theta = theta - ..., shuffling, an ignored lr."""
    runs = [regression(rng, m, batch) for m, batch in ((24, 24), (24, 4), (30, 10), (5, 1))]
    check_epochs(student, ref, "softmax_regression_epoch", runs)


@case(task=1, points=6)
def test_softmax_regression_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, batch > m; rejects division by batch, a dropped or repeated rest, a crash."""
    for sizes in (UNEVEN, HUGE):
        runs = [regression(rng, *one) for one in sizes]
        check_epochs(student, ref, "softmax_regression_epoch", runs, ordinary(rng, regression))


@case(task=1, points=4)
def test_softmax_regression_epoch_in_place(student, ref, rng):
    """theta as a view, X and y read-only, any lr, None returned; rejects ravel(), return theta, other defaults."""
    check_in_place(student, ref, "softmax_regression_epoch", rng, regression)


# nn_epoch --------------------------------------------------------------------------------------------------


@case(task=1, points=9)
def test_nn_epoch(student, ref, rng):
    """Epochs of whole minibatches; rejects no ReLU mask, swapped layers, W1's gradient from the new W2."""
    check_epochs(
        student, ref, "nn_epoch", [network(rng, m, batch) for m, batch in ((20, 20), (20, 5), (5, 1))]
    )


@case(task=1, points=5)
def test_nn_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, batch > m; rejects division by batch, a dropped or repeated rest, a crash."""
    for sizes in (UNEVEN, HUGE):
        check_epochs(student, ref, "nn_epoch", [network(rng, *one) for one in sizes], ordinary(rng, network))


@case(task=1, points=3)
def test_nn_epoch_in_place(student, ref, rng):
    """Weights as views, None returned, a hidden unit at exactly 0; rejects return W1, W2 and Z >= 0."""
    check_in_place(student, ref, "nn_epoch", rng, network, dead=True)


# Both epochs -----------------------------------------------------------------------------------------------


@case(task=1, points=2)
def test_epochs_are_stable(student, ref, rng):
    """Both epochs with logits of thousands, of both signs; rejects plain exp, clipped logits, max(0, largest)."""
    for name, draw in BOTH:
        runs = [draw(rng, m, m, large=True) for m in (12, 8)]
        check_epochs(student, ref, name, runs, ordinary(rng, draw), **LARGE)


@case(task=1, points=2)
def test_epochs_for_any_classes(student, ref, rng):
    """Both epochs with labels that lack the top classes, or above 127; rejects max(y) + 1 classes, signed labels."""
    for name, draw in BOTH:
        runs = [draw(rng, *sizes, classes=classes) for *sizes, classes in CLASSES]
        check_epochs(student, ref, name, runs, ordinary(rng, draw))


# softmax_regression_epoch_cpp ------------------------------------------------------------------------------


@case(task=1, points=6, needs_build=True)
def test_cpp_epoch(student, ref, rng):
    """The numbers of the NumPy version for whole minibatches; rejects a wrong index, a stale buffer."""
    runs = [regression(rng, *sizes, sizes=LARGER) for sizes in ((45, 15), (24, 8))]
    runs += [regression(rng, m, batch) for m, batch in ((24, 24), (24, 4), (5, 1))]
    check_epochs(student, ref, CPP, largest_first(runs))


@case(task=1, points=4, needs_build=True)
def test_cpp_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, NaN before and after it; rejects reading past the end, division by batch."""
    runs = [regression(rng, *sizes) for sizes in UNEVEN]
    expected = ref(probes.cpp_epochs_between_guards, runs)
    actual = student(probes.cpp_epochs_between_guards, runs)
    thetas = ([[result["theta"]] for result in results] for results in (actual, expected))
    check_weights(student, CPP, runs, *thetas, FLOAT32, ordinary(rng, regression))
    for (label, *inputs), right, result in zip(runs, expected, actual, strict=True):
        for side in ("before", "after"):
            untouched = np.full_like(right[side], 7)
            assert_close(result[side], untouched, **EXACT, what=f"the memory {side} theta ({label})")
        for name, value in (("X", inputs[0]), ("y", inputs[1])):
            assert_close(result[name], value, **EXACT, what=f"{name} after the epoch ({label})")
    runs = [regression(rng, *sizes) for sizes in HUGE]
    check_epochs(student, ref, CPP, runs, ordinary(rng, regression))


@case(task=1, points=2, needs_build=True)
def test_cpp_epoch_is_stable(student, ref, rng):
    """Logits of thousands, of both signs; rejects plain exp, a search for the largest that starts at 0."""
    runs = [regression(rng, m, m, large=True) for m in (12, 8)]
    check_epochs(student, ref, CPP, runs, ordinary(rng, regression), **LARGE)


@case(task=1, points=1, needs_build=True)
def test_cpp_epoch_for_any_classes(student, ref, rng):
    """Labels that lack the top classes, or above 127, up to 3000 classes; rejects char, arrays of a fixed size."""
    sizes = (*CLASSES, (5, 5, (3000, 255)))
    runs = [regression(rng, m, batch, classes=classes) for m, batch, classes in sizes]
    check_epochs(student, ref, CPP, largest_first(runs), ordinary(rng, regression))


@case(task=1, points=2, needs_build=True)
@pytest.mark.timeout(30)
def test_cpp_epoch_frees_its_memory(student, rng):
    """Memory after many epochs; rejects new[] or malloc without delete[] or free."""
    m, n, k = 200, 100, 50
    X, y = rng.standard_normal((m, n)).astype(np.float32), top_labels(rng, m, k)
    lr, theta = float(rng.uniform(0.1, 0.2)), rng.standard_normal((n, k)).astype(np.float32) / 10
    inputs = (X, y, theta, {"lr": lr, "batch": m})
    # The peaks are measured from outside the process, so that nothing in it can make the figures smaller.
    few = student(probes.cpp_epochs_one_after_another, *inputs, 20)
    before = student.peak_bytes
    many = student(probes.cpp_epochs_one_after_another, *inputs, 220)
    grown = student.peak_bytes - before
    # Twenty epochs of one minibatch are one epoch of twenty.
    run = ("20 epochs in a row", np.tile(X, (20, 1)), np.tile(y, 20), [theta], {"lr": lr, "batch": m})
    right = formula_of(*run[1:])
    check_weights(student, CPP, [run], [[few["theta"]]], [right], FLOAT32, ordinary(rng, regression))
    advice = "free what you allocate, or use std::vector"
    for epochs, result in ((10, few), (110, many)):
        if result["kept"] is not None and result["kept"] > 0:
            pytest.fail(f"{int(result['kept'])} bytes that {epochs} epochs allocated are not freed: {advice}")
    # Memory that was allocated by other means. With one array of batch * k floats in every epoch, that is 8 MB.
    if grown > 3_000_000:
        pytest.fail(f"the process grows with every epoch: {advice}")


@case(task=1, points=1, needs_build=True)
def test_cpp_epoch_is_careful_with_its_own_arrays(student, ref, rng):
    """Arrays that begin as 3e38, the memory after them, how they are freed; rejects off by one, free() of new[]."""
    shapes = [
        OWN_SHAPES[0],
        *rng.permutation(OWN_SHAPES[1:]).tolist(),
    ]  # later arrays are larger than the first
    runs = [regression(rng, *sizes, sizes=shape) for shape, sizes in zip(shapes, OWN_SIZES, strict=True)]
    expected, actual = ref(probes.epochs, CPP, runs), student(probes.cpp_epochs_under_guard, runs)
    for (label, *inputs), (right,), result in zip(runs, expected, actual, strict=True):
        X, _, (theta,), keywords = inputs
        sizes = f"{label}, n = {X.shape[1]}, k = {theta.shape[1]}"
        overrun, mismatched = (int(result.get(name, -1)) for name in ("overrun", "mismatched"))
        if overrun >= 0:
            what = f"an array of {overrun} bytes that it allocated"
            pytest.fail(f"your code writes past the end of {what} ({sizes})")
        if mismatched >= 0:
            what = f"an array of {mismatched} bytes in the wrong way"
            advice = "delete[] is for new[], delete for new, free for malloc"
            pytest.fail(f"your code frees {what}: {advice} ({sizes})")
        if len(X) % keywords["batch"]:
            continue  # another case asks for the numbers of a smaller last minibatch
        run = (f"in which new and malloc give memory that is full of 3e38; {sizes}", *inputs)
        thetas = [[result["theta"]]], [[right]]
        check_weights(student, CPP, [run], *thetas, FLOAT32, ordinary(rng, regression))


@case(task=1, points=1, needs_build=True)
@pytest.mark.timeout(30)
def test_cpp_epoch_with_large_arrays(student, rng):
    """Minibatches of 9 MB, more than 32,767 of everything; rejects arrays on the stack (of 8 MiB), indices in short."""
    # Examples, batch, features, classes. The third minibatch begins at 45,000. Labels beyond 127 belong to other cases.
    for m, batch, n, k in ((45_010, 22_500, 2, 100), (2, 2, 33_000, 80), (2, 2, 2, 33_000)):
        X, theta = rng.standard_normal((m, n)) / math.sqrt(n), rng.standard_normal((n, k)) * 0.3
        if k > 32_767:  # most probable are the last classes
            X, theta[:, -3:] = np.abs(X) + 0.5, 6
        X, theta, y = X.astype(np.float32), theta.astype(np.float32), rng.integers(min(k, 128), size=m)
        label = f"batch {batch} for {m} examples, {n} features, {k} classes"
        keywords = {"lr": float(rng.uniform(0.3, 0.9)), "batch": batch}
        runs = [(label, X, y.astype(np.uint8), [theta], keywords), regression(rng, 4, 4)]
        actual = student(probes.epochs, CPP, runs, what=f"an epoch in C++ with {label}")
        # The formula alone: the reference would need too long for arrays of this size.
        check_weights(student, CPP, runs, actual, None, FLOAT32, ordinary(rng, regression))


@case(task=1, points=1, needs_build=True)
def test_cpp_epoch_of_unusual_arguments(student, ref, rng):
    """No examples, what the binding must refuse; rejects 0 / 0, an update of a converted copy."""
    _, X, y, (theta,), keywords = regression(rng, 12, 12)
    usual, empty = ("12 examples", X, y, [theta], keywords), ("no examples", X[:0], y[:0], [theta], keywords)
    check_epochs(student, ref, CPP, [usual, empty, usual], ordinary(rng, regression))
    errors = student(probes.cpp_refusals, X, y, theta)
    for label in ref(probes.cpp_refusals, X, y, theta):
        if {"TypeError", "ValueError"}.isdisjoint(errors[label]["raised"]):
            pytest.fail(f"{label} must be refused with a TypeError or ValueError")


# Inputs and answers for epochs -----------------------------------------------------------------------------


CPP = "softmax_regression_epoch_cpp"
SMALL, LARGER = (4, 5, 6, 7), (10, 13, 19, 35)
UNEVEN = ((13, 5), (11, 10), (6, 100))  # examples, batch
HUGE = ((6, 10**12), (9, 10**12))
OWN_SIZES = ((1, 1), (4, 4), (6, 6), (3, 3), (9, 9), (16, 16), (5, 2), (7, 3), (8, 100), (13, 5))
OWN_SHAPES = ((1, 2), (4, 1), (2, 1), (2, 3), (3, 5), (5, 2), (7, 10), (8, 8), (17, 3), (33, 9))
LARGE = {"rtol": 1e-4, "atol": 1e-3}  # features of a thousand, steps of one

# Examples, batch, (classes, largest label): the top classes never occur, except where there is one class only. There
# are more than 256 classes once, so that not even a label of 255 is the top one.
CLASSES = ((12, 12, (7, 3)), (11, 11, (5, 2)), (9, 9, (300, 255)), (8, 8, (2, 0)), (6, 6, (1, 0)))


def regression(rng, m, batch, lr=None, large=False, sizes=SMALL, classes=None):
    """Return a run of softmax regression: its label, X, y, weights, keywords.

    With `large`, all logits of some rows are near 1e4 and all of the others near -1e4, and the margins between them
    exceed 30, so that no probability is in doubt.
    """
    n, k = sizes if len(sizes) == 2 else (int(size) for size in rng.choice(sizes, 2, replace=False))
    k, y = draw_labels(rng, m, k, batch, classes)
    while True:
        X, theta = rng.standard_normal((m, n)), rng.standard_normal((n, k)) * 0.3
        rate = float(rng.uniform(0.3, 0.9)) if lr is None else lr
        if large:
            X, theta, rate = X * 1000, theta * 3, rate / 1000
            X[:, 0], theta[0] = signs(rng, m) * 1000, theta[0] / 10 + 9
        X, theta = X.astype(np.float32), theta.astype(np.float32)
        if not large or margin(X @ theta) > 30:
            return label_of(m, batch, large, classes), X, y, [theta], {"lr": rate, "batch": batch}


def network(rng, m, batch, lr=None, large=False, classes=None, dead=False):
    """Return a run of the network, with no hidden unit so near 0 that rounding decides about its ReLU.

    `large` is as in `regression`. With `dead`, the first hidden unit is exactly 0 for every example.
    """
    n, d, k = (int(size) for size in rng.choice(SMALL, 3, replace=False))
    k, y = draw_labels(rng, m, k, batch, classes)
    while True:
        X = rng.standard_normal((m, n))
        W1, W2 = rng.standard_normal((n, d)) * 0.5, rng.standard_normal((d, k)) * 0.5
        rate = float(rng.uniform(0.3, 0.9)) if lr is None else lr
        if large:  # the first hidden unit is on in some rows, the second in the others
            X, W2, rate = X * 1000, W2 * 2, rate / 1000
            X[:, 0], W1[:, :2] = signs(rng, m) * 1000, 0
            W1[0, 0], W1[0, 1] = 1, -1
            W2[0], W2[1] = W2[0] / 10 + 9, W2[1] / 10 - 9
        if dead:
            W1[:, 0] = 0
        X, W1, W2 = (array.astype(np.float32) for array in (X, W1, W2))
        _, nearest = epoch_in_float64(X, y, [W1, W2], rate, batch)
        sure = margin(np.maximum(X @ W1, 0) @ W2) > 30 if large else True
        if nearest > 1e-5 * np.abs(X).max() and sure:
            return label_of(m, batch, large, classes), X, y, [W1, W2], {"lr": rate, "batch": batch}


BOTH = (("softmax_regression_epoch", regression), ("nn_epoch", network))


def draw_labels(rng, m, k, batch, classes):
    """Return the number of classes and the labels: the top class in every minibatch, or `classes`."""
    if classes is None:
        return k, top_labels(rng, m, k, batch)
    k, largest = classes
    y = rng.integers(largest + 1, size=m)
    y[rng.integers(m)] = largest
    return k, y.astype(np.uint8)


def signs(rng, m):
    return rng.permutation(np.where(np.arange(m) % 2, 1, -1))


def label_of(m, batch, large, classes):
    label = f"batch {batch} for {m} examples" if batch < 10**9 else f"batch 10**12 for {m} examples"
    if large:
        label += ", logits near ±1e4"
    if classes:
        label += f", {classes[0]} classes, labels up to {classes[1]}"
    return label


def margin(Z):
    """Return the smallest distance, over all rows, between the largest logit and the next one."""
    largest = np.sort(Z, axis=1)[:, -2:]
    return (largest[:, 1] - largest[:, 0]).min()


def epoch_in_float64(X, y, weights, lr=0.1, batch=100):
    """Return the weights after an epoch, and the smallest distance from 0 of a hidden unit that is not 0."""
    X, weights, nearest = X.astype(np.float64), [W.astype(np.float64) for W in weights], math.inf
    for start in range(0, len(X), batch):
        Xb, yb = X[start : start + batch], y[start : start + batch]
        before = Xb @ weights[0]
        hidden = Xb if len(weights) == 1 else np.maximum(before, 0)
        Z = hidden @ weights[-1]
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        P[np.arange(len(yb)), yb] -= 1
        G = P / len(yb)
        gradients = [hidden.T @ G]
        if len(weights) == 2:
            gradients.insert(0, Xb.T @ ((before > 0) * (G @ weights[1].T)))
            nearest = min(nearest, np.abs(before[before != 0]).min())
        weights = [W - lr * gradient for W, gradient in zip(weights, gradients, strict=True)]
    return weights, nearest


def formula_of(X, y, weights, keywords):
    """Return the weights after an epoch as float32."""
    return [W.astype(np.float32) for W in epoch_in_float64(X, y, weights, **keywords)[0]]


def largest_first(runs):
    """Sort runs, so that an array which is kept from call to call and never grows is another case's business."""
    return sorted(runs, key=lambda run: run[3][0].size, reverse=True)


def names_of(weights):
    return ["theta"] if len(weights) == 1 else ["W1", "W2"]


def check_epochs(student, ref, name, runs, ordinary=None, **tolerances):
    """Compare the weights after epochs with reference and formula, whatever their dtypes; see `check_weights`."""
    expected, actual = ref(probes.epochs, name, runs), student(probes.epochs, name, runs)
    check_weights(student, name, runs, actual, expected, tolerances or FLOAT32, ordinary)


def check_weights(student, name, runs, actual, expected, tolerances, ordinary=None):
    """Compare the weights after each run with reference and formula, whatever their dtypes.

    Args:
        expected: what the reference computes; None: the formula alone decides.
        ordinary: draws ordinary runs. If the epoch is wrong for these, the weights may be wrong in the same way.
    """
    answers = [formula_of(*inputs) for _, *inputs in runs]
    for right, answer in zip(expected or (), answers, strict=expected is not None):
        agreed(right, answer, **tolerances)

    def compare(answers, note=""):
        for (label, *_), result, answer in zip(runs, actual, answers, strict=True):
            for what, W, value in zip(names_of(answer), result, answer, strict=True):
                what = f"{what} after the epoch ({label}){note}"
                assert_close(W, value, **tolerances, check_dtype=False, what=what)

    try:
        compare(answers)
    except AssertionError:
        own = with_the_same_mistake(student, name, ordinary(), runs, tolerances) if ordinary else None
        if own is None:
            raise
        compare(own, SAME_MISTAKE)


def check_in_place(student, ref, name, rng, draw, **options):
    """Run epochs on weights that are views, with X and y read-only or writable, several kinds of lr, and defaults."""
    lr = rng.uniform(0.3, 0.9)
    rates = ((12, 4, np.float64(lr)), (15, 5, 1), (140, 70, np.float32(lr / 2)))
    runs = [draw(rng, m, batch, lr=rate, **options) for m, batch, rate in rates]
    _, *inputs, _ = draw(rng, 200, 100, lr=0.1, **options)
    runs.append(("200 examples, lr and batch left out", *inputs, {}))
    runs = [(f"{label}, weights that are views", *rest) for label, *rest in runs]
    for read_only in (False, True):
        expected = ref(probes.epochs_on_views, name, runs, read_only)
        actual = student(probes.epochs_on_views, name, runs, read_only)
        weights = ([result["weights"] for result in results] for results in (actual, expected))
        check_weights(student, name, runs, *weights, FLOAT32, ordinary(rng, draw))
        for (label, X, y, weights, _), result in zip(runs, actual, strict=True):
            for what, beside in zip(names_of(weights), result["beside"], strict=True):
                around = np.full(beside.shape, 7, np.float32)
                assert_close(
                    beside, around, **EXACT, check_dtype=False, what=f"what surrounds {what} ({label})"
                )
            assert_close(result["X"], X, **EXACT, what=f"X after the epoch ({label})")
            assert_close(result["y"], y, **EXACT, what=f"y after the epoch ({label})")
            assert_equal(result["returned"], None, what="what the epoch returns")


# What a mistake leaves right -------------------------------------------------------------------------------


SAME_MISTAKE = ", beside what the same mistake for ordinary inputs leads to,"
RIGHT, SCALED, OTHER = "right", "scaled", "other"


def ordinary(rng, draw):
    """Return a function that draws runs of one minibatch, about which nothing is special."""
    return lambda: [draw(rng, 12, 12) for _ in range(3)]


def with_the_same_mistake(student, name, ordinary, runs, tolerances):
    """Return the weights after each run that follow from the mistake which the epoch makes for ordinary runs, or None.

    They are what the student's own code computes, one minibatch at a time, if this has the same mistake at each step:
    a step that is the right one times a factor (a sum in place of a mean, say), or wrong weights of one layer beside
    right ones of the other. At least one layer must take right steps, or multiples of them. So code that computes
    something else, or nothing, earns nothing.
    """
    results = student(probes.epochs_by_steps, name, [*ordinary, *runs])
    if not isinstance(results, list) or len(results) != len(ordinary) + len(runs):
        return None
    usual, asked = results[: len(ordinary)], results[len(ordinary) :]
    mistakes = [RIGHT] * len(runs[0][3])
    for run, after in zip(ordinary, usual, strict=True):
        for kinds in kinds_of_steps(run, after, FLOAT32):
            if None in kinds:
                return None
            mistakes = [
                max(pair, key=(RIGHT, SCALED, OTHER).index) for pair in zip(mistakes, kinds, strict=True)
            ]
    if set(mistakes) <= {RIGHT} or set(mistakes) <= {OTHER}:
        return None
    allowed = {RIGHT: (RIGHT,), SCALED: (RIGHT, SCALED), OTHER: (RIGHT, SCALED, OTHER)}
    for run, after in zip(runs, asked, strict=True):
        for kinds in kinds_of_steps(run, after, tolerances):
            if any(kind not in allowed[mistake] for kind, mistake in zip(kinds, mistakes, strict=True)):
                return None
    return [after[-1] if after else run[3] for run, after in zip(runs, asked, strict=True)]


def kinds_of_steps(run, after, tolerances):
    """Say of each step and each layer whether its new weights are RIGHT, SCALED or OTHER; None where nothing changed.

    Each step is judged from the weights with which it began, right or not.
    """
    _, X, y, before, keywords = run
    batch, lr = min(keywords.get("batch", 100), max(len(X), 1)), keywords.get("lr", 0.1)
    starts = range(0, len(X), batch)
    if len(after) != len(starts):
        return [[None] * len(before)]
    found = []
    for start, new in zip(starts, after, strict=True):
        Xb, yb = X[start : start + batch], y[start : start + batch]
        right, _ = epoch_in_float64(Xb, yb, before, float(lr), len(yb))
        found.append([kind_of(*three, tolerances) for three in zip(before, new, right, strict=True)])
        before = new
    return found


def kind_of(before, after, right, tolerances):
    if not isinstance(after, np.ndarray) or after.shape != right.shape or after.dtype.kind != "f":
        return None
    if np.allclose(after, right, **tolerances):
        return RIGHT
    change = after.astype(np.float64) - before
    if not np.isfinite(change).all() or not change.any():
        return None
    return OTHER if factor_of(change, right - before) is None else SCALED


def factor_of(actual, right):
    """Return the number by which the right array is multiplied, 1 if it is 0 and right, None if there is none."""
    actual, right = np.asarray(actual, np.float64), np.asarray(right, np.float64)
    if np.allclose(actual, right, rtol=1e-5, atol=1e-6):
        return 1.0
    if actual.shape != right.shape or not np.isfinite(actual).all() or not right.any():
        return None
    factor = float((actual * right).sum() / (right * right).sum())
    exact = np.linalg.norm(actual - factor * right) <= 1e-3 * np.linalg.norm(actual)
    return factor if exact and factor else None


def same_factors(factors):
    """Return whether there are factors, all equal."""
    return None not in factors and bool(factors) and np.allclose(factors, factors[0], rtol=1e-3, atol=0)
