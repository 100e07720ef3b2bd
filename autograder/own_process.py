"""The command line of a Python process that runs a module of this very package."""

import sys
from pathlib import Path

PACKAGE_PARENT = str(Path(__file__).resolve().parents[1])
"""The folder that contains the package `autograder`."""


def own_process(module: str, *arguments: str) -> list[str]:
    """Return a command that calls `start(arguments)` of `module` and exits with the status that it returns.

    -I: neither the current folder nor the environment decides what is imported.
    """
    program = (
        f"import sys; sys.path.insert(0, {PACKAGE_PARENT!r}); "
        f"from {module} import start; sys.exit(start(sys.argv[1:]))"
    )
    return [sys.executable, "-I", "-c", program, *arguments]
