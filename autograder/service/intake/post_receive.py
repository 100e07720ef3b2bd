"""The `post-receive` hook of a bare repository: how it is installed, and what it does.

The hook is a small shell script. The student waits for it, so it does not start this program. It writes one file into
the spool; the file is on the disk before the push returns. It never makes a push fail. `spool` describes the file.
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
from autograder.hosts import KINDS
from autograder.ledger import RepositoryName
from autograder.service.intake.spool import FORMAT, MAX_PUSHES, Spool

NAME = "post-receive"
KEPT = "post-receive.local"  # the hook that was there before; the new hook runs it
SCRIPT = Path(__file__).parent / "post-receive.sh"
MARK = "# autograder hook:"


class HookError(GraderError):
    """A hook cannot be installed or removed; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """A bare repository on this machine, and its name.

    Attributes:
        path: absolute path of the repository.
        repository: its name in the ledger.
    """

    path: Path
    repository: RepositoryName


def place(course: Course, path: Path, *, host: str = "", owner: str = "") -> Place:
    """Return the bare repository at `path` with its name, inferred from its path below the folder of a host.

    Args:
        course: has the hosts.
        path: path of the repository, BASE/OWNER/NAME.git.
        host: name of the host; required if the path is in the folders of several hosts, or of no host (because of
            links or mounts).
        owner: the owner; required in the same cases.

    Raises:
        HookError: the path is not a bare repository, is not below the folder of one host, or no assignment grades its
            pushes.
    """
    path = path.resolve()
    if not (path / "objects").is_dir() or not (path / "HEAD").is_file():
        raise HookError(f"{path} is not a bare repository; git init --bare makes one")
    folders = {
        name: Path(course.config.base(name).removeprefix("file://")).resolve()
        for name, settings in course.config.hosts.items()
        if KINDS[settings.kind].is_folder and host in ("", name)
    }
    if not folders:
        raise HookError(
            f"autograder.toml has no host {host and host + ' '}of the kind folder; "
            'add [hosts.NAME] with kind = "folder"'
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
            f"{path} is in {'more than one' if found else 'none'} of the folders {places}; pass --host and --owner"
        )
    name = path.name.removesuffix(".git")
    repository = RepositoryName(found[0][0], owner or found[0][1], name)
    if not any(course.target(repository, each.branch) for each in course.config.assignments.values()):
        raise HookError(f"no assignment grades pushes to {repository}; see repositories in autograder.toml")
    return Place(path, repository)


def script(repository: RepositoryName, spool: Path) -> str:
    """Return the text of the hook of one repository."""
    values = {
        "MARK": MARK,
        "KEPT": KEPT,
        "MOST": str(MAX_PUSHES),
        "FORMAT": str(FORMAT),
        "HOST": repository.host,  # safe in a shell: letters, digits, dots, hyphens, underscores and slashes
        "OWNER": repository.owner,
        "NAME": repository.name,
        "SPOOL": shlex.quote(str(spool)),
    }
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], SCRIPT.read_text(encoding="utf-8"))


def install(at: Place, spool: Spool, *, chain: bool = False) -> bool:
    """Install the hook in a repository; return whether anything changed.

    Args:
        at: the repository.
        spool: the spool that the hook writes to; created if it is missing.
        chain: keep an existing hook as `post-receive.local`, and let the new hook run it afterwards.

    Raises:
        HookError: there is another hook and `chain` is false, or the hook cannot be written.
    """
    spool.make()
    _git(
        at.path, "config", "core.logAllRefUpdates", "true"
    )  # says when a branch moved, if the hook could not
    hook = _hooks(at.path) / NAME
    text = script(at.repository, spool.folder)
    try:
        before = hook.read_text(encoding="utf-8", errors="replace") if hook.exists() else None
        if before == text and os.access(hook, os.X_OK):
            return False
        if before is not None and MARK not in before:
            if not chain:
                raise HookError(
                    f"{hook} already exists; --chain keeps it as {KEPT}, and runs it after the new one"
                )
            if (hook.parent / KEPT).exists():
                raise HookError(f"{hook.parent / KEPT} already exists; join the two hooks by hand")
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
    """Remove the hook from a repository, and restore the earlier hook; return whether our hook was installed.

    Raises:
        HookError: the hook cannot be removed.
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
    """Put the current commits of the graded branches into the spool, as the hook would; return the commits.

    Use it for pushes that came before the hook was installed. A commit that the ledger knows is not graded again.

    Raises:
        HookError: the repository cannot be read.
        SpoolError: the spool cannot be written.
    """
    listed = _git(at.path, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/")
    pushes = []
    for line in listed.splitlines():
        commit, _, ref = line.partition(" ")
        if is_commit(commit) and course.target(at.repository, ref.removeprefix("refs/heads/")):
            # The commit before is unknown. If the ledger has a push of this commit to this branch, it is the same push.
            pushes.append(("", commit, ref))
    if pushes:
        spool.put(at.repository.host, at.repository.owner, at.repository.name, pushes)
    return [commit for _, commit, _ in pushes]


def _hooks(repository: Path) -> Path:
    """Return the folder in which git looks for the hooks of a repository.

    A push looks for hooks where core.hooksPath says. The account or the system may set core.hooksPath too, so git runs
    in the caller's environment here.
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
