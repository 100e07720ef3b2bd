"""Grading submissions: a `Grader` owns one suite server and turns folders into reports.

    with Grader(config, assignment, config_file=config_file) as grader:
        report = grader.grade(Path("checkout"))

Starting a grader costs as much as importing torch once. Each submission after that costs a few forks. Use a grader
from one thread only; `grade_many` grades several submissions at the same time.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

from autograder.config import Config
from autograder.errors import GraderError, SubmissionError, SuiteError
from autograder.grading.trial import CaseFacts, Trial, TrialCase
from autograder.language import languages
from autograder.own_process import own_process
from autograder.report import Report, SuiteFault, from_json, translated
from autograder.sandbox.policy import NO_GPU, ONE_THREAD
from autograder.verdict import CaseResult

Key = TypeVar("Key")

MAX_DATAGRAM = 1 << 20
START_SECONDS = 300.0  # importing torch from a cold disk takes minutes on some machines
SUBMISSION_SECONDS = 1800.0  # more than a submission can take on a machine that is too busy
SUITE_SERVER = "autograder.grading.suite_server"
"""The module is named, not imported: this process must not import pytest and the suite's modules."""


@dataclass(frozen=True)
class Graded:
    """The result of one submission: a report, or our fault with a message for staff."""

    path: Path
    report: Report | None
    fault: GraderError | None


@dataclass(frozen=True)
class Tried:
    """The result of one trial: its rows, the facts about the suite's cases, why the build failed; or our fault."""

    rows: tuple[TrialCase, ...]
    cases: tuple[CaseFacts, ...]
    fault: str | None
    build_failure: str | None = None


class Grader:
    """Grades submissions of one assignment; a context manager.

    Args:
        config: the course's configuration, read from a file.
        assignment: the assignment whose suite is used.
        sandbox: the name of a sandbox, see `autograder.sandbox.kinds`.
        image: the image of the containers; empty for the image in the configuration.
        config_file: the file that `config` was read from; the suite server reads it again, except the suite's folder.
        environment: further environment variables of the suite server.
    """

    def __init__(
        self,
        config: Config,
        assignment: str,
        *,
        config_file: Path,
        sandbox: str = "auto",
        image: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.suite = str(config.path(config.assignment(assignment).suite))
        self._devices = config.assignment(assignment).devices
        self.assignment, self.config_file = assignment, config_file
        self.sandbox, self.image = sandbox, image or config.sandbox.image
        self.environment = environment
        self.languages = languages(config.feedback.language)
        self.provenance: dict[str, Any] = {}
        self.untranslated: list[str] = []  # sentences of the suite that a language of the course lacks
        self.cases: list[tuple[str, int]] = []  # names and points; known once the server is ready
        self._server: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._next_id = 0
        self._starting = threading.Lock()
        self._start_fault: GraderError | None = None  # why the server could not start

    def start(self) -> None:
        """Start the server and return at once; `ready` waits until the server is ready."""
        self._start_fault = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            course = [str(self.config_file.resolve()), self.assignment, self.sandbox, self.image, self.suite]
            arguments = [str(theirs.fileno()), *course]
            self._server = subprocess.Popen(
                own_process(SUITE_SERVER, *arguments),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**_environment(self._devices), **self.environment},
                start_new_session=True,  # Ctrl-C reaches only this process, and this process ends the server
            )
        self._channel = ours

    def ready(self) -> dict[str, Any]:
        """Wait until the server is ready, and return the provenance. Any thread may call this.

        The server is ready when the suite is collected and has checked itself, and the sandbox is warm.

        Raises:
            GraderError: the server could not start; the message says why.
        """
        with self._starting:
            if self._channel is None:
                self.start()
            if self._start_fault is not None:
                raise self._start_fault
            if not self.provenance:
                try:
                    message = self._receive(START_SECONDS)
                except GraderError as fault:
                    self._start_fault = fault
                    raise
                self.cases = [(name, points) for name, points in message["cases"]]
                self.untranslated = message.get("untranslated", [])
                self.provenance = message["ready"]
            return self.provenance

    def refused(self, error: SubmissionError, commit: str | None = None) -> Report:
        """Return the report of a submission that is refused as a whole: every case gets the error's verdict.

        Raises:
            GraderError: the suite could not start, so its cases are not known.
        """
        facts = {**self.ready(), "tree_digest": None, "seed_id": None, "draws": {}, "commit": commit}
        facts |= {"started": datetime.now(timezone.utc).isoformat(timespec="seconds"), "seconds": 0.0}
        cases = tuple(CaseResult(name, error.verdict, 0, points, error.text) for name, points in self.cases)
        if said := translated(cases, self.languages):
            facts["messages"] = said
        return Report(self.assignment, cases, facts)

    def grade(
        self, path: Path, commit: str | None = None, draws: Mapping[str, int] = MappingProxyType({})
    ) -> Report:
        """Grade one folder that contains src/.

        Args:
            path: the folder.
            commit: for the report.
            draws: by case name, the draws of an earlier report (`Report.draws`), so that the inputs are the same.

        Raises:
            SuiteError: no score could be given, and another try would end in the same way.
            GraderError: no score could be given, and it is not the student's fault.
        """
        request = {"path": str(path.resolve()), "commit": commit, "draws": dict(draws)}
        ((_, result),) = self._exchange([(path, request)], jobs=1)
        if "report" not in result:
            raise _fault(result)
        return _report(result)

    def grade_many(
        self,
        submissions: Iterable[tuple[Path, str | None]],
        *,
        jobs: int,
        draws: Callable[[Path], Mapping[str, int]] = lambda _path: {},
    ) -> Iterator[Graded]:
        """Grade several folders, up to `jobs` at a time; yield each as soon as it is done, in any order.

        Args:
            submissions: a folder that contains src/, and its commit for the report. The next one is taken only when it
                is graded.
            jobs: how many are graded at a time.
            draws: returns the draws of an earlier report for a folder, see `grade`.
        """
        requests = (
            (path, {"path": str(path.resolve()), "commit": commit, "draws": dict(draws(path))})
            for path, commit in submissions
        )
        for path, result in self._exchange(requests, jobs):
            if "report" in result:
                yield Graded(path, _report(result), None)
            else:
                yield Graded(path, None, _fault(result))

    def try_many(
        self, trials: Iterable[tuple[Key, Path, Trial]], *, jobs: int
    ) -> Iterator[tuple[Key, Tried]]:
        """Run trials on folders that contain src/, up to `jobs` at a time; yield each with its key as it is done."""
        requests = (
            (key, {"path": str(path.resolve()), "trial": trial.to_json()}) for key, path, trial in trials
        )
        for key, result in self._exchange(requests, jobs):
            rows = tuple(TrialCase(**row) for row in result.get("rows", ()))
            cases = tuple(CaseFacts(**facts) for facts in result.get("cases", ()))
            yield key, Tried(rows, cases, result.get("fault"), result.get("build"))

    def _exchange(
        self, requests: Iterable[tuple[Key, dict[str, Any]]], jobs: int
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Keep up to `jobs` requests in flight; yield each key with its result, in any order."""
        self.ready()
        waiting, running = iter(requests), dict[int, Key]()
        while True:
            while len(running) < jobs and (following := next(waiting, None)) is not None:
                key, request = following
                self._next_id += 1
                running[self._next_id] = key
                self._send({"id": self._next_id} | request)
            if not running:
                return
            result = self._receive(SUBMISSION_SECONDS + 60)
            yield running.pop(result["id"]), result

    def kill(self) -> None:
        """Kill the server and all its processes at once, from any thread. A caller that waits gets a GraderError."""
        if self.alive and self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)

    @property
    def alive(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._server is not None and self._server.poll() is None

    def close(self) -> None:
        """End the server, the sandbox and all their processes."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._server is not None:
            try:
                self._server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None

    def __enter__(self) -> "Grader":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._channel is not None  # noqa: S101 (ready() was called)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # _receive reports the reason
            self._channel.send(json.dumps(message | {"deadline": SUBMISSION_SECONDS}).encode())

    def _receive(self, seconds: float) -> dict[str, Any]:
        assert self._channel is not None  # noqa: S101 (ready() was called)
        self._channel.settimeout(seconds)
        try:
            data = self._channel.recv(MAX_DATAGRAM)
        except TimeoutError:
            raise GraderError(
                f"the suite server sent nothing for {seconds:.0f} s; run `autograder doctor`"
            ) from None
        except ConnectionResetError:
            data = b""
        if not data:
            status = self._server.wait(timeout=10) if self._server else None
            raise GraderError(f"the suite server ended with status {status}; run `autograder doctor`")
        message: dict[str, Any] = json.loads(data)
        if "fault" in message and "id" not in message:
            raise GraderError(message["fault"])
        return message


def _report(result: Mapping[str, Any]) -> Report:
    faults = tuple(SuiteFault(**fault) for fault in result.get("suite_faults", ()))
    return replace(from_json(result["report"]), suite_faults=faults)


def _fault(result: Mapping[str, Any]) -> GraderError:
    message = result.get("fault") or "the suite server sent neither a report nor a fault"
    return SuiteError(message, result["suite"]) if "suite" in result else GraderError(message)


def _environment(devices: Sequence[str]) -> dict[str, str]:
    """Return the environment variables that the server needs, without the caller's settings for pytest or Python."""
    keep = ("PATH", "HOME", "TMPDIR", "LANG", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "AUTOGRADER_SECRET")
    docker = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")
    kept = {name: os.environ[name] for name in (*keep, *docker) if name in os.environ}
    return {**ONE_THREAD, **kept, **({} if devices else NO_GPU)}
