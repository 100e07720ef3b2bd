"""A scratch repository: bare, private, and removed after use.

    with scratch(remote, credentials) as repository:
        repository.fetch("refs/heads/main", "refs/graded/tip", depth=1, filter_spec="tree:0")

It holds the objects fetched from one student's repository, and the commits to push there. Nothing is ever checked out.
"""

import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from autograder.errors import GraderError
from autograder.git.names import is_branch, is_commit
from autograder.git.process import (
    HOST,
    Damaged,
    Git,
    GitHostError,
    GitLimits,
    RepositoryError,
    Result,
    TooSlow,
    closed_environment,
    end,
    is_passing,
    kill,
    one_line,
    require_own_parts,
)
from autograder.git.remote import Credentials, Remote

WAITS = (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0)  # seconds between the tries of one request


@contextmanager
def scratch(
    remote: Remote,
    credentials: Credentials | None = None,
    limits: GitLimits | None = None,
    *,
    sha256: bool = False,
) -> Iterator["Repository"]:
    """Make a bare repository in a private temporary folder, and remove it at the end.

    Raises:
        GraderError: git is missing, or the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="autograder-git-") as folder:
            git = Git(Path(folder), remote, credentials or Credentials(), limits or GitLimits())
            yield Repository(git, sha256=sha256)
    except OSError as error:
        raise GitHostError(
            f"cannot make or use a scratch repository: {error}; check the disk of TMPDIR"
        ) from error


class Repository:
    """A scratch repository with one remote. `scratch` makes it."""

    def __init__(self, git: Git, *, sha256: bool) -> None:
        self._git, self._remote = git, git.remote
        algorithm = "sha256" if sha256 else "sha1"
        git.offline("init", "--quiet", "--bare", "--template=", f"--object-format={algorithm}")
        self._config = (git.directory / "config").read_bytes()

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        settings: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command that needs no network, see `Git.offline`; return its output without the last line break."""
        output = self._git.offline(*arguments, stdin=stdin, settings=settings, variables=variables)
        return output.decode("utf-8", "replace").rstrip("\n")

    @property
    def folder(self) -> Path:
        """The repository itself, for programs that read and write objects there."""
        return self._git.directory

    def fetch(
        self, source: str, into: str, *, depth: int | None = None, filter_spec: str | None = None
    ) -> None:
        """Fetch `source` as the ref `into`. This must be the first call, because a failed fetch removes all objects.

        Args:
            source: a commit id or the full name of a ref.
            into: the name of the ref in this repository.
            depth: number of commits of the history; None: all.
            filter_spec: objects that the host may leave out, see `git rev-list --filter`; None: none.

        Raises:
            NotFound: there is no `source`.
            TooLarge: the fetched data does not fit into the limits.
            RepositoryError: the repository is missing or cannot be used.
            GitHostError: the git host did not respond, or refused the request; another try may help.
        """
        arguments = (
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            *(() if depth is None else (f"--depth={depth}",)),
            *(() if filter_spec is None else (f"--filter={filter_spec}",)),
            HOST,
            f"+{source}:{into}",
        )
        try:
            result = self._patiently("fetch", *arguments, clean=self._remove_objects)
            if result.status != 0:
                raise self._git.failure("fetch", result)
        except GraderError:
            self._remove_objects()
            raise
        finally:
            # git has noted in `config` that it may fetch missing objects from the remote later; it must not
            (self._git.directory / "config").write_bytes(self._config)

    def _remove_objects(self) -> None:
        """Remove what a failed fetch left: its files count toward the limit."""
        shutil.rmtree(self._git.directory / "objects")
        (self._git.directory / "objects").mkdir()

    def _patiently(self, command: str, *arguments: str, clean: Callable[[], None] = lambda: None) -> Result:
        """Run a command that reaches the remote; return its result. Try again after a fault that may soon be over.

        So a host that fails every second request delays a step, and the step need not start again.

        Args:
            command, arguments: of git. The command may be repeated.
            clean: removes what a failed try left.
        """
        for wait in WAITS:
            result = self._git.online(command, *arguments)
            passing = result.status != 0 and is_passing(result.errors) and self._remote.protocol != "file"
            if not passing or self._git.seconds_left <= wait:
                return result
            clean()
            time.sleep(wait)
        return self._git.online(command, *arguments)

    def push(self, commit: str, reference: str, *, expected: str | None) -> tuple[str, str]:
        """Push `commit` as the ref `reference`, but only if the remote has `expected` there. None: nothing is there.

        Returns:
            The flag of `git push --porcelain` (`*` created, a space or `+` updated, `=` unchanged, `!` refused) and the
            reason.

        Raises:
            RepositoryError, GitHostError: the push could not be tried.
        """
        require_own_parts(self._remote, reference, f"logs/{reference}")
        result = self._patiently(
            "push",
            "--porcelain",
            "--no-verify",
            "--no-thin",  # a thin pack would need the tree of the parent, which was not fetched
            "--no-signed",
            "--no-recurse-submodules",
            f"--force-with-lease={reference}:{expected or ''}",
            HOST,
            f"{commit}:{reference}",
        )
        for line in result.output.decode("utf-8", "replace").splitlines():
            flag, _, rest = line.partition("\t")
            if len(flag) == 1 and rest.startswith(f"{commit}:{reference}\t"):
                return flag, one_line(rest.partition("\t")[2])
        raise self._git.failure("push", result)

    def require_write(self, commit: str, reference: str) -> None:
        """Check that the remote accepts pushes with the credentials. Nothing is pushed.

        Args:
            commit: any commit of this repository.
            reference: the full name of the ref that would be pushed.

        Raises:
            RepositoryError, GitHostError: the remote does not accept pushes.
        """
        result = self._patiently(
            "push", "--dry-run", "--porcelain", "--force", "--no-verify", HOST, f"{commit}:{reference}"
        )
        if result.status != 0:
            raise self._git.failure("push", result)

    def heads(self, branch: str) -> dict[str, str]:
        """Return ref -> commit id, for a branch of the remote and the branches below it (`branch/...`).

        Raises:
            RepositoryError: the repository is missing or cannot be used.
            GitHostError: the git host did not respond, or refused the request; another try may help.
        """
        full = f"refs/heads/{checked_branch(branch)}"
        result = self._patiently("ls-remote", "--refs", HOST, full, f"{full}/*")
        if result.status != 0:
            raise self._git.failure("ls-remote", result)
        found = {}
        for line in result.output.decode("utf-8", "replace").splitlines():
            commit, _, reference = line.partition("\t")
            if is_commit(commit) and (reference == full or reference.startswith(f"{full}/")):
                found[reference] = commit
        return found

    def objects(self) -> "Objects":
        """Return a reader of the objects of this repository, a context manager."""
        return Objects(self._git)


class Objects:
    """Reads objects of a scratch repository by their ids, through two long-lived processes. It is a context manager.

    Nothing is fetched: an object that the host left out is missing.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> "Objects":
        self._timer = threading.Timer(self._git.seconds_left, self._kill)
        self._timer.daemon = True
        try:
            for mode in ("--batch-check", "--batch"):
                self._processes[mode] = self._git.conversation("cat-file", mode)
            self._timer.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._end()

    def describe(self, identity: str) -> tuple[str, int] | None:
        """Return the type of an object and its size in bytes, or None if it is missing.

        Raises:
            GraderError: git cannot read it.
        """
        return self._ask("--batch-check", identity)

    def read(self, identity: str, kind: str, limit: int) -> bytes | None:
        """Return the content of an object of type `kind`, or None if it is missing or larger than `limit` bytes.

        Raises:
            Damaged: the object has another type, or git cannot read it.
            GraderError: git cannot read it.
        """
        described = self.describe(identity)
        if described is None or described[1] > limit:
            return None
        if described[0] != kind:
            raise Damaged(f"{self._git.remote}: {identity} is a {described[0]}, not a {kind}")
        self._ask("--batch", identity)
        source = self._processes["--batch"].stdout
        assert source is not None  # noqa: S101 (a pipe)
        content = source.read(described[1] + 1)
        if len(content) != described[1] + 1:
            raise self._broken("--batch", identity)
        return content[:-1]

    def _ask(self, mode: str, identity: str) -> tuple[str, int] | None:
        if not is_commit(identity):
            raise RepositoryError(f"{self._git.remote}: not an object id: {identity!r:.100}")
        process = self._processes[mode]
        assert process.stdin  # noqa: S101 (a pipe)
        assert process.stdout  # noqa: S101 (a pipe)
        try:
            process.stdin.write(identity.encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._broken(mode, identity) from None
        words = process.stdout.readline(1000).split()
        if len(words) == 2 and words[1] == b"missing":
            return None
        if len(words) != 3 or not words[2].isdigit():
            raise self._broken(mode, identity)
        return words[1].decode("ascii", "replace"), int(words[2])

    def _broken(self, mode: str, identity: str) -> GraderError:
        if self._git.seconds_left == 0:
            return GitHostError(f"{self._git.remote}: reading objects took too long; try again")
        try:
            status = self._processes[mode].wait(timeout=5)
        except subprocess.TimeoutExpired:
            status = 0  # git still runs, and has said something that is no answer
        if status == -signal.SIGXCPU:
            return TooSlow(f"{self._git.remote}: the object {identity} takes too long to unpack")
        if status < 0:  # an operator or the machine killed git
            return GitHostError(f"{self._git.remote}: git was killed by signal {-status}; try again")
        return Damaged(f"{self._git.remote}: git cannot read the object {identity}")

    def _kill(self) -> None:
        for process in self._processes.values():
            kill(process)

    def _end(self) -> None:
        for process in self._processes.values():
            end(process)


def origin(path: Path) -> str:
    """Return the address of the remote `origin` of a repository on this machine; empty if it has none.

    Only one file is read, as data: git follows no `include` in it.
    """
    file = path / ".git" / "config" if (path / ".git").is_dir() else path / "config"
    if not file.is_file():
        return ""
    result = subprocess.run(
        ["git", "config", "--file", str(file), "--no-includes", "--get", "remote.origin.url"],
        env=closed_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() if result.returncode == 0 else ""


def checked_branch(branch: str) -> str:
    """Return `branch` if it is the short name of a branch.

    Raises:
        RepositoryError: it is not such a name.
    """
    if not is_branch(branch):
        raise RepositoryError(f"not the name of a branch: {branch!r:.200}")
    return branch


def checked_commit(commit: str) -> str:
    """Return `commit` if it is a full commit id in lower case.

    Raises:
        RepositoryError: it is not such an id.
    """
    if not is_commit(commit):
        raise RepositoryError(f"not a full commit id: {commit!r:.100}")
    return commit
