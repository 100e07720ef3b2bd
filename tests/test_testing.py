"""The comparisons that hidden suites use: types first, then values, and messages that fit a table cell."""

import numpy as np
import pytest
import torch

from autograder.sandbox.inside import protocol
from autograder.testing import assert_close, assert_equal, assert_raised

X = np.arange(6, dtype=np.float32).reshape(2, 3)


class EqualToEverything:
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


class LyingArray(np.ndarray):
    def __eq__(self, other):
        return np.ones(self.shape, bool)

    __hash__ = None


def across_the_wall(value):
    return protocol.decode(protocol.encode(value), load=True)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (X, X),
        (X * np.float32(1 + 1e-6), X),
        (3.0, np.float32(3)),
        (np.float32(3), 3.0),
        (np.array(3.0), 3),
        (np.array([np.inf, -np.inf]), np.array([np.inf, -np.inf])),
        ([X, (1, 2)], [X, [1, 2]]),
        ({"a": X, "b": None}, {"a": X, "b": None}),
        (torch.from_numpy(X), torch.from_numpy(X)),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
        (np.array([1 + 2j]), np.array([1 + 2j])),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.arange(3), np.arange(3)),
        (True, True),
        ("text", "text"),
        (np.dtype("float32"), np.dtype("float32")),
    ],
)
def test_accepted(actual, expected):
    assert_close(across_the_wall(actual), across_the_wall(expected))


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        ([[0, 1, 2], [3, 4, 5]], X, "the result is a list, expected a float32 array of shape (2, 3)"),
        (None, X, "the result is None, expected a float32 array of shape (2, 3)"),
        (X.astype(np.float64), X, "the result has dtype float64, expected float32"),
        (X.T, X, "the result has shape (3, 2), expected (2, 3)"),
        (X[None], X, "the result has shape (1, 2, 3), expected (2, 3)"),
        (torch.from_numpy(X), X, "the result is a float32 tensor of shape (2, 3), expected a float32 array"),
        (X, torch.from_numpy(X), "the result is a float32 array of shape (2, 3), expected a float32 tensor"),
        (
            X + np.float32([[0, 0, 0], [0, 0.5, 0]]),
            X,
            "differs in 1 of 6 elements; largest difference 0.5 at [1, 1]",
        ),
        (np.full_like(X, np.nan), X, "differs in 6 of 6 elements: 6 NaN, the first at [0, 0]"),
        (np.full_like(X, np.nan), np.full_like(X, np.nan), "NaN"),
        (float("nan"), float("nan"), "NaN"),
        (np.array([np.inf]), np.array([-np.inf]), "largest difference inf at [0]"),
        (np.array([1.0]), np.array([np.inf]), "differs in 1 of 1"),
        (np.array([np.inf]), np.array([1.0]), "differs in 1 of 1"),
        (np.arange(3), np.array([0, 1, 3]), "differs in 1 of 3 elements, first at [2]"),
        (2.0, 1.0, "the result differs; largest difference 1"),
        (True, 1.0, "the result is a bool, expected a number"),
        ("1.0", 1.0, "the result is a str, expected a number"),
        ((1, 2), (1, 2, 3), "the result has 2 values, expected 3"),
        ((1, 5), (1, 2), "the result[1] differs"),
        ({"a": 1}, {"b": 1}, "the result has the keys ['a'], expected ['b']"),
        ({"a": 2}, {"a": 1}, "a differs"),
        (1, None, "the result is an int, expected None"),
        (0, False, "the result is an int, expected a bool"),
        (np.float32(3), np.float64(3), "has dtype float32, expected float64"),
        (X.astype(np.float64) + 1, X, "the result differs in 6 of 6 elements"),
        (X + 0j, X, "the result has dtype complex64, expected float32"),
        (1 + 0j, 1.0, "the result has dtype complex128, expected float64"),
        (X > 0, X, "the result has dtype bool, expected float32"),
        (EqualToEverything(), 1.0, "EqualToEverything object, expected a number"),
        (X.view(LyingArray), X, "LyingArray object, expected a float32 array"),
        (torch.ones(2, requires_grad=True), torch.zeros(2), "largest difference 1 at [0]"),
    ],
    ids=[
        "list",
        "none",
        "dtype",
        "transposed",
        "dimension",
        "tensor",
        "array",
        "one-element",
        "all-nan",
        "nan-expected",
        "nan",
        "infinity-sign",
        "infinity-expected",
        "infinity",
        "integers",
        "number",
        "bool",
        "text",
        "length",
        "element",
        "keys",
        "value",
        "not-none",
        "zero-for-false",
        "scalar-dtype",
        "values-before-dtype",
        "complex",
        "complex-number",
        "booleans",
        "equal-to-everything",
        "lying-array",
        "requires-grad",
    ],
)
def test_refused_with_one_short_line(actual, expected, message):
    with pytest.raises(AssertionError) as caught:
        assert_close(across_the_wall(actual), across_the_wall(expected))
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert len(text) < 200


def test_a_difference_just_beyond_the_tolerance_is_refused():
    one = np.array([1.0])
    assert_close(one + 0.9e-3, one, rtol=0, atol=1e-3)
    with pytest.raises(AssertionError):
        assert_close(one + 1.1e-3, one, rtol=0, atol=1e-3)


def test_messages_do_not_tell_the_expected_values():
    with pytest.raises(AssertionError) as caught:
        assert_close(np.zeros(3), np.array([0.0, 123.456, 0.0]), rtol=0, atol=0)
    assert "expected" not in str(caught.value)


def test_equal_compares_types():
    assert_equal("a", "a")
    with pytest.raises(AssertionError, match="is 'b', expected 'a'"):
        assert_equal("b", "a")
    with pytest.raises(AssertionError, match="is an int, expected a bool"):
        assert_equal(1, True)


@pytest.mark.parametrize("actual", [X, X.astype(np.float64), X.astype(np.float16), X.astype(np.int64)])
def test_without_check_dtype_only_values_count(actual):
    assert_close(across_the_wall(actual), X, check_dtype=False)
    wrong = actual.copy()
    wrong[0, 0] += 1
    with pytest.raises(AssertionError, match="differs in 1 of 6 elements"):
        assert_close({"a": [across_the_wall(wrong)]}, {"a": [X]}, check_dtype=False)


@pytest.mark.parametrize("actual", [X + 0j, X > 0, [0, 1, 2], X[0], torch.from_numpy(X)])
def test_without_check_dtype_another_kind_or_shape_still_fails(actual):
    with pytest.raises(AssertionError):
        assert_close(across_the_wall(actual), X, check_dtype=False)


RAISED = {"raised": ["BadFile", "ValueError", "Exception"], "message": "labels.gz: 13 statt 12 Bytes (2.1)"}


def test_an_exception_is_recognised_by_type_and_by_what_it_names():
    assert_raised(
        RAISED, "ValueError", naming=["labels.gz", 13, 12], sparing=["images.gz", 1, 2, 3], what="a file"
    )


@pytest.mark.parametrize(
    ("actual", "arguments", "message"),
    [
        ({"raised": [], "message": ""}, {}, "no ValueError is raised for a file"),
        (
            {"raised": ["KeyError"], "message": ""},
            {},
            "a KeyError is raised for a file, expected a ValueError",
        ),
        (
            {"raised": ["OSError"], "message": ""},
            {},
            "an OSError is raised for a file, expected a ValueError",
        ),
        (RAISED, {"naming": ["images.gz"]}, "the BadFile for a file does not name images.gz"),
        (RAISED, {"naming": [3]}, "the BadFile for a file does not name 3"),
        (RAISED, {"sparing": ["labels.gz"]}, "names labels.gz, which is right"),
        (None, {}, "what is raised for a file is None, expected a ValueError"),
        ({"raised": "ValueError", "message": ""}, {}, "is a dict, expected a ValueError"),
        ({"raised": [1], "message": "x"}, {}, "a 1 is raised"),
    ],
    ids=["nothing", "type", "article", "file", "number", "too much", "none", "text", "not a name"],
)
def test_an_exception_that_is_not_the_promised_one_is_refused(actual, arguments, message):
    with pytest.raises(AssertionError) as caught:
        assert_raised(across_the_wall(actual), "ValueError", what="a file", **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
