"""The exceptions that docstrings promise: each has a case of the hidden suite, and no solution raises anything else.

The promises are read from the docstrings in `src/` of the functions that students write. For each of them, this test
makes a wrong solution that raises an exception of another type with the same message, and the suite must catch it. So
a promise without a case fails here, and so does a case that somebody takes out. `autograder suite check` looks for
everything else that a suite may miss.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from autograder.config import load
from autograder.grading.grader import Grader
from autograder.grading.trial import Trial
from autograder.submission import read_tree
from autograder.suite_check import plan
from autograder.suite_check.python_source import FunctionNode, PythonSource
from autograder.verdict import Verdict
from tests.support import ROOT

CONFIG_FILE = ROOT / "autograder.toml"
CONFIG = load(CONFIG_FILE)
REFERENCE = read_tree(ROOT)
SECTION = re.compile(r"^( *)Raises:\n((?:\1 +.*\n|\n)*)", re.MULTILINE)
ENTRY = re.compile(r"^ *(\w+): ", re.MULTILINE)

BROKEN_PROMISE = """

def _with_another_exception(function):
    def call(*arguments, **settings):
        try:
            return function(*arguments, **settings)
        except {exception} as error:
            raise {other}(str(error)) from None

    return call


{name} = _with_another_exception({name})
"""


@dataclass(frozen=True)
class Promise:
    """An exception that the docstring of a function promises, or that its solution raises."""

    assignment: str
    path: str
    function: str
    exception: str

    def __str__(self) -> str:
        return f"{self.assignment} {self.function} {self.exception}"

    def broken(self) -> str:
        """Return the file with the same function, but with an exception of another type."""
        other = "KeyError" if self.exception != "KeyError" else "IndexError"
        text = BROKEN_PROMISE.format(exception=self.exception, other=other, name=self.function)
        return REFERENCE[self.path].decode() + text


def sources() -> list[tuple[str, PythonSource]]:
    """Return the Python files that hold solutions, with their assignments."""
    found = []
    for name, assignment in CONFIG.assignments.items():
        files = plan.own_files(assignment, REFERENCE)
        found += [(name, PythonSource(path, text)) for path, text in files.items() if path.endswith(".py")]
    return found


def written_by_students(source: PythonSource) -> list[tuple[FunctionNode, str]]:
    """Return the functions that hold a solution, and their names."""
    return [
        (node, name)
        for node, name in source.names.items()
        if isinstance(node, FunctionNode)
        and any(
            node.lineno < region.end and region.begin < (node.end_lineno or 0) for region in source.regions
        )
    ]


def promised(node: FunctionNode) -> set[str]:
    """Return the names of the exceptions in the docstring's section `Raises:`."""
    return {
        entry[1]
        for section in SECTION.finditer((ast.get_docstring(node) or "") + "\n")
        for entry in ENTRY.finditer(_unindented(section[2]))
    }


def _unindented(text: str) -> str:
    """Return the entries of a section without the lines that continue an entry."""
    lines = [line for line in text.split("\n") if line.strip()]
    least = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return "\n".join(line for line in lines if len(line) - len(line.lstrip()) == least)


PROMISES = [
    Promise(assignment, source.path, name, exception)
    for assignment, source in sources()
    for node, name in written_by_students(source)
    for exception in sorted(promised(node))
]


def test_promises_are_found() -> None:
    """Otherwise a change of the docstrings' form would switch off the tests below."""
    found = {str(promise) for promise in PROMISES}
    assert {
        "a0 ManualLinear.forward ValueError",
        "a0 ManualLinear.backward RuntimeError",
        "a0 ManualLinear.backward ValueError",
        "a1 parse_mnist ValueError",
        "a2 softmax_loss ValueError",
    } <= found


@pytest.fixture(scope="module")
def caught(tmp_path_factory: pytest.TempPathFactory) -> dict[Promise, set[str]]:
    """By promise: the cases that catch the solution that breaks it."""
    found: dict[Promise, set[str]] = {}
    for assignment in CONFIG.assignments:
        trials = []
        for promise in PROMISES:
            if promise.assignment == assignment:
                folder = tmp_path_factory.mktemp("broken")
                for path, content in (REFERENCE | {promise.path: promise.broken().encode()}).items():
                    Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                    Path(folder, path).write_bytes(content)
                trials.append((promise, folder, Trial(("one",), stop=True)))
        with Grader(CONFIG, assignment, config_file=CONFIG_FILE) as grader:
            for promise, tried in grader.try_many(trials, jobs=2):
                assert tried.fault is None
                found[promise] = {row.name for row in tried.rows if row.verdict != Verdict.PASSED.value}
    return found


@pytest.mark.sandbox
@pytest.mark.compiler
@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_each_promised_exception_has_a_case(promise: Promise, caught: dict[Promise, set[str]]) -> None:
    assert caught[promise], f"no case of {promise.assignment} asks for the type of this exception"


@pytest.mark.parametrize("source", [source for _, source in sources()], ids=lambda source: source.path)
def test_each_exception_of_a_solution_is_promised(source: PythonSource) -> None:
    """Nothing undocumented is asked: the reference, which decides what is right, raises what docstrings say."""
    said = {name: promised(node) for node, name in written_by_students(source)}
    everything = set().union(*said.values())
    for node in ast.walk(source.tree):
        function = source.functions.get(node)
        if not isinstance(node, ast.Raise) or node.exc is None or function is None:
            continue
        name = source.names[function]
        if name in said:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            # A helper keeps the promises of the functions that call it.
            allowed = said[name] or everything
            assert ast.unparse(raised) in allowed, f"{source.path}:{node.lineno} in {name}"
