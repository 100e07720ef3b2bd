"""Task1: one epoch of minibatch SGD for softmax regression, written in C++.

    from src.softmax_ext import softmax_regression_epoch_cpp

    softmax_regression_epoch_cpp(X, y, theta, lr=0.1, batch=100)  # updates theta in place, returns None

X is float32 (m, n), y uint8 (m,) with labels below k, theta float32 (n, k); all C-contiguous.

Yours is one file, `softmax_regression.cpp`: the algorithm, its specification at the top. Given are
`softmax_regression.hpp` (the declaration), `binding.cpp` (checks the arguments and hands over plain
pointers) and `build.py` (compiles both when the name above is first imported, and again after an edit).

An error in your file is raised at that import, as `CompileError`, with the first thing the compiler
complains about. `python -m src.softmax_ext.build` shows all of it, and the warnings.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["softmax_regression_epoch_cpp"]

if TYPE_CHECKING:
    import numpy as np

    def softmax_regression_epoch_cpp(
        X: np.ndarray, y: np.ndarray, theta: np.ndarray, lr: float = 0.1, batch: int = 100
    ) -> None: ...


def __getattr__(name: str) -> Any:
    """Builds and loads the extension when it is first asked for: `build` must be importable before that."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .build import build, load

    function = getattr(load(build().path), name)
    globals()[name] = function
    return function
