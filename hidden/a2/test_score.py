"""Task2, 100 points: needle, reverse-mode automatic differentiation.

Values and gradients are compared with the reference's. Those are verified for each submission: values by NumPy,
gradients by central differences, epochs by a formula. All inputs and all out_grads are new for each submission. An
out_grad is never all ones, which would hide a transposed factor. Only the last case asks for dtypes.

The cases of ops call `compute` and `gradient` alone; those of the graph and of reverse mode use ops of the probes. So a
student earns points for each part alone, and a mistake in one op costs the cases of its group, and not all.

A mistake in an op or in the loss does not cost the cases of what is built upon it: an epoch may take the steps that
follow from the gradients which the student's own `backward` gives, and the gradient of a loss that is wrong by a factor
may be wrong by that factor.
"""

import math

import numpy as np
import probes
import pytest

from autograder.testing import agreed, assert_close, assert_equal, assert_raised, case

FLOAT64 = {"rtol": 1e-9, "atol": 1e-9}  # sums of a few terms, in another order
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # the same with 24 bits, over some steps of training
DIFFERENCES = {"rtol": 1e-5, "atol": 1e-6}  # central differences with steps of 1e-5, for numbers near 1
VALUES = {"check_dtype": False}

FORMULAS = {
    "power": lambda a, b: np.exp(b * np.log(a)),
    "power_scalar": lambda a, s: np.asarray(a, float) ** float(s),
    "divide": lambda a, b: a * (1 / b),
    "divide_scalar": lambda a, s: a * (1 / s),
    "2 / a": lambda a: 2 * (1 / a),
    "negate": lambda a: 0 - a,
    "1 - a": lambda a: 1 - a,
    "log": np.log,
    "exp": np.exp,
    "relu": lambda a: np.where(a > 0, a, 0),
    "transpose": lambda a, axes=(-1, -2): np.swapaxes(a, *axes),
    "reshape": np.reshape,
    "broadcast_to": np.broadcast_to,
    "summation": lambda a, axes=None: a.sum(axis=axes),
    "matmul": np.matmul,
    "sum_to_shape": lambda a, shape: np.broadcast_to(a, shape),  # of which it is the gradient
}
KEYWORDS = {"transpose": "axes=", "summation": "axes="}


# Values ----------------------------------------------------------------------------------------------------


@case(task=2, points=3)
def test_powers_and_quotients(student, ref, rng):
    """compute of powers and quotients, also 2 / a; rejects a wrong function or operand order, changed inputs."""
    check_values(student, ref, [item(rng, name, *more) for name, *more in POWERS + QUOTIENTS])


@case(task=2, points=3)
def test_negate_log_exp_relu(student, ref, rng):
    """compute of negate, log, exp, relu, also 1 - a; rejects a wrong function, -a in place, changed inputs."""
    items = [item(rng, name) for name in UNARY]
    check_values(student, ref, items, new=[label for label, name, *_ in items if name == "negate"])


@case(task=2, points=2)
def test_powers_and_quotients_of_integers(student, ref, rng):
    """Integers to negative powers are fractions, quotients are true; rejects NumPy's error, //."""
    a, b = (
        rng.permutation([1, 2, -3, 4, -5, int(rng.integers(6, 20))]),
        rng.permutation([-2, -1, 2, 3, 4, -3]),
    )
    positive_b = np.abs(b)
    items = [
        ("power_scalar(a, -1) of integers", "power_scalar", (-1,), [a]),
        ("power_scalar(a, -2) of integers", "power_scalar", (-2,), [a]),
        ("power_scalar(a, 2) of integers", "power_scalar", (2,), [a]),
        ("power(a, b) of integers, some b negative,", "power", (), [a, b]),
        ("power(a, b) of integers, each b negative,", "power", (), [a, -positive_b]),
        ("power(a, b) of integers", "power", (), [a, positive_b]),
        ("divide(a, b) of integers", "divide", (), [a, b]),
        ("divide_scalar(a, 4) of integers", "divide_scalar", (4,), [a]),
    ]
    formulas = {
        "power": lambda a, b: a.astype(float) ** b,
        "divide": lambda a, b: a.astype(float) / b,
        "divide_scalar": lambda a, s: a.astype(float) / s,
    }
    check_values(student, ref, items, formulas=FORMULAS | formulas)


@case(task=2, points=3)
def test_transpose_reshape_broadcast(student, ref, rng):
    """compute of the ops that move and repeat; rejects a full transpose, another order of elements."""
    check_values(student, ref, [item(rng, *name) for name in moves(rng)])


@case(task=2, points=2)
def test_summation(student, ref, rng):
    """Sums over no, one, negative and several axes; rejects axes=None only, keepdims."""
    check_values(student, ref, [item(rng, "summation", *axes) for axes in AXES])


@case(task=2, points=3)
def test_matmul(student, ref, rng):
    """Products of matrices and of stacks of them; rejects dot, elementwise products."""
    check_values(student, ref, products(rng, PRODUCTS))


@case(task=2, points=2)
def test_shapes_that_do_not_fit(student, ref, rng):
    """ValueError for vectors in matmul, missing axes, other sizes, beside shapes that fit; rejects no check."""
    n, k, m, s, t = sizes(rng, 5)
    faulty = [
        ("matmul", (), (k,), (k, m)),
        ("matmul", (), (n, k), (k,)),
        ("matmul", (), (k,), (k,)),
        ("matmul", (), (s, n, k), (k,)),
        ("matmul", (), (k,), (s, k, m)),
        ("matmul", (), (n, k), (m, k)),
        ("matmul", (), (s, n, k), (t, k, m)),
        ("transpose", (), (k,)),
        ("transpose", ((0, 2),), (n, k)),
        ("reshape", ((n, k),), (n, k + 1)),
        ("broadcast_to", ((k, k + 1),), (k,)),
        ("broadcast_to", ((k,),), (n, k)),
        ("summation", (2,), (n, k)),
        ("summation", (-3,), (n, k)),
    ]
    right = [
        ("matmul", (), (n, k), (k, m)),
        ("matmul", (), (1, k), (k, 1)),
        ("matmul", (), (s, n, k), (k, m)),
        ("matmul", (), (k, k), (k, k)),
        ("transpose", (), (n, k)),
        ("reshape", ((k, n),), (n, k)),
        ("broadcast_to", ((n, k),), (k,)),
        ("summation", (1,), (n, k)),
    ]
    items = [
        (called(name, parameters, shapes), name, parameters, [normal(rng, shape) for shape in shapes])
        for name, parameters, *shapes in shuffled(rng, faulty + right)
    ]
    refused = {called(name, parameters, shapes) for name, parameters, *shapes in faulty}
    check_refusals(student(probes.attempts, items), ref(probes.attempts, items), refused)


# Gradients of each op alone --------------------------------------------------------------------------------


@case(task=2, points=3)
def test_sum_to_shape(student, ref, rng):
    """Sums over dimensions that were added and stretched, also to 0; rejects one kind only, a copy for no sum."""
    p, q, r = sizes(rng, 3)
    pairs = (
        ((p, q, r), (q, r)),
        ((p, q, r), (1, q, r)),
        ((p, q, r), (q, 1)),
        ((p, q, r), (p, 1, r)),
        ((p, q, r), (1, 1, 1)),
        ((p, q), ()),
        ((1, q, r), (1, r)),
        ((1, q, r), (q, 1)),
        ((1, q), (q,)),
        ((0, q), (1, q)),
        ((p, 0), (1,)),
        ((p, q), (p, q)),
        ((), ()),
    )
    items = [
        (f"sum_to_shape(grad, {after}) for grad of shape {before}", normal(rng, before), after)
        for before, after in shuffled(rng, pairs)
    ]
    formula = {}
    for label, grad, shape in items:
        added = grad.ndim - len(shape)
        stretched = [added + i for i, size in enumerate(shape) if size == 1]
        formula[label] = grad.sum(axis=(*range(added), *stretched)).reshape(shape)
        if grad.shape == shape:
            formula[f"whether {label} is the same Tensor"] = True
    expected = agreed(ref(probes.sums_to_shape, items), formula, **FLOAT64)
    assert_close(student(probes.sums_to_shape, items), expected, **FLOAT64, **VALUES)


@case(task=2, points=3)
def test_gradients_of_powers(student, ref, rng):
    """gradient of power and power_scalar; rejects a lost factor or out_grad, an exponent off by one."""
    check_gradients(student, ref, rng, [item(rng, *name) for name in POWERS])


@case(task=2, points=3)
def test_gradients_of_quotients(student, ref, rng):
    """gradient of divide and divide_scalar; rejects a lost factor, sign or out_grad."""
    check_gradients(student, ref, rng, [item(rng, *name) for name in QUOTIENTS if name[0] != "2 / a"])


@case(task=2, points=3)
def test_gradients_of_negate_log_exp_relu(student, ref, rng):
    """gradient of negate, log, exp, relu; rejects a lost factor, sign or out_grad."""
    check_gradients(student, ref, rng, [item(rng, name) for name in UNARY if name != "1 - a"])


@case(task=2, points=3)
def test_gradients_of_transpose_reshape_broadcast(student, ref, rng):
    """gradient of transpose, reshape, broadcast_to; rejects the wrong axes back, sums over too few dimensions."""
    check_gradients(student, ref, rng, [item(rng, *name) for name in moves(rng)])


@case(task=2, points=3)
def test_gradients_of_summation(student, ref, rng):
    """Sums over no, one, negative and several axes; rejects broadcasting without putting the axes back."""
    check_gradients(student, ref, rng, [item(rng, "summation", *axes) for axes in AXES])


@case(task=2, points=4)
def test_gradients_of_matmul(student, ref, rng):
    """Products of two matrices; rejects swapped or untransposed factors."""
    check_gradients(student, ref, rng, products(rng, PRODUCTS[:1]) + products(rng, PRODUCTS[:1]))


@case(task=2, points=3)
def test_gradients_of_batched_matmul(student, ref, rng):
    """Stacks of matrices that broadcast, with dimensions of size 1; rejects sums over new dimensions only."""
    check_gradients(student, ref, rng, products(rng, PRODUCTS[1:]))


@case(task=2, points=3)
def test_gradients_of_broadcast_operands(student, ref, rng):
    """/ and ** of shapes that broadcast; rejects gradients of the output's shape, sums over wrong axes."""
    p, q, r = sizes(rng, 3)
    pairs = (((p, q), (q,)), ((p, 1), (1, q)), ((), (p, q)), ((p, 1, q), (r, 1)), ((1, q), (p, q)))
    items = [
        (called(name, (), shapes), name, (), [positive(rng, shape) for shape in shapes])
        for name in ("divide", "power")
        for shapes in pairs
    ]
    check_gradients(student, ref, rng, items)


@case(task=2, points=2)
def test_edges_of_relu_and_powers(student, ref, rng):
    """relu at 0, powers of 0 and of negative numbers; rejects a mask >= 0, NaN from 0 * log(0), warnings."""
    x, y = (float(number) for number in rng.uniform(0.5, 3, 2))
    order, v, none = rng.permutation(5), normal(rng, (5,)), np.zeros(5, bool)
    a, b = np.array([0, x, 0, 0, y])[order], np.array([0, 2, 1.5, 1, 0])[order]
    c, d = np.array([-2, -x, -1, -y, x])[order], np.array([2, 3, 0, -1, 3.0])[order]
    at = "{} at a = 0".format
    items = [
        (at("relu(a)"), "relu", (), [a]),
        (at("power_scalar(a, 0)"), "power_scalar", (0,), [a]),
        (at("power_scalar(a, 1)"), "power_scalar", (1,), [a]),
        (at("power_scalar(a, 3)"), "power_scalar", (3,), [a]),
        (at("power(a, b)"), "power", (), [a, b]),
        ("power(a, b) for some a < 0", "power", (), [c, d]),
    ]
    base = np.where(a == 0, 1, a)
    wanted = (
        [(v * (a > 0), none)],
        [(v * 0, none)],
        [(v, none)],
        [(v * 3 * a * a, none)],
        [
            (v * np.where(a == 0, b == 1, b * base ** (b - 1)), none),
            (v * np.where(a == 0, 0, base**b * np.log(base)), none),
        ],
        [(v * d * c ** (d - 1), none), (v * np.where(c < 0, 0, c**d * np.log(np.abs(c))), c < 0)],
    )
    formula = {}
    for (label, *_), gradients in zip(items, wanted, strict=True):
        for letter, (gradient, places) in zip("ab", gradients, strict=False):
            formula[f"the places of NaN in the gradient of {letter} in {label}"] = places
            formula[f"the gradient of {letter} in {label}"] = gradient
    warned = f"the number of warnings from the gradient of {items[-1][0]}"
    items = [(*one, v) for one in items]
    actual, expected = student(probes.edges, items), ref(probes.edges, items)
    for what, value in formula.items():
        assert_close(
            actual[what], agreed(expected[what], value, **FLOAT64, what=what), **FLOAT64, **VALUES, what=what
        )
    assert_equal(actual[warned], agreed(expected[warned], 0), what=warned)


@case(task=2, points=1)
def test_gradients_of_constants(student, ref, rng):
    """None for an operand of matmul or power that is a constant; rejects the expensive product of training data."""
    n, k = sizes(rng, 2)
    items, formula = [], {}
    for name, shape in (("matmul", (n, n)), ("power", (k,))):
        for constant in "ab":
            arrays = [positive(rng, shape) for _ in "ab"]
            items.append((f"{name}(a, b)", name, arrays, normal(rng, shape), constant))
            for letter in "ab":
                what = f"whether the gradient of {letter} is None in {name}(a, b) with {constant} a constant"
                formula[what] = letter == constant
    items = shuffled(rng, items)
    expected = agreed(ref(probes.gradients_left_out, items), formula)
    assert_close(student(probes.gradients_left_out, items), expected)


# The graph -------------------------------------------------------------------------------------------------


@case(task=2, points=6)
def test_topological_order(student, ref, rng):
    """The post-order of random graphs, one output and several; rejects other orders, values twice."""
    leaves, graphs = 3, []
    for outputs in (1, 1, 3, 3):
        inputs, ends = draw_graph(rng, leaves, outputs)
        graphs.append((f"{outputs} output(s), number {len(graphs)}", leaves, inputs, ends))
    graphs += [("no output", 1, [], []), ("a leaf as the output", 2, [], [1])]
    actual, expected = student(probes.orders, graphs), ref(probes.orders, graphs)
    for label, _, inputs, ends in graphs:
        right = post_order([()] * leaves + inputs, ends)
        agreed(expected[label]["order"], np.array(right, np.int64))
        several = f", with {len(ends)} outputs" if len(ends) != 1 else ""
        check_facts(actual[label], f"find_topo_sort{several}")
        what = "the order of find_topo_sort, compared with the post-order, inputs from left to right,"
        assert_close(actual[label]["order"], expected[label]["order"], what=what)


@case(task=2, points=2)
def test_search(student, ref, rng):
    """topo_sort_dfs adds what is not visited yet, and marks it; rejects values again, a `visited` that stays."""
    order = everything = []
    while topological(order, everything):  # until a value that is marked too early comes too early
        inputs, ends = draw_graph(rng, 3, 3)
        everything = [()] * 3 + inputs
        order = marked_when_pushed(everything, [ends[0], ends[-1]])
    first, both = post_order(everything, ends[:1]), post_order(everything, [ends[0], ends[-1]])
    arguments = (3, inputs, ends[0], ends[-1])
    formula = {
        "found by the first search": np.sort(np.array(first, np.int64)),
        "found by the second search": np.sort(np.array(both[len(first) :], np.int64)),
        "visited afterwards": np.sort(np.array(both, np.int64)),
    }
    actual, expected = student(probes.search, *arguments), ref(probes.search, *arguments)
    check_facts(actual, "topo_sort_dfs")
    for name, value in formula.items():
        assert_close(actual[name], agreed(expected[name], value), what=f"what topo_sort_dfs has {name},")


@case(task=2, points=3)
def test_deep_graph(student, rng):
    """A chain of 5,000 values and more; rejects recursion, also with a raised limit."""
    lengths = shuffled(rng, [5_000 + int(rng.integers(1000)), 50 + int(rng.integers(10))])
    expected = {f"the order of a chain of {length} values": np.arange(length) for length in lengths}
    what = f"topological order of chains of {lengths[0]} and {lengths[1]} values"
    assert_close(student(probes.orders_of_chains, lengths, what=what), expected)


@case(task=2, points=3)
@pytest.mark.timeout(5)  # linear time takes a tenth of a second, quadratic time ten seconds
def test_linear_time(student, rng):
    """60 diamonds, 20,000 values and 40,000 inputs; rejects walking along all paths, searching in a list."""
    levels, leaves = 60 + int(rng.integers(9)), 10_000 + int(rng.integers(500))
    # What is right is known; the reference would need as much time again for each submission.
    expected = {
        f"what is found in {levels} times x = x + x": np.arange(levels + 1),
        f"what is found in a tree over {leaves} leaves": np.arange(2 * leaves - 1),
        f"what is found in a value with {4 * leaves} inputs": np.arange(4 * leaves + 1),
        f"what is found in a value with {4 * leaves} inputs, and one above": np.arange(4 * leaves + 2),
    }
    what = f"topological order of {levels} times x = x + x, and of a tree over {leaves} leaves"
    assert_close(student(probes.orders_of_large_graphs, levels, leaves, what=what), expected)


# Reverse mode ----------------------------------------------------------------------------------------------


@case(task=2, points=5)
def test_gradients_add_up(student, ref, rng):
    """Values used twice, on several paths; rejects the last contribution only, += in place, a wrong order."""
    formulas = {
        "a * a": lambda a, b: a * a,
        "a * b + a": lambda a, b: a * b + a,
        "(a + b) + a": lambda a, b: 2 * a + b,
        "c * (c + a) for c = a * b": lambda a, b: a * b * (a * b + a),
        "(c + a) * c + b * d for c = a * b, d = c + b": lambda a, b: (a * b + a) * a * b + b * (a * b + b),
    }
    shape = tuple(sizes(rng, 2))
    items = [
        (name, positive(rng, shape), positive(rng, shape), normal(rng, shape))
        for name in shuffled(rng, formulas)
    ]
    numeric = {}
    for name, a, b, v in items:
        for letter, difference in zip("ab", differences(formulas[name], [a, b], v), strict=True):
            if letter in name:
                numeric[f"the gradient of {letter} in {name}"] = difference
    expected = agreed(ref(probes.reverse_mode, items), numeric, **DIFFERENCES)
    assert_close(student(probes.reverse_mode, items), expected, **FLOAT64, **VALUES)


@case(task=2, points=4)
def test_backward(student, ref, rng):
    """backward twice, of a leaf, with ones, a constant; rejects adding to the old grad, grads everywhere."""
    x, c, v = (normal(rng, (2, 3)) for _ in range(3))
    derivative = 2 * (x * c + c) * c
    formula = {
        "x.grad after z.backward(v)": v * derivative,
        "x.grad after a second z.backward(v)": v * derivative,
        "x.grad after z.backward()": derivative,
        "x.grad after x.backward(v), x a leaf,": v,
        "whether the grad of the constant c is the one from before": True,
        "y.grad, y an intermediate value,": None,
        "z.grad, z the output,": None,
        "v afterwards": v,
        "x afterwards": x,
    }
    expected = agreed(ref(probes.backward, x, c, v), formula, **FLOAT64)
    assert_close(student(probes.backward, x, c, v), expected, **FLOAT64, **VALUES)


@case(task=2, points=3)
def test_long_reverse_mode(student, rng):
    """Chains of 1,200, 60 diamonds, 500 leaves; rejects recursion, a visit for each path, no derivative at all."""
    factors, v = rng.choice([-1.0, -0.5, 2.0], 1_200 + int(rng.integers(300))), float(rng.uniform(1, 2))
    factors[len(factors) // 2 :] = 1 / factors[: -(len(factors) // 2)][::-1]  # so that the product is near 1
    levels, leaves = 60 + int(rng.integers(9)), 500 + int(rng.integers(100))
    expected = {
        f"x.grad after a chain of {len(factors)} products": np.array(v * np.prod(factors)),
        f"x.grad after {levels} times x = x + x": np.array(v * 2.0**levels),
        f"the grads of {leaves} leaves": np.full(leaves, 2 * v * leaves),
    }
    what = f"backward through a chain of {len(factors)} products, and through {levels} times x = x + x"
    actual = student(probes.long_reverse_mode, factors, levels, leaves, v, what=what)
    for what, value in expected.items():
        assert_close(actual[what], value, **FLOAT64, **VALUES, what=what)
    what = f"the number of calls of `gradient` for {levels} times x = x + x"
    assert_equal(actual[what], levels, what=what)


@case(task=2, points=3)
def test_second_derivatives_of_elementwise_ops(student, ref, rng):
    """Gradients of elementwise ops can be differentiated; rejects gradients computed in NumPy, which end the graph."""
    check_derivatives(student, ref, rng, [name for name in GRADIENTS if name[0] not in MOVED])


@case(task=2, points=3)
def test_second_derivatives_of_shapes_and_matmul(student, ref, rng):
    """Gradients of the other ops can be differentiated, sum_to_shape too; rejects gradients computed in NumPy."""
    check_derivatives(student, ref, rng, [name for name in GRADIENTS if name[0] in MOVED])


# Training --------------------------------------------------------------------------------------------------


@case(task=2, points=3)
def test_softmax_loss(student, ref, rng):
    """The mean loss for ordinary logits; rejects a sum, a mean over the classes, changed inputs."""
    items = [
        loss_item(rng, f"{m} examples, {k} classes", 3 * normal(rng, (m, k)))
        for m, k in ((6, 4), (1, 3), (5, 1))
    ]
    items = [one[:3] for one in items]
    formula = {f"the loss for {label}": loss_formula(Z, y_one_hot, 1.0)[0] for label, Z, y_one_hot in items}
    for label, Z, y_one_hot in items:
        formula[f"Z after the loss for {label}"] = Z
        formula[f"y_one_hot after the loss for {label}"] = y_one_hot
    expected = agreed(ref(probes.losses, items), formula, **FLOAT64)
    assert_close(student(probes.losses, items), expected, **FLOAT64, **VALUES)


@case(task=2, points=1)
def test_softmax_loss_of_wrong_shapes(student, ref, rng):
    """ValueError for shapes that are not (m, k) or differ, beside shapes that fit; rejects no check."""
    m, k, n = sizes(rng, 3)
    shapes = [
        ((m, k), (m, k + 1)),
        ((m, k), (m, 1)),
        ((m, k), (1, k)),
        ((m, k), (k,)),
        ((1, k), (m, k)),
        ((k,), (k,)),
        ((), ()),
        ((n, m, k), (n, m, k)),
        ((m, k), (m, k)),
        ((1, k), (1, k)),
    ]
    items = []
    for z, y in shuffled(rng, shapes):
        y_one_hot = np.eye(k + 1)[rng.integers(k, size=y[:-1])][..., : y[-1]] if y else np.ones(())
        items.append((f"the loss of logits of shape {z} and labels of shape {y}", normal(rng, z), y_one_hot))
    refused = {label for label, Z, y_one_hot in items if Z.ndim != 2 or Z.shape != y_one_hot.shape}
    check_refusals(student(probes.attempts_of_losses, items), ref(probes.attempts_of_losses, items), refused)


@case(task=2, points=2)
def test_gradients_of_softmax_loss(student, ref, rng):
    """The gradient of the loss, and its own gradient; rejects a gradient that is a constant, a lost mean."""
    items = []
    for m, k in ((6, 4), (1, 3), (5, 1)):
        label, Z, y_one_hot, v = loss_item(rng, f"{m} examples, {k} classes", 2 * normal(rng, (m, k)))
        items.append((label, Z, y_one_hot, v, normal(rng, (m, k))))
    check_loss_gradients(student, ref, rng, items)


@case(task=2, points=2)
def test_softmax_loss_is_stable(student, ref, rng):
    """Logits of ±1e4, sure wrong answers; rejects plain exp, one shift for all rows."""
    m, k = 6, 5
    Z = normal(rng, (m, k))
    offsets = np.where(np.arange(m) % 2, 1e4, -1e4)[:, None]
    items = [
        loss_item(rng, "logits as large as ±1e4", Z * 1e4 / np.abs(Z).max()),
        loss_item(rng, "logits near 1e4 in one row, near -1e4 in the next", Z + offsets),
    ]
    check_loss_gradients(student, ref, rng, [(*one, None) for one in items])


@case(task=2, points=3)
def test_nn_epoch(student, ref, rng):
    """Epochs of whole minibatches, and the defaults; rejects shuffling, ignored lr, weights that stay."""
    items = [
        network(rng, f"{m} examples, batch {batch}", m, batch) for m, batch in ((20, 20), (20, 5), (4, 1))
    ]
    items.append(network(rng, "200 examples, default lr and batch", 200))
    check_epochs(student, ref, items)


@case(task=2, points=3)
def test_nn_epoch_with_a_smaller_last_batch(student, ref, rng):
    """A smaller last minibatch, batch > m; rejects division by batch, a dropped or repeated rest, a crash."""
    items = [
        network(rng, f"{m} examples, batch {batch}", m, batch) for m, batch in ((13, 5), (11, 10), (6, 100))
    ]
    check_epochs(student, ref, items)


@case(task=2, points=1)
def test_nn_epoch_counts_classes_by_weights(student, ref, rng):
    """Labels that lack the top classes, labels of 128 and more; rejects classes counted from the labels."""
    few = network(rng, "6 examples whose labels lack the top class", 6, 3)
    few[2][...] = rng.integers(few[4].shape[1] - 1, size=6)
    many = network(rng, "6 examples of 200 classes, labels of 128 and more", 6, 3, classes=200)
    many[2][...] = rng.integers(128, 199, size=6)
    check_epochs(student, ref, [few, many])


@case(task=2, points=2)
def test_nn_epoch_leaves_nothing_behind(student, ref, rng):
    """New leaves, the old ones unchanged, no growing graph; rejects weights computed by ops, kept graphs."""
    _, X, y, W1, W2, keywords = network(rng, "12 examples, batch 4", 12, 4)
    arguments = (X, y, W1, W2, keywords["lr"], keywords["batch"])
    first = epoch_in_float64(X, y, W1, W2, **keywords)[0]
    second = epoch_in_float64(X, y, *first, **keywords)[0]
    formula = {
        **{f"the new W{i}": W.astype(np.float32) for i, W in enumerate(first, 1)},
        **{f"whether the new W{i} is a leaf": True for i in (1, 2)},
        **{f"whether the new W{i} requires a gradient": True for i in (1, 2)},
        **{f"the grad of the new W{i}": None for i in (1, 2)},
        **{
            f"W{i} after a second epoch with the new weights": W.astype(np.float32)
            for i, W in enumerate(second, 1)
        },
        "whether the grad of the given W1 is the one from before": True,
        "the grad of the given W2": None,
        "the given W1 after the epoch": W1,
        "the given W2 after the epoch": W2,
        "X after the epoch": X,
        "y after the epoch": y,
    }
    expected = agreed(ref(probes.two_epochs, *arguments), formula, **FLOAT32)
    actual = student(probes.two_epochs, *arguments)

    def with_own_gradients():
        first = weights_by_own_gradients(student, [(X, y, W1, W2, keywords)])
        # Two epochs of whole minibatches are one epoch of the examples twice.
        twice = np.tile(X, (2, 1)), np.tile(y, 2)
        second = first and weights_by_own_gradients(student, [(*twice, W1, W2, keywords)])
        return second and expected | {
            f"{what.format(i)}": W
            for what, weights in (
                ("the new W{}", first),
                ("W{} after a second epoch with the new weights", second),
            )
            for i, W in enumerate(weights[0], 1)
        }

    compare_or_forgive(actual, expected, with_own_gradients)

    steps, batch, d = 60, 20, 1500
    X, y = (
        normal(rng, (steps * batch, 3)).astype(np.float32),
        rng.integers(2, size=steps * batch).astype(np.uint8),
    )
    W1, W2 = normal(rng, (3, d)).astype(np.float32), normal(rng, (d, 2)).astype(np.float32)
    # One array of hidden units has 120 kB, and one step makes several; if all 60 steps are kept, that is 40 MB.
    allowed = 10_000_000
    if not student(probes.peak_of_an_epoch, X, y, W1, W2, 0.01, batch) < allowed:
        pytest.fail(
            f"memory grows with each of the {steps} steps of nn_epoch: something keeps the graphs of earlier steps"
        )


@case(task=2, points=2)
def test_dtypes(student, ref, rng):
    """float32 stays float32, in ops, loss and epoch; rejects masks, ones, constants and labels of float64."""
    names = [
        *(name for name in POWERS + QUOTIENTS if name[0] != "2 / a"),
        *((name,) for name in UNARY if name != "1 - a"),
        *(("summation", *axes) for axes in AXES[:2]),
        ("reshape", (-1,)),
        ("transpose",),
    ]
    items = []
    for label, name, parameters, arrays in [item(rng, *name) for name in names] + products(rng, PRODUCTS[:3]):
        arrays = [array.astype(np.float32) for array in arrays]
        v = normal(rng, np.shape(FORMULAS[name](*arrays, *parameters))).astype(np.float32)
        items.append((f"{label}, float32,", name, parameters, arrays, v))
    a = np.array([1, 2, -3])
    items += [
        ("relu(a) of integers", "relu", (), [a], None),
        ("power_scalar(a, 2) of integers", "power_scalar", (2,), [a], None),
        ("power_scalar(a, 0) of integers", "power_scalar", (0,), [a], None),
        ("power_scalar(a, -2) of integers", "power_scalar", (-2,), [a], None),
        ("power(a, b) of integers, no b negative,", "power", (), [a, a * a - 1], None),
        ("power(a, b) of integers, some b negative,", "power", (), [a, a], None),
        ("power(a, b) of float32 and int16", "power", (), [a.astype(np.float32), a.astype(np.int16)], None),
        ("power(a, b) of int16 and float32", "power", (), [a.astype(np.int16), a.astype(np.float32)], None),
        ("divide_scalar(a, 2) of integers", "divide_scalar", (2,), [a], None),
        ("divide(a, b) of integers", "divide", (), [a, a * a], None),
    ]
    a, b, v = (np.array(numbers, np.float32) for numbers in ([0, 2], [2, 3], [1, 10]))
    items.append(("power(a, b) at a = 0, float32,", "power", (), [a, b], v))
    items.append(("relu(a) of float64 for out_grad of float32", "relu", (), [a.astype(np.float64)], v))
    number = np.array(2, np.int16)
    items.append(("power(a, b) of a 0-d int16 and float32", "power", (), [number, b], v))
    losses, epochs = [], []
    for dtype in (np.float32, np.float64):
        Z, y_one_hot = loss_item(rng, "", normal(rng, (4, 3)))[1:3]
        losses.append((f"{np.dtype(dtype)} logits", Z.astype(dtype), y_one_hot.astype(dtype)))
        label, X, y, W1, W2, keywords = network(rng, f"{np.dtype(dtype)} weights", 7, 3)
        keywords["lr"] = np.float64(keywords["lr"])
        epochs.append((label, X, y, W1.astype(dtype), W2.astype(dtype), keywords))
    inputs = (shuffled(rng, items), losses, epochs)
    check_dtypes(student(probes.dtypes, *inputs), ref(probes.dtypes, *inputs))


# Inputs ----------------------------------------------------------------------------------------------------

POWERS = (
    ("power",),
    ("power_scalar", 3),
    ("power_scalar", -2),
    ("power_scalar", 0.5),
    ("power_scalar", 1),
    ("power_scalar", 0),
)
QUOTIENTS = (("divide",), ("divide_scalar", 1.5), ("divide_scalar", -4), ("2 / a",))
UNARY = ("negate", "log", "exp", "relu", "1 - a")
AXES = ((), (1,), (-1,), ((0, 2),), ((-1, 1),), ((0, 1, 2),), ((1,),))
PRODUCTS = (  # shapes of a and b: n, k, m are the sizes of the matrices, s and t those of stacks of them
    ("nk", "km"),
    ("snk", "skm"),
    ("snk", "km"),
    ("nk", "skm"),
    ("1nk", "skm"),
    ("s1nk", "tkm"),
    ("stnk", "1tkm"),
)
MOVED = ("transpose", "reshape", "broadcast_to", "summation", "matmul", "sum_to_shape")

# (function, parameters): gradients for v, a, b, which the derivatives are compared with; what they depend on; shapes
GRADIENTS = {
    ("power",): (
        lambda v, a, b: (v * b * a ** (b - 1), v * a**b * np.log(a)),
        "vab",
        [(2, 3), (2, 3), (2, 3)],
    ),
    ("power_scalar", 3): (lambda v, a: (v * 3 * a**2,), "va", [(2, 3), (2, 3)]),
    ("power_scalar", -2): (lambda v, a: (v * -2 * a**-3.0,), "va", [(2, 3), (2, 3)]),
    ("power_scalar", 0): (lambda v, a: (v * 0,), "v", [(2, 3), (2, 3)]),
    ("divide",): (lambda v, a, b: (v / b, -v * a / b**2), "vab", [(2, 3), (2, 3), (2, 3)]),
    ("divide_scalar", 1.5): (lambda v, a: (v / 1.5,), "v", [(2, 3), (2, 3)]),
    ("negate",): (lambda v, a: (-v,), "v", [(2, 3), (2, 3)]),
    ("log",): (lambda v, a: (v / a,), "va", [(2, 3), (2, 3)]),
    ("exp",): (lambda v, a: (v * np.exp(a),), "va", [(2, 3), (2, 3)]),
    ("relu",): (lambda v, a: (v * (a > 0),), "v", [(2, 3), (2, 3)]),
    ("transpose",): (lambda v, a: (np.swapaxes(v, -1, -2),), "v", [(3, 2), (2, 3)]),
    ("reshape", (6,)): (lambda v, a: (v.reshape(a.shape),), "v", [(6,), (2, 3)]),
    ("broadcast_to", (2, 3)): (lambda v, a: (v.sum(axis=0),), "v", [(2, 3), (3,)]),
    ("summation", 1): (lambda v, a: (np.broadcast_to(v[:, None], a.shape),), "v", [(2,), (2, 3)]),
    ("summation",): (lambda v, a: (np.broadcast_to(v, a.shape),), "v", [(), (2, 3)]),
    ("matmul",): (lambda v, a, b: (v @ b.T, a.T @ v), "vab", [(3, 3), (3, 3), (3, 3)]),
    ("sum_to_shape", (1, 3)): (lambda v: (v.sum(axis=0, keepdims=True),), "v", [(2, 3)]),
}


def shuffled(rng, things):
    things = list(things)
    return [things[i] for i in rng.permutation(len(things))]


def sizes(rng, count):
    """Return `count` small sizes, all different."""
    return [int(size) for size in rng.permutation([2, 3, 4, 5, 6])[:count]]


def normal(rng, shape):
    return np.asarray(rng.standard_normal(shape))


def positive(rng, shape):
    return np.asarray(rng.uniform(0.5, 1.5, shape))


def signed(rng, shape):
    """Return numbers at least 0.5 away from 0, of both signs."""
    count = math.prod(shape)
    return np.asarray(positive(rng, shape) * rng.permutation(np.arange(count) % 2 * 2.0 - 1).reshape(shape))


def called(name, parameters, shapes):
    """Return how a call looks to a student."""
    letters = "ab"[: len(shapes)]
    arguments = [*letters, *(f"{KEYWORDS.get(name, '')}{parameter}" for parameter in parameters)]
    call = name if " " in name else f"{name}({', '.join(arguments)})"
    return f"{call} with " + " and ".join(
        f"{letter} of shape {shape}" for letter, shape in zip(letters, shapes, strict=True)
    )


def item(rng, name, *parameters):
    """Return (label, function, parameters, arrays) for an op and its parameters."""
    shape = tuple(sizes(rng, 2))
    if name in MOVED:
        shape = tuple(int(size) for size in rng.permutation([2, 3, 4]))
    if name == "broadcast_to":
        shape = parameters[0][1:]
        parameters = parameters[0][:1]
    count = 2 if name in ("power", "divide") else 1
    positive_only = name in ("power", "log") or parameters == (0.5,)
    draw = positive if positive_only else signed
    arrays = [draw(rng, shape) for _ in range(count)]
    return called(name, parameters, [shape] * count), name, parameters, arrays


def moves(rng):
    """Return transposes, reshapes and broadcasts; a broadcast's parameter is its shape, and then that before."""
    p, q, r = (int(size) for size in rng.permutation([2, 3, 4]))
    return [
        ("transpose",),
        ("transpose", (0, 1)),
        ("transpose", (-1, 0)),
        ("reshape", (4, 6)),
        ("reshape", (-1,)),
        ("reshape", (2, -1, 3)),
        *(
            ("broadcast_to", (after, *before))
            for after, before in (
                ((2, p, q), (p, q)),
                ((p, q, r), (q, 1)),
                ((p, q), ()),
                ((p, q), (1, 1)),
                ((p, 0), (p, 1)),
                ((p, q), (p, q)),
            )
        ),
    ]


def products(rng, shapes):
    """Return (label, function, parameters, [a, b]) for shapes of PRODUCTS."""
    n, k, m, s, t = sizes(rng, 5)
    extent = {"n": n, "k": k, "m": m, "s": min(s, 3), "t": min(t, 4), "1": 1}
    drawn = []
    for letters in shapes:
        pair = [tuple(extent[letter] for letter in word) for word in letters]
        drawn.append((called("matmul", (), pair), "matmul", (), [normal(rng, shape) for shape in pair]))
    return drawn


def draw_graph(rng, leaves, outputs, count=14):
    """Return the inputs of the values that are not leaves, by number, and the outputs.

    It is drawn again until each usual mistake gives another order.
    """
    while True:
        inputs = [
            tuple(int(i) for i in rng.integers(max(0, j - 6), j, rng.integers(1, 3)))
            for j in range(leaves, count)
        ]
        ends = [int(i) for i in rng.integers(leaves, count - 1, outputs - 1)] + [count - 1]
        if outputs > 2:
            ends[1:1] = ends[:1]  # an output that is given twice
        everything = [()] * leaves + inputs
        if post_order(everything, ends) not in other_orders(everything, ends):
            return inputs, ends


def loss_item(rng, label, Z):
    """Return (label, Z, y_one_hot, out_grad); the first example's true class has the smallest logit."""
    m, k = Z.shape
    y = rng.integers(k, size=m)
    y[0] = Z[0].argmin()
    return label, Z, np.eye(k)[y], normal(rng, ())


def network(rng, label, m, batch=None, classes=None):
    """Return (label, X, y, W1, W2, keywords), with no hidden unit so near 0 that rounding decides about its ReLU.

    Each minibatch has the top class, and a hidden unit that is on.
    """
    n, d, k = sizes(rng, 3)
    k = classes or k
    while True:
        X, y = normal(rng, (m, n)).astype(np.float32), rng.integers(k, size=m).astype(np.uint8)
        y[:: batch or 100] = k - 1
        W1, W2 = (0.5 * normal(rng, shape).astype(np.float32) for shape in ((n, d), (d, k)))
        keywords = {"lr": float(rng.uniform(0.3, 0.9)), "batch": batch} if batch else {}
        on = (X @ W1 > 0).any(axis=1)
        if not all(on[i : i + (batch or 100)].any() for i in range(0, m, batch or 100)):
            continue
        if epoch_in_float64(X, y, W1, W2, **keywords)[1] > 1e-5:
            return label, X, y, W1, W2, keywords


# What is right ---------------------------------------------------------------------------------------------


def check_values(student, ref, items, new=(), formulas=FORMULAS):
    """Compare the values of (label, function, parameters, arrays) with reference and NumPy, then the inputs."""
    formula, after = {}, {}
    for label, name, parameters, arrays in items:
        value = np.asarray(formulas[name](*arrays, *parameters))
        formula[label] = value
        for letter, array in zip("ab", arrays, strict=False):
            after[f"{letter} after {label}"] = array
        if label in new:
            after[f"{label}, after a was changed,"] = value
    inputs = (items, list(new))
    expected = ref(probes.values, *inputs)
    agreed(
        {what: np.asarray(value, float) for what, value in expected.items()},
        {what: np.asarray(value, float) for what, value in (formula | after).items()},
        **FLOAT64,
    )
    assert_close(student(probes.values, *inputs), expected, **FLOAT64, **VALUES)


def check_gradients(student, ref, rng, items):
    """Compare gradients of (label, function, parameters, arrays) with the reference and central differences."""
    items = [(*one, normal(rng, np.shape(FORMULAS[one[1]](*one[3], *one[2])))) for one in items]
    numeric, after = {}, {}
    for label, name, parameters, arrays, v in items:
        for letter, array, difference in zip(
            "ab", arrays, differences(FORMULAS[name], arrays, v, parameters), strict=False
        ):
            numeric[f"the gradient of {letter} in {label}"] = difference
            after[f"{letter} after the gradient of {label}"] = array
        after[f"out_grad after the gradient of {label}"] = v
    expected = agreed(ref(probes.gradients, items), numeric | after, **DIFFERENCES)
    assert_close(student(probes.gradients, items), expected, **FLOAT64, **VALUES)


def check_derivatives(student, ref, rng, names):
    """Compare derivatives of the gradients of ops with the reference and with differences of GRADIENTS."""
    items, numeric = [], {}
    for name, *parameters in names:
        gradient, asked, (shape, *shapes) = GRADIENTS[(name, *parameters)]
        draw = positive if name in ("power", "log") else signed
        v, arrays = normal(rng, shape), [draw(rng, one) for one in shapes]
        found = gradient(v, *arrays)
        weights = [normal(rng, np.shape(one)) for one in found]

        def total(*inputs, gradient=gradient, weights=weights):
            return sum(np.sum(w * g) for w, g in zip(weights, gradient(*inputs), strict=True))

        label = called(name, tuple(parameters), shapes or [shape])
        items.append((label, name, tuple(parameters), arrays, v, weights, asked))
        for letter, difference in zip("vab", differences(total, [v, *arrays], 1.0), strict=False):
            if letter in asked:
                by = "out_grad" if letter == "v" else letter
                numeric[f"the derivative by {by} of the gradient of {label}"] = difference
    expected = agreed(ref(probes.derivatives, items), numeric, **DIFFERENCES)
    assert_close(student(probes.derivatives, items), expected, **FLOAT64, **VALUES)


def check_refusals(actual, expected, refused):
    """Ask for a ValueError for each label in `refused`, and for none for the others; other cases compare the values."""
    for label, right in expected.items():
        agreed("ValueError" in right["raised"], label in refused, what=label)
        if label in refused:
            assert_raised(actual[label], "ValueError", what=label)
        else:
            found = actual[label]
            assert_equal(
                found["raised"][0] if found["raised"] else None, None, what=f"what is raised for {label}"
            )


def check_facts(actual, what):
    """Ask that an order has each value once, after its inputs."""
    for fact in ("left out", "listed again", "not part of the graph", "listed before one of their inputs"):
        assert_equal(actual[fact], 0, what=f"the number of values that are {fact} by {what}")


def check_dtypes(actual, expected):
    """Compare the dtypes of what has the right value. At most a quarter may be wrong: other cases ask for values."""
    wrong = []
    for what, value in expected.items():
        try:
            found = actual.get(what)
            assert_close(found, value, **VALUES, what=what)
        except AssertionError as error:
            wrong.append(str(error))
        else:
            assert_close(found, value, what=what)
    if 4 * len(wrong) > len(expected):
        pytest.fail(f"too many values are wrong for their dtypes to count, the first: {wrong[0]}")


def check_loss_gradients(student, ref, rng, items):
    """Compare losses and gradients of (label, Z, y_one_hot, out_grad, weights) with reference and formulas.

    If losses of ordinary logits are wrong by a factor, then so may be all of these; another case asks for the values.
    """
    formula = {}
    for label, Z, y_one_hot, v, weights in items:
        loss, gradient = loss_formula(Z, y_one_hot, v)
        formula[f"the loss for {label}"] = loss
        formula[f"the gradient of Z for {label}"] = gradient
        if weights is not None:
            P = loss_formula(Z, y_one_hot, 1.0)[1] * len(Z) + y_one_hot
            second = v * P * (weights - (P * weights).sum(axis=1, keepdims=True)) / len(Z)
            formula[f"the derivative by Z of the gradient of Z for {label}"] = second
    expected = agreed(ref(probes.loss_gradients, items), formula, **FLOAT64)

    def scaled():
        factors = factors_of_losses(student, rng, [Z.shape for _, Z, *_ in items])
        return factors and {
            what: value * factor
            for (label, *_), factor in zip(items, factors, strict=True)
            for what, value in expected.items()
            if what.endswith(f" for {label}")
        }

    compare_or_forgive(student(probes.loss_gradients, items), expected, scaled, **FLOAT64)


def compare_or_forgive(actual, expected, consequences, **tolerances):
    """Compare values. If they differ, they may be the consequences of a mistake that costs another case.

    Args:
        consequences: returns what to expect in this case, or None where there is no such mistake.
        tolerances: those of weights after an epoch if there are none.
    """
    try:
        assert_close(actual, expected, **(tolerances or FLOAT32), **VALUES)
    except AssertionError as error:
        forgiven = consequences()
        if not forgiven:
            raise
        try:
            assert_close(actual, forgiven, **(tolerances or after_wrong_steps(forgiven)), **VALUES)
        except AssertionError:
            raise error from None


def after_wrong_steps(weights):
    """Return tolerances for weights that wrong steps lead to: they may be large, and each step magnifies roundings."""
    largest = max(1.0, *(np.abs(W).max() for W in weights.values() if isinstance(W, np.ndarray)))
    return {"rtol": 1e-3, "atol": 1e-3 * float(largest)}


def factors_of_losses(student, rng, shapes):
    """Return, for each shape, the factor by which the losses of ordinary logits are wrong; None if there is none."""
    items, right = [], {}
    for shape in shapes:
        for _ in "ab":
            label, Z, y_one_hot, _ = loss_item(rng, f"ordinary logits, {len(items)}", normal(rng, shape))
            items.append((label, Z, y_one_hot))
            right[f"the loss for {label}"] = loss_formula(Z, y_one_hot, 1.0)[0]
    own, factors = student(probes.losses, items), []
    for what, value in right.items():
        if not isinstance(own[what], np.ndarray) or own[what].shape or not np.isfinite(own[what]):
            return None
        factors.append(1.0 if np.allclose(own[what], value) else float(own[what]) / float(value or np.nan))
    equal = np.allclose(factors[::2], factors[1::2], rtol=1e-6, atol=0)
    return factors[::2] if equal and 0 not in factors and set(factors) != {1.0} else None


def loss_formula(Z, y_one_hot, v):
    """Return the mean loss, and v times its gradient."""
    top = Z.max(axis=1, keepdims=True)
    log_sum = top + np.log(np.exp(Z - top).sum(axis=1, keepdims=True))
    loss = np.asarray((log_sum[:, 0] - (Z * y_one_hot).sum(axis=1)).mean())
    return loss, v * (np.exp(Z - log_sum) - y_one_hot) / len(Z)


def check_epochs(student, ref, items):
    """Compare the weights after epochs of (label, X, y, W1, W2, keywords) with reference and formula.

    They may also be what follows from the gradients of the student's own loss: other cases ask for these.
    """

    def named(weights):
        return {
            f"{name} after an epoch of {label}": W
            for (label, *_), pair in zip(items, weights, strict=True)
            for name, W in zip(("W1", "W2"), pair, strict=True)
        }

    formula = named([epoch_in_float64(*inputs, **keywords)[0] for _, *inputs, keywords in items])
    formula = {what: W.astype(np.float32) for what, W in formula.items()}
    expected = agreed(ref(probes.epochs, items), formula, **FLOAT32)

    def with_own_gradients():
        weights = weights_by_own_gradients(student, [one[1:] for one in items])
        return weights and named(weights)

    compare_or_forgive(student(probes.epochs, items), expected, with_own_gradients)


def weights_by_own_gradients(student, items):
    """Return the weights after epochs of (X, y, W1, W2, keywords) that take steps along the student's own gradients.

    Return None if these are no gradients: if one is missing or not finite, or if those of the first step do not depend
    on X and y. (Later ones may be zero: large steps can turn all hidden units off.)
    """
    weights = [[W1, W2] for _, _, W1, W2, _ in items]
    minibatches = []
    for X, y, _, W2, keywords in items:
        size, one_hot = keywords.get("batch", 100), np.eye(W2.shape[1], dtype=np.float32)[y]
        minibatches.append([(X[i : i + size], one_hot[i : i + size]) for i in range(0, len(X), size)])
    for step in range(max(map(len, minibatches))):
        going_on = [number for number, batches in enumerate(minibatches) if step < len(batches)]
        asked = [(*minibatches[number][step], *weights[number]) for number in going_on]
        found = own_gradients(student, asked)
        if found is None or (step == 0 and not depend_on_data(student, asked, found)):
            return None
        for number, gradients in zip(going_on, found, strict=True):
            lr = np.float32(items[number][-1].get("lr", 0.1))
            weights[number] = [W - lr * grad for W, grad in zip(weights[number], gradients, strict=True)]
    return weights


def own_gradients(student, items):
    """Return the gradients of W1 and W2 for each (X, y_one_hot, W1, W2), or None if something is no gradient."""
    found = student(probes.gradients_of_network, items)
    if found is None:
        return None
    for gradients, (_, _, *weights) in zip(found, items, strict=True):
        for grad, W in zip(gradients, weights, strict=True):
            if not isinstance(grad, np.ndarray) or grad.shape != W.shape or not np.isfinite(grad).all():
                return None
    return found


def depend_on_data(student, items, found):
    """Return whether the gradients are others for 2 X and for other labels, apart from items without active units."""
    active = [place for place, gradients in enumerate(found) if any(grad.any() for grad in gradients)]
    items, found = ([some[place] for place in active] for some in (items, found))
    for changed in (
        [(2 * X, *rest) for X, *rest in items],
        [(X, np.roll(y_one_hot, 1, axis=1), *rest) for X, y_one_hot, *rest in items],
    ):
        others = own_gradients(student, changed)
        if others is None:
            return False
        pairs = [pair for two in zip(found, others, strict=True) for pair in zip(*two, strict=True)]
        if any(not grad.any() or np.allclose(grad, other, rtol=1e-3, atol=0) for grad, other in pairs):
            return False
    return bool(active)


def epoch_in_float64(X, y, W1, W2, lr=0.1, batch=100):
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
    return (W1, W2), nearest


def differences(formula, arrays, v, parameters=(), step=1e-5):
    """Return, for each array, central differences of the sum of v * formula(*arrays, *parameters)."""
    found = []
    for number, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            ends = []
            for h in (step, -step):
                moved = list(arrays)
                moved[number] = array.copy()
                moved[number][index] += h
                ends.append(np.sum(v * formula(*moved, *parameters)))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        found.append(gradient)
    return found


def post_order(inputs, ends):
    """Return the numbers of the values that `ends` need, in post-order; `inputs` of each value by number."""
    order, visited = [], set()
    for end in ends:
        stack = [(end, False)]
        while stack:
            number, done = stack.pop()
            if done:
                order.append(number)
            elif number not in visited:
                visited.add(number)
                stack.append((number, True))
                stack += [(i, False) for i in reversed(inputs[number])]
    return order


def topological(order, inputs):
    """Return whether each value comes after its inputs."""
    position = {number: place for place, number in enumerate(order)}
    return all(position[i] < position[number] for number in order for i in inputs[number])


def other_orders(inputs, ends):
    """Return the orders that usual mistakes lead to."""
    swapped = [numbers[::-1] for numbers in inputs]
    pre, pre_swapped = pre_order(inputs, ends), pre_order(swapped, ends)
    breadth = breadth_first(inputs, ends)
    found = [
        post_order(swapped, ends),  # right input first
        post_order(inputs, ends)[::-1],  # outputs first
        post_order(swapped, ends)[::-1],
        *(pre, pre[::-1], pre_swapped, pre_swapped[::-1]),  # pre-order, and its reverse
        *(breadth, breadth[::-1], breadth_first(swapped, ends)[::-1]),
        sorted(pre),  # the order in which the values were made
        marked_when_pushed(inputs, ends),
        marked_when_pushed(swapped, ends),
    ]
    several = []
    if len(ends) > 1:
        several = [
            post_order(inputs, ends[:1]),
            post_order(inputs, ends[-1:]),
            post_order(inputs, ends[::-1]),
        ]
    return found + several


def pre_order(inputs, ends):
    order = []
    stack = list(reversed(ends))
    while stack:
        number = stack.pop()
        if number not in order:
            order.append(number)
            stack += reversed(inputs[number])
    return order


def breadth_first(inputs, ends):
    order = list(dict.fromkeys(ends))
    for number in order:
        order += [i for i in dict.fromkeys(inputs[number]) if i not in order]
    return order


def marked_when_pushed(inputs, ends):
    """Return the order of a search that marks the inputs of a value as visited before it goes down to any of them."""
    order, visited = [], set()
    for end in ends:
        stack = [] if end in visited else [(end, False)]
        visited.add(end)
        while stack:
            number, done = stack.pop()
            if done:
                order.append(number)
                continue
            stack.append((number, True))
            for i in reversed(inputs[number]):
                if i not in visited:
                    visited.add(i)
                    stack.append((i, False))
    return order
