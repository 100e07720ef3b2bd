"""The `post-receive` hook of a bare repository: how it is put there, and what it does.

It is a small shell script without anything of ours: the student waits for it. It writes one file into the spool, on
the disk before the push returns, and never makes a push fail. `spool` says what the file holds.
"""

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.git.names import is_commit
from autograder.git.process import closed_environment
from autograder.ledger import RepositoryName
from autograder.service.intake.spool import FORMAT, MAX_PUSHES, Spool

NAME = "post-receive"
KEPT = "post-receive.local"  # a hook that was there before ours; ours runs it
SCRIPT = Path(__file__).parent / "post-receive.sh"
MARK = "# autograder hook:"


class HookError(GraderError):
    """A hook cannot be installed; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """A bare repository of this machine, and what it is called.

    Attributes:
        path: of the repository, absolute.
        repository: its name in the ledger.
    """

    path: Path
    repository: RepositoryName


def place(course: Course, path: Path, *, host: str = "", owner: str = "") -> Place:
    """Return what the bare repository at `path` is called: where it lies below a host of the kind `folder` says it.

    Args:
        course: knows the hosts.
        path: of the repository, BASE/OWNER/NAME.git.
        host: the host's name; needed where several hosts have that folder, or none has (links, mounts).
        owner: likewise.

    Raises:
        HookError: it is no bare repository, or lies below no host, or no assignment takes its pushes.
    """
    path = path.resolve()
    if not (path / "objects").is_dir() or not (path / "HEAD").is_file():
        raise HookError(f"{path} is no bare repository; git init --bare makes one")
    folders = {
        name: Path(course.config.base(name).removeprefix("file://")).resolve()
        for name, settings in course.config.hosts.items()
        if settings.kind == "folder" and host in ("", name)
    }
    if not folders:
        raise HookError(
            f'no host {host or "of the kind folder"} is configured: [hosts.NAME] with kind = "folder"'
        )
    if host and owner:
        found = [(host, owner)]
    else:
        found = [
            (name, str(path.parent.relative_to(base)))
            for name, base in folders.items()
            if base in path.parents
        ]
    if len(found) != 1:
        places = ", ".join(f"{name} ({base})" for name, base in folders.items())
        raise HookError(
            f"{path} is in {'no' if not found else 'more than one'} folder of {places}; say --host and --owner"
        )
    name = path.name.removesuffix(".git")
    repository = RepositoryName(found[0][0], owner or found[0][1], name)
    if not any(course.target(repository, each.branch) for each in course.config.assignments.values()):
        raise HookError(f"no assignment takes pushes of {repository}; see repositories in autograder.toml")
    return Place(path, repository)


def script(repository: RepositoryName, spool: Path) -> str:
    """Return the hook of one repository."""
    values = {
        "MARK": MARK,
        "KEPT": KEPT,
        "MOST": str(MAX_PUSHES),
        "FORMAT": str(FORMAT),
        "HOST": repository.host,  # names of nothing but letters, digits, dots, hyphens, underscores and slashes
        "OWNER": repository.owner,
        "NAME": repository.name,
        "SPOOL": shlex.quote(str(spool)),
    }
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], SCRIPT.read_text(encoding="utf-8"))


def install(at: Place, spool: Spool, *, chain: bool = False) -> bool:
    """Put the hook into a repository; return whether anything changed.

    Args:
        at: where.
        spool: what it writes to; made where it is missing.
        chain: keep a hook that is there as `post-receive.local`, which ours runs after itself.

    Raises:
        HookError: there is another hook and `chain` was not asked for, or it cannot be written.
    """
    spool.make()
    hook = _hooks(at.path) / NAME
    text = script(at.repository, spool.folder)
    try:
        before = hook.read_text(encoding="utf-8", errors="replace") if hook.exists() else None
        if before == text and os.access(hook, os.X_OK):
            return False
        if before is not None and MARK not in before:
            if not chain:
                raise HookError(
                    f"{hook} is there already; --chain keeps it as {KEPT}, and it runs after ours"
                )
            if (hook.parent / KEPT).exists():
                raise HookError(f"{hook.parent / KEPT} is there already; join the two by hand")
            hook.rename(hook.parent / KEPT)
        hook.parent.mkdir(exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=f".{NAME}-", dir=hook.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(draft).chmod(0o755)
        Path(draft).rename(hook)
    except OSError as error:
        raise HookError(f"cannot install {hook}: {error}; run this as the account that owns it") from error
    return True


def uninstall(path: Path) -> bool:
    """Take the hook out of a repository, and put back what was there before; return whether it was there.

    Raises:
        HookError: it cannot be removed.
    """
    hook = _hooks(path.resolve()) / NAME
    try:
        if not hook.is_file() or MARK not in hook.read_text(encoding="utf-8", errors="replace"):
            return False
        if (hook.parent / KEPT).exists():
            (hook.parent / KEPT).rename(hook)
        else:
            hook.unlink()
    except OSError as error:
        raise HookError(f"cannot remove {hook}: {error}; run this as the account that owns it") from error
    return True


def hand_over(at: Place, course: Course, spool: Spool) -> list[str]:
    """Hand over what the graded branches of a repository are at now, as its hook would; return the commits.

    For pushes from before the hook was there. What the ledger knows already is not graded again.

    Raises:
        HookError: the repository cannot be read.
        SpoolError: the spool cannot be written.
    """
    listed = _git(at.path, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/")
    pushes = []
    for line in listed.splitlines():
        commit, _, ref = line.partition(" ")
        if is_commit(commit) and course.target(at.repository, ref.removeprefix("refs/heads/")):
            pushes.append(("", commit, ref))  # no `before`: then a commit that is known is no new push
    if pushes:
        spool.put(at.repository.host, at.repository.owner, at.repository.name, pushes)
    return [commit for _, commit, _ in pushes]


def _hooks(repository: Path) -> Path:
    """Return the folder in which git looks for the hooks of a repository.

    A push looks where core.hooksPath says, also that of the account or the system, so git is asked in the caller's
    environment here.
    """
    return repository / _git(repository, "rev-parse", "--git-path", "hooks", environment=os.environ).strip()


def _git(repository: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    command = ["git", "-c", "safe.directory=*", f"--git-dir={repository}", *arguments]
    environment = closed_environment() if environment is None else environment
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise HookError(f"git {arguments[0]} failed in {repository}: {done.stderr.strip()[:300]}")
    return done.stdout
