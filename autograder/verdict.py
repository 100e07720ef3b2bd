"""Verdicts: what a case came to. A verdict is a code; icons and words are made in `report` and `wording`."""

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """What one case came to."""

    PASSED = "passed"  # the check passed
    WRONG = "wrong"  # the check's assertion failed
    TIMEOUT = "timeout"  # student code used up the case's time limit
    ERROR = "error"  # student code raised, crashed, did not compile, used or printed too much


@dataclass(frozen=True)
class CaseResult:
    """One case of one submission.

    Attributes:
        name: as shown, `Task0 - Case1`.
        verdict: the code.
        points: awarded: max_points when passed, else 0.
        max_points: what the case is worth.
        message: for the student, not yet escaped; empty when passed.
        seconds: wall time of the student's code, summed over the probes of the case.
        cpu_seconds: its CPU time.
        peak_bytes: its largest resident set size in bytes; 0 when no probe ran.
    """

    name: str
    verdict: Verdict
    points: int
    max_points: int
    message: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
