"""One probe call in a process of its own: the only place where student code runs.

Theory of operation
-------------------
`run` is entered in a fresh fork of the submission process and never returns. First it gives up everything that student
code must not have, each step taking away what the step before it still needed: descriptors, limits, Landlock,
capabilities, new privileges, system calls. It decodes the inputs. Only then does it write on the reply pipe that
student code begins. A process that ends before that has failed through our fault; one that ends after it ran student
code. The time limit counts from that moment too, so it includes the import of `src` and not our own preparation.

From then on student code may do to this process whatever it likes, including writing a reply of its own. A forged
reply is worth no more than the same value returned by the function: it is only data that a check on the other side
compares.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from . import SUBMISSION_DIRECTORY, kernel
from .reply import FAILED_STATUS, call_and_reply, decode_inputs, failure, find_probe

REPLY_FD = 3


@dataclass(frozen=True)
class Confinement:
    """What a case gives up before student code runs; made once by the submission process."""

    features: frozenset[str]
    seccomp: bytes
    landlock: int
    """Descriptor of the rules, if Landlock is a feature."""
    baseline_bytes: int
    """Address space of the submission process, with which a fork starts."""
    root: str = SUBMISSION_DIRECTORY


@dataclass(frozen=True)
class Request:
    """One call: the probe's name, its encoded inputs, its limits by name (see `Limits` on the trusted side)."""

    probe: str
    inputs: bytes
    limits: Mapping[str, Any]


def run(
    request: Request, probes: ModuleType, confinement: Confinement, output: tuple[int, int], reply: int
) -> NoReturn:
    """Confine this process, call the probe, reply, and end. `output`: pipes for stdout and stderr."""
    try:
        _take_descriptors(output, reply)
        _confine(request.limits, confinement)
        call = find_probe(probes, request.probe)
        inputs = decode_inputs(request.inputs)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is our fault, and this process must end here
        _write(failure(error))
        os._exit(FAILED_STATUS)
    random.seed(0)  # forking changed the seed; a regrade must repeat the student's own random numbers too
    gc.enable()
    call_and_reply(call, inputs, request.limits, confinement.root, _write)
    os._exit(0)


# ── giving up privileges ─────────────────────────────────────────────────────────────────────────────────


def _take_descriptors(output: tuple[int, int], reply: int) -> None:
    """Keep four descriptors: no input, two pipes for output, one for the reply."""
    # The given numbers may be among 0 to 3, so they are moved out of the way first.
    high = [os.dup(fd) for fd in (*output, reply)]
    high = [fd if fd > REPLY_FD else _above(fd) for fd in high]
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (high[0], 1), (high[1], 2), (high[2], REPLY_FD)):
        os.dup2(source, target, inheritable=target != REPLY_FD)


def _above(fd: int) -> int:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, REPLY_FD + 1)


def _confine(limits: Mapping[str, Any], confinement: Confinement) -> None:
    features = confinement.features
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "no-new-privileges" in features:
        kernel.forbid_new_privileges()
    if "landlock" in features:
        kernel.landlock_restrict(confinement.landlock)
    if "closed-descriptors" in features:
        kernel.close_descriptors_from(REPLY_FD + 1)
    os.chdir("/tmp" if "private-tmp" in features else confinement.root)  # noqa: S108
    os.umask(0o077)
    if "rlimits" in features:
        _limit_resources(limits, confinement.baseline_bytes)
    if "capabilities-dropped" in features:
        kernel.drop_capabilities()
    if "seccomp" in features:
        kernel.load_seccomp(confinement.seccomp)


def _limit_resources(limits: Mapping[str, Any], baseline: int) -> None:
    cpu = max(1, int(limits["cpu_seconds"] + 0.999))
    stack = 8 * 2**20
    for name, soft, hard in (
        ("RLIMIT_CPU", cpu, cpu + 1),  # SIGXCPU first, which names the reason; whoever ignores it is killed
        ("RLIMIT_AS", baseline + limits["memory_bytes"], None)
        if limits["address_space"]
        else ("RLIMIT_AS", None, None),
        ("RLIMIT_NPROC", limits["processes"] + 1, None),  # one more, because pid 1 counts too
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
