"""A Python file and its syntax tree, for the operators of `python_mutants`. It knows the span, the text and the parent
of each node, and which nodes belong to solutions."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from autograder.release import markers
from autograder.suite_check.mutant import MODULE, Place

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class PythonSource:
    """The text and the tree of one file.

    Attributes:
        code: the bytes that spans count in.
        parents: node -> the node around it.
        functions: node -> the innermost function around it; a function's node is its own.
        names: function -> its qualified name.
        immutable: names of classes that no operator such as `+=` changes.
    """

    def __init__(self, path: str, text: str, immutable: frozenset[str] = frozenset()) -> None:
        """Parse. Raises `MarkerError` where a solution is not marked as it must be."""
        self.immutable = immutable
        self.path, self.text, self.code = path, text, text.encode()
        self.tree = ast.parse(text)
        self._lines = [0]
        for line in self.code.split(b"\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        self.regions = markers.regions(text, path)
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: dict[ast.AST, FunctionNode] = {}
        self.names: dict[ast.AST, str] = {}
        self._walk(self.tree, None, ())

    def _walk(self, node: ast.AST, function: FunctionNode | None, names: tuple[str, ...]) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = (*names, node.name)
            self.names[node] = ".".join(names)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node
        if function is not None:
            self.functions[node] = function
        for child in ast.iter_child_nodes(node):
            self.parents[child] = node
            self._walk(child, function, names)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node stands, in bytes."""
        start = self._lines[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self._lines[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return start, end

    def of(self, node: ast.AST) -> str:
        """Return the text of a node, without parentheses around it."""
        start, end = self.span(node)
        return self.code[start:end].decode()

    def between(self, start: int, end: int) -> str:
        """Return the text of a span."""
        return self.code[start:end].decode()

    def indent(self, node: ast.stmt) -> str:
        """Return what stands before a statement on its line."""
        start, _ = self.span(node)
        return self.between(self._lines[node.lineno - 1], start)

    def place_of(self, node: ast.AST) -> Place:
        """Return the innermost function around a node, or the whole file."""
        function = self.functions.get(node)
        if function is None:
            return Place(MODULE, 1, len(self._lines) - 1)
        return Place(self.names[function], function.lineno, function.end_lineno or function.lineno)

    def solution_nodes(self) -> Iterator[ast.AST]:
        """Yield every node of the solutions, outside docstrings, annotations and f-strings, in the file's order."""
        pending: list[ast.AST] = [self.tree]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.JoinedStr) or self._is_docstring(node) or self._is_annotation(node):
                continue  # before Python 3.12 the positions in an f-string are not those of the file
            if hasattr(node, "lineno") and self._in_solution(node):
                yield node
            pending.extend(reversed(list(ast.iter_child_nodes(node))))

    def _in_solution(self, node: ast.AST) -> bool:
        line = node.lineno  # type: ignore[attr-defined]
        return any(region.begin < line < region.end for region in self.regions)

    def _is_docstring(self, node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        )

    def _is_annotation(self, node: ast.AST) -> bool:
        parent = self.parents.get(node)
        return (
            (isinstance(parent, ast.AnnAssign | ast.arg) and parent.annotation is node)
            or (isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef) and parent.returns is node)
        )  # fmt: skip


IN_PLACE = re.compile(r"__i(?:add|sub|mul|matmul|truediv|floordiv|mod|pow|and|or|xor|lshift|rshift)__")


def immutable_classes(texts: Iterable[str]) -> frozenset[str]:
    """Return the names of the classes in some Python files that have no method such as `__iadd__`, own or inherited.

    A class with a base from elsewhere may have one.
    """
    classes = {
        node.name: node
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }

    def plain(name: str) -> bool:
        node = classes.get(name)
        return name == "object" or (
            node is not None
            and not any(
                isinstance(part, ast.FunctionDef) and IN_PLACE.fullmatch(part.name) for part in node.body
            )
            and all(plain(ast.unparse(base)) for base in node.bases)
        )

    return frozenset(filter(plain, classes))


def arguments(function: FunctionNode | None) -> dict[str, ast.arg]:
    """Return the parameters of a function by name, without self and cls."""
    if function is None:
        return {}
    every = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return {argument.arg: argument for argument in every if argument.arg not in ("self", "cls")}


def defaults(function: FunctionNode | None) -> dict[str, ast.expr]:
    """Return the default values of a function's parameters by name."""
    if function is None:
        return {}
    positional = [*function.args.posonlyargs, *function.args.args]
    found = dict(zip([a.arg for a in positional][::-1], function.args.defaults[::-1], strict=False))
    named = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return found | {argument.arg: value for argument, value in named if value is not None}


def argument_texts(docstring: str) -> Mapping[str, str]:
    """Return what the section `Args:` of a docstring says of each parameter, in one line each."""
    found: dict[str, str] = {}
    match = re.search(r"^( *)Args:\n(.*?)(?:\n\1\S|\Z)", docstring, re.DOTALL | re.MULTILINE)
    if match is None:
        return found
    current: tuple[str, ...] = ()
    depth = None
    for line in match[2].split("\n"):
        entry = re.match(r"( +)([\w, ]+): (.*)", line)
        if entry and (depth is None or len(entry[1]) == depth):
            depth, current = len(entry[1]), tuple(name.strip() for name in entry[2].split(","))
            found.update(dict.fromkeys(current, entry[3]))
        else:
            for name in current:
                found[name] += " " + line.strip()
    return found
