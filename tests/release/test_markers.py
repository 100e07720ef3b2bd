"""Solution markers: what is refused, and what is left of a file."""

import ast
from textwrap import dedent

import pytest

from autograder.release import markers
from autograder.release.markers import MarkerError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


def stripped(text, path="src/a.py"):
    return markers.stripped(dedent(text).lstrip("\n"), path, "Task1")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([BEGIN, "x = 1", BEGIN, END], r"^src/a\.py:3: nested markers: .* begins in line 1"),
        (["x = 1", BEGIN, "y = 2"], r"^src/a\.py:2: this solution is never closed"),
        (["x = 1", END], r"^src/a\.py:2: this END SOLUTION closes nothing"),
        ([BEGIN, "x = 1", END, END], r"^src/a\.py:4: this END SOLUTION closes nothing"),
        ([f"    {BEGIN}", "x = 1", END], r"^src/a\.py:3: the indentation differs"),
        (["## BEGIN SOLUTION", "x = 1", END], r"^src/a\.py:1: this is almost a marker"),
        ([BEGIN, "x = 1", "### end solution"], r"^src/a\.py:3: this is almost a marker"),
        ([f"{BEGIN} "], r"^src/a\.py:1: this is almost a marker"),
        ([f"// {BEGIN}", f"// {END}"], r"^src/a\.py:1: write '### BEGIN SOLUTION'"),
    ],
    ids=[
        "nested",
        "unclosed",
        "orphaned",
        "closed-twice",
        "indent",
        "hashes",
        "case",
        "space",
        "cpp-in-python",
    ],
)
def test_markers_out_of_order_are_refused_by_line(lines, message):
    with pytest.raises(MarkerError, match=message):
        markers.regions("\n".join(lines), "src/a.py")


def test_python_markers_in_cpp_are_refused():
    with pytest.raises(MarkerError, match=r"^src/a\.cpp:1: write '// ### BEGIN SOLUTION'"):
        markers.regions(f"{BEGIN}\n{END}\n", "src/a.cpp")


def test_a_solution_becomes_a_stub_that_names_task_and_function():
    text = stripped('''
        def add(x, y):
            """Return the sum."""
            ### BEGIN SOLUTION
            total = x + y
            return total
            ### END SOLUTION


        class Layer:
            """A layer."""

            def forward(self, x):
                """Return x."""
                ### BEGIN SOLUTION
                return x
                ### END SOLUTION

            def given(self):
                return 1
    ''')
    assert 'raise NotImplementedError("Task1: add")' in text
    assert 'raise NotImplementedError("Task1: Layer.forward")' in text
    assert '"""Return the sum."""' in text
    assert "def given(self):\n        return 1" in text
    assert "total" not in text
    assert "SOLUTION" not in text


def test_helpers_of_solutions_vanish_without_a_gap():
    text = stripped('''
        """Head."""

        ### BEGIN SOLUTION
        LIMIT = 3
        ### END SOLUTION


        def f():
            """Return."""
            ### BEGIN SOLUTION
            return LIMIT
            ### END SOLUTION


        ### BEGIN SOLUTION
        def helper():
            """Tell nobody."""


        ### END SOLUTION


        def g():
            return 2
    ''')
    assert text.startswith('"""Head."""\n\n')
    assert "helper" not in text
    assert "LIMIT" not in text
    assert "\n\n\n\n" not in text
    assert [node.name for node in ast.parse(text).body[1:]] == ["f", "g"]


def test_methods_that_only_solutions_call_vanish():
    text = stripped('''
        class Layer:
            """A layer."""

            ### BEGIN SOLUTION
            def _secret(self):
                return 1
            ### END SOLUTION

            def given(self):
                return 2
    ''')
    assert "_secret" not in text
    assert "given" in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    {b}\n    return 1\n    {e}\n", r"^src/a\.py:2: f has no docstring"),
        (
            '    """S."""\n    x = 1\n    {b}\n    return x\n    {e}\n',
            r"^src/a\.py:4: the solution of f must be",
        ),
        (
            '    """S."""\n    {b}\n    x = 1\n    {e}\n    return x\n',
            r"^src/a\.py:3: the solution of f must be",
        ),
    ],
    ids=["no-docstring", "code-above", "code-below"],
)
def test_a_solution_that_is_not_the_whole_body_is_refused(body, message):
    text = "def f():\n" + body.replace("{b}", BEGIN).replace("{e}", END)
    with pytest.raises(MarkerError, match=message):
        markers.stripped(text, "src/a.py", "Task1")


def test_a_cpp_solution_becomes_a_stub_that_throws():
    text = stripped(
        """
        #include "epoch.hpp"

        // ### BEGIN SOLUTION
        #include <vector>
        // ### END SOLUTION

        void epoch(const float *X,
                   float lr) {
            // ### BEGIN SOLUTION
            helper(X, lr);
            // ### END SOLUTION
        }
        """,
        "src/epoch.cpp",
    )
    assert text == (
        '#include "epoch.hpp"\n\nvoid epoch(const float *X,\n           float lr) {\n'
        '    throw NotImplemented{"Task1: epoch"};\n}\n'
    )


def test_a_given_solution_stays_and_its_markers_go():
    text = f"def f():\n    '''S.'''\n    {BEGIN}\n    return 1\n    {END}\n"
    assert markers.solved(text, "src/a.py") == "def f():\n    '''S.'''\n    return 1\n"
    assert markers.solution_lines(text, "src/a.py") == ["    return 1"]


def test_only_line_breaks_end_a_line():
    text = f"def f():\n    '''S.\u2028\x0c'''\n    {BEGIN}\n    return 1\n    {END}\n"
    assert "'''S.\u2028\x0c'''\n    raise NotImplementedError" in markers.stripped(text, "src/a.py", "Task1")
