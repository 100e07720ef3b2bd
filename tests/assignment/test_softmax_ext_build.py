"""How src/softmax_ext builds itself: what is compiled when, and what a student reads when it fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.softmax_ext import build as ext

pytestmark = pytest.mark.compiler

FAST = ("-std=c++17", "-O0", "-fPIC", "-fvisibility=hidden", "-Wall")
HEAD = f'#include "{ext.HEADER.name}"\n'
SIGNATURE = (
    "void softmax_regression_epoch(const float *, const std::uint8_t *, float *theta,\n"
    "                              std::size_t, std::size_t, std::size_t, float, std::size_t)"
)


def student_code(body: str) -> str:
    return f"{HEAD}{SIGNATURE} {{\n{body}\n}}\n"


@pytest.fixture(scope="session")
def binding() -> Path:
    """The object of binding.cpp, from the package's own cache: it takes seconds to compile."""
    return ext.build_binding(ext.cache_directories(), ext.find_compiler())


class Compiler:
    """A compiler that notes its calls, and may be slow."""

    def __init__(self, directory: Path, first: str = "") -> None:
        directory.mkdir()
        self.log = directory / "calls"
        script = directory / "c++"
        real = " ".join(ext.find_compiler())
        script.write_text(f'#!/bin/sh\necho "$@" >> {self.log}\n{first}\nexec {real} "$@"\n')
        script.chmod(0o755)
        self.command = (str(script),)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


class Workbench:
    """One source file, one cache, one compiler."""

    def __init__(self, directory: Path, binding: Path) -> None:
        self.source = directory / "src" / "softmax_ext" / ext.SOURCE.name
        self.source.parent.mkdir(parents=True)
        self.cache = directory / "cache"
        self.binding = binding
        self.compiler = Compiler(directory / "compiler")

    def build(self, code: str | None = None, **options: object) -> ext.Built:
        if code is not None:
            self.source.write_text(code)
        settings = {
            "binding": self.binding,
            "cache": self.cache,
            "compiler": self.compiler.command,
            "flags": FAST,
        }
        return ext.build(self.source, **{**settings, **options})

    def run(self, built: ext.Built) -> float:
        """What theta[0] is after a call of the built function."""
        module = ext.load(built.path, f"bench_{built.path.stem.replace('.', '_')}.{ext.MODULE}")
        theta = np.zeros((1, 1), np.float32)
        module.softmax_regression_epoch_cpp(np.ones((1, 1), np.float32), np.zeros(1, np.uint8), theta)
        return float(theta[0, 0])


@pytest.fixture
def bench(tmp_path: Path, binding: Path) -> Workbench:
    return Workbench(tmp_path, binding)


@pytest.fixture
def copy_package(tmp_path: Path, binding: Path) -> Callable[[str], Path]:
    """Copies the extension's sources as NAME/softmax_ext into a tree of its own, the binding ready."""

    def copy(name: str) -> Path:
        target = tmp_path / "tree" / name / "softmax_ext"
        shutil.copytree(ext.DIRECTORY, target, ignore=shutil.ignore_patterns("_build", "__pycache__"))
        (target.parent / "__init__.py").touch()
        (target / ext.SOURCE.name).write_text(student_code("theta[0] = 5;"))
        (target / "_build").mkdir()
        shutil.copy(binding, target / "_build")
        return target

    return copy


def python(code: str, directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("SOFTMAX_EXT_CACHE", "CXX")}
    return subprocess.run(
        [sys.executable, "-c", code] if not code.startswith("-m ") else [sys.executable, *code.split()],
        cwd=directory,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


CALL = """
import numpy as np
theta = np.zeros((1, 1), np.float32)
softmax_regression_epoch_cpp(np.ones((1, 1), np.float32), np.zeros(1, np.uint8), theta)
print(theta[0, 0])
"""


# --- Without a compiler -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PATH": "/nowhere"}, "c++, g++, clang++"),
        ({"PATH": "/bin:/usr/bin", "CXX": "no-such-c++ -m32"}, "no-such-c++"),
    ],
)
def test_no_compiler_is_answered_with_the_remedy(environ: dict, named: str) -> None:
    with pytest.raises(ext.ToolchainError) as raised:
        ext.find_compiler(environ)
    for part in (named, "apt-get install g++", "xcode-select --install"):
        assert part in str(raised.value)


def test_cxx_may_be_a_command_with_options(tmp_path: Path) -> None:
    compiler = Compiler(tmp_path / "bin")
    environ = {"PATH": str(tmp_path / "bin"), "CXX": "c++ -DNDEBUG"}
    assert ext.find_compiler(environ) == (*compiler.command, "-DNDEBUG")


def test_missing_python_headers_are_answered_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ext.sysconfig, "get_path", lambda _name: "/nowhere")
    with pytest.raises(ext.ToolchainError, match=r"Python.h is not in /nowhere.*apt-get install python3-dev"):
        ext.include_flags()


def test_missing_pybind11_is_answered_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pybind11", None)
    with pytest.raises(ext.ToolchainError, match=r"pybind11 is not installed: .* -m pip install"):
        ext.include_flags()


def test_errors_of_the_build_are_import_errors() -> None:
    for error in (ext.CompileError, ext.ToolchainError):
        assert issubclass(error, ImportError)
    assert not issubclass(ext.ToolchainError, ext.CompileError)  # one is the student's fault, one is not


@pytest.mark.parametrize("platform", ["x86_64 linux", "x86_64 macos", "AMD64 linux", "aarch64 linux"])
def test_native_code_where_every_compiler_knows_the_flag(platform: str) -> None:
    machine, system = platform.split()
    assert "-march=native" in ext.compile_flags(machine, macos=system == "macos")


@pytest.mark.parametrize("platform", ["arm64 macos", "riscv64 linux", "ppc64le linux"])
def test_no_native_code_where_compilers_may_not_know_the_flag(platform: str) -> None:
    machine, system = platform.split()
    assert "-march=native" not in ext.compile_flags(machine, macos=system == "macos")


def test_the_environment_variable_is_the_only_cache() -> None:
    assert ext.cache_directories({"SOFTMAX_EXT_CACHE": "/a/b"}) == (Path("/a/b"),)


def test_the_last_resort_is_a_directory_that_only_we_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ext.tempfile, "gettempdir", lambda: str(tmp_path))
    assert len(ext.cache_directories({"XDG_CACHE_HOME": str(tmp_path)})) == 2
    (tmp_path / "_build").touch()  # a file in the way stops root too, as permissions do not
    monkeypatch.setattr(ext, "DIRECTORY", tmp_path)
    _, last = ext.cache_directories({})
    assert last.parent == tmp_path
    assert last.stat().st_mode & 0o777 == 0o700
    last.chmod(0o777)  # someone else's doing: what lies there must not be loaded
    assert last not in ext.cache_directories({})


def test_importing_the_package_builds_nothing() -> None:
    code = (
        "import sys, src.softmax_ext as e; print('src.softmax_ext.build' in sys.modules, hasattr(e, 'other'))"
    )
    assert python(code, ext.DIRECTORY.parent.parent).stdout.split() == ["False", "False"]


def age(path: Path, seconds: float) -> Path:
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_pruning_leaves_the_newest_and_whatever_may_be_in_use(tmp_path: Path) -> None:
    entries = [f"{ext.MODULE}-{i}.so" for i in range(6)] + [f"binding-{i}.o" for i in range(3)]
    for i, name in enumerate(entries):
        (tmp_path / name).touch()
        age(tmp_path / name, 10_000 * (i + 1))
    age(tmp_path / f"{ext.MODULE}-0.so", 10)
    (tmp_path / "notes.txt").touch()
    age(tmp_path / "notes.txt", 1e6)
    for name, seconds in (("abandoned", 1e5), ("running", 10)):
        (tmp_path / f".building-{name}").mkdir()
        age(tmp_path / f".building-{name}", seconds)

    ext.prune(tmp_path, keep=2, seconds=25_000)

    # Modules 0 and 1 are the newest two; 2 is third, and older than 25,000 s; so is binding 2.
    left = ["0.so", "1.so", "binding-0.o", "binding-1.o", "building-running", "notes.txt"]
    assert sorted(path.name.removeprefix(f"{ext.MODULE}-").lstrip(".") for path in tmp_path.iterdir()) == left


def test_pruning_leaves_many_new_entries_alone(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{ext.MODULE}-{i}.so").touch()
    assert ext.prune(tmp_path, keep=2) == []


# --- What is compiled when --------------------------------------------------------------------------


def test_a_hit_calls_no_compiler_and_says_nothing(bench: Workbench, capfd: pytest.CaptureFixture) -> None:
    first = bench.build(student_code("theta[0] = 3;"))
    assert first.compiled
    assert capfd.readouterr().err == "compiling src/softmax_ext/softmax_regression.cpp\n"
    calls = bench.compiler.calls()
    assert sum(" -c " in f" {call}" for call in calls) == 1

    second = bench.build()
    assert second == (first.path, False, "")
    assert bench.compiler.calls() == calls
    assert capfd.readouterr() == ("", "")
    assert bench.run(second) == 3


def test_a_hit_counts_as_use_so_that_it_is_not_pruned(bench: Workbench) -> None:
    path = bench.build(student_code("")).path
    age(path, 1e6)
    bench.build()
    assert time.time() - path.stat().st_mtime < 1000


def test_an_edit_rebuilds_and_going_back_does_not(bench: Workbench) -> None:
    three = bench.build(student_code("theta[0] = 3;"))
    four = bench.build(student_code("theta[0] = 4;"))
    assert (bench.run(three), bench.run(four)) == (3, 4)
    again = bench.build(student_code("theta[0] = 3;"))
    assert again.path == three.path
    assert not again.compiled


def test_everything_that_goes_in_counts(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = (*FAST, "-march=native")
    seen = [bench.build(student_code("")).path]
    seen.append(bench.build(flags=(*FAST, "-DNDEBUG")).path)
    seen.append(bench.build(flags=native).path)
    monkeypatch.setattr(ext, "cpu_identity", lambda: "another processor")
    seen.append(bench.build(flags=native).path)
    assert bench.build().path == seen[0]  # without -march=native the processor does not matter
    seen.append(bench.build(compiler=Compiler(tmp_path / "another").command).path)
    (bench.source.parent / ext.HEADER.name).write_text(ext.HEADER.read_text() + "// edited\n")
    seen.append(bench.build().path)
    bench.binding = Path(shutil.copy(bench.binding, tmp_path / "other.o"))
    with bench.binding.open("ab") as file:
        file.write(b"\0")
    seen.append(bench.build().path)
    assert len(set(seen)) == len(seen)


def test_an_edit_does_not_compile_the_binding(copy_package: Callable[[str], Path]) -> None:
    package = copy_package("course")
    compiler = Compiler(package.parent.parent / "bin")
    code = f"from course.softmax_ext import softmax_regression_epoch_cpp\n{CALL}"
    for value in ("5.0", "6.0"):
        (package / ext.SOURCE.name).write_text(student_code(f"theta[0] = {value};"))
        ran = python(code, package.parent.parent, CXX=compiler.command[0], SOFTMAX_EXT_CACHE="")
        if "binding.cpp" in ran.stderr:  # another compiler: the binding is compiled for it, once
            assert value == "5.0"
        assert ran.stdout.split() == [value], ran.stderr
    assert sum("binding.cpp" in call for call in compiler.calls()) == 1
    assert sum("softmax_regression.cpp" in call for call in compiler.calls()) == 2


def test_it_works_under_any_package_name_and_twice_in_one_process(
    copy_package: Callable[[str], Path],
) -> None:
    package = copy_package("ref")
    (copy_package("other") / ext.SOURCE.name).write_text(student_code("theta[0] = 6;"))
    shared = copy_package("same") / "_build"
    code = "".join(
        f"from {name}.softmax_ext import softmax_regression_epoch_cpp\n{CALL}"
        for name in ("ref", "other", "same")
    )
    ran = python(code, package.parent.parent, SOFTMAX_EXT_CACHE=str(shared))
    assert ran.stdout.split() == ["5.0", "6.0", "5.0"], ran.stderr
    assert "compiling ref/softmax_ext/softmax_regression.cpp" in ran.stderr


def test_two_builds_at_once_do_not_disturb_each_other(bench: Workbench, tmp_path: Path) -> None:
    bench.source.write_text(student_code("theta[0] = 9;"))
    slow = Compiler(tmp_path / "slow", first="sleep 0.3")
    code = (
        "from src.softmax_ext import build as ext; from pathlib import Path\n"
        f"built = ext.build(Path({str(bench.source)!r}), binding=Path({str(bench.binding)!r}),\n"
        f"    cache=Path({str(bench.cache)!r}), compiler={slow.command!r}, flags={FAST!r})\n"
        "softmax_regression_epoch_cpp = ext.load(built.path).softmax_regression_epoch_cpp\n" + CALL
    )
    command = [sys.executable, "-c", code]
    root = ext.DIRECTORY.parent.parent
    processes = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == ["9.0"] * 3
    assert len(slow.calls()) > 3  # they did overlap: more than one of them compiled
    assert len(list(bench.cache.iterdir())) == 1


def test_a_killed_build_keeps_nobody_waiting(bench: Workbench, tmp_path: Path) -> None:
    bench.source.write_text(student_code("theta[0] = 2;"))
    stuck = Compiler(tmp_path / "stuck", first="exec sleep 60")
    code = (
        "from src.softmax_ext import build as ext; from pathlib import Path\n"
        f"ext.build(Path({str(bench.source)!r}), binding=Path({str(bench.binding)!r}),\n"
        f"    cache=Path({str(bench.cache)!r}), compiler={stuck.command!r})\n"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=ext.DIRECTORY.parent.parent, start_new_session=True)
    while not stuck.calls():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert bench.run(bench.build()) == 2


def test_a_read_only_package_builds_in_the_next_place(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "_build").touch()  # a file in the way stops root too, as permissions do not
    monkeypatch.setattr(ext, "DIRECTORY", tmp_path / "package")
    monkeypatch.delenv("SOFTMAX_EXT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    built = bench.build(student_code("theta[0] = 8;"), cache=None)
    assert built.path.parent == tmp_path / "user" / "softmax_ext"
    assert bench.run(built) == 8
    assert not bench.build(cache=None).compiled


def test_a_full_cache_in_a_read_only_place_is_used(bench: Workbench, tmp_path: Path) -> None:
    path = bench.build(student_code("theta[0] = 8;")).path
    bench.cache.chmod(0o555)
    path.chmod(0o444)
    try:
        assert bench.build() == (path, False, "")
    finally:
        bench.cache.chmod(0o755)


def test_no_place_to_build_in_says_how_to_name_one(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ext.ToolchainError, match=r"no directory to build in .*file.* SOFTMAX_EXT_CACHE"):
        bench.build(student_code(""), cache=tmp_path / "file" / "cache")


# --- What a student reads ---------------------------------------------------------------------------


def test_the_first_error_is_the_message_and_the_rest_is_kept(bench: Workbench) -> None:
    with pytest.raises(ext.CompileError) as raised:
        bench.build(student_code("int i = nonsense;\nint j = 2\n;undeclared();"))
    assert re.fullmatch(
        r"src/softmax_ext/softmax_regression\.cpp:4: error: .*nonsense.*", str(raised.value)
    ), raised.value
    assert "undeclared" in raised.value.output
    assert str(bench.source.parent) not in raised.value.output
    assert list(bench.cache.iterdir()) == []


def test_a_missing_header_is_an_error_too(bench: Workbench) -> None:
    with pytest.raises(
        ext.CompileError, match=r"^src/softmax_ext/softmax_regression\.cpp:1: error: .*no_such\.h"
    ):
        bench.build("#include <no_such.h>\n")


@pytest.mark.parametrize(
    "code", ["", student_code("").replace("_epoch", "_epochs"), student_code("").replace("float,", "double,")]
)
def test_a_renamed_or_missing_function_is_named(bench: Workbench, code: str) -> None:
    with pytest.raises(ext.CompileError) as raised:
        bench.build(code)
    assert str(raised.value) == (
        "src/softmax_ext/softmax_regression.cpp: error: "
        "softmax_regression_epoch is not defined as softmax_regression.hpp declares it"
    )


def test_a_helper_without_a_body_is_named(bench: Workbench) -> None:
    with pytest.raises(ext.CompileError) as raised:
        bench.build(HEAD + "int helper(int);\n" + student_code("helper(1);").removeprefix(HEAD))
    expected = "src/softmax_ext/softmax_regression.cpp: error: helper(int) is used but defined nowhere"
    assert str(raised.value) == expected


def test_warnings_are_shown_and_never_fail_a_build(bench: Workbench) -> None:
    built = bench.build(student_code("int unused; theta[0] = 1;"))
    assert "src/softmax_ext/softmax_regression.cpp:4" in built.warnings
    assert "unused" in built.warnings
    assert bench.run(built) == 1


def test_a_deleted_file_is_named(bench: Workbench) -> None:
    with pytest.raises(
        ext.CompileError, match=r"^src/softmax_ext/softmax_regression\.cpp: error: cannot be read"
    ):
        bench.build()


def test_an_exception_thrown_in_the_students_code_reaches_python(bench: Workbench) -> None:
    built = bench.build(
        "#include <stdexcept>\n" + student_code('throw std::runtime_error("Task1 is not done");')
    )
    with pytest.raises(RuntimeError, match="Task1 is not done"):
        bench.run(built)


def test_what_is_built_but_broken_says_what_to_remove(tmp_path: Path) -> None:
    (tmp_path / "broken.so").write_bytes(b"not a library")
    with pytest.raises(ext.ToolchainError, match=re.escape(f"Remove {tmp_path / 'broken.so'}")):
        ext.load(tmp_path / "broken.so")


def test_the_command_line_shows_everything(copy_package: Callable[[str], Path]) -> None:
    package = copy_package("course")
    root = package.parent.parent
    shown = python("-m course.softmax_ext.build --help", root)
    assert shown.returncode == 0
    assert "SOFTMAX_EXT_CACHE" in shown.stdout

    built = python("-m course.softmax_ext.build", root)
    assert built.returncode == 0, built.stderr
    assert re.fullmatch(rf"built: {re.escape(str(package / '_build'))}/.*\n", built.stdout)
    assert python("-m course.softmax_ext.build", root).stdout.startswith("already built: ")

    (package / ext.SOURCE.name).write_text(student_code("one;\ntwo;"))
    failed = python("-m course.softmax_ext.build", root)
    assert failed.returncode == 1
    assert "'two'" in failed.stderr
    assert "course/softmax_ext/softmax_regression.cpp:4: error: " in failed.stderr.splitlines()[-1]

    imported = python("from course.softmax_ext import softmax_regression_epoch_cpp", root)
    assert re.search(
        r"CompileError: course/softmax_ext/softmax_regression\.cpp:4: error: .*one", imported.stderr
    )


# --- The student's file -----------------------------------------------------------------------------


def test_the_students_file_includes_nothing_heavy() -> None:
    command = [*ext.find_compiler(), "-std=c++17", "-M", str(ext.SOURCE)]
    included = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for heavy in ("Python.h", "pybind11", "iostream", "regex"):
        assert not re.search(rf"/{heavy}\b", included), heavy


def test_without_the_solution_the_file_compiles_and_does_nothing(bench: Workbench) -> None:
    solved = ext.SOURCE.read_text()
    marked = re.compile(r"^ *// ### BEGIN SOLUTION\n.*?^ *// ### END SOLUTION\n", re.DOTALL | re.MULTILINE)
    starter = marked.sub("", solved)
    assert len(marked.findall(solved)) == 2
    # std::max, std::exp and std::vector are what nearly every solution uses.
    headers = [f"#include <{name}>" for name in ("algorithm", "cmath", "vector")]
    assert re.findall(r"#include .*", starter) == [HEAD.strip(), *headers]
    assert "Lanes" not in starter
    assert bench.run(bench.build(starter)) == 0
