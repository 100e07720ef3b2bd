"""Runs git on repositories that may be hostile, isolated from everything that could help an attacker.

This module alone decides what git gets. Git has an environment of its own, without the configuration of the system or
the user, and with an empty home. It uses no hooks, attributes, filters, alternates or replace objects. It may use one
protocol, follows no redirects, and never prompts. A token is in a private file, which only a credential helper for that
one host reads. Every process has limits of time, memory, disk and output, and is killed with its whole process group.

A command that needs no network gets no protocol at all, so git never fetches a missing object. If a repository is on
this machine, this module also starts the git process that serves it, and protects that process in the same way from the
repository's hooks and settings.
"""

import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from autograder.errors import GraderError
from autograder.git.remote import Credentials, Remote, RemoteError

MAX_MESSAGE = 300
CPU_TICK_SECONDS = 0.25  # how often the time of a processor is checked
TICK_SECONDS = 0.05  # how often the size of the scratch folder is checked
NOTHING = "/dev/null"
# The shell sets the limits: Python code between fork and exec would not be safe with threads. macOS has no `ulimit -v`.
# At the soft limit of processor time the kernel sends SIGXCPU, which tells this limit from other reasons to be killed.
# Git does not say which signal ended a helper of its own, so `_watch` looks at the time of all processes before that.
LIMITED = (
    'ulimit -c 0; ulimit -f "$1"; ulimit -v "$2" 2>/dev/null || :; '
    'ulimit -t $(($3 + 5)); ulimit -S -t $(($3 + 2)); shift 3; exec "$@"'
)
NOT_INSTALLED = 127  # the exit status of the shell for a program that it cannot find
HOST = "host"  # the name of the remote in the scratch repository

SETTINGS = {
    "core.hooksPath": NOTHING,
    "core.fsmonitor": "false",
    "core.attributesFile": NOTHING,
    "core.useReplaceRefs": "false",
    "core.alternateRefsCommand": "true",  # the program `true`, which prints no references
    "core.bigFileThreshold": "1m",  # larger objects are streamed, not held in memory
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "256m",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",  # always keep the pack: one file, whose size is easy to watch
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "100",
    "http.lowSpeedTime": "30",
    "http.sslVerify": "true",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "protocol.allow": "never",
    "protocol.version": "2",
    "push.followTags": "false",
    "push.gpgSign": "false",
    "push.recurseSubmodules": "no",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
    "transfer.unpackLimit": "1",
}
# For the git process that serves a repository of this machine, and reads that repository's own settings. It makes no
# folder there: if the service's account made objects/ab or logs/refs, the account of the repository could not write to
# it, and a later push of the student would fail.
SERVER_SETTINGS = {
    "core.hooksPath": NOTHING,
    "core.fsmonitor": "false",
    "core.alternateRefsCommand": "true",
    "core.logAllRefUpdates": "false",
    "core.packedGitWindowSize": "32m",
    "core.packedGitLimit": "256m",
    "gc.auto": "0",
    "pack.threads": "1",
    "receive.autogc": "false",
    "receive.denyCurrentBranch": "ignore",  # otherwise a push may update a working tree and run its filters
    "receive.denyDeletes": "false",
    "receive.denyNonFastForwards": "false",
    "receive.hideRefs": "!refs/heads",  # in a repository that we handed out, students do not see the feedback branch
    "receive.unpackLimit": "1",  # one file in objects/pack
    "safe.directory": "*",  # the service's user does not own the folder of repositories
    "uploadpack.allowFilter": "true",
}
SSH_OPTIONS = (
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "StrictHostKeyChecking=yes",
    f"GlobalKnownHostsFile={NOTHING}",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "ConnectTimeout=20",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
)


class GitHostError(GraderError):
    """The git host did not respond as expected; another try may help."""


class RepositoryError(GraderError):
    """The repository, or something in it, is missing or cannot be used; another try does not help."""


class NoSuchRepository(RepositoryError):
    """The git host says that there is no such repository. A host may say so for a moment only."""


class NotFound(RepositoryError):
    """There is no such branch or commit."""


class TooLarge(RepositoryError):
    """The requested data does not fit into the limits."""


class TooSlow(RepositoryError):
    """Git needs more time of a processor for the requested data than the limits allow, on a busy machine too."""


class Damaged(RepositoryError):
    """The type of an object is wrong, or git cannot read the object."""


@dataclass(frozen=True)
class GitLimits:
    """The limits of one scratch repository.

    Attributes:
        seconds: the time from its creation to its removal.
        cpu_seconds: the time of a processor that one process may use.
        scratch_bytes: its size on disk.
        memory_bytes: address space of one process.
        output_bytes: output of one command.
    """

    seconds: float = 60.0
    cpu_seconds: int = 30
    scratch_bytes: int = 256 << 20
    memory_bytes: int = 3 << 30
    output_bytes: int = 4 << 20


@dataclass(frozen=True)
class Result:
    """The exit status, output and error messages of a git command."""

    status: int
    output: bytes
    errors: str


class Git:
    """Git for one remote, in one private folder.

    Args:
        folder: an empty folder. The repository will be in `folder`/repository; git and its helpers write their other
            files beside it.
        remote: the only repository that git can reach.
        credentials: for the remote.
        limits: for all commands together. The time starts when this object is made.
    """

    def __init__(self, folder: Path, remote: Remote, credentials: Credentials, limits: GitLimits) -> None:
        self.remote, self.limits = remote, limits
        self.directory = folder / "repository"
        self._folder = folder
        self._deadline = time.monotonic() + limits.seconds
        self._secret = credentials.token
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        self._host = _host_settings(remote, credentials, folder)
        self._ssh = {"GIT_SSH_COMMAND": _ssh_command(credentials)} if remote.protocol == "ssh" else {}

    def offline(
        self,
        *arguments: str,
        stdin: bytes = b"",
        settings: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run a command without network access; return its output.

        Args:
            arguments: the arguments of git.
            stdin: the input of the command.
            settings: further configuration.
            variables: further environment variables.

        Raises:
            GraderError: the command failed. No student can cause such a failure.
        """
        environment = self._environment(settings or {}, protocol="") | dict(variables or {})
        result = self._finish(arguments, environment, stdin)
        if result.status != 0:
            raise GitHostError(
                f"{self.remote}: git {arguments[0]} failed; check disk and memory ({result.errors})"
            )
        return result.output

    def online(self, *arguments: str) -> Result:
        """Run a command that may reach the remote. In its arguments, the remote is called HOST.

        Raises:
            RepositoryError: a repository of this machine uses parts of another one.
            TooLarge, GitHostError: the command reached a limit and was killed.
        """
        require_own_parts(self.remote, "objects", "refs/heads")
        environment = self._environment(self._host, protocol=self.remote.protocol) | self._ssh
        return self._finish(arguments, environment, b"")

    def conversation(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command without network access, with pipes to it. The caller must pass it to `end`."""
        environment = self._environment({}, protocol="")
        return self._start(arguments, environment, subprocess.PIPE, subprocess.DEVNULL)

    def failure(self, command: str, result: Result) -> GraderError:
        """Return the error for a command that failed."""
        for pattern, kind, advice in _FAILURES:
            if re.search(pattern, result.errors):
                return kind(f"{self.remote}: git {command}: {advice} ({result.errors})")
        return GitHostError(
            f"{self.remote}: git {command} failed; try again, then check the git host ({result.errors})"
        )

    @property
    def seconds_left(self) -> float:
        """The seconds until the time limit; 0 after it."""
        return max(0.0, self._deadline - time.monotonic())

    def _start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdin: IO[bytes] | int,
        stderr: int,
    ) -> subprocess.Popen[bytes]:
        """Start git in its own process group, within the limits of memory and file size."""
        # more than `_watch` allows: `_watch` should stop git first, since its message is better
        most = self.limits.scratch_bytes + (64 << 20)
        limits = [str(most // 512), str(self.limits.memory_bytes // 1024), str(self.limits.cpu_seconds)]
        return subprocess.Popen(
            ["/bin/sh", "-c", LIMITED, "sh", *limits, "git", f"--git-dir={self.directory}", *arguments],
            cwd=self._folder,
            env=dict(environment),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )

    def _finish(self, arguments: Sequence[str], environment: Mapping[str, str], stdin: bytes) -> Result:
        with tempfile.TemporaryFile(dir=self._folder / "tmp") as source:
            source.write(stdin)
            source.seek(0)
            process = self._start(arguments, environment, source, subprocess.PIPE)
        output, errors = bytearray(), bytearray()
        try:
            self._watch(process, arguments[0], output, errors)
        finally:
            end(process)
        if process.returncode == NOT_INSTALLED:
            raise GitHostError("git is not installed: apt-get install git")
        if process.returncode == -signal.SIGXCPU:
            raise self._too_slow(arguments[0])
        return Result(process.returncode, bytes(output), self._clean(errors.decode("utf-8", "replace")))

    def _too_slow(self, command: str) -> TooSlow:
        return TooSlow(
            f"{self.remote}: git {command} needs more than {self.limits.cpu_seconds} s of a processor"
        )

    def _watch(
        self, process: subprocess.Popen[bytes], command: str, output: bytearray, errors: bytearray
    ) -> None:
        assert process.stdout  # noqa: S101 (a pipe)
        assert process.stderr  # noqa: S101 (a pipe)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, output)
            selector.register(process.stderr, selectors.EVENT_READ, errors)
            look = 0.0
            while selector.get_map():
                if time.monotonic() >= look:
                    look = time.monotonic() + CPU_TICK_SECONDS
                    if _most_cpu_seconds(process.pid) > self.limits.cpu_seconds:
                        raise self._too_slow(command)
                if self.seconds_left == 0:
                    raise GitHostError(
                        f"{self.remote}: git {command} was not done in {self.limits.seconds:g} s; "
                        "try again, then check the git host"
                    )
                if self.size() > self.limits.scratch_bytes:
                    raise TooLarge(
                        f"{self.remote}: git {command} wrote more than {self.limits.scratch_bytes} bytes"
                    )
                for key, _ in selector.select(TICK_SECONDS):
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                    key.data.extend(data)
                del errors[:-65536]  # the last lines hold the reason
                if len(output) > self.limits.output_bytes:
                    raise TooLarge(
                        f"{self.remote}: git {command} printed more than {self.limits.output_bytes} bytes"
                    )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=self.seconds_left + 1)
        if process.returncode and self.size() > self.limits.scratch_bytes:
            raise TooLarge(f"{self.remote}: git {command} wrote more than {self.limits.scratch_bytes} bytes")

    def size(self) -> int:
        """Return the number of bytes in the scratch folder. While git works in the folder, this is an estimate."""
        total = 0
        for place, _, names in os.walk(self._folder):
            for name in names:
                with contextlib.suppress(OSError):  # the file was renamed or removed
                    total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 (hot)
        return total

    def _environment(self, settings: Mapping[str, str], *, protocol: str) -> dict[str, str]:
        closed = closed_environment(
            settings, home=str(self._folder / "home"), ceiling=self._folder, protocol=protocol
        )
        return closed | {"TMPDIR": str(self._folder / "tmp"), "GIT_SSH_VARIANT": "ssh"}

    def _clean(self, text: str) -> str:
        if self._secret:
            text = text.replace(self._secret, "***")
        return one_line(text)


def closed_environment(
    settings: Mapping[str, str] | None = None,
    *,
    home: str = NOTHING,
    ceiling: Path | None = None,
    protocol: str = "",
) -> dict[str, str]:
    """Return the whole environment of a git process. Every caller of git in this program starts from this environment.

    Args:
        settings: configuration on top of SETTINGS.
        home: git's home directory.
        ceiling: git does not look for a repository in this folder or above it. None: git looks up to the root folder.
        protocol: the only protocol that git may use. Empty: no protocol, so git never fetches a missing object.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": NOTHING,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": NOTHING,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    if ceiling is not None:
        environment["GIT_CEILING_DIRECTORIES"] = str(ceiling)
    everything = SETTINGS | dict(settings or {})
    environment["GIT_CONFIG_COUNT"] = str(len(everything))
    for number, (key, value) in enumerate(everything.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def require_own_parts(remote: Remote, *names: str) -> None:
    """Refuse a repository of this machine that uses parts of another one. Do nothing for other hosts.

    Git follows links with the rights of the service's account. Whoever can write the files of a repository could make a
    link to the solution, or a link through which the service writes elsewhere. This test does not protect from somebody
    who can change the files while git runs.

    Args:
        remote: the repository.
        names: files or folders in the repository. Neither they nor the folders above them may be links.

    Raises:
        RepositoryError: one of them is a link, or the repository has a `commondir`.
    """
    if remote.protocol != "file":
        return
    root = Path(remote.url)
    if (root / "commondir").exists():
        raise RepositoryError(
            f"{remote}: the file commondir makes it a part of another repository; remove it"
        )
    for name in names:
        for place in (root / name, *(root / name).parents):
            if place == root:
                break
            if place.is_symlink():
                raise RepositoryError(
                    f"{remote}: {place.relative_to(root)} is a link; replace it by the file or folder that it leads to"
                )


def one_line(text: str) -> str:
    """Return the start of `text` as a single line, with control and text-direction characters removed."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"


def _most_cpu_seconds(group: int) -> float:
    """Return the time of a processor of the process in a group that used most of it; 0 where /proc does not exist."""
    most = 0.0
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                # the name of the program, in parentheses, may hold anything
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[2]) == group:
                    most = max(most, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    return most


def is_passing(errors: str) -> bool:
    """Whether git's error messages tell of a fault of the network or the host that may be over in a moment."""
    return re.search(_PASSING, errors) is not None and not any(
        re.search(pattern, errors) for pattern, _, _ in _FAILURES
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its whole group, if it still runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its whole group, if it still runs, and close its pipes."""
    kill(process)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _host_settings(remote: Remote, credentials: Credentials, folder: Path) -> dict[str, str]:
    """Return the settings with which git reaches `remote`. The token is written to a private file in `folder`."""
    settings = {f"remote.{HOST}.url": remote.url, f"protocol.{remote.protocol}.allow": "always"}
    if remote.protocol == "file":
        server = ["git", *(part for item in SERVER_SETTINGS.items() for part in ("-c", "=".join(item)))]
        settings[f"remote.{HOST}.uploadpack"] = shlex.join([*server, "upload-pack"])
        settings[f"remote.{HOST}.receivepack"] = shlex.join([*server, "receive-pack"])
    if remote.protocol in ("https", "http") and credentials.token:
        secret = folder / "credential"
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"username={credentials.username}\npassword={credentials.token}\n")
        # git runs this in a shell, followed by `get`, `store` or `erase`, for this one host
        helper = f'!f() {{ test "$1" = get && cat {shlex.quote(str(secret))}; }}; f'
        settings[f"credential.{remote.origin}.helper"] = helper
    if credentials.ca_file is not None:
        settings["http.sslCAInfo"] = str(credentials.ca_file)
    return settings


def _ssh_command(credentials: Credentials) -> str:
    if credentials.known_hosts is None:
        raise RemoteError(
            "ssh needs a file with the git host's public keys: run ssh-keyscan HOST > FILE, compare the keys, and set "
            "known_hosts_file"
        )
    options = [*SSH_OPTIONS, f'UserKnownHostsFile="{credentials.known_hosts}"']
    options.append(f'IdentityFile="{credentials.ssh_key}"' if credentials.ssh_key else "IdentityFile=none")
    return shlex.join(["ssh", "-F", "none", *(part for option in options for part in ("-o", option))])


_PASSING = (
    r"returned error: (?:408|429|5\d\d)|RPC failed|[Cc]ould not resolve host|Failed to connect|"
    r"Connection (?:refused|reset|timed out|closed)|hung up unexpectedly|early EOF|unexpected disconnect|"
    r"Empty reply|timed out|(?:Recv|Send) failure|SSL|TLS|expected flush"
)
# A message of git (in the C locale) or of a host -> the kind of error, and what to do.
_FAILURES: tuple[tuple[str, type[GraderError], str], ...] = (
    (
        r"couldn't find remote ref|not our ref|unadvertised object",
        NotFound,
        "it does not exist, or not any more",
    ),
    (r"Out of memory|out of memory|died of signal 25", TooLarge, "it holds objects that are too large"),
    (
        r"has (?:tree|blob) mode, but is not|malformed mode in tree|empty filename in tree|too-short tree",
        Damaged,
        "its folders are damaged",
    ),
    (r"died of signal 24", TooSlow, "it holds objects that take too long to unpack"),
    (
        r"error: 30[12378]|url base from redirection",
        GitHostError,
        "the git host redirects; configure the address that it redirects to",
    ),
    (
        r"Authentication failed|could not read (?:Username|Password)|Permission denied|error: 40[13]",
        GitHostError,
        "the git host refuses our credentials; check the token or key and what it may do",
    ),
    (
        r"Host key verification failed",
        GitHostError,
        "the git host's key is not the known one; check known_hosts_file",
    ),
    (
        r"[Rr]epository .*not found|does not appear to be a git repository|not a git repository",
        NoSuchRepository,
        "there is no such repository (any more: was it renamed?), or our credentials do not open it",
    ),
    (r"dumb http transport", RepositoryError, "the git host serves only files; it must run git http-backend"),
    (r"mismatched algorithms|object format", RepositoryError, "it uses another kind of commit id"),
)
