"""What the wall shows and hides: policy as data, and pure functions that turn it into bubblewrap's arguments.

Theory of operation
-------------------
bubblewrap starts from an empty root. What follows is therefore a list
of what is *there*; everything else on the host is not: no home directory, no hidden suite, no reference, no
staff repository, no credentials.

- `/usr` and what belongs to it, a handful of files of `/etc` that the dynamic linker needs, and made-up
  `passwd` and `group` files; all read-only.
- The interpreter that runs the grader, without its virtual environment; of that only `site-packages`, below a
  neutral name, and of `site-packages` not what `masked_packages` names. `.pth` files are not executed inside,
  so an editable install of the staff repository leads nowhere.
- Six harmless devices, and those that are configured, for a GPU.
- `/grader`: our worker, the protocol, the probes, handed over as bytes rather than paths.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

GRADER_DIRECTORY = "/grader"
SITE_PACKAGES = "/site-packages"
INSIDE_ID = 65532

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108  # a tmpfs of the case alone
    "USER": "student",
    "LOGNAME": "student",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # The order of sets is the same at each regrade.
    "PYTHONHASHSEED": "0",
}

SYSTEM_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
MADE_UP_FILES: Mapping[str, bytes] = {
    "/etc/passwd": f"student:x:{INSIDE_ID}:{INSIDE_ID}::/tmp:/bin/sh\n".encode(),
    "/etc/group": f"student:x:{INSIDE_ID}:\n".encode(),
    "/etc/hosts": b"127.0.0.1 localhost\n",
}
MASKED_PACKAGES = ("ref", "reference", "autograder", "hidden")

BOOT = (
    f"import sys; sys.path[0] = {GRADER_DIRECTORY!r}; "
    "from autograder.sandbox.inside import fork_server; fork_server.main(control_fd=int(sys.argv[1]))"
)

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
    "hidden-proc": "nothing of /proc can be read",
    "closed-descriptors": "a case inherits no descriptor but its own pipes",
    "capabilities-dropped": "a case has no privilege inside its namespaces",
    "no-new-privileges": "set-user-id programs give none",
    "seccomp": "dangerous system calls are refused",
    "rlimits": "CPU, memory, processes, descriptors and file sizes are bounded",
    "memory-watchdog": "memory of all processes together is bounded",
    "landlock": "writes outside the case's own directories are refused twice",
}
"""Every protection by name, with what it is for."""

OPTIONAL = frozenset({"landlock"})
"""Used where the kernel has it; the others are required, or waived by name."""

INDISPENSABLE = frozenset({"mount-namespace", "user-namespace"})
"""Without these there is no wall at all."""


@dataclass(frozen=True)
class Interpreter:
    """A Python and the libraries that student code may import."""

    executable: str
    prefixes: tuple[str, ...]
    """Directories that hold the interpreter and its standard library."""
    site_packages: tuple[str, ...]

    @classmethod
    def current(cls) -> Interpreter:
        """The one that runs this process, without its virtual environment."""
        base = getattr(sys, "_base_executable", "") or sys.executable
        site = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        return cls(
            executable=os.path.realpath(base),
            prefixes=tuple(dict.fromkeys((sys.base_prefix, sys.base_exec_prefix))),
            site_packages=tuple(dict.fromkeys(path for path in site if Path(path).is_dir())),
        )


@dataclass(frozen=True)
class Policy:
    """Everything that decides bubblewrap's arguments."""

    interpreter: Interpreter
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Absolute path inside → content."""
    devices: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    """Further host paths to show at the same place."""
    masked: Mapping[str, bool] = field(default_factory=dict)
    """Paths inside to hide although a parent is shown, and whether each is a folder."""
    as_root: bool = False
    features: frozenset[str] = frozenset(PROTECTIONS)

    def all_files(self) -> dict[str, bytes]:
        return {**MADE_UP_FILES, **self.files}


def arguments(policy: Policy, descriptors: Mapping[str, int], control_fd: int) -> list[str]:
    """bubblewrap's arguments, the command included. `descriptors`: where to read each of `all_files`."""
    return [
        *_namespaces(policy),
        *("--die-with-parent", "--new-session", "--chdir", "/"),
        *("--proc", "/proc", "--perms", "1777", "--size", str(64 * 2**20), "--tmpfs", "/tmp"),  # noqa: S108
        *_system(),
        *_python(policy),
        *_masks(policy.masked),
        *_devices(policy.devices),
        *("--perms", "0755", "--dir", "/submission", "--perms", "0755", "--dir", "/empty"),
        *_files(descriptors),
        *("--remount-ro", "/"),
        *("--", policy.interpreter.executable, "-B", "-s", "-S", "-c", BOOT, str(control_fd)),
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
        # Mounts are made as root, so directories that only root may enter can be shown. The worker then
        # becomes an ordinary user, for which it needs these two.
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
    """Where each folder of libraries is inside: in its place if shown anyway, else below SITE_PACKAGES."""
    shown = (*SYSTEM_DIRECTORIES, *interpreter.prefixes)
    return {
        host: host if any(Path(host).is_relative_to(root) for root in shown) else f"{SITE_PACKAGES}/{at}"
        for at, host in enumerate(interpreter.site_packages)
    }


def _shown(paths: Iterable[str]) -> list[str]:
    """Read-only, with parents that anybody may enter, whatever they are on the host."""
    words: list[str] = []
    for path in paths:
        for parent in [*reversed(Path(path).parents)][1:]:
            words += ["--perms", "0755", "--dir", str(parent)]
        words += ["--ro-bind", path, path]
    return words


def outermost(paths: Iterable[str]) -> list[str]:
    """The paths that are not below the system's directories or below another of them."""
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
    """What must not be importable although it is installed, by its path inside; whether it is a folder."""
    wanted = set(names)
    inside_of = site_packages_inside(interpreter)
    # Beside the interpreter's own there are those of the system, which are shown with /usr.
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
