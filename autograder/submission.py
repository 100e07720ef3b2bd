"""Reading a submission: the regular files under `src/` of a folder, within limits, as plain bytes.

Nothing of the folder is run, imported or followed: every step opens one name relative to its parent with
O_NOFOLLOW, so that a symbolic link, a device or a name swapped while we read cannot lead elsewhere. What the
sandbox gets is the mapping that comes out of here, never a path.
"""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autograder.errors import GraderError, SubmissionError

PACKAGE = "src"
IGNORED = frozenset({"__pycache__", ".DS_Store", "_build"})  # made by tools, never part of the work
MAX_NAME_BYTES = 255


@dataclass(frozen=True)
class TreeLimits:
    """What one submission may consist of; a public homework needs a hundredth of it."""

    files: int = 500
    depth: int = 12
    file_bytes: int = 4 << 20
    total_bytes: int = 16 << 20


@dataclass(frozen=True)
class Submission:
    """The files of one submission.

    Attributes:
        name: how people call it: the folder's name or the repository's.
        commit: the full commit id where known, else None.
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


def read_tree(root: Path, limits: TreeLimits | None = None) -> dict[str, bytes]:
    """Return the regular files under `root`/src.

    Raises:
        SubmissionError: there is no folder src, or it holds what a submission must not: a symbolic link, a
            device, a name that cannot be stored everywhere, too many or too large files. It is named.
        GraderError: `root` itself cannot be read.
    """
    limits = limits or TreeLimits()
    files: dict[str, bytes] = {}
    try:
        with _opened(str(root), None) as descriptor:
            entry = _stat(PACKAGE, descriptor)
            if entry is None or not stat.S_ISDIR(entry.st_mode):
                raise SubmissionError("there is no folder src/ in the repository")
            total = 0
            for path, content in _walk(PACKAGE, PACKAGE, descriptor, 1, limits):
                total += len(content)
                if len(files) >= limits.files:
                    raise SubmissionError(f"src/ holds more than {limits.files} files")
                if total > limits.total_bytes:
                    raise SubmissionError(f"src/ holds more than {limits.total_bytes >> 20} MiB")
                files[path] = content
    except OSError as error:
        raise GraderError(f"cannot read {root}: {error}; check the path and its permissions") from error
    _refuse_colliding_names(files)
    return files


def is_ignored(path: str) -> bool:
    """Whether a path below src/ is something that tools leave behind: not part of the work."""
    return path.endswith(".pyc") or not IGNORED.isdisjoint(path.split("/"))


def _walk(name: str, path: str, parent: int, depth: int, limits: TreeLimits) -> Iterator[tuple[str, bytes]]:
    if depth > limits.depth:
        raise SubmissionError(f"{path} lies deeper than {limits.depth} folders")
    with _opened(name, parent) as folder:
        for entry in sorted(os.listdir(folder)):  # noqa: PTH208 (a descriptor, not a path)
            if is_ignored(entry):
                continue
            inner = f"{path}/{entry}"
            _refuse_odd_name(entry, inner)
            found = _stat(entry, folder)
            if found is None:
                continue  # gone since it was listed
            if stat.S_ISDIR(found.st_mode):
                yield from _walk(entry, inner, folder, depth + 1, limits)
            elif stat.S_ISREG(found.st_mode):
                yield inner, _read(entry, inner, folder, limits)
            elif stat.S_ISLNK(found.st_mode):
                raise SubmissionError(f"{inner} is a symbolic link; commit the file itself")
            else:
                raise SubmissionError(f"{inner} is not a regular file")


def _read(name: str, path: str, folder: int, limits: TreeLimits) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise SubmissionError(f"{path} is not a regular file")
        content = file.read(limits.file_bytes + 1)
    if len(content) > limits.file_bytes:
        raise SubmissionError(f"{path} is larger than {limits.file_bytes >> 20} MiB")
    return content


def _refuse_odd_name(name: str, path: str) -> None:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise SubmissionError("a file name under src/ is not UTF-8") from None
    if len(raw) > MAX_NAME_BYTES or "\\" in name or any(unicodedata.category(c)[0] == "C" for c in name):
        raise SubmissionError(f"the name of {path!r} holds characters that not every system can store")


def _refuse_colliding_names(files: Mapping[str, bytes]) -> None:
    """Two names that differ in case or accents only are one file on some systems: which one, is chance."""
    seen: dict[str, str] = {}
    folders = {"/".join(path.split("/")[:i]) for path in files for i in range(1, path.count("/") + 1)}
    for path in sorted({*files, *folders}):
        key = unicodedata.normalize("NFC", path).casefold()
        if key in seen:
            raise SubmissionError(f"{seen[key]} and {path} are the same name on some systems; rename one")
        seen[key] = path


@contextmanager
def _opened(name: str, parent: int | None) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(name, flags if parent is None else flags | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _stat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
