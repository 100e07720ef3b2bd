"""The two base classes of our errors, and three kinds of our own faults.

No other error crosses from one layer of the autograder to another.

A `SubmissionError` is the student's fault and becomes a verdict. A `GraderError` is our fault: it never costs
points, it stops the run, and its message ends with the next step for staff.
"""

from autograder.language import Text, as_text
from autograder.verdict import Verdict


class SubmissionError(Exception):
    """The submission is at fault: it raised, crashed, or broke a rule. The error becomes a verdict.

    The message is shown to the student and names the probable cause. `text` has its translations.
    """

    def __init__(self, message: str, verdict: Verdict = Verdict.ERROR) -> None:
        super().__init__(message)
        self.text: Text = as_text(message)
        self.verdict = verdict


class GraderError(Exception):
    """We are at fault: this run must not publish a score."""

    def for_staff(self) -> str:
        """Return the message with all that only staff may read."""
        return str(self)


class ConfigError(GraderError):
    """The configuration cannot be used; the message names the place and what is allowed there."""


class BusyError(GraderError):
    """This machine had too little time of a processor, or no memory, for a case."""


class SuiteError(GraderError):
    """A hidden suite is at fault: another try would end in the same way.

    The message names the case. `detail` is for staff only, because it may show expected values.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail

    def for_staff(self) -> str:
        return f"{self}: {self.detail}" if self.detail else str(self)
