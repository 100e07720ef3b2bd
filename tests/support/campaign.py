"""Pushes of many students while processes are killed, stopped and ended at random: is every push accounted for?

    python -m tests.support.campaign --pushes 200 --students 20 [--database postgresql] [--seed N] [--sandbox]

Three processes run: `serve` and two workers. Each kills itself before or after a random call into the ledger, the git
host or the grader. Besides, a random one is now and then killed, stopped for a while, or asked to end. Processes that
ended are started again. Pushes come at random; some are delivered twice, some late and out of order. In the end nothing
is harmed any more, and when no job is left `accounted` must find nothing wrong.
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
from pathlib import Path

from autograder.errors import GraderError
from autograder.ledger import OPEN, JobState
from tests.support import postgres
from tests.support.processes import Processes, accounted, graded
from tests.support.university import HALF, RIGHT, University, now

SERVICE = "retries = 1000\ndrain_seconds = 2"
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

    def run(self, pushes, students):
        names = [f"s{number}" for number in range(students)]
        started = time.monotonic()
        try:
            with self.university.parts() as parts:
                self._push(parts, pushes, names)
                self.harm = False
                self._wake_everybody()
                self._end_mortals()
                deadline = time.monotonic() + SECONDS
                while parts.ledger.jobs(states=OPEN) or parts.queue.entries():
                    self._start_missing()
                    assert time.monotonic() < deadline, parts.ledger.jobs(states=OPEN)
                    time.sleep(0.05)
                return self._figures(parts, names) | {"seconds": round(time.monotonic() - started, 1)}
        finally:
            self._wake_everybody()
            self.processes.end()

    def _push(self, parts, number, names):
        """Push, deliver and harm in turn."""
        waiting = []  # delivered later
        for _ in range(number):
            self._start_missing()
            student = self.random.choice(names)
            waiting.append(self.university.push(self.random.choice([RIGHT, HALF]), student))
            self.counts["pushes"] += 1
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
                parts.intake.receive(push, now())
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
        wrong = accounted(self.university, parts, names)
        tries, states, reports = [], Counter(), 0
        for name in names:
            history = parts.ledger.history(self.university.repository(name))
            for entry in history.jobs:
                states[entry.job.state.value] += 1
                tries.append(entry.job.tries)
                reports += entry.report is not None
            head = self.university.bare(name).tip("main")
            if head and not any(
                entry.job.commit == head and entry.job.state is JobState.FINAL for entry in history.jobs
            ):
                wrong.append(f"the last push of {name} has no feedback")
        check = subprocess.run(
            [sys.executable, "-m", "autograder", "ledger", "check", "--config", self.university.config_file],
            capture_output=True,
            text=True,
            check=False,
        )
        if check.returncode:
            wrong.append(check.stdout + check.stderr)
        if sum(states.values()) != self.counts["pushes"]:
            wrong.append(f"{self.counts['pushes']} pushes, and jobs: {dict(states)}")
        return {
            **self.counts,
            "jobs": dict(states),
            "reports": reports,
            "gradings": len(graded(self.university)),
            "most tries of a job": max(tries),
            "wrong": wrong,
        }


@contextlib.contextmanager
def university(database):
    """A university on `sqlite` or `postgresql`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=postgres.in_memory(200 * 2**20))))
        url = ""
        if database == "postgresql":
            url = stack.enter_context(postgres.running()).new_database()
        yield University(folder, service=SERVICE, url=url)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.campaign", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--pushes", type=int, default=200)
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--sandbox", action="store_true", help="grade for real, which is slow")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with university(options.database) as scene:
        figures = Campaign(scene, options.seed, sandbox=options.sandbox).run(options.pushes, options.students)
        if figures["wrong"]:
            print((scene.folder / "log").read_text()[-20000:], file=sys.stderr)
    print(json.dumps(figures, indent=2))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
