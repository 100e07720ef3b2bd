"""Pid 1 of a container for one submission: it warms up, then serves one session on stdin and stdout.

Theory of operation
-------------------
The container already provides the namespaces that `submission.enter` makes in the wall of namespaces. So this process
needs no privilege, and never had one. It imports the modules that every case needs, lets a case rehearse, and sends
("ready", protections, facts). Then it waits for the requests that `submission` serves. When its input ends, this
process ends, and with pid 1 every process of the container ends.

In the wall of namespaces, mounts protect a submission. This process protects it without mounts:

- The directories that a case can write to are emptied after the case. All processes of the case are dead by then.
- Landlock does not let a case write anywhere else, for example to the submission. It also does not let a case read
  `/proc`, `/sys`, devices that are not meant for it, and the folders where an image or the engine keeps private files.
- The packages that may be imported are found through a folder of links to them. Landlock does not let a case read a
  file of any other package. A case may see the names of such files, because a rule for a folder holds for all below it.
- Our own files arrive through stdin, and are stored in a tmpfs. They are removed before a file of a submission arrives.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import shutil
import signal
import socket
import sys
import sysconfig
import threading
import traceback
from collections.abc import Collection, Iterable
from dataclasses import replace

from . import (
    GRADER_DIRECTORY,
    SUBMISSION_DIRECTORY,
    WRITABLE_DIRECTORIES,
    fork_server,
    kernel,
    packages,
    protocol,
    rehearsal,
    submission,
)
from .processes import ProcessTable
from .template import Lost

PACKAGES = f"{GRADER_DIRECTORY}/packages"
"""The folder of links to the packages that may be imported."""
PRIVATE = frozenset({"boot", "grader", "home", "media", "mnt", "proc", "root", "run", "srv", "sys", "var"})
"""Folders in the container's root that no case may read, except for the files of Python itself."""
PRIVATE_SETTINGS = frozenset({"fstab", "gshadow", "hostname", "hosts", "machine-id", "resolv.conf", "shadow"})
"""Files in /etc that no case may read. The engine copies some of them from the host."""
MOST_SKIPPED = 64
FACTS = ("numpy", "torch")
"""The packages whose versions are reported if this process has imported them."""


class EmptiedFolders(submission.Folders):
    """The folders of a container. The engine has made them; all cases use the same ones, emptied between cases."""

    def make(self) -> None:
        """Do nothing: the engine has made the folders."""

    def renew(self, limits: object) -> None:  # noqa: ARG002  # the engine has set their sizes
        for path in self.writable:
            empty(path)
        skip_process_ids()

    def protect(self, read_only: bool) -> None:
        """Do nothing: Landlock protects the submission and the build."""

    def unnamed_file(self, content: bytes) -> int:
        # The container's seccomp profile applies to this process too, and refuses memfd_create.
        return submission.filled(os.open(SUBMISSION_DIRECTORY, os.O_TMPFILE | os.O_RDWR, 0o600), content)

    def ruleset(self) -> int:
        readable, listed = without(readable_paths(self.setup.shown), self.setup.hidden)
        gpus = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("nvidia")]  # noqa: PTH208
        devices = [path for path in (*self.setup.devices, *gpus) if os.path.exists(path)]  # noqa: PTH110
        writable = dict.fromkeys((*WRITABLE_DIRECTORIES, os.devnull, *devices))
        return kernel.landlock_ruleset(self.setup.landlock_version, readable, [*writable], listed)


def skip_process_ids() -> None:
    """Use up a random number of process ids: a container cannot make a pid namespace for each case."""
    for _ in range(random.SystemRandom().randrange(MOST_SKIPPED)):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()


class ContainerSubmission(submission.Submission):
    """A submission that makes no mounts."""

    folders_kind = EmptiedFolders


def readable_paths(shown: Iterable[str]) -> list[str]:
    """Return the paths that a case may read: `shown`, Python, and all of the root and /etc that is not private."""
    kept = [f"/{name}" for name in os.listdir("/") if name not in PRIVATE | {"etc", "dev"}]  # noqa: PTH208
    kept += [f"/etc/{name}" for name in os.listdir("/etc") if name not in PRIVATE_SETTINGS]  # noqa: PTH208
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, *sys.path}
    kept += [path for path in (*python, *shown) if path.startswith("/")]
    return [path for path in dict.fromkeys(kept) if os.path.exists(path)]  # noqa: PTH110


def without(paths: Iterable[str], hidden: Collection[str]) -> tuple[list[str], list[str]]:
    """Return paths that contain all of `paths` except the folders in `hidden`, and the folders that were divided.

    Links among the divided folders' entries are left out: what they lead to has a path of its own.
    """
    kept, divided = dict[str, None](), dict[str, None]()
    waiting = [os.path.realpath(path) for path in paths]
    while waiting:
        path = waiting.pop()
        if path in kept or path in divided or path in hidden:
            continue
        if any(folder.startswith(path.rstrip("/") + "/") for folder in hidden):
            divided[path] = None
            with os.scandir(path) as entries:
                waiting += [entry.path for entry in entries if not entry.is_symlink()]
        else:
            kept[path] = None
    return [*kept], [*divided]


def show_packages(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Let this process and its cases import the packages in `names` and what they require, and no other package.

    Return the folders of libraries, which cases must not read, and the paths in them that cases may read.
    """
    standard = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib")}
    standard |= {f"{folder}/lib-dynload" for folder in standard}
    libraries = [
        path
        for path in dict.fromkeys(sys.path)
        if path not in standard and not path.startswith(GRADER_DIRECTORY) and os.path.isdir(path)  # noqa: PTH112
    ]
    os.mkdir(PACKAGES)  # noqa: PTH102
    shown = [PACKAGES]
    for folder, entries in packages.entries(libraries, names).items():
        for entry in entries:
            with contextlib.suppress(FileExistsError):
                os.symlink(f"{folder}/{entry}", f"{PACKAGES}/{entry}")  # noqa: PTH211
                shown.append(os.path.realpath(f"{folder}/{entry}"))
    sys.path[:] = [path for path in sys.path if path not in libraries]
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    return sorted({*map(os.path.realpath, libraries), *packages.folders(prefixes)}), shown


def main() -> None:
    """Serve one session, and return when it ends."""
    reading, writing = _take_stream()
    try:
        configuration = fork_server.read_configuration()
        refuse_packages(configuration["refused"])
        libraries, shown = show_packages((*configuration["preload"], *configuration["importable"]))
        configuration["site_packages"] = [PACKAGES]
        setup = fork_server.prepare(configuration)
        setup = replace(setup, hidden=tuple(libraries), shown=(*setup.shown, *shown))
        for name in os.listdir(GRADER_DIRECTORY):  # noqa: PTH208
            if f"{GRADER_DIRECTORY}/{name}" != PACKAGES:
                shutil.rmtree(os.path.join(GRADER_DIRECTORY, name), ignore_errors=True)  # noqa: PTH118
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # with a handler, processes of a case could signal pid 1
        processes = ProcessTable(os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        protections = _rehearse(setup, processes)
        protocol.send_frame(writing, protocol.encode(("ready", protections, facts())))
        ContainerSubmission(setup, processes).serve(reading, writing)
    except (protocol.ConnectionLostError, BrokenPipeError, Lost):
        pass
    except ImportError as error:  # a fault of the image
        protocol.send_frame(writing, protocol.encode(("failed", f"{type(error).__name__}: {error}")))
    except BaseException:  # noqa: BLE001  # sent to the other side, which raises it as a GraderError
        text = traceback.format_exc()[-4000:]
        with contextlib.suppress(BaseException):
            protocol.send_frame(writing, protocol.encode(("failed", text)))


def _take_stream() -> tuple[int, int]:
    """Move the session's stream to other descriptors, because an imported module might use stdin or stdout."""
    reading, writing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return reading, writing


def refuse_packages(names: Iterable[str]) -> None:
    """Raise ImportError if student code could import one of these packages, for example the reference."""
    path = [folder for folder in sys.path if not folder.startswith(GRADER_DIRECTORY)]
    for name in names:
        for finder in sys.meta_path:
            found = finder.find_spec(name, path)
            if found is not None:
                raise ImportError(
                    f"the image holds the package {name!r} ({found.origin}), which student code could import; "
                    "use an image without it: docker build --target sandbox"
                )


def _rehearse(setup: submission.Setup, processes: ProcessTable) -> list[str]:
    """Return the protections that a rehearsing case finds in force. Raises RuntimeError if the case fails."""
    probes = rehearsal.module(setup.features)
    rehearsing = ContainerSubmission(replace(setup, probes=probes), processes)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        rehearsal.request(ours.fileno(), setup.rehearsal_limits)
        rehearsing.reading = rehearsing.writing = theirs.fileno()
        rehearsing.serve_one()
        rehearsing.serve_one()
        rehearsing.template.close()
        return rehearsal.protections_seen(ours.fileno())


def facts() -> dict[str, str]:
    """Return the versions of Python and of the image's packages, by name."""
    versions = {"python": platform.python_version()}
    for name in FACTS:
        if name in sys.modules:
            versions[name] = str(sys.modules[name].__version__)
    return versions


def empty(folder: str) -> None:
    """Remove everything below a folder, with any depth, names and modes. No other process may use the folder.

    Descending would fail in a deep tree. So every entry two levels down is moved to the top, until nothing is left.
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
    """Remove a file and return True. If `name` is a folder, make it accessible and return False."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        os.chmod(name, 0o700, dir_fd=folder)
        return False
    return True
