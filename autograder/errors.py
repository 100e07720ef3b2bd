"""The two roots of error, and the error of a wrong configuration. Nothing else crosses a layer of the autograder.

A `SubmissionError` is the student's and becomes a verdict. A `GraderError` is ours: it never costs
points, it stops the run, and its message ends with what staff should do next.
"""

from autograder.verdict import Verdict


class SubmissionError(Exception):
    """The submission is at fault: it raised, crashed, or broke a rule. Becomes a verdict.

    The message is shown to the student and names the probable cause.
    """

    def __init__(self, message: str, verdict: Verdict = Verdict.ERROR) -> None:
        super().__init__(message)
        self.verdict = verdict


class GraderError(Exception):
    """We are at fault: no score may be published from this run."""


class ConfigError(GraderError):
    """The configuration cannot be used; the message says where and what is allowed."""
