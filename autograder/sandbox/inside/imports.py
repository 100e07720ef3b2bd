"""The allowed packages that a submission imports: they are imported once, before its cases fork.

Theory of operation
-------------------
Every case imports `src` again, and with it everything that `src` imports. A stray `import matplotlib.pyplot` takes
longer than most cases. So pid 1 of a submission imports such modules itself, and each case finds them loaded.

The text of the submission says which modules these are: `modules_of` reads syntax trees, and `src` is not imported. A
text may be made to crash the parser. The import of a module may raise, hang, or leave a thread running. So all of this
is tried first in a case without student code (`module`), within limits. Pid 1 imports only what did well there. It
neither parses nor imports a file of a student.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import re
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from types import ModuleType

from . import SUBMISSION_DIRECTORY

LIMITS = {"wall_seconds": 5.0, "starved_seconds": 20.0}
"""Time limits of the trial. On a machine that is too busy, the imports are left to the cases."""
MAX_MODULES = 20
MAX_SOURCE_BYTES = 2**20
"""Larger files are not read: parsing them would take longer than the imports."""
THREAD_SECONDS = 1.0
"""How long threads that an import has started may take to end."""


def may_name(files: Mapping[str, bytes], importable: Collection[str]) -> bool:
    """Return whether a line may import an allowed package that is not loaded. Most submissions have no such line."""
    missing = [name for name in importable if name not in sys.modules and name.isidentifier()]
    if not missing:
        return False
    line = re.compile(rb"^(?:import|from)[ \t].*\b(?:%s)\b" % "|".join(missing).encode(), re.MULTILINE)
    return any(path.endswith(".py") and line.search(text) for path, text in files.items())


def module(importable: Collection[str]) -> ModuleType:
    """Return a probes module with one probe, which returns the names of the modules that pid 1 should import."""
    probes = ModuleType("_imports")
    probes.trial = lambda: _trial(importable)  # type: ignore[attr-defined]
    return probes


def load(names: object, importable: Collection[str]) -> None:
    """Import the modules in `names`, which is the value of the probe `trial`, if they are allowed."""
    for name in names if isinstance(names, list) else ():
        if type(name) is str and _is_allowed(name, importable):
            _import(name)


def modules_of(text: bytes, importable: Collection[str]) -> Iterator[str]:
    """Yield the modules of allowed packages that a file imports when it is itself imported.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: the text cannot be parsed.
    """
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
        yield from (name for name in found if _is_allowed(name, importable))


def _is_allowed(name: str, importable: Collection[str]) -> bool:
    """Return whether a module may be imported: it belongs to an allowed package, and no part of its name is private."""
    parts = name.split(".")
    return parts[0] in importable and all(part.isidentifier() and part[0] != "_" for part in parts)


def _trial(importable: Collection[str]) -> list[str]:
    named = dict[str, None]()
    for folder, _, files in os.walk(f"{SUBMISSION_DIRECTORY}/src"):
        for file in files:
            path = f"{folder}/{file}"
            if file.endswith(".py") and os.path.getsize(path) <= MAX_SOURCE_BYTES:  # noqa: PTH202
                with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                    with open(path, "rb") as source:  # noqa: PTH123
                        text = source.read()
                    named.update(dict.fromkeys(modules_of(text, importable)))
    new = [name for name in sorted(named) if name not in sys.modules][:MAX_MODULES]
    return [name for name in new if _import(name)]


def _import(name: str) -> bool:
    """Import a module; return whether that succeeds and leaves no thread running."""
    try:
        importlib.import_module(name)
    except BaseException:  # noqa: BLE001  # the case that imports it will show why
        return False
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(THREAD_SECONDS)
    return threading.active_count() == 1
