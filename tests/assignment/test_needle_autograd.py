"""Task2, autograd: Tensor and its operators, topological order, accumulation, depth, cost, memory."""

import gc
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import src.needle as ndl
from src.needle import Tensor
from src.needle.autograd import find_topo_sort, topo_sort_dfs
from tests.support.gradcheck import check_gradient, check_second_order


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def no_gc():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# --- Tensor ---


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        ([[1.0, 2.0]], "float64"),
        ([6], "int64"),
        (3, "int64"),
        (np.ones(2, "float32"), "float32"),
        (True, "bool"),
    ],
)
def test_a_tensor_keeps_the_dtype_of_its_data(array, dtype):
    t = Tensor(array)
    assert t.dtype == dtype
    assert (t.shape, t.ndim) == (np.shape(array), np.ndim(array))
    assert Tensor(array, dtype="float32").dtype == np.float32


def test_a_tensor_copies_its_data():
    array = np.zeros(3)
    first = Tensor(array)
    second = Tensor(first)
    array += 1
    first.numpy()[...] += 2
    np.testing.assert_array_equal(first.numpy(), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(second.numpy(), [0.0, 0.0, 0.0])


@pytest.mark.parametrize("array", ["abc", [None], np.array([1j]), {"a": 1}])
def test_a_tensor_of_anything_but_real_numbers_is_refused(array):
    with pytest.raises(TypeError, match="real numbers"):
        Tensor(array)


def test_realize_cached_data_and_numpy_return_the_array_itself():
    t = Tensor([1.0, 2.0])
    t.realize_cached_data().flat[0] += 4
    assert t.numpy() is t.realize_cached_data()
    np.testing.assert_array_equal((t * 1).numpy(), [5.0, 2.0])


def test_the_only_device_is_the_cpu():
    t = Tensor([1.0], device=ndl.cpu())
    assert t.device == ndl.cpu() == (t + 1).device
    assert repr(ndl.cpu()) == "cpu()"
    with pytest.raises(TypeError, match=r"cpu\(\)"):
        Tensor([1.0], device="cuda")


def test_detach_shares_the_data_and_leaves_the_graph():
    x = Tensor([1.0, 2.0])
    y = x * 2
    for detached in (y.detach(), y.data):
        assert detached.numpy() is y.numpy()
        assert (detached.requires_grad, detached.op, detached.inputs, detached.grad) == (
            False,
            None,
            (),
            None,
        )


def test_data_can_be_replaced_by_a_tensor_of_the_same_shape_and_dtype():
    x = Tensor([1.0, 2.0], dtype="float32")
    x.data = x.data - np.float64(0.5) * x.data
    np.testing.assert_array_equal(x.numpy(), np.array([0.5, 1.0], "float32"))
    assert x.is_leaf()
    for wrong, error in ((Tensor([1.0, 2.0]), ValueError), (x.sum(), ValueError), (np.ones(2), TypeError)):
        with pytest.raises(error, match="data must"):
            x.data = wrong


def test_repr_shows_values_dtype_and_origin():
    x = Tensor([[1.0, 2.0]], dtype="float32")
    assert repr(x) == "Tensor([[1., 2.]], dtype=float32)"
    assert repr(x + 1) == "Tensor([[2., 3.]], dtype=float32, op=AddScalar)"
    assert repr(x.detach()) == "Tensor([[1., 2.]], dtype=float32, requires_grad=False)"
    assert str(x) == "[[1. 2.]]"


def test_a_result_requires_a_gradient_if_any_input_does():
    x, c = Tensor([1.0]), Tensor([2.0], requires_grad=False)
    assert (x * c).requires_grad
    assert (x * c).inputs == (x, c)


def test_constants_record_no_graph():
    c = Tensor([2.0], requires_grad=False)
    out = ndl.exp(c * c + 1)
    assert (out.requires_grad, out.op, out.inputs) == (False, None, ())


# --- Operators ---

OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}
OPERANDS = {
    "int": 2,
    "float": 2.5,
    "float64 scalar": np.float64(2.5),
    "float32 scalar": np.float32(2.5),
    "0-d array": np.array(2.5),
    "array": np.array([[2.5], [0.5]]),
}


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("operand", OPERANDS)
def test_an_operator_works_in_both_orders_with_numbers_and_arrays(symbol, operand, rng):
    operator, other = OPERATORS[symbol], OPERANDS[operand]
    x = rng.uniform(0.5, 1.5, (2, 3))
    for f in (lambda t: operator(t, other), lambda t: operator(other, t)):
        out = f(Tensor(x))
        assert type(out) is Tensor
        np.testing.assert_allclose(out.numpy(), f(x), rtol=1e-12)  # 2 / x is 2 * x**-1: two roundings
        check_gradient(f, x, rng=rng)
        check_second_order(f, x, rng=rng)


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize("operand", ["int", "float", "float64 scalar", "float32 scalar", "0-d array"])
def test_no_number_promotes_float32(symbol, operand):
    operator, other = OPERATORS[symbol], OPERANDS[operand]
    for f in (lambda t: operator(t, other), lambda t: operator(other, t)):
        for shape in ((2,), ()):
            x = Tensor(np.ones(shape, "float32"))
            out = f(x)
            out.backward()
            assert out.dtype == x.grad.dtype == np.float32


def test_at_sign_takes_arrays_on_either_side(rng):
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((3, 2))
    for out in (Tensor(a) @ Tensor(b), Tensor(a) @ b, a @ Tensor(b), Tensor(a).matmul(Tensor(b))):
        assert type(out) is Tensor
        np.testing.assert_allclose(out.numpy(), a @ b)


@pytest.mark.parametrize("other", ["1", None, [1.0], {}])
def test_an_operator_refuses_what_is_no_number(other):
    x = Tensor([1.0])
    for operator in OPERATORS.values():
        for pair in ((x, other), (other, x)):
            with pytest.raises(TypeError):  # Python's message, or that of str and list
                operator(*pair)
    with pytest.raises(TypeError, match="unsupported operand"):
        x @ 2


def test_subtraction_is_the_addition_of_the_negative():
    a, b = Tensor([1.0]), Tensor([2.0])
    difference = a - b
    assert isinstance(difference.op, ndl.EWiseAdd)
    assert isinstance(difference.inputs[1].op, ndl.Negate)
    assert isinstance((a - 1).op, ndl.AddScalar)
    assert isinstance((3 * a).op, ndl.MulScalar)


def test_methods_are_the_ops_of_the_same_name(rng):
    x = Tensor(rng.standard_normal((2, 3)))
    pairs = [
        (x.sum(), ndl.summation(x)),
        (x.sum(axes=1), ndl.summation(x, axes=1)),
        (x.reshape((3, 2)), ndl.reshape(x, (3, 2))),
        (x.broadcast_to((4, 2, 3)), ndl.broadcast_to(x, (4, 2, 3))),
        (x.transpose(), ndl.transpose(x)),
        (x.transpose((0, 1)), ndl.transpose(x, (0, 1))),
    ]
    for by_method, by_function in pairs:
        np.testing.assert_array_equal(by_method.numpy(), by_function.numpy())


# --- Topological order ---


def test_the_order_is_the_post_order_of_the_inputs_from_left_to_right():
    a, b = Tensor([[2.0]]), Tensor([[3.0]])
    product = 3 * a
    square = product * a
    scaled = 4 * b
    mixed = scaled * a
    total = square + mixed
    minus_a = -a
    out = total + minus_a
    assert find_topo_sort([out]) == [a, product, square, b, scaled, mixed, total, minus_a, out]


def test_the_right_input_comes_after_the_left_one():
    a, b = Tensor([[1.0]]), Tensor([[2.0]])
    out = b @ a
    assert find_topo_sort([out]) == [b, a, out]
    assert [x.numpy().item() for x in find_topo_sort([b - a])] == [2.0, 1.0, -1.0, 1.0]


def test_several_outputs_share_their_nodes_once():
    a = Tensor([1.0])
    b = a + 1
    c, d = b * b, b * a
    assert find_topo_sort([c, d]) == [a, b, c, d]
    assert find_topo_sort([d, c, d]) == [a, b, d, c]
    assert find_topo_sort([b, c]) == [a, b, c]
    assert find_topo_sort([]) == []
    assert find_topo_sort([a]) == [a]


@given(choices=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=30))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_every_value_comes_once_and_after_its_inputs(choices):
    values = [Tensor(1.0), Tensor(2.0)]
    for i, j in choices:
        values.append(values[i % len(values)] + values[j % len(values)])
    order = find_topo_sort([values[-1], values[len(values) // 2]])
    position = {node: i for i, node in enumerate(order)}
    assert len(position) == len(order)
    assert all(position[x] < position[node] for node in order for x in node.inputs)
    assert {values[-1], values[len(values) // 2]} <= set(order)


def test_a_search_goes_on_where_the_one_before_ended():
    a, b = Tensor([1.0]), Tensor([2.0])
    c = a + b
    d = c * b
    visited, order = set(), []
    topo_sort_dfs(c, visited, order)
    assert (order, visited) == ([a, b, c], {a, b, c})
    topo_sort_dfs(d, visited, order)
    topo_sort_dfs(c, visited, order)
    assert (order, visited) == ([a, b, c, d], {a, b, c, d})


class CountingNode:
    """A graph node that counts how often anyone looks at inputs."""

    looks = 0

    def __init__(self, *inputs):
        self._inputs = inputs

    @property
    def inputs(self):
        CountingNode.looks += 1
        return self._inputs


def test_each_node_is_expanded_a_constant_number_of_times():
    node = CountingNode()
    for _ in range(60):
        node = CountingNode(node, node)  # 2**60 paths
    CountingNode.looks = 0
    assert len(find_topo_sort([node])) == 61
    assert CountingNode.looks <= 2 * 61


def test_ten_thousand_leaves_are_sorted_with_one_look_each():
    leaves = [CountingNode() for _ in range(10_000)]
    out = CountingNode(*leaves)
    CountingNode.looks = 0
    assert find_topo_sort([out]) == [*leaves, out]
    assert CountingNode.looks <= 2 * 10_001


# --- Gradients ---


def test_gradients_add_up_over_all_paths(rng):
    def f(a, b):
        c = a * b
        return (c + a) * c - b / a + ndl.exp(c)

    a, b = rng.uniform(0.5, 1.5, (2, 3)), rng.uniform(0.5, 1.5, (2, 3))
    check_gradient(f, a, b, rng=rng)
    check_second_order(f, a, b, rng=rng)


@pytest.mark.parametrize(
    "f",
    [lambda x: x / x, lambda x: x @ x, lambda x: x * x, lambda x: x + x, lambda x: x - x, lambda x: x**x],
)
def test_a_value_used_twice_by_one_op_gets_both_gradients(f, rng):
    x = rng.uniform(0.5, 1.5, (3, 3))
    check_gradient(f, x, rng=rng)
    check_second_order(f, x, rng=rng)


def test_a_composition_of_everything(rng):
    def f(A, B, C):
        hidden = ndl.relu(A.reshape((4, 3)) @ B) + ndl.broadcast_to(C, (4, 2))
        return ndl.log(ndl.exp(hidden).sum((1,))) / 5 - (hidden * hidden).transpose().sum((0,))

    check_gradient(
        f, rng.standard_normal(12), rng.standard_normal((3, 2)), rng.standard_normal((1, 2)), rng=rng
    )


def test_backward_replaces_the_gradient_of_before():
    x = Tensor([1.0, 2.0])
    for _ in range(3):
        (x * x).backward()
        np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])


def test_the_gradient_of_a_gradient_of_integers():
    x2, x3 = Tensor([6]), Tensor([0])
    y = x2 * x2 + x2 * x3
    y.backward()
    gradient_x2, gradient_x3 = x2.grad, x3.grad
    gradient_x2.backward()
    assert gradient_x2.numpy() == 12
    assert gradient_x3.numpy() == 6
    assert x2.grad.numpy() == 2
    assert x3.grad.numpy() == 1


def test_derivatives_up_to_the_fourth():
    x = Tensor(2.0)
    y = x**4
    for expected in (32.0, 48.0, 48.0, 24.0):
        y.backward()
        y = x.grad
        assert y.numpy() == expected


def test_out_grad_is_ones_by_default_also_for_a_matrix():
    x = Tensor(np.ones((2, 3), "float32"))
    (x * 2).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 2, "float32"))
    assert x.grad.dtype == np.float32


def test_backward_of_a_leaf_is_out_grad():
    x = Tensor([1.0, 2.0])
    x.backward(Tensor([3.0, 4.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 4.0])


def test_constants_and_intermediate_values_keep_no_gradient():
    x, c = Tensor([1.0]), Tensor([2.0], requires_grad=False)
    y = x * c
    (y * y).backward()
    assert (c.grad, y.grad) == (None, None)
    assert x.grad.numpy() == 8.0


def test_a_frozen_leaf_keeps_the_grad_it_has():
    x, c = Tensor([1.0]), Tensor([2.0], requires_grad=False)
    own = c.grad = Tensor([7.0])
    (x * c + c).backward()
    assert c.grad is own
    assert x.grad.numpy() == 2.0


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (1, 2, 3)])
def test_an_out_grad_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"out_grad must have the Tensor's shape \(2, 3\), got"):
        (Tensor(np.ones((2, 3))) * 2).backward(Tensor(np.ones(shape)))


def test_an_out_grad_that_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match="out_grad must be a Tensor, got ndarray"):
        (Tensor([1.0]) * 2).backward(np.ones(1))


def test_backward_of_a_constant_is_refused():
    with pytest.raises(RuntimeError, match="does not depend on any leaf"):
        Tensor([1.0], requires_grad=False).backward()


# --- Depth and cost ---


class CountedAdd(ndl.EWiseAdd):
    calls = 0

    def gradient(self, out_grad, node):
        CountedAdd.calls += 1
        return super().gradient(out_grad, node)


def test_a_diamond_of_60_levels_takes_60_gradients():
    x = y = Tensor(1.0)
    for _ in range(60):
        y = CountedAdd()(y, y)
    CountedAdd.calls = 0
    y.backward()
    assert CountedAdd.calls == 60
    assert x.grad.numpy() == 2.0**60


def test_a_value_with_ten_thousand_uses_gets_them_all():
    x = Tensor(1.0)
    total = x * 0
    for _ in range(10_000):
        total = total + x
    total.backward()
    assert x.grad.numpy() == 10_000.0


def test_ten_thousand_leaves_get_their_gradients():
    leaves = [Tensor(float(i)) for i in range(10_000)]
    total = leaves[0] * leaves[0]
    for leaf in leaves[1:]:
        total = total + leaf * leaf
    total.backward()
    assert [leaf.grad.numpy().item() for leaf in leaves] == [2.0 * i for i in range(10_000)]


def test_a_graph_of_5000_levels_is_sorted_within_the_usual_recursion_limit():
    x = y = Tensor(1.0)
    for _ in range(5_000):
        y = y + 1
    assert len(find_topo_sort([y])) == 5_001
    y.backward()
    assert x.grad.numpy() == 1.0


def test_a_graph_of_100_000_levels_is_differentiated_and_freed():
    x = y = Tensor(1.0)
    for _ in range(100_000):
        y = -y
    first = weakref.ref(y.inputs[0])
    y.backward()
    assert x.grad.numpy() == 1.0
    del y
    gc.collect()
    assert first() is None


# --- Memory ---


def test_a_graph_is_freed_when_its_output_is(no_gc):
    x = Tensor([1.0, 2.0])
    y = x * x
    out = weakref.ref(y)
    del y
    assert out() is None


def test_a_graph_is_freed_without_the_garbage_collector_once_the_gradient_is_dropped(no_gc):
    x = Tensor([1.0, 2.0])
    hidden = ndl.exp(x)
    (hidden * hidden).sum().backward()
    inside = weakref.ref(hidden)
    del hidden
    assert inside() is not None  # the gradient can be differentiated again, so it holds the graph
    x.grad = None
    assert inside() is None


def test_a_training_loop_over_data_keeps_the_graph_of_one_step():
    w = Tensor([1.0, 2.0])
    sizes = []
    for _ in range(5):
        loss = (w * w).sum()
        loss.backward()
        sizes.append(len(find_topo_sort([loss])))
        w.data = w.data - 0.1 * w.grad.data
    assert sizes == [3] * 5
    np.testing.assert_allclose(w.numpy(), 0.8**5 * np.array([1.0, 2.0]))


# --- The package ---


def test_everything_the_package_offers_is_there():
    ops = [thing for thing in vars(ndl.ops).values() if getattr(thing, "__module__", "") == ndl.ops.__name__]
    offered = {
        op.__name__: op for op in ops if not op.__name__.startswith("_") and op is not ndl.ops.sum_to_shape
    }
    assert len(offered) == 17 * 2  # a class and a function each
    assert all(getattr(ndl, name) is op for name, op in offered.items())
    for name in ("Device", "Op", "Tensor", "Value", "cpu", "nn_epoch", "softmax_loss"):
        assert hasattr(ndl, name)
    assert ndl.ops.EWiseAdd is ndl.EWiseAdd
    assert ndl.autograd.Tensor is ndl.Tensor
    assert ndl.autograd.Op is ndl.Op
    assert issubclass(ndl.Tensor, ndl.autograd.Value)


def test_the_package_works_under_another_name(tmp_path):
    shutil.copytree(Path(ndl.__file__).parent, tmp_path / "ref" / "anything")
    code = "import ref.anything as n; x = n.Tensor([3.0]); (x * x).backward(); print(x.grad)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[6.]\n"
