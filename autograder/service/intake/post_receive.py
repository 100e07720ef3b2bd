"""The `post-receive` hook of a bare repository: how it is installed, and what it does.

The hook is a small shell script. The student waits for it, so it does not start this program. It writes one file into
the spool; the file is on the disk before the push returns. It never makes a push fail. `spool` describes the file.

A hook is copied together with its repository. So it compares the folder in which it runs with the one for which it was
installed. `findings` tells staff which repositories of a course do not report their pushes, or report them wrongly.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.files import replace_file
from autograder.git.names import is_commit
from autograder.git.process import closed_environment
from autograder.hosts import KINDS
from autograder.ledger import RepositoryName
from autograder.service.intake.intake import ENDED
from autograder.service.intake.spool import FORMAT, MAX_PUSHES, Spool

NAME = "post-receive"
KEPT = "post-receive.local"  # the hook that was there before; the new hook runs it
SCRIPT = Path(__file__).parent / "post-receive.sh"
MARK = "# autograder hook:"
MAX_CONFIG = 64 << 10  # bytes of a repository's configuration
MAX_DEPTH = 3  # folders between the folder of a host and a repository


class HookError(GraderError):
    """A hook cannot be installed or removed; the message says what to do."""


@dataclass(frozen=True)
class Place:
    """A bare repository on this machine, and its name.

    Attributes:
        path: absolute path of the repository.
        repository: its name in the ledger.
        base: the folder of its host; None if its name does not follow from its path.
    """

    path: Path
    repository: RepositoryName
    base: Path | None = None


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
    _require_bare(path)
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
    named = bool(host and owner)
    if named:
        found = [(host, owner)]
    else:
        found = [
            (name, path.parent.relative_to(base).as_posix())
            for name, base in folders.items()
            if base in path.parents
        ]
    if len(found) != 1:
        places = ", ".join(f"{name} ({base})" for name, base in folders.items())
        raise HookError(
            f"{path} is in {'more than one' if found else 'none'} of the folders {places}; pass --host and --owner"
        )
    name = path.name.removesuffix(".git")
    if not named and (found[0][1] == "." or name == path.name):
        raise HookError(f"{path} is not at OWNER/NAME.git in the folder {folders[found[0][0]]}; rename it")
    repository = RepositoryName(found[0][0], owner or found[0][1], name)
    if not any(course.target(repository, each.branch) for each in course.config.assignments.values()):
        raise HookError(f"no assignment grades pushes to {repository}; see repositories in autograder.toml")
    base = folders[repository.host]
    at_its_place = path == base / repository.owner / f"{repository.name}.git"
    return Place(path, repository, base if at_its_place else None)


def script(at: Place, spool: Path) -> str:
    """Return the text of the hook of one repository."""
    repository = at.repository
    values = {
        "MARK": MARK,
        "KEPT": KEPT,
        "MOST": str(MAX_PUSHES),
        "FORMAT": str(FORMAT),
        "HOST": repository.host,  # safe in a shell: letters, digits, dots, hyphens, underscores and slashes
        "OWNER": repository.owner,
        "NAME": repository.name,
        "SPOOL": shlex.quote(str(spool)),
        "PLACE": shlex.quote(str(at.path)),
        "BASE": shlex.quote(str(at.base)) if at.base else "/nowhere",
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
    text = script(at, spool.folder)
    try:
        (at.path / ENDED).unlink(missing_ok=True)
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
        replace_file(hook, text.encode(), 0o755)
    except OSError as error:
        raise HookError(f"cannot install {hook}: {error}; run this as the account that owns it") from error
    return True


def uninstall(path: Path) -> bool:
    """End the grading of a repository, remove its hook, and restore the earlier hook.

    A file `autograder-ended` in the repository says that pushes that are found later must not be graded. A hook outside
    the repository may serve others, and stays.

    Returns:
        Whether our hook was removed.

    Raises:
        HookError: this is not a bare repository, or the hook cannot be removed.
    """
    path = path.resolve()
    _require_bare(path)
    hook = _hooks(path) / NAME
    try:
        (path / ENDED).touch()
        if path not in hook.resolve().parents:
            return False
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
        HookError: the repository cannot be read, or its grading has ended.
        SpoolError: the spool cannot be written.
    """
    if (at.path / ENDED).exists():
        raise HookError(
            f"the grading of {at.path} has ended; to begin it again: autograder hook install {at.path}"
        )
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


def findings(course: Course, spool: Spool) -> list[str]:
    """Return what is wrong with the bare repositories that a course grades, a line each that says what to do."""
    found: list[str] = []
    usual = not _common_hooks()
    for name, settings in course.config.hosts.items():
        if not KINDS[settings.kind].is_folder:
            continue
        base = Path(course.config.base(name).removeprefix("file://"))
        for path in _bare_repositories(base):
            try:
                at = place(course, path, host=name)
            except HookError:  # nobody grades its pushes
                continue
            except GraderError as error:  # no repository can have such a name
                found.append(f"{path} cannot be graded: {error}")
                continue
            found += problems(at, spool, usual=usual)
    return found


def problems(at: Place, spool: Spool, *, usual: bool = False) -> list[str]:
    """Return what is wrong with one bare repository: its hook, and the accounts that its files belong to.

    Nothing is wrong with a repository whose grading has ended.

    Args:
        at: the repository.
        spool: the spool to which its hook must write.
        usual: whether git looks for hooks in the repository, unless the repository's own configuration says otherwise.
    """
    if os.path.exists(at.path / ENDED):  # noqa: PTH110 (it raises nothing)
        return []
    remedy = f"autograder hook install {at.path}"
    found = []
    try:
        hook = (at.path / "hooks" if usual and _is_usual(at.path) else _hooks(at.path)) / NAME
        text = hook.read_text(encoding="utf-8", errors="replace") if hook.is_file() else ""
        if MARK not in text:
            found.append(f"{at.path} has no hook, so its pushes are found late: {remedy}")
        elif text != script(at, spool.folder):
            shared = at.path not in hook.resolve().parents
            if not shared or _without_place(text) != _without_place(script(at, spool.folder)):
                found.append(f"the hook of {at.path} was installed for another repository or spool: {remedy}")
        elif not os.access(hook, os.X_OK):
            found.append(f"the hook of {at.path} cannot be executed: {remedy}")
    except (HookError, OSError) as error:
        found.append(f"the hook of {at.path} cannot be looked at: {error}")
    return [*found, *_unwritable(at.path)]


def _unwritable(path: Path) -> Iterator[str]:
    """Yield a line if this account, or the owner of the repository, cannot write to all folders that it must write to.

    Pushes fail if the owner cannot write to a folder. Such a folder was made by a program of another account, such as
    an earlier version of the service. Git needs no write access to files, since it replaces them.
    """
    folders = [path / part for part in ("objects", "objects/pack", "refs", "refs/heads")]
    try:
        folders += sorted(each for each in (path / "objects").iterdir() if len(each.name) == 2)
        owner = path.stat().st_uid
        there = [(folder, folder.stat()) for folder in folders if folder.is_dir()]
    except OSError as error:
        yield f"{path} cannot be looked at: {error}"
        return
    foreign = [folder for folder, about in there if about.st_uid != owner and not about.st_mode & 0o022]
    if foreign and owner != 0:
        yield (
            f"{len(foreign)} folders in {path} belong to another account, such as {foreign[0].relative_to(path)}, so "
            f"pushes fail ('unable to migrate objects'): chown -R --reference={path} {path}"
        )
    closed = [folder for folder, _ in there[:4] if not os.access(folder, os.W_OK)]
    if closed:
        yield (
            f"this account cannot write to {closed[0]}, so feedback cannot be published; put both accounts into one "
            f"group: chgrp -R GROUP {path}; chmod -R g+w {path}; git -C {path} config core.sharedRepository group"
        )


def _without_place(text: str) -> str:
    """Return the text of a hook without the line that names its repository."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("host="))


def _bare_repositories(base: Path) -> Iterator[Path]:
    """Yield the bare repositories below the folder of a host, at most MAX_DEPTH folders deep."""
    waiting = [(base, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith(".git"):
                if _is_bare(entry):
                    yield entry
            elif depth < MAX_DEPTH and not entry.name.startswith("."):
                waiting.append((entry, depth + 1))


def _is_bare(path: Path) -> bool:
    return os.path.isdir(path / "objects") and os.path.isfile(path / "HEAD")  # noqa: PTH112, PTH113 (no errors)


def _require_bare(path: Path) -> None:
    if not _is_bare(path):
        raise HookError(f"{path} is not a bare repository; git init --bare makes one")


def _hooks(repository: Path) -> Path:
    """Return the folder in which git looks for the hooks of a repository.

    A push looks for hooks where core.hooksPath says. The account or the system may set core.hooksPath too, so git runs
    in the caller's environment here.
    """
    return repository / _git(repository, "rev-parse", "--git-path", "hooks", environment=os.environ).strip()


def _common_hooks() -> bool:
    """Whether the configuration of the account or of the system names another folder for hooks."""
    command = ["git", "config", "--get", "core.hooksPath"]
    done = subprocess.run(command, cwd="/", env=os.environ, capture_output=True, check=False)
    return done.returncode == 0


def _is_usual(repository: Path) -> bool:
    """Whether the configuration of a repository says nothing about hooks. This is faster than to ask git."""
    with (repository / "config").open("rb") as file:
        text = file.read(MAX_CONFIG).lower()
    return len(text) < MAX_CONFIG and b"hookspath" not in text and b"include" not in text


def _git(repository: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    command = ["git", "-c", "safe.directory=*", f"--git-dir={repository}", *arguments]
    environment = closed_environment() if environment is None else environment
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise HookError(f"git {arguments[0]} failed in {repository}: {done.stderr.strip()[:300]}")
    return done.stdout
