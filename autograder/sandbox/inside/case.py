"""One probe call in a separate process. Student code runs only in such a process.

Theory of operation
-------------------
`run` is called in a new fork of the submission process and never returns. First it gives up everything that student
code must not have: descriptors, limits, Landlock, capabilities, new privileges, system calls. In this order, each step
takes away something that earlier steps still needed. Then it decodes the inputs. Only then does it write on the reply
pipe that student code begins. If the process ends before this moment, that is our fault. If it ends later, student code
has run. The time limit also counts from this moment, so it includes the import of `src` but not our own preparation.

After this moment student code can do everything to this process, and can even write its own reply. A forged reply gains
nothing: the function could have returned the same value. A check on the other side compares the reply, as mere data.
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
    """The settings for confining a case. The submission process makes them before it forks the case."""

    features: frozenset[str]
    seccomp: bytes
    landlock: int
    """The descriptor of Landlock's rules, if Landlock is a feature."""
    baseline_bytes: int
    """The size of the submission process's address space; a fork starts with the same size."""
    root: str = SUBMISSION_DIRECTORY


@dataclass(frozen=True)
class Request:
    """One call: the probe's name, its encoded inputs, its limits by name (see `Limits` on the trusted side)."""

    probe: str
    inputs: bytes
    limits: Mapping[str, Any]
    stuck: tuple[str, ...] = ()
    """Modules whose import did not end in an earlier case: this case ends when it begins to import one of them."""


def run(
    request: Request, probes: ModuleType, confinement: Confinement, output: tuple[int, int], reply: int
) -> NoReturn:
    """Confine this process, call the probe, reply, and end. `output`: pipes for stdout and stderr."""
    try:
        _take_descriptors(output, reply)
        _confine(request.limits, confinement)
        call = find_probe(probes, request.probe)
        inputs = decode_inputs(request.inputs)
    except BaseException as error:  # noqa: BLE001  # any failure is our fault, and this process must end here
        _write(failure(error))
        os._exit(FAILED_STATUS)
    random.seed(0)  # the fork changed the seed, but student code must get the same numbers at a regrade
    gc.enable()
    call_and_reply(call, inputs, request.limits, confinement.root, _write)
    os._exit(0)


# ── giving up privileges ─────────────────────────────────────────────────────────────────────────────────


def _take_descriptors(output: tuple[int, int], reply: int) -> None:
    """Keep four descriptors: an empty input, two pipes for output, and one pipe for the reply."""
    # A given descriptor may be one of 0 to 3, so all are moved to higher numbers first.
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
        ("RLIMIT_CPU", cpu, cpu + 1),  # SIGXCPU shows the reason; a process that ignores it is killed
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
