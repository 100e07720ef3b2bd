"""Solution markers: the solutions between them, and a file without its solutions.

In Python a solution is between `### BEGIN SOLUTION` and `### END SOLUTION`; in C++ both follow `// `. Inside a function
it is everything below the docstring, and a stub takes its place. At the left margin or in the body of a class it is
code that only solutions use, and nothing takes its place.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autograder.errors import GraderError

_MARKER = re.compile(r"(?P<indent>[ \t]*)(?P<comment>// )?### (?P<what>BEGIN|END) SOLUTION")
_NEARLY = re.compile(r"(?i)\b(?:begin|end)[ _-]*(?:of[ _-]*)?solutions?\b")
_CPP_FUNCTION = re.compile(r"^[A-Za-z_][\w:<>*& ]*?\b(\w+)\(")
_CPP_SUFFIXES = (".cpp", ".hpp", ".cu", ".cuh")


class MarkerError(GraderError):
    """A solution is not marked correctly; the message begins with file and line."""


@dataclass(frozen=True)
class Region:
    """One solution: the numbers of its marker lines, counted from 1, and their indentation."""

    begin: int
    end: int
    indent: str


def regions(text: str, path: str) -> list[Region]:
    """Return the solutions in `text`, in order.

    Args:
        text: the content of a source file.
        path: its path, for messages.

    Raises:
        MarkerError: a marker is nested, not closed, closes nothing, or is not written exactly as required.
    """
    found: list[Region] = []
    begin, indent = 0, ""
    for number, line in _numbered(text):
        where = f"{path}:{number}"
        match = _MARKER.fullmatch(line)
        if match is None:
            if _NEARLY.search(line):
                raise MarkerError(f"{where}: this is almost a marker: {line.strip()!r:.80}; {_how(path)}")
            continue
        if bool(match["comment"]) != path.endswith(_CPP_SUFFIXES):
            raise MarkerError(f"{where}: {_how(path)}")
        if match["what"] == "BEGIN":
            if begin:
                raise MarkerError(
                    f"{where}: nested markers: the solution that begins in line {begin} has no end yet"
                )
            begin, indent = number, match["indent"]
        elif not begin:
            raise MarkerError(
                f"{where}: this END SOLUTION closes nothing; remove it, or add a BEGIN SOLUTION"
            )
        elif match["indent"] != indent:
            raise MarkerError(f"{where}: the indentation differs from that of BEGIN SOLUTION in line {begin}")
        else:
            found.append(Region(begin, number, indent))
            begin = 0
    if begin:
        raise MarkerError(f"{path}:{begin}: this solution is never closed; add an END SOLUTION")
    return found


def _how(path: str) -> str:
    comment = "// " if path.endswith(_CPP_SUFFIXES) else ""
    return f"write '{comment}### BEGIN SOLUTION' and '{comment}### END SOLUTION', each alone on a line"


def solution_lines(text: str, path: str) -> list[str]:
    """Return the lines between the markers."""
    lines = _lines(text)
    return [line for region in regions(text, path) for line in lines[region.begin : region.end - 1]]


def solved(text: str, path: str) -> str:
    """Return `text` with its solutions, without the marker lines."""
    marks = {number for region in regions(text, path) for number in (region.begin, region.end)}
    return _joined(line for number, line in _numbered(text) if number not in marks)


def stripped(text: str, path: str, task: str) -> str:
    """Return `text` with a stub in place of each solution.

    Args:
        text: the content of a source file.
        path: its path, for messages.
        task: what the stubs call the task, such as Task1.

    Raises:
        MarkerError: see `regions`; or a solution is not the whole body of a function below its docstring.
    """
    found = regions(text, path)
    stub = _cpp_stub if path.endswith(_CPP_SUFFIXES) else _python_stub
    kept = dict(_numbered(text))
    for region in found:
        replacement = stub(text, path, region, task)
        for number in range(region.begin, region.end + 1):
            del kept[number]
        if replacement:
            kept[region.begin] = region.indent + replacement
        else:
            _close_gap(kept, region)
    return _joined(kept[number] for number in sorted(kept))


def _close_gap(kept: dict[int, str], region: Region) -> None:
    """Keep the blank lines above a removed helper and drop those below it."""
    number = region.end + 1
    while kept.get(number) == "" and (kept.get(region.begin - 1, "") == "" or number + 1 not in kept):
        del kept[number]
        number += 1


def _python_stub(text: str, path: str, region: Region, task: str) -> str:
    owner = _owner(text, path, region)
    if owner is None:
        return ""
    name, function = owner
    where = f"{path}:{region.begin}"
    if ast.get_docstring(function, clean=False) is None:
        raise MarkerError(f"{where}: {name} has no docstring: it is the specification that students get")
    if function.body[0].end_lineno != region.begin - 1 or function.end_lineno != region.end - 1:
        raise MarkerError(f"{where}: the solution of {name} must be its whole body below the docstring")
    return f'raise NotImplementedError("{task}: {name}")'


def _owner(text: str, path: str, region: Region) -> tuple[str, ast.FunctionDef | ast.AsyncFunctionDef] | None:
    """Return the qualified name and the node of the innermost function around a region; None for a helper."""
    try:
        body: Sequence[ast.stmt] = ast.parse(text).body
    except SyntaxError as error:
        raise MarkerError(f"{path}:{error.lineno}: {error.msg}") from error
    names: list[str] = []
    innermost = None
    while True:
        node = next(
            (
                node
                for node in body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and node.lineno < region.begin
                and (node.end_lineno or 0) > region.begin
            ),
            None,
        )
        if node is None:
            return innermost
        names.append(node.name)
        if not isinstance(node, ast.ClassDef):
            innermost = (".".join(names), node)
        body = node.body


def _cpp_stub(text: str, path: str, region: Region, task: str) -> str:
    if not region.indent:
        return ""
    for line in reversed(_lines(text)[: region.begin - 1]):
        if match := _CPP_FUNCTION.match(line):
            return f'throw NotImplemented{{"{task}: {match[1]}"}};'
    raise MarkerError(f"{path}:{region.begin}: there is no function around this solution")


def _lines(text: str) -> list[str]:
    """Return the lines as compilers count them: a form feed or U+2028 does not end a line."""
    return text.replace("\r\n", "\n").split("\n")


def _numbered(text: str) -> list[tuple[int, str]]:
    return list(enumerate(_lines(text), start=1))


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip("\n") + "\n"
