"""A folder of bare repositories: their names, the moves of their branches, and new repositories.

Git keeps the reflog of a bare repository only if `core.logAllRefUpdates` says so; `autograder hook install` sets it. A
line is `BEFORE AFTER NAME <EMAIL> SECONDS ZONE<TAB>MESSAGE`. The time is the machine's own, when the branch moved.

Who may push to a repository is in its file ACCESS, a login name a line. `ssh_access` reads the file for students who
log in with a key.
"""

import contextlib
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from autograder.files import replace_file
from autograder.git.names import is_bare_name, is_commit
from autograder.git.process import GitHostError, RepositoryError, closed_environment, one_line
from autograder.hosts.api import Api
from autograder.hosts.push import Move
from autograder.hosts.writes import Branches, Granted

ACCESS = "autograder-access"
MAX_BYTES = 1 << 20  # of the end of the file: about 5,000 moves
MAX_NAMES = 10_000
MAX_PUSH = "256m"  # of one push; the service fetches no more than that
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


def path_of(api: Api, owner: str, name: str) -> Path:
    """Return the path of a repository."""
    return Path(api.base, *filter(None, owner.split("/")), f"{name}.git")


def exists(api: Api, owner: str, name: str) -> bool:
    """Whether there is a bare repository of this name.

    Raises:
        RepositoryError: something else has its place.
    """
    path = path_of(api, owner, name)
    if not os.path.lexists(path):  # a link that leads nowhere has the place too
        return False
    if path.is_symlink() or not (path / "HEAD").is_file() or not (path / "objects").is_dir():
        raise RepositoryError(f"{path} is not a bare repository; remove it")
    return True


def create(api: Api, owner: str, name: str, branch: str) -> None:
    """Make an empty bare repository, complete or not at all. It belongs to whom the folder of its owner belongs to.

    Raises:
        GitHostError: it cannot be made.
    """
    path = path_of(api, owner, name)
    try:
        _folders(Path(api.base), path.parent)
        shared = ["--shared=group"] if path.parent.stat().st_mode & stat.S_IWGRP else []
        with tempfile.TemporaryDirectory(prefix=".autograder-new-", dir=path.parent) as draft:
            new = Path(draft) / path.name
            arguments = ["init", "--quiet", "--bare", "--template=", "--object-format=sha1", *shared]
            _git(Path(draft), *arguments, f"--initial-branch={branch}", str(new))
            (new / "hooks").mkdir()
            (new / "info").mkdir()
            give(new, path.parent)
            if not exists(api, owner, name):
                new.rename(path)
    except OSError as error:
        raise GitHostError(f"cannot make {path}: {error}") from error


def give(path: Path, like: Path) -> None:
    """Give a file or a folder, with all in it, to the account and group of another one. Only root can, others skip it.

    Raises:
        OSError: it cannot be given.
    """
    if os.geteuid() != 0:
        return
    owner = like.stat()
    inner = [Path(place, each) for place, folders, files in os.walk(path) for each in (*folders, *files)]
    for each in (path, *inner):
        os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)


def grant(api: Api, owner: str, name: str, logins: Sequence[str]) -> Granted:
    """Let these login names, and no others, push to a repository over ssh.

    Raises:
        GitHostError: the file cannot be written.
    """
    path = path_of(api, owner, name)
    wanted = "".join(f"{login}\n" for login in sorted(set(logins)))
    try:
        before = (path / ACCESS).read_text(encoding="utf-8") if (path / ACCESS).is_file() else None
        if before != wanted:
            replace_file(path / ACCESS, wanted.encode(), 0o644, prepare=lambda draft: give(draft, path))
    except OSError as error:
        raise GitHostError(f"cannot write {path / ACCESS}: {error}") from error
    return Granted(tuple(logins), tuple(login for login in logins if login not in (before or "").split("\n")))


def protect(api: Api, owner: str, name: str, branches: Branches) -> list[str]:
    """Let git refuse pushes that move a branch back or delete it, huge ones, and pushes to the branch of the feedback.

    The service pushes feedback with settings of its own, which take precedence.

    Raises:
        GitHostError: git cannot write the settings.
    """
    path = path_of(api, owner, name)
    _git(path, "config", "receive.denyNonFastForwards", "true")
    _git(path, "config", "receive.denyDeletes", "true")
    _git(path, "config", "receive.maxInputSize", MAX_PUSH)
    hidden = f"refs/heads/{branches.feedback}"
    _git(path, "config", "--fixed-value", "--replace-all", "receive.hideRefs", hidden, hidden)
    give(path / "config", path)
    return []


def _folders(base: Path, folder: Path) -> None:
    """Make the folders from `base` down to `folder`, each like the one above it."""
    place = base
    for part in folder.relative_to(base).parts:
        above, place = place, place / part
        if not place.exists():
            with contextlib.suppress(FileExistsError):  # another thread was faster
                place.mkdir()
                place.chmod(stat.S_IMODE(above.stat().st_mode))
                give(place, above)


def _git(folder: Path, *arguments: str) -> str:
    settings = {"safe.directory": "*"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=closed_environment(settings),
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise GitHostError(f"git cannot be run: {error}; apt-get install git") from error
    if done.returncode != 0:
        reason = one_line(done.stderr.decode("utf-8", "replace"))
        raise GitHostError(f"{folder}: git {arguments[0]} failed: {reason}")
    return done.stdout.decode("utf-8", "replace")


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
