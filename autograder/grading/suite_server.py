"""The suite server: the trusted process that holds one hidden suite and forks a checking process per submission.

Theory of operation
-------------------
`main` runs in a process of its own (see `grader.Grader`), isolated from the caller's environment:

1. It starts the wall. The fork server of the wall imports NumPy or torch while this process does the same.
2. pytest collects the suite. No file of any submission is on the import path.
3. The suite checks itself: every case runs once with the reference in place of a student. A case that the
   reference fails is our fault, and nothing is graded. The self-check also loads all modules that a first call
   would load, so that the forks have them already. If the assignment has devices, a fork checks the suite instead,
   because CUDA cannot be used in the forks of a process that has used it; and it checks once more with the reference
   in the sandbox, which shows whether the devices can be used there.
4. For each request the server forks a checking process. This process opens a session in the sandbox, lets pytest
   run the collected items, and sends the result. If it dies without a result, the server reports our fault.

Requests and results are JSON, one datagram each, on a socket. The starting process holds the other end:

    <- {"ready": {...provenance...}, "cases": [[name, max_points], ...], "untranslated": ["..."]}
       or  {"fault": "..."}
    -> {"id": 1, "path": "/checkout", "commit": "..." or null, "draws": {}, "deadline": 600}
    <- {"id": 1, "report": {...}, "suite_faults": [{...}, ...]}  or  {"id": 1, "fault": "..."}, and with it
       {"suite": "detail"} if the suite is at fault
    -> {"id": 2, "path": "/mutant", "deadline": 600, "trial": {...}}     see `autograder.grading.trial`
    <- {"id": 2, "rows": [{...}, ...], "cases": [{...}, ...], "build": null}  or  {"id": 2, "fault": "..."}

When that socket is closed, the server, the wall and every checking process end.

If the reference fails a case on the draw of a submission, the suite is at fault. The other cases keep their verdicts.
This case is drawn again, at most DRAWS times in all. The report names the draws that count, and a request may name
the draws to begin with, so a regrade repeats the draws of the report.
"""

import contextlib
import fnmatch
import gc
import hashlib
import hmac
import importlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import select
import signal
import socket
import sys
import time
import traceback
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any

import pytest

from autograder import __version__
from autograder.config import AssignmentConfig, Config, load
from autograder.errors import BusyError, GraderError, SubmissionError, SuiteError
from autograder.grading.messages import failure_of
from autograder.grading.observation import Observer
from autograder.grading.plugin import CASES, DEFAULT_TIMEOUT, RUN, TOTAL_POINTS, Run
from autograder.grading.trial import FAULT, CaseFacts, Trial, TrialCase
from autograder.grading.turns import NO_TURN, Turn, Turns
from autograder.language import (
    ENGLISH,
    LANGUAGES,
    add_catalogue,
    as_text,
    folder_of,
    languages,
    missing,
    read_catalogues,
    tell,
)
from autograder.report import Report, SuiteFault, translated
from autograder.sandbox.inside import cpp, kernel, protocol
from autograder.sandbox.kinds import SandboxKind, WallSettings, find
from autograder.sandbox.limits import Limits
from autograder.sandbox.session import Session
from autograder.sandbox.wall import Wall
from autograder.submission import PACKAGE, digest, read_tree, refuse_data
from autograder.verdict import CaseResult, Verdict

MAX_DATAGRAM = 1 << 20
SOLUTION = b"### BEGIN SOLUTION"  # see autograder.release.markers
ALONE = 3  # runs of one submission with no other beside it
DRAWS = 5  # of one case; after as many faults of the suite the report waits for staff
MAX_BUILD_BYTES = 16 << 20
MAX_CACHE_BYTES = 512 << 20  # of all builds together
MAX_SENTENCES, MAX_SENTENCE = 1000, 200  # of a suite that have no translation, and the characters of one
MAX_MESSAGE = 1000  # of a trial's row: it may hold several lines, which a report would join
PYTEST_ARGUMENTS = (
    "--assert=plain",  # a rewritten assertion would put expected values into the message
    "--capture=no",
    "--strict-markers",
    *("-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:timeout", "-p", "no:doctest"),
    *("-p", "no:junitxml", "-p", "no:logging", "-p", "no:warnings", "-p", "no:stepwise"),
)


@dataclass(frozen=True)
class Request:
    """One submission to grade."""

    id: int
    path: Path
    commit: str | None
    deadline: float
    draws: Mapping[str, int]  # by case name; 0 for a case that is not named
    trial: Trial | None = None


class Server:
    """Replaces pytest's loop: it runs the items not once, but in a checking process for each request."""

    def __init__(
        self, config: Config, name: str, kind: SandboxKind, wall: Wall, channel: socket.socket
    ) -> None:
        self.config, self.name, self.kind, self.wall, self.channel = config, name, kind, wall, channel
        self.assignment: AssignmentConfig = config.assignment(name)
        self.limits: Limits = config.limits(name)
        self.suite = config.path(self.assignment.suite)
        self.reference: dict[str, bytes] = {}
        self.not_written: frozenset[str] = frozenset()
        self.prepared: Mapping[str, bytes] = {}
        self.provenance: dict[str, Any] = {}
        self.secret = b""
        self.problems: list[str] = []
        self.children: dict[int, tuple[int, int, float]] = {}  # pidfd -> pid, request id, deadline
        self.is_ready = False
        self.fault: GraderError | None = None

    # pytest's hooks --------------------------------------------------------------------------------------

    def pytest_exception_interact(self, call: "pytest.CallInfo[object]", report: object) -> None:
        """Keep the errors of files that pytest could not collect."""
        if isinstance(report, pytest.CollectReport) and call.excinfo is not None:
            self.problems.append(_place_and_error(call.excinfo.value, self.suite))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Let the suite check itself, then serve until the other end of the channel is closed."""
        try:
            self.make_ready(session)
        except GraderError as error:
            self.fault = error  # if it were raised here, pytest would wrap it in a traceback
            return True
        self.serve(session)
        return True

    # set-up ----------------------------------------------------------------------------------------------

    def make_ready(self, session: pytest.Session) -> None:
        """Check the suite, wait for the wall, prepare the data that all submissions share, and report "ready"."""
        if self.problems:
            raise GraderError("the suite cannot be collected: " + "\n  ".join(self.problems))
        self.read_catalogues()
        with missing(languages(self.config.feedback.language)) as untranslated:
            declared = self.declared(session)
            if not self.assignment.devices:
                self.check_suite(session)
        self.wall.ready()
        self.reference = read_tree(self.config.path(self.config.reference))
        # Files that hold no solution: students do not write them.
        self.not_written = frozenset(path for path, text in self.reference.items() if SOLUTION not in text)
        self.secret = self.config.secret()
        self.provenance = self.describe()
        self.provenance |= declared
        self.prepare()
        if self.assignment.devices:
            self.check_suite_in_fork(session)
        gc.collect()
        gc.freeze()  # so the collector in a fork does not touch these objects, and their pages stay shared
        with contextlib.suppress(OSError):  # no /proc: not Linux
            for piece in kernel.own_memory():
                kernel.huge_pages(*piece)  # this makes a fork three times as fast
        cases = session.config.stash[CASES]
        listed = [[cases[item.nodeid].name, cases[item.nodeid].max_points] for item in session.items]
        some = [text[:MAX_SENTENCE] for text in sorted(untranslated)[:MAX_SENTENCES]]
        self.send({"ready": self.provenance, "cases": listed, "untranslated": some})
        self.is_ready = True

    def check_suite_in_fork(self, session: pytest.Session) -> None:
        """Run every case with the reference in place of a student, in a fork: here, then in the sandbox.

        Raises:
            GraderError: the reference fails a case.
        """
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            fault = "the check of the suite ended without a result"
            try:
                os.close(reader)
                self.check_suite(session)
                with self.open_reference() as sandbox:
                    self.check_suite(session, sandbox)
                fault = ""
            except GraderError as error:
                fault = error.for_staff()
            except BaseException:  # noqa: BLE001 (sent to the server, which shows it)
                fault = traceback.format_exc()
            finally:
                with os.fdopen(writer, "wb") as file:
                    file.write(fault.encode("utf-8", "backslashreplace"))
                os._exit(bool(fault))
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            fault = file.read().decode("utf-8", "backslashreplace")
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if fault or code:
            raise GraderError(fault or f"the check of the suite ended with {code}; see `autograder doctor`")

    def check_suite(self, session: pytest.Session, sandbox: Session | None = None) -> None:
        """Run every case with the reference in place of a student. This also warms up the process before it forks.

        Raises:
            GraderError: the reference fails a case.
        """
        results, _ = self.run_items(session, Run(sandbox, self.limits, seed=b"self-check"))
        failed = [case for case in results if case.verdict is not Verdict.PASSED]
        if failed:
            lines = "\n".join(f"  {case.name}: {case.message}" for case in failed)
            where = " in the sandbox" if sandbox is not None else ""
            raise GraderError(
                f"the reference itself fails {len(failed)} case(s) of {self.suite}{where}:\n{lines}"
            )

    def declared(self, session: pytest.Session) -> dict[str, Any]:
        """Return what reports must know of the cases besides their results: titles and extra credit, if there are any.

        A title is there in English and in the other languages of the course.
        """
        cases = list(session.config.stash[CASES].values())
        shown = {ENGLISH, *languages(self.config.feedback.language)}
        titles = {
            case.name: {each: as_text(case.title).in_(each) for each in LANGUAGES if each in shown}
            for case in cases
            if case.title
        }
        extra = {case.name: case.points for case in cases if case.extra}
        return {key: facts for key, facts in (("titles", titles), ("extra", extra)) if facts}

    def read_catalogues(self) -> None:
        """Read the translations that messages need, the suite's own too, before the first fork.

        Raises:
            GraderError: a catalogue of the suite cannot be read.
        """
        wanted = languages(self.config.feedback.language)
        for language in LANGUAGES:
            file = self.suite / f"{folder_of(language)}.po"
            if language in wanted and file.is_file():
                try:
                    add_catalogue(language, file)
                except (OSError, ValueError) as error:
                    raise GraderError(f"{error}; correct the catalogue, or remove it") from error
        read_catalogues(wanted)

    def prepare(self) -> None:
        """Make the files that every build starts from, without any file of a student. The cache keeps the result."""
        build = self.assignment.build
        if build is None or not build.prepare:
            return
        given = self.given()
        key = self.key("prepare", given)
        self.prepared = self.cached(key) or {}
        if not self.prepared:
            with self.wall.open(given, self.build_limits()) as session:
                made = self.build_in(session, build.prepare)
            if isinstance(made, SubmissionError):
                raise GraderError(f"probe {build.prepare} of {self.suite} failed: {made}")
            self.prepared = made
            self.cache(key, made)

    def describe(self) -> dict[str, Any]:
        """Return the part of the provenance that all reports from this server share."""
        suite = {path.name: path.read_bytes() for path in sorted(self.suite.glob("*.py"))}
        versions = {"python": platform.python_version()}
        for package in ("numpy", "torch"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions[package] = importlib.metadata.version(package)
        torch = sys.modules.get("torch")
        return {
            "suite_digest": digest(suite),
            "reference_digest": digest(self.reference),
            "grader_version": __version__,
            "sandbox": self.kind.name,
            "isolated": self.kind.isolated,
            "protections": sorted(self.wall.protections),
            **self.wall.provenance,
            "versions": versions,
            "device": "cuda" if torch is not None and torch.cuda.is_available() else "cpu",
        }

    # the loop --------------------------------------------------------------------------------------------

    def serve(self, session: pytest.Session) -> None:
        """Fork for each request, reap the children, and return when the other end of the channel is closed."""
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        while True:
            soonest = min((deadline for _, _, deadline in self.children.values()), default=None)
            wait = None if soonest is None else max(0.0, soonest - time.monotonic()) * 1000
            for descriptor, _ in poller.poll(wait):
                if descriptor != self.channel.fileno():
                    poller.unregister(descriptor)
                    self.reap(descriptor)
                    continue
                data = self.channel.recv(MAX_DATAGRAM)
                if not data:
                    return
                poller.register(self.fork(session, _request(json.loads(data))), select.POLLIN)
            for pid, _, deadline in self.children.values():
                if deadline < time.monotonic():
                    os.kill(pid, signal.SIGKILL)

    def fork(self, session: pytest.Session, request: Request) -> int:
        """Grade one submission in a child; return a descriptor that becomes readable when the child ends."""
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.children.clear()
                self.send({"id": request.id} | self.result(session, request))
                status = 0
            finally:
                os._exit(status)
        descriptor = os.pidfd_open(pid)
        self.children[descriptor] = (pid, request.id, time.monotonic() + request.deadline)
        return descriptor

    def reap(self, descriptor: int) -> None:
        """Collect the exit status of a child. If the child failed, send a fault instead of its result."""
        pid, request_id, deadline = self.children.pop(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            late = " after its deadline" if deadline < time.monotonic() else ""
            self.send(
                {"id": request_id, "fault": f"the checking process ended with {code}{late}; grade again"}
            )

    def close(self) -> None:
        """Kill every child. The wall stays open; `main` closes it."""
        for pid, _, _ in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one datagram."""
        self.channel.send(json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace"))

    # one submission (in the child) -----------------------------------------------------------------------

    def result(self, session: pytest.Session, request: Request) -> dict[str, Any]:
        """Grade a submission; return its report, or our fault instead of a report."""
        started, clock = datetime.now(timezone.utc), time.monotonic()
        try:
            if request.trial is not None:
                return self.try_out(session, request.path, request.trial)
            cases, facts, faults = self.grade(session, request)
        except SuiteError as error:
            return {"fault": str(error), "suite": error.detail[:MAX_MESSAGE]}
        except GraderError as error:
            return {"fault": str(error)}
        except Exception:  # noqa: BLE001 (our bug must not become a verdict)
            return {"fault": f"the grader failed: {traceback.format_exc(limit=-4)}"}
        facts |= {
            "commit": request.commit,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 4),
        }
        if said := translated(cases, languages(self.config.feedback.language)):
            facts["messages"] = said
        report = Report(self.name, tuple(cases), self.provenance | facts)
        return {"report": report.to_json(), "suite_faults": [asdict(fault) for fault in faults]}

    def grade(
        self, session: pytest.Session, request: Request
    ) -> tuple[list[CaseResult], dict[str, Any], list[SuiteFault]]:
        """Return the cases of one submission, the facts about it for the provenance, and faults of the suite.

        Raises:
            GraderError: no score could be given, and it is not the student's fault.
        """
        facts: dict[str, Any] = {"tree_digest": None, "seed_id": None, "draws": {}}
        try:
            files = read_tree(request.path)
            tree = digest(files)
            # The seed depends on the content, not on the commit: an empty commit must not draw new inputs.
            seed = hmac.new(self.secret, f"{self.name}\0{tree}".encode(), hashlib.sha256).digest()
            facts |= {"tree_digest": tree, "seed_id": hashlib.sha256(seed).hexdigest()[:16]}
            files = self.with_given(files)
            with (
                self.turns().together(self.assignment.devices) as turn,
                self.wall.open(files, self.limits) as sandbox,
            ):
                failure = self.build(sandbox, files)
                run = Run(
                    sandbox,
                    self.limits,
                    seed,
                    failure,
                    self.not_written,
                    self.assignment.importable(),
                    dict(request.draws),
                    self.open_reference,
                    open_baseline=self.open_reference,
                )
                results, faults = self.run_items(session, run, turn)
                return results, facts | {"draws": run.draws}, faults
        except SubmissionError as refused:  # no case has run yet, so every case gets this result
            cases = session.config.stash[CASES].values()
            return (
                [CaseResult(c.name, refused.verdict, 0, c.max_points, refused.text) for c in cases],
                facts,
                [],
            )

    def run_items(
        self, session: pytest.Session, run: Run, turn: Turn = NO_TURN
    ) -> tuple[list[CaseResult], list[SuiteFault]]:
        """Let pytest run every collected item; return the cases in the suite's order, and faults of the suite.

        If this machine is too busy to tell whether a case is too slow, the case runs once more, on the same draw and
        with no other submission beside it. A submission has ALONE such runs.

        Raises:
            SuiteError: a case has no result on any of its draws.
            BusyError: this machine is too busy.
            GraderError: the sandbox or this machine is at fault.
        """
        alone = ALONE
        session.config.stash[RUN] = run
        names = {nodeid: case.name for nodeid, case in session.config.stash[CASES].items()}
        items, faults = session.items, list[SuiteFault]()
        for item, following in zip(items, [*items[1:], None], strict=True):
            name = names[item.nodeid]
            first = run.draws.get(name, 0)
            for draw in range(first, first + (1 if run.open_reference is None else DRAWS)):
                if draw:
                    run.draws[name] = draw
                fault = self.run_item(item, following, run)
                if isinstance(fault, BusyError) and alone:
                    alone -= 1
                    with turn.alone():
                        fault = self.run_item(item, following, run)
                if not isinstance(fault, SuiteError):
                    break
                faults.append(SuiteFault(name, draw, fault.for_staff()[:MAX_MESSAGE]))
            if fault is not None:
                raise fault
        missing = [item.nodeid for item in items if item.nodeid not in run.results]
        if missing:
            raise SuiteError(f"there is no result for {', '.join(missing)}; fix the suite, then grade again")
        return [run.results[item.nodeid] for item in items], faults

    def run_item(self, item: pytest.Item, following: pytest.Item | None, run: Run) -> GraderError | None:
        """Let pytest run one item; return our fault, if that is how it ended."""
        run.fault = None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        return run.fault

    def turns(self) -> Turns:
        """Return the locks of this course on this machine."""
        return Turns(self.config.state / "turns")

    @contextlib.contextmanager
    def open_reference(self) -> Iterator[Session]:
        """Open the reference in a sandbox of its own, built, like a submission."""
        try:
            session = self.wall.open(self.reference, self.limits)
        except SubmissionError as refused:
            raise SuiteError(f"the sandbox refuses the reference: {refused}") from refused
        with session as sandbox:
            failure = self.build(sandbox, self.reference)
            if failure is not None:
                raise SuiteError(f"the reference cannot be built: {failure}")
            yield sandbox

    # a trial (in the child) ------------------------------------------------------------------------------

    def try_out(self, session: pytest.Session, path: Path, trial: Trial) -> dict[str, Any]:
        """Run chosen cases for each draw; a check that fails becomes a row, not the end of the trial."""
        cases = session.config.stash[CASES]
        by_name = {cases[item.nodeid].name: item for item in session.items}
        unknown = [name for name in trial.cases if name not in by_name]
        if unknown:
            raise GraderError(f"the suite {self.suite} has no case {', '.join(unknown)}")
        items = [by_name[name] for name in trial.cases] if trial.cases else list(session.items)
        rows: list[TrialCase] = []
        sandbox, failure = None, None
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(self.turns().with_devices(self.assignment.devices))
                if not trial.here:
                    files = self.with_given(read_tree(path))
                    sandbox = stack.enter_context(self.wall.open(files, self.limits))
                    if any(cases[item.nodeid].needs_build for item in items):
                        failure = self.build(sandbox, files, keep=files == self.with_given(self.reference))
                for draw in trial.draws:
                    seed = hashlib.sha256(draw.encode()).digest()
                    run = Run(
                        sandbox,
                        self.limits,
                        seed,
                        failure,
                        self.not_written,
                        self.assignment.importable(),
                        seconds=trial.seconds,
                        open_baseline=None if trial.here else self.open_reference,
                    )
                    rows += self.run_trial(session, items, run, draw, trial)
                    if trial.stop and rows[-1].verdict != Verdict.PASSED.value:
                        break
        except SubmissionError as refused:
            rows = [
                TrialCase(draw, cases[item.nodeid].name, refused.verdict.value, str(refused))
                for draw in trial.draws
                for item in items
            ]
        refusal = None if failure is None else str(failure)
        return {"rows": [row.to_json() for row in rows], "cases": self.case_facts(session), "build": refusal}

    def run_trial(
        self, session: pytest.Session, items: Sequence[pytest.Item], run: Run, draw: str, trial: Trial
    ) -> list[TrialCase]:
        """Run the items of one draw, until the first that is not passed if the trial says so."""
        session.config.stash[RUN] = run
        names = session.config.stash[CASES]
        rows: list[TrialCase] = []
        for item in items:
            tracemalloc.stop()  # a probe of the previous case may have started it; it slows everything down
            observer = run.observer = Observer(trial.scale)
            with _traced(self.config.path(self.config.reference), on=trial.trace) as lines:
                fault = self.run_item(item, None, run)
            name, result = names[item.nodeid].name, run.results.get(item.nodeid)
            if isinstance(fault, BusyError):
                # Like a case that reached its limit: it is tried once more, alone.
                row = TrialCase(draw, name, Verdict.TIMEOUT.value, str(fault))
            elif fault is not None or result is None:
                reason = fault.for_staff() if fault is not None else "no result"
                row = TrialCase(draw, name, FAULT, reason[:MAX_MESSAGE])
            else:
                verdict, message = result.verdict.value, result.message[:MAX_MESSAGE]
                row = TrialCase(
                    draw, name, verdict, message, round(result.seconds, 4), lines, points=result.points
                )
                if trial.watch:
                    row = replace(row, inputs=observer.inputs, dtypes=sorted(observer.dtypes))
            rows.append(row)
            if trial.stop and row.verdict != Verdict.PASSED.value:
                break
        return rows

    def case_facts(self, session: pytest.Session) -> list[dict[str, Any]]:
        """Return what the suite says of each case, in its order."""
        cases = session.config.stash[CASES]
        facts = []
        for item in session.items:
            case, function = cases[item.nodeid], getattr(item, "originalname", item.name)
            facts.append(
                CaseFacts(case.name, function, case.purpose, case.points, case.timeout, case.needs_build)
            )
        return [asdict(fact) for fact in facts]

    # files and builds ------------------------------------------------------------------------------------

    def given(self) -> dict[str, bytes]:
        """Return the given files: the reference's files that replace the student's."""
        return {
            path: content
            for path, content in self.reference.items()
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in self.assignment.given)
        }

    def with_given(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return a submission's files, with the given files replaced by ours. Nothing takes a given module's place.

        Raises:
            SubmissionError: a file of the student is not text.
        """
        given = self.given()
        modules = {module_of(path) for path in given} - {None}
        own = {
            path: content
            for path, content in files.items()
            if not any(fnmatch.fnmatchcase(path, pattern) for pattern in self.assignment.given)
            and module_of(path) not in modules
        }
        refuse_data(own, self.assignment.data)
        return own | given

    def build(
        self, session: Session, files: Mapping[str, bytes], *, keep: bool = True
    ) -> SubmissionError | None:
        """Build a submission, or take the build from the cache. Return the error if the build failed, else None.

        `keep` says whether the build goes into the cache.
        """
        build = self.assignment.build
        if build is None:
            return None
        sources = {
            path: content
            for path, content in files.items()
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in build.sources)
        }
        key = self.key("build", {**sources, **self.prepared})
        made = self.cached(key)
        if made is None:
            # The session gets only the sources. No student code runs during the build, so the result may be kept.
            try:
                with self.wall.open({**sources, **self.prepared}, self.build_limits()) as builder:
                    built = self.build_in(builder, build.probe)
            except SubmissionError as refused:
                return refused
            if isinstance(built, SubmissionError):
                return built
            made = dict(built)
            if keep:
                self.cache(key, made)
        session.set_build(made)
        return None

    def build_in(self, session: Session, probe: str) -> Mapping[str, bytes] | SubmissionError:
        """Run a build probe, and return the files that it made, or the student's error.

        The probe returns a dict of files, or a str that describes the student's mistake, or a tuple. A tuple means
        that no build can work on this machine, which is our fault.

        Raises:
            GraderError: no build can work on this machine.
        """
        build = self.assignment.build
        seconds = build.seconds if build else 60.0
        inputs = (build.cpp,) if build and build.cpp else ()
        outcome = session.run(probe, inputs, timeout=seconds)
        failure = failure_of(outcome, timeout=seconds, limits=self.limits)
        if failure is not None:
            return SubmissionError(tell("the build failed: {failure}", failure=failure.text), failure.verdict)
        made = outcome.value
        if isinstance(made, tuple):
            raise GraderError(f"builds cannot work here: {made!r:.300}; see `autograder doctor`")
        if isinstance(made, str):
            return SubmissionError(made)
        if not isinstance(made, dict) or not all(
            type(k) is str and type(v) is bytes for k, v in made.items()
        ):
            return SubmissionError(tell("the build made something else than files"))
        size = sum(map(len, made.values()))
        if size > MAX_BUILD_BYTES:
            return SubmissionError(
                tell(
                    "the build is {size} MiB large; at most {most} MiB are allowed",
                    size=f"{size / 2**20:.0f}",
                    most=MAX_BUILD_BYTES >> 20,
                )
            )
        return made

    def build_limits(self) -> Limits:
        """Return the limits of the assignment, with the processor time that a build may use."""
        build = self.assignment.build
        return replace(self.limits, cpu_seconds=build.seconds * 2) if build else self.limits

    def key(self, kind: str, files: Mapping[str, bytes]) -> str:
        """Return the name under which the cache keeps the result that was made from `files`."""
        facts = "\0".join(
            (kind, self.name, self.provenance["suite_digest"], platform.platform(), sys.version, _processor())
        )
        if self.assignment.build and self.assignment.build.cpp:
            facts += Path(str(cpp.__file__)).read_text("utf-8")
        # An image has its own Python and its own compiler.
        facts += json.dumps(self.provenance.get("image"), sort_keys=True)
        return hashlib.sha256((facts + digest(files)).encode()).hexdigest()

    def cached(self, key: str) -> dict[str, bytes] | None:
        """Return the files that the cache keeps under `key`, or None if they are missing or damaged."""
        path = self.config.state / "builds" / key
        try:
            made = protocol.decode(path.read_bytes())
            os.utime(path)  # the cache forgets what was not used for the longest time
        except (OSError, protocol.ProtocolError):
            return None
        return made if isinstance(made, dict) else None

    def cache(self, key: str, made: Mapping[str, bytes]) -> None:
        """Keep the files in the cache under `key`. If the cache cannot be written, the next build only takes longer."""
        folder = self.config.state / "builds"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f"{key}.{os.getpid()}"
            partial.write_bytes(protocol.encode(dict(made)))
            partial.replace(folder / key)
            forget_oldest(folder, MAX_CACHE_BYTES)


def forget_oldest(folder: Path, limit: int) -> None:
    """Remove the files of a folder that were not used for the longest time, until `limit` bytes are left.

    Other processes may do the same at the same time.
    """
    ages = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            about = path.stat()
            ages.append((about.st_mtime, about.st_size, path))
    total = sum(size for _, size, _ in ages)
    for _, size, path in sorted(ages):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size


def module_of(path: str) -> PurePosixPath | None:
    """Return the module that Python imports from a file, as a path without a suffix, or None for any other file.

    To `build.py`, Python prefers `build/__init__.py` and `build.cpython-311-x86_64-linux-gnu.so`.
    """
    file = PurePosixPath(path)
    if file.suffix not in (".py", ".pyc", ".so", ".pyd"):
        return None
    module = file.with_name(file.name.partition(".")[0] or file.name)
    return module.parent if module.name == "__init__" else module


def _processor() -> str:
    """Return text that differs between processors with different instructions.

    The cache may be on a disk that several machines share.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    relevant = ("vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(relevant)}))


def _request(data: Mapping[str, Any]) -> Request:
    trial = Trial.from_json(data["trial"]) if "trial" in data else None
    draws = {str(case): int(draw) for case, draw in data.get("draws", {}).items()}
    return Request(
        int(data["id"]), Path(data["path"]), data.get("commit"), float(data["deadline"]), draws, trial
    )


@contextlib.contextmanager
def _traced(root: Path, *, on: bool) -> Iterator[dict[str, list[int]]]:
    """Collect the lines that run in the files of `root`/src, by path; the dict is filled at the end."""
    lines: dict[str, list[int]] = {}
    if not on:
        yield lines
        return
    prefix, seen = f"{root / PACKAGE}{os.sep}", set[tuple[str, int]]()

    def watch(frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(prefix):
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return watch

    sys.settrace(watch)
    try:
        yield lines
    finally:
        sys.settrace(None)
        for file, line in sorted(seen):
            lines.setdefault(Path(file).relative_to(root).as_posix(), []).append(line)


def main(descriptor: int, config_file: str, assignment: str, sandbox: str, image: str, folder: str) -> int:
    """Serve the suite in `folder` on an open socket; return the exit status."""
    channel = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the starting process ends this one by closing the channel
    server: Server | None = None
    printed = io.StringIO()
    try:
        config = load(Path(config_file)).with_suite(assignment, folder)
        chosen = config.assignment(assignment)
        suite = config.path(chosen.suite)
        for file in ("test_score.py", "probes.py"):
            if not (suite / file).is_file():
                raise GraderError(
                    f"the suite has no {suite / file}; see autograder.toml, [assignments.{assignment}]"
                )
        kind = find(sandbox)
        if not kind.takes_image:  # the engine of containers may be on another machine, and checks by itself
            _require_devices(assignment, chosen.devices)
            _require_packages(assignment, chosen)
        wall_settings = WallSettings(
            probes=suite / "probes.py",
            preload=chosen.preload,
            importable=_importable(chosen),
            waive=config.sandbox.waive,
            devices=chosen.devices,
            limits=config.limits(assignment),
            image=image,
            volumes=config.sandbox.volumes,
        )
        with kind.make(wall_settings) as wall:
            sys.dont_write_bytecode = True
            sys.path[:0] = [str(suite), str(config.path(config.reference))]
            _preload(assignment, chosen.preload)
            _require_gpu(assignment, chosen.devices)
            server = Server(config, assignment, kind, wall, channel)
            arguments = [str(suite), f"--rootdir={suite}", f"--confcutdir={suite}", *PYTEST_ARGUMENTS]
            settings = suite / "pytest.ini"
            arguments += ["-c", str(settings) if settings.is_file() else os.devnull]
            for plugin in ("autograder.grading.plugin", "autograder.grading.race", *chosen.plugins):
                arguments += ["-p", plugin]
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
                status = pytest.main(arguments, plugins=[server, _Settings(chosen.timeout, chosen.points)])
            if server.fault is not None:
                raise server.fault
            if not server.is_ready:
                raise GraderError(
                    printed.getvalue().strip().removeprefix("ERROR: ")
                    or f"pytest ended with {status} before it was ready"
                )
            return 0
    except GraderError as error:
        _send_fault(channel, error.for_staff())
    except Exception:  # noqa: BLE001 (sent to the starting process, which shows it)
        _send_fault(channel, traceback.format_exc())
    finally:
        if server is not None:
            server.close()
    return 1


def _place_and_error(error: BaseException, suite: Path) -> str:
    """Return `FILE:LINE: the error`, with the innermost line of the suite's folder."""
    error = error.__cause__ or error  # pytest wraps the error of a file that it imports
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if suite in Path(frame.filename).parents
    ]
    place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return f"{place}{type(error).__name__}: {error}"


class _Settings:
    """Passes the configuration to the plugin before collection."""

    def __init__(self, timeout: float, points: int) -> None:
        self.timeout, self.points = timeout, points

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[DEFAULT_TIMEOUT], config.stash[TOTAL_POINTS] = self.timeout, self.points


def _require_devices(assignment: str, devices: Sequence[str]) -> None:
    """Raise GraderError if a configured device is missing: what is graded without it must not be final."""
    missing = [device for device in devices if not Path(device).exists()]
    if missing:
        raise GraderError(
            f"assignments.{assignment}.devices: this machine has no {', '.join(missing)}; load the driver, grade on "
            "another machine, or correct autograder.toml"
        )


def _importable(chosen: AssignmentConfig) -> tuple[str, ...]:
    return (*chosen.importable(), *(chosen.build.packages if chosen.build else ()))


def _require_packages(assignment: str, chosen: AssignmentConfig) -> None:
    """Raise GraderError if a package is allowed but missing here: submissions that import it would lose points."""
    for name in _importable(chosen):
        if name not in chosen.preload and importlib.util.find_spec(name) is None:
            raise GraderError(
                f"assignments.{assignment}.packages: {name} is not installed here; correct autograder.toml, "
                f"or run: {sys.executable} -m pip install {name}"
            )


def _require_gpu(assignment: str, devices: Sequence[str]) -> None:
    torch = sys.modules.get("torch")
    wanted = any(device.startswith("/dev/nvidia") for device in devices)
    if wanted and torch is not None and not torch.cuda.is_available():
        raise GraderError(
            f"assignments.{assignment}.devices: torch cannot use the GPU of this machine; see `autograder doctor`"
        )


def _preload(assignment: str, modules: tuple[str, ...]) -> None:
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # is_available() must not initialise CUDA before a fork
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise GraderError(
                f"assignments.{assignment}.preload: {name} cannot be imported ({error}); "
                f"correct autograder.toml, or run: {sys.executable} -m pip install {name}"
            ) from error
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _send_fault(channel: socket.socket, message: str) -> None:
    with contextlib.suppress(OSError):
        channel.send(json.dumps({"fault": message[-8000:]}).encode())


def start(arguments: list[str]) -> int:
    """Entry point of the server's process: descriptor, configuration file, assignment, sandbox, image, suite."""
    return main(int(arguments[0]), *arguments[1:6])
