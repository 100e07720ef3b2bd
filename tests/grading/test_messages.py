"""Every sentence that a student can read about the end of their code."""

import ast
import signal

import pytest

from autograder.errors import BusyError
from autograder.grading import messages
from autograder.grading.messages import failure_of, size
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, Status
from autograder.verdict import Verdict
from tests.support import ROOT

LIMITS = Limits(memory_bytes=2 << 30, output_bytes=64 << 20, reply_bytes=64 << 20)


@pytest.mark.parametrize(
    ("outcome", "verdict", "message"),
    [
        (
            Outcome(Status.TIMEOUT, cpu_seconds=9.96),
            Verdict.TIMEOUT,
            "no answer in 10 s, of which it computed for 10.0 s",
        ),
        (
            Outcome(Status.TIMEOUT, importing="src.linear"),
            Verdict.TIMEOUT,
            "no answer in 10 s: the import of src.linear does not end",
        ),
        (Outcome(Status.CPU_TIMEOUT), Verdict.TIMEOUT, "used up the processor time of the case"),
        (
            Outcome(Status.RAISED, exception="ValueError", message="bad", file="src/softmax.py", line=41),
            Verdict.ERROR,
            "your code raised ValueError: bad (src/softmax.py, line 41)",
        ),
        (Outcome(Status.RAISED, exception="KeyError"), Verdict.ERROR, "your code raised KeyError"),
        (
            Outcome(Status.RAISED, exception="AssertionError", message="AssertionError"),
            Verdict.ERROR,
            "your code raised AssertionError: AssertionError",
        ),
        (
            Outcome(
                Status.RAISED,
                exception="NotImplementedError",
                message="Task1: add",
                file="src/softmax.py",
                line=3,
            ),
            Verdict.ERROR,
            "not implemented yet: Task1: add (src/softmax.py, line 3)",
        ),
        (
            Outcome(Status.RAISED, exception="ModuleNotFoundError", message="No module named 'src.linear'"),
            Verdict.ERROR,
            "cannot be imported: No module named 'src.linear'",
        ),
        (Outcome(Status.OUT_OF_MEMORY), Verdict.ERROR, "killed: used more than 2 GiB of memory"),
        (Outcome(Status.OUTPUT_LIMIT), Verdict.ERROR, "killed: printed more than 64 MiB"),
        (
            Outcome(Status.REPLY_LIMIT),
            Verdict.ERROR,
            "returned more than 64 MiB, or something nested too deeply",
        ),
        (Outcome(Status.CRASHED, signal=signal.SIGSEGV), Verdict.ERROR, "crashed: segmentation fault"),
        (Outcome(Status.CRASHED, signal=40), Verdict.ERROR, "crashed: signal 40"),
        (
            Outcome(Status.EXITED, exit_code=0),
            Verdict.ERROR,
            "your code ended the process (exit code 0) before it returned",
        ),
        (Outcome(Status.BAD_REPLY), Verdict.ERROR, "your code ended without a readable result"),
    ],
    ids=[
        "timeout",
        "timeout-in-import",
        "cpu-timeout",
        "raised",
        "raised-without-message",
        "raised-assertion",
        "not-implemented",
        "not-found",
        "memory",
        "output",
        "reply",
        "segmentation-fault",
        "other-signal",
        "exited",
        "bad-reply",
    ],
)
def test_sentence(outcome, verdict, message):
    failure = failure_of(outcome, timeout=10, limits=LIMITS)
    assert failure.verdict is verdict
    assert str(failure) == message


PLACES = (("src/softmax.py", 41), ("src/graph.py", 7), ("src/graph.py", 9))


@pytest.mark.parametrize(
    ("given", "place"),
    [((), "src/graph.py, line 9"), (("src/graph.py",), "src/softmax.py, line 41")],
)
def test_a_sentence_names_the_innermost_line_that_the_student_wrote(given, place):
    outcome = Outcome(Status.RAISED, exception="KeyError", file="src/graph.py", line=9, places=PLACES)
    failure = failure_of(outcome, timeout=10, limits=LIMITS, given=given)
    assert str(failure) == f"your code raised KeyError ({place})"
    only_given = failure_of(outcome, timeout=10, limits=LIMITS, given=("src/graph.py", "src/softmax.py"))
    assert str(only_given) == "your code raised KeyError (src/graph.py, line 9)"


def test_every_status_but_one_has_a_sentence():
    for status in set(Status) - {Status.STARVED}:
        failure = failure_of(Outcome(status), timeout=10, limits=LIMITS)
        assert (failure is None) == (status is Status.RETURNED)


def test_a_machine_that_is_too_busy_is_our_fault():
    with pytest.raises(BusyError, match="waited for a processor"):
        failure_of(Outcome(Status.STARVED), timeout=10, limits=LIMITS)


@pytest.mark.parametrize(
    ("number", "text"), [(2 << 30, "2 GiB"), (1536 << 10, "1.5 MiB"), (4096, "4 KiB"), (9, "9 bytes")]
)
def test_sizes(number, text):
    assert size(number) == text


PACKAGES = ("numpy", "tqdm")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "No module named 'torch'",
            "src/softmax.py, line 3, imports torch; this assignment allows the standard library, numpy, tqdm, and your "
            "own files with a dot (from .name import …)",
        ),
        (
            "No module named 'numpy.nothing'",
            "cannot be imported: No module named 'numpy.nothing' (src/softmax.py, line 3)",
        ),
        (
            "No module named 'tkinter'",
            "cannot be imported: No module named 'tkinter' (src/softmax.py, line 3)",
        ),
        (
            "No module named 'src.Mnist'; there is a file mnist.py in src",
            "cannot be imported: No module named 'src.Mnist'; there is a file mnist.py in src (src/softmax.py, line 3)",
        ),
    ],
    ids=["not allowed", "part of an allowed package", "standard library", "own file"],
)
def test_a_missing_module_is_explained(message, expected):
    outcome = Outcome(
        Status.RAISED, exception="ModuleNotFoundError", message=message, file="src/softmax.py", line=3
    )
    failure = failure_of(outcome, timeout=1.0, limits=Limits(), packages=PACKAGES)
    assert str(failure) == expected


def not_allowed_of(path):
    """Return the function `not_allowed` of a file that is not imported."""
    functions = [
        node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)
    ]
    (found,) = [node for node in functions if node.name == "not_allowed"]
    scope = {}
    exec(ast.unparse(found), scope)  # noqa: S102 (our own file)
    return scope["not_allowed"]


@pytest.mark.parametrize("packages", [PACKAGES, (), ("torch",)])
def test_students_read_the_same_sentence_before_they_push(packages):
    """test_toy.py cannot import the grader, so it has copies."""
    toy = ROOT / "test_toy.py"
    arguments = ("src/linear.py", 3, "pandas", packages)
    assert not_allowed_of(toy)(*arguments) == messages.not_allowed(*arguments)
    sentence = "Task0 is without autograd: compute W_grad and the gradient of the input by hand"
    for file in (toy, ROOT / "hidden" / "a0" / "probes.py"):
        assert sentence in file.read_text("utf-8")


def test_a_machine_without_memory_is_our_fault():
    with pytest.raises(BusyError, match="has no memory left"):
        failure_of(Outcome(Status.STARVED, message="memory"), timeout=10, limits=LIMITS)
