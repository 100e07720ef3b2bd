"""A folder of bare repositories: their names, and the moves of their branches as git noted them in the reflog.

Git keeps the reflog of a bare repository only if `core.logAllRefUpdates` says so; `autograder hook install` sets it. A
line is `BEFORE AFTER NAME <EMAIL> SECONDS ZONE<TAB>MESSAGE`. The time is the machine's own, when the branch moved.
"""

import contextlib
import os
import re
import stat
from datetime import datetime, timezone
from pathlib import Path

from autograder.git.names import is_bare_name, is_commit
from autograder.hosts.api import Api
from autograder.hosts.push import Move

MAX_BYTES = 1 << 20  # of the end of the file: about 5,000 moves
MAX_NAMES = 10_000
_LINE = re.compile(
    r"(?P<before>[0-9a-f]+) (?P<after>[0-9a-f]+) [^\t]*> (?P<seconds>\d{1,11}) [+-]\d{4}(?:\t.*)?"
)


def moves(api: Api, owner: str, name: str, branch: str) -> list[Move]:
    """Return the moves of a branch that the reflog holds, the oldest first; an empty list if there is no reflog."""
    parts = [*filter(None, owner.split("/")), f"{name}.git", "logs", "refs", "heads", *branch.split("/")]
    found = []
    for line in _end_of(Path(api.base), parts).decode("utf-8", "replace").split("\n"):
        match = _LINE.fullmatch(line)
        if match and is_commit(match["before"]) and is_commit(match["after"]):
            at = datetime.fromtimestamp(int(match["seconds"]), timezone.utc)
            found.append(Move(match["before"], match["after"], at))
    return found


def names(api: Api, owner: str) -> list[str]:
    """Return the names of the bare repositories of an owner, without `.git`."""
    folder = Path(api.base, *filter(None, owner.split("/")))
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".git") and entry.is_dir(follow_symlinks=False):
                found.append(entry.name.removesuffix(".git"))
            if len(found) == MAX_NAMES:
                break
    return sorted(name for name in found if name and is_bare_name(name))


def _end_of(base: Path, parts: list[str]) -> bytes:
    """Return the last bytes of a plain file that is reached from `base` without a link; empty without such a file."""
    descriptor = -1
    try:
        descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        for position, part in enumerate(parts):
            last = position == len(parts) - 1
            kind = os.O_NONBLOCK if last else os.O_DIRECTORY
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b""
        return os.pread(descriptor, MAX_BYTES, max(0, status.st_size - MAX_BYTES))
    except OSError:
        return b""
    finally:
        if descriptor >= 0:
            os.close(descriptor)
