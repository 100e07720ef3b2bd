"""A case without student code. Before other cases run, it checks from the inside whether each protection is in force.

Theory of operation
-------------------
The fork server runs the probe `protections` exactly as it runs student code: in a case of a submission. If a reply
comes back, namespaces and mounts can be made on this machine. The value of the reply lists the protections that the
case found in force. Some protections leave no trace inside: nothing there shows that System V objects are private.
Such a protection is made by the same `unshare` call as others that do leave a trace. The call makes all of them or
none, so it is enough to find the others in force.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import resource
import socket
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from . import INSIDE_ID, SUBMISSION_DIRECTORY, WRITABLE_DIRECTORIES, case, kernel, protocol

_PR_GET_SECCOMP = 21
_PR_CAPBSET_READ = 23
_PR_GET_NO_NEW_PRIVS = 39
_SECCOMP_MODE_FILTER = 2


def module(candidates: frozenset[str]) -> ModuleType:
    """Return a probes module with one probe, which returns the names in `candidates` that are in force."""
    probes = ModuleType("_rehearsal")
    probes.protections = lambda: sorted(name for name in candidates if in_force(name))  # type: ignore[attr-defined]
    return probes


def request(channel: int, limits: Mapping[str, Any]) -> None:
    """Send the two requests that a session sends for one case."""
    protocol.send_frame(channel, protocol.encode(("open", {}, limits)))
    protocol.send_frame(channel, protocol.encode(("run", "protections", limits, [], False)))
    protocol.send_frame(channel, protocol.encode(()))


def protections_seen(channel: int) -> list[str]:
    """Read the reply to `request`, and return the protections in it. Raises RuntimeError if the case failed."""
    details: object = None
    for expected in ("ready", "started", "ended"):
        kind, *details = protocol.decode(protocol.receive_frame(channel, protocol.MAX_FRAME_BYTES))
        if kind != expected:
            raise RuntimeError(f"the rehearsal of a case failed: {details}")
    reply = protocol.receive_frame(channel, protocol.MAX_FRAME_BYTES)
    if not reply:
        raise RuntimeError(f"the rehearsal of a case failed: {details}")
    kind, *found = protocol.decode(reply)
    if kind != "returned":
        raise RuntimeError(f"the rehearsal of a case failed: {found}")
    return list(found[0])


def in_force(name: str) -> bool:
    """Return whether a protection is in force. A protection that leaves no trace inside counts as in force."""
    evidence = _EVIDENCE.get(name)
    return evidence is None or evidence()


def _prctl(option: int, argument: int = 0) -> int:
    return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(argument), 0, 0, 0))


def _has_no_network() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(("192.0.2.1", 9)) == errno.ENETUNREACH


def _has_no_capabilities() -> bool:
    return not kernel.capabilities() and _prctl(_PR_CAPBSET_READ, 0) == 0


def _inherits_no_descriptor() -> bool:
    for descriptor in range(case.REPLY_FD + 1, 256):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            return False
    return True


def _refuses_files(path: str) -> bool:
    try:
        descriptor = os.open(f"{path}/rehearsal", os.O_CREAT | os.O_WRONLY)
    except OSError:
        return True
    os.close(descriptor)
    os.unlink(f"{path}/rehearsal")  # noqa: PTH108
    return False


def _is_writable_mount(path: str) -> bool:
    return not _refuses_files(path) and os.stat(path).st_dev != os.stat("/").st_dev  # noqa: PTH116


def _loads_code(path: str) -> bool:
    """Return whether a file that this process writes can be mapped as machine code."""
    name = f"{path}/rehearsal"
    descriptor = os.open(name, os.O_CREAT | os.O_RDWR)
    try:
        os.write(descriptor, bytes(mmap.PAGESIZE))
        mmap.mmap(descriptor, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
        os.unlink(name)  # noqa: PTH108
    return True


def _makes_code() -> bool:
    """Return whether memory that this process writes can become machine code."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except PermissionError:
        return False
    return True


def _shows_no_process() -> bool:
    with contextlib.suppress(PermissionError):
        return not os.listdir("/proc")  # noqa: PTH208
    return True


_EVIDENCE: dict[str, Callable[[], bool]] = {
    "pid-namespace": lambda: case.first_in_namespace,
    "case-pid-namespace": lambda: os.getpid() == 2 and os.getppid() == 0,
    "no-new-code": lambda: not any(map(_loads_code, WRITABLE_DIRECTORIES)) and not _makes_code(),
    "network-namespace": _has_no_network,
    "uts-namespace": lambda: os.uname().nodename == "sandbox",
    "user-namespace": lambda: os.getuid() == INSIDE_ID,
    "private-tmp": lambda: all(map(_is_writable_mount, WRITABLE_DIRECTORIES)),
    "read-only-submission": lambda: _refuses_files(SUBMISSION_DIRECTORY),
    "hidden-proc": _shows_no_process,
    "closed-descriptors": _inherits_no_descriptor,
    "capabilities-dropped": _has_no_capabilities,
    "no-new-privileges": lambda: _prctl(_PR_GET_NO_NEW_PRIVS) == 1,
    "seccomp": lambda: _prctl(_PR_GET_SECCOMP) == _SECCOMP_MODE_FILTER,
    "rlimits": lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[1] != resource.RLIM_INFINITY,
}
