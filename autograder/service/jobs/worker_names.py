"""The workers of this machine: their names, the locks that keep the names unique, and a folder for each.

A worker gets the lowest number that no living process holds. So a worker that is started again has the same name, and
DBOS gives it back the job that it had when it died. All temporary files of a worker are in one folder. That folder is
emptied when the worker starts, so files that a killed process left there are removed.

The names of locks and folders on the disk (`slots/HOST-N.lock`, `autograder-UID-HASH-N`) come from earlier versions.
They must not change, because an older version that still runs holds the same locks.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autograder.errors import GraderError
from autograder.locks import open_lock

MAX_WORKERS = 1000


@dataclass(frozen=True)
class Identity:
    """The name of a worker, with its lock and folder. This process holds the name until it ends.

    Attributes:
        name: `host:number`.
        origin: the machine and folder in which the lock makes the name unique.
        folder: for temporary files; it is private, and empty at first.
        lock: an open file; the name is held until the file is closed.
    """

    name: str
    origin: str
    folder: Path
    lock: IO[bytes]

    def release(self) -> None:
        """Remove the folder, and let other processes have the name."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


def take(state: Path, host: str = "") -> Identity:
    """Take the name with the lowest number that is free.

    Args:
        state: the folder in which the service keeps its state.
        host: the machine's name among all machines. Default: its host name.

    Raises:
        GraderError: a folder cannot be created, or the machine's name is not allowed.
    """
    host = host or socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", host):
        raise GraderError(
            f"{host!a:.200} cannot name a machine; give a name of letters, digits, '.' and '-' with --name"
        )
    try:
        folder = state / "slots"
        folder.mkdir(parents=True, exist_ok=True)
        about = folder.stat()
        origin = f"{_boot()}:{about.st_dev}:{about.st_ino}"
        for number in range(MAX_WORKERS):
            lock = _locked(folder / f"{host}-{number}.lock")
            if lock is not None:
                return Identity(f"{host}:{number}", origin, _emptied(state, number), lock)
    except OSError as error:
        raise GraderError(
            f"cannot start a worker: {error}; make {state} and the folder of TMPDIR writable"
        ) from error
    raise GraderError(f"more than {MAX_WORKERS} workers on one machine")


def use(identity: Identity) -> None:
    """Put all temporary files of this process, and of processes that it starts, into the worker's folder."""
    os.environ["TMPDIR"] = str(identity.folder)
    tempfile.tempdir = str(identity.folder)


def _locked(path: Path) -> IO[bytes] | None:
    file = open_lock(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _emptied(state: Path, number: int) -> Path:
    name = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"autograder-{os.getuid()}-{name}-{number}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise GraderError(f"{folder} is not a private folder of this user; remove it")
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return folder


def _boot() -> str:
    """Return an id that changes each time this machine boots; empty if the system has no such id."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
