"""The interface of the container wall to the Docker engine: command lines of containers, labels, remedies for errors.

Theory of operation
-------------------
`arguments` is the sandbox policy of a container: a pure function from data to a command line. A container gets no
network, a read-only root, no capability, no new privileges, its own seccomp profile, limits of processes, memory, CPU
and open files, an ordinary user, and five tmpfs mounts. A container reads its standard input. When the input ends, the
container ends and the engine removes it. So it does not outlive the process that holds the other end of its input,
however that process dies.

Each container is labelled with its owner, a process that is identified by host, boot, pid namespace, pid and start
time. Sometimes a container stays although its owner has ended: the engine was stopped meanwhile, or the container was
made but never started. `sweep` removes such containers.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.errors import GraderError
from autograder.sandbox import policy
from autograder.sandbox.inside import (
    BUILD_DIRECTORY,
    GRADER_DIRECTORY,
    SUBMISSION_DIRECTORY,
    WRITABLE_DIRECTORIES,
)
from autograder.sandbox.inside.submission import BUILD_BYTES
from autograder.sandbox.limits import MIB, Limits
from autograder.sandbox.seccomp import container_profile
from autograder.sandbox.wall import anonymous_file

LABEL = "autograder.owner"
COMMAND_SECONDS = 60.0

OWN_BYTES = 1024 * MIB
"""Memory for pid 1 of a container, including NumPy and torch."""
OWN_PROCESSES = 16
SUBMISSION_BYTES = 1024 * MIB
"""Space for the submission's files."""
GRADER_BYTES = 16 * MIB
"""Space for our files."""
MAX_CPUS = 2
TEMPORARY = (*WRITABLE_DIRECTORIES, SUBMISSION_DIRECTORY, BUILD_DIRECTORY, GRADER_DIRECTORY)
"""Where a tmpfs is mounted in a container."""
FIRST_UID, UIDS = 200_000, 1_000_000_000
"""The range of user ids. Each container has its own, because RLIMIT_NPROC counts a user's processes machine-wide."""

_NVIDIA = re.compile(r"/dev/nvidia(\d+)")
_NVIDIA_CONTROL = re.compile(r"/dev/nvidia(ctl|-.+)")


@dataclass(frozen=True)
class Container:
    """Everything that determines how a container is run."""

    image: str
    program: str
    """The Python source that pid 1 executes."""
    limits: Limits = field(default_factory=Limits)
    devices: tuple[str, ...] = ()
    """Device nodes to show. The nodes of NVIDIA GPUs become `--gpus device=N`."""
    volumes: tuple[str, ...] = ()
    """Folders of the host to show, read-only, as HOST:INSIDE."""
    owner: str = ""
    cpus: int = MAX_CPUS


def arguments(container: Container, *, seccomp: str, uid: int) -> list[str]:
    """Return the arguments of the `docker` command. `seccomp`: the file with the seccomp profile."""
    limits = container.limits
    own = f"nosuid,nodev,uid={uid},gid={uid},mode=0755"
    room = f"{own},size={limits.tmp_bytes},nr_inodes={limits.tmp_files}"
    memory = memory_bytes(limits)
    return [
        *("run", "--interactive", "--rm", "--pull", "never", "--log-driver", "none"),
        *("--label", f"{LABEL}={container.owner}", "--hostname", "sandbox"),
        *("--network", "none", "--ipc", "none", "--cgroupns", "private", "--read-only"),
        *("--sysctl", "net.ipv4.ping_group_range=1 0"),  # no ICMP sockets: by default all users may open them
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--security-opt", f"seccomp={seccomp}"),
        *("--user", f"{uid}:{uid}", "--pids-limit", str(limits.processes + OWN_PROCESSES)),
        *("--memory", str(memory), "--memory-swap", str(memory), "--cpus", str(container.cpus)),
        *("--ulimit", "core=0", "--ulimit", f"nofile={limits.open_files + 256}"),
        *(word for path in WRITABLE_DIRECTORIES for word in ("--tmpfs", f"{path}:rw,noexec,{room}")),
        *("--tmpfs", f"{SUBMISSION_DIRECTORY}:rw,noexec,size={SUBMISSION_BYTES},nr_inodes=100000,{own}"),
        *("--tmpfs", f"{BUILD_DIRECTORY}:rw,exec,size={BUILD_BYTES},nr_inodes=100,{own}"),
        *("--tmpfs", f"{GRADER_DIRECTORY}:rw,noexec,size={GRADER_BYTES},{own}"),
        *_devices(container.devices),
        *(word for volume in container.volumes for word in ("--mount", _bind(volume))),
        # PATH comes from the image, because it depends on the image. All other variables are the same in every sandbox.
        *(
            word
            for name, value in policy.environment(container.devices).items()
            if name != "PATH"
            for word in ("--env", f"{name}={value}")
        ),
        *("--workdir", "/", "--entrypoint", "python3", container.image, "-B", "-s", "-c", container.program),
    ]


def memory_bytes(limits: Limits) -> int:
    """Return the memory limit of a whole container.

    This limit is the last resort: usually the memory watch, which measures a case alone, ends the case first.
    """
    return OWN_BYTES + SUBMISSION_BYTES + limits.memory_bytes + 2 * limits.tmp_bytes


def _bind(volume: str) -> str:
    host, _, inside = volume.partition(":")
    if not (host.startswith("/") and inside.startswith("/")) or set(volume) & set('",') or ":" in inside:
        raise GraderError(f"{volume!r} is not HOST:INSIDE, two absolute paths without a comma or a quote")
    if any(Path(inside).is_relative_to(place) for place in TEMPORARY):
        raise GraderError(f"{volume!r} would be in a folder that is emptied; choose another place inside")
    return f"type=bind,src={host},dst={inside},readonly"


def _devices(paths: Iterable[str]) -> list[str]:
    gpus, words = [], []
    for path in paths:
        if gpu := _NVIDIA.fullmatch(path):
            gpus.append(gpu[1])
        elif not _NVIDIA_CONTROL.fullmatch(path):  # the engine adds the control devices with every GPU
            words += ["--device", path]
    # Docker parses the value as a CSV record, so a list of numbers needs quotes.
    return [*(["--gpus", f'"device={",".join(gpus)}"'] if gpus else []), *words]


def new_uid() -> int:
    """Return a random user id for one container. The range is so large that a second use is very unlikely."""
    return FIRST_UID + secrets.randbelow(UIDS)


def seccomp_file() -> int:
    """Return a descriptor from which Docker's client can read the seccomp profile for this machine.

    Raises GraderError if there is no profile for this architecture.
    """
    return anonymous_file(json.dumps(container_profile()).encode())


# ── asking the engine ────────────────────────────────────────────────────────────────────────────────────


def find_docker() -> str:
    """Return the path of Docker's client. Raises GraderError if it is not installed."""
    found = shutil.which("docker")
    if found is None:
        raise GraderError("docker is not installed; run: apt-get install docker.io, or use --sandbox bwrap")
    return found


def ask(*words: str) -> str:
    """Return the output of a Docker command. If it fails, raises a GraderError that says what to do."""
    try:
        done = subprocess.run(
            [find_docker(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GraderError(
            f"the Docker engine did not respond in {COMMAND_SECONDS:.0f} s; restart it: systemctl restart docker"
        ) from None
    if done.returncode:
        raise GraderError(explain(done.stderr))
    return done.stdout.strip()


def server_version() -> str:
    """Return the engine's version. Raises GraderError if the engine does not respond."""
    return ask("version", "--format", "{{.Server.Version}}")


def image_id(image: str) -> str:
    """Return the id of an image. Raises GraderError if the image is not on this machine."""
    return ask("image", "inspect", "--format", "{{.Id}}", image)


_REMEDIES = (
    ("permission denied", "add this user to the group docker: usermod -aG docker USER, then log in again"),
    ("Cannot connect to the Docker daemon", "start the engine: systemctl start docker"),
    (
        "No such image",
        "load it (docker load -i FILE), pull it (docker pull NAME), or build it, see docs/docker.md",
    ),
    ("Unable to find image", "load it (docker load -i FILE), pull it (docker pull NAME), or build it"),
    (
        "could not select device driver",
        "install the NVIDIA container toolkit, or take the GPU out of devices",
    ),
    (
        "executable file not found",
        "the image needs python3 on its PATH: use one made from the course's Dockerfile",
    ),
    ("ModuleNotFoundError", "the image lacks this package: build it from the course's Dockerfile"),
    ("seccomp", "the engine must support seccomp profiles: docker info shows it under Security Options"),
)


def explain(text: str) -> str:
    """Return the end of the output of Docker or a container, and what to do about the error."""
    printed = " ".join(text.split())[-1500:] or "docker printed nothing"
    remedy = next((remedy for words, remedy in _REMEDIES if words in printed), "see: autograder doctor")
    return f"{printed}; {remedy}"


# ── owners of containers ─────────────────────────────────────────────────────────────────────────────────


def owner() -> str:
    """Return a unique name for this process: no other process on any machine ever has the same name."""
    return "/".join((*_place(), str(os.getpid()), _start_time(os.getpid())))


def _place() -> tuple[str, str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname() or platform.node(), boot, str(Path("/proc/self/ns/pid").stat().st_ino)


def _start_time(pid: int) -> str:
    """Return when a process started, in ticks since boot; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def is_gone(label: str) -> bool:
    """Return True if the owner that a label names has certainly ended, and False if it runs or this is not known."""
    host, boot, namespace, pid, start = (*label.split("/"), "", "", "", "", "")[:5]
    here = _place()
    if host != here[0]:
        return False
    if boot != here[1]:
        return True
    return namespace == here[2] and pid.isdecimal() and _start_time(int(pid)) != start


def sweep() -> list[str]:
    """Remove containers whose owner has ended; return their ids."""
    rows = ask(
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        f"label={LABEL}",
        "--format",
        f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}',
    )
    gone = [row.split(" ")[0] for row in rows.splitlines() if is_gone(row.partition(" ")[2])]
    remove(gone)
    return gone


def remove(containers: Iterable[str]) -> None:
    """Kill and remove containers. A container that is already being removed causes no error."""
    listed = [*containers]
    if listed:
        subprocess.run(
            [find_docker(), "rm", "--force", *listed],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            check=False,
        )


def owned(label: str) -> list[str]:
    """Return the ids of the containers of one owner."""
    return ask("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={LABEL}={label}").split()


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return those of the given environment variables that Docker's client may have."""
    names = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")
    return {name: given[name] for name in names if name in given}
