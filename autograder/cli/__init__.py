"""The command line: `autograder`. One module for each group of commands, put together in `root`."""

from autograder.cli.root import main

__all__ = ["main"]
