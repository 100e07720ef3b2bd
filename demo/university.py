"""A university in a folder: four students push with plain git, the service answers on score-feedback.

    python -m demo.university            once through, then everything is removed
    python -m demo.university --keep     stays for a look at the staff page, until Ctrl-C

Nothing is pretended: bare repositories with the post-receive hook, `autograder serve` as it runs for a course (SQLite,
the sandbox, the hidden suites), and the time from the start of `git push` to the commit that answers it. The first
answer waits until torch is imported.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from autograder.ledger import Ledger
from tests.samples import ALL, REPOSITORY, build

FOLDER = REPOSITORY / "build" / "university"
PATIENCE_SECONDS = 120.0
SETTINGS = """\
course = "deep-learning-systems"
reference = "{reference}"

[hosts.localhost]
kind = "folder"
base = "git"

[service]
listen = "127.0.0.1:0"
retries = 0

[assignments.a0]
title = "Onboarding"
suite = "{reference}/hidden/a0"
preload = ["numpy", "torch"]
repositories = ["cs/a0-*"]
zone = "UTC"
closes = "{soon}"

[assignments.a2]
title = "needle"
suite = "{reference}/hidden/a2"
preload = ["numpy"]
repositories = ["cs/a2-*"]
zone = "UTC"
closes = "{past}"
"""


@dataclass
class Student:
    """Who pushes what, and what is known of the answer.

    Attributes:
        name, assignment: of the repository `cs/ASSIGNMENT-NAME`.
        sample: the sample that they push.
        about: in words.
        state: of the job, as it was shown last.
        pushed: when `git push` began, seconds of the monotonic clock.
        answered: when the answer was there.
    """

    name: str
    assignment: str
    sample: str
    about: str
    state: str = ""
    pushed: float = 0.0
    answered: float = 0.0

    @property
    def bare(self) -> Path:
        """The repository on the git host."""
        return FOLDER / "git" / "cs" / f"{self.assignment}-{self.name}.git"

    @property
    def checkout(self) -> Path:
        """The student's own clone."""
        return FOLDER / "students" / self.name


STUDENTS = [
    Student("ann", "a0", "reference-a0", "solved it"),
    Student("bo", "a0", "partial-matrices-only", "handles matrices only"),
    Student("cy", "a0", "hostile-patch-comparisons", "patches the functions that compare tensors"),
    Student("dora", "a2", "reference-a2", "solved it, an hour after the deadline"),
]


def main() -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.university", description="A scratch university.")
    parser.add_argument("--keep", action="store_true", help="leave the service running until Ctrl-C")
    keep = parser.parse_args().keep
    started = time.monotonic()
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # also when started in the background: the service must end too
        signal.signal(number, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        found()
        with service() as address:
            print(f"the service is ready after {time.monotonic() - started:.1f} s\n")
            for student in STUDENTS:
                push(student)
            done = watch()
            for student in STUDENTS:
                if student.answered:
                    show(student)
            print(f"\nstaff page: {address}   token: {FOLDER}/.autograder/staff-token")
            print(
                "Ctrl-C ends it"
                if keep
                else "it ends here; .venv/bin/python -m demo.university --keep leaves it running"
            )
            if keep:
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    print(f"{time.monotonic() - started:.1f} s in all")
    return 0 if done else 1


def found() -> None:
    """Make the configuration, a bare repository for each student, and its hook."""
    now = datetime.now(timezone.utc)
    FOLDER.mkdir(parents=True)
    (FOLDER / "autograder.toml").write_text(
        SETTINGS.format(
            reference=REPOSITORY,
            soon=f"{now + timedelta(days=14):%Y-%m-%d %H:%M}",
            past=f"{now - timedelta(hours=1):%Y-%m-%d %H:%M}",
        )
    )
    for student in STUDENTS:
        git("init", "--quiet", "--bare", str(student.bare))
        git("init", "--quiet", "-b", "main", str(student.checkout))
        git("remote", "add", "origin", str(student.bare), folder=student.checkout)
        build(ALL[student.sample], student.checkout)
    autograder("hook", "install", *(str(student.bare) for student in STUDENTS))


@contextlib.contextmanager
def service() -> Iterator[str]:
    """Run `autograder serve`; give the address of its page."""
    with (FOLDER / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "autograder", "serve", "--config", str(FOLDER / "autograder.toml")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is for us to handle
        )
    try:
        address = ""
        for line in process.stdout or ():
            print(line, end="")
            if line.split()[:1] == ["web"]:
                address = line.split()[1]
            if line.startswith("ready"):
                break
        else:
            raise SystemExit(f"the service did not start:\n{(FOLDER / 'log').read_text()}")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def push(student: Student) -> None:
    """Commit and push, as a student does."""
    git("add", "src", folder=student.checkout)
    git("commit", "--quiet", "-m", f"My {student.assignment}", folder=student.checkout, who=student.name)
    student.pushed = time.monotonic()
    git("push", "--quiet", "origin", "main", folder=student.checkout, who=student.name)
    took = time.monotonic() - student.pushed
    print(f"{student.name:5} git push {student.assignment:3} {took:5.2f} s   {student.about}")


def watch() -> bool:
    """Show how the jobs go until all are answered; return whether they were."""
    print()
    with Ledger.open(f"sqlite:///{FOLDER}/.autograder/ledger.sqlite") as ledger:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            jobs = {job.repository.name: job for job in ledger.jobs()}
            for student in STUDENTS:
                job = jobs.get(student.bare.stem)
                if not student.answered and git(
                    "rev-parse", "--quiet", "--verify", "score-feedback", folder=student.bare
                ):
                    student.answered = time.monotonic()
                    say(student, f"feedback {student.answered - student.pushed:5.2f} s after the push began")
                if job is not None and job.state.value != student.state:
                    student.state = job.state.value
                    say(student, f"{student.state}  {job.reason}")
            if all(student.answered and student.state == "final" for student in STUDENTS):
                return True
            if any(job.state.value == "dead" for job in jobs.values()):
                break
            time.sleep(0.02)
    print(
        f"no answer for everybody; try .venv/bin/autograder doctor. The log:\n{(FOLDER / 'log').read_text()[-3000:]}"
    )
    return False


def say(student: Student, text: str) -> None:
    """Print a line of the watch."""
    print(f"{student.name:5} {time.monotonic() - STUDENTS[0].pushed:6.2f} s  {text.rstrip()}", flush=True)


def show(student: Student) -> None:
    """Print score.md as the student finds it."""
    print(f"\n--- {student.name}: git show origin/score-feedback:score.md   ({student.about})\n")
    git("fetch", "--quiet", folder=student.checkout)
    print(git("show", "origin/score-feedback:score.md", folder=student.checkout))


def git(*arguments: str, folder: Path = FOLDER, who: str = "host") -> str:
    """Run git with nobody's settings; return what it prints, empty where it fails quietly."""
    person = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", who), ("EMAIL", f"{who}@uni.example"))
    }
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "USER": who}
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **settings, **person},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0 and "rev-parse" not in arguments:
        raise SystemExit(f"git {' '.join(arguments)} failed in {folder}")
    return done.stdout.strip()


def autograder(*arguments: str) -> None:
    """Run a command of ours."""
    command = [sys.executable, "-m", "autograder", *arguments, "--config", str(FOLDER / "autograder.toml")]
    subprocess.run(command, cwd=REPOSITORY, check=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
