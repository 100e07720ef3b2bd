"""Drives needle: knows inputs, never answers. Runs beside the student's code."""

import tracemalloc

import numpy as np

# Name of an expression in checks and messages -> how to compute it; `n` is the student's src.needle.
EXPRESSIONS = {
    "a + b": lambda n, a, b: a + b,
    "a + 1.5": lambda n, a: a + 1.5,
    "a - b": lambda n, a, b: a - b,
    "1 - a": lambda n, a: 1 - a,
    "a * b": lambda n, a, b: a * b,
    "a * 1.5": lambda n, a: a * 1.5,
    "a / b": lambda n, a, b: a / b,
    "a / 1.5": lambda n, a: a / 1.5,
    "2 / a": lambda n, a: 2 / a,
    "a ** b": lambda n, a, b: a**b,
    "a ** 3": lambda n, a: a**3,
    "a ** -2": lambda n, a: a**-2,
    "a ** 0": lambda n, a: a**0,
    "-a": lambda n, a: -a,
    "log(a)": lambda n, a: n.log(a),
    "exp(a)": lambda n, a: n.exp(a),
    "relu(a)": lambda n, a: n.relu(a),
    "transpose(a)": lambda n, a: n.transpose(a),
    "transpose(a, (0, 1))": lambda n, a: n.transpose(a, (0, 1)),
    "transpose(a, (-1, 0))": lambda n, a: n.transpose(a, (-1, 0)),
    "reshape(a, reversed shape)": lambda n, a: n.reshape(a, a.shape[::-1]),
    "reshape(a, (-1,))": lambda n, a: n.reshape(a, (-1,)),
    "broadcast_to(a, (2, 3, *a.shape))": lambda n, a: n.broadcast_to(a, (2, 3, *a.shape)),
    "broadcast_to(a, (2, 3, 4)) of shape (3, 1)": lambda n, a: n.broadcast_to(a, (2, 3, 4)),
    "broadcast_to(a, (2, 3)) of shape ()": lambda n, a: n.broadcast_to(a, (2, 3)),
    "summation(a)": lambda n, a: n.summation(a),
    "summation(a, axes=1)": lambda n, a: n.summation(a, axes=1),
    "summation(a, axes=-1)": lambda n, a: n.summation(a, axes=-1),
    "summation(a, axes=(0, 2))": lambda n, a: n.summation(a, axes=(0, 2)),
    "summation(a, axes=(-1, 1))": lambda n, a: n.summation(a, axes=(-1, 1)),
    "a @ b": lambda n, a, b: a @ b,
    "a / a": lambda n, a: a / a,
    "a @ a": lambda n, a: a @ a,
    "a ** a": lambda n, a: a**a,
    "(a + b) + a": lambda n, a, b: (a + b) + a,
    "(a * b + a) * (a * b) - b / a": lambda n, a, b: _diamond(a, b),
    "log(exp(a @ b).sum(1))": lambda n, a, b: n.log(n.exp(a @ b).sum(1)),
    "exp of relu(a), transposed, reshaped, broadcast and summed": lambda n, a: _moved(n, a),
}


def _moved(n, a):
    x = n.transpose(n.relu(a))
    x = n.reshape(x, (x.shape[0], -1))
    return n.exp(n.summation(n.broadcast_to(x, (2, *x.shape)), axes=0))


def _diamond(a, b):
    c = a * b
    return (c + a) * c - b / a


def values(items):
    """For items (label, expression, arrays), return label -> value."""
    import src.needle as n

    return {label: EXPRESSIONS[name](n, *map(n.Tensor, arrays)).numpy() for label, name, arrays in items}


def gradients(items):
    """For items (label, expression, arrays, out_grad), return description -> gradient, for each array."""
    import src.needle as n

    found = {}
    for label, name, arrays, out_grad in items:
        inputs = [n.Tensor(array) for array in arrays]
        EXPRESSIONS[name](n, *inputs).backward(n.Tensor(out_grad))
        for letter, x in zip("ab", inputs, strict=False):
            found[f"the gradient of {letter} in {label}"] = _array(x.grad)
    return found


def dtypes(items):
    """For items as in `gradients`, return description -> name of the dtype, of each value and each gradient."""
    import src.needle as n

    found = {}
    for label, name, arrays, out_grad in items:
        inputs = [n.Tensor(array) for array in arrays]
        output = EXPRESSIONS[name](n, *inputs)
        output.backward(n.Tensor(out_grad))
        found[f"the dtype of {label}"] = str(output.dtype)
        for letter, x in zip("ab", inputs, strict=False):
            found[f"the dtype of the gradient of {letter} in {label}"] = str(getattr(x.grad, "dtype", None))
    return found


def second_gradients(items):
    """For items (label, expression, arrays, out_grad, weights), return the gradients of the weighted gradients."""
    import src.needle as n

    found = {}
    for label, name, arrays, out_grad, weights in items:
        inputs = [n.Tensor(array) for array in arrays]
        EXPRESSIONS[name](n, *inputs).backward(n.Tensor(out_grad))
        first, *others = [(x.grad * n.Tensor(w)).sum() for x, w in zip(inputs, weights, strict=True)]
        for other in others:
            first = first + other
        for x in inputs:
            x.grad = None
        first.backward()
        for letter, x in zip("ab", inputs, strict=False):
            found[f"the second derivative by {letter} of {label}"] = _array(x.grad)
    return found


# The graph -------------------------------------------------------------------------------------------------


def topological_order(leaves, pairs, outputs):
    """Build a graph of leaves and one sum for each pair; return the values' numbers in the order that is found.

    The leaves have the numbers from 0, the sums follow; a pair names the two values of a sum by their numbers.
    """
    from src.needle import Tensor
    from src.needle.autograd import find_topo_sort

    nodes = [Tensor(float(i)) for i in range(leaves)]
    for i, j in pairs:
        nodes.append(nodes[i] + nodes[j])
    numbers = {id(node): number for number, node in enumerate(nodes)}
    return [numbers.get(id(node)) for node in find_topo_sort([nodes[i] for i in outputs])]


def deep_graph(levels, out_grad):
    """Go through a chain of `levels` additions."""
    from src.needle import Tensor

    x = y = Tensor(1.0)
    for _ in range(levels):
        y = y + 1
    return _length_and_gradients(y, [x], out_grad)


def diamonds(levels, out_grad):
    """Go through `levels` times y = y + y, which has 2 ** levels paths."""
    from src.needle import Tensor

    x = y = Tensor(1.0)
    for _ in range(levels):
        y = y + y
    return _length_and_gradients(y, [x], out_grad)


def many_leaves(count, out_grad):
    """Go through the sum of `count` leaves, added pair by pair, so that the graph is wide and not deep."""
    from src.needle import Tensor

    sums = leaves = [Tensor(1.0) for _ in range(count)]
    while len(sums) > 1:
        rest = sums[-1:] if len(sums) % 2 else []
        sums = [a + b for a, b in zip(sums[::2], sums[1::2], strict=False)] + rest
    return _length_and_gradients(sums[0], leaves, out_grad)


def _length_and_gradients(output, leaves, out_grad):
    from src.needle import Tensor
    from src.needle.autograd import find_topo_sort

    length = len(find_topo_sort([output]))
    output.backward(Tensor(out_grad))
    gradients = np.array([_array(leaf.grad) for leaf in leaves], dtype=np.float64)
    return {"the number of values found": length, "the gradient": gradients}


def backward_twice(x, c, out_grad):
    """Call backward through (x * c) ** 2, with c constant: with an out_grad, again, and without one."""
    from src.needle import Tensor

    X, C, V = Tensor(x), Tensor(c, requires_grad=False), Tensor(out_grad)
    Y = X * C
    Z = Y * Y
    found = {}
    for label, arguments in (("", (V,)), (" after a second backward", (V,)), (" without an out_grad", ())):
        Z.backward(*arguments)
        found[f"x.grad{label}"] = np.array(_array(X.grad))
    return {
        **found,
        "the grad of a constant": _array(C.grad),
        "the grad of an intermediate value": _array(Y.grad),
        "out_grad afterwards": V.numpy(),
        "x afterwards": X.numpy(),
    }


# Training --------------------------------------------------------------------------------------------------


def softmax_loss(Z, y_one_hot, out_grad):
    import src.needle as n

    logits = n.Tensor(Z)
    loss = n.softmax_loss(logits, n.Tensor(y_one_hot, requires_grad=False))
    loss.backward(n.Tensor(out_grad))
    return {"the loss": loss.numpy(), "the gradient of Z": _array(logits.grad)}


def nn_epoch(X, y, W1, W2, lr, batch):
    """Run an epoch; return the new weights, facts about them, and the arguments afterwards."""
    import src.needle as n

    given = n.Tensor(W1), n.Tensor(W2)
    new = n.nn_epoch(X, y, *given, lr=lr, batch=batch)
    return {
        "weights": {f"W{i}": _array(W) for i, W in enumerate(new, 1)},
        "dtypes": {f"W{i}": str(W.dtype) for i, W in enumerate(new, 1)},
        "leaves": {f"W{i}": W.op is None and len(W.inputs) == 0 for i, W in enumerate(new, 1)},
        "grads": {f"W{i}": _array(W.grad) for i, W in enumerate((*new, *given), 1)},
        "given": {"X": X, "y": y, "W1": _array(given[0]), "W2": _array(given[1])},
    }


def nn_epoch_memory(X, y, W1, W2, lr, batch):
    """Return the peak of the memory that one epoch allocates, in bytes."""
    import src.needle as n

    given = n.Tensor(W1), n.Tensor(W2)
    tracemalloc.start()
    n.nn_epoch(X, y, *given, lr=lr, batch=batch)
    return tracemalloc.get_traced_memory()[1]


def _array(value):
    """Return the array of a Tensor; return anything else, such as a missing gradient, as it is."""
    return value.numpy() if hasattr(value, "numpy") else value
