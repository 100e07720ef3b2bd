"""A service whose jobs nobody grades, and a real web server on loopback in front of it.

Everything is real but the queue: ledger, course, configuration, intake and metrics.
"""

import contextlib
import socket
import threading
import time
from datetime import timedelta

import uvicorn

from autograder.config import AssignmentConfig, Config, HostConfig, ServiceConfig
from autograder.config.schema import CourseConfig
from autograder.course.course import Course
from autograder.ledger import workers
from autograder.service.http import listener
from autograder.service.intake.intake import Intake
from autograder.service.jobs.queue import Entry, Queue
from autograder.service.metrics import Depth, Metrics
from autograder.service.service import Service

SECRET = b"0123456789abcdef-github"
TOKEN = "a-token-of-the-staff-2026"
URL = "http://127.0.0.1:8700"
EXTENSIONS = "extensions.csv"


def host(kind, base="https://git.uni.example", file="webhook-secret"):
    return HostConfig(kind, base, webhook_secret_file=file, bots=("Grader-Bot",))


HOSTS = {
    "github.com": host("github"),
    "git.uni.example": host("gitea"),
    "gitlab.uni.example": host("gitlab"),
    "folder": host("folder", "bare"),
}


def assignment(host, repositories, **settings):
    return AssignmentConfig("suite", host=host, repositories=(repositories,), **settings)


ASSIGNMENTS = {
    "a0": assignment("git.uni.example", "dls/a0-*"),
    "a1": assignment("github.com", "dls-course-2026/a1-*"),
    "a2": assignment("gitlab.uni.example", "dls/fall-2026/a2-*"),
}


class StillQueue(Queue):
    """A queue without a database. It is as full as `depths` says."""

    def __init__(self, clock):
        self.clock = clock
        self.depths = {"cpu": Depth(3, 1, 12.5)}

    def entries(self):
        found = []
        for queue, depth in self.depths.items():
            since = self.clock() - timedelta(seconds=depth.oldest)
            for running in [False] * depth.waiting + [True] * depth.running:
                job = f"{queue}{len(found)}"
                found.append(Entry(job, job, queue, running, "grader-1:0" if running else "", since, None))
        return found

    def check(self):
        pass


def new_service(
    folder, ledger, clock, *, url=URL, hosts=HOSTS, assignments=ASSIGNMENTS, proxies=(), roster=""
):
    """Return a service with two workers and no problems; its files are in `folder`."""
    config = Config(
        folder=str(folder),
        service=ServiceConfig(url=url, proxies=proxies),
        hosts=hosts,
        assignments=assignments,
        course=CourseConfig(roster=roster),
    )
    (folder / "webhook-secret").write_bytes(SECRET)
    token = config.path(config.service.staff_token_file)
    token.parent.mkdir(exist_ok=True)
    token.write_text(TOKEN)
    for name in ("grader-1:0", "grader-1:1"):
        workers.start(
            ledger.database, name, origin="", queues=["cpu"], version="1", now=ledger.database.now()
        )
    course, queue = Course.of(config), StillQueue(clock)
    intake = Intake(ledger, course, queue, clock=clock)
    return Service(
        ledger,
        course,
        queue,
        intake,
        metrics=Metrics(),
        lease_seconds=timedelta(days=1).total_seconds(),  # the workers stay alive when a test moves the clock
        later=lambda _open: None,  # no test here needs the jobs
        clock=clock,
    )


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
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # the response came before all was read
            self._connection.sendall(data)

    def begin(self, path, headers):
        """Send the head of a POST, and return when the application reads its body.

        It has the form of a signed request of GitHub, because no body is read without a signature.
        """
        headers = {"X-Hub-Signature-256": f"sha256={'0' * 64}"} | headers
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        self.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{''.join(lines)}\r\n".encode())
        assert self.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")

    def until(self, end):
        """Return what arrives, up to and including `end`."""
        received = b""
        while not received.endswith(end):
            piece = self._connection.recv(1)
            assert piece, received
            received += piece
        return received

    def closed(self, seconds):
        """Whether the server has closed the connection, or does so in that time; discards what arrives."""
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
        """Return all that arrives until the connection is closed."""
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self._connection.recv(65536):
                received += piece
        return received


def exchange(port, data):
    """Send bytes on a new connection, and return all that arrives until it is closed."""
    with Conversation(port) as conversation:
        conversation.send(data)
        return conversation.rest()
