"""Grading one or many checkouts for one or all assignments: what `autograder grade` does, without what it prints."""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autograder.config import Config
from autograder.errors import GraderError, SubmissionError
from autograder.git.process import closed_environment
from autograder.grading.grader import Graded, Grader
from autograder.report import Report, dumps, markdown, summary_csv
from autograder.submission import PACKAGE, is_ignored, read_tree

Progress = Callable[[str, Graded], None]  # called with the assignment and the result of a checkout


@dataclass
class Batch:
    """The results of a number of checkouts.

    Attributes:
        reports: checkout -> its reports, in the order of the assignments; every checkout is a key.
        faults: for each report that could not be made, one line for staff.
    """

    reports: dict[Path, list[Report]]
    faults: list[str] = field(default_factory=list)


def find_checkouts(path: Path) -> list[Path]:
    """Return [path] if it contains src/, otherwise the folders in it that do, sorted by name."""
    if (path / PACKAGE).is_dir():
        return [path]
    return sorted(folder for folder in path.iterdir() if (folder / PACKAGE).is_dir())


def grade_checkouts(
    config: Config,
    config_file: Path,
    assignments: Sequence[str],
    checkouts: Sequence[Path],
    *,
    sandbox: str,
    image: str = "",
    jobs: int,
    progress: Progress,
) -> Batch:
    """Grade every checkout for every assignment, `jobs` at a time.

    Raises:
        GraderError: a suite or the sandbox cannot start. Nothing is graded in that case.
    """
    batch = Batch({checkout: [] for checkout in checkouts})
    work = [(checkout, head_commit(checkout)) for checkout in checkouts]
    for assignment in assignments:
        with Grader(config, assignment, config_file=config_file, sandbox=sandbox, image=image) as grader:
            for graded in grader.grade_many(work, jobs=jobs):
                if graded.report is None:
                    batch.faults.append(f"{graded.path.name} {assignment}: {graded.fault}")
                else:
                    batch.reports[graded.path].append(graded.report)
                progress(assignment, graded)
    return batch


def prepare(folder: Path) -> None:
    """Make the folder for the results, before any work that would be lost without it.

    Raises:
        GraderError: no file can be written there.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GraderError(
            f"cannot write to {folder}: {error.strerror}; free disk space, change the permissions, or choose "
            "another folder"
        ) from error


def write_single(reports: Sequence[Report], folder: Path) -> None:
    """Write score.md and score.json of one checkout into `folder`.

    Raises:
        GraderError: they cannot be written there.
    """
    several = {"schema": 1, "reports": [report.to_json() for report in reports]}
    data = reports[0].to_json() if len(reports) == 1 else several
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "score.md", markdown(reports))
        _replace(folder / "score.json", dumps(data))


def _replace(path: Path, text: str) -> None:
    """Replace `path` by a new file: the folder is a student's, so `path` may be a symbolic link of theirs."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def write_many(reports: Mapping[Path, Sequence[Report]], folder: Path) -> None:
    """Write a folder for each checkout, and grades.csv with all of them.

    Raises:
        GraderError: they cannot be written there.
    """
    for checkout, own in reports.items():
        if own:
            write_single(own, folder / checkout.name)
    rows = [(checkout.name, report) for checkout, own in reports.items() for report in own]
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "grades.csv").write_text(summary_csv(rows), encoding="utf-8")


def head_commit(checkout: Path) -> str | None:
    """Return the commit of a git checkout if its src/ is what was committed, otherwise None.

    The repository is a student's, and its configuration may name programs for git to run (filters, monitors,
    transports). So git only looks up the commit and lists its tree, and the files are compared here.
    """
    head = _git(checkout, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    listing = _git(checkout, "ls-tree", "-r", "-z", "--full-tree", "HEAD", "--", f"{PACKAGE}/")
    if head is None or listing is None:
        return None
    committed = {}
    for entry in listing.rstrip("\0").split("\0"):
        facts, _, path = entry.partition("\t")
        if not is_ignored(path):
            committed[path] = facts.rpartition(" ")[2]
    try:
        files = read_tree(checkout)
    except (SubmissionError, GraderError):
        return None
    commit = head.strip()
    found = {path: _blob_id(content, len(commit)) for path, content in files.items()}
    return commit if found == committed else None


def _git(checkout: Path, *arguments: str) -> str | None:
    """Return what a git command that only reads the object store prints, or None if it fails."""
    try:
        result = subprocess.run(
            ["git", "-C", str(checkout), *arguments],
            env=closed_environment(),
            capture_output=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.decode("utf-8", "surrogateescape")


def _blob_id(content: bytes, digits: int) -> str:
    """Return git's id of a file's content, in a repository whose ids have `digits` hexadecimal digits."""
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha256(blob).hexdigest() if digits == 64 else hashlib.sha1(blob).hexdigest()  # noqa: S324 (git's)
