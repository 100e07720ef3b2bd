"""One probe call in a separate process. Student code runs only in such a process.

Theory of operation
-------------------
`run` is called in a new fork of the template process and never returns. First it reads the request, which the template
has not seen. Then it gives up everything that student code must not have: descriptors, limits, Landlock, capabilities,
new privileges, system calls, new machine code. In this order, each step takes away something that earlier steps still
needed. Then it decodes the inputs. Only then does it write on the reply pipe that student code begins. If the process
ends before this moment, that is our fault. If it ends later, student code has run. The time limit also counts from this
moment, so it includes the import of `src` but not our own preparation.

After this moment student code can do everything to this process, and can even write its own reply. A forged reply gains
nothing: the function could have returned the same value. A check on the other side compares the reply, as mere data.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import random
import resource
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from . import BUILD_DIRECTORY, SUBMISSION_DIRECTORY, kernel, protocol
from .processes import ProcessTable
from .reply import BUILD_VARIABLE, FAILED_STATUS, call_and_reply, decode_inputs, failure, find_probe

REPLY_FD = 3

UNTIL_KILLED_SECONDS = 1.0
OUR_PROCESSES = 3
"""Pid 1 of the submission, the template and the anchor have the same user id as the case, so they count too."""

first_in_namespace = False
"""Whether pid 1 of the submission is pid 1 of a pid namespace. The template process sets it."""


@dataclass(frozen=True)
class Confinement:
    """The settings for confining the cases of one submission."""

    features: frozenset[str]
    seccomp: bytes
    root: str = SUBMISSION_DIRECTORY


class Descriptors(NamedTuple):
    """The descriptors that a case is started with."""

    stdout: int
    stderr: int
    reply: int
    request: int
    """A file with the content that `Request.encode` returned."""
    landlock: int = -1
    """Landlock's rules, if Landlock is a feature."""


@dataclass(frozen=True)
class Request:
    """One call: the probe's name, its encoded inputs, its limits by name (see `Limits` on the trusted side)."""

    probe: str
    inputs: bytes
    limits: Mapping[str, Any]
    build: bool = False
    """Whether the case sees the build."""

    def encode(self) -> bytes:
        return protocol.frame(protocol.encode((self.probe, self.limits, self.build))) + self.inputs

    @classmethod
    def read(cls, fd: int) -> Request:
        with open(fd, "rb", closefd=False) as file:
            size = int.from_bytes(file.read(4), "big")
            probe, limits, build = protocol.decode(file.read(size))
            return cls(probe, file.read(), limits, build)


def run(
    descriptors: Descriptors, probes: ModuleType, confinement: Confinement, processes: ProcessTable
) -> NoReturn:
    """Confine this process, call the probe, reply, and end."""
    try:
        request = Request.read(descriptors.request)
        baseline = processes.own_bytes("self"), processes.file_bytes("self")
        address_space = processes.address_space("self")
        _be_killed_first(processes)
        landlock = _take_descriptors(descriptors)
        _confine(request.limits, confinement, landlock, address_space)
        call = find_probe(probes, request.probe)
        inputs = decode_inputs(request.inputs)
    except BaseException as error:  # noqa: BLE001  # any failure is our fault, and this process must end here
        _write(failure(error))
        os._exit(FAILED_STATUS)
    if request.build:
        os.environ[BUILD_VARIABLE] = BUILD_DIRECTORY
    random.seed(0)  # the fork changed the seed, but student code must get the same numbers at a regrade
    gc.enable()
    call_and_reply(call, inputs, request.limits, confinement.root, _write, baseline)
    time.sleep(UNTIL_KILLED_SECONDS)  # pid 1 looks at the memory of this process, then kills it
    os._exit(0)


def _be_killed_first(processes: ProcessTable) -> None:
    """If memory runs out, make the kernel kill this case, not another process of the grader."""
    with contextlib.suppress(OSError):
        kernel.set_dumpable(True)  # otherwise the file belongs to root
        fd = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=processes.descriptor)
        os.write(fd, b"1000")
        os.close(fd)


# ── giving up privileges ─────────────────────────────────────────────────────────────────────────────────


def _take_descriptors(descriptors: Descriptors) -> int:
    """Keep four descriptors: an empty input, two pipes for output, and one pipe for the reply.

    Return the new number of Landlock's rules, which are closed later.
    """
    # A given descriptor may be one of 0 to 3, so all are moved to higher numbers first.
    stdout, stderr, reply = (_above(fd) for fd in descriptors[:3])
    landlock = _above(descriptors.landlock) if descriptors.landlock >= 0 else -1
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2), (reply, REPLY_FD)):
        os.dup2(source, target, inheritable=target != REPLY_FD)
    return landlock


def _above(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, REPLY_FD + 1)


def _confine(limits: Mapping[str, Any], confinement: Confinement, landlock: int, address_space: int) -> None:
    features = confinement.features
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "no-new-privileges" in features:
        kernel.forbid_new_privileges()
    if "landlock" in features:
        kernel.landlock_restrict(landlock)
    if "closed-descriptors" in features:
        kernel.close_descriptors_from(REPLY_FD + 1)
    os.chdir("/tmp" if "private-tmp" in features else confinement.root)  # noqa: S108
    os.umask(0o077)
    if "rlimits" in features:
        _limit_resources(limits, address_space)
    if "capabilities-dropped" in features:
        kernel.drop_capabilities()
    if "no-new-code" in features:
        kernel.forbid_new_code()
    if "seccomp" in features:
        kernel.load_seccomp(confinement.seccomp)


def _limit_resources(limits: Mapping[str, Any], address_space: int) -> None:
    cpu = max(1, int(limits["cpu_seconds"] + 0.999))
    stack = 8 * 2**20
    for name, soft, hard in (
        ("RLIMIT_CPU", cpu, cpu + 1),  # SIGXCPU shows the reason; a process that ignores it is killed
        ("RLIMIT_AS", address_space + limits["memory_bytes"], None)
        if limits["address_space"]
        else ("RLIMIT_AS", None, None),
        ("RLIMIT_NPROC", limits["processes"] + OUR_PROCESSES, None),
        ("RLIMIT_NOFILE", limits["open_files"], None),
        ("RLIMIT_FSIZE", limits["file_bytes"], None),
        ("RLIMIT_STACK", stack, 64 * stack),  # a deep recursion may ask for more
        ("RLIMIT_CORE", 0, None),
        ("RLIMIT_MEMLOCK", 2**16, None),
        ("RLIMIT_MSGQUEUE", 0, None),
        ("RLIMIT_SIGPENDING", 256, None),
        ("RLIMIT_NICE", 0, None),
        ("RLIMIT_RTPRIO", 0, None),
    ):
        kind = getattr(resource, name, None)
        if soft is None or kind is None:
            continue
        allowed = resource.getrlimit(kind)[1]
        hard = soft if hard is None else hard
        if allowed != resource.RLIM_INFINITY:
            soft, hard = min(soft, allowed), min(hard, allowed)
        resource.setrlimit(kind, (soft, hard))


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(REPLY_FD, rest) :]
