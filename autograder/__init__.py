"""The autograder: grades a student's `src/` in a sandbox and publishes `score.md`."""

__version__ = "0.1.0.dev0"
