"""A university in a folder: four students push with plain git, and a service publishes their scores.

    python -m demo.university            runs once, then removes everything
    python -m demo.university --keep     leaves the service running until Ctrl-C, for a look at the staff page

Everything is real: a roster; `autograder handout`, which makes a bare repository with its hook for each student and
pushes the proven starter to it; `autograder serve` as it runs for a course, with SQLite, the sandbox and the hidden
suites; and `autograder grades` at the end. The times are measured from the start of `git push` to the feedback commit.
The first time includes the import of torch, which the service does once.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from autograder.ledger import Job, JobState, Ledger
from tests.support import ROOT
from tests.support.samples import ALL, build

BUILD = ROOT / "build"
PATIENCE_SECONDS = 120.0
SETTINGS = """\
[course]
name = "deep-learning-systems"
roster = "roster.csv"

[hosts.localhost]
kind = "folder"
base = "git"

[service]
listen = "127.0.0.1:0"
retries = 0

"""
COURSE_FOLDERS = ("src", "hidden", "starter", "docs")
GRADED = """\
repositories = ["cs/{name}-*"]
zone = "UTC"
closes = "{closes}"
"""
ROSTER = """id,name,login,section
2026001,Ann Chen,ann,1
2026002,Bo Li,bo,1
2026003,Cy Park,cy,2
2026004,Dora Weber,dora,2
"""


@dataclass
class Student:
    """A student, the work that is pushed, and what is known of its feedback.

    Attributes:
        folder: the folder of the university.
        name, assignment: the parts of the repository's name, `cs/ASSIGNMENT-NAME`.
        sample: the name of the sample submission that the student pushes.
        about: the sample in words, for people.
        state: the state of the job when it was last shown.
        pushed: when `git push` started, in seconds of the monotonic clock.
        published: when the feedback was seen, by the same clock; 0 before.
    """

    folder: Path
    name: str
    assignment: str
    sample: str
    about: str
    state: str = ""
    pushed: float = 0.0
    published: float = 0.0

    @property
    def bare(self) -> Path:
        """The repository on the git host."""
        return self.folder / "git" / "cs" / f"{self.assignment}-{self.name}.git"

    @property
    def checkout(self) -> Path:
        """The student's own clone."""
        return self.folder / "students" / self.name


def main() -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.university",
        description="Four students push to a grading service on this machine.",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the service running until Ctrl-C, for a look at the staff page",
    )
    keep = parser.parse_args().keep
    # A shell starts background processes so that they ignore Ctrl-C. These signals must end the service there too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    started = time.monotonic()
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="university-", dir=BUILD))
    students = [
        Student(folder, "ann", "a0", "reference-a0", "solved the task"),
        Student(folder, "bo", "a0", "partial-matrices-only", "solved it for matrices only"),
        Student(
            folder, "cy", "a0", "hostile-patch-comparisons", "cheats: patches functions that compare tensors"
        ),
        Student(folder, "dora", "a2", "reference-a2", "solved the task, but pushes after the deadline"),
    ]
    try:
        print(f"Four students get repositories with a starter, in\n{folder}", flush=True)
        make(folder, students)
        print("\nThe service starts: autograder serve\n", flush=True)
        with service(folder) as address:
            print("\nThe students push:\n")
            for student in students:
                push(student)
            print("\nThe service grades. Seconds since the first push:\n")
            complete = watch(folder, students)
            print("\nWhat each student finds: git fetch; git show origin/score-feedback:score.md")
            for student in students:
                if student.published:
                    show(student)
            print("\nWhat staff find:")
            autograder(folder, "grades")
            if keep:
                print(
                    f"\nStaff page: {address}   Token: {folder}/.autograder/staff-token   Ctrl-C ends the service."
                )
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"\nDone in {time.monotonic() - started:.1f} s. Everything that the demonstration made is removed again."
    )
    if not keep:
        print("To look at the staff page, run .venv/bin/python -m demo.university --keep")
    return 0 if complete else 1


def make(folder: Path, students: Sequence[Student]) -> None:
    """Make a course from a copy of this one, hand out a repository to each student, and let each clone it."""
    now = datetime.now(timezone.utc)
    closes = {"a0": now + timedelta(days=14), "a2": now - timedelta(hours=1)}
    for name in COURSE_FOLDERS:
        ignored = shutil.ignore_patterns("_build", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, folder)
    (folder / "autograder.toml").write_text(configured((ROOT / "autograder.toml").read_text(), closes))
    (folder / "roster.csv").write_text(ROSTER)
    (folder / "git").mkdir()
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "The course"]):
        git(*arguments, folder=folder)
    autograder(folder, "roster", "show")
    for assignment in closes:
        names = [student.name for student in students if student.assignment == assignment]
        autograder(folder, "handout", assignment, *names)
    for student in students:
        git("clone", "--quiet", str(student.bare), str(student.checkout), folder=folder)
        build(ALL[student.sample], student.checkout)


def configured(course: str, closes: Mapping[str, datetime]) -> str:
    """Return the configuration of this repository's course, with repositories and deadlines.

    Args:
        course: the text of autograder.toml.
        closes: the deadlines of the assignments that are graded.
    """
    text = re.sub(r"^course = .*\n", "", course, flags=re.MULTILINE)
    for name, moment in closes.items():
        graded = GRADED.format(name=name, closes=f"{moment:%Y-%m-%d %H:%M}")
        text = text.replace(f"[assignments.{name}]\n", f"[assignments.{name}]\n{graded}")
    first_table = text.index("[ledger]")
    return text[:first_table] + SETTINGS + text[first_table:]


def autograder(folder: Path, *arguments: str) -> None:
    """Print a command, and run it."""
    print(f"\n$ autograder {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "autograder", *arguments, "--config", "autograder.toml"]
    subprocess.run(command, cwd=folder, check=True)


@contextlib.contextmanager
def service(folder: Path) -> Iterator[str]:
    """Run `autograder serve`; yield the address of its staff page."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "autograder", "serve", "--config", str(folder / "autograder.toml")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C reaches only the demonstration, which ends the service
        )
    try:
        address = ""
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.split()[:1] == ["web"]:
                address = line.split()[1]
            if line.startswith("ready"):
                break
        else:
            raise SystemExit(f"the service did not start; its log:\n{(folder / 'log').read_text()}")
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
    print(
        f"  {student.name:5} {student.assignment}  git push took {took:.2f} s   {student.about}", flush=True
    )


def watch(folder: Path, students: Sequence[Student]) -> bool:
    """Show the states of the jobs until everybody has feedback. Return whether everybody got feedback."""
    with Ledger.open(f"sqlite:///{folder}/.autograder/ledger.sqlite") as ledger:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            jobs = {job.repository.name: job for job in ledger.jobs()}
            for student in students:
                look(student, jobs.get(student.bare.stem), time.monotonic() - students[0].pushed)
            if all(student.published and student.state == JobState.FINAL.value for student in students):
                return True
            if any(job.state is JobState.DEAD for job in jobs.values()):
                break
            time.sleep(0.02)
    print("\nNot everybody got feedback; .venv/bin/autograder doctor may say why. The end of the log:\n")
    print((folder / "log").read_text()[-3000:])
    return False


def look(student: Student, job: Job | None, seconds: float) -> None:
    """Print what has changed for one student."""
    if not student.published and git(
        "rev-parse", "--quiet", "--verify", "score-feedback", folder=student.bare
    ):
        student.published = time.monotonic()
        waited = student.published - student.pushed
        print(
            f"  {seconds:6.2f}  {student.name:5} feedback is there, {waited:.2f} s after the push", flush=True
        )
    if job is not None and job.state.value != student.state:
        student.state = job.state.value
        reason = f": {job.reason}" if job.reason else ""
        print(f"  {seconds:6.2f}  {student.name:5} {student.state}{reason}", flush=True)


def show(student: Student) -> None:
    """Print score.md as the student finds it."""
    print(f"\n--- {student.name} ({student.about})\n")
    git("fetch", "--quiet", folder=student.checkout)
    print(git("show", "origin/score-feedback:score.md", folder=student.checkout), flush=True)


def git(*arguments: str, folder: Path, who: str = "host") -> str:
    """Run git without the settings of this user; return its output, which is empty if `rev-parse` fails."""
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


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
