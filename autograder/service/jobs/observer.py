"""What is worth counting in a worker, as callbacks. `metrics` implements them; the default does nothing."""

from typing import Protocol

from autograder.report import Report


class Observer(Protocol):
    """Is told what happens. Called from several threads; must return at once and never raise."""

    def step(self, step: str, seconds: float) -> None:
        """A step of a job ended, well or not: `fetch`, `grade` or `publish`; seconds of wall time."""

    def report(self, report: Report) -> None:
        """A report was recorded."""

    def fault(self, step: str) -> None:
        """A step failed by no fault of the student."""


class Unobserved:
    """An observer that does nothing."""

    def step(self, step: str, seconds: float) -> None:
        """Do nothing."""

    def report(self, report: Report) -> None:
        """Do nothing."""

    def fault(self, step: str) -> None:
        """Do nothing."""
