"""Drives the functions of Task1: knows inputs, never answers. Runs beside the student's code.

Most probes call a function for several inputs, one after the other. Each input has a label, such as "batch 5 for 13
examples": an exception that is raised for it says so.
"""

import contextlib
import tempfile
from pathlib import Path

import numpy as np

from autograder import cpp

MAX_MESSAGE = 1000  # of an exception that is expected
EXTENSION = "src/softmax_ext"


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
        return cpp.module(EXTENSION).softmax_regression_epoch_cpp
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
    guard = cpp.allocations(EXTENSION)
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
    guard, before = cpp.allocations(EXTENSION), None
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
