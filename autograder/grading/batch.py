"""Grades one or many checkouts for one or all assignments.

The command `autograder grade` calls this module, and prints the results itself.
"""

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
    """The results of one or more checkouts.

    Attributes:
        reports: the reports of each checkout, in the order of the assignments; every checkout is a key.
        faults: one line for staff about each report that could not be made.
        warnings: one line for staff about each draw of a case that the reference failed.
    """

    reports: dict[Path, list[Report]]
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_checkouts(path: Path) -> list[Path]:
    """Return [path] if `path` contains src/, otherwise its direct subfolders that contain src/, sorted by name."""
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
                name = f"{graded.path.name} {assignment}"
                if graded.fault is not None:
                    batch.faults.append(f"{name}: {graded.fault.for_staff()}")
                if graded.report is not None:
                    batch.reports[graded.path].append(graded.report)
                    batch.warnings += [
                        f"{name} {fault.case}, draw {fault.draw}: {fault.reason}"
                        for fault in graded.report.suite_faults
                    ]
                progress(assignment, graded)
    return batch


def prepare(folder: Path) -> None:
    """Make the folder for the results before grading starts, so that no result is lost.

    Raises:
        GraderError: no file can be written to the folder.
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
        GraderError: the files cannot be written.
    """
    several = {"schema": 1, "reports": [report.to_json() for report in reports]}
    data = reports[0].to_json() if len(reports) == 1 else several
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "score.md", markdown(reports))
        _replace(folder / "score.json", dumps(data))


def _replace(path: Path, text: str) -> None:
    """Replace `path` by a new file. The folder may be a student's, and `path` a symbolic link that the student made."""
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
    """Write a folder for each checkout, and grades.csv with the scores of all checkouts.

    Raises:
        GraderError: the files cannot be written.
    """
    for checkout, own in reports.items():
        if own:
            write_single(own, folder / checkout.name)
    rows = [(checkout.name, report) for checkout, own in reports.items() for report in own]
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "grades.csv").write_text(summary_csv(rows), encoding="utf-8")


def head_commit(checkout: Path) -> str | None:
    """Return the commit of a git checkout if its src/ is the same as in the commit, otherwise None.

    The repository is a student's, and its configuration may name programs that git would run (filters, monitors,
    transports). So git only looks up the commit and lists its tree; this function compares the files itself.
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
    """Return the output of a git command, or None if it fails. The command must only read the object store."""
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
