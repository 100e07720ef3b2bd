"""Worker slots of this machine: their names, the locks that keep these unique, and a folder for each.

A slot is a process. Its number is the lowest that no living process holds, so a slot that is started again has the
name that it had before, and DBOS gives it back the job on which it died. Everything temporary of a slot lies in one
folder, which is emptied when the slot starts: nothing that a killed process left behind stays.
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

MAX_SLOTS = 1000


@dataclass(frozen=True)
class Place:
    """A slot that this process holds until it ends.

    Attributes:
        executor: `host:slot`.
        origin: where that name is unique.
        folder: for everything temporary; private and empty.
        lock: held as long as the file is open.
    """

    executor: str
    origin: str
    folder: Path
    lock: IO[bytes]

    def release(self) -> None:
        """Empty the folder and let others have the slot."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


def take(state: Path, host: str = "") -> Place:
    """Take the lowest free slot.

    Args:
        state: the service's folder for what it keeps.
        host: the machine's name among all machines; default: its host name.

    Raises:
        GraderError: its folders cannot be made, or the name is none.
    """
    host = host or socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", host):
        raise GraderError(
            f"{host!a:.200} is no name of a machine; give one of letters, digits, '.' and '-': --name"
        )
    try:
        folder = state / "slots"
        folder.mkdir(parents=True, exist_ok=True)
        about = folder.stat()
        origin = f"{_boot()}:{about.st_dev}:{about.st_ino}"
        for number in range(MAX_SLOTS):
            lock = _locked(folder / f"{host}-{number}.lock")
            if lock is not None:
                return Place(f"{host}:{number}", origin, _emptied(state, number), lock)
    except OSError as error:
        raise GraderError(
            f"cannot take a slot: {error}; make {state} and the folder of TMPDIR writable"
        ) from error
    raise GraderError(f"more than {MAX_SLOTS} slots on one machine")


def use(place: Place) -> None:
    """Let everything temporary of this process, and of those that it starts, lie in the slot's folder."""
    os.environ["TMPDIR"] = str(place.folder)
    tempfile.tempdir = str(place.folder)


def _locked(path: Path) -> IO[bytes] | None:
    file = path.open("ab")
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
        raise GraderError(f"{folder} is not a private folder of ours; remove it")
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return folder


def _boot() -> str:
    """Return what tells this run of this machine from any other; nothing where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
