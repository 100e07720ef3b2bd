"""Which mistakes are made of which Python: each operator on one line of source."""

import ast

import pytest

from autograder.suite_check.python_mutants import python_mutants
from autograder.suite_check.python_source import immutable_classes

BODY = '''\
import numpy as np
import torch


def work(x, y, lr=0.1, n=3):
    """Compute.

    Args:
        x: numbers; not changed.
        y: numbers.
    """
    ### BEGIN SOLUTION
    {}
    ### END SOLUTION
'''


def changes(*lines, kind=None):
    """Return (kind, the added lines) for each mutant of a function with these lines."""
    text = BODY.format("\n    ".join(lines))
    made = []
    for mutant in python_mutants("src/work.py", text):
        ast.parse(mutant.text)
        added = [line[1:].strip() for line in mutant.diff.split("\n") if line.startswith("+")]
        made.append((mutant.kind, " / ".join(added)))
    return [change for found, change in made if found == kind] if kind else made


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        ("sign", "z = x + y", "z = x - y"),
        ("sign", "z = -y", "z = y"),
        ("operator", "z = x * y", "z = x / y"),
        ("operator", "z = x @ y", "z = x * y"),
        ("operand", "z = x * y", "z = y"),
        ("edge", "z = x < y", "z = x <= y"),
        ("comparison", "z = x == y", "z = x != y"),
        ("condition", "z = x and y", "z = (x or y)"),
        ("condition", "z = not y", "z = (y)"),
        ("axis", "z = x.sum(axis=0)", "z = x.sum(axis=1)"),
        ("axis", "z = x.sum(axis=0)", "z = x.sum()"),
        ("axis", "z = x.sum(1, keepdims=True)", "z = x.sum(1)"),
        ("transpose", "z = x.T", "z = x"),
        ("transpose", "z = x.transpose(1, 0)", "z = x"),
        ("reduction", "z = x.sum()", "z = x.mean()"),
        ("min/max", "z = np.maximum(x, 0)", "z = np.minimum(x, 0)"),
        ("min/max", "z = max(x, y)", "z = min(x, y)"),
        ("off by one", "z = x[1]", "z = x[2]"),
        ("off by one", "z = x[: n]", "z = x[:(n) - 1]"),
        ("slice", "z = x[1:]", "z = x[:]"),
        ("constant", "z = 0.5", "z = 1.0"),
        ("argument", "z = lr * x", "z = 0.1 * x"),
        ("argument", "z = y * x", "z = 1 * x"),
        ("last minibatch", "z = range(0, n, 2)", "z = range(0, (n) - (n) % (2), 2)"),
        ("assignment", "x += y", "x = y"),
        ("in place", "x += y", "x = x + (y)"),
        ("in place", "return x + y", "x += y / return x"),
        ("accumulate", "x.g = y", "x.g = (y) if x.g is None else x.g + (y)"),
        ("copy", "z = x.copy()", "z = x"),
        ("dtype", "z = x.astype(y)", "z = x"),
        ("dtype", "z = np.zeros(3, dtype=y)", "z = np.zeros(3)"),
        ("detach", "z = x.detach()", "z = x"),
        ("raise", "raise ValueError('bad')", "raise Exception('bad')"),
        ("statement", "x.append(y)", "pass"),
        ("loop", "while x: break", "while x: continue"),
        ("order", "for i in y: print(i)", "for i in reversed(list(y)): print(i)"),
        ("return", "x[0] = 1", "return x"),
        ("input changed", "return y", "result = y / x += 1 / return result"),
    ],
)
def test_a_line_becomes_the_mistake(kind, line, expected):
    assert expected in changes(line, kind=kind)


def test_a_check_is_removed():
    assert changes("if x is None:", "    raise ValueError('x')", kind="check") == ["pass"]


def test_a_mutant_changes_one_place_and_keeps_the_rest():
    text = BODY.format("z = x + y  # the sum\n    return z")
    (mutant,) = [m for m in python_mutants("src/work.py", text) if m.kind == "sign"]
    assert mutant.text == text.replace("x + y", "x - y")
    assert (mutant.function, mutant.line) == ("work", 13)
    assert mutant.id.startswith("src/work.py:work:sign:")


def test_only_solutions_are_changed():
    text = "def given(x):\n    return x + 1\n\n\n" + BODY.format("return x")
    assert {mutant.function for mutant in python_mutants("src/work.py", text)} == {"work"}


def test_ids_differ_and_outlive_changes_elsewhere_in_the_file():
    text = BODY.format("z = x + y\n    z = x + y\n    return z * lr")
    ids = [mutant.id for mutant in python_mutants("src/work.py", text)]
    assert len(set(ids)) == len(ids)
    moved = "# a comment\n\n" + text
    assert [mutant.id for mutant in python_mutants("src/work.py", moved)] == ids


def test_no_two_mutants_are_the_same_program():
    texts = [m.text for m in python_mutants("src/work.py", BODY.format("return x + y - lr * n"))]
    assert len(set(texts)) == len(texts) > 5


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("in place", ["z = np.zeros(3)", "z += y"]),
        ("in place", ["x[0] += y"]),
        ("accumulate", ["z = np.zeros(3)", "z[0] = y"]),
        ("in place", ["z = x.astype(float)", "z += y"]),
        ("order", ["for i in range(3): print(i)"]),
        ("order", ["for i in y: n *= i"]),
    ],
)
def test_what_nobody_could_notice_is_not_made(kind, lines):
    assert changes(*lines, kind=kind) == []


@pytest.mark.parametrize(
    "lines",
    [
        ["z = x", "z += y"],
        ["z = x.detach()", "z += y"],
        ["z = x.astype(float, copy=False)", "z += y"],
        ["z, u = x, y", "z += y"],
        ["for z in y: z += x"],
        ["z, u = y", "z += x"],
        ["x.g += y"],
    ],
)
def test_a_new_object_in_the_place_of_one_that_others_may_hold(lines):
    assert len(changes(*lines, kind="in place")) == 1


CLASSES = """
import torch
class Plain: ...
class Child(Plain): ...
class Adding(Plain):
    def __iadd__(self, other): return self
class Inherits(Adding): ...
class Elsewhere(torch.nn.Module): ...
"""


def test_classes_that_no_operator_changes():
    assert immutable_classes([CLASSES]) == {"Plain", "Child"}


@pytest.mark.parametrize(("annotation", "count"), [("Plain", 0), ("Adding", 1), ("np.ndarray", 1)])
def test_in_place_concerns_only_objects_that_can_change(annotation, count):
    text = BODY.replace("(x, y", f"(x: {annotation}, y").format("return x + y")
    made = python_mutants("src/work.py", text, immutable_classes([CLASSES]))
    assert sum(mutant.kind == "in place" for mutant in made) == count
