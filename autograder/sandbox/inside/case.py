"""One probe call in a process of its own: the only place where student code runs.

Theory of operation
-------------------
`run` is entered in a fresh fork of the submission process and never
returns. It first makes itself harmless, and each step takes away what the step before still needed:
descriptors, limits, Landlock, capabilities, new privileges, system calls. It decodes the inputs. Only then
does it write STARTED on the reply pipe: a process that ends before that ended through a fault of ours, one
that ends after it ran student code. The time limit counts from that byte too, so importing `src` is inside it
and our own preparation is not.

What follows is the student's: their code may do to this process whatever it likes, including writing its own
reply. A forged reply is worth no more than the same value returned by the function, since it is only data
that a check on the other side compares. So the reply is one frame: the encoded reply (see `reply`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

from . import kernel, protocol
from .reply import reply_of_call

STARTED = struct.Struct(">cd")
"""What a case writes first: b"S" and the time on `time.monotonic()`'s clock, when student code begins."""
FAILED = b"F"
"""What it writes instead when the sandbox could not get that far; text follows."""

INSIDE_ID = 65532
"""The user and group that student code sees itself as."""
SUBMISSION_ROOT = "/submission"
WRITABLE = ("/tmp", "/dev/shm")  # noqa: S108  # tmpfs mounts of this case alone

REPLY_FD = 3


@dataclass(frozen=True)
class Confinement:
    """What a case gives up before student code runs, made once by the submission process."""

    features: frozenset[str]
    seccomp: bytes
    landlock: int
    """Descriptor of the rules, when that is a feature."""
    baseline_bytes: int
    """Address space of the submission process: what a fork starts with."""
    root: str = SUBMISSION_ROOT


@dataclass(frozen=True)
class Request:
    """One call: the probe's name, its encoded inputs, its limits by name (see `Limits` on the other side)."""

    probe: str
    inputs: bytes
    limits: Mapping[str, Any]


def run(
    request: Request, probes: ModuleType, confinement: Confinement, output: tuple[int, int], reply: int
) -> NoReturn:
    """Confine this process, call the probe, answer on `reply`, end. `output`: pipes for stdout and stderr."""
    try:
        _take_descriptors(output, reply)
        _confine(request.limits, confinement)
        call = _probe(probes, request.probe)
        inputs = protocol.decode(request.inputs, _trusted_limits(len(request.inputs)), load=True)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is ours, and this process must end here
        _write(FAILED + f"{type(error).__name__}: {error}".encode()[:2000])
        os._exit(71)
    sys.path.insert(0, confinement.root)
    random.seed(0)  # a fork reseeds it; a regrade should repeat the student's own randomness too
    gc.enable()
    _write(STARTED.pack(b"S", time.monotonic()))
    encoded = reply_of_call(call, inputs, request.limits, confinement.root)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    _write(protocol.frame(encoded))
    os._exit(0)


# ── becoming harmless ────────────────────────────────────────────────────────────────────────────────────


def _take_descriptors(output: tuple[int, int], reply: int) -> None:
    """Keep four: no input, two pipes for output, one for the reply."""
    # The numbers given may be among 0 to 3, so they are moved out of the way first.
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
        ("RLIMIT_CPU", cpu, cpu + 1),  # SIGXCPU first, which names the reason; who ignores it is killed
        ("RLIMIT_AS", baseline + limits["memory_bytes"], None)
        if limits["address_space"]
        else ("RLIMIT_AS", None, None),
        ("RLIMIT_NPROC", limits["processes"] + 1, None),  # one more: pid 1 counts too
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


def _probe(probes: ModuleType, name: str) -> Callable[..., Any]:
    call = getattr(probes, name, None)
    if name.startswith("_") or not callable(call):
        raise LookupError(f"the probes file has no function {name!r}")
    return call  # type: ignore[no-any-return]


def _trusted_limits(size: int) -> protocol.DecodeLimits:
    return protocol.DecodeLimits(total_bytes=size, items=2**31, arrays=2**31, guessable_keys=2**31)


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(REPLY_FD, rest) :]
