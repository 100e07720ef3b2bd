"""A trial: chosen cases of a suite, run on a folder to learn about the suite, not to grade anybody.

A trial may choose the cases, stop at the first one that is not passed, use limits of its own, and repeat the cases
with several draws of the inputs. It gives no points and no report. `autograder.suite_check` makes trials. The
suite server runs each of them in its own process, as it does a submission.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

FAULT = "fault"
"""What a row says in place of a verdict when the check could not judge."""


@dataclass(frozen=True)
class Trial:
    """What to run.

    Attributes:
        draws: one name for each repetition; the inputs of a case depend on this name and the case's, nothing else.
        cases: names of the cases to run, in this order; empty for all, in the suite's order.
        stop: end the trial at the first case that is not passed.
        seconds: time limits in place of the suite's, by the case's name.
        here: run the reference in the checking process in place of the submission: faster, without a sandbox.
        trace: note which lines of the reference each case runs; needs `here`.
        watch: note the inputs and the dtypes of the replies; needs `here`.
        scale: a dtype and a relative error that all replies' values of this dtype get; needs `here`.
    """

    draws: tuple[str, ...]
    cases: tuple[str, ...] = ()
    stop: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)
    here: bool = False
    trace: bool = False
    watch: bool = False
    scale: tuple[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Trial":
        """Return what `to_json` wrote."""
        lists = {"draws": tuple(data["draws"]), "cases": tuple(data["cases"])}
        scale = (str(data["scale"][0]), float(data["scale"][1])) if data["scale"] else None
        return cls(**{**data, **lists, "scale": scale})


@dataclass(frozen=True)
class TrialCase:
    """How one case ended in one draw.

    Attributes:
        draw: the name of the draw.
        name: of the case.
        verdict: a value of `Verdict`, or `FAULT` where the check itself failed.
        message: as a student would read it, or what is wrong with the check.
        seconds: time of the submission's code, by the clock of a case.
        lines: path -> numbers of the lines that ran, of a traced trial.
        inputs: where an input array stands -> a digest of it, of a watching trial.
        dtypes: the floating-point dtypes of the replies, of a watching trial.
        points: that the case gave.
    """

    draw: str
    name: str
    verdict: str
    message: str = ""
    seconds: float = 0.0
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    dtypes: Sequence[str] = ()
    points: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class CaseFacts:
    """What the suite says of one case.

    Attributes:
        name: as shown, `Task0 - Case1`.
        function: the name of the test function.
        purpose: the first line of its docstring.
        points: what it is worth.
        timeout: its time limit in seconds.
        needs_build: whether it needs what the suite's build makes.
    """

    name: str
    function: str
    purpose: str
    points: int
    timeout: float
    needs_build: bool
