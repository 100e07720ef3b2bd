"""What stands behind the web application in tests: a ledger, a course with facts, and a real server on loopback."""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import uvicorn

from autograder.config.times import DeadlineError
from autograder.course.deadline import Deadline
from autograder.errors import ConfigError
from autograder.hosts import webhook
from autograder.hosts.push import Push
from autograder.ledger import Cutoffs, Ledger, RepositoryName, ScorePolicy
from autograder.service.http import listener
from autograder.service.metrics import Depth, Metrics

SECRET = b"0123456789abcdef-github"
TOKEN = "a-token-of-the-staff-2026"
URL = "http://127.0.0.1:8700"


@dataclass
class Facts:
    """A course in which every repository `a0-…` belongs to a0."""

    deadlines: dict[str, Deadline] = field(default_factory=lambda: {"a0": Deadline.of("Europe/Berlin")})
    rule: ScorePolicy = ScorePolicy.LAST
    token: str = TOKEN
    config: Any = field(
        default_factory=lambda: SimpleNamespace(
            service=SimpleNamespace(url=URL),
            hosts={
                "github.com": SimpleNamespace(kind="github"),
                "git.uni.example": SimpleNamespace(kind="gitea"),
                "gitlab.uni.example": SimpleNamespace(kind="gitlab"),
                "folder": SimpleNamespace(kind="folder"),
            },
        )
    )
    extensions: dict[str, Any] | None = field(default_factory=dict)  # None: their file is missing

    def endpoint(self, host):
        if host == "git.broken.example":
            raise ConfigError("there is no webhook secret")
        return webhook.Endpoint(host, (SECRET,), bots=("Grader-Bot",))

    def staff_token(self):
        return self.token

    def target(self, repository, branch):
        name = repository.name.partition("-")[0]
        return SimpleNamespace(assignment=name, student=repository.name) if branch == "main" else None

    def extension(self, target):
        if self.extensions is None:
            raise DeadlineError("the file of extensions is missing")
        return self.extensions.get(target.student)

    def deadline(self, assignment):
        try:
            return self.deadlines[assignment]
        except KeyError:
            raise ConfigError(f"there is no assignment {assignment}") from None

    def policy(self, assignment):
        self.deadline(assignment)
        return self.rule

    def cutoffs(self, assignment, repositories):
        if self.extensions is None:
            raise DeadlineError(f"the file of extensions is missing: {repositories}")
        return Cutoffs(self.deadline(assignment).closes)


@dataclass
class Stub:
    """A service that records pushes in its ledger, and grades nothing."""

    ledger: Ledger
    course: Facts = field(default_factory=Facts)
    metrics: Metrics = field(default_factory=Metrics)
    problems: list[str] = field(default_factory=list)
    queues: dict[str, Depth] = field(default_factory=lambda: {"cpu": Depth(3, 1, 12.5)})
    fails: Exception | None = None
    received: list[tuple[Push, datetime]] = field(default_factory=list)

    def receive(self, push, received):
        if self.fails:
            raise self.fails
        self.received.append((push, received))
        if push.name.startswith("other"):
            return SimpleNamespace(result="ignored", reason="no assignment has this repository")
        recorded = self.ledger.record_push(
            RepositoryName(push.host, push.owner, push.name),
            commit=push.commit,
            ref=push.ref,
            before=push.before,
            sender=push.sender,
            delivery_id=push.delivery_id,
            payload_digest=push.payload_digest,
            received=received,
        )
        return SimpleNamespace(result="recorded" if recorded.new else "known", reason="")

    def depths(self):
        return self.queues

    def workers(self):
        return 2

    def ready(self):
        return list(self.problems)


@contextlib.contextmanager
def serving(app, **settings):
    """Serve `app` on a free port of loopback, and yield the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = uvicorn.Server(listener.config(app, **settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)


class Conversation:
    """A connection on which bytes are sent as they are."""

    def __init__(self, port):
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def send(self, data):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # answered before all was read
            self._connection.sendall(data)

    def begin(self, path, headers):
        """Send the head of a POST, and return when the application reads its body."""
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        self.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{''.join(lines)}\r\n".encode())
        assert self.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")

    def until(self, end):
        """Return what comes up to `end`."""
        answer = b""
        while not answer.endswith(end):
            piece = self._connection.recv(1)
            assert piece, answer
            answer += piece
        return answer

    def closed(self, seconds):
        """Whether the other side closed the connection, or does so in that time; what comes is thrown away."""
        self._connection.settimeout(seconds)
        try:
            while self._connection.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self._connection.settimeout(60)
        return True

    def rest(self):
        """Return all that comes until the connection is closed."""
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self._connection.recv(65536):
                answer += piece
        return answer


def exchange(port, data):
    """Send bytes on a new connection, and return all that comes back until it is closed."""
    with Conversation(port) as conversation:
        conversation.send(data)
        return conversation.rest()
