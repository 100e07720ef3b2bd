"""Task2, 100 points: needle, reverse-mode automatic differentiation.

Values and gradients are compared with the reference's. Those are verified for each submission: values by NumPy,
gradients by central differences, epochs by a formula. All inputs and all out_grads are new for each submission. An
out_grad is never all ones, which would hide a transposed factor.
"""

import math

import numpy as np
import probes
import pytest

from autograder.testing import agreed, assert_close, assert_equal, case

FLOAT64 = {"rtol": 1e-9, "atol": 1e-9}  # sums of a few terms, in another order
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # the same with 24 bits, over some steps of training
DIFFERENCES = {"rtol": 1e-5, "atol": 1e-6}  # central differences with steps of 1e-5, for numbers near 1
EXACT = {"rtol": 0, "atol": 0}  # for values that need no computation

ELEMENTWISE = {
    "a + b": lambda a, b: a + b,
    "a + 1.5": lambda a: a + 1.5,
    "a - b": lambda a, b: a - b,
    "1 - a": lambda a: 1 - a,
    "a * b": lambda a, b: a * b,
    "a * 1.5": lambda a: a * 1.5,
    "a / b": lambda a, b: a / b,
    "a / 1.5": lambda a: a / 1.5,
    "2 / a": lambda a: 2 / a,
    "a ** b": lambda a, b: np.exp(b * np.log(a)),
    "a ** 3": lambda a: a * a * a,
    "a ** -2": lambda a: 1 / (a * a),
    "-a": lambda a: -a,
    "log(a)": np.log,
    "exp(a)": np.exp,
    "relu(a)": lambda a: np.where(a > 0, a, 0),
}
SHAPES = {
    "transpose(a)": lambda a: np.swapaxes(a, -1, -2),
    "transpose(a, (0, 1))": lambda a: np.swapaxes(a, 0, 1),
    "transpose(a, (-1, 0))": lambda a: np.swapaxes(a, -1, 0),
    "reshape(a, reversed shape)": lambda a: a.reshape(a.shape[::-1]),
    "reshape(a, (-1,))": np.ravel,
    "broadcast_to(a, (2, 3, *a.shape))": lambda a: np.broadcast_to(a, (2, 3, *a.shape)),
    "broadcast_to(a, (2, 3, 4)) of shape (3, 1)": lambda a: np.broadcast_to(a, (2, 3, 4)),
    "broadcast_to(a, (2, 3)) of shape ()": lambda a: np.broadcast_to(a, (2, 3)),
}
SUMS = {
    "summation(a)": np.sum,
    "summation(a, axes=1)": lambda a: a.sum(axis=1),
    "summation(a, axes=-1)": lambda a: a.sum(axis=-1),
    "summation(a, axes=(0, 2))": lambda a: a.sum(axis=(0, 2)),
    "summation(a, axes=(-1, 1))": lambda a: a.sum(axis=(-1, 1)),
}
USED_TWICE = {
    "a / a": np.ones_like,
    "a @ a": lambda a: a @ a,
    "a ** a": lambda a: np.exp(a * np.log(a)),
    "(a + b) + a": lambda a, b: 2 * a + b,
    "(a * b + a) * (a * b) - b / a": lambda a, b: (a * b) ** 2 + a * a * b - b / a,
}
FORMULAS = ELEMENTWISE | SHAPES | SUMS | USED_TWICE | {"a @ b": np.matmul}


# Values ----------------------------------------------------------------------------------------------------


@case(task=2, points=5)
def test_elementwise_values(student, ref, rng):
    """compute of every elementwise op, also 1 - a and 2 / a; rejects a wrong function or operand order."""
    check_values(student, ref, [(name, name, draw_for(rng, name)) for name in ELEMENTWISE])


@case(task=2, points=6)
def test_shape_and_matmul_values(student, ref, rng):
    """compute of the ops that move, repeat and add up; rejects a full transpose, axes=None only, keepdims."""
    items = [(name, name, draw_for(rng, name)) for name in SHAPES | SUMS]
    check_values(
        student, ref, items + [(label, "a @ b", arrays) for label, arrays in draw_products(rng, PRODUCTS)]
    )


# Gradients -------------------------------------------------------------------------------------------------


@case(task=2, points=9)
def test_elementwise_gradients(student, ref, rng):
    """Gradients of every elementwise op; rejects a lost factor, sign, or out_grad."""
    check_gradients(student, ref, rng, [(name, name, draw_for(rng, name)) for name in ELEMENTWISE])


@case(task=2, points=6)
def test_gradients_of_broadcast_operands(student, ref, rng):
    """+ * / ** of shapes that broadcast; rejects gradients of the output's shape, sums over wrong axes."""
    p, q, r = sizes(rng, 3)
    pairs = (((p, q), (q,)), ((p, 1), (1, q)), ((), (p, q)), ((p, 1, q), (r, 1)))
    items = []
    for name in ("a + b", "a * b", "a / b", "a ** b"):
        for left, right in pairs:
            items.append(
                (f"{name} of shapes {left} and {right}", name, [positive(rng, left), positive(rng, right)])
            )
    check_gradients(student, ref, rng, items)


@case(task=2, points=6)
def test_gradients_of_shapes(student, ref, rng):
    """transpose, reshape, broadcast_to; rejects the wrong axes back, sums over too few dimensions."""
    check_gradients(student, ref, rng, [(name, name, draw_for(rng, name)) for name in SHAPES])


@case(task=2, points=6)
def test_gradients_of_summation(student, ref, rng):
    """Sums over no, one, negative and several axes; rejects broadcasting without putting the axes back."""
    check_gradients(student, ref, rng, [(name, name, draw_for(rng, name)) for name in SUMS])


@case(task=2, points=6)
def test_gradients_of_matmul(student, ref, rng):
    """Products of two matrices; rejects swapped or untransposed factors."""
    check_gradients(
        student, ref, rng, [("a @ b", "a @ b", a_b) for _, a_b in draw_products(rng, PRODUCTS[:1])]
    )


@case(task=2, points=5)
def test_gradients_of_batched_matmul(student, ref, rng):
    """Stacks of matrices that broadcast, with dimensions of size 1; rejects sums over new dimensions only."""
    items = [(label, "a @ b", arrays) for label, arrays in draw_products(rng, PRODUCTS[1:])]
    check_gradients(student, ref, rng, items)


@case(task=2, points=4)
def test_second_derivatives(student, ref, rng):
    """Gradients of gradients; rejects gradients computed in NumPy, which end the graph."""
    p, q, r = sizes(rng, 3)
    names = ("a * b", "a / b", "2 / a", "a ** b", "a ** 3", "log(a)", "exp(a)", "a @ a", "a / a")
    items = [(name, draw_for(rng, name)) for name in names]
    items = [(name, arrays, FORMULAS[name](*arrays).shape) for name, arrays in items]
    items += [
        ("log(exp(a @ b).sum(1))", [normal(rng, (p, q)), normal(rng, (q, r))], (p,)),
        ("exp of relu(a), transposed, reshaped, broadcast and summed", [normal(rng, (p, q, r))], (p, q * r)),
    ]
    weighted = [
        (name, name, arrays, normal(rng, shape), [normal(rng, array.shape) for array in arrays])
        for name, arrays, shape in items
    ]
    expected = ref(probes.second_gradients, weighted)
    assert_close(student(probes.second_gradients, weighted), expected, **FLOAT64)


@case(task=2, points=3)
def test_float32_stays_float32(student, ref, rng):
    """Values and gradients of float32 inputs; rejects masks, ones and constants of float64."""
    items = []
    for name in (*ELEMENTWISE, "summation(a)", "a @ a"):
        arrays = [array.astype(np.float32) for array in draw_for(rng, name)]
        out_grad = normal(rng, np.shape(FORMULAS[name](*arrays))).astype(np.float32)
        items.append((name, name, arrays, out_grad))
    actual = student(probes.dtypes, items)
    for what in ref(probes.dtypes, items):
        assert_equal(actual[what], "float32", what=what)


@case(task=2, points=2)
def test_edges_of_relu_and_powers(student, ref, rng):
    """relu at 0, powers of 0, of integers; rejects a mask >= 0, NaN from 0 * log(0) or 0 * 0 ** -1."""
    a, b, v = np.array([0.0, 2.0, 0.0]), np.array([0.0, 2.0, 1.5]), normal(rng, (3,))
    items = [
        ("relu(a) at a = 0", "relu(a)", [a], v),
        ("a ** 0 at a = 0", "a ** 0", [a], v),
        ("a ** 3 at a = 0", "a ** 3", [a], v),
        ("a ** b at a = 0", "a ** b", [a, b], v),
    ]
    powers = {
        "relu(a) at a = 0": [v * (a > 0)],
        "a ** 0 at a = 0": [v * 0],
        "a ** 3 at a = 0": [v * 3 * a * a],
        "a ** b at a = 0": [v * np.array([0, 4.0, 0]), v * np.array([0, 4 * math.log(2), 0])],
    }
    formula = {
        f"the gradient of {letter} in {label}": gradient
        for label, gradients in powers.items()
        for letter, gradient in zip("ab", gradients, strict=False)
    }
    assert_close(
        student(probes.gradients, items), agreed(ref(probes.gradients, items), formula, **FLOAT64), **FLOAT64
    )
    integers = [("a ** -2 for integers", "a ** -2", [np.array([1, 2, -4])])]
    expected = agreed(ref(probes.values, integers), {integers[0][0]: np.array([1, 0.25, 0.0625])}, **FLOAT64)
    assert_close(student(probes.values, integers), expected, **FLOAT64)


# The graph -------------------------------------------------------------------------------------------------


@case(task=2, points=6)
def test_topological_order(student, ref, rng):
    """The post-order of random graphs, one output and several; rejects other orders, values twice."""
    leaves = 3
    for outputs in (1, 3):
        pairs, ends = draw_graph(rng, leaves, outputs)
        inputs = (leaves, pairs, ends)
        expected = post_order([()] * leaves + pairs, ends)
        agreed(ref(probes.topological_order, *inputs), expected, what="the order")
        actual = student(probes.topological_order, *inputs)
        what = f"the number of values found (of {outputs} output(s) with shared inputs)"
        assert_close(len(actual), len(expected), what=what)
        if actual != expected:
            pytest.fail("the order is not the post-order of a depth-first search, inputs from left to right")


@case(task=2, points=4)
def test_deep_graph(student, rng):
    """A chain of 5,000 values; rejects recursion, in sorting and in reverse mode."""
    levels, v = 5_000 + int(rng.integers(1000)), float(rng.uniform(1, 2))
    check_graph(student(probes.deep_graph, levels, v), levels + 1, [v])


@case(task=2, points=4)
@pytest.mark.timeout(5)  # linear time takes a third of a second, quadratic time ten seconds
def test_linear_time(student, rng):
    """60 diamonds, 20,000 leaves; rejects walking along all paths, searching in a list: too slow."""
    levels, leaves, v = 60 + int(rng.integers(9)), 20_000 + int(rng.integers(1000)), float(rng.uniform(1, 2))
    diamonds, sums = student(probes.diamonds, levels, v), student(probes.many_leaves, leaves, v)
    assert_close(
        diamonds["the number of values found"], levels + 1, what="the number of values found in diamonds"
    )
    check_graph(sums, 2 * leaves - 1, [v] * leaves)


@case(task=2, points=7)
def test_gradients_add_up(student, ref, rng):
    """a / a, a @ a, several paths; rejects the last contribution only, += in place on a shared gradient."""
    check_gradients(student, ref, rng, [(name, name, draw_for(rng, name)) for name in USED_TWICE])


@case(task=2, points=4)
def test_backward(student, ref, rng):
    """backward twice, by default with ones, constants; rejects adding to the old grad, grads everywhere."""
    x, c, v = (normal(rng, (2, 3)) for _ in range(3))
    derivative = 2 * x * c * c
    formula = {
        "x.grad": v * derivative,
        "x.grad after a second backward": v * derivative,
        "x.grad without an out_grad": derivative,
        "the grad of a constant": None,
        "the grad of an intermediate value": None,
        "out_grad afterwards": v,
        "x afterwards": x,
    }
    expected = agreed(ref(probes.backward_twice, x, c, v), formula, **FLOAT64)
    assert_close(student(probes.backward_twice, x, c, v), expected, **FLOAT64)


# Training --------------------------------------------------------------------------------------------------


@case(task=2, points=5)
def test_softmax_loss(student, ref, rng):
    """The mean loss and its gradient for ordinary logits; rejects a sum, a mean over the classes."""
    for m, k in ((6, 4), (1, 3), (5, 1)):
        check_loss(student, ref, rng, normal(rng, (m, k)) * 3, f" ({m} examples, {k} classes)")


@case(task=2, points=3)
def test_softmax_loss_is_stable(student, ref, rng):
    """Logits of ±1e4, sure wrong answers; rejects plain exp, one shift for all rows."""
    m, k = 6, 5
    Z = normal(rng, (m, k))
    offsets = np.where(np.arange(m) % 2, 1e4, -1e4)[:, None]
    check_loss(student, ref, rng, Z * 1e4 / np.abs(Z).max(), " (logits as large as ±1e4)")
    check_loss(student, ref, rng, Z + offsets, " (logits near 1e4 in one row, near -1e4 in the next)")


@case(task=2, points=4)
def test_nn_epoch(student, ref, rng):
    """Epochs of whole minibatches; rejects shuffling, ignored lr, weights that stay as they are."""
    for m, batch in ((20, 20), (20, 5)):
        check_epoch(student, ref, network(rng, m, batch))


@case(task=2, points=3)
def test_nn_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, batch > m; rejects division by batch, a dropped or repeated rest, a crash."""
    for m, batch in ((13, 5), (11, 10), (6, 100)):
        check_epoch(student, ref, network(rng, m, batch), f" (batch {batch} for {m} examples)")


@case(task=2, points=2)
def test_nn_epoch_leaves_nothing_behind(student, rng):
    """New float32 leaves, the old ones unchanged, no growing graph; rejects weights computed by ops."""
    X, y, W1, W2, lr, batch = network(rng, 12, 4)
    actual = student(probes.nn_epoch, X, y, W1, W2, np.float64(lr), batch)
    for name in ("W1", "W2"):
        assert_equal(actual["dtypes"][name], "float32", what=f"the dtype of the new {name}")
        assert_equal(actual["leaves"][name], True, what=f"whether the new {name} is a leaf")
    for name, label in {
        "W1": "the new W1",
        "W2": "the new W2",
        "W3": "the given W1",
        "W4": "the given W2",
    }.items():
        assert_equal(actual["grads"][name], None, what=f"the grad of {label}")
    for name, before in {"X": X, "y": y, "W1": W1, "W2": W2}.items():
        assert_close(actual["given"][name], before, **EXACT, what=f"the given {name} after the epoch")

    steps, batch, d = 60, 20, 1500
    X, y = (
        normal(rng, (steps * batch, 3)).astype(np.float32),
        rng.integers(2, size=steps * batch).astype(np.uint8),
    )
    W1, W2 = normal(rng, (3, d)).astype(np.float32), normal(rng, (d, 2)).astype(np.float32)
    # One array of hidden units has 120 kB, and one step makes several; if all 60 steps are kept, that is 40 MB.
    allowed = 10_000_000
    if not student(probes.nn_epoch_memory, X, y, W1, W2, 0.01, batch) < allowed:
        pytest.fail(
            "memory grows with every step of nn_epoch: something keeps the graphs of earlier steps alive"
        )


# Inputs ----------------------------------------------------------------------------------------------------

PRODUCTS = (  # shapes of a and b: n, k, m are the sizes of the matrices, s and t those of stacks of them
    ("nk", "km"),
    ("snk", "skm"),
    ("snk", "km"),
    ("nk", "skm"),
    ("1nk", "skm"),
    ("s1nk", "tkm"),
    ("stnk", "1tkm"),
)


def sizes(rng, count):
    """Return `count` small sizes, all different."""
    return [int(size) for size in rng.permutation([2, 3, 4, 5, 6])[:count]]


def normal(rng, shape):
    return np.asarray(rng.standard_normal(shape))


def positive(rng, shape):
    return np.asarray(rng.uniform(0.5, 1.5, shape))


def draw_for(rng, name):
    """Return arrays for an expression: of its shapes, in its domain, at least 0.5 away from 0."""
    shape = tuple(sizes(rng, 3))
    if name == "a @ a":
        shape = (shape[0], shape[0])
    elif " of shape " in name:
        shape = {"(3, 1)": (3, 1), "()": ()}[name.partition(" of shape ")[2]]
    arrays = [
        positive(rng, shape)
        for _ in range(2 if "b" in name.replace("broadcast", "").replace("rb", "") else 1)
    ]
    if "**" in name or "log" in name:
        return arrays
    return [array * rng.choice([-1.0, 1.0], shape) for array in arrays]


def draw_products(rng, products):
    """Return (label, [a, b]) for shapes of PRODUCTS."""
    n, k, m, s, t = sizes(rng, 5)
    extent = {"n": n, "k": k, "m": m, "s": s, "t": t, "1": 1}
    drawn = []
    for letters in products:
        left, right = (tuple(extent[letter] for letter in word) for word in letters)
        drawn.append((f"a @ b of shapes {left} and {right}", [normal(rng, left), normal(rng, right)]))
    return drawn


def draw_graph(rng, leaves, outputs, count=14):
    """Return the inputs of the values that are not leaves, by number, and the outputs.

    It is drawn again where the order is the same with the right input first.
    """
    while True:
        pairs = [tuple(int(i) for i in rng.integers(max(0, j - 5), j, 2)) for j in range(leaves, count)]
        ends = [*(int(i) for i in rng.integers(leaves, count - 1, outputs - 1)), count - 1]
        inputs = [()] * leaves + pairs
        if post_order(inputs, ends) != post_order([pair[::-1] for pair in inputs], ends):
            return pairs, ends


def network(rng, m, batch):
    """Return X, y, W1, W2, lr, batch, with no hidden unit so near 0 that rounding decides about its ReLU."""
    n, d, k = sizes(rng, 3)
    while True:
        X, y = normal(rng, (m, n)).astype(np.float32), rng.integers(k, size=m).astype(np.uint8)
        W1, W2 = (0.5 * normal(rng, shape).astype(np.float32) for shape in ((n, d), (d, k)))
        lr = float(rng.uniform(0.3, 0.9))
        if epoch_in_float64(X, y, W1, W2, lr, batch)[1] > 1e-5:
            return X, y, W1, W2, lr, batch


# Answers ---------------------------------------------------------------------------------------------------


def check_values(student, ref, items, **tolerances):
    """Compare the values of (label, expression, arrays) with reference and NumPy."""
    tolerances = tolerances or FLOAT64
    formula = {label: np.asarray(FORMULAS[name](*arrays), arrays[0].dtype) for label, name, arrays in items}
    expected = agreed(ref(probes.values, items), formula, **tolerances)
    assert_close(student(probes.values, items), expected, **tolerances)


def check_gradients(student, ref, rng, items):
    """Compare gradients of (label, expression, arrays) with the reference and central differences."""
    items = [(*item, normal(rng, np.shape(FORMULAS[item[1]](*item[2])))) for item in items]
    numeric = {
        f"the gradient of {letter} in {label}": difference
        for label, name, arrays, out_grad in items
        for letter, difference in zip("ab", differences(FORMULAS[name], arrays, out_grad), strict=False)
    }
    expected = agreed(ref(probes.gradients, items), numeric, **DIFFERENCES)
    assert_close(student(probes.gradients, items), expected, **FLOAT64)


def differences(formula, arrays, out_grad, step=1e-5):
    """Return, for each array, central differences of the sum of out_grad * formula(*arrays)."""
    found = []
    for number, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            ends = []
            for h in (step, -step):
                moved = [np.array(other) for other in arrays]
                moved[number][index] += h
                ends.append(np.sum(out_grad * formula(*moved)))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        found.append(gradient)
    return found


def post_order(inputs, ends):
    """Return the numbers of the values that `ends` need, in post-order; `inputs` of each value by number."""
    order = []

    def visit(number):
        if number not in order:
            for i in inputs[number]:
                visit(i)
            order.append(number)

    for end in ends:
        visit(end)
    return order


def check_graph(actual, length, gradients):
    # The answer is known; the reference would need a second for each submission.
    expected = {"the number of values found": length, "the gradient": np.array(gradients)}
    assert_close(actual, expected, **FLOAT64)


def check_loss(student, ref, rng, Z, label):
    m, k = Z.shape
    y, out_grad = rng.integers(k, size=m), normal(rng, ())
    y_one_hot, top = np.eye(k)[y], Z.max(axis=1, keepdims=True)
    log_sum = top + np.log(np.exp(Z - top).sum(axis=1, keepdims=True))
    formula = {
        "the loss": np.asarray((log_sum[:, 0] - Z[np.arange(m), y]).mean()),
        "the gradient of Z": out_grad * (np.exp(Z - log_sum) - y_one_hot) / m,
    }
    inputs = (Z, y_one_hot, out_grad)
    tolerances = {"rtol": 1e-9, "atol": 1e-9}  # roundings of numbers up to 1e4
    expected, actual = (
        agreed(ref(probes.softmax_loss, *inputs), formula, **tolerances),
        student(probes.softmax_loss, *inputs),
    )
    for name in formula:
        assert_close(actual[name], expected[name], **tolerances, what=name + label)


def epoch_in_float64(X, y, W1, W2, lr, batch):
    """Return the weights after an epoch, and the smallest distance of a hidden unit from 0."""
    X, W1, W2, nearest = X.astype(np.float64), W1.astype(np.float64), W2.astype(np.float64), math.inf
    for start in range(0, len(X), batch):
        Xb, yb = X[start : start + batch], y[start : start + batch]
        before = Xb @ W1
        hidden = np.maximum(before, 0)
        P = np.exp(hidden @ W2)
        G = (P / P.sum(axis=1, keepdims=True) - np.eye(W2.shape[1])[yb]) / len(yb)
        W1, W2 = W1 - lr * (Xb.T @ ((before > 0) * (G @ W2.T))), W2 - lr * (hidden.T @ G)
        nearest = min(nearest, np.abs(before).min())
    return {"W1": W1, "W2": W2}, nearest


def check_epoch(student, ref, inputs, label=""):
    weights, _ = epoch_in_float64(*inputs)
    formula = {name: W.astype(np.float32) for name, W in weights.items()}
    expected = agreed(ref(probes.nn_epoch, *inputs)["weights"], formula, **FLOAT32)
    actual = student(probes.nn_epoch, *inputs)["weights"]
    for name in formula:
        assert_close(actual[name], expected[name], **FLOAT32, what=f"{name} after the epoch{label}")
