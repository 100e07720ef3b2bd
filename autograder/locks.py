"""Files that processes lock with flock. Only their owner may open them, so nobody else can hold a lock."""

import os
from pathlib import Path
from typing import IO


def open_lock(path: Path) -> IO[bytes]:
    """Open a file to lock it; make it if it does not exist. Raises OSError.

    The mode of a file that an earlier version made is corrected if the file is ours.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
    about = os.fstat(file.fileno())
    if about.st_mode & 0o077 and about.st_uid == os.geteuid():
        os.fchmod(file.fileno(), 0o600)
    return file
