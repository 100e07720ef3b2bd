"""For probes of an assignment with a C++ extension, the key `build.cpp`: the extension, and what its memory looks like.

    from autograder import cpp

    def sums(x):
        cpp.module("src/b0_ext").prefix_sums(x)
        return x

This file and `autograder.sandbox.inside` are all of the program that probes can import in the sandbox.
"""

from autograder.sandbox.inside.cpp import allocations, module

__all__ = ["allocations", "module"]
