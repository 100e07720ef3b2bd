"""Which mistakes are made of which C++."""

import pytest

from autograder.suite_check.cpp_mutants import cpp_mutants

BODY = """\
#include <vector>

void work(const float *x, float *y, std::size_t n)
{{
    // ### BEGIN SOLUTION
    {}
    // ### END SOLUTION
}}
"""


def changes(line, kind):
    added = []
    for mutant in cpp_mutants("src/work.cpp", BODY.format(line)):
        if mutant.kind == kind:
            added += [one[1:].strip() for one in mutant.diff.split("\n") if one.startswith("+")]
    return added


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        ("sign", "y[0] = x[0] - x[1];", "y[0] = (x[0] + x[1]);"),
        ("sign", "y[0] = -x[0];", "y[0] = x[0];"),
        ("operator", "y[0] = x[0] * x[1];", "y[0] = (x[0] / x[1]);"),
        ("operand", "y[0] = x[0] * x[1];", "y[0] = x[1];"),
        ("edge", "while (n < 3) ++n;", "while (n <= 3) ++n;"),
        ("comparison", "if (n == 3) return;", "if (n != 3) return;"),
        ("condition", "if (n == 3) return;", "if (false) return;"),
        ("off by one", "y[0] = x[1];", "y[0] = x[2];"),
        ("constant", "y[0] = 0.5f;", "y[0] = 1.5f;"),
        ("min/max", "y[0] = std::max(x[0], x[1]);", "y[0] = std::min(x[0], x[1]);"),
        ("argument", "y[0] = std::max(x[0], x[1]);", "y[0] = (x[1]);"),
        ("assignment", "y[0] += x[0];", "y[0] = x[0];"),
        ("assignment", "y[0] = x[0];", "y[0] += x[0];"),
        ("statement", "y[0] = x[0];", ";"),
        ("free", "delete[] y;", ";"),
        ("free", "std::free(y);", ";"),
        ("memory", "float *z = new float[n];", "float *z = new float[(n) - 1];"),
        ("memory", "std::vector<float> z(n);", "std::vector<float> z((n) - 1);"),
        ("dtype", "double z = 0;", "float z = 0;"),
        ("loop", "while (n) { break; }", "while (n) { continue; }"),
    ],
)
def test_a_line_becomes_the_mistake(kind, line, expected):
    assert expected in changes(line, kind)


def test_a_function_leaks():
    (leak,) = [m for m in cpp_mutants("src/work.cpp", BODY.format("y[0] = x[0];")) if m.kind == "leak"]
    assert "new float[4096]" in leak.diff
    assert leak.function == "work"


def test_nothing_outside_a_solution_is_changed():
    other = "int given(int a)\n{\n    return a + 1;\n}\n\n"
    made = cpp_mutants("src/work.cpp", other + BODY.format("y[0] = x[0] + 1;"))
    assert {mutant.function for mutant in made} == {"work"}
