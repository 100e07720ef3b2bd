"""Runs a hidden suite against folders that hold a `src`, without the sandbox: a fork per case, and no more.

    python -m tests.suite_harness a1 FOLDER...      prints {folder: {case: null or why it failed}} as JSON

The reference answers once, in this process. Then each case runs beside each submission in a fork with limits,
and all that passes between check and probe is encoded and decoded, as in the grader. Nothing is isolated:
this is for submissions of our own.
"""

import gc
import importlib.util
import inspect
import json
import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

from autograder.sandbox.inside import protocol

REPOSITORY = Path(__file__).resolve().parent.parent
CPU_SECONDS = 3  # what never ends must not hold up the tests; nothing right comes near
MEMORY_BYTES = 1 << 30


def main(suite, folders, seed=0):
    """Return {folder: {case: None or why it failed}}."""
    sys.path.insert(0, str(REPOSITORY))
    for name in ("probes", "test_score"):
        load(name, REPOSITORY / "hidden" / suite / f"{name}.py")
    gc.freeze()  # the forks then copy fewer pages
    suite = Suite(sys.modules["test_score"], sys.modules["probes"], seed)
    return {folder: suite.grade(folder) for folder in folders}


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


class Suite:
    """The cases of a suite, and the reference's answers in them, which are the same for every folder."""

    def __init__(self, module, probes, seed):
        tests = [
            f for name, f in vars(module).items() if name.startswith("test_") and hasattr(f, "pytestmark")
        ]
        tests.sort(key=lambda f: f.__code__.co_firstlineno)
        marks = [next(mark.kwargs for mark in test.pytestmark if mark.name == "case") for test in tests]
        self.cases = {
            f"Task{mark['task']} - Case{i}": t
            for i, (mark, t) in enumerate(zip(marks, tests, strict=True), 1)
        }
        self.need_build = {name for name, mark in zip(self.cases, marks, strict=True) if mark["needs_build"]}
        self.build = getattr(probes, "build", None)
        self.seed = seed
        # In a fork: a process loads an extension of one name once, and that must be the submission's.
        self.answers = in_a_fork(str(REPOSITORY), self.reference_answers, cpu_seconds=60)

    def reference_answers(self):
        """Return {case: the reference's answers in order}, with the reference as student too."""
        answers = {}
        for name, case in self.cases.items():
            given = answers[name] = []

            def ref(probe, *inputs, given=given):
                given.append(copy(probe(*copy(inputs))))
                return given[-1]

            self.call(case, Measured(lambda probe, *inputs: copy(probe(*copy(inputs)))), ref)
        return answers

    def call(self, case, student, ref):
        fixtures = {"student": student, "ref": ref, "rng": np.random.default_rng(self.seed)}
        case(**{name: fixtures[name] for name in inspect.signature(case).parameters})

    def grade(self, folder):
        """Return {case: None or why it failed} for the `src` in `folder`."""
        not_built = self.build and in_a_fork(folder, lambda: why_not(self.build), 60)
        return {
            name: not_built
            if name in self.need_build and not_built
            else in_a_fork(folder, lambda n=name: self.run(n))
            for name in self.cases
        }

    def run(self, name):
        """Return None when the case passes beside the `src` that can be imported here, else why not."""
        answers = iter(self.answers[name])
        ended = []

        def student(probe, *inputs):
            try:
                return copy(probe(*copy(inputs)))
            except BaseException as error:
                ended.append(f"{type(error).__name__}: {error}")
                raise

        try:
            self.call(self.cases[name], Measured(student), lambda *_: next(answers))
        except BaseException as error:  # noqa: BLE001 (whatever it is, the case is not passed)
            return ended[0] if ended else str(error) or repr(error)
        return None


class Measured:
    """Calls a function; `peak_bytes` is this process's largest memory so far, as a case may ask of `student`."""

    def __init__(self, function):
        self.function, self.peak_bytes = function, 0

    def __call__(self, probe, *inputs):
        try:
            return self.function(probe, *inputs)
        finally:
            self.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def copy(value):
    return protocol.decode(protocol.encode(value), load=True)


def why_not(build):
    made = build()
    return made if isinstance(made, str) else None


def in_a_fork(folder, call, cpu_seconds=CPU_SECONDS):
    """Return what `call` returns in a fork where `src` is that of `folder`, or how the fork ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            confine(folder, cpu_seconds)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(protocol.encode(call()))
            status = 0
        except BaseException:  # noqa: BLE001 (shown, and the parent fails)
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return "no answer in time" if name == "SIGKILL" else f"crashed: {name}"
    return protocol.decode(answer, load=True)


def confine(folder, cpu_seconds):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))  # the hard limit kills
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in [name for name in sys.modules if name.partition(".")[0] == "src"]:
        del sys.modules[name]
    sys.path.insert(0, folder)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:], int(os.environ.get("SUITE_SEED", "0")))))
