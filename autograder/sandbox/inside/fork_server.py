"""The first process inside the wall: imports the modules that every case needs, then forks a submission on request.

Theory of operation
-------------------
The wall starts this process with `python -c`, and writes its configuration to a fixed path. If the process starts as
root, it becomes an ordinary user before it imports anything but Python's own modules. It imports the modules that the
configuration names, and also calls some of their functions. The first call of some functions loads hundreds of modules,
and without these calls every case would load them again. Then it loads the probes under a private name.

When all is loaded, it sends "ready" on its control socket, once, and waits. Several checking processes may hold the
other end of the control socket. To open a submission, a checking process sends one datagram with one end of a stream
socket. The fork server passes this end to a spare, which serves the submission. A spare is a fork of this process that
is already pid 1 of the new submission's namespaces. Then the fork server makes the next spare. This process never reads
data of a submission, and never waits for a submission.

While there is no request, this process gathers its memory in huge pages, piece by piece. A fork then copies a hundred
page tables instead of tens of thousands of entries, and takes a quarter of the time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib.util
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from . import CONFIGURATION_FILE, GRADER_DIRECTORY, PROBES_FILE, kernel, protocol, rehearsal, submission
from .reply import load_probes

IDLE_MILLISECONDS = 2


def main(control_fd: int) -> None:
    """Serve until the other end of the control socket is closed."""
    control = socket.socket(fileno=control_fd)
    try:
        setup = prepare(read_configuration())
        protections = _rehearse(setup)
    except BaseException:  # noqa: BLE001  # sent to the other side, which raises it as a GraderError
        text = traceback.format_exc()[-4000:]
        control.send(protocol.encode(("failed", text)))
        return
    control.send(protocol.encode(("ready", protections)))
    serve(control, setup)


def read_configuration() -> dict[str, Any]:
    """Return the configuration that the wall has written for the processes inside, see `wall.configuration`."""
    with open(CONFIGURATION_FILE, "rb") as file:  # noqa: PTH123
        configuration: dict[str, Any] = protocol.decode(file.read())
    return configuration


def prepare(configuration: dict[str, Any]) -> submission.Setup:
    """Become an ordinary user, import the modules, load the probes. Return the data that all submissions need."""
    if os.geteuid() == 0 and "uid-drop" in configuration["features"]:
        become(configuration["uid"], configuration["gid"])
    kernel.leave_session_keyring()
    kernel.adopt_orphans()
    landlock_version = kernel.landlock_version()
    features = set(configuration["features"])
    if landlock_version == 0:
        features.discard("landlock")
    if not kernel.can_forbid_new_code():
        features.discard("no-new-code")
    sys.path[:] = [path for path in sys.path if not path.startswith(GRADER_DIRECTORY)]
    sys.path += configuration["site_packages"]
    for name in configuration["preload"]:
        touch(importlib.import_module(name))
    for name in configuration["importable"]:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}, which student code may import")
    probes = load_probes(PROBES_FILE)
    warm_up = getattr(probes, "warm_up", None)
    if warm_up is not None:
        warm_up()
    if os.getuid() == 0 or "uid-drop" not in configuration["features"]:
        features.discard("uid-drop")
    gc.collect()
    gc.disable()
    gc.freeze()
    return submission.Setup(
        features=frozenset(features),
        seccomp=configuration["seccomp"],
        landlock_version=landlock_version,
        probes=probes,
        importable=tuple(configuration["importable"]),
        hidden=tuple(configuration["hidden"]),
        shown=tuple(configuration["shown"]),
        devices=tuple(configuration["devices"]),
        rehearsal_limits=configuration["limits"],
    )


def become(uid: int, gid: int) -> None:
    """Change from root to an ordinary user. This cannot be undone."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    kernel.set_dumpable(True)  # otherwise the files of this process in /proc belong to root after the change


def touch(module: ModuleType) -> None:
    """Call functions that load or allocate something at their first call.

    No function may start a thread, because a fork would not have that thread.
    """
    if module.__name__ == "numpy":
        module.random.seed(0)
        module.random.default_rng(0).normal(size=2)
        square = module.eye(3, dtype="float32")
        (square @ square).sum()
        module.linalg.norm(square)
        module.exp(square), module.log(square + 1), module.argmax(square)
    elif module.__name__ == "torch":
        module.manual_seed(0)
        module.set_num_threads(1)
        with contextlib.suppress(RuntimeError):
            module.set_num_interop_threads(1)
        square = module.eye(3)
        module.nn.functional.cross_entropy(square @ square, module.arange(3))
        module.nn.Linear(3, 3)(square).sum()
        module.randn(2, 2).exp().log().softmax(-1)
        repr(square)
        if not module.backends.cuda.is_built():  # with CUDA, the first backward pass starts threads
            weight = module.ones(3, requires_grad=True)
            (weight @ square).sum().backward()


def _rehearse(setup: submission.Setup) -> list[str]:
    """Return the protections that a rehearsing case finds in force. Raises RuntimeError if the case fails."""
    probes = rehearsal.module(setup.features)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            spare = Spare(dataclasses.replace(setup, probes=probes), [ours.fileno(), theirs.fileno()])
            spare.hand_over(theirs.fileno())
        fd = ours.fileno()
        rehearsal.request(fd, setup.rehearsal_limits)
        return rehearsal.protections_seen(fd)


def serve(control: socket.socket, setup: submission.Setup) -> None:
    """Fork a submission for every stream socket that arrives."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    private = (control.fileno(), wake_read, wake_write)
    spare = _new_spare(setup, private)
    memory = kernel.own_memory()
    piece = next(memory, None)
    while True:
        ready = dict(poll.poll(None if piece is None else IDLE_MILLISECONDS))
        if not ready and piece is not None:
            kernel.huge_pages(*piece)
            piece = next(memory, None)
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            _reap()
        if control.fileno() in ready:
            channels = _receive_channels(control)
            if channels is None:
                return
            for channel in channels:
                while not spare.hand_over(channel):
                    spare = _new_spare(setup, private)
                os.close(channel)
                spare = _new_spare(setup, private)


def _receive_channels(control: socket.socket) -> Sequence[int] | None:
    """Return the descriptors in one datagram, or None if the other end is closed."""
    data, channels, _, _ = socket.recv_fds(control, 64, 4)
    return channels if data else None


class Spare:
    """The processes of a future submission. They are made in advance, and wait for the channel that they will serve."""

    def __init__(self, setup: submission.Setup, private: Sequence[int] = ()) -> None:
        """`private`: descriptors of the fork server that the submission must not have."""
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (self.socket.detach(), *private):
                os.close(fd)
            submission.enter(theirs, setup)
        theirs.close()

    def hand_over(self, channel: int) -> bool:
        """Let the spare serve `channel`. Return False if the spare has ended."""
        with self.socket, contextlib.suppress(OSError):
            socket.send_fds(self.socket, [b"serve"], [channel])
            return True
        return False


def _new_spare(setup: submission.Setup, private: Sequence[int]) -> Spare:
    """Make a spare, and try again until it succeeds: many running submissions may use up processes or memory."""
    while True:
        with contextlib.suppress(OSError):
            return Spare(setup, private)
        time.sleep(0.1)
        _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
