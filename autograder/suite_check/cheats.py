"""Programs that do no work and try to get points all the same: pure, from the assignment's files to changed files."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from autograder.release import markers
from autograder.suite_check.python_source import FunctionNode, PythonSource, arguments

PACKAGES = ("torch", "scipy", "sklearn", "jax", "tensorflow", "autograd", "pandas", "sympy")
"""Packages that could do a student's work, tried where they are installed and the assignment does not name them."""


@dataclass(frozen=True)
class Cheat:
    """One program.

    Attributes:
        name: unique among the cheats.
        what: what it does.
        files: path -> text of the files that it changes.
        package: what it imports, where this is all that it does beside the solution.
    """

    name: str
    what: str
    files: Mapping[str, str]
    package: str = ""


def cheats(files: Mapping[str, str], packages: tuple[str, ...]) -> list[Cheat]:
    """Return the cheats for an assignment's own files.

    Args:
        files: path -> text of the files with solutions.
        packages: installed packages that the assignment does not import for its students.
    """
    bodies = {
        "None": ("every function returns None", "return None"),
        "zero": ("every function returns 0", "return 0"),
        "true": ("every function returns True", "return True"),
        "first input": ("every function returns its first input", "return {first}"),
        "copy of the input": (
            "every function returns a copy of its first input",
            "import copy\nreturn copy.deepcopy({first})",
        ),
        "equal to everything": (
            "every function returns an object that is equal to everything",
            "class Equal:\n    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = lambda self, other: True\n"
            "    __ne__ = lambda self, other: False\n    __hash__ = object.__hash__\n"
            "    __getattr__ = lambda self, name: Equal()\nreturn Equal()",
        ),
    }
    found = [
        Cheat(name, what, {path: _with_bodies(path, text, body) for path, text in files.items()})
        for name, (what, body) in bodies.items()
    ]
    python = {path: text for path, text in files.items() if path.endswith(".py")}
    counted = {path: _counting(path, text) for path, text in python.items()}
    found.append(
        Cheat("first call only", "counts its calls: right at the first, that result again later", counted)
    )
    references = {path: f"from ref.{_module(path)} import *\n" for path in python}
    found.append(Cheat("released reference", "imports the compiled package ref", references))
    for package in packages if python else ():
        path, text = next(iter(python.items()))
        imported = {path: _with_import(text, package)}
        found.append(
            Cheat(
                f"import {package}",
                f"solved, and imports {package}, which the assignment does not; tried on one case",
                imported,
                package,
            )
        )
    # In C++ the first ones are the same, and some change nothing.
    different = {tuple(sorted(cheat.files.items())): cheat for cheat in reversed(found) if cheat.files}
    return [cheat for cheat in found if cheat in different.values()]


def _module(path: str) -> str:
    inner = path.partition("/")[2].removesuffix(".py").replace("/", ".")
    return inner.removesuffix(".__init__")


def _with_bodies(path: str, text: str, body: str) -> str:
    """Return a file with `body` in the place of each solution that is a function's, empty functions in C++."""
    regions = markers.regions(text, path)
    lines = text.split("\n")
    source = PythonSource(path, text) if path.endswith(".py") else None
    for region in reversed(regions):
        if region.indent:
            new = _body(source, region, body) if source else []
            lines[region.begin : region.end - 1] = [region.indent + line for line in new]
    return "\n".join(lines)


def _body(source: PythonSource, region: markers.Region, body: str) -> list[str]:
    function = _function(source, region)
    names = list(arguments(function)) if function else []
    return body.replace("{first}", names[0] if names else "None").split("\n")


def _function(source: PythonSource, region: markers.Region) -> FunctionNode | None:
    inside = [
        node
        for node in source.names
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.lineno < region.begin < (node.end_lineno or 0)
    ]
    return max(inside, key=lambda node: node.lineno, default=None)


def _counting(path: str, text: str) -> str:
    """Return a file in which each function with a solution always gives the result of its first call."""
    source = PythonSource(path, text)
    functions = {_function(source, region) for region in source.regions if region.indent} - {None}
    names = sorted(source.names[function] for function in functions if function is not None)
    once = (
        "\n\ndef _once(function):\n    results = []\n\n    def called(*args, **kwargs):\n"
        "        if not results:\n            results.append(function(*args, **kwargs))\n"
        "        return results[0]\n\n    return called\n\n\n"
    )
    return text + once + "".join(f"{name} = _once({name})\n" for name in names)


def _with_import(text: str, package: str) -> str:
    """Return a module that imports a package below its docstring and its imports from __future__."""
    statements = ast.parse(text).body
    first = next((s for s in statements if not _is_head(s)), None)
    lines = text.split("\n")
    lines.insert(first.lineno - 1 if first else len(lines), f"import {package}")
    return "\n".join(lines)


def _is_head(statement: ast.stmt) -> bool:
    document = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return document or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")
