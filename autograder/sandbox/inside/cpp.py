"""The C++ extension of an assignment: built once for a submission, and loaded in the cases that need it.

A suite's probes use `autograder.cpp`, which offers `module` and `allocations` of this file. `prepare_cpp` and
`build_cpp` are the probes of an assignment with the key `build.cpp`. In a build nothing of a student runs but the
compiler: the given build.py is loaded by its path.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .reply import BUILD_VARIABLE

PREPARE, BUILD = "prepare_cpp", "build_cpp"
"""The names of the two probes."""
PREFIX = "_probed."
"""Of the name of a loaded extension; no name that a student can import."""


# Two builds, in which nothing of a student runs ------------------------------------------------------------


def prepare_cpp(folder: str) -> dict[str, bytes]:
    """Compile the binding in `folder` and GUARD, which takes seconds; return what `build_cpp` starts from."""
    build = _build_module(folder)
    directories, compiler = build.cache_directories(), build.find_compiler()
    files = (build.build_binding(directories, compiler), _build_guard(build, compiler))
    built = f"{folder}/_build"  # the first place where the extension's loader looks
    return {f"{built}/{file.name}": file.read_bytes() for file in files if file}


def build_cpp(folder: str) -> dict[str, bytes] | str | tuple[str, str]:
    """Compile the student's file; return the extension's file, the compiler's first error, or what is missing here."""
    build = _build_module(folder)
    link = build.link

    def link_with_guard(source: Path, compiled: Path, binding: Path, output: Path, compiler: Any) -> None:
        if not _link_with_guard(build, compiled, binding, output, compiler):
            link(source, compiled, binding, output, compiler)  # says what is wrong with the student's file

    build.link = link_with_guard
    try:
        built = build.build(progress=False).path
    except build.CompileError as error:
        return str(error)
    except build.ToolchainError as error:
        return ("no toolchain", str(error))
    return {built.name: built.read_bytes()}


PROBES = {PREPARE: prepare_cpp, BUILD: build_cpp}


def _build_module(folder: str) -> Any:
    """Load the given build.py by its path: importing it by name would run the student's src/__init__.py."""
    paths = (Path(place, folder, "build.py") for place in sys.path)
    path = next(path for path in paths if path.is_file())
    return _loaded(f"{folder.replace('/', '.')}.build", path)


def _loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def module(folder: str) -> ModuleType:
    """Return the extension of `folder`, loaded by its path; for probes of cases with `needs_build`.

    Nothing of `src` is imported, so a name that the student's package defines cannot take the extension's place. With
    the reference, the given build.py builds or finds it.

    Args:
        folder: as in the key `build.cpp`, such as src/softmax_ext.
    """
    given = os.environ.get(BUILD_VARIABLE)
    built = next(Path(given).iterdir()) if given else _build_module(folder).build(progress=False).path
    name = PREFIX + built.name.partition("-")[0]
    return sys.modules.get(name) or _loaded(name, built)


# What the student's file allocates -------------------------------------------------------------------------

# The functions that take the place of new, malloc and so on in the student's object, and in no other.
GUARDED = ("malloc", "calloc", "realloc", "free", "_Znwm", "_Znam", "_ZdlPv", "_ZdlPvm", "_ZdaPv", "_ZdaPvm")

# An array gets SPARE bytes more than were asked for, and is otherwise what the real function returns. So any other
# part of the process may free it. At first the array and the spare bytes are zeros, so that no case but one depends on
# what memory happens to hold. After guard_strict() they are floats of 3e38, which no sum, maximum or exp ignores.
# Changed spare bytes are noticed when the array is freed, or at last by guard_overrun().
GUARD = r"""
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {
constexpr std::size_t SPARE = 1024, MOST = 4096;
enum Kind { MALLOC, NEW, NEW_ARRAY };
struct Block { unsigned char *data; std::size_t size; Kind kind; unsigned char fill; };
Block blocks[MOST];
std::size_t count = 0;
long long overrun = -1, mismatched = -1;  // the size of the first such array
unsigned char fill = 0;
std::atomic_flag busy = ATOMIC_FLAG_INIT;
struct Lock {
    Lock() { while (busy.test_and_set()) {} }
    ~Lock() { busy.clear(); }
};

void *allocate(std::size_t size, Kind kind) {
    const std::size_t all = size + SPARE < size ? size : size + SPARE;
    void *data = kind == MALLOC ? std::malloc(all) : kind == NEW ? ::operator new(all) : ::operator new[](all);
    if (!data || all == size) return data;
    const Lock lock;
    std::memset(data, fill, all);
    std::size_t b = 0;
    while (b < count && blocks[b].data != data) ++b;
    if (b == MOST) return data;
    blocks[b] = {static_cast<unsigned char *>(data), size, kind, fill};
    if (b == count) ++count;
    return data;
}

// Forgets a block. Returns it, or one without data if it is unknown.
Block forget(void *data) {
    const Lock lock;
    for (std::size_t b = 0; b < count; ++b)
        if (blocks[b].data == data) {
            const Block found = blocks[b];
            blocks[b] = blocks[--count];
            return found;
        }
    return {nullptr, 0, MALLOC, 0};
}

void look_behind(const Block &block) {
    bool whole = true;
    for (std::size_t i = 0; i < SPARE; ++i) whole = whole && block.data[block.size + i] == block.fill;
    if (!whole && overrun < 0) overrun = static_cast<long long>(block.size);
}

void release(void *data, Kind kind) {
    if (!data) return;
    const Block block = forget(data);
    if (block.data) {
        look_behind(block);
        if (kind != block.kind && mismatched < 0) mismatched = static_cast<long long>(block.size);
        kind = block.kind;
        std::memset(block.data, fill, block.size + SPARE);
    }
    if (kind == MALLOC) std::free(data);
    else if (kind == NEW) ::operator delete(data);
    else ::operator delete[](data);
}
}  // namespace

#define SHOWN extern "C" __attribute__((visibility("default")))
SHOWN void guard_strict() { fill = 0x7f; }
SHOWN long long guard_overrun() {
    for (std::size_t b = 0; b < count; ++b) look_behind(blocks[b]);
    return overrun;
}
SHOWN long long guard_mismatched() { return mismatched; }
SHOWN long long guard_held() {
    long long held = 0;
    for (std::size_t b = 0; b < count; ++b) held += static_cast<long long>(blocks[b].size);
    return held;
}

extern "C" {
void *__wrap_malloc(std::size_t size) { return allocate(size, MALLOC); }
void *__wrap_calloc(std::size_t number, std::size_t size) {
    std::size_t bytes;
    if (__builtin_mul_overflow(number, size, &bytes)) return nullptr;
    void *data = allocate(bytes, MALLOC);
    return data ? std::memset(data, 0, bytes) : nullptr;
}
void *__wrap_realloc(void *old, std::size_t size) {
    std::size_t before = 0;
    bool known = !old;
    {
        const Lock lock;
        for (std::size_t b = 0; b < count; ++b)
            if (old && blocks[b].data == old) known = true, before = blocks[b].size;
    }
    if (!known) return std::realloc(old, size);
    void *data = allocate(size, MALLOC);
    if (data && old) {
        std::memcpy(data, old, before < size ? before : size);
        release(old, MALLOC);
    }
    return data;
}
void __wrap_free(void *data) { release(data, MALLOC); }
void *__wrap__Znwm(std::size_t size) { return allocate(size, NEW); }
void *__wrap__Znam(std::size_t size) { return allocate(size, NEW_ARRAY); }
void __wrap__ZdlPv(void *data) { release(data, NEW); }
void __wrap__ZdlPvm(void *data, std::size_t) { release(data, NEW); }
void __wrap__ZdaPv(void *data) { release(data, NEW_ARRAY); }
void __wrap__ZdaPvm(void *data, std::size_t) { release(data, NEW_ARRAY); }
}
"""


def _build_guard(build: Any, compiler: Any) -> Any:
    """Return the object of GUARD, from the cache or compiled into it; None where that does not work."""
    directories = build.cache_directories()
    key = build.digest(hashlib.sha256(GUARD.encode()).hexdigest(), build.compiler_identity(compiler))
    name = f"guard-{key}.o"
    cached = build.find_cached(name, directories)
    if cached:
        return cached
    with build.workspace(directories) as work:
        (work / "guard.cpp").write_text(GUARD)
        flags = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden")
        command = [*compiler, *flags, "-c", str(work / "guard.cpp"), "-o", str(work / "guard.o")]
        return build.publish(work / "guard.o", name) if not build.run_compiler(command).returncode else None


def _link_with_guard(build: Any, compiled: Path, binding: Path, output: Path, compiler: Any) -> bool:
    """Link the module so that the student's allocations are guarded; return whether that worked."""
    guard = _build_guard(build, compiler)
    if guard is None:
        return False
    wrapped = compiled.with_name("wrapped.o")
    commands = (
        ["-r", "-nostdlib", *(f"-Wl,--wrap={name}" for name in GUARDED), compiled, "-o", wrapped],
        ["-shared", "-Wl,-z,defs", wrapped, guard, "-o", output],  # as `link` does: nothing may stay open
        ["-shared", binding, guard, wrapped, "-o", output],
    )
    return not any(build.run_compiler([*compiler, *map(str, command)]).returncode for command in commands)


def allocations(folder: str) -> Any:
    """Return the functions that know what the student's C++ has allocated, or None if this machine cannot offer them.

    They are those of GUARD: `guard_strict()` fills new memory with 3e38 instead of zeros; `guard_overrun()` and
    `guard_mismatched()` return the size of the first array that was written past its end, or freed in a wrong way, or
    -1; `guard_held()` returns the number of bytes that are not freed.

    Args:
        folder: as in the key `build.cpp`.
    """
    library = ctypes.CDLL(str(module(folder).__file__))
    if not hasattr(library, "guard_held"):
        return None
    for name in ("guard_overrun", "guard_mismatched", "guard_held"):
        getattr(library, name).restype = ctypes.c_longlong
    return library
