"""The two roots of error, and the error for a wrong configuration. Nothing else crosses a layer of the autograder.

A `SubmissionError` is the student's fault and becomes a verdict. A `GraderError` is our fault: it never costs
points, it stops the run, and its message ends with what staff should do next.
"""

from autograder.verdict import Verdict


class SubmissionError(Exception):
    """The submission is at fault: it raised, crashed, or broke a rule. The error becomes a verdict.

    The message is shown to the student and names the probable cause.
    """

    def __init__(self, message: str, verdict: Verdict = Verdict.ERROR) -> None:
        super().__init__(message)
        self.verdict = verdict


class GraderError(Exception):
    """We are at fault: this run must not publish a score."""


class ConfigError(GraderError):
    """The configuration cannot be used; the message names the place and what is allowed there."""
