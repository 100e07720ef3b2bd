"""Drives the functions of Task1: knows inputs, never answers. Runs beside the student's code.

Most probes call a function for several inputs, one after the other. Each input has a label, such as "batch 5 for 13
examples": an exception that is raised for it says so.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

MAX_MESSAGE = 1000  # of an exception that is expected
EXTENSION = "src/softmax_ext"
BUILT = f"{EXTENSION}/_build"  # the first place where the extension's loader looks
NAME = "_probed._softmax_regression"  # of the loaded extension; no name that a student can import


# The C++ extension: two builds, in which nothing of a student runs -----------------------------------------


def prepare_build():
    """Compile our binding and GUARD, which takes seconds; return what `build` starts from."""
    build = _build_module()
    directories, compiler = build.cache_directories(), build.find_compiler()
    files = (build.build_binding(directories, compiler), _build_guard(build, compiler))
    return {f"{BUILT}/{file.name}": file.read_bytes() for file in files if file}


def build():
    """Compile the student's file; return the extension's file, the compiler's first error, or what is missing here."""
    build = _build_module()
    link = build.link

    def link_with_guard(source, compiled, binding, output, compiler):
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


def _build_module():
    """Load the given build.py by its path: importing it by name would run the student's src/__init__.py."""
    paths = (Path(folder, EXTENSION, "build.py") for folder in sys.path)
    path = next(path for path in paths if path.is_file())
    spec = importlib.util.spec_from_file_location("src.softmax_ext.build", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _extension():
    """Return the extension that was built, loaded by its path.

    Nothing of `src` is imported, so a name that the student's package defines cannot take the extension's place. Where
    `build` has left nothing, which is with the reference, the given build.py builds or finds it.
    """
    if NAME not in sys.modules:
        folder = os.environ.get("AUTOGRADER_BUILD")
        built = next(Path(folder).iterdir()) if folder else _build_module().build(progress=False).path
        spec = importlib.util.spec_from_file_location(NAME, built)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[NAME] = module
    return sys.modules[NAME]


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


def _build_guard(build, compiler):
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


def _link_with_guard(build, compiled, binding, output, compiler):
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


def _guard():
    """Return the loaded extension as a library with the functions of GUARD, or None if it was built without."""
    library = ctypes.CDLL(_extension().__file__)
    if not hasattr(library, "guard_held"):
        return None
    for name in ("guard_overrun", "guard_mismatched", "guard_held"):
        getattr(library, name).restype = ctypes.c_longlong
    return library


# Calls -----------------------------------------------------------------------------------------------------


def _for(label, call, *arguments, **keywords):
    """Call; what is raised says for which input."""
    try:
        return call(*arguments, **keywords)
    except NotImplementedError:
        raise
    except MemoryError as error:  # of an array that is far too large; what is named so is shown with its text
        text = f"{error}, with {label}".lstrip(" ,")
        raise type("MemoryError", (Exception,), {"__module__": "builtins"})(text).with_traceback(
            error.__traceback__
        ) from None
    except Exception as error:
        with contextlib.suppress(Exception):
            if error.args in ((), (str(error),)):
                error.args = (f"{error}, with {label}".lstrip(" ,"),)
        raise


def _raised(call):
    try:
        call()
    except NotImplementedError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, the check judges it)
        return {
            "raised": [kind.__name__ for kind in type(error).__mro__],
            "message": str(error)[:MAX_MESSAGE],
        }
    return {"raised": [], "message": ""}


# NumPy -----------------------------------------------------------------------------------------------------


def additions(inputs):
    """Add the pairs in `inputs`: (label, x, y)."""
    from src.softmax import add

    return [{"the sum": _for(label, add, x, y), "x": x, "y": y} for label, x, y in inputs]


def softmax_losses(inputs, read_only):
    """Compute the losses of `inputs`: (label, Z, y)."""
    from src.softmax import softmax_loss

    for _, *arrays in inputs:
        _freeze(arrays, read_only)
    losses = [_for(label, softmax_loss, Z, y) for label, Z, y in inputs]
    return [{"loss": loss, "type": _type(loss)} for loss in losses]


def softmax_losses_if_any(inputs):
    """Compute the losses of `inputs`: (label, Z, y); None if that raises for one of them."""
    from src.softmax import softmax_loss

    with contextlib.suppress(Exception):
        return [softmax_loss(Z, y) for _, Z, y in inputs]
    return None


def _type(number):
    return str(number.dtype) if isinstance(number, (np.generic, np.ndarray)) else type(number).__name__


def epochs(name, runs):
    """Run epochs: (label, X, y, weights, keywords). Return the weights after each."""
    function = _epoch(name)
    for label, X, y, weights, keywords in runs:
        _for(label, function, X, y, *weights, **keywords)
    return [weights for _, _, _, weights, _ in runs]


def epochs_by_steps(name, runs):
    """Run epochs one minibatch at a time, each an epoch of its own; return the weights after each, None if one raises.

    The runs are those of `epochs`; lr is 0.1 and batch 100 where the keywords lack them.
    """
    function, results = _epoch(name), []
    for _, X, y, weights, keywords in runs:
        batch, after = keywords.get("batch", 100), []
        for start in range(0, len(X), batch):
            minibatch = [array[start : start + batch].copy() for array in (X, y)]
            try:
                function(*minibatch, *weights, lr=float(keywords.get("lr", 0.1)), batch=len(minibatch[0]))
            except Exception:  # noqa: BLE001 (the call that the case is about has said what is wrong)
                return None
            after.append([W.copy() for W in weights])
        results.append(after)
    return results


def epochs_on_views(name, runs, read_only):
    """Run epochs with weights that are every second element of larger arrays; return these, and what else there is."""
    function, results = _epoch(name), []
    for label, X, y, weights, keywords in runs:
        memory = [_spread(W) for W in weights]
        _freeze((X, y), read_only)
        returned = _for(label, function, X, y, *(m[::2, 1::2] for m in memory), **keywords)
        beside = [m[np.where(_spread(np.zeros_like(W)) == 7)] for m, W in zip(memory, weights, strict=True)]
        results.append(
            {
                "returned": returned,
                "weights": [m[::2, 1::2].copy() for m in memory],
                "beside": beside,
                "X": X,
                "y": y,
            }
        )
    return results


def _epoch(name):
    if name == "softmax_regression_epoch_cpp":
        return _extension().softmax_regression_epoch_cpp
    from src import softmax

    return getattr(softmax, name)


def _freeze(arrays, read_only):
    for array in arrays if read_only else ():
        array.flags.writeable = False


def _spread(array):
    """Return an array of sevens with `array` at [::2, 1::2]."""
    rows, columns = array.shape
    memory = np.full((2 * rows, 2 * columns), 7, array.dtype)
    memory[::2, 1::2] = array
    return memory


# parse_mnist -----------------------------------------------------------------------------------------------


def parse_mnist(inputs):
    """Parse pairs of files: (label, {name: content, name: content}). Return X, y and properties of both."""
    results = []
    for label, files in inputs:
        X, y = _for(label, _parse, files)
        results.append({"X": X, "y": y, "properties": {**_properties("X", X), **_properties("y", y)}})
    return results


def parse_anything(inputs):
    """Parse pairs of files, of which some have faults: (kinds of the two paths, {name: content}).

    A file whose content is None does not exist. Return y, or what was raised, less the folder's name.
    """
    return [_parsed_or_raised(paths, files) for paths, files in inputs]


def _parsed_or_raised(paths, files):
    parsed = []
    with tempfile.TemporaryDirectory() as folder:
        raised = _raised(lambda: parsed.append(_parse_in(Path(folder), files, paths)))
        raised["message"] = raised["message"].replace(folder, "")
    return {**raised, "y": parsed[0][1] if parsed else None}


def _properties(name, array):
    if not isinstance(array, np.ndarray):
        return {}
    flags = {
        f"{name}.flags.{flag}": bool(getattr(array.flags, flag)) for flag in ("c_contiguous", "writeable")
    }
    return {f"{name}.dtype": str(array.dtype), **flags}


def _parse(files, paths=("str", "str")):
    with tempfile.TemporaryDirectory() as folder:
        return _parse_in(Path(folder), files, paths)


def _parse_in(folder, files, paths):
    from src.mnist import parse_mnist

    for name, content in files.items():
        if content is not None:
            Path(folder, name).write_bytes(content)
    kinds = {"str": str, "Path": Path}
    return parse_mnist(*(kinds[kind](folder / name) for kind, name in zip(paths, files, strict=True)))


# C++ -------------------------------------------------------------------------------------------------------


def cpp_epochs_between_guards(runs):
    """Run epochs on parts of larger arrays: NaN around X, label 0 around y, sevens around theta."""
    epoch, results = _epoch("softmax_regression_epoch_cpp"), []
    for label, X, y, (theta,), keywords in runs:
        all_X, all_y, all_theta = _within(X, np.nan), _within(y, 0), _within(theta, 7)
        inside = slice(GUARD_ROWS, -GUARD_ROWS)
        _for(label, epoch, all_X[inside], all_y[inside], all_theta[inside], **keywords)
        before, after = all_theta[:GUARD_ROWS], all_theta[-GUARD_ROWS:]
        memory = {"before": before.copy(), "after": after.copy()}
        results.append({"theta": all_theta[inside].copy(), **memory, "X": all_X[inside], "y": all_y[inside]})
    return results


GUARD_ROWS = 16


def _within(array, value):
    """Return an array with rows of `value` before and after those of `array`."""
    rows = np.full((GUARD_ROWS, *array.shape[1:]), value, array.dtype)
    return np.concatenate([rows, array, rows])


def cpp_epochs_under_guard(runs):
    """Run epochs after guard_strict(). Return theta and the sizes of arrays that were not treated well, or -1."""
    epoch, results = _epoch("softmax_regression_epoch_cpp"), []
    guard = _guard()
    if guard:
        guard.guard_strict()
    for label, X, y, (theta,), keywords in runs:
        _for(label, epoch, X, y, theta, **keywords)
        results.append({"theta": theta})
        if guard:
            results[-1] |= {"overrun": guard.guard_overrun(), "mismatched": guard.guard_mismatched()}
    return results


def cpp_epochs_one_after_another(X, y, theta, keywords, calls):
    """Run many epochs. Return theta, and how many bytes the second half of them did not free (None: not known)."""
    epoch = _epoch("softmax_regression_epoch_cpp")
    guard, before = _guard(), None
    for call in range(calls):
        if guard and call == calls // 2:
            before = guard.guard_held()
        _for(f"epoch {call + 1} of {calls} in a row", epoch, X, y, theta, **keywords)
    return {"theta": theta, "kept": guard.guard_held() - before if guard else None}


def cpp_refusals(X, y, theta):
    """Return what is raised for each of several arguments that do not fit."""
    read_only = theta.copy()
    read_only.flags.writeable = False
    wrong = {
        "theta of dtype float64": (X, y, theta.astype(np.float64)),
        "theta with gaps in memory": (X, y, _spread(theta)[::2, 1::2]),
        "theta transposed in memory": (X, y, np.asfortranarray(theta)),
        "a read-only theta": (X, y, read_only),
        "theta of one dimension": (X, y, theta.ravel()),
        "theta with a row too many": (X, y, np.vstack([theta, theta[:1]])),
        "X of dtype float64": (X.astype(np.float64), y, theta.copy()),
        "X transposed in memory": (np.asfortranarray(X), y, theta.copy()),
        "y of dtype int64": (X, y.astype(np.int64), theta.copy()),
        "y with a label too few": (X, y[:-1].copy(), theta.copy()),
    }
    epoch = _epoch("softmax_regression_epoch_cpp")
    return {
        name: _raised(lambda a=arguments: epoch(*a, lr=0.1, batch=4)) for name, arguments in wrong.items()
    }
