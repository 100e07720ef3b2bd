"""Which files of earlier assignments a starter carries: those that its own code imports, and no solution that is open.

What code imports is read from its text, also where an import stands in a function. A file of C++ or data belongs to the
package in whose folder it lies.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import PurePosixPath

from autograder.config import Config
from autograder.course.course import Course
from autograder.course.deadline import shown
from autograder.submission import PACKAGE


def needed(sources: Mapping[str, bytes], roots: Iterable[str]) -> set[str]:
    """Return the paths of `roots` and of everything that they import, directly or through other files.

    Args:
        sources: path -> content of the package `src`.
        roots: paths in `sources`.
    """
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path in found or path not in sources:
            continue
        found.add(path)
        if path.endswith(".py"):
            waiting += _imported(path, sources)
    return found


def _imported(path: str, sources: Mapping[str, bytes]) -> Iterator[str]:
    if path.endswith("/__init__.py") and path != f"{PACKAGE}/__init__.py":
        folder = path.rpartition("/")[0]
        yield from (other for other in sources if PurePosixPath(other).parent == PurePosixPath(folder))
    try:
        tree = ast.parse(sources[path])
    except (SyntaxError, ValueError):  # said elsewhere, with the line
        return
    package = PurePosixPath(path).parent.parts
    for node in ast.walk(tree):
        names: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = (*above, *(node.module.split(".") if node.module else ()))
            names = [module, *((*module, alias.name) for alias in node.names)]
        for name in names:
            if name[:1] == (PACKAGE,):
                for size in range(1, len(name) + 1):
                    yield "/".join(name[:size]) + ".py"
                    yield "/".join(name[:size]) + "/__init__.py"


def still_open(settings: Config, assignment: str, now: datetime) -> list[str]:
    """Return for whom `assignment` is still open at the moment `now`, one text each; empty if for nobody.

    Extensions, the grace period and late days count. If nobody knows, because there is no deadline or the file of
    extensions has a mistake, that is returned as well.

    Raises:
        ConfigError: there is no assignment of that name.
    """
    course = Course.of(settings)
    deadline = course.deadline(assignment)
    if deadline.closes is None:
        return ["everybody: it has no deadline"]
    last = deadline.until(deadline.closes)
    if last is not None and now <= last:
        return [f"everybody, until {shown(last, deadline.zone)}"]
    if not settings.assignment(assignment).extensions_file:
        return []
    found = []
    for extensions in course.extensions():
        for (_, name), extension in sorted(extensions.by_key.items()):
            last = deadline.until(deadline.last(extension))
            if name == assignment and last is not None and now <= last:
                found.append(f"{extension.student}, until {shown(last, deadline.zone)}")
        found += extensions.mistakes
    return found
