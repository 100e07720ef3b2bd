"""Pushes of many students while processes are killed, stopped and ended at random: is every push accounted for?

    python -m tests.support.campaign --pushes 200 --students 20 [--database postgresql] [--seed N] [--sandbox]

Three processes run: `serve` and two workers. Each kills itself before or after a random call into the ledger, the git
host or the grader. Besides, a random one is now and then killed, stopped for a while, or asked to end. Processes that
ended are started again. Pushes come at random, and some force the branch back to an earlier commit. Some are delivered
twice, some out of order, some never; a third of them comes after the deadline. Extensions are granted and taken back,
and on SQLite a backup is restored. In the end nothing is harmed any more, and all branches are looked at once more.
When no job is left, the ledger must be in order (`accounted`), and the branch, the page and the ledger must agree for
every student.
"""

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from autograder.course.standing import standing
from autograder.errors import GraderError
from autograder.git.fetch import tips
from autograder.ledger import OPEN, ScorePolicy, job_id, maintenance
from autograder.service.http.pages import Page, Pages
from autograder.service.intake.reconciler import Reconciler
from autograder.service.service import Service
from tests.support import postgres
from tests.support.processes import Processes, accounted, graded
from tests.support.university import HALF, RIGHT, University, now

SERVICE = "retries = 1000\ndrain_seconds = 2"
ASSIGNMENT = """
zone = "UTC"
closes = "{closes:%Y-%m-%d %H:%M:%S}"
extensions_file = "extensions.csv"
policy = "{policy}"
"""
OPEN_FOR = timedelta(days=1)
HEADER = "student,assignment,closes\n"
FATES = ["kill"] * 3 + ["stop", "end"]
SECONDS = 900  # until all is quiet

# Kills the process before or after a call, after a random number of calls.
MORTAL = """
import random
dice = random.Random(os.environ["SEED"])
left = [dice.randint(5, 120)]

def mortal(owner, name):
    real = getattr(owner, name)
    def call(*arguments, **values):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **values)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, call)

for name in ("job", "move", "report", "add_report", "add_feedback", "open_job"):
    mortal(Ledger, name)
for owner, name in (
    (pipeline, "branch_head"), (pipeline, "fetch_commit"), (feedback, "show"), (Pipeline, "_fetch"),
    (Pipeline, "_grade"), (Pipeline, "_publish"), (serve.Graders, "grade"),
    (Pipeline, "queue_again"),
):
    mortal(owner, name)
"""


class Campaign:
    """One campaign; `run` returns its figures, including what is wrong.

    Args:
        university: empty.
        seed: of everything that is random here.
        sandbox: grade for real.
    """

    def __init__(self, university, seed, *, sandbox=False):
        self.university, self.sandbox = university, sandbox
        self.random = random.Random(seed)  # noqa: S311 (an order, no secret)
        self.processes = Processes(university)
        self.running = [None, None, None]
        self.harm = True
        self.counts = Counter()
        self.asleep = {}
        self.commits = {}  # student -> the commits that were pushed
        self.backup = None

    def run(self, pushes, students):
        names = [f"s{number}" for number in range(students)]
        started = time.monotonic()
        try:
            with self.university.parts() as parts:
                self._push(parts, pushes, names)
                self.harm = False
                self._wake_everybody()
                self._end_mortals()
                self._quiet(parts)
                # The service looks at one repository every few seconds. This looks at all of them at once.
                reconciler = self._reconciler(parts)
                for _ in range(3):
                    for _ in range(students + 1):
                        reconciler.look()
                    reconciler.grade_what_counts()
                    self._quiet(parts)
                reconciler.show()
                return self._figures(parts, names) | {"seconds": round(time.monotonic() - started, 1)}
        finally:
            self._wake_everybody()
            self.processes.end()

    def _quiet(self, parts):
        """Wait until no job is left."""
        deadline = time.monotonic() + SECONDS
        while parts.ledger.jobs(states=OPEN) or parts.queue.entries():
            self._start_missing()
            assert time.monotonic() < deadline, parts.ledger.jobs(states=OPEN)
            time.sleep(0.05)

    def _reconciler(self, parts):
        def ask(target):
            return tuple(tips(target.remote, [target.branch, parts.course.feedback.branch]))

        listed = parts.course.listed
        return Reconciler(parts.ledger, parts.queue, parts.intake, tips=ask, listed=listed)

    def _move(self, student):
        """Move the branch of a student, forwards or by force to an earlier commit; return the push."""
        earlier = self.commits.setdefault(student, [])
        bare = self.university.bare(student)
        if (
            not earlier and self.random.random() < 0.5
        ):  # the others have no record, like a host that keeps none
            bare.git("config", "core.logAllRefUpdates", "true")
        before = bare.tip("main")
        back = [commit for commit in earlier if commit != before]
        if back and self.random.random() < 0.3:
            commit = self.random.choice(back)
            bare.git("update-ref", "--create-reflog", "refs/heads/main", commit)
            push = self.university.reported(commit, before, student)
            self.counts["forced back"] += 1
        else:
            push = self.university.push(self.random.choice([RIGHT, HALF]), student)
            if push.commit not in earlier:
                earlier.append(push.commit)
        self.counts["pushes"] += 1
        return replace(push, delivery_id=f"{push.delivery_id}-{self.counts['pushes']}")

    def _change_extensions(self, names):
        """Grant extensions to random students, and take those of others back."""
        chosen = self.random.sample(names, k=len(names) // 3)
        rows = "".join(f"{name},t,2099-01-01 12:00\n" for name in chosen)
        file = self.university.config_file.parent / "extensions.csv"
        draft = file.with_suffix(".new")
        draft.write_text(HEADER + rows)
        draft.replace(file)
        self.counts["extensions changed"] += 1

    def _restore(self, parts):
        """Put the ledger back to what it was at the backup. All processes are stopped for it."""
        self._wake_everybody()
        self._end_mortals()
        parts.ledger.close()
        maintenance.restore(parts.ledger.database.url, self.backup, force=True)
        self.counts["restored"] += 1

    def _push(self, parts, number, names):
        """Push, deliver and harm in turn."""
        waiting = []  # delivered later
        for turn in range(number):
            self._start_missing()
            if self.random.random() < 0.05:
                self._change_extensions(names)
            if parts.ledger.database.file and turn == number // 3:
                self.backup = self.university.folder / "backup.sqlite"
                maintenance.backup(parts.ledger.database.url, self.backup, force=True)
            if self.backup and turn == number * 2 // 3:
                self._restore(parts)
            waiting.append(self._move(self.random.choice(names)))
            if self.random.random() < 0.1:
                self.counts["lost webhooks"] += 1
                waiting.pop()
                continue
            if self.random.random() < 0.25:
                continue
            self.random.shuffle(waiting)
            while waiting:
                push = waiting.pop()
                self._deliver(parts, push, 2 if self.random.random() < 0.1 else 1)
            time.sleep(self.random.uniform(0, 0.15))
            if self.random.random() < 0.2:
                self._harm(self.random.choice(FATES))
        for push in waiting:
            self._deliver(parts, push, 1)

    def _deliver(self, parts, push, times):
        done = 0
        while done < times:
            with contextlib.suppress(GraderError):  # a git host sends a push again after a response with 503
                late = self.random.random() < 0.3
                parts.intake.receive(push, now() + (2 if late else 0) * OPEN_FOR)
                self.counts["late"] += late
                done += 1
                continue
            self.counts["refused"] += 1
            time.sleep(0.1)

    def _harm(self, fate):
        alive = [one for one in self.running if one and one.poll() is None and one not in self.asleep]
        if not alive:
            return
        victim = self.random.choice(alive)
        self.counts[fate] += 1
        if fate == "kill":
            victim.kill()
        elif fate == "end":
            victim.send_signal(signal.SIGTERM)
        else:
            victim.send_signal(signal.SIGSTOP)
            # A timer wakes it, since it may hold a lock of SQLite for which this thread waits.
            timer = threading.Timer(self.random.uniform(0.5, 4), self._wake, [victim])
            self.asleep[victim] = timer
            timer.start()

    def _wake(self, one):
        timer = self.asleep.pop(one, None)
        if timer is not None and one.poll() is None:
            one.send_signal(signal.SIGCONT)

    def _wake_everybody(self):
        for one, timer in list(self.asleep.items()):
            timer.cancel()
            self._wake(one)

    def _end_mortals(self):
        for one in self.running:
            if one.poll() is None:
                one.kill()
                one.wait()
        self.running = [None] * len(self.running)

    def _start_missing(self):
        for index, process in enumerate(self.running):
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                self.counts["died of itself"] += process.poll() == -signal.SIGKILL
                self.counts["faulty ends"] += process.poll() not in (0, -signal.SIGKILL)
            self.counts["starts"] += 1
            self.running[index] = self.processes.begin(
                command="worker" if index else "serve",
                before=MORTAL if self.harm else "",
                pretend=not self.sandbox,
                SEED=str(self.random.random()),
            )

    def _figures(self, parts, names):
        wrong = accounted(self.university, parts, names, exact=self.backup is None)
        tries, states, reports = [], Counter(), 0
        for name in names:
            history = parts.ledger.history(self.university.repository(name))
            for entry in history.jobs:
                states[entry.job.state.value] += 1
                tries.append(entry.job.tries)
                reports += entry.report is not None
            wrong += self._disagreement(parts, name)
        check = subprocess.run(
            [sys.executable, "-m", "autograder", "ledger", "check", "--config", self.university.config_file],
            capture_output=True,
            text=True,
            check=False,
        )
        if check.returncode:
            wrong.append(check.stdout + check.stderr)
        return {
            **self.counts,
            "jobs": dict(states),
            "reports": reports,
            "gradings": len(graded(self.university)),
            "most tries of a job": max(tries),
            "wrong": wrong,
        }

    def _disagreement(self, parts, name):
        """Return what the branch, the page and the ledger say differently about a student."""
        head = self.university.bare(name).tip("main")
        if head is None:
            return []
        target = parts.intake.target_at(self.university.repository(name))
        stands = standing(parts.ledger, parts.course, target)
        newest = stands.pushes[-1]
        wrong = []
        if newest.push.commit != head:
            wrong.append(f"{name}: the branch is at {head}, and the newest push is {newest.push}")
        if self.university.published(name)[-1:] != [head]:
            wrong.append(f"{name}: the feedback is not about {head}: {self.university.published(name)[-3:]}")
        points = stands.score.points if stands.score else 0
        shown = self.university.score(name)
        # A late push that counts now has a further attempt, with a report of its own.
        jobs = parts.ledger.jobs(repository=target.repository, limit=1000)
        attempts = [job.attempt for job in jobs if job.commit == head]
        reports = [
            parts.ledger.report(job_id(target.repository, head, "t", each)) for each in sorted(attempts)
        ]
        report = next((each for each in reversed(reports) if each is not None), None)
        if (newest.counts and stands.policy is ScorePolicy.LAST) or not newest.counts:
            if shown != points:
                wrong.append(f"{name}: the branch shows {shown} points, and {stands.score} counts")
        elif report is None or shown != report.report.points:  # `best` shows the push, and names the score
            wrong.append(f"{name}: the branch shows {shown} points for {head}")
        work = self.university.bare(name).show(f"{stands.score.commit}:src/work.py") if stands.score else b""
        if stands.score and points != (100 if work.decode() == RIGHT else 40):
            wrong.append(f"{name}: {stands.score} is not what its commit is worth")
        page = Pages(Service(parts.ledger, parts.course, parts.queue, parts.intake), None)
        rendered = page._templates.get_template("repository.html").render(
            now=now(), staff=True, **page._of_repository(target.repository, Page(1, 50))
        )
        if (f'">{points}</b>' in rendered) is not (stands.score is not None):
            wrong.append(f"{name}: the page does not show {points} points")
        return wrong


def scene(folder, url="", *, policy="last"):
    """Return a university in a folder, with a deadline and extensions."""
    closes = now() + OPEN_FOR
    assignment = ASSIGNMENT.format(closes=closes, policy=policy)
    university = University(folder, service=SERVICE, url=url, assignment=assignment)
    (university.config_file.parent / "extensions.csv").write_text(HEADER)
    return university


@contextlib.contextmanager
def university(database, **settings):
    """A university on `sqlite` or `postgresql`; `settings` are those of `scene`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=postgres.in_memory(200 * 2**20))))
        url = ""
        if database == "postgresql":
            url = stack.enter_context(postgres.running()).new_database()
        yield scene(folder, url, **settings)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.campaign", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--pushes", type=int, default=200)
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--policy", choices=["last", "best"], default="last")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--sandbox", action="store_true", help="grade for real, which is slow")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with university(options.database, policy=options.policy) as place:
        figures = Campaign(place, options.seed, sandbox=options.sandbox).run(options.pushes, options.students)
        if figures["wrong"]:
            print((place.folder / "log").read_text()[-20000:], file=sys.stderr)
    print(json.dumps(figures, indent=2))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
