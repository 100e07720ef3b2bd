"""Reading a submission: the regular files under `src/`, within limits, as plain bytes.

`collect` applies all rules about the files of a submission. The submission may be a folder on disk (`read_tree`) or a
git commit (`autograder.git.fetch`). Nothing is run or imported, and no link is followed. On disk, every step opens one
name relative to its parent with O_NOFOLLOW. So a symbolic link, a device, or a name that is swapped while we read
cannot lead elsewhere. The sandbox gets the paths and contents that are read here, never a path on disk.
"""

import fnmatch
import hashlib
import itertools
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from autograder.errors import GraderError, SubmissionError
from autograder.language import Text, tell

# The package that students write. Code inside the wall cannot import this: it has a copy in sandbox/inside/reply.py.
PACKAGE = "src"
IGNORED = frozenset({"__pycache__", ".DS_Store", "_build"})  # made by tools, never part of the student's work
MAX_NAME_BYTES = 255
MAX_NAMES = 20_000  # in one folder, including the ignored ones
MAX_HINTS = 200  # names at the top that are looked at if src/ is missing
MAX_HINT_LENGTH = 80  # characters of a name that a message repeats
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class TreeLimits:
    """How large one submission may be. Public homework of this kind needs a hundredth of these limits."""

    files: int = 500
    folders: int = 500
    depth: int = 12
    file_bytes: int = 4 << 20
    total_bytes: int = 16 << 20


@dataclass(frozen=True)
class Submission:
    """The files of one submission.

    Attributes:
        name: the name of the folder or the repository, for people.
        commit: the full commit id if it is known, otherwise None.
        files: path under the repository's root with `/` between parts (`src/linear.py`) -> content.
    """

    name: str
    commit: str | None
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """The sha256 of all paths and contents, in hexadecimal."""
        return digest(self.files)


def digest(files: Mapping[str, bytes]) -> str:
    """Return the sha256 of a mapping of paths to contents, in hexadecimal."""
    total = hashlib.sha256()
    for path in sorted(files):
        for part in (path.encode(), files[path]):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()


class Kind(Enum):
    """What a name in a folder stands for."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "symbolic link"
    SUBMODULE = "submodule"
    OTHER = "other"


class Folder(Protocol):
    """One folder, wherever it is stored. A name that is not UTF-8 contains surrogates (`surrogateescape`)."""

    def names(self, limit: int) -> Sequence[str]:
        """Return the names in the folder, in any order. Of more than `limit` names, return any `limit` + 1."""

    def kind(self, name: str) -> Kind | None:
        """Return what `name` stands for, or None if the name has disappeared since it was listed."""

    def folder(self, name: str) -> AbstractContextManager["Folder"]:
        """Open a folder in this one."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file, or None if it has more than `limit` bytes."""


def read_tree(root: Path, limits: TreeLimits | None = None) -> dict[str, bytes]:
    """Return the regular files under `root`/src.

    Raises:
        SubmissionError: there is no folder src, or it contains something that is not allowed: a symbolic link, a
            device, a name that not every system can store, too many files, or a file that is too large. The message
            names the cause.
        GraderError: `root` itself cannot be read.
    """
    try:
        with _opened(str(root), None) as descriptor:
            return collect(_DiskFolder(descriptor), limits)
    except OSError as error:
        raise GraderError(f"cannot read {root}: {error}; check the path and its permissions") from error


def collect(root: Folder, limits: TreeLimits | None = None) -> dict[str, bytes]:
    """Return the regular files of the folder src in `root`: path with `/` between parts -> content.

    Raises:
        SubmissionError: see `read_tree`.
    """
    found = _Found(limits or TreeLimits())
    kind = root.kind(PACKAGE)
    if kind is not Kind.FOLDER:
        raise SubmissionError(_instead(root, kind))
    with root.folder(PACKAGE) as folder:
        _walk(folder, PACKAGE, 1, found)
    _refuse_colliding_names(found.files)
    return found.files


def refuse_data(files: Mapping[str, bytes], allowed: Sequence[str] = ()) -> None:
    """Refuse files that are not text in UTF-8, whatever their names are. Compiled code is never text.

    Args:
        files: the files that a student wrote, by path.
        allowed: glob patterns of the files that may be data, from the configuration of the assignment.

    Raises:
        SubmissionError: a file is not text.
    """
    for path, content in sorted(files.items()):
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in allowed):
            continue
        if b"\0" in content:
            why = tell("it has null bytes")
        else:
            try:
                content.decode()
                continue
            except UnicodeDecodeError as error:
                line = content.count(b"\n", 0, error.start) + 1
                why = tell("line {line}", line=line)
        raise SubmissionError(
            tell(
                "{path} is not a text file in UTF-8 ({why}); src/ contains only source code: "
                "save the file as UTF-8, or move it out of src/",
                path=path,
                why=why,
            )
        )


def _instead(root: Folder, kind: Kind | None) -> Text:
    """Return that there is no folder src/, and what stands where it should be."""
    if kind is Kind.FILE:
        return tell("there is no folder src/ in the repository: src is a file")
    if kind is Kind.LINK:
        return tell("there is no folder src/ in the repository: src is a symbolic link")
    if kind is Kind.SUBMODULE:
        return tell("there is no folder src/ in the repository: src is a submodule")
    names = [name for name in sorted(root.names(MAX_HINTS)) if name != ".git"]
    if not names:
        return tell("there is no folder src/ in the repository: it is empty")
    shown = [name for name in names if name.isprintable() and len(name) <= MAX_HINT_LENGTH]
    for name in shown:
        if name.casefold() == PACKAGE and root.kind(name) is Kind.FOLDER:
            return tell(
                "there is no folder src/ in the repository, but a folder {name}/: rename it to src", name=name
            )
    for name in shown:
        if root.kind(name) is Kind.FOLDER and _holds_package(root, name):
            return tell(
                "there is no folder src/ in the repository, but in its folder {name}/: "
                "move what is in {name}/ to the top",
                name=name,
            )
    for name in shown:
        if name.casefold().endswith(ARCHIVES):
            return tell("there is no folder src/ in the repository, but {name}: unpack it", name=name)
    return tell("there is no folder src/ in the repository")


def _holds_package(root: Folder, name: str) -> bool:
    try:
        with root.folder(name) as folder:
            return folder.kind(PACKAGE) is Kind.FOLDER
    except (OSError, SubmissionError):  # it cannot be read
        return False


def is_ignored(path: str) -> bool:
    """Whether a path below src/ is something that tools leave behind, not part of the student's work."""
    return path.endswith(".pyc") or not IGNORED.isdisjoint(path.split("/"))


@dataclass
class _Found:
    limits: TreeLimits
    files: dict[str, bytes] = field(default_factory=dict)
    folders: int = 0
    total: int = 0


def _walk(folder: Folder, path: str, depth: int, found: _Found) -> None:
    limits = found.limits
    if depth > limits.depth:
        raise SubmissionError(tell("{path} lies deeper than {depth} folders", path=path, depth=limits.depth))
    found.folders += 1
    if found.folders > limits.folders:
        raise SubmissionError(tell("src/ holds more than {most} folders", most=limits.folders))
    names = folder.names(MAX_NAMES)
    if len(names) > MAX_NAMES:
        raise SubmissionError(tell("{path} holds more than {most} names", path=path, most=MAX_NAMES))
    for name in sorted(names):
        if is_ignored(name):
            continue
        inner = f"{path}/{name}"
        _refuse_odd_name(name, inner)
        kind = folder.kind(name)
        if kind is Kind.FOLDER:
            with folder.folder(name) as below:
                _walk(below, inner, depth + 1, found)
        elif kind is Kind.FILE:
            _take(folder, name, inner, found)
        elif kind is Kind.LINK:
            raise SubmissionError(tell("{path} is a symbolic link; commit the file itself", path=inner))
        elif kind is Kind.SUBMODULE:
            raise SubmissionError(tell("{path} is a submodule; commit the files themselves", path=inner))
        elif kind is Kind.OTHER:
            raise SubmissionError(tell("{path} is not a regular file", path=inner))


def _take(folder: Folder, name: str, path: str, found: _Found) -> None:
    limits = found.limits
    if len(found.files) >= limits.files:
        raise SubmissionError(tell("src/ holds more than {most} files", most=limits.files))
    if path in found.files:  # any program can make a git tree, even one with a name twice
        raise SubmissionError(tell("{path} is there twice", path=path))
    content = folder.read(name, limits.file_bytes)
    if content is None:
        raise SubmissionError(
            tell("{path} is larger than {mebibytes} MiB", path=path, mebibytes=limits.file_bytes >> 20)
        )
    if content.startswith(LFS_POINTER):
        raise SubmissionError(tell("{path} is stored in Git LFS; commit the file itself", path=path))
    found.total += len(content)
    if found.total > limits.total_bytes:
        raise SubmissionError(
            tell("src/ holds more than {mebibytes} MiB", mebibytes=limits.total_bytes >> 20)
        )
    found.files[path] = content


class _DiskFolder:
    """A `Folder` on disk, given by its file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def names(self, limit: int) -> list[str]:
        with os.scandir(self._descriptor) as entries:
            return [entry.name for entry in itertools.islice(entries, limit + 1)]

    def kind(self, name: str) -> Kind | None:
        try:
            mode = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        kinds = {stat.S_IFDIR: Kind.FOLDER, stat.S_IFREG: Kind.FILE, stat.S_IFLNK: Kind.LINK}
        return kinds.get(stat.S_IFMT(mode), Kind.OTHER)

    @contextmanager
    def folder(self, name: str) -> Iterator[Folder]:
        with _opened(name, self._descriptor) as descriptor:
            yield _DiskFolder(descriptor)

    def read(self, name: str, limit: int) -> bytes | None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, dir_fd=self._descriptor), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SubmissionError(tell("{name} changed while it was read", name=name))
            content = file.read(limit + 1)
        return content if len(content) <= limit else None


def _refuse_odd_name(name: str, path: str) -> None:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise SubmissionError(tell("a file name under src/ is not UTF-8")) from None
    if len(raw) > MAX_NAME_BYTES:
        raise SubmissionError(tell("a file name under src/ has more than {most} bytes", most=MAX_NAME_BYTES))
    if set(name) & {"/", "\\"} or any(unicodedata.category(c)[0] == "C" for c in name):
        raise SubmissionError(
            tell("the name of {path} holds characters that not every system can store", path=repr(path))
        )
    # spellings of git's own folder on different systems: `.GIT`, `.git.`, `.git::$INDEX_ALLOCATION`, `GIT~1`
    plain = name.partition(":")[0].rstrip(". ").casefold()
    if name in ("", ".", "..") or plain in (".git", "git~1"):
        raise SubmissionError(
            tell("{path} has a name that git and the file system keep for themselves; rename it", path=path)
        )


def _refuse_colliding_names(files: Mapping[str, bytes]) -> None:
    """Refuse names that differ only in case or in the encoding of accents.

    On some systems such names are one file, and chance decides which of the contents it has.
    """
    seen: dict[str, str] = {}
    folders = {"/".join(path.split("/")[:i]) for path in files for i in range(1, path.count("/") + 1)}
    for path in sorted({*files, *folders}):
        key = unicodedata.normalize("NFC", path).casefold()
        if key in seen:
            raise SubmissionError(
                tell(
                    "{one} and {other} are the same name on some systems; rename one",
                    one=seen[key],
                    other=path,
                )
            )
        seen[key] = path


@contextmanager
def _opened(name: str, parent: int | None) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(name, flags if parent is None else flags | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
