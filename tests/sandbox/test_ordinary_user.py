"""The sandbox's own tests once more, as a user without any privilege, if the tests run as root.

Root and an ordinary user enter the wall in different ways: with mounts made as root and a change of user, or with a
user namespace. Everything after that should be the same, which these tests show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.sandbox import test_attacks, test_sandbox
from tests.support import ROOT

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(os.geteuid() != 0, reason="already an ordinary user"),
]
NOBODY = 65534


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that everybody may run, with the libraries of this one."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")):
        if candidate and _as_nobody([candidate, "-c", "import pytest"]).returncode == 0:
            return candidate
    pytest.skip(f"no python{version} here that an ordinary user may run")


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """The part of the repository that the tests need, readable for everybody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("autograder", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder) / name)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield Path(folder)


def _as_nobody(command: list[str], cwd: Path = Path("/")) -> subprocess.CompletedProcess[str]:
    libraries = [path for path in sys.path if path.endswith("-packages")]
    return subprocess.run(
        ["/usr/bin/env", *command],  # so that a program that cannot be run is an exit status
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(libraries), "PYTHONDONTWRITEBYTECODE": "1"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", [test_sandbox, test_attacks], ids=["test_sandbox.py", "test_attacks.py"])
def test_as_an_ordinary_user(python: str, checkout: Path, module: ModuleType) -> None:
    # -c: the repository's own settings name plugins and folders that are not copied.
    (checkout / "empty.ini").write_text("[pytest]\npythonpath = .\n")
    tests = str(Path(str(module.__file__)).relative_to(ROOT))
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "empty.ini", tests]
    result = _as_nobody(command, checkout)
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
