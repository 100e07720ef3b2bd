"""Builds the wheel `ref`: the solved package under another name, compiled, without sources.

Cython turns Python modules into extension modules; C++ is compiled for any processor of this architecture. Only names,
signatures, error messages and some docstrings remain readable; students have these docstrings in their starter anyway.
The wheel works with the Python version and on the platform that built it.
"""

import ast
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autograder import __version__
from autograder.config import Config
from autograder.errors import GraderError, SubmissionError
from autograder.release import leaks, markers, starter
from autograder.release.proof import NotReady, extension_caches
from autograder.submission import PACKAGE, digest, read_tree

NAME = "ref"
DATE = 1767225600  # the date of the files in the wheel: 2026-01-01
SECONDS = 1200.0
NAMED = "__released_to__"  # in each Python file of a wheel that is for one student
MAX_NAME = 100

# A line that holds only the text of an error. Whoever causes the error sees this text anyway.
_MESSAGE = re.compile(r'f?"[^"].*"')

ROOT_STUB = '"""The reference solution, compiled."""\n'
SETUP = """
from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

Options.emit_code_comments = False
flags = ["-O1", "-g0", "-fvisibility=hidden"]
link = [] if {macos} else ["-s"]


class Stubs(build_py):
    def find_package_modules(self, package, folder):
        return [found for found in super().find_package_modules(package, folder) if found[1] == "__init__"]


compiled = cythonize(
    [
        Extension(
            name,
            [path],
            define_macros=[("CYTHON_COMPRESS_STRINGS", "0")],  # so that the search for leaks can read the strings
            extra_compile_args=flags,
            extra_link_args=link,
        )
        for name, path in {modules}
    ],
    compiler_directives={{"language_level": 3, "binding": True, "annotation_typing": False}},
    quiet=True,
)
native = []
for module, folder, sources in {native}:
    import pybind11

    native.append(
        Extension(
            module,
            [f"{{folder}}/{{source}}" for source in sources],
            include_dirs=[folder, pybind11.get_include()],
            extra_compile_args=[*flags[1:], "-O3", "-std=c++17"],
            extra_link_args=link,
            language="c++",
        )
    )
setup(
    name="{name}",
    version="{version}",
    description="The compiled reference solution of the course",
    packages={packages},
    install_requires=["numpy>=2.0"],
    ext_modules=[*compiled, *native],
    cmdclass={{"build_py": Stubs}},
    zip_safe=False,
)
"""
BUILD = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"


@dataclass(frozen=True)
class Wheel:
    """A wheel that was built and proven.

    Attributes:
        path: the path of the wheel.
        lines: how many lines of solutions were looked for in the wheel.
        tests: how many tests that compare with the reference passed with the wheel.
    """

    path: Path
    lines: int
    tests: int


def build(settings: Config, out: Path, student: str = "") -> Wheel:
    """Build the wheel for the running Python, prove it, and put it into `out`.

    Args:
        settings: the course's configuration.
        out: the folder for the wheel.
        student: whom the wheel is for; each of its files contains this name as text. Empty: no name.

    Raises:
        NotReady: a proof failed. Nothing is put into `out` in that case.
        GraderError: a tool is missing, or the build fails.
    """
    root = settings.path(settings.reference)
    try:
        sources = read_tree(root)
    except SubmissionError as error:
        raise GraderError(f"{root}: {error}") from error
    with tempfile.TemporaryDirectory(prefix="autograder-release-") as name:
        folder = Path(name)
        made = _compile(folder / "project", sources, student)
        lines = nothing_leaks(settings, sources, made)
        tests = _works(folder, made, settings, sources)
        out.mkdir(parents=True, exist_ok=True)
        path = out / made.name
        path.write_bytes(made.read_bytes())
    return Wheel(path, lines, tests)


def project(sources: dict[str, bytes], student: str = "") -> dict[str, str]:
    """Return the files that the wheel is built from: path -> text.

    Raises:
        GraderError: the student's name cannot be written in one line.
    """
    if not student.isprintable() or len(student) > MAX_NAME:
        raise GraderError(f"{student!a:.100} cannot be a name; use at most {MAX_NAME} printable characters")
    named = f"\n{NAMED} = {student!r}\n" if student else ""
    files = {f"{NAME}/__init__.py": ROOT_STUB + named}
    modules: list[tuple[str, str]] = []
    native: list[tuple[str, str, list[str]]] = []
    extensions = {path.rpartition("/")[0] for path in sources if path.endswith("/binding.cpp")}
    for folder in sorted(extensions):
        inner = folder.removeprefix(f"{PACKAGE}/")
        binding = sources[f"{folder}/binding.cpp"].decode()
        stem = re.findall(r'#include "([^"/]+)\.hpp"|$', binding)[0]  # as build.py finds it
        package = f"{NAME}.{inner.replace('/', '.')}"
        native.append((f"{package}._{stem}", f"native/{inner}", ["binding.cpp", f"{stem}.cpp"]))
        stub = _extension_stub(sources[f"{folder}/__init__.py"].decode(), f"_{stem}")
        files[f"{NAME}/{inner}/__init__.py"] = stub + named
    for path, content in sources.items():
        inside = PurePosixPath(path).relative_to(PACKAGE)
        text = content.decode()
        if str(PurePosixPath(path).parent) in extensions:
            if inside.suffix in (".cpp", ".hpp"):
                files[f"native/{inside}"] = markers.solved(text, path)
        elif inside.suffix == ".py" and inside.parts != ("__init__.py",):
            module = str(PurePosixPath(NAME) / inside)
            files[module] = without_private_words(text, path) + named
            if inside.name != "__init__.py":
                modules.append((module.removesuffix(".py").replace("/", "."), module))
    packages = sorted(
        {str(PurePosixPath(path).parent).replace("/", ".") for path in files if path.startswith(f"{NAME}/")}
    )
    files["setup.py"] = SETUP.format(
        name=NAME,
        version=f"{__version__}+{digest(sources)[:8]}",
        modules=modules,
        native=native,
        packages=packages,
        macos=sys.platform == "darwin",
    )
    return files


def _extension_stub(text: str, module: str) -> str:
    """Return the __init__.py of a compiled extension: what the given one documents, and the names that it offers."""
    tree = ast.parse(text)
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    names = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    )
    return f'"""{first}"""\n\nfrom .{module} import {", ".join(names)}\n\n__all__ = {list(names)!r}\n'


def without_private_words(text: str, path: str) -> str:
    """Return Python source without comments and without the docstrings inside solutions."""
    found = markers.regions(text, path)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and any(region.begin < node.lineno < region.end for region in found)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree) + "\n"


def _compile(folder: Path, sources: dict[str, bytes], student: str = "") -> Path:
    for path, text in project(sources, student).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    keep = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "CC", "CXX") if key in os.environ}
    done = _run(
        [sys.executable, "-c", BUILD, "dist"],
        folder,
        keep | {"SOURCE_DATE_EPOCH": str(DATE), "LC_ALL": "C.UTF-8"},
    )
    if missing := re.search(r"No module named '(setuptools|Cython|pybind11)", done.stderr):
        raise GraderError(f"{missing[1]} is not installed; run: pip install 'autograder[release]' pybind11")
    wheels = list((folder / "dist").glob("*.whl")) if done.returncode == 0 else []
    if len(wheels) != 1:
        raise GraderError(f"the reference cannot be compiled:\n{(done.stdout + done.stderr)[-3000:]}")
    return wheels[0]


def nothing_leaks(settings: Config, sources: dict[str, bytes], wheel: Path) -> int:
    """Look for solutions in everything that `wheel` contains; return how many lines were looked for.

    Raises:
        NotReady: the wheel contains a solution, or a file that does not belong in it.
    """
    withheld = {
        path: [
            line
            for line in markers.solution_lines(content.decode(), path)
            if not _MESSAGE.fullmatch(line.strip())
        ]
        for path, content in sources.items()
        if path.endswith((".py", ".cpp", ".hpp"))
    }
    public = {
        line
        for assignment in settings.assignments.values()
        if assignment.release
        for line in assignment.release.public
    }
    detector = leaks.detector(settings, withheld=withheld, released=(f"{PACKAGE}/",), public=public)
    found: list[str] = []
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith((".so", ".pyd")):
                found += map(str, detector.scan_binary(name, content))
            elif name.endswith("/__init__.py") or ".dist-info/" in name:
                found += map(str, detector.scan(name, content))
            else:
                found.append(f"{name}: does not belong in the wheel")
    if found:
        raise NotReady(f"{len(found)} leaks in {wheel.name}:\n  " + "\n  ".join(found[:12]))
    return len(detector.lines)


def _works(folder: Path, wheel: Path, settings: Config, sources: dict[str, bytes]) -> int:
    """Run the tests that compare with the reference on the solved package; return how many passed."""
    tests = settings.starter.reference_tests
    if not tests:
        return 0
    checkout, installed = folder / "checkout", folder / "installed"
    for path, content in {**sources, **starter.beside(settings, settings.starter)}.items():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).write_bytes(content)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    keep = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "CXX") if key in os.environ}
    done = _run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *tests],
        checkout,
        keep | extension_caches(settings) | {"PYTHONPATH": str(installed)},
    )
    passed = re.search(r"^(?:=+ )?(\d+) passed in ", done.stdout, re.MULTILINE)
    if done.returncode or passed is None:
        raise NotReady(
            f"{', '.join(tests)} does not pass with {wheel.name}:\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return int(passed[1])


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise GraderError(f"this did not end within {SECONDS:.0f} s: {' '.join(command[:4])}") from None
