"""A class with a roster, and a ledger in which its students have pushed and were graded."""

from click.testing import CliRunner

from autograder import config
from autograder.cli import main
from autograder.course.course import Course
from autograder.ledger import JobState, Ledger, RepositoryName, Source
from autograder.service.intake import post_receive
from autograder.service.intake.spool import Spool
from tests.support.githost import Bare
from tests.support.ledgers import MAIN, Clock, commit, report

HOST = "git.uni.example"
FILE = """\
[course]
roster = "roster.csv"
[hosts."git.uni.example"]
kind = "folder"
base = "host"
[assignments.a0]
suite = "hidden/a0"
repositories = ["dls/a0-*"]
[assignments.a1]
suite = "hidden/a1"
repositories = ["dls/a1-*"]
[assignments.a1.release]
task = "Task1"
files = []
score = 10
"""
ROSTER = """\
id,name,login,section,team:a1,role
2026001,王小明,ann,1班,,
2026002,李雷,bob,1班,red,
2026003,韩梅梅,cat,2班,red,
t1,Ada,ada,,,staff
"""


class Class:
    """The folder of a course, its ledger, and a clock.

    Args:
        folder: for everything.
        file: the content of autograder.toml.
        roster: the content of roster.csv.
    """

    def __init__(self, folder, file=FILE, roster=ROSTER):
        self.folder = folder
        (folder / "autograder.toml").write_text(file)
        (folder / "roster.csv").write_text(roster)
        (folder / "host").mkdir()
        self.clock = Clock()
        self.course = Course.of(config.load(folder / "autograder.toml"))
        settings = self.course.config
        self.ledger = Ledger.open(settings.ledger_url(), folder=folder, clock=self.clock)

    def bare(self, name, hook=True):
        bare = Bare(self.folder / "host" / "dls" / f"{name}.git")
        if hook:
            at = post_receive.place(self.course, bare.path, host=HOST)
            post_receive.install(at, Spool(self.course.spool()), chain=False)

    def graded(self, name, word, points=80, tree="", source=Source.HOOK, assignment=None):
        """Push and grade a commit."""
        assignment = assignment or name[:2]
        repository = RepositoryName(HOST, "dls", name)
        self.clock.after(minutes=1)
        self.ledger.record_push(repository, commit=commit(word), ref=MAIN, source=source)
        job = self.ledger.open_job(repository, commit(word), assignment).row
        self.ledger.move(job.id, JobState.RUNNING, worker="host:1")
        self.ledger.add_report(job.id, report(points, assignment=assignment, tree_digest=tree or word))
        self.ledger.move(job.id, JobState.FINAL)

    def run(self, *arguments):
        """Run a command of `autograder`."""
        return CliRunner().invoke(
            main, [*map(str, arguments), "--config", str(self.folder / "autograder.toml")]
        )
