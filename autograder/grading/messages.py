"""Turns an outcome of the sandbox into the sentence that a student reads.

The functions are pure, so that every sentence can have a test.
"""

import re
import signal
import sys
from collections.abc import Collection, Sequence

from autograder.errors import BusyError, SubmissionError
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, Status
from autograder.submission import PACKAGE
from autograder.verdict import Verdict

SIGNALS: dict[int, str] = {
    signal.SIGSEGV: "segmentation fault",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "arithmetic error",
    signal.SIGILL: "illegal instruction",
    signal.SIGSYS: "a system call that is not allowed",
    signal.SIGXFSZ: "wrote a file that is too large",
    signal.SIGKILL: "killed",
}


def failure_of(
    outcome: Outcome,
    *,
    timeout: float,
    limits: Limits,
    given: Collection[str] = (),
    packages: Sequence[str] = (),
) -> SubmissionError | None:
    """Return the error with the sentence for the student, or None if the probe returned.

    Args:
        outcome: how one probe call ended.
        timeout: the time limit of the whole case, in seconds.
        limits: the other limits that were in force.
        given: files that the student did not write. The sentence names the innermost line of another file, if there
            is one.
        packages: the packages that student code can import, besides the standard library.

    Raises:
        BusyError: the machine was too busy to tell whether the submission is too slow, or had no memory left.
    """
    status = outcome.status
    if status is Status.RETURNED:
        return None
    if status is Status.STARVED and outcome.message:
        raise BusyError(
            "the kernel killed a case because this machine has no memory left; "
            "stop other programs on this machine, or grade fewer submissions at a time, then grade again"
        )
    if status is Status.STARVED:
        raise BusyError(
            f"a case with a limit of {timeout:g} s waited for a processor most of the time; "
            "stop other programs on this machine, or grade fewer submissions at a time, then grade again"
        )
    if status is Status.TIMEOUT:
        if outcome.importing:
            reason = f": the import of {outcome.importing} does not end"
        else:
            reason = f", of which it computed for {outcome.cpu_seconds:.1f} s"
        return SubmissionError(f"no answer in {timeout:g} s{reason}", Verdict.TIMEOUT)
    if status is Status.CPU_TIMEOUT:
        return SubmissionError("used up the processor time of the case", Verdict.TIMEOUT)
    return SubmissionError(_error(outcome, limits, given, packages))


def not_allowed(file: str, line: int, package: str, packages: Sequence[str]) -> str:
    """Return the sentence about an import that is not allowed. test_toy.py has a copy of this function."""
    allowed = ", ".join(["the standard library", *packages])
    return (
        f"{file}, line {line}, imports {package}; this assignment allows {allowed}, "
        "and your own files with a dot (from .name import …)"
    )


def _error(outcome: Outcome, limits: Limits, given: Collection[str], packages: Sequence[str]) -> str:
    status = outcome.status
    if status is Status.RAISED:
        return _raised(outcome, given, packages)
    if status is Status.OUT_OF_MEMORY:
        return f"killed: used more than {size(limits.memory_bytes)} of memory"
    if status is Status.OUTPUT_LIMIT:
        return f"killed: printed more than {size(limits.output_bytes)}"
    if status is Status.REPLY_LIMIT:
        return f"returned more than {size(limits.reply_bytes)}, or something nested too deeply"
    if status is Status.CRASHED:
        return f"crashed: {SIGNALS.get(outcome.signal or 0, f'signal {outcome.signal}')}"
    if status is Status.EXITED:
        return f"your code ended the process (exit code {outcome.exit_code}) before it returned"
    return "your code ended without a readable result"


def _raised(outcome: Outcome, given: Collection[str], packages: Sequence[str]) -> str:
    own = [place for place in outcome.places if place[0] not in given]
    file, line = own[-1] if own else (outcome.file, outcome.line)
    place = ""
    if file:
        place = f" ({file}, line {line})" if line else f" ({file})"
    if outcome.exception == "NotImplementedError":
        return f"not implemented yet: {outcome.message}{place}"
    if outcome.exception == "ModuleNotFoundError":
        missing = re.match(r"No module named '(\w+)", outcome.message)
        known = {PACKAGE, *packages, *sys.stdlib_module_names}
        if missing and file and line and missing[1] not in known:
            return not_allowed(file, line, missing[1], packages)
        return f"cannot be imported: {outcome.message}{place}"
    message = f": {outcome.message}" if outcome.message else ""
    return f"your code raised {outcome.exception}{message}{place}"


def size(number: int) -> str:
    """Return a number of bytes as text for people: `2 GiB`, `512 MiB`, `100 bytes`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number} bytes"
