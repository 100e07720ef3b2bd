"""Drives the functions of Task1: knows inputs, never answers. Runs beside the student's code."""

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

EXTENSION = "src/softmax_ext"
BUILT = f"{EXTENSION}/_build"  # the first place where the extension's loader looks


# The C++ extension: two builds, in which nothing of a student runs -----------------------------------------


def prepare_build():
    """Compile our binding, which takes seconds; return what `build` starts from."""
    build = _build_module()
    binding = build.build_binding(build.cache_directories(), build.find_compiler())
    return {f"{BUILT}/{binding.name}": binding.read_bytes()}


def build():
    """Compile the student's file; return the extension's file, the compiler's first error, or what is missing here."""
    build = _build_module()
    try:
        built = build.build(progress=False).path
    except build.CompileError as error:
        return str(error)
    except build.ToolchainError as error:
        return ("no toolchain", str(error))
    return {f"{BUILT}/{built.name}": built.read_bytes()}


def _build_module():
    """Load the given build.py by its path: importing it by name would run the student's src/__init__.py."""
    paths = (Path(folder, EXTENSION, "build.py") for folder in sys.path)
    path = next(path for path in paths if path.is_file())
    spec = importlib.util.spec_from_file_location("src.softmax_ext.build", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# NumPy -----------------------------------------------------------------------------------------------------


def add(x, y):
    from src.softmax import add

    return {"the sum": add(x, y), "x": x, "y": y}


def parse_mnist(image_file, label_file):
    """Parse two files of the given contents."""
    X, y = _parse({"images.gz": image_file, "labels.gz": label_file})
    flags = {
        f"{name} is {flag}": _flag(array, flag) for name, array in (("X", X), ("y", y)) for flag in FLAGS
    }
    return {"X": X, "y": y, "flags": flags}


def parse_broken(files):
    """Return what parse_mnist raises for files with these contents: names of the exception's classes, message."""
    return _raised(lambda: _parse(files))


FLAGS = {"writable": "WRITEABLE", "C-contiguous": "C_CONTIGUOUS"}


def _parse(files):
    from src.mnist import parse_mnist

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(content)
        return parse_mnist(*map(str, paths))


def _flag(array, flag):
    return bool(array.flags[FLAGS[flag]]) if isinstance(array, np.ndarray) else None


def softmax_loss(Z, y):
    from src.softmax import softmax_loss

    return {"loss": softmax_loss(Z, y), "Z": Z, "y": y}


def softmax_regression_epoch(X, y, theta, lr, batch):
    from src.softmax import softmax_regression_epoch

    returned = softmax_regression_epoch(X, y, theta, lr=lr, batch=batch)
    return {"returned": returned, "theta": theta, "X": X, "y": y}


def nn_epoch(X, y, W1, W2, lr, batch):
    from src.softmax import nn_epoch

    returned = nn_epoch(X, y, W1, W2, lr=lr, batch=batch)
    return {"returned": returned, "W1": W1, "W2": W2, "X": X, "y": y}


def softmax_regression_epoch_on_a_view(X, y, theta, lr, batch):
    """Run the epoch with theta as every second element of a larger array, and return all of that array."""
    memory = _spread(theta)
    return {**softmax_regression_epoch(X, y, memory[::2, 1::2], lr, batch), "theta": memory}


def nn_epoch_on_views(X, y, W1, W2, lr, batch):
    """Run the epoch with W1 and W2 as every second element of larger arrays, and return all of those arrays."""
    memory = _spread(W1), _spread(W2)
    result = nn_epoch(X, y, *(m[::2, 1::2] for m in memory), lr, batch)
    return {**result, "W1": memory[0], "W2": memory[1]}


def _spread(array):
    """Return an array of sevens with `array` at [::2, 1::2]."""
    rows, columns = array.shape
    memory = np.full((2 * rows, 2 * columns), 7, array.dtype)
    memory[::2, 1::2] = array
    return memory


# C++ -------------------------------------------------------------------------------------------------------


def cpp_epoch(X, y, theta, lr, batch):
    from src.softmax_ext import softmax_regression_epoch_cpp

    returned = softmax_regression_epoch_cpp(X, y, theta, lr=lr, batch=batch)
    return {"returned": returned, "theta": theta, "X": X, "y": y}


def cpp_epoch_between_guards(X, y, theta, lr, batch):
    """Run the epoch on parts of larger arrays: NaN follows X, label 255 follows y, sevens surround theta."""
    m, (n, k) = len(X), theta.shape
    all_X, all_y = np.full((m + batch, n), np.nan, X.dtype), np.full(m + batch, 255, y.dtype)
    all_X[:m], all_y[:m] = X, y
    memory = np.full((n + 2, k), 7, theta.dtype)
    memory[1:-1] = theta
    return {**cpp_epoch(all_X[:m], all_y[:m], memory[1:-1], lr, batch), "theta": memory}


def cpp_epochs(X, y, theta, batch, calls):
    """Run many epochs, one after the other; return theta after the last."""
    for _ in range(calls):
        cpp_epoch(X, y, theta, 0.1, batch)
    return theta


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
    return {name: _raised(lambda a=arguments: cpp_epoch(*a, 0.1, 4)) for name, arguments in wrong.items()}


def _raised(call):
    try:
        call()
    except Exception as error:  # noqa: BLE001 (whatever it is, the check judges it)
        return {"raised": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
    return {"raised": [], "message": ""}
