"""The tuned C++ epoch, `tuned_softmax.cpp`: built and loaded as the extension is, with the same binding."""

from collections.abc import Callable
from pathlib import Path

from src.softmax_ext.build import MODULE, build, load

SOURCE = Path(__file__).with_name("tuned_softmax.cpp")


def tuned_epoch() -> Callable[..., None]:
    """Return a function with the arguments of `softmax_regression_epoch_cpp`; build it first, if need be."""
    module = load(build(SOURCE).path, f"benchmarks.{MODULE}")
    epoch: Callable[..., None] = module.softmax_regression_epoch_cpp
    return epoch
