"""The sandbox policy: what the wall shows and hides. It is data, which this module turns into bubblewrap's arguments.

Theory of operation
-------------------
bubblewrap starts from an empty root, so the following list of what a submission can see is complete. Everything else
on the host is hidden: home directories, the hidden suite, the reference, the staff repository, credentials.

- `/usr` and the directories that belong to it, the few files in `/etc` that the dynamic linker needs, and artificial
  `passwd`, `group` and `hosts` files. All of them are read-only.
- The interpreter that runs the grader, with its standard library. Of its virtual environment, only the packages that
  the assignment allows are visible, with what they require, below a neutral name. All other folders of libraries are
  empty. Python does not execute `.pth` files inside, so an editable install of the staff repository cannot be imported.
- Five harmless devices, and the configured devices, for a GPU.
- `/grader`: the package `inside`, the probes and the configuration. They are passed as bytes, not as paths.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autograder.sandbox.inside import (
    BUILD_DIRECTORY,
    GRADER_DIRECTORY,
    INSIDE_ID,
    SUBMISSION_DIRECTORY,
    packages,
)

SITE_PACKAGES = "/site-packages"

ONE_THREAD: Mapping[str, str] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""For a process that forks: no fork inherits a thread pool, and processes side by side do not compete for processors.
Must be set before NumPy is imported."""

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108  # a tmpfs that belongs to the case
    "USER": "student",
    "LOGNAME": "student",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    **ONE_THREAD,
    # With this, sets have the same order at each regrade.
    "PYTHONHASHSEED": "0",
    # torch.cuda.is_available() asks the driver's library for management, which leaves CUDA usable after a fork.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}

NO_GPU: Mapping[str, str] = {"CUDA_VISIBLE_DEVICES": ""}
"""For processes of an assignment without devices: they cannot initialise CUDA by accident, after which no fork of them
could use it."""

SYSTEM_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
ARTIFICIAL_FILES: Mapping[str, bytes] = {
    "/etc/passwd": f"student:x:{INSIDE_ID}:{INSIDE_ID}::/tmp:/bin/sh\n".encode(),
    "/etc/group": f"student:x:{INSIDE_ID}:\n".encode(),
    "/etc/hosts": b"127.0.0.1 localhost\n",
}


def start_inside(module: str, call: str) -> str:
    """Return the Python code of a first process inside the wall: it calls a module of the package `inside`."""
    return f"""\
import sys
sys.path[0] = {GRADER_DIRECTORY!r}
from autograder.sandbox.inside import {module}
{module}.{call}
"""


START_FORK_SERVER = start_inside("fork_server", "main(control_fd=int(sys.argv[1]))")

PROTECTIONS: Mapping[str, str] = {
    "mount-namespace": "a submission sees none of the host's files",
    "pid-namespace": "a submission sees only its own processes, and all of them end with it",
    "case-pid-namespace": "a case sees only its own processes, and cannot count earlier ones",
    "network-namespace": "there is no network",
    "ipc-namespace": "two submissions share no memory segment or queue",
    "uts-namespace": "the host's name is hidden",
    "cgroup-namespace": "the host's control groups are hidden",
    "user-namespace": "a submission has no identity outside itself",
    "uid-drop": "student code does not run as root",
    "private-tmp": "what a case writes is gone when it ends",
    "read-only-submission": "a case cannot change the submission for the next one",
    "hidden-proc": "nothing in /proc can be read",
    "closed-descriptors": "a case inherits no descriptors except its own pipes",
    "capabilities-dropped": "a case has no privilege inside its namespaces",
    "no-new-privileges": "set-user-id programs give no privileges",
    "seccomp": "dangerous system calls are refused",
    "no-new-code": "nothing that a submission brings or writes can run as machine code, except the build",
    "rlimits": "CPU, memory, processes, descriptors and file sizes are bounded",
    "memory-watchdog": "the memory of all processes together is bounded",
    "control-group": "everything that a submission uses together is counted and limited by the kernel",
    "landlock": "writes outside the case's own directories are refused a second time",
}
"""Every protection by name, with its purpose."""

OPTIONAL = frozenset({"landlock", "no-new-code", "control-group"})
"""The protections that are used only if this machine has them. The others are required unless waived by name."""

INDISPENSABLE = frozenset({"mount-namespace", "user-namespace"})
"""The protections that cannot be waived, because there is no wall without them."""


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter and the libraries that student code may import."""

    executable: str
    prefixes: tuple[str, ...]
    """Directories that hold the interpreter and its standard library."""
    site_packages: tuple[str, ...]

    @classmethod
    def current(cls) -> Interpreter:
        """Return the interpreter that runs this process, without its virtual environment."""
        base = getattr(sys, "_base_executable", "") or sys.executable
        site = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        return cls(
            executable=os.path.realpath(base),
            prefixes=tuple(dict.fromkeys((sys.base_prefix, sys.base_exec_prefix))),
            site_packages=tuple(dict.fromkeys(path for path in site if Path(path).is_dir())),
        )


def environment(devices: Sequence[str]) -> dict[str, str]:
    """Return the environment variables in a sandbox that shows these device nodes."""
    return {**ENVIRONMENT, **({} if devices else NO_GPU)}


@dataclass(frozen=True)
class Policy:
    """Everything that determines bubblewrap's arguments."""

    interpreter: Interpreter
    files: Mapping[str, bytes] = field(default_factory=dict)
    """The content of each file, by its absolute path inside the wall."""
    devices: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    """Further paths of the host, shown read-only under the same path."""
    visible: Mapping[str, Iterable[str]] = field(default_factory=dict)
    """By folder of libraries of the interpreter, as a path of the host: the entries that are shown."""
    emptied: tuple[str, ...] = ()
    """Folders of libraries below shown paths. Nothing in them is shown except entries in `visible`."""
    as_root: bool = False
    features: frozenset[str] = frozenset(PROTECTIONS)

    def all_files(self) -> dict[str, bytes]:
        return {**ARTIFICIAL_FILES, **self.files}


def arguments(policy: Policy, descriptors: Mapping[str, int], control_fd: int) -> list[str]:
    """Return bubblewrap's arguments and the command to run. `descriptors`: one for each path in `all_files`."""
    return [
        *_namespaces(policy),
        *("--die-with-parent", "--new-session", "--chdir", "/"),
        *("--proc", "/proc", "--perms", "1777", "--size", str(64 * 2**20), "--tmpfs", "/tmp"),  # noqa: S108
        *_system(),
        *_python(policy),
        *_devices(policy.devices),
        *(
            word
            for path in (SUBMISSION_DIRECTORY, BUILD_DIRECTORY, "/empty")
            for word in ("--perms", "0755", "--dir", path)
        ),
        *_files(descriptors),
        *("--remount-ro", "/"),
        *("--", policy.interpreter.executable, "-B", "-s", "-S", "-c", START_FORK_SERVER, str(control_fd)),
    ]


def _namespaces(policy: Policy) -> list[str]:
    words = ["--unshare-cgroup-try"]
    for feature, option in (
        ("pid-namespace", "--unshare-pid"),
        ("network-namespace", "--unshare-net"),
        ("ipc-namespace", "--unshare-ipc"),
        ("uts-namespace", "--unshare-uts"),
    ):
        if feature in policy.features:
            words.append(option)
    if "uts-namespace" in policy.features:
        words += ["--hostname", "sandbox"]
    if policy.as_root:
        # bubblewrap makes the mounts as root, so it can show directories that only root may enter. Then the fork
        # server becomes an ordinary user. It needs these two capabilities to do so.
        return [*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*words, "--unshare-user", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID)]


def _system() -> list[str]:
    words: list[str] = []
    for directory in SYSTEM_DIRECTORIES:
        path = Path(directory)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), directory]
        elif path.is_dir():
            words += ["--ro-bind", directory, directory]
    words += ["--perms", "0755", "--dir", "/etc"]
    for file in SYSTEM_FILES:
        words += ["--ro-bind-try", file, file]
    return words


def _python(policy: Policy) -> list[str]:
    words = _shown((*outermost(policy.interpreter.prefixes), *policy.read_only))
    for path in policy.emptied:
        words += ["--tmpfs", path]
    for host, inside in site_packages_inside(policy.interpreter).items():
        words += ["--perms", "0755", "--dir", inside]
        for entry in policy.visible.get(host, ()):
            words += ["--ro-bind", f"{host}/{entry}", f"{inside}/{entry}"]
    for path in policy.emptied:
        words += ["--remount-ro", path]
    return words


def site_packages_inside(interpreter: Interpreter) -> dict[str, str]:
    """Return the path inside the wall of each folder of libraries.

    The path is the same as on the host if the wall shows that path in any case, otherwise it is below SITE_PACKAGES.
    """
    shown = (*SYSTEM_DIRECTORIES, *interpreter.prefixes)
    return {
        host: host if any(Path(host).is_relative_to(root) for root in shown) else f"{SITE_PACKAGES}/{at}"
        for at, host in enumerate(interpreter.site_packages)
    }


def _shown(paths: Iterable[str]) -> list[str]:
    """Return arguments that show paths read-only.

    Inside the wall, everybody may enter the parent folders of these paths, whatever their permissions on the host.
    """
    words: list[str] = []
    for path in paths:
        for parent in [*reversed(Path(path).parents)][1:]:
            words += ["--perms", "0755", "--dir", str(parent)]
        words += ["--ro-bind", path, path]
    return words


def outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths that are neither below a system directory nor below another of these paths."""
    kept: list[str] = []
    for path in sorted({str(Path(path)) for path in paths}):
        if not any(Path(path).is_relative_to(root) for root in (*SYSTEM_DIRECTORIES, *kept)):
            kept.append(path)
    return kept


def libraries_to_empty(interpreter: Interpreter) -> tuple[str, ...]:
    """Return every folder of libraries below the paths that the wall shows in any case, the interpreter's included."""
    shown = (*SYSTEM_DIRECTORIES, *interpreter.prefixes)
    found = {*packages.folders(interpreter.prefixes), *map(os.path.realpath, interpreter.site_packages)}
    return tuple(sorted(path for path in found if any(Path(path).is_relative_to(root) for root in shown)))


def _devices(extra: Iterable[str]) -> list[str]:
    words = ["--tmpfs", "/dev"]
    for device in DEVICES:
        words += ["--dev-bind", device, device]
    for device in extra:
        words += ["--dev-bind-try", device, device]
    return [*words, "--dir", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108


def _files(descriptors: Mapping[str, int]) -> list[str]:
    words: list[str] = []
    parents = {str(parent): None for path in descriptors for parent in reversed(Path(path).parents)}
    for parent in [*parents][1:]:
        words += ["--perms", "0755", "--dir", parent]
    for path, descriptor in descriptors.items():
        words += ["--perms", "0444", "--ro-bind-data", str(descriptor), path]
    return words
