"""Builds the C++ extension of this folder: two small compiler calls, a link, and a cache that knows its contents.

`binding.cpp` is given, and so is the header that it includes; the file of that name with the suffix `.cpp` is
the student's. Each of the two is compiled to an object, and the objects are linked to a Python module. The object
of the binding takes seconds (pybind11's headers) and is kept; the student's takes less than one, so that is what
an edit costs. Files of the cache are named after a hash of everything that went into them, appear under their name
only when complete, and are never changed. So nothing has to be locked, and a build that was killed leaves nothing
that anyone waits for.

Needed: a C++ compiler (GCC or Clang, on Linux or macOS), Python's headers, pybind11.
Environment: CXX, the compiler to use; <FOLDER>_CACHE, the cache directory to use, such as SOFTMAX_EXT_CACHE.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

PACKAGE = __package__ or Path(__file__).parent.name
DIRECTORY = Path(__file__).resolve().parent
BINDING = DIRECTORY / "binding.cpp"
HEADER = DIRECTORY / re.findall(r'#include "([^"/]+)"|$', BINDING.read_text(encoding="utf-8"))[0]
SOURCE = HEADER.with_suffix(".cpp")
MODULE = f"_{SOURCE.stem}"  # the name in PYBIND11_MODULE
FOLDER = DIRECTORY.name
CACHE = f"{FOLDER.upper()}_CACHE"  # the environment variable

FORMAT = 1  # of the cache: count up when this file builds something else from the same sources
KEEP_NEWEST = 8  # entries of each kind that pruning leaves
KEEP_SECONDS = 3600.0  # and it leaves everything used in the last hour, which a process may be loading

BINDING_FLAGS = (
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-fvisibility=hidden",
)  # it only checks: fast to compile matters
MACOS = sys.platform == "darwin"


class BuildError(ImportError):
    """The extension cannot be built or loaded. `output` is all that the tool at fault printed."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class CompileError(BuildError):
    """The student's file does not compile or link. The message is the first error, in one line."""


class ToolchainError(BuildError):
    """The fault is not in the student's file: no compiler, no headers, no place to write to."""


class Built(NamedTuple):
    path: Path
    compiled: bool  # False: it was in the cache
    warnings: str  # of the compiler about the student's file; empty if nothing was compiled


# --- What is there to build with --------------------------------------------------------------------


def find_compiler(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The command that compiles C++: $CXX, or else the first of c++, g++, clang++ on the PATH.

    Raises ToolchainError when there is none.
    """
    path = environ.get("PATH", os.defpath)
    chosen = shlex.split(environ.get("CXX", ""))
    for command in [chosen] if chosen else [["c++"], ["g++"], ["clang++"]]:
        program = shutil.which(command[0], path=path)
        if program:
            return (program, *command[1:])
    looked_for = f"CXX={environ['CXX']!r}" if chosen else "c++, g++, clang++"
    raise ToolchainError(
        f"there is no C++ compiler ({looked_for}) on the PATH."
        " Debian, Ubuntu: sudo apt-get install g++; macOS: xcode-select --install"
    )


def compiler_identity(compiler: Sequence[str]) -> str:
    """Changes when the compiler does. Costs no compiler call: the program's file, its size and its time."""
    program = Path(compiler[0]).resolve()
    status = program.stat()
    return f"{program} {list(compiler[1:])} {status.st_size} {status.st_mtime_ns}"


def cpu_identity() -> str:
    """Which instructions -march=native stands for here: two machines may share a home directory."""
    telling = re.compile(
        r"(vendor_id|cpu family|model|model name|flags|CPU implementer|CPU part|Features)\s*:"
    )
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as cpuinfo:
        first_core = iter(cpuinfo.readline, "\n")
        return " ".join(" ".join(line.split()) for line in first_core if telling.match(line))
    if MACOS:
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"{platform.machine()} {platform.processor()}"


def compile_flags(machine: str | None = None, macos: bool = MACOS) -> tuple[str, ...]:
    """How the student's file is compiled: for speed on this processor, warnings on, never as errors."""
    machine = platform.machine() if machine is None else machine
    # Apple's compiler aims at the first Apple processor by default, and older ones reject -march=native.
    native = machine in ("x86_64", "AMD64") or (machine in ("aarch64", "arm64") and not macos)
    flags = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
    return (*flags, "-march=native") if native else flags


def include_flags() -> tuple[str, ...]:
    """Where binding.cpp finds Python's and pybind11's headers. Raises ToolchainError if they are missing."""
    try:
        import pybind11
    except ImportError as error:
        raise ToolchainError(
            f"pybind11 is not installed: {sys.executable} -m pip install 'pybind11>=2.13'"
        ) from error
    directories = dict.fromkeys([sysconfig.get_path("include"), sysconfig.get_path("platinclude")])
    if not any(Path(directory, "Python.h").exists() for directory in directories):
        raise ToolchainError(
            f"Python.h is not in {sysconfig.get_path('include')}."
            " Debian, Ubuntu: sudo apt-get install python3-dev; macOS: take the Python of python.org"
        )
    return tuple(f"-I{directory}" for directory in (*directories, pybind11.get_include()))


# --- The cache --------------------------------------------------------------------------------------


def is_writable(directory: Path) -> bool:
    """Whether files can be created there, after the directory itself if need be."""
    while not directory.exists():
        directory = directory.parent
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


def cache_directories(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where built files may lie, best first.

    The directory in the environment variable CACHE alone if it is set; else _build beside the sources and the
    user's cache directory; and if neither can be written to, a temporary directory that nobody else can write to.
    """
    if environ.get(CACHE):
        return (Path(environ[CACHE]).absolute(),)
    directories = [DIRECTORY / "_build"]
    home = environ.get("HOME", "")
    user = environ.get("XDG_CACHE_HOME") or (home and f"{home}/{'Library/Caches' if MACOS else '.cache'}")
    if user:
        directories.append(Path(user).absolute() / FOLDER)
    if not any(map(is_writable, directories)):
        temporary = Path(tempfile.gettempdir()) / f"{FOLDER}-{os.getuid()}"
        with contextlib.suppress(OSError):
            temporary.mkdir(mode=0o700, exist_ok=True)
            status = temporary.lstat()
            if status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022:
                directories.append(temporary)
    return tuple(directories)


@contextlib.contextmanager
def workspace(directories: Sequence[Path]) -> Iterator[Path]:
    """A new directory inside the first of `directories` that can be written to; removed at the end."""
    reasons = []
    for directory in directories:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".building-", dir=directory))
        except OSError as error:
            reasons.append(f"{directory}: {error.strerror}")
            continue
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return
    raise ToolchainError(
        f"there is no directory to build in ({'; '.join(reasons)})."
        f" Set the environment variable {CACHE} to one that can be written to"
    )


def publish(file: Path, name: str) -> Path:
    """Moves a finished file of a workspace into its cache directory, where it appears complete."""
    path = file.parent.parent / name
    file.replace(path)
    return path


def find_cached(name: str, directories: Sequence[Path]) -> Path | None:
    """The cached file of that name, marked as just used so that it is not pruned."""
    for path in (directory / name for directory in directories):
        if path.is_file():
            with contextlib.suppress(OSError):  # a read-only cache is not pruned either
                os.utime(path)
            return path
    return None


def prune(directory: Path, keep: int = KEEP_NEWEST, seconds: float = KEEP_SECONDS) -> list[Path]:
    """Removes old files that this module put into `directory`, and returns them.

    Left alone are the `keep` newest of each kind, everything used within `seconds`, and files of others.
    """
    removed = []
    now = time.time()
    for kind in ("binding-*.o", f"{MODULE}-*", ".building-*"):
        entries = []
        for path in directory.glob(kind):
            with contextlib.suppress(FileNotFoundError):  # another process prunes as well
                entries.append((path.stat().st_mtime, path))
        entries.sort(reverse=True)
        for used, path in entries[0 if kind == ".building-*" else keep :]:
            if now - used > seconds:
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    removed.append(path)
    return removed


def digest(*parts: object) -> str:
    """A short hash of everything that was put in."""
    return hashlib.sha256(json.dumps([FORMAT, *parts], default=str).encode()).hexdigest()[:20]


def content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- The compiler -----------------------------------------------------------------------------------


def run_compiler(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs it with messages in English and without colours, stderr and stdout in one."""
    return subprocess.run(
        command,
        env={**os.environ, "LC_ALL": "C", "GCC_COLORS": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def display_path(source: Path) -> str:
    """`source` as people know it, such as src/softmax_ext/softmax_regression.cpp, wherever the tree lies."""
    return "/".join(source.parts[-len(PACKAGE.split(".")) - 1 :])


def with_display_paths(output: str, source: Path) -> str:
    return output.replace(f"{source.parent}{os.sep}", display_path(source)[: -len(source.name)])


def first_error(output: str, source: Path) -> str:
    """The first error of a compiler's or linker's output, in one line: `file:line: error: ...`."""
    shown = display_path(source)
    lines = with_display_paths(output, source).splitlines()
    for line in lines:
        if found := re.match(r"(.+?):(\d+):(?:\d+:)? (?:fatal )?error: (.*)", line):
            return f"{found[1]}:{found[2]}: error: {found[3]}"
    # Linkers: GNU ld and gold, lld, Apple's.
    undefined = r"(?:undefined reference to [`']|undefined symbol: |Undefined.*\n *\"_?)([^'\"\n]+)"
    if found := re.search(undefined, output):
        return f"{shown}: error: {found[1]} is used but defined nowhere"
    if found := re.search(r"(?:multiple definition of [`']|duplicate symbol:? '?_?)([^'\n]+)", output):
        return f"{shown}: error: {found[1]} is defined already, in {BINDING.name}"
    telling = [line for line in lines if "error" in line.lower()] or [line for line in lines if line.strip()]
    return f"{shown}: error: {telling[0].strip() if telling else 'the compiler failed and says nothing'}"


def compile_source(source: Path, output: Path, compiler: Sequence[str], flags: Sequence[str]) -> str:
    """Compiles the student's file to an object and returns the warnings. Raises CompileError."""
    done = run_compiler([*compiler, *flags, "-c", str(source), "-o", str(output)])
    if done.returncode:
        raise CompileError(first_error(done.stdout, source), with_display_paths(done.stdout, source))
    return with_display_paths(done.stdout, source)


def compile_binding(output: Path, compiler: Sequence[str], flags: Sequence[str]) -> None:
    """Compiles binding.cpp to an object. It is ours, so a failure is a ToolchainError."""
    done = run_compiler([*compiler, *flags, "-c", str(BINDING), "-o", str(output)])
    if done.returncode:
        raise ToolchainError(
            f"{first_error(done.stdout, BINDING)}. This is not your file: is {compiler[0]} a C++17 compiler?",
            done.stdout,
        )


def declared(header: str) -> list[str]:
    """The names of the functions that a header declares."""
    return re.findall(r"^[ \t]*(?!__attribute__)[A-Za-z_][\w:<>*& ]*[ *&](\w+)\(", header, re.MULTILINE)


def link(source: Path, compiled: Path, binding: Path, output: Path, compiler: Sequence[str]) -> None:
    """Links both objects to a module. Raises CompileError when `compiled` lacks a definition.

    A Python module may leave symbols open, Python's own are. So the student's object is linked alone first,
    where nothing may stay open.
    """
    if MACOS:
        alone = ["-dynamiclib", str(compiled)]
        module = ["-bundle", "-undefined", "dynamic_lookup", str(compiled), str(binding)]
    else:
        alone = ["-shared", "-Wl,-z,defs", str(compiled)]
        module = ["-shared", str(compiled), str(binding)]
    sanitized = any(
        part.startswith("-fsanitize") for part in compiler
    )  # Clang leaves its runtime's symbols open
    for objects in (module,) if sanitized else (alone, module):
        done = run_compiler([*compiler, *objects, "-o", str(output)])
        if not done.returncode:
            continue
        message = first_error(done.stdout, source)
        if objects is module and "defined already" not in message:
            for name in declared(HEADER.read_text(encoding="utf-8")):
                if name in done.stdout:
                    message = (
                        f"{display_path(source)}: error: {name} is not defined as {HEADER.name} declares it"
                    )
        raise CompileError(message, done.stdout)


# --- The build --------------------------------------------------------------------------------------


def binding_name(compiler: Sequence[str]) -> str:
    """The name in the cache of the object made from binding.cpp."""
    import pybind11

    python = (sysconfig.get_config_var("EXT_SUFFIX"), sys.version, sysconfig.get_path("include"))
    sources = (content(BINDING), content(HEADER))
    key = digest(*sources, BINDING_FLAGS, compiler_identity(compiler), python, pybind11.__version__)
    return f"binding-{key}.o"


def build_binding(directories: Sequence[Path], compiler: Sequence[str]) -> Path:
    """The object of binding.cpp, from the cache or compiled into it."""
    flags = (*BINDING_FLAGS, *include_flags())
    name = binding_name(compiler)
    cached = find_cached(name, directories)
    if cached:
        return cached
    with workspace(directories) as work:
        compile_binding(work / "binding.o", compiler, flags)
        return publish(work / "binding.o", name)


def build(
    source: Path = SOURCE,
    *,
    binding: Path | None = None,
    cache: Path | None = None,
    compiler: Sequence[str] | None = None,
    flags: Sequence[str] | None = None,
    progress: bool = True,
) -> Built:
    """Builds the module from `source`, unless the cache has it already.

    source:    the student's file; the header is looked for beside it first.
    binding:   a ready object of binding.cpp; then neither pybind11 nor Python's headers are needed.
    cache:     the directory to look in and build in; by default cache_directories().
    compiler:  a command; by default find_compiler().
    flags:     for `source`; by default compile_flags().
    progress:  one line on stderr when something is compiled.

    Raises CompileError (the student's fault) or ToolchainError.
    """
    source = Path(source).absolute()
    directories = cache_directories() if cache is None else (Path(cache).absolute(),)
    compiler = find_compiler() if compiler is None else tuple(compiler)
    flags = compile_flags() if flags is None else tuple(flags)
    header = source.parent / HEADER.name
    if not header.exists():
        header = HEADER
    try:
        sources = (content(source), content(header))
    except OSError as error:
        missing = display_path(Path(error.filename))
        raise CompileError(f"{missing}: error: cannot be read: {error.strerror}") from error

    if binding is None:
        include_flags()  # complains about what is missing
    bound = binding_name(compiler) if binding is None else content(Path(binding))
    cpu = cpu_identity() if "-march=native" in flags else ""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    name = f"{MODULE}-{digest(*sources, flags, compiler_identity(compiler), cpu, bound, suffix)}{suffix}"
    cached = find_cached(name, directories)
    if cached:
        return Built(cached, compiled=False, warnings="")

    if progress:
        first = binding is None and not find_cached(bound, directories)
        also = " and binding.cpp, which takes a few seconds, once" if first else ""
        print(f"compiling {display_path(source)}{also}", file=sys.stderr, flush=True)
    with workspace(directories) as work:
        include = () if header.parent == source.parent else (f"-I{header.parent}",)
        warnings = compile_source(source, work / "student.o", compiler, (*flags, *include))
        ready = build_binding(directories, compiler) if binding is None else Path(binding)
        link(source, work / "student.o", ready, work / "module", compiler)
        path = publish(work / "module", name)
        prune(path.parent)
    return Built(path, compiled=True, warnings=warnings)


def load(path: Path, name: str = f"{PACKAGE}.{MODULE}") -> ModuleType:
    """Imports the module at `path`, under `name`, whose last part must be MODULE."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ToolchainError(f"{path} is not a Python extension module of this Python")
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        # Linking should have found what is undefined, but Apple's linker is told to let things pass.
        kind = (
            CompileError
            if re.search("undefined symbol|symbol not found", str(error), re.I)
            else ToolchainError
        )
        raise kind(
            f"the extension was built but cannot be loaded: {error}. Remove {path} and try again"
        ) from error
    sys.modules[name] = module
    return module


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m src.FOLDER.build`: builds, and shows everything the compiler says."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {PACKAGE}.build",
        description="Build the C++ extension; print the compiler's warnings or errors, and where it is.",
        epilog=f"Environment: CXX, the compiler command; {CACHE}, the cache directory.",
    )
    parser.add_argument("--cache", type=Path, help="directory to build in, instead of the default")
    parser.add_argument("--force", action="store_true", help="compile even if it is built already")
    options = parser.parse_args(arguments)
    try:
        built = build(cache=options.cache)
        if options.force and not built.compiled:
            built.path.unlink()
            built = build(cache=options.cache)
    except BuildError as error:
        print(f"{error.output.rstrip()}\n\n{error}".lstrip(), file=sys.stderr)
        return 1
    if built.warnings:
        print(built.warnings.rstrip(), file=sys.stderr)
    print(f"{'built' if built.compiled else 'already built'}: {built.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
