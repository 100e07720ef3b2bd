"""A service without processes: a test says when a push is taken, when a job runs, and when the reconciler looks."""

from autograder.git.fetch import tips
from autograder.service.intake.reconciler import Reconciler
from autograder.service.jobs.pipeline import Pipeline
from tests.support.university import PretendedGraders, now


class Desk:
    """A service without processes: pushes are taken and jobs run when a test says so."""

    def __init__(self, university, parts, folder):
        self.university, self.ledger, self.intake = university, parts.ledger, parts.intake
        self.queue, self.course = parts.queue, parts.course
        self.graders = PretendedGraders()
        self.folder = folder
        self.pipeline = self.worker("host:0")

    def worker(self, name):
        return Pipeline(
            self.ledger, self.course, self.graders, self.intake, self.folder / name, name, retries=2
        )

    def take(self, push, received=None):
        """Take a push; return its job's id."""
        return self.intake.receive(push, received or now()).job.id

    def run(self, job):
        self.pipeline.run(job)
        return self.ledger.job(job).state

    def push(self, *work, received=None, **values):
        return self.take(self.university.push(*work, **values), received)

    def state(self, job):
        return self.ledger.job(job).state

    def set_back(self, commit, student="ann", branch="main"):
        """Move a branch to a commit as a forced push does; return the push that a git host would report."""
        bare = self.university.bare(student)
        before = bare.tip(branch)
        bare.git("update-ref", f"refs/heads/{branch}", commit)
        return self.university.reported(commit, before, student, branch)

    def reconciler(self, **settings):
        """A reconciler that looks at the branches when a test says so."""

        def ask(target):
            return tuple(tips(target.remote, [target.branch, self.course.feedback.branch]))

        return Reconciler(
            self.ledger, self.queue, self.intake, **{"tips": ask, "listed": self.course.listed} | settings
        )

    def run_all(self):
        """Run all jobs in the queue."""
        while entries := self.queue.entries():
            for entry in entries:
                self.run(entry.job)
                self.queue.cancel(entry.job)
