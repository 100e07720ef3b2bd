"""A folder in which hooks leave pushes until the service takes them: small files, each written whole or not at all.

The hook of a bare repository (`post_receive`) writes a file while the student waits, even if the service does not run.
The service drains the folder. It moves a file to `taken/` when its pushes are in the ledger, and removes it after two
weeks: a ledger that was restored from a backup takes them again. To take a file twice is harmless, because the ledger
knows the delivery. A file that cannot be read is moved to `rejected/`, never removed.

A file is named `SECONDS-...json`. It holds a JSON object: format (1), host, owner, name, pusher, received (seconds
since 1970), and pushes, a list of [before, after, ref]. If `before` is empty, the earlier commit is unknown. A hook
that runs in another folder than the one for which it was installed, and cannot name its repository, adds `elsewhere`:
that folder.

Somebody who can write to the spool can claim any of these facts, even the time. So only the account that git runs under
and the service may write to it.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from autograder.errors import GraderError
from autograder.git.names import HEADS, is_commit, is_host, is_ref, is_repository_path
from autograder.hosts.push import Push
from autograder.hosts.webhook import MAX_SENDER
from autograder.ledger import Conflict
from autograder.report import one_line
from autograder.service.logs import LOG

FORMAT = 1
SUFFIX = ".json"
DRAFT = ".new-"  # prefix of a file that is being written, or was when the machine stopped
REJECTED = "rejected"
TAKEN = "taken"
KEPT_SECONDS = 14 * 86400.0  # a backup must not be older than this
MAX_BYTES = 512 << 10
MAX_PUSHES = 1000  # in one file; the hook has the same limit
BATCH = 1000  # the most files that one round takes
ABANDONED_SECONDS = 60.0  # a draft of this age counts as complete
AHEAD_SECONDS = 5.0  # if a hook's clock is further ahead of this one, that is logged


class SpoolError(GraderError):
    """The spool cannot be used."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    host: str
    owner: str
    name: str
    pusher: str
    received: int
    pushes: list[tuple[str, str, str]]
    elsewhere: str = ""


@dataclass(frozen=True)
class Drained:
    """The result of one round of `Spool.drain`.

    Attributes:
        taken: the number of files whose pushes were handed over.
        rejected: names of the files that were moved to `rejected/`, each with the reason.
    """

    taken: int
    rejected: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Spool:
    """The folder at `folder`. One process drains it; any number of processes may write to it."""

    folder: Path

    def make(self) -> None:
        """Create the folder. Only its owner and group may use it.

        Raises:
            SpoolError: the folder cannot be created.
        """
        try:
            self.folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolError(f"cannot create the spool {self.folder}: {error}") from error

    def problems(self) -> list[str]:
        """Return the reasons why hooks cannot leave pushes here."""
        if self.folder.is_dir():
            return []
        return [f"the spool {self.folder} is gone, so hooks lose pushes; start the service again"]

    def put(
        self,
        host: str,
        owner: str,
        name: str,
        pushes: list[tuple[str, str, str]],
        *,
        pusher: str = "",
        received: datetime | None = None,
    ) -> Path:
        """Write one file. The file is on the disk when this method returns.

        Args:
            host, owner, name: of the repository.
            pushes: before, after and ref of each branch that moved.
            pusher: who pushed.
            received: when the push was received; default: now.

        Raises:
            SpoolError: the file cannot be written.
        """
        self.make()
        seconds = int(received.timestamp() if received else time.time())
        entry = _Entry(FORMAT, host, owner, name, pusher, seconds, pushes)
        try:
            descriptor, draft = tempfile.mkstemp(prefix=f"{DRAFT}{seconds}-{os.getpid()}-", dir=self.folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(entry))
                file.flush()
                os.fsync(file.fileno())
            path = self.folder / f"{Path(draft).name.removeprefix(DRAFT)}{SUFFIX}"
            Path(draft).rename(path)
            _sync(self.folder)
        except OSError as error:
            raise SpoolError(f"cannot write to the spool {self.folder}: {error}") from error
        return path

    def waiting(self) -> int:
        """Return how many files wait, at most BATCH. This reads only the names of the files, not their content."""
        return sum(1 for _ in itertools.islice(self._files(), BATCH))

    def drain(self, take: Callable[[Push, datetime], object]) -> Drained:
        """Hand over the pushes in the spool, oldest first; at most BATCH files.

        Args:
            take: records a push with the moment at which it was received. If it raises a Conflict, the push contradicts
                the ledger, and the file is moved to `rejected/`. If it raises another error, that file and all later
                files stay in the spool.

        Raises:
            SpoolError: the folder cannot be read, or a file cannot be removed.
            GraderError: any error of `take`, except a Conflict.
        """
        taken, rejected = 0, []
        for path in sorted(itertools.islice(self._files(), BATCH), key=_age):
            try:
                pushes = _read(path)
            except FileNotFoundError:
                continue
            except (ValueError, PermissionError) as error:
                rejected.append(self._set_aside(path, error))
                continue
            except OSError as error:
                raise SpoolError(f"cannot read {path}: {error}") from error
            try:
                for push, received in pushes:
                    take(push, received)
            except Conflict as error:  # another try would not help, and the other files must not wait for it
                rejected.append(self._set_aside(path, error))
                continue
            with contextlib.suppress(FileNotFoundError):
                self._move(path, TAKEN)
            taken += 1
        return Drained(taken, tuple(rejected))

    def give_back(self) -> int:
        """Put the files that were taken back into the spool, to be taken again; return how many.

        Raises:
            SpoolError: a file cannot be moved.
        """
        moved = 0
        for path in sorted((self.folder / TAKEN).glob("*")):
            try:
                path.rename(self.folder / f"{path.name.removesuffix(SUFFIX)}{SUFFIX}")
            except OSError as error:
                raise SpoolError(f"cannot move {path} to {self.folder}: {error}") from error
            moved += 1
        return moved

    def forget(self, now: float | None = None) -> int:
        """Remove files that were taken more than `KEPT_SECONDS` ago; return how many.

        Args:
            now: seconds since 1970; default: the present.

        Raises:
            SpoolError: a file cannot be removed.
        """
        before = (time.time() if now is None else now) - KEPT_SECONDS
        removed = 0
        for path in (self.folder / TAKEN).glob("*"):
            try:
                if path.lstat().st_mtime < before:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SpoolError(f"cannot remove {path}: {error}") from error
        return removed

    def _files(self) -> Iterator[Path]:
        now = time.time()
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    finished = entry.name.endswith(SUFFIX) and not entry.name.startswith(".")
                    if finished or (entry.name.startswith(DRAFT) and _abandoned(entry, now)):
                        yield Path(entry.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SpoolError(f"cannot read the spool {self.folder}: {error}") from error

    def _set_aside(self, path: Path, why: Exception) -> tuple[str, str]:
        """Move a file into `rejected/`; return its name there, and the reason."""
        return self._move(path, REJECTED).name, one_line(str(why))

    def _move(self, path: Path, name: str) -> Path:
        """Move a file into a folder of the spool; return its new path. It replaces no other file.

        Raises:
            FileNotFoundError: the file is gone.
            SpoolError: the file cannot be moved.
        """
        aside = self.folder / name
        try:
            aside.mkdir(mode=0o770, exist_ok=True)
            plain = path.name.removeprefix(".")
            to = aside / plain
            for number in itertools.count(2):
                if not os.path.lexists(to):
                    break
                to = aside / f"{plain}.{number}"
            path.rename(to)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SpoolError(f"cannot move {path} to {aside}: {error}; make both folders writable") from error
        return to


def _read(path: Path) -> list[tuple[Push, datetime]]:
    """Return the pushes in a file.

    Raises:
        ValueError: no hook wrote this file; the message says why.
        OSError: the file cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise ValueError("it is not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        entry = msgspec.json.decode(content, type=_Entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not what a hook writes: {error}") from None
    if entry.format != FORMAT:
        raise ValueError(f"it is of format {entry.format}, only {FORMAT} is known; update autograder")
    if len(entry.pushes) > MAX_PUSHES:
        raise ValueError(f"it has more than {MAX_PUSHES} pushes")
    if not is_host(entry.host) or not is_repository_path(f"{entry.owner}/{entry.name}"):
        raise ValueError("no repository can have this host, owner and name")
    if entry.elsewhere:
        raise ValueError(
            f"the hook of {entry.owner}/{entry.name} ran in {one_line(entry.elsewhere)}, a copied or moved repository; "
            "run autograder hook install there, and then autograder hook run"
        )
    received = datetime.fromtimestamp(_bounded(entry, path), timezone.utc)
    digest = hashlib.sha256(content).hexdigest()
    return [
        (push, received)
        for number, parts in enumerate(entry.pushes)
        if (push := _push(entry, digest, number, *parts)) is not None
    ]


def _bounded(entry: _Entry, path: Path) -> float:
    """Return the time of receipt. A time in the future cannot be true: the push was received at this moment, or before.

    Raises:
        ValueError: it is before 1970.
    """
    if entry.received < 0:
        raise ValueError("it was received before 1970; check the clock of the machine with the hook")
    now = time.time()
    if entry.received > now + AHEAD_SECONDS:
        LOG.warning(
            "the clock of a machine with a hook is ahead",
            extra={"file": path.name, "seconds": round(entry.received - now)},
        )
    return min(entry.received, now)


def _push(entry: _Entry, digest: str, number: int, before: str, after: str, ref: str) -> Push | None:
    """Return one push; None if the push deleted the branch, or if the ref is not a branch."""
    if not ((not before or is_commit(before)) and is_commit(after)):
        raise ValueError("a push is not [before, after, ref] with full commit ids")
    if set(after) == {"0"} or not is_ref(ref) or not ref.startswith(HEADS):
        return None
    return Push(
        host=entry.host,
        owner=entry.owner,
        name=entry.name,
        ref=ref,
        branch=ref.removeprefix(HEADS),
        commit=after,
        before=before,
        sender=one_line(entry.pusher)[:MAX_SENDER],
        delivery_id=f"hook:{digest[:32]}:{number}",
        payload_digest=digest,
    )


def _abandoned(entry: "os.DirEntry[str]", now: float) -> bool:
    with contextlib.suppress(OSError):
        return now - entry.stat(follow_symlinks=False).st_mtime > ABANDONED_SECONDS
    return False


def _age(path: Path) -> tuple[int, str]:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime_ns, path.name
    return 0, path.name


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
