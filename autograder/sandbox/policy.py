"""The sandbox policy: what the wall shows and hides, as data, and how that becomes bubblewrap's arguments.

Theory of operation
-------------------
bubblewrap starts from an empty root, so the following is a complete list of what a submission can see. Everything else
on the host is hidden: home directories, the hidden suite, the reference, the staff repository, credentials.

- `/usr` and the directories that belong to it, a handful of files in `/etc` that the dynamic linker needs, and
  artificial `passwd` and `group` files; all read-only.
- The interpreter that runs the grader, without its virtual environment; of that only `site-packages`, below a neutral
  name and without the packages in `MASKED_PACKAGES`. `.pth` files are not executed inside, so an editable install of
  the staff repository leads nowhere.
- Five harmless devices, and the devices that are configured, for a GPU.
- `/grader`: the package `inside`, the probes and the configuration, passed as bytes instead of paths.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.sandbox.inside import GRADER_DIRECTORY, INSIDE_ID, SUBMISSION_DIRECTORY

SITE_PACKAGES = "/site-packages"

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108  # a tmpfs that belongs to the case
    "USER": "student",
    "LOGNAME": "student",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Sets have the same order at each regrade.
    "PYTHONHASHSEED": "0",
}

SYSTEM_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
ARTIFICIAL_FILES: Mapping[str, bytes] = {
    "/etc/passwd": f"student:x:{INSIDE_ID}:{INSIDE_ID}::/tmp:/bin/sh\n".encode(),
    "/etc/group": f"student:x:{INSIDE_ID}:\n".encode(),
    "/etc/hosts": b"127.0.0.1 localhost\n",
}
MASKED_PACKAGES = ("ref", "reference", "autograder", "hidden")


def start_inside(module: str, call: str) -> str:
    """Return the Python lines with which a first process inside the wall starts a module of the package `inside`."""
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
    "rlimits": "CPU, memory, processes, descriptors and file sizes are bounded",
    "memory-watchdog": "the memory of all processes together is bounded",
    "landlock": "writes outside the case's own directories are refused a second time",
}
"""Every protection by name, with its purpose."""

OPTIONAL = frozenset({"landlock"})
"""Used if the kernel has it. All others are required unless they are waived by name."""

INDISPENSABLE = frozenset({"mount-namespace", "user-namespace"})
"""Without these there is no wall, so they cannot be waived."""


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


@dataclass(frozen=True)
class Policy:
    """Everything that determines bubblewrap's arguments."""

    interpreter: Interpreter
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Content by absolute path inside."""
    devices: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    """Further paths of the host to show at the same place."""
    masked: Mapping[str, bool] = field(default_factory=dict)
    """Paths inside that are hidden although a parent is shown, and whether each is a folder."""
    as_root: bool = False
    features: frozenset[str] = frozenset(PROTECTIONS)

    def all_files(self) -> dict[str, bytes]:
        return {**ARTIFICIAL_FILES, **self.files}


def arguments(policy: Policy, descriptors: Mapping[str, int], control_fd: int) -> list[str]:
    """Return bubblewrap's arguments, including the command. `descriptors`: where to read each of `all_files`."""
    return [
        *_namespaces(policy),
        *("--die-with-parent", "--new-session", "--chdir", "/"),
        *("--proc", "/proc", "--perms", "1777", "--size", str(64 * 2**20), "--tmpfs", "/tmp"),  # noqa: S108
        *_system(),
        *_python(policy),
        *_masks(policy.masked),
        *_devices(policy.devices),
        *("--perms", "0755", "--dir", SUBMISSION_DIRECTORY, "--perms", "0755", "--dir", "/empty"),
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
        # Mounts are made as root, so directories that only root may enter can be shown. The fork server then becomes
        # an ordinary user, for which it needs these two capabilities.
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
    for host, inside in site_packages_inside(policy.interpreter).items():
        if host != inside:
            words += ["--perms", "0755", "--dir", SITE_PACKAGES, "--ro-bind", host, inside]
    return words


def site_packages_inside(interpreter: Interpreter) -> dict[str, str]:
    """Return where each folder of libraries is inside: at its own place if that is shown anyway, otherwise below
    SITE_PACKAGES."""
    shown = (*SYSTEM_DIRECTORIES, *interpreter.prefixes)
    return {
        host: host if any(Path(host).is_relative_to(root) for root in shown) else f"{SITE_PACKAGES}/{at}"
        for at, host in enumerate(interpreter.site_packages)
    }


def _shown(paths: Iterable[str]) -> list[str]:
    """Show paths read-only, with parents that everybody may enter, whatever their permissions on the host."""
    words: list[str] = []
    for path in paths:
        for parent in [*reversed(Path(path).parents)][1:]:
            words += ["--perms", "0755", "--dir", str(parent)]
        words += ["--ro-bind", path, path]
    return words


def outermost(paths: Iterable[str]) -> list[str]:
    """Return the paths that are neither below the system's directories nor below another of them."""
    kept: list[str] = []
    for path in sorted({str(Path(path)) for path in paths}):
        if not any(Path(path).is_relative_to(root) for root in (*SYSTEM_DIRECTORIES, *kept)):
            kept.append(path)
    return kept


def _masks(masked: Mapping[str, bool]) -> list[str]:
    words: list[str] = []
    for path, is_folder in masked.items():
        words += ["--tmpfs", path] if is_folder else ["--ro-bind", os.devnull, path]
    return words


def packages_to_mask(interpreter: Interpreter, names: Iterable[str]) -> dict[str, bool]:
    """Return what must not be importable although it is installed: paths inside, and whether each is a folder."""
    wanted = set(names)
    inside_of = site_packages_inside(interpreter)
    # In addition to the interpreter's own folders there are those of the system, which are shown with /usr.
    roots = (*interpreter.prefixes, "/usr", "/usr/local")
    others = [str(path) for root in roots for path in Path(root, "lib").glob("python3*/*-packages")]
    folders = {**{path: path for path in others}, **inside_of}
    return {
        f"{inside}/{entry.name}": entry.is_dir()
        for host, inside in folders.items()
        if Path(host).is_dir()
        for entry in sorted(Path(host).iterdir())
        if entry.name.partition(".")[0] in wanted
    }


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
