"""The process that keeps a few containers warm and hands out one for each submission.

Theory of operation
-------------------
`DockerWall` starts this process, which ends with the wall. Each container is a `docker run` whose standard input and
output are one end of a stream socket. The other end stays in this process until a submission needs a container. First
this process sends our files through the stream (see START_CONTAINER), then the container sends ("ready", protections,
facts). From then on the stream is a session as in any other wall. The process that asked for a container gets the
socket itself, so no data of a session passes through this process. The control socket has these messages (this process
receives <- and sends ->):

    once, at the start   -> ("ready", protections, facts) or ("failed", text)
    for each submission  <- b"open" with one end of another socket, on which the result is sent:
                         -> b"stream" with the stream of a container, or ("failed", text)

However this process ends, its sockets are closed. Then each waiting container reads the end of its input and ends, and
the engine removes it. If possible, this process also kills the containers that are in use.
"""

from __future__ import annotations

import collections
import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

from autograder import processors
from autograder.errors import GraderError
from autograder.sandbox.docker import engine
from autograder.sandbox.inside import protocol
from autograder.sandbox.limits import Limits
from autograder.sandbox.policy import start_inside
from autograder.sandbox.session import stream_pair
from autograder.sandbox.wall import end_of

START_SECONDS = 180.0
"""The time that a container may take to become ready. The machine may be busy with the start of other containers."""
RETRY_SECONDS = 5.0
END_SECONDS = 8.0
MAX_READY_BYTES = 65536

START_CONTAINER = """\
import os, sys
if sys.version_info < (3, 10):
    sys.exit("the image has Python %d.%d; 3.10 or newer is needed" % sys.version_info[:2])
def read(count):
    data = b""
    while len(data) < count:
        data += os.read(0, count - len(data)) or os._exit(0)
    return data
def number():
    return int.from_bytes(read(4), "big")
for _ in range(number()):
    path, content = read(number()).decode(), read(number())
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
""" + start_inside("container", "main()")
"""The program of pid 1 of a container: it reads the files of `payload` from standard input and starts our code."""


def payload(files: dict[str, bytes]) -> bytes:
    """Return files in the form that START_CONTAINER reads."""
    parts = [struct.pack(">I", len(files))]
    for path, content in files.items():
        parts += [protocol.frame(path.encode()), protocol.frame(content)]
    return b"".join(parts)


@dataclass
class Warming:
    """A container that has been started but is not ready yet."""

    client: subprocess.Popen[bytes]
    stream: socket.socket
    log: int
    unsent: memoryview
    deadline: float
    received: bytearray = field(default_factory=bytearray)

    def send(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self.unsent = self.unsent[self.stream.send(self.unsent) :]

    def receive(self) -> tuple[Any, ...] | None:
        """Return the message "ready" if it is complete, otherwise None. Nothing beyond this message is read.

        Raises GraderError if the container ends or sends another message.
        """
        wanted = 4 if len(self.received) < 4 else 4 + int.from_bytes(self.received[:4], "big")
        if wanted > MAX_READY_BYTES:
            raise GraderError(
                "the container does not use our protocol: something else in the image prints first"
            )
        try:
            data = self.stream.recv(wanted - len(self.received))
        except BlockingIOError:
            return None
        except ConnectionResetError:
            data = b""
        if not data:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.client.wait(5.0)
            raise GraderError(f"the container did not start: {engine.explain(end_of(self.log))}")
        self.received += data
        if len(self.received) < 4 or len(self.received) < 4 + int.from_bytes(self.received[:4], "big"):
            return None
        message = protocol.decode(bytes(self.received[4:]))
        if type(message) is not tuple or not message or message[0] != "ready":
            raise GraderError(f"the container did not start: {engine.explain(str(message[-1]))}")
        return message


class Pool:
    """Keeps `size` containers ready and hands them out in the order of requests."""

    def __init__(self, container: engine.Container, files: bytes, size: int, control: socket.socket) -> None:
        self.container, self.files, self.size, self.control = container, files, size, control
        self.docker = engine.find_docker()
        self.seccomp = engine.seccomp_file()
        self.warming: dict[int, Warming] = {}
        self.ready: dict[int, socket.socket] = {}
        self.asking: collections.deque[socket.socket] = collections.deque()
        self.clients: list[subprocess.Popen[bytes]] = []
        self.poll = select.poll()
        self.announced = False
        self.not_before = 0.0
        self.at_a_time = processors.available()

    def serve(self, parent: int) -> None:
        """Serve until the process `parent` (a pidfd) ends or the control socket is closed.

        Raises GraderError if a container cannot start before the first container is ready.
        """
        self.poll.register(self.control, select.POLLIN)
        self.poll.register(parent, select.POLLIN)
        while True:
            self.start_some()
            events = dict(self.poll.poll(1000))
            if parent in events:
                return
            if self.control.fileno() in events and not self.take_request():
                return
            for descriptor in (
                events.keys() & self.ready.keys()
            ):  # a ready container sends nothing, so an event means that it has ended
                self.poll.unregister(descriptor)
                self.ready.pop(descriptor).close()
            for descriptor in events.keys() & self.warming.keys():
                self.advance(descriptor, events[descriptor])
            self.give_up_on_late()
            self.hand_over()
            self.clients = [client for client in self.clients if client.poll() is None]

    def start_some(self) -> None:
        wanted = self.size + len(self.asking) - len(self.ready) - len(self.warming)
        if time.monotonic() >= self.not_before:
            for _ in range(min(wanted, self.at_a_time - len(self.warming))):
                self.start()

    def start(self) -> None:
        ours, theirs = stream_pair()
        log = os.memfd_create("container-log")
        words = engine.arguments(
            self.container, seccomp=f"/proc/self/fd/{self.seccomp}", uid=engine.new_uid()
        )
        client = subprocess.Popen(
            [self.docker, *words],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=log,
            pass_fds=(self.seccomp,),
            start_new_session=True,
        )
        theirs.close()
        ours.setblocking(False)
        self.clients.append(client)
        deadline = time.monotonic() + START_SECONDS
        self.warming[ours.fileno()] = Warming(client, ours, log, memoryview(self.files), deadline)
        self.poll.register(ours, select.POLLIN | select.POLLOUT)

    def advance(self, descriptor: int, events: int) -> None:
        """Exchange data with a container that is starting."""
        warming = self.warming[descriptor]
        if events & select.POLLOUT and warming.unsent:
            warming.send()
            if not warming.unsent:
                self.poll.modify(descriptor, select.POLLIN)
        try:
            message = warming.receive()
        except (GraderError, protocol.ProtocolError) as error:
            self.forget(descriptor)
            self.fail(str(error))
            return
        if message is not None:
            os.close(warming.log)
            del self.warming[descriptor]
            self.ready[descriptor] = warming.stream
            self.poll.modify(descriptor, select.POLLRDHUP)
            if not self.announced:
                self.control.send(protocol.encode(message))
                self.announced = True

    def give_up_on_late(self) -> None:
        now = time.monotonic()
        for descriptor in [at for at, warming in self.warming.items() if warming.deadline < now]:
            self.forget(descriptor)
            self.fail(f"a container was not ready after {START_SECONDS:.0f} s; is the machine overloaded?")

    def forget(self, descriptor: int) -> None:
        warming = self.warming.pop(descriptor)
        self.poll.unregister(descriptor)
        warming.stream.close()
        os.close(warming.log)

    def fail(self, text: str) -> None:
        """Report to all waiting processes that a container could not be started. Pause before the next start."""
        if not self.announced:
            raise GraderError(text)
        self.not_before = time.monotonic() + RETRY_SECONDS
        while self.asking:
            with contextlib.suppress(OSError), self.asking.popleft() as asking:
                asking.send(protocol.encode(("failed", text)))

    def take_request(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self.control, 64, 1)
        self.asking += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        return bool(data)

    def hand_over(self) -> None:
        while self.asking and self.ready:
            descriptor, stream = next(iter(self.ready.items()))
            with self.asking.popleft() as asking:
                try:
                    socket.send_fds(asking, [b"stream"], [descriptor])
                except OSError:
                    continue  # the process that asked is gone
            self.poll.unregister(descriptor)
            del self.ready[descriptor]
            stream.close()

    def close(self) -> None:
        """End every container, including those in use."""
        for warming in self.warming.values():
            warming.stream.close()
        for stream in self.ready.values():
            stream.close()
        self.remove_all()
        # A client may be making a container just now. If it were killed, the container would stay.
        deadline = time.monotonic() + END_SECONDS
        for client in self.clients:
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(max(0.1, deadline - time.monotonic()))
            client.kill()
            client.wait()
        self.remove_all()

    def remove_all(self) -> None:
        with contextlib.suppress(GraderError, subprocess.TimeoutExpired):
            engine.remove(engine.owned(self.container.owner))


def start(descriptors: list[str]) -> int:
    """Run the pool and return the exit status. `descriptors`: the control socket, and a file with the settings."""
    control = socket.socket(fileno=int(descriptors[0]))
    with os.fdopen(int(descriptors[1]), "rb") as file:
        settings = protocol.decode(file.read())
    parent = os.pidfd_open(os.getppid())
    signal.signal(signal.SIGTERM, _end)
    pool: Pool | None = None
    try:
        engine.sweep()
        engine.image_id(settings["image"])
        container = engine.Container(
            settings["image"],
            START_CONTAINER,
            Limits(**settings["limits"]),
            tuple(settings["devices"]),
            tuple(settings["volumes"]),
            engine.owner(),
            min(engine.MAX_CPUS, os.cpu_count() or 1),
        )
        pool = Pool(container, settings["files"], settings["size"], control)
        pool.serve(parent)
    except GraderError as error:
        with contextlib.suppress(OSError):
            control.send(protocol.encode(("failed", str(error))))
        return 1
    except _Ended:
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if pool is not None:
            pool.close()
    return 0


class _Ended(BaseException):
    """SIGTERM has arrived."""


def _end(_signal: int, _frame: object) -> None:
    raise _Ended
