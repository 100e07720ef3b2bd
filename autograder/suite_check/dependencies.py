"""What a case of a suite depends on, from the text of the suite alone: the key under which its results are kept.

A case depends on its test function and on every definition of test_score.py and probes.py that this function names,
directly or through others. So a change of one case leaves the results of the others as they are.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping

SCORE, PROBES = "test_score.py", "probes.py"


def case_digests(files: Mapping[str, str], functions: Iterable[str]) -> dict[str, str]:
    """Return a digest for each test function.

    Args:
        files: the suite's Python files by name.
        functions: names of test functions of test_score.py.
    """
    score, probes = _definitions(files[SCORE]), _definitions(files[PROBES])
    others = "".join(
        f"{name}\0{text}\0" for name, text in sorted(files.items()) if name not in (SCORE, PROBES)
    )
    known = {f"probes.{name}": node for name, node in probes.items()} | score
    digests = {}
    for function in functions:
        needed = _closure(function, known)
        text = "\0".join(f"{name}\0{_source(known[name])}" for name in sorted(needed))
        digests[function] = hashlib.sha256((text + others).encode()).hexdigest()
    return digests


def _definitions(text: str) -> dict[str, list[ast.stmt]]:
    """Return the module-level statements that bind each name; what binds none is needed by all, as ''."""
    found: dict[str, list[ast.stmt]] = {"": []}
    for statement in ast.parse(text).body:
        for name in _bound(statement) or [""]:
            found.setdefault(name, []).append(statement)
    return found


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
    targets = ast.walk(statement) if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)) else ()
    return [node.id for node in targets if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _closure(function: str, known: Mapping[str, list[ast.stmt]]) -> set[str]:
    needed: set[str] = set()
    pending = [function, "", "probes."]
    while pending:
        name = pending.pop()
        if name in needed or name not in known:
            continue
        needed.add(name)
        prefix = "probes." if name.startswith("probes.") else ""
        for node in (node for statement in known[name] for node in ast.walk(statement)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "probes"
            ):
                pending.append(f"probes.{node.attr}")
            elif isinstance(node, ast.Name):
                pending.append(prefix + node.id)
            elif isinstance(node, ast.arg):  # a fixture of the suite
                pending.append(prefix + node.arg)
    return needed


def _source(statements: list[ast.stmt]) -> str:
    return "\n".join(ast.unparse(statement) for statement in statements)
