"""A small university for tests of the service: a course, a folder of bare repositories, and pushes to them."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import datetime, timezone

from autograder.config import load
from autograder.grading.grader import Graded
from autograder.hosts.push import Push
from autograder.ledger import RepositoryName
from autograder.report import Report
from autograder.service import serve
from autograder.verdict import CaseResult, Verdict
from tests.support.course import RIGHT, CourseFolder
from tests.support.githost import Bare, git

HOST = "git.uni.example"
HALF = "def double(x):\n    return 6.0\n"
BROKEN = "def double(x)\n    return 6.0\n"
ZERO = "0" * 40

SETTINGS = """
repositories = ["dls/t-*"]
{assignment}

[hosts."git.uni.example"]
kind = "folder"
base = "../host"

[service]
listen = "127.0.0.1:0"
retry_seconds = 0.05
lease_seconds = {lease_seconds}
{service}
"""


class University:
    """A course `t` in a folder, and the repositories of its students, `dls/t-NAME`.

    Args:
        folder: for everything.
        assignment, service: further keys of these tables of autograder.toml.
        url: of the ledger; default: SQLite in the folder.
        lease_seconds: after which a silent worker counts as dead.

    A test with a second assignment sets `prefix`: whose repositories are meant.
    """

    prefix = "t"

    def __init__(self, folder, *, assignment="", service="", url="", lease_seconds=1):
        self.folder = folder
        settings = SETTINGS.format(assignment=assignment, service=service, lease_seconds=lease_seconds)
        self.course = CourseFolder(folder / "course", settings=settings)
        (folder / "host").mkdir(exist_ok=True)
        if url:
            self.course.write(
                "autograder.toml", self.config_file.read_text() + f'\n[ledger]\nurl = "{url}"\n'
            )
        self._repositories = {}

    @property
    def config_file(self):
        return self.course.config_file

    def parts(self):
        """Open ledger and queue, as a process of the service does."""
        return serve.parts(self.config_file)

    def config(self):
        return load(self.config_file)

    def repository(self, student="ann"):
        return RepositoryName(HOST, "dls", f"{self.prefix}-{student}")

    def bare(self, student="ann"):
        name = self.repository(student).name
        if name not in self._repositories:
            self._repositories[name] = Bare(self.folder / "host" / "dls" / f"{name}.git")
        return self._repositories[name]

    def push(self, work=RIGHT, student="ann", *, branch="main", **files):
        """Commit to a student's branch as a push does; return the push that a git host would report."""
        bare = self.bare(student)
        before = bare.tip(branch) or ZERO
        # The name makes the commit the student's own: with equal commits nobody could see who got which feedback.
        tree = {"src/__init__.py": b"", "src/work.py": work.encode(), "NAME": student.encode(), **files}
        commit = bare.commit(tree, branch=branch, parent=None if before == ZERO else before)
        return self.reported(commit, before, student, branch)

    def reported(self, commit, before=ZERO, student="ann", branch="main"):
        digest = hashlib.sha256(f"{self.repository(student)}{commit}{before}".encode()).hexdigest()
        return Push(
            HOST,
            "dls",
            self.repository(student).name,
            f"refs/heads/{branch}",
            branch,
            commit,
            before,
            student,
            digest[:20],
            digest,
        )

    def published(self, student="ann"):
        """Return the commits for which the branch has feedback, oldest first."""
        bare = self.bare(student)
        if bare.tip("score-feedback") is None:
            return []
        pattern = "--format=%(trailers:key=Graded-Commit,valueonly,separator=)"
        return bare.git("log", "--reverse", pattern, "score-feedback").split()

    def score(self, student="ann"):
        """Return the points on the feedback branch."""
        return json.loads(self.bare(student).show("score-feedback:score.json"))["points"]

    def text(self, student="ann"):
        """Return score.md on the feedback branch."""
        return self.bare(student).show("score-feedback:score.md").decode()

    def start(self, *arguments, command="serve", driver=None, **variables):
        """Start a process of the service; return it. Its log goes to `log` in the folder.

        With `driver`, this Python text is run in place of the command line, with the same `sys.argv`.
        """
        (self.folder / "tmp").mkdir(exist_ok=True)  # what a killed process leaves there goes with the test
        program = ["-c", driver] if driver else ["-m", "autograder"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    *program,
                    command,
                    "--config",
                    str(self.config_file),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    "TMPDIR": str(self.folder / "tmp"),
                    **variables,
                },
                start_new_session=True,
            )

    def log(self):
        """Return the lines of the log that are JSON."""
        text = (self.folder / "log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


class PretendedGraders:
    """Grades without a sandbox, by comparing the text of the work. Calls `before` first."""

    def __init__(self):
        self.graded, self.draws = [], []
        self.suite_faults = ()
        self.before = lambda *_: None
        self.interrupted = []

    def grade(self, assignment, folder, commit, draws):
        self.graded.append(commit)
        self.draws.append(draws)
        self.before(assignment, commit)
        right = (folder / "src" / "work.py").read_text() == RIGHT
        cases = (
            CaseResult("Task1 - Case1", Verdict.PASSED if right else Verdict.WRONG, 60 if right else 0, 60),
            CaseResult("Task1 - Case2", Verdict.PASSED, 40, 40),
        )
        drawn = {fault.case: fault.draw + 1 for fault in self.suite_faults}
        return Report(assignment, cases, {"commit": commit, "draws": {**draws, **drawn}}, self.suite_faults)

    def refused(self, assignment, error, commit):
        self.graded.append(commit)
        names = (("Task1 - Case1", 60), ("Task1 - Case2", 40))
        cases = tuple(CaseResult(name, error.verdict, 0, of, str(error)) for name, of in names)
        return Report(assignment, cases, {"commit": commit})

    def grade_many(self, assignment, submissions, *, jobs, draws):  # noqa: ARG002 (one at a time)
        for path, commit in submissions:
            yield Graded(path, self.grade(assignment, path, commit, draws(path)), None)

    def interrupt(self, assignment):
        self.interrupted.append(assignment)


def now():
    return datetime.now(timezone.utc)


__all__ = ["BROKEN", "HALF", "RIGHT", "PretendedGraders", "University", "git", "now"]
