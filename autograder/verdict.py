"""Verdicts and case results. A verdict is a code; everything that depends on it is registered here, in `traits`."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal


@dataclass(frozen=True)
class Traits:
    """Everything that depends on a verdict.

    Attributes:
        icon: the symbol in the Status column of score.md and of the staff pages.
        earns_points: whether the case gets all its points; otherwise it gets those of its parts that held.
        junit: the element that marks the test case in JUnit XML; empty for a test case that passed.
        gradescope: the status of the test in Gradescope's results.json.
        meaning: when a case gets this verdict, as docs/report-format.md explains it to staff.
    """

    icon: str
    earns_points: bool
    junit: Literal["", "failure", "error"]
    gradescope: Literal["passed", "failed"]
    meaning: str


class Verdict(str, Enum):
    """The result of one case, as a code. A new verdict needs a member here and its traits below."""

    PASSED = "passed"
    WRONG = "wrong"
    TIMEOUT = "timeout"
    ERROR = "error"

    @property
    def traits(self) -> Traits:
        """Everything that depends on this verdict; the type checker complains about a verdict without traits."""
        match self:
            case Verdict.PASSED:
                return Traits(
                    icon="✅",
                    earns_points=True,
                    junit="",
                    gradescope="passed",
                    meaning="the check passed",
                )
            case Verdict.WRONG:
                return Traits(
                    icon="❌",
                    earns_points=False,
                    junit="failure",
                    gradescope="failed",
                    meaning="the check failed: values, shape, dtype, device, an input changed in place",
                )
            case Verdict.TIMEOUT:
                return Traits(
                    icon="🕛",
                    earns_points=False,
                    junit="error",
                    gradescope="failed",
                    meaning="student code used up the case's time limit",
                )
            case Verdict.ERROR:
                return Traits(
                    icon="❓",
                    earns_points=False,
                    junit="error",
                    gradescope="failed",
                    meaning="student code raised, crashed, ran out of memory, did not import or compile, "
                    "printed or returned too much",
                )


@dataclass(frozen=True)
class CaseResult:
    """One case of one submission. Every field is a key of the case in score.json and a column in the ledger.

    Attributes:
        name: the name as shown, such as `Task0 - Case1`.
        verdict: the result as a code.
        points: the awarded points: all if the verdict earns points, otherwise those of the parts that held.
        max_points: the points that the case is worth; 0 for extra credit.
        message: for the student, not yet escaped; empty when passed.
        seconds: time of the student's code, summed over the probes of the case, by the clock of a case: without the
            time in which it had no processor.
        cpu_seconds: CPU time of the student's code.
        peak_bytes: largest memory of the student's code in bytes, without what the case began with.
    """

    name: str
    verdict: Verdict
    points: int
    max_points: int
    message: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
