"""Processes of the service for tests that harm them: they are killed, stopped, cut off, or work on the same job.

They run the real command line, each in a process of its own, forked from one that has everything imported, because a
fault campaign starts dozens. Only grading is pretended. A test gives further changes as Python text, which is run
before `main()`; the service itself knows nothing of this.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import time

from autograder.ledger import OPEN, JobState
from tests.support.ledgers import problems

PATIENCE = 120

# What the Python text of a test may use.
DRIVER = """
import ctypes, os, signal, subprocess, sys, threading, time
from pathlib import Path
import autograder
from autograder.cli import main
from autograder.git import feedback
from autograder.ledger import JobState, Ledger
from autograder.service import serve
from autograder.service.jobs import lease, pipeline
from autograder.service.jobs.pipeline import Pipeline
from tests.support.university import PretendedGraders

HERE = Path(sys.argv[sys.argv.index("--config") + 1]).parent.parent

class Graders(PretendedGraders):
    "Writes a line for each submission that it grades."
    def __init__(self, config, config_file):
        super().__init__()
    def warm(self, names): pass
    def ready(self, name): return {}
    def close(self): pass
    def grade(self, assignment, folder, commit, draws):
        with (HERE / "graded").open("a") as file:
            file.write(f"{commit} {os.getpid()}\\n")
        return super().grade(assignment, folder, commit, draws)

def die(owner, name, when, only=lambda *a, **k: True):
    "Kill this process before or after a call."
    real = getattr(owner, name)
    def dying(*arguments, **values):
        mine = only(*arguments, **values)
        if mine and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **values)
        if mine and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, dying)

def wait_for(name):
    "Wait for a file, after leaving one that says so."
    (HERE / f"{name}.reached").touch()
    while not (HERE / name).exists():
        time.sleep(0.02)

def hold(name):
    "Hold every submission, before it is graded, until there is a file of that name."
    real = Graders.grade
    def grade(*arguments):
        wait_for(name)
        return real(*arguments)
    Graders.grade = grade

def libc(call, *arguments):
    if ctypes.CDLL(None, use_errno=True)[call](*arguments):
        raise OSError(ctypes.get_errno(), call)
"""

PRETEND = "serve.Graders = Graders\nserve.readiness.problems = lambda *_, **__: []\n"
START = "main()\n"


class Process:
    """A process of the service that is forked; its output is in files."""

    def __init__(self, university, arguments, text, variables):
        self.out = university.folder / f"out-{time.monotonic_ns()}"
        temporary = university.folder / "tmp"  # what a killed process leaves there goes with the test
        temporary.mkdir(exist_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["autograder.cli", "autograder.service.serve", "uvicorn", "starlette"])
        self._process = context.Process(
            target=_run,
            args=(
                str(self.out),
                str(university.folder / "log"),
                arguments,
                text,
                {"TMPDIR": str(temporary), **variables},
            ),
        )
        self._process.start()
        self.pid = self._process.pid

    def output(self):
        return self.out.read_text() if self.out.exists() else ""

    def url(self):
        """Return the address of its web."""
        (line,) = (line for line in self.output().splitlines() if line.startswith("  web "))
        return line.split()[-1]

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def poll(self):
        return self._process.exitcode

    def wait(self, seconds=PATIENCE):
        """Return its exit status; if a signal ended it, the negative number of the signal."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"{self.pid} has not ended"
        return self._process.exitcode


class Processes:
    """The processes of one university; all are ended with the test."""

    def __init__(self, university):
        self.university, self.all = university, []

    def start(self, *arguments, command="serve", before="", pretend=True, **variables):
        """Start a process and wait until it is ready."""
        process = self.begin(*arguments, command=command, before=before, pretend=pretend, **variables)
        self.ready(process)
        return process

    def begin(self, *arguments, command="serve", before="", pretend=True, **variables):
        """Start a process.

        Args:
            arguments: further arguments of the command.
            command: `serve` or `worker`.
            before: Python text that is run before the command; it may use what DRIVER defines.
            pretend: do not grade, but decide by the text of the submission.
            variables: of the environment.
        """
        line = ["autograder", command, "--config", str(self.university.config_file), *arguments]
        text = DRIVER + (PRETEND if pretend else "") + before + "\n" + START
        process = Process(self.university, line, text, variables)
        self.all.append(process)
        return process

    def ready(self, process):
        """Wait until a process is ready."""
        log = self.university.folder / "log"
        until(
            lambda: "\nready" in process.output() or process.poll() is not None,
            lambda: f"it is not ready: {log.read_text()[-2000:]}",
        )
        assert process.poll() is None, f"it ended with {process.poll()}: {log.read_text()[-2000:]}"

    def end(self):
        for process in self.all:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        for process in self.all:
            process.wait()


def _run(out, log, arguments, text, variables):
    os.setsid()
    ctypes.CDLL(None).prctl(
        1, signal.SIGKILL
    )  # PR_SET_PDEATHSIG: it ends even if the tests themselves are killed
    sys.stdout.flush()
    for path, number in ((out, 1), (log, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.update(variables)
    tempfile.tempdir = None  # TMPDIR is read again
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    sys.argv = list(arguments)
    exec(compile(text, "driver", "exec"), {"__name__": "driver"})  # noqa: S102 (the text is a test's own)


def until(true, what="it did not happen"):
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(what() if callable(what) else what)
        time.sleep(0.02)


def settled(parts, job):
    """Wait until a job is settled; return its state."""
    until(lambda: parts.ledger.job(job).state not in OPEN, lambda: f"{parts.ledger.job(job)}")
    return parts.ledger.job(job).state


def graded(university):
    """Return what was graded, in order: commits."""
    file = university.folder / "graded"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def accounted(university, parts, students, *, exact=True):
    """Return what is wrong with the feedback for the pushes of some students. Nothing is wrong if

    every job is final with a report and feedback, or late, or superseded without a report; the branch of each student
    has feedback for exactly that student's commits; and the ledger is in order. After a ledger was restored, the branch
    may hold more: then `exact` is False.
    """
    wrong = [f"ledger: {problem}" for problem in problems(parts.ledger)]
    for student in students:
        history = parts.ledger.history(university.repository(student))
        jobs = {entry.job.commit: entry for entry in history.jobs}  # the last attempt at each commit
        wrong += [f"{push.commit} has no job" for push in history.pushes if push.commit not in jobs]
        found = university.published(student)
        expected = []
        for commit, entry in jobs.items():
            state, shown = entry.job.state, [one.commit for one in entry.feedback]
            if state is JobState.SUPERSEDED:
                if entry.report or not entry.job.reason:
                    wrong.append(f"{entry.job.id} is superseded, but has a report or no reason")
                if shown:  # it was told that it was late; its worker ended, or it got an extension, before it was final
                    expected.append(commit)
                continue
            expected.append(commit)
            late = entry.job.reason.startswith("not graded: ")
            if state is not JobState.FINAL or (entry.report is None and not late) or not shown:
                wrong.append(f"{entry.job.id} is {state.value} ({entry.job.reason}) with {shown}")
                continue
            graded_commit = university.bare(student).git(
                "log", "-1", "--format=%(trailers:key=Graded-Commit,valueonly,separator=)", shown[0]
            )
            if graded_commit != commit:
                wrong.append(f"{entry.job.id} has the feedback {shown[0]}, which is for {graded_commit}")
            if entry.report and entry.report.report.provenance["commit"] != commit:
                wrong.append(f"{entry.job.id} has a report of another commit")
        if (exact and set(found) != set(expected)) or not set(expected) <= set(found):
            wrong.append(f"{student} has feedback for {found}, and should have it for {expected}")
    return wrong


__all__ = ["PATIENCE", "Processes", "accounted", "graded", "settled", "until"]
