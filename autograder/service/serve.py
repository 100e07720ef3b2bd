"""Starts and ends the service: one process with the web, the jobs and a worker slot, and more slots beside it.

    serve     web + reconciler + slots
    worker    slots alone, on this machine or another one

A slot is a process, since it takes one job at a time. The first runs in this process, each further one in a child
that ends when this process does, however that comes about.

SIGTERM and Ctrl-C: no more jobs are taken, the one that runs may end within `drain_seconds`, pushes are still
recorded meanwhile; then everything stops. What was cut off is begun again at the next start. A second Ctrl-C ends
at once, and loses nothing either.
"""

import contextlib
import errno
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from autograder import __version__
from autograder.config import Config, load
from autograder.course.course import Course, Target
from autograder.errors import GraderError
from autograder.git.fetch import branch_head
from autograder.ledger import Ledger
from autograder.ledger.database import mask
from autograder.service import logs
from autograder.service.intake.intake import Intake, Later
from autograder.service.intake.reconciler import Reconciler
from autograder.service.intake.spool import Spool
from autograder.service.jobs import pipeline, worker_names
from autograder.service.jobs.graders import Graders
from autograder.service.jobs.lease import Lease
from autograder.service.jobs.observer import Observer, Unobserved
from autograder.service.jobs.pipeline import Pipeline
from autograder.service.jobs.queue import QUEUES, Queue, Slot, prepare
from autograder.service.logs import LOG
from autograder.service.service import Service

Say = Callable[[str], None]

ENDED_AT_ONCE = 130
WEB_STOP_SECONDS = 5.0
CHILD_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Parts:
    """What every process of the service has."""

    config: Config
    config_file: Path
    course: Course
    ledger: Ledger
    queue: Queue
    intake: Intake


class Work:
    """The pipeline as a slot sees it; see `queue.Work`."""

    def __init__(self, steps: Pipeline, intake: Intake) -> None:
        self._steps, self._intake = steps, intake

    def begin(self, job_id: str) -> dict[str, Any]:
        """Take a job up."""
        return self._steps.begin(job_id)

    def step(self, name: str, job_id: str, facts: Any) -> dict[str, Any]:
        """Take one step."""
        return self._steps.step(name, job_id, facts)

    def interrupt(self, job_id: str) -> None:
        """End the grading of a job."""
        self._steps.interrupt(job_id)

    def again(self, job_id: str) -> None:
        """Queue a job that failed once more."""
        self._intake.dispatch(self._intake.ledger.job(job_id))


@contextlib.contextmanager
def parts(config_file: Path) -> Iterator[Parts]:
    """Open the ledger and the queue of a configuration; both are made where they are missing.

    Raises:
        GraderError: the configuration is wrong, or a database cannot be used.
    """
    config = load(config_file)
    course = Course.of(config)
    url = course.jobs_url()
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(config.ledger_url(), folder=config.path(".")))
        prepare(url)
        queue = Queue(url)
        stack.callback(queue.close)
        yield Parts(config, config_file, course, ledger, queue, intake(config, course, ledger, queue))


def intake(config: Config, course: Course, ledger: Ledger, queue: Queue) -> Intake:
    """Return what takes pushes, and queues jobs."""

    def wait(job: Any) -> timedelta:
        return pipeline.wait_before_next_try(ledger, job, timedelta(seconds=config.service.retry_seconds))

    return Intake(ledger, course, queue, wait)


class Running:
    """One slot that runs in this process, with its lease."""

    def __init__(
        self, shared: Parts, queues: Sequence[str], observer: Observer, place: worker_names.Place
    ) -> None:
        config = shared.config
        worker_names.use(place)
        self.place = place
        self.drained = True
        self.graders = Graders(config, shared.config_file)
        self.pipeline = Pipeline(
            shared.ledger,
            shared.course,
            self.graders,
            shared.intake,
            place.folder / "submissions",
            place.executor,
            retries=config.service.retries,
            observer=observer,
        )
        self.slot = Slot(
            shared.course.jobs_url(),
            place.executor,
            queues,
            Work(self.pipeline, shared.intake),
            steps=pipeline.STEPS,
            preemptible=[pipeline.GRADE],
        )
        self.lease = Lease(
            shared.ledger,
            shared.queue,
            place.executor,
            origin=place.origin,
            queues=queues,
            seconds=config.service.lease_seconds,
            running=self.slot.running,
        )
        self._warm = [
            name
            for name, assignment in config.assignments.items()
            if assignment.repositories and assignment.queue in queues
        ]

    def start(self) -> None:
        """Begin to take jobs."""
        self.graders.warm(self._warm)
        self.lease.claim()
        self.slot.start()
        self.lease.start()

    def stop(self, seconds: float) -> None:
        """Take no more jobs, wait for the one that runs, and end.

        What runs longer goes on until the process ends; see `end_process`.
        """
        self.drained = self.slot.stop(seconds)
        LOG.info("the slot ends", extra={"worker": self.place.executor, "drained": self.drained})
        with contextlib.suppress(GraderError):
            self.lease.stop()
        if self.drained:
            self.graders.close()
            self.place.release()

    def end_process(self) -> None:
        """End the process at once if a job was cut off: the interpreter would wait for its thread.

        The suite server and its sandbox end with the process. The ledger says that the job runs; whoever takes it
        up begins it again.
        """
        if not self.drained:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(0)


class Children:
    """Further slots, each in a process of its own, started again when it ends by itself."""

    def __init__(self, number: int, command: Sequence[str], place: worker_names.Place | None) -> None:
        self._command = list(command)
        # not in our own folder for temporary things: we empty that when we start
        self._environment = {**os.environ, **({"TMPDIR": str(place.folder.parent)} if place else {})}
        self._children: list[subprocess.Popen[bytes] | None] = [None] * number
        self._again = [0.0] * number

    def watch(self) -> None:
        """Start those that do not run."""
        for place, child in enumerate(self._children):
            if child is not None and child.poll() is None:
                continue
            if child is not None and child.stdin is not None:
                LOG.error("a slot ended by itself", extra={"status": child.returncode})
                child.stdin.close()
                self._children[place] = None
                self._again[place] = time.monotonic() + CHILD_PAUSE_SECONDS
            if time.monotonic() >= self._again[place]:
                # Ctrl-C is for us to handle. The pipe ends with us, and the child with the pipe.
                self._children[place] = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, env=self._environment, start_new_session=True
                )

    def stop(self) -> None:
        """Tell all to end."""
        for child in self._children:
            if child is not None and child.poll() is None:
                child.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until all have ended; kill those that take longer."""
        deadline = time.monotonic() + seconds
        for child in self._children:
            if child is None:
                continue
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdin is not None:
                child.stdin.close()


class Signals:
    """The first SIGTERM or Ctrl-C asks to stop, a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._come)

    def _come(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set() and number == signal.SIGINT:
            os._exit(ENDED_AT_ONCE)
        self.stop.set()


def serve(
    config_file: Path,
    *,
    say: Say,
    listen: str = "",
    queues: Sequence[str] = (),
    slots_wanted: int = 1,
    name: str = "",
) -> None:
    """Run web, reconciler and slots until SIGTERM or Ctrl-C.

    Args:
        config_file: of the course.
        say: shows a line to the person who started it.
        listen: address and port in place of the configured one.
        queues: which the slots serve; default: those that assignments use.
        slots_wanted: how many; with 0 this process only takes pushes.
        name: of this machine among the workers.

    Raises:
        GraderError: something is missing or wrong; nothing was started.
    """
    started = time.monotonic()
    signals = Signals()
    with parts(config_file) as shared, contextlib.ExitStack() as stack:
        service = shared.config.service
        queues = queues or _in_use(shared.config)
        place = worker_names.take(shared.config.state, name) if slots_wanted else None
        listening = _listening(listen or service.listen)
        stack.callback(listening.close)
        metrics = _metrics()
        running = Running(shared, queues, metrics or Unobserved(), place) if place is not None else None
        reconciler = Reconciler(
            shared.ledger,
            shared.queue,
            shared.intake,
            head=_heads(shared.course),
            drain=_spool(shared),
            folders=_folders(shared),
            patience=timedelta(seconds=2 * service.lease_seconds),
            keep=timedelta(days=service.keep_days),
        )
        opener = ThreadPoolExecutor(1, "opener")
        stack.callback(
            opener.shutdown, cancel_futures=True
        )  # the reconciler of the next start opens what is left
        web = Web(_service(shared, reconciler, metrics, signals, opener.submit), listening)
        stack.callback(web.stop)  # behind the slots: pushes are recorded until they are done
        if running is not None:
            running.start()
            stack.callback(lambda: running.stop(service.drain_seconds))
        children = Children(max(0, slots_wanted - 1), _command(config_file, queues, name), place)
        stack.callback(lambda: children.wait(service.drain_seconds + 10))
        stack.callback(children.stop)
        children.watch()
        web.start()
        reconciler.start()
        host, port = listening.getsockname()[:2]
        for line in _lines(shared, f"http://{host}:{port}", place, queues, slots_wanted):
            say(line)
        say(f"ready after {time.monotonic() - started:.1f} s; Ctrl-C ends it")
        LOG.info("ready", extra={"listen": f"{host}:{port}"})
        while not signals.stop.wait(0.5):
            children.watch()
            if not web.alive():
                raise GraderError("the web server ended; see the log above")
        say("ending: no more jobs are taken, what runs may finish; Ctrl-C again ends at once")
        reconciler.stop()
        stack.close()
        if running is not None:
            running.end_process()


def work(
    config_file: Path,
    *,
    say: Say,
    queues: Sequence[str],
    slots_wanted: int,
    name: str = "",
    child: bool = False,
) -> None:
    """Run slots until SIGTERM or Ctrl-C.

    Args:
        config_file: of the course.
        say: shows a line to the person who started it.
        queues: which to serve; default: those that assignments use.
        slots_wanted: how many.
        name: of this machine among the workers.
        child: end when standard input does.

    Raises:
        GraderError: something is missing or wrong; nothing was started.
    """
    started = time.monotonic()
    signals = Signals()
    if child:
        threading.Thread(target=_end_with_parent, args=(signals,), name="parent", daemon=True).start()
    with parts(config_file) as shared, contextlib.ExitStack() as stack:
        service = shared.config.service
        queues = queues or _in_use(shared.config)
        place = worker_names.take(shared.config.state, name)
        running = Running(shared, queues, Unobserved(), place)
        running.start()
        stack.callback(lambda: running.stop(service.drain_seconds))
        children = Children(slots_wanted - 1, _command(config_file, queues, name), place)
        stack.callback(lambda: children.wait(service.drain_seconds + 10))
        stack.callback(children.stop)
        children.watch()
        if not child:
            for line in _lines(shared, "", place, queues, slots_wanted):
                say(line)
            say(f"ready after {time.monotonic() - started:.1f} s; Ctrl-C ends it")
        LOG.info("ready", extra={"worker": place.executor, "queues": list(queues)})
        while not signals.stop.wait(0.5):
            children.watch()
        stack.close()
        running.end_process()


class Web:
    """The HTTP edge, in a thread."""

    def __init__(self, service: Service, listening: socket.socket) -> None:
        self._listening = listening
        self._server: Any = None
        with contextlib.suppress(ModuleNotFoundError):
            app = importlib.import_module("autograder.service.http.app")
            listener = importlib.import_module("autograder.service.http.listener")
            uvicorn = importlib.import_module("uvicorn")
            self._server = uvicorn.Server(listener.config(app.create(service)))
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive() or self._server is None

    def stop(self) -> None:
        """Stop answering."""
        if self._server is not None and self._thread.is_alive():
            self._server.should_exit = True
            self._thread.join(WEB_STOP_SECONDS)

    def _run(self) -> None:
        if self._server is not None:
            self._server.run(sockets=[self._listening])


def _in_use(config: Config) -> tuple[str, ...]:
    """Return the queues that assignments use; looking into an empty one costs, too."""
    used = {assignment.queue for assignment in config.assignments.values() if assignment.repositories}
    return tuple(name for name in QUEUES if name in used) or QUEUES[:1]


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise GraderError(
            f"cannot listen on {address!a:.100}: ADDRESS:PORT is needed, such as 127.0.0.1:8700"
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=1024)
    except (OSError, ValueError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "another program is there, perhaps a service that runs already" if taken else error
        raise GraderError(
            f"cannot listen on {address!a:.100}: {why}; see [service] listen, or --listen"
        ) from error


def _end_with_parent(signals: Signals) -> None:
    """Wait until the pipe from the parent ends: it is gone."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    signals.stop.set()


def _command(config_file: Path, queues: Sequence[str], name: str) -> list[str]:
    named = ["--name", name] if name else []
    return [
        *(sys.executable, "-m", "autograder", "worker", "--child", "--slots", "1"),
        *("--queues", ",".join(queues), "--config", str(config_file.resolve()), *named),
    ]


def _lines(
    shared: Parts, url: str, place: worker_names.Place | None, queues: Sequence[str], slots_wanted: int
) -> Iterator[str]:
    assignments = [name for name, one in shared.config.assignments.items() if one.repositories]
    yield f"autograder {__version__}, {shared.config_file}"
    yield f"  grades   {', '.join(assignments) or 'nothing: no assignment names repositories'}"
    yield f"  ledger   {shared.ledger.database.shown}"
    yield f"  jobs     {mask(shared.course.jobs_url())}"
    if url:
        yield f"  web      {url}"
    if place is not None:
        yield f"  workers  {slots_wanted}, the first is {place.executor}; {', '.join(queues)}"


def _heads(course: Course) -> Callable[[Target], str | None]:
    """Return what asks a git host which commit a branch is at."""

    def head(target: Target) -> str | None:
        credentials = course.credentials(target.repository.host)
        return branch_head(target.remote, target.branch, credentials=credentials)

    return head


def _folders(shared: Parts) -> list[Path]:
    files = [shared.ledger.database.file]
    return [*(file.parent for file in files if file), shared.config.state]


# What is made elsewhere -------------------------------------------------------------------------------------


def _metrics() -> Any:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.import_module("autograder.service.metrics").Metrics()
    return None


def _spool(shared: Parts) -> Callable[[], int]:
    """Return what takes the pushes that hooks left in the spool."""
    spool = Spool(shared.course.spool())
    spool.make()

    def drain() -> int:
        drained = spool.drain(shared.intake.receive)
        for name, reason in drained.rejected:
            LOG.error("set aside in the spool", extra={"file": name, "reason": reason})
        return drained.taken

    return drain


def _service(shared: Parts, reconciler: Reconciler, metrics: Any, signals: Signals, later: Later) -> Service:
    def ending() -> list[str]:
        return ["the service is ending"] if signals.stop.is_set() else []

    checks = [reconciler.problems, Spool(shared.course.spool()).problems, ending]
    return Service(
        shared.ledger,
        shared.course,
        shared.queue,
        shared.intake,
        metrics,
        lease_seconds=shared.config.service.lease_seconds,
        checks=checks,
        later=later,
    )


__all__ = ["logs", "serve", "work"]
