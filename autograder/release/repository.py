"""Makes a starter a git repository with one commit that is always the same, and updates one that was handed out.

Author and date of a commit are fixed (`AUTHOR`, `DATE`), so the same files make the same commit, on any machine and any
day. An update gets the date of its parent commit if that is later.

A repository that was handed out belongs to a student from then on. Git only reads and writes objects there; it never
checks files out. Nothing in the repository's configuration can run a program. Links are not followed.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import GraderError
from autograder.git.process import closed_environment, one_line
from autograder.release.starter import Starter, mode

BRANCH = "refs/heads/main"
AUTHOR = ("autograder", "autograder@localhost")
DATE = 1767225600  # 2026-01-01 00:00:00 UTC
ABSENT = "0" * 40


@dataclass(frozen=True)
class Update:
    """The result of an update.

    Attributes:
        commit: the new commit, None if there was nothing to do.
        replaced: our files that are new, changed or removed.
        kept: files that were not replaced or added, because the student has changed them.
    """

    commit: str | None
    replaced: tuple[str, ...]
    kept: tuple[str, ...]


def create(folder: Path, starter: Starter) -> str:
    """Turn the empty `folder` into a repository with one commit; return the commit's id.

    Raises:
        GraderError: git is missing or fails.
    """
    for path, content in starter.files.items():
        _write(folder, path, content, mode(path))
    git = _Git(folder)
    git("init", "--quiet", "--template=", "--initial-branch=main", "--object-format=sha1")
    entries = {path: (mode(path), git.blob(content)) for path, content in starter.files.items()}
    git.stage(entries)
    commit = git.commit(git("write-tree"), None, _message(starter, "Starter"), DATE)
    git("update-ref", "--no-deref", BRANCH, commit, ABSENT)
    git("update-index", "--refresh", "--really-refresh", "-q")
    return commit


def pack(folder: Path, commit: str) -> bytes:
    """Return a commit of a repository with all that it needs, as a pack.

    Raises:
        GraderError: git fails.
    """
    return _Git(folder).run("pack-objects", "--revs", "--stdout", "-q", stdin=f"{commit}\n".encode())


def contents(folder: Path) -> Mapping[str, bytes]:
    """Return name -> content of every object of a repository, reachable or not, and of all other files in `.git`.

    Raises:
        GraderError: git fails.
    """
    git = _Git(folder)
    found: dict[str, bytes] = {}
    for line in git(
        "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"
    ).splitlines():
        identity, _, kind = line.partition(" ")
        if kind == "tree":
            found[f"{kind} {identity}"] = git.run("ls-tree", "-z", identity).replace(b"\0", b"\n")
        else:
            found[f"{kind} {identity}"] = git.run("cat-file", kind, identity)
    for path in sorted((folder / ".git").rglob("*")):
        if path.is_file() and "objects" not in path.relative_to(folder / ".git").parts:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def update(folder: Path, starter: Starter) -> Update:
    """Bring a repository that was handed out up to date with `starter`, by one commit on its branch main if needed.

    Our files are replaced. A file that students work in (`Starter.theirs`) is replaced only if it is still as one of
    our commits made it. A file that we handed out and no longer release is removed if it is still as we made it.

    Args:
        folder: a bare repository or a clone. In a clone with main checked out, the files are updated as well.
        starter: the new starter.

    Raises:
        GraderError: there is no branch main, or files that would be replaced have changes that are not committed.
    """
    if not folder.is_dir() or not _Git(folder).succeeds("rev-parse", "--git-dir"):
        raise GraderError(f"{folder} is not a git repository; give a clone or a bare repository")
    with tempfile.TemporaryDirectory(prefix="autograder-release-") as objects:
        return _update(_Git(folder, Path(objects)), folder, starter)


def _update(git: "_Git", folder: Path, starter: Starter) -> Update:
    if not git.succeeds("rev-parse", "--verify", "--quiet", f"{BRANCH}^{{commit}}"):
        raise GraderError(f"{folder} has no branch main, so it was not handed out; give another repository")
    tip = git("rev-parse", f"{BRANCH}^{{commit}}")
    current = git.tree(tip)
    _refuse_another(git, folder, tip, starter.assignment)
    handed_out = _handed_out(git, tip, starter.assignment)
    wanted = {path: (mode(path), git.blob(content)) for path, content in starter.files.items()}
    changes: dict[str, tuple[str, str] | None] = {}
    kept = []
    for path, entry in wanted.items():
        if current.get(path) == entry:
            continue
        if path in starter.theirs and not _untouched(current.get(path), handed_out.get(path)):
            kept.append(path)
        else:
            changes[path] = entry
    for path, entries in handed_out.items():
        if path not in wanted and current.get(path) in entries:
            changes[path] = None
    if not changes:
        return Update(None, (), tuple(kept))
    in_folder = git("rev-parse", "--is-bare-repository") == "false" and git.head() == BRANCH
    if in_folder:
        _refuse_uncommitted(git, folder, current, changes)
    with tempfile.TemporaryDirectory(prefix="autograder-release-") as name:
        index = {"GIT_INDEX_FILE": str(Path(name) / "index")}
        git("read-tree", tip, variables=index)
        git.stage(changes, variables=index)
        tree = git("write-tree", variables=index)
    date = max(DATE, int(git("log", "-1", "--format=%ct", tip)))
    commit = git.commit(tree, tip, _message(starter, "Update of the starter"), date)
    git.store(commit, tip)
    git("update-ref", "--no-deref", BRANCH, commit, tip)
    if in_folder:
        for path, change in changes.items():
            if change is None:
                (folder / path).unlink(missing_ok=True)
            else:
                _write(folder, path, starter.files[path], change[0])
        with tempfile.TemporaryDirectory(prefix="autograder-release-") as empty:
            # While git writes an index, it may compare the files of the work tree, and then a filter would run. So
            # the work tree is an empty folder.
            variables = {"GIT_DIR": git("rev-parse", "--absolute-git-dir"), "GIT_WORK_TREE": empty}
            _Git(Path(empty)).stage(changes, variables=variables)
    return Update(commit, tuple(sorted(changes)), tuple(kept))


def _refuse_another(git: "_Git", folder: Path, tip: str, assignment: str) -> None:
    """Refuse a repository that was handed out for another assignment: the student's work would be replaced."""
    author = f"--author=^{AUTHOR[0]} <{AUTHOR[1]}>"
    last = git(
        "log", "-1", "--format=%(trailers:key=Starter,valueonly)", author, "--grep=^Starter: ", tip
    ).strip()
    if last and last != assignment:
        raise GraderError(f"{folder} was handed out for {last}, not for {assignment}; nothing was changed")


def _handed_out(git: "_Git", tip: str, assignment: str) -> dict[str, set[tuple[str, str]]]:
    """Return path -> the mode and blob of every file that our commits in the history of `tip` put there.

    Only the files that such a commit changed count, since its other files are the student's. If a git host started a
    new history from a template, our commits are not in it. Then no file is known to be as it was handed out.
    """
    author = f"--author=^{AUTHOR[0]} <{AUTHOR[1]}>"
    commits = git("log", "--format=%H", author, f"--grep=^Starter: {assignment}$", tip).split()
    found: dict[str, set[tuple[str, str]]] = {}
    for commit in commits:
        changed = git("diff-tree", "-r", "-z", "--root", "--no-renames", "--no-commit-id", commit).split("\0")
        for facts, path in zip(changed[0::2], changed[1::2], strict=False):
            _, new_mode, _, new_blob, _ = facts.removeprefix(":").split()
            found.setdefault(path, set()).add((new_mode, new_blob))
    return found


def _untouched(entry: tuple[str, str] | None, handed_out: set[tuple[str, str]] | None) -> bool:
    """Whether a file is as it was handed out. If it was never handed out, this means that it does not exist."""
    return entry in handed_out if handed_out else entry is None


def _message(starter: Starter, what: str) -> str:
    return f"{what}: {starter.title}\n\nStarter: {starter.assignment}\n"


def _refuse_uncommitted(
    git: "_Git", folder: Path, current: Mapping[str, tuple[str, str]], changes: Mapping[str, object]
) -> None:
    staged = git.staged()
    for path in changes:
        _inner(folder, path)
        file, entry = folder / path, current.get(path)
        there = git.blob(file.read_bytes()) if file.is_file() and not file.is_symlink() else None
        if file.is_dir() or there != (entry and entry[1]) or staged.get(path) != entry:
            raise GraderError(f"{folder}: {path} has changes that are not committed; commit or remove them")


def _inner(folder: Path, path: str) -> Path:
    """Return the path of a file in `folder`.

    Raises:
        GraderError: a folder above the file is a symbolic link, which may lead out of `folder`.
    """
    parent = folder
    for part in path.split("/")[:-1]:
        parent = parent / part
        if parent.is_symlink():
            raise GraderError(f"{parent} is a symbolic link; remove it, then update again")
    return folder / path


def _write(folder: Path, path: str, content: bytes, git_mode: str) -> None:
    file = _inner(folder, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(0o755 if git_mode == "100755" else 0o644)


class _Git:
    """Runs git in one folder, with our environment and settings alone.

    Args:
        folder: a repository.
        objects: an empty folder for new objects; None: they are written into the repository. If the command runs under
            another account than the one to which a bare repository belongs, a loose object may need a folder to which
            that account cannot write, and a later push of the student would fail.
    """

    def __init__(self, folder: Path, objects: Path | None = None) -> None:
        self._folder = folder
        settings = {"safe.directory": "*", "core.logAllRefUpdates": "false", "core.autocrlf": "false"}
        self._environment = closed_environment(settings, ceiling=folder.resolve().parent)
        if objects is not None:
            own = self("rev-parse", "--path-format=absolute", "--git-path", "objects")
            self._environment = self._environment | {
                "GIT_OBJECT_DIRECTORY": str(objects),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{own}"',  # quoted, because a path may hold a colon
            }

    def __call__(self, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        return self.run(*arguments, variables=variables).decode("utf-8", "surrogateescape").rstrip("\n")

    def run(self, *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None) -> bytes:
        done = self._start(arguments, stdin, variables)
        if done.returncode:
            reason = one_line(done.stderr.decode("utf-8", "replace"))
            raise GraderError(f"{self._folder}: git {arguments[0]} failed: {reason}")
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        return self._start(arguments, b"", None).returncode == 0

    def _start(
        self, arguments: tuple[str, ...], stdin: bytes, variables: Mapping[str, str] | None
    ) -> "subprocess.CompletedProcess[bytes]":
        if shutil.which("git") is None:
            raise GraderError("git is not installed; run: apt-get install git")
        environment = self._environment | dict(variables or {})
        return subprocess.run(
            ["git", *arguments],
            cwd=self._folder,
            input=stdin,
            env=environment,
            capture_output=True,
            check=False,
        )

    def store(self, commit: str, parent: str) -> None:
        """Put the objects of `commit` that its parent lacks into the repository, as one pack."""
        pack = self.run("pack-objects", "--revs", "--stdout", "-q", stdin=f"{commit}\n^{parent}\n".encode())
        _Git(self._folder).run("index-pack", "--stdin", stdin=pack)

    def blob(self, content: bytes) -> str:
        return self.run("hash-object", "-w", "--stdin", "--no-filters", stdin=content).decode().strip()

    def stage(
        self, entries: Mapping[str, tuple[str, str] | None], *, variables: Mapping[str, str] | None = None
    ) -> None:
        lines = [
            f"{entry[0]} {entry[1]}\t{path}\0" if entry else f"0 {ABSENT}\t{path}\0"
            for path, entry in entries.items()
        ]
        self.run(
            *("update-index", "--add", "--replace", "-z", "--index-info"),
            stdin="".join(lines).encode(),
            variables=variables,
        )

    def staged(self) -> dict[str, tuple[str, str]]:
        entries = {}
        for line in self("ls-files", "--stage", "-z").split("\0"):
            facts, _, path = line.partition("\t")
            if path:
                entries[path] = (facts.split()[0], facts.split()[1])
        return entries

    def tree(self, commit: str) -> dict[str, tuple[str, str]]:
        entries = {}
        for line in self("ls-tree", "-r", "-z", "--full-tree", commit).split("\0"):
            facts, _, path = line.partition("\t")
            if path:
                entries[path] = (facts.split()[0], facts.split()[2])
        return entries

    def head(self) -> str:
        return self("symbolic-ref", "HEAD") if self.succeeds("symbolic-ref", "--quiet", "HEAD") else ""

    def commit(self, tree: str, parent: str | None, message: str, date: int) -> str:
        variables = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", AUTHOR[0]), ("EMAIL", AUTHOR[1]), ("DATE", f"@{date} +0000"))
        }
        below = ("-p", parent) if parent else ()
        return (
            self.run("commit-tree", *below, tree, stdin=message.encode(), variables=variables)
            .decode()
            .strip()
        )
