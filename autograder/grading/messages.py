"""Turns an outcome of the sandbox into the sentence that a student reads.

The functions are pure, so that every sentence can have a test.
"""

import re
import signal
import sys
from collections.abc import Collection, Sequence

from autograder.errors import BusyError, SubmissionError
from autograder.language import Text, listed, tell
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, Status
from autograder.submission import PACKAGE
from autograder.verdict import Verdict

SIGNALS: dict[int, Text] = {
    signal.SIGSEGV: tell("segmentation fault"),
    signal.SIGABRT: tell("aborted"),
    signal.SIGBUS: tell("bus error"),
    signal.SIGFPE: tell("arithmetic error"),
    signal.SIGILL: tell("illegal instruction"),
    signal.SIGSYS: tell("a system call that is not allowed"),
    signal.SIGXFSZ: tell("wrote a file that is too large"),
    signal.SIGKILL: tell("killed"),
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
    if status is Status.TIMEOUT and outcome.importing:
        endless = tell(
            "no answer in {seconds} s: the import of {module} does not end",
            seconds=f"{timeout:g}",
            module=outcome.importing,
        )
        return SubmissionError(endless, Verdict.TIMEOUT)
    if status is Status.TIMEOUT:
        slow = tell(
            "no answer in {seconds} s, of which it computed for {computed} s",
            seconds=f"{timeout:g}",
            computed=f"{outcome.cpu_seconds:.1f}",
        )
        return SubmissionError(slow, Verdict.TIMEOUT)
    if status is Status.CPU_TIMEOUT:
        return SubmissionError(tell("used up the processor time of the case"), Verdict.TIMEOUT)
    return SubmissionError(_error(outcome, limits, given, packages))


def not_allowed(file: str, line: int, package: str, packages: Sequence[str]) -> Text:
    """Return the sentence about an import that is not allowed. test_toy.py has the same in English."""
    return tell(
        "{file}, line {line}, imports {package}; this assignment allows {allowed}, "
        "and your own files with a dot (from .name import …)",
        file=file,
        line=line,
        package=package,
        allowed=listed([tell("the standard library"), *packages]),
    )


def _error(outcome: Outcome, limits: Limits, given: Collection[str], packages: Sequence[str]) -> Text:
    status = outcome.status
    if status is Status.RAISED:
        return _raised(outcome, given, packages)
    if status is Status.OUT_OF_MEMORY:
        return tell("killed: used more than {size} of memory", size=size(limits.memory_bytes))
    if status is Status.OUTPUT_LIMIT:
        return tell("killed: printed more than {size}", size=size(limits.output_bytes))
    if status is Status.REPLY_LIMIT:
        return tell(
            "returned more than {size}, or something nested too deeply", size=size(limits.reply_bytes)
        )
    if status is Status.CRASHED:
        how = SIGNALS.get(outcome.signal or 0) or tell("signal {number}", number=outcome.signal)
        return tell("crashed: {how}", how=how)
    if status is Status.EXITED:
        return tell(
            "your code ended the process (exit code {code}) before it returned", code=outcome.exit_code
        )
    return tell("your code ended without a readable result")


def _raised(outcome: Outcome, given: Collection[str], packages: Sequence[str]) -> Text:
    own = [place for place in outcome.places if place[0] not in given]
    file, line = own[-1] if own else (outcome.file, outcome.line)
    if outcome.exception == "NotImplementedError":
        return _at(tell("not implemented yet: {message}", message=outcome.message), file, line)
    if outcome.exception == "ModuleNotFoundError":
        missing = re.match(r"No module named '(\w+)", outcome.message)
        known = {PACKAGE, *packages, *sys.stdlib_module_names}
        if missing and file and line and missing[1] not in known:
            return not_allowed(file, line, missing[1], packages)
        return _at(tell("cannot be imported: {message}", message=outcome.message), file, line)
    if outcome.message:
        raised = tell(
            "your code raised {exception}: {message}", exception=outcome.exception, message=outcome.message
        )
    else:
        raised = tell("your code raised {exception}", exception=outcome.exception)
    return _at(raised, file, line)


def _at(sentence: Text, file: str | None, line: int | None) -> Text:
    """Return a sentence with the place that it is about."""
    if not file:
        return sentence
    if not line:
        return tell("{sentence} ({file})", sentence=sentence, file=file)
    return tell("{sentence} ({file}, line {line})", sentence=sentence, file=file, line=line)


def size(number: int) -> Text:
    """Return a number of bytes as text for people: `2 GiB`, `512 MiB`, `100 bytes`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= factor:
            return Text(f"{number / factor:.3g} {unit}")
    return tell("{number} bytes", number=number)
