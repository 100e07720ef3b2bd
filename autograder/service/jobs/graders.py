"""The suite servers of a worker, one for each assignment.

A server is started before it is needed, and it is kept. It is started again when it has ended, or when the suite or the
reference has changed on the disk. So a correction by staff applies to the next submission.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autograder.config import Config
from autograder.errors import GraderError, SubmissionError
from autograder.grading.grader import Graded, Grader
from autograder.report import Report
from autograder.service.logs import LOG
from autograder.submission import PACKAGE

Signature = frozenset[tuple[str, int, int]]


class Graders:
    """The suite servers of one worker. They grade one submission at a time; any thread may call `interrupt`.

    Args:
        config: of the course.
        config_file: the file that `config` was read from.
        make: creates a grader; tests replace it.
    """

    def __init__(self, config: Config, config_file: Path, make: Callable[..., Grader] = Grader) -> None:
        self._config, self._config_file, self._make = config, config_file, make
        self._graders: dict[str, tuple[Grader, Signature]] = {}
        self._lock = threading.RLock()

    def warm(self, assignments: Iterable[str]) -> None:
        """Start the servers of `assignments`, and return at once. If one cannot start, `grade` raises the error."""
        for assignment in assignments:
            with contextlib.suppress(GraderError, OSError):
                self._of(assignment)

    def ready(self, assignment: str) -> dict[str, Any]:
        """Wait until the server of `assignment` is ready; return its provenance.

        Raises:
            GraderError: the server cannot start, or ended meanwhile.
        """
        try:
            return self._of(assignment).ready()
        except OSError as error:
            raise GraderError(f"the suite server of {assignment} ended: {error}") from error

    def grade(
        self, assignment: str, folder: Path, commit: str, draws: Mapping[str, int] = MappingProxyType({})
    ) -> Report:
        """Grade the folder src/ in `folder`, with the draws of an earlier report.

        Raises:
            SuiteError: no score could be given, and another try would end in the same way.
            GraderError: no score could be given, for a reason that is not the student's fault.
        """
        return self._working(assignment, lambda grader: grader.grade(folder, commit, draws))

    def grade_many(
        self,
        assignment: str,
        submissions: Iterable[tuple[Path, str]],
        *,
        jobs: int,
        draws: Callable[[Path], Mapping[str, int]],
    ) -> Iterator[Graded]:
        """Grade several folders, up to `jobs` at a time, see `Grader.grade_many`.

        Raises:
            GraderError: the suite server cannot start, or has ended.
        """
        grader = self._of(assignment)
        try:
            yield from grader.grade_many(submissions, jobs=jobs, draws=draws)
        except BaseException:
            self._drop(assignment)
            raise

    def refused(self, assignment: str, error: SubmissionError, commit: str) -> Report:
        """Return the report of a submission that must not be graded: every case has the error's verdict.

        Raises:
            GraderError: the suite server cannot start, so the cases are not known.
        """
        return self._working(assignment, lambda grader: grader.refused(error, commit))

    def interrupt(self, assignment: str) -> None:
        """End the server of `assignment` and its sandbox, even while it grades."""
        found = self._graders.get(assignment)
        if found:
            found[0].kill()

    def close(self) -> None:
        """End all servers."""
        with self._lock:
            for grader, _ in self._graders.values():
                grader.close()
            self._graders.clear()

    def _working(self, assignment: str, work: Callable[[Grader], Report]) -> Report:
        grader = self._of(assignment)
        try:
            grader.ready()
            return work(grader)
        except BaseException:
            # The server may still send the report of this submission. That report must not be taken for the next one.
            self._drop(assignment)
            raise

    def _of(self, assignment: str) -> Grader:
        with self._lock:
            signature = self._signature(assignment)
            found = self._graders.get(assignment)
            if found and found[0].alive and found[1] == signature:
                return found[0]
            if found:
                LOG.info("starting the suite server again", extra={"assignment": assignment})
                self._drop(assignment)
            grader = self._make(
                self._config, assignment, config_file=self._config_file, sandbox=self._config.sandbox.kind
            )
            grader.start()
            self._graders[assignment] = grader, signature
            return grader

    def _drop(self, assignment: str) -> None:
        with self._lock:
            found = self._graders.pop(assignment, None)
        if found:
            found[0].kill()
            found[0].close()

    def _signature(self, assignment: str) -> Signature:
        """Return a value that changes when a file of the suite or the reference changes."""
        roots = (
            self._config.path(self._config.assignment(assignment).suite),
            self._config.path(self._config.reference) / PACKAGE,
        )
        found = set()
        for root in roots:
            for path in root.rglob("*"):
                if path.suffix != ".pyc" and "_build" not in path.parts and path.is_file():
                    about = path.stat()
                    found.add((str(path), about.st_mtime_ns, about.st_size))
        return frozenset(found)
