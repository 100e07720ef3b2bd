"""The two roots of error. Nothing else crosses a layer of the autograder.

A `SubmissionError` is the student's and becomes a verdict. A `GraderError` is ours: it never costs
points, it stops the run, and its message ends with what staff should do next.
"""


class SubmissionError(Exception):
    """The submission is at fault: it raised, crashed, or broke a rule. Becomes a verdict."""


class GraderError(Exception):
    """We are at fault: no score may be published from this run."""
