"""Pid 1 of a container that belongs to one submission: warms up, then serves one session on stdin and stdout.

Theory of operation
-------------------
The container itself is the set of namespaces that `submission.enter` makes elsewhere, so nothing here needs a
privilege: this process never had one. It imports what every case needs, lets a case rehearse, says
("ready", protections, facts) and waits for the requests of `submission`. The end of its input ends it, and with
pid 1 ends everything in the container.

What the submission's own mounts do elsewhere is done here without mounting:

- The directories that a case can write to are emptied after it. All processes of the case are dead by then.
- Landlock keeps a case from writing elsewhere, the submission included, and from reading `/proc`, `/sys`, devices
  that are not meant for it, and the places and files where an image, or the engine, keeps what is private.
- Our files came through stdin into a tmpfs; they are removed before anything of a submission arrives.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from dataclasses import replace

from . import case, fork_server, kernel, protocol, rehearsal, submission

PRIVATE = frozenset({"boot", "grader", "home", "media", "mnt", "proc", "root", "run", "srv", "sys", "var"})
"""Folders of the container's root that no case may read, but for what Python itself has there."""
PRIVATE_SETTINGS = frozenset({"fstab", "gshadow", "hostname", "hosts", "machine-id", "resolv.conf", "shadow"})
"""The same in /etc; the engine puts some of the host's there."""
FACTS = ("numpy", "torch")
"""Packages whose versions are reported, if the worker has imported them."""


class EmptiedFolders(submission.Writable):
    """The same directories for all cases, emptied between them."""

    def renew(self, limits: object) -> None:  # noqa: ARG002  # their sizes are the container's
        if self.enabled and self.made == self._look():
            return
        for path in case.WRITABLE if self.enabled else ():
            empty(path)
        if "landlock" in self.setup.features and self.landlock < 0:
            self.landlock = self._ruleset()
        self.made = self._look()

    def _ruleset(self) -> int:
        gpus = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("nvidia")]  # noqa: PTH208
        devices = [path for path in (*self.setup.devices, *gpus) if os.path.exists(path)]  # noqa: PTH110
        writable = dict.fromkeys((*case.WRITABLE, os.devnull, *devices))
        return kernel.landlock_ruleset(self.setup.landlock_version, readable(self.setup.shown), [*writable])


class ContainerSubmission(submission.Submission):
    """A submission that mounts nothing."""

    writable_kind = EmptiedFolders

    def _mount_base(self) -> None:
        """The container has made them."""

    def _protect_submission(self, read_only: bool) -> None:
        """Landlock does."""


def readable(shown: Iterable[str]) -> list[str]:
    """What a case may read: `shown`, Python, and what of the container's root and /etc is not private."""
    kept = [f"/{name}" for name in os.listdir("/") if name not in PRIVATE | {"etc", "dev"}]  # noqa: PTH208
    kept += [f"/etc/{name}" for name in os.listdir("/etc") if name not in PRIVATE_SETTINGS]  # noqa: PTH208
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sys.path}
    kept += [path for path in (*python, *shown) if path.startswith("/")]
    return [path for path in dict.fromkeys(kept) if os.path.exists(path)]  # noqa: PTH110


def main() -> None:
    """Serve one session, and return at its end."""
    reading, writing = _take_stream()
    try:
        with open(fork_server.CONFIGURATION, "rb") as file:  # noqa: PTH123
            configuration = protocol.decode(file.read())
        setup = fork_server.prepare(configuration)
        refuse_packages(configuration["masked"])
        for name in os.listdir(configuration["folder"]):  # noqa: PTH208
            shutil.rmtree(os.path.join(configuration["folder"], name), ignore_errors=True)  # noqa: PTH118
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a handler would let the case's processes signal pid 1
        processes = submission.ProcessTable(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        protections = _rehearse(setup, processes)
        protocol.send_frame(writing, protocol.encode(("ready", protections, facts())))
        ContainerSubmission(setup, processes).serve(reading, writing)
    except (protocol.ConnectionLostError, BrokenPipeError):
        pass
    except ImportError as error:  # the image is not what it should be
        protocol.send_frame(writing, protocol.encode(("failed", f"{type(error).__name__}: {error}")))
    except BaseException:  # noqa: BLE001  # told to the other side, which raises it as a GraderError
        text = traceback.format_exc()[-4000:]
        with contextlib.suppress(BaseException):
            protocol.send_frame(writing, protocol.encode(("failed", text)))


def _take_stream() -> tuple[int, int]:
    """Move the session's stream away from where something imported might read or print."""
    reading, writing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return reading, writing


def refuse_packages(names: Iterable[str]) -> None:
    """Raise ImportError when one of them, such as the reference, could be imported by student code."""
    for name in names:
        for finder in sys.meta_path:
            found = finder.find_spec(name, None)
            if found is not None:
                raise ImportError(
                    f"the image holds the package {name!r} ({found.origin}), which student code could import; "
                    "use an image without it: docker build --target sandbox"
                )


def _rehearse(setup: submission.Setup, processes: submission.ProcessTable) -> list[str]:
    """The protections that a case of our own finds in force; raises if it does not return."""
    probes = rehearsal.module(setup.features)
    rehearsing = ContainerSubmission(replace(setup, probes=probes), processes)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        rehearsal.ask(ours.fileno(), setup.rehearsal_limits)
        rehearsing.reading = rehearsing.writing = theirs.fileno()
        rehearsing.answer_one()
        rehearsing.answer_one()
        return rehearsal.protections_seen(ours.fileno())


def facts() -> dict[str, str]:
    """What the image brings: versions by name."""
    versions = {"python": platform.python_version()}
    for name in FACTS:
        if name in sys.modules:
            versions[name] = str(sys.modules[name].__version__)
    return versions


def empty(folder: str) -> None:
    """Remove everything below a folder, whatever its depth, names and modes; nobody else may be using it.

    Instead of descending, which a deep tree would make fail, it moves what is two levels down to the top.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while names := os.listdir(top):  # noqa: PTH208
            for name in names:
                if not _unlinked(name, top):
                    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
                    for entry in os.listdir(below):  # noqa: PTH208
                        if not _unlinked(entry, below):
                            os.rename(entry, os.urandom(16).hex(), src_dir_fd=below, dst_dir_fd=top)
                    os.close(below)
                    os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _unlinked(name: str, folder: int) -> bool:
    """Remove a file; False for a folder, which may be entered and moved from then on."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        os.chmod(name, 0o700, dir_fd=folder)
        return False
    return True
