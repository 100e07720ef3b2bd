"""Which packages student code can import: the entries of libraries, both walls, and imports before the cases fork."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from autograder.sandbox.bubblewrap import BwrapWall
from autograder.sandbox.inside import container, imports, packages
from autograder.sandbox.outcome import Status
from tests.support.walls import PATIENT, new_wall, run, submission, value

# the entries of a folder of libraries ────────────────────────────────────────────────────────────────────


def install(folder: Path, name: str, *files: str, requires: tuple[str, ...] = ()) -> None:
    """Leave in `folder` what pip leaves there: files, and a record of them."""
    record = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    record.mkdir(parents=True)
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    lines = [f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {text}" for text in requires)]
    (record / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    own = (f"{record.name}/METADATA", "../../../bin/tool", f"__pycache__/{name}.cpython-311.pyc")
    (record / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in (*files, *own)))


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    install(folder, "arrays", "arrays/__init__.py", "arrays.libs/x.so")
    install(
        folder,
        "Plots.and-more",
        "plots/__init__.py",
        "plots_toolkit/__init__.py",
        requires=("arrays>=1", "dates (>=2)", "notebook; extra == 'notebook'", "absent"),
    )
    install(folder, "dates", "dates.py", requires=("plots-and-more",))
    install(folder, "scikit-solver", "solver/__init__.py", requires=("arrays",))
    install(folder, "notebook", "notebook/__init__.py")
    (folder / "loose.cpython-311-x86_64-linux-gnu.so").touch()
    return folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["arrays"], {"arrays", "arrays.libs", "arrays-1.0.dist-info"}, id="its own files"),
        pytest.param(
            ["plots.deep"],
            {
                *(
                    "plots",
                    "plots_toolkit",
                    "Plots.and_more-1.0.dist-info",
                    "dates.py",
                    "dates-1.0.dist-info",
                ),
                *("arrays", "arrays.libs", "arrays-1.0.dist-info"),
            },
            id="what it requires, in circles, without extras",
        ),
        pytest.param(
            ["solver"],
            {"solver", "scikit_solver-1.0.dist-info", "arrays", "arrays.libs", "arrays-1.0.dist-info"},
            id="a distribution of another name",
        ),
        pytest.param(["loose"], {"loose.cpython-311-x86_64-linux-gnu.so"}, id="not installed by pip"),
        pytest.param(["json", "nothing"], set(), id="not there"),
        pytest.param([], set(), id="none"),
    ],
)
def test_the_entries_of_a_package(libraries: Path, names: list[str], expected: set[str]) -> None:
    assert set(packages.entries([str(libraries)], names)[str(libraries)]) == expected


def test_of_two_folders_the_first_that_has_a_distribution_counts(libraries: Path, tmp_path: Path) -> None:
    install(tmp_path / "more", "arrays", "arrays/__init__.py")
    found = packages.entries([str(tmp_path / "more"), str(libraries)], ["plots"])
    assert "arrays" in found[str(tmp_path / "more")]
    assert "arrays" not in found[str(libraries)]


# the wall of namespaces ──────────────────────────────────────────────────────────────────────────────────

FIND = """
import glob, importlib, os, sys
def go(names, everywhere):
    if everywhere:
        roots = (sys.base_prefix, "/usr", "/usr/local")
        sys.path += [path for root in roots for path in glob.glob(f"{root}/lib*/python3*/*-packages")]
    found = []
    for name in names:
        try:
            importlib.import_module(name)
            found.append(name)
        except ImportError as error:
            assert isinstance(error, ModuleNotFoundError), error
    return found
"""
NAMES = [
    "torch",
    "sklearn",
    "scipy",
    "pytest",
    "pip",
    "autograder.cli",
    "numpy",
    "matplotlib",
    "tqdm",
    "yaml",
]


@pytest.mark.sandbox
@pytest.mark.parametrize("everywhere", [False, True], ids=["on the path", "searched for"])
def test_only_allowed_packages_can_be_imported(tmp_path: Path, everywhere: bool) -> None:
    with new_wall(tmp_path, preload=("numpy",), importable=("tqdm",)) as wall:
        assert value(wall, FIND, NAMES, everywhere) == ["numpy", "tqdm"]


@pytest.mark.sandbox
def test_without_hiding_the_others_could_be_imported(tmp_path: Path) -> None:
    """So they cannot be imported because they are hidden: nothing else keeps student code from them."""
    with new_wall(tmp_path, importable=("torch", "sklearn", "pytest")) as wall:
        assert value(wall, FIND, NAMES, False) == ["torch", "sklearn", "scipy", "pytest", "numpy"]


# in containers, the rules of Landlock ────────────────────────────────────────────────────────────────────


def test_folders_are_divided_around_what_is_hidden(tmp_path: Path) -> None:
    for path in ("usr/bin", "usr/lib/python/site-packages/torch", "usr/lib/gcc", "opt"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "usr/lib/python/os.py").touch()
    (tmp_path / "usr/lib/link").symlink_to(tmp_path / "usr/lib/python")
    (tmp_path / "lib").symlink_to(tmp_path / "usr/lib")
    hidden = str(tmp_path / "usr/lib/python/site-packages")
    kept, divided = container.without([f"{tmp_path}/{name}" for name in ("usr", "lib", "opt")], [hidden])
    assert {Path(path).relative_to(tmp_path).as_posix() for path in kept} == {
        *("usr/bin", "usr/lib/gcc", "usr/lib/python/os.py", "opt"),
    }
    assert {Path(path).relative_to(tmp_path).as_posix() for path in divided} == {
        *("usr", "usr/lib", "usr/lib/python"),
    }


# imports before the cases fork ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import matplotlib", ["matplotlib"]),
        ("import os, matplotlib.pyplot as plt", ["matplotlib.pyplot"]),
        ("from matplotlib import pyplot", ["matplotlib", "matplotlib.pyplot"]),
        ("try:\n    import matplotlib\nexcept ImportError:\n    pass", ["matplotlib"]),
        ("def plot():\n    import matplotlib", []),
        ("class Plot:\n    import matplotlib", ["matplotlib"]),
        ("from . import matplotlib", []),
        ("from .matplotlib import x", []),
        ("import scipy, matplotlibs", []),
        ("import matplotlib.__main__, matplotlib._private", []),
    ],
)
def test_the_modules_that_an_import_of_a_file_imports(text: str, expected: list[str]) -> None:
    assert [*imports.modules_of(text.encode(), {"matplotlib", "numpy"})] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"import absent_package", True),
        (b"x = 1\nfrom absent_package.part import y", True),
        (b"import os, absent_package", True),
        (b"def f():\n    import absent_package", False),
        (b"# import absent_package", False),
        (b"import json", False),
    ],
)
def test_most_submissions_need_no_trial(text: bytes, expected: bool) -> None:
    assert imports.may_name({"src/a.py": text}, ["absent_package", "json"]) is expected
    assert not imports.may_name({"src/a.txt": text}, ["absent_package"])


BEFORE = "import sys\nbefore = [*sys.modules]\n"
GO = "\ndef go(): return 'matplotlib' in before, 'matplotlib.pyplot' in before\n"


def loaded(wall: BwrapWall, line: str, **others: bytes) -> Any:
    """Return whether matplotlib and its pyplot are loaded when a submission with this line begins to run."""
    with wall.open({**submission(BEFORE + line + GO), **others}) as session:
        outcomes = [session.run("call", ("go",)) for _ in range(2)]
    assert all(outcome.returned for outcome in outcomes), [outcome.describe() for outcome in outcomes]
    assert outcomes[0].value == outcomes[1].value
    return outcomes[0].value


@pytest.fixture(scope="module")
def plotting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("wall")
    with new_wall(folder, preload=("numpy",), importable=("matplotlib", "tqdm"), limits=PATIENT) as wall:
        yield wall


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import matplotlib.pyplot as plt", (True, True)),
        ("import matplotlib", (True, False)),
        ("import json", (False, False)),
    ],
)
def test_allowed_packages_are_imported_before_the_cases(
    plotting: BwrapWall, line: str, expected: tuple[bool, bool]
) -> None:
    assert loaded(plotting, line) == expected


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"import matplotlib\n" + b"(" * 100_000, id="does not parse"),
        pytest.param(b"import matplotlib\nx = " + b"-" * 1_000_000 + b"1", id="is nested deeply"),
        pytest.param(b"import matplotlib\n\0", id="is no text"),
    ],
)
def test_a_text_that_the_parser_cannot_take_is_the_submission_s_own_matter(
    plotting: BwrapWall, text: bytes
) -> None:
    assert loaded(plotting, "", **{"src/other.py": text}) == (False, False)


@pytest.mark.sandbox
def test_what_an_import_leaves_in_tmp_is_not_seen_by_a_case(plotting: BwrapWall) -> None:
    code = "import matplotlib.pyplot, os\ndef go(): return os.listdir('/tmp'), os.getcwd()"
    assert value(plotting, code) == ([], "/tmp")


@pytest.mark.sandbox
def test_an_import_that_does_not_end_is_left_to_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of the system that hangs: the trial is given up, and the case that imports it times out."""
    wall_libraries = tmp_path / "libraries" / "site-packages"
    install(wall_libraries, "hangs", "hangs/__init__.py")
    (wall_libraries / "hangs" / "__init__.py").write_text("import time\ntime.sleep(1000)\n")
    install(wall_libraries, "threads", "threads/__init__.py")
    (wall_libraries / "threads" / "__init__.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(wall_libraries)])
    with new_wall(tmp_path, importable=("hangs", "threads")) as wall:
        assert run(wall, "import hangs\ndef go(): pass", timeout=0.5).status is Status.TIMEOUT
        code = "import sys\nbefore = [*sys.modules]\nimport threads\ndef go(): return 'threads' in before"
        assert value(wall, code) is False
