"""Grades one or many checkouts for one or all assignments.

The command `autograder grade` calls this module, and prints the results itself.
"""

import contextlib
import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autograder.config import Config
from autograder.errors import GraderError, SubmissionError
from autograder.files import replace_file
from autograder.git.process import closed_environment
from autograder.grading.grader import Graded, Grader
from autograder.report import PLAIN, Form, Report, Row, combined, dumps, markdown, summary_csv
from autograder.submission import ARCHIVES, PACKAGE, is_ignored, read_tree

Progress = Callable[[str, Graded], None]  # called with the assignment and the result of a checkout

GRADES = "grades.csv"
NOT_SUBMISSIONS = frozenset({"__MACOSX", "__pycache__"})  # folders that tools leave beside submissions


@dataclass(frozen=True)
class Found:
    """What lies in a folder of submissions.

    Attributes:
        checkouts: the folders, sorted by name; each of them is graded, even without src/.
        packed: the archives without a folder of the same name, so nobody unpacked them.
        others: all other files.
        single: whether the folder itself is the only checkout.
    """

    checkouts: tuple[Path, ...]
    packed: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    single: bool = False


@dataclass
class Batch:
    """The results of one or more checkouts.

    Attributes:
        reports: the reports of each checkout, in the order of the assignments; every checkout is a key.
        missing: why there is no report, by checkout and assignment.
        faults: one line for staff about each report that could not be made.
        warnings: one line for staff about each draw of a case that the reference failed.
        interrupted: whether Ctrl-C ended the grading.
    """

    reports: dict[Path, list[Report]]
    missing: dict[tuple[Path, str], str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False


def find_checkouts(path: Path, *, out: Path | None = None) -> Found:
    """Return `path` if it contains src/, otherwise all its folders, if one of them contains src/.

    Args:
        path: a checkout, or a folder of checkouts.
        out: the folder for the results, which is no checkout.
    """
    if (path / PACKAGE).is_dir():
        return Found((path,), single=True)
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    if out is not None:
        entries = [entry for entry in entries if entry.resolve() != out.resolve()]
    folders = tuple(entry for entry in entries if entry.is_dir() and entry.name not in NOT_SUBMISSIONS)
    if not any((folder / PACKAGE).is_dir() for folder in folders):
        return Found(())
    files = [entry for entry in entries if not entry.is_dir()]
    unpacked = {folder.name for folder in folders}
    packed = tuple(file for file in files if (name := _of_archive(file)) and name not in unpacked)
    return Found(folders, packed, tuple(file for file in files if file not in packed))


def _of_archive(file: Path) -> str:
    """Return the name of an archive without its suffix, an empty text for any other file."""
    suffixes = [suffix for suffix in ARCHIVES if file.name.casefold().endswith(suffix)]
    return file.name[: -max(map(len, suffixes))] if suffixes else ""


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
    keep: Callable[[Path, Sequence[Report]], None] = lambda _checkout, _reports: None,
) -> Batch:
    """Grade every checkout for every assignment, `jobs` at a time.

    Every checkout and assignment gets a report or an entry in `missing`. If a suite cannot start, its assignment gets
    no reports, and the other assignments are graded.

    Args:
        config, config_file: of the course.
        assignments, checkouts: what is graded.
        sandbox, image: where it is graded.
        jobs: how many submissions are graded at a time.
        progress: is called after each submission.
        keep: is called with a checkout and its reports after each of its reports, so that Ctrl-C loses none.
    """
    batch = Batch({checkout: [] for checkout in checkouts})
    work = [(checkout, head_commit(checkout)) for checkout in checkouts]
    try:
        for assignment in assignments:
            with Grader(config, assignment, config_file=config_file, sandbox=sandbox, image=image) as grader:
                _grade_one(batch, grader, work, jobs, progress, keep)
    except KeyboardInterrupt:
        batch.interrupted = True
    for assignment in assignments:
        for checkout, reports in batch.reports.items():
            if not any(report.assignment == assignment for report in reports):
                batch.missing.setdefault((checkout, assignment), "not graded: interrupted")
    return batch


def _grade_one(
    batch: Batch,
    grader: Grader,
    work: Sequence[tuple[Path, str | None]],
    jobs: int,
    progress: Progress,
    keep: Callable[[Path, Sequence[Report]], None],
) -> None:
    """Grade every checkout for one assignment."""
    assignment = grader.assignment
    waiting = {path for path, _ in work}
    try:
        for graded in grader.grade_many(work, jobs=jobs):
            waiting.discard(graded.path)
            name = f"{graded.path.name} {assignment}"
            if graded.fault is not None:
                batch.faults.append(f"{name}: {graded.fault.for_staff()}")
                batch.missing[graded.path, assignment] = f"not graded: {graded.fault}"
            if graded.report is not None:
                batch.reports[graded.path].append(graded.report)
                batch.warnings += [
                    f"{name} {fault.case}, draw {fault.draw}: {fault.reason}"
                    for fault in graded.report.suite_faults
                ]
                keep(graded.path, batch.reports[graded.path])
            progress(assignment, graded)
    except GraderError as error:  # the suite server could not start, or has ended
        batch.faults.append(f"{assignment}: {error.for_staff()}")
        batch.missing |= {(path, assignment): f"not graded: {error}" for path in waiting}


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


def write_single(reports: Sequence[Report], folder: Path, form: Form = PLAIN) -> None:
    """Write score.md and score.json of one checkout into `folder`; `form` says how score.md is written.

    Raises:
        GraderError: the files cannot be written.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "score.md", markdown(reports, form=form))
        _replace(folder / "score.json", dumps(combined(reports)))


def _replace(path: Path, text: str) -> None:
    """Replace `path` by a new file. The folder may be a student's, and `path` a symbolic link that the student made."""
    replace_file(path, text.encode(), 0o644)


def write_grades(batch: Batch, packed: Iterable[Path], assignments: Sequence[str], folder: Path) -> None:
    """Write grades.csv into `folder`: a row for each checkout and archive, and each assignment.

    The file begins with a byte order mark: without it, spreadsheet programs in China read a file as GB18030.

    Raises:
        GraderError: the file cannot be written.
    """
    rows = []
    for checkout, reports in batch.reports.items():
        found = {report.assignment: report for report in reports}
        for assignment in assignments:
            report = found.get(assignment)
            reason = batch.missing.get((checkout, assignment), "") if report is None else _refusal(report)
            rows.append(Row(checkout.name, assignment, report, reason))
    why = "not graded: this is an archive, not a folder; unpack it"
    rows += [Row(file.name, assignment, None, why) for file in packed for assignment in assignments]
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / GRADES, "\ufeff" + summary_csv(sorted(rows, key=lambda row: row.submission)))


def _refusal(report: Report) -> str:
    """Return why a submission was refused as a whole; an empty text if it was graded."""
    refused = report.cases and "tree_digest" in report.provenance and report.provenance["tree_digest"] is None
    return report.cases[0].message if refused else ""


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
            env=closed_environment({"safe.directory": "*"}),  # often staff do not own what students handed in
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
