"""Starts and ends the processes of the service.

    autograder serve     the web, the reconciler and workers
    autograder worker    workers alone, on this machine or another one

Both commands call `run`. A worker takes one job at a time. The first worker runs in this process. Each further worker
runs in a child process, which ends when this process ends, even if this process is killed.

On SIGTERM or Ctrl-C the workers take no more jobs. Jobs that run may finish within `drain_seconds`, and pushes are
still recorded meanwhile. Then everything stops. A job that was cut off starts again at the next start. A second Ctrl-C
ends the process at once, and nothing is lost then either.
"""

import contextlib
import errno
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
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from autograder import __version__, processors
from autograder.config import Config, load
from autograder.config.schema import QUEUES, QueueName
from autograder.course.course import Course, Target
from autograder.errors import GraderError
from autograder.git.fetch import tips
from autograder.ledger import Job, JobState, Ledger, LedgerAway, Source
from autograder.ledger.database import mask
from autograder.service import belonging, readiness
from autograder.service.http import app, listener
from autograder.service.intake import post_receive
from autograder.service.intake.intake import Intake
from autograder.service.intake.reconciler import Reconciler
from autograder.service.intake.spool import Spool
from autograder.service.jobs import pipeline, worker_names
from autograder.service.jobs.graders import Graders
from autograder.service.jobs.lease import Lease
from autograder.service.jobs.pipeline import Pipeline
from autograder.service.jobs.queue import Consumer, Queue, QueueAway, prepare
from autograder.service.jobs.statuses import Statuses
from autograder.service.logs import LOG, about
from autograder.service.metrics import STEPS, Metrics
from autograder.service.notices import Notices
from autograder.service.service import Service

Say = Callable[[str], None]

ENDED_AT_ONCE = 130
WEB_STOP_SECONDS = 5.0
STATUS_SECONDS = 5.0  # for statuses of commits that are still to be sent
AWAY_SECONDS = 1.0  # between two looks for a database server that does not answer
AWAY_LOG = 30  # of so many looks, one is logged
RESTART_SECONDS = 1.0  # between the end of a child and its next start
CHILD_GRACE_SECONDS = 10.0  # a child that runs for longer than drain_seconds plus this time is killed


@dataclass(frozen=True)
class Parts:
    """The objects that every process of the service has."""

    config: Config
    config_file: Path
    course: Course
    ledger: Ledger
    queue: Queue
    intake: Intake


@contextlib.contextmanager
def parts(config_file: Path) -> Iterator[Parts]:
    """Open the ledger and the queue of a configuration. A database that is missing is created.

    Raises:
        GraderError: the configuration is wrong, or a database cannot be used.
    """
    config = load(config_file)
    course = Course.of(config)
    url = course.jobs_url()
    first_wait = timedelta(seconds=config.service.retry_seconds)
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(config.ledger_url(), folder=config.path(".")))
        prepare(url)
        queue = Queue(url)
        stack.callback(queue.close)

        def wait(job: Job) -> timedelta:
            return pipeline.wait_before_next_try(ledger, job, first_wait)

        statuses = Statuses(ledger, course)
        stack.callback(statuses.close, STATUS_SECONDS)
        intake = Intake(ledger, course, queue, wait, statuses=statuses)
        yield Parts(config, config_file, course, ledger, queue, intake)


def run(
    config_file: Path,
    *,
    say: Say,
    web: bool,
    listen: str = "",
    queues: Sequence[QueueName] = (),
    workers: int = 1,
    name: str = "",
    child: bool = False,
) -> None:
    """Run the web server, workers, or both, until SIGTERM or Ctrl-C.

    Args:
        config_file: of the course.
        say: shows a line to the person who started the process.
        web: whether to take pushes, over HTTP and from the spool, and to reconcile the ledger with the queue.
        listen: the address and port to use instead of the configured ones.
        queues: the queues to take jobs from. Default: the queues that assignments use.
        workers: the number of workers. With 0 this process only takes pushes.
        name: the name of this machine among the machines that run workers. Default: its host name.
        child: whether this process is a child, which ends when its standard input ends.

    Raises:
        GraderError: something is missing or wrong, and nothing was started; or the web server ended by itself.
    """
    started = time.monotonic()
    signals = Signals()
    if child:
        threading.Thread(target=_end_with_parent, args=(signals,), name="parent", daemon=True).start()
    with _parts_in_time(config_file, signals, say) as shared, contextlib.ExitStack() as stack:
        belonging.require_secret(shared.config, shared.ledger)
        drain_seconds = shared.config.service.drain_seconds
        queues = queues or _in_use(shared.config)
        metrics = Metrics()
        identity = worker_names.take(shared.config.state, name) if workers else None
        checks: list[Callable[[], list[str]]] = []
        front = Web(shared, listen, metrics, signals, checks) if web else None
        if front is not None:
            stack.callback(front.stop)  # called after the workers stopped: pushes are recorded until then
        watch = (
            None
            if child
            else readiness.Watch(config_file, queues if workers else (), shared.course.not_in_force)
        )
        worker = Worker(shared, queues, metrics, identity, watch) if identity is not None else None
        if watch is not None:
            stack.callback(watch.stop)
            checks.append(watch.problems)
        children = Children(max(0, workers - 1), _command(config_file, queues, name), identity)
        stack.callback(children.wait, drain_seconds + CHILD_GRACE_SECONDS)
        if worker is not None:
            worker.start(say)
            stack.callback(worker.stop, drain_seconds)
        stack.callback(children.stop)  # called first, so that all workers finish their jobs at the same time
        children.watch()
        if front is not None:
            front.start()
            stack.callback(front.stop_reconciling)
        for line in _lines(shared, front, identity, queues, workers):
            say(line)
        if watch is not None:
            watch.start()
        said: list[str] | None = None
        while not signals.stop.wait(0.5 if watch is None or watch.done else 0.05):
            children.watch()
            if watch is not None and watch.done and watch.problems() != said:
                said = watch.problems()
                warming = worker.warming if worker is not None else []
                for line in _readiness(said, time.monotonic() - started, warming):
                    say(line)
                if not said:
                    LOG.info("ready", extra=_facts(front, identity, queues))
            if front is not None and not front.alive():
                raise GraderError("the web server ended; see the log above")
        say("ending: no more jobs are taken, what runs may finish; Ctrl-C again ends at once")
        stack.close()
        if worker is not None:
            worker.end_process()


@contextlib.contextmanager
def _parts_in_time(config_file: Path, signals: "Signals", say: Say) -> Iterator[Parts]:
    """Open the parts as `parts` does. Wait while the database server does not answer, for instance after a reboot.

    Raises:
        GraderError: a part cannot be used, or the process is ended while it waits.
    """
    waited = 0
    while True:
        with contextlib.ExitStack() as stack:
            try:
                shared = stack.enter_context(parts(config_file))
            except (LedgerAway, QueueAway) as error:
                if waited == 0:
                    say(f"waiting for the database: {error}")
                if waited % AWAY_LOG == 0:
                    LOG.warning("waiting for the database", extra={"reason": str(error)})
                waited += 1
            else:
                yield shared
                return
        if signals.stop.wait(AWAY_SECONDS):
            raise GraderError("ended while it waited for the database")


class Worker:
    """The worker of this process: its name, its suite servers, its lease, and its consumer of the queues."""

    def __init__(
        self,
        shared: Parts,
        queues: Sequence[str],
        metrics: Metrics,
        identity: worker_names.Identity,
        watch: readiness.Watch | None,
    ) -> None:
        config = shared.config
        worker_names.use(identity)
        self._identity, self._ledger = identity, shared.ledger
        self._drained = True
        self._done: set[str] = set()
        self._graders = Graders(config, shared.config_file)
        self._consumer = Consumer(
            shared.course.jobs_url(),
            identity.name,
            queues,
            Pipeline(
                shared.ledger,
                shared.course,
                self._graders,
                shared.intake,
                identity.folder / "submissions",
                identity.name,
                retries=config.service.retries,
                metrics=metrics,
                statuses=shared.intake.statuses,
            ),
            steps=STEPS,
            preemptible=[pipeline.GRADE],
        )
        self._lease = Lease(
            shared.ledger,
            shared.queue,
            identity.name,
            origin=identity.origin,
            queues=queues,
            seconds=config.service.lease_seconds,
            running=self._consumer.running,
            problems=lambda: watch.problems() if watch is not None and watch.done else (),
        )
        self._warm = [
            name
            for name, assignment in config.assignments.items()
            if assignment.repositories and assignment.queue in queues
        ]

    @property
    def warming(self) -> list[str]:
        """The assignments whose suite servers were started before a job needs them, and are not ready yet."""
        return [name for name in self._warm if name not in self._done]

    def start(self, say: Say) -> None:
        """Start to take jobs; `say` shows which suites are warm, as soon as they are."""
        self._graders.warm(self._warm)
        threading.Thread(target=self._tell_warm, args=(say,), name="warm", daemon=True).start()
        self._lease.claim()
        self._consumer.start()
        self._lease.start()

    def stop(self, seconds: float) -> None:
        """Take no more jobs, wait for the job that runs, and end.

        A job that takes longer than `seconds` runs until the process ends; see `end_process`.
        """
        self._drained = self._consumer.stop(seconds)
        LOG.info(
            "the worker stopped taking jobs", extra={"worker": self._identity.name, "drained": self._drained}
        )
        with contextlib.suppress(GraderError):
            self._lease.stop()
        if self._drained:
            self._graders.close()
            self._identity.release()
        else:
            self._give_back()

    def _tell_warm(self, say: Say) -> None:
        started = time.monotonic()
        with about(worker=self._identity.name):
            for name in self._warm:
                try:
                    provenance = self._graders.ready(name)
                    different = belonging.differences(self._ledger, name, provenance)
                except GraderError as error:  # `readiness.Watch` names it, too
                    LOG.error("a suite cannot grade", extra={"assignment": name, "reason": error.for_staff()})
                    continue
                finally:
                    self._done.add(name)
                seconds = round(time.monotonic() - started, 1)
                LOG.info("warm", extra={"assignment": name, "seconds": seconds})
                say(f"{name} is warm after {seconds:.1f} s")
                if different:
                    what = " and ".join(different)
                    LOG.warning(
                        "not what the newest report was graded with",
                        extra={"assignment": name, "differs": different},
                    )
                    say(
                        f"{name}: the {what} of this machine differs from that of the newest report in the ledger"
                    )

    def _give_back(self) -> None:
        """Record that the jobs that were cut off wait again. Otherwise they would seem to have ended their worker."""
        with contextlib.suppress(GraderError):  # the ledger cannot be reached; one such end does no harm
            for job in self._ledger.jobs(states=[JobState.RUNNING]):
                if job.worker == self._identity.name:
                    self._ledger.move(job.id, JobState.QUEUED, reason="the worker was stopped")

    def end_process(self) -> None:
        """End the process at once if a job was cut off. Otherwise the interpreter would wait for the job's thread.

        The suite server and its sandbox end with the process. In the ledger the job is still running. The worker that
        takes the job over starts it again.
        """
        if not self._drained:
            for name in self._warm:
                self._graders.interrupt(name)
            self._identity.release()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(0)


class Children:
    """Further workers, each in a child process of its own. A child that ends by itself is started again."""

    def __init__(self, number: int, command: Sequence[str], identity: worker_names.Identity | None) -> None:
        self._command = list(command)
        # The temporary folders of the children lie beside the folder of this worker, not in it: that folder is emptied
        # at the next start of this worker.
        self._environment = {**os.environ, **({"TMPDIR": str(identity.folder.parent)} if identity else {})}
        self._children: list[subprocess.Popen[bytes] | None] = [None] * number
        self._not_before = [0.0] * number

    def watch(self) -> None:
        """Start each child that does not run."""
        for index, child in enumerate(self._children):
            if child is not None and child.poll() is None:
                continue
            if child is not None and child.stdin is not None:
                LOG.error("a worker process ended by itself", extra={"status": child.returncode})
                child.stdin.close()
                self._children[index] = None
                self._not_before[index] = time.monotonic() + RESTART_SECONDS
            if time.monotonic() >= self._not_before[index]:
                # The child has a session of its own, so that Ctrl-C reaches only this process. The pipe closes when
                # this process ends, and the child ends when the pipe closes.
                self._children[index] = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, env=self._environment, start_new_session=True
                )

    def stop(self) -> None:
        """Ask all children to end."""
        for child in self._children:
            if child is not None and child.poll() is None:
                child.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until all children have ended; kill the children that take longer than `seconds`."""
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
    """Handles signals: the first SIGTERM or Ctrl-C asks the process to stop, a second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set() and number == signal.SIGINT:
            os._exit(ENDED_AT_ONCE)
        self.stop.set()


class Web:
    """The part that takes pushes: the HTTP server in a thread, and the reconciler, which also drains the spool.

    Args:
        shared: the parts of this process.
        listen: the address and port to use instead of the configured ones.
        metrics: the counters of this process.
        signals: say whether the service is ending.
        checks: further sources of problems; more may be added later.

    Raises:
        GraderError: the address cannot be used, or the staff token is wrong.
    """

    def __init__(
        self,
        shared: Parts,
        listen: str,
        metrics: Metrics,
        signals: Signals,
        checks: Sequence[Callable[[], list[str]]],
    ) -> None:
        spool = Spool(shared.course.spool())
        self._reconciler = _reconciler(shared, spool)
        # If the process ends before this thread has opened a job, the reconciler opens that job at the next start.
        self._opener = ThreadPoolExecutor(1, "opener")
        service = Service(
            shared.ledger,
            shared.course,
            shared.queue,
            shared.intake,
            metrics,
            lease_seconds=shared.config.service.lease_seconds,
            checks=[self._reconciler.problems, spool.problems, lambda: _ending(signals), _all(checks)],
            later=self._opener.submit,
        )
        self._notices = Notices(service)
        self._server = uvicorn.Server(listener.config(app.create(service)))
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._listening = _listening(listen or shared.config.service.listen)
        host, port = self._listening.getsockname()[:2]
        self.address = f"{host}:{port}"

    def start(self) -> None:
        """Start to take pushes."""
        self._thread.start()
        self._reconciler.start()
        self._notices.start()

    def alive(self) -> bool:
        """Return whether the server runs."""
        return self._thread.is_alive()

    def stop_reconciling(self) -> None:
        """Stop the reconciler and the notices."""
        self._notices.stop()
        self._reconciler.stop()

    def stop(self) -> None:
        """Stop the server."""
        if self._thread.is_alive():
            self._server.should_exit = True
            self._thread.join(WEB_STOP_SECONDS)
        self._opener.shutdown(cancel_futures=True)
        self._listening.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._listening])


def _reconciler(shared: Parts, spool: Spool) -> Reconciler:
    service = shared.config.service
    file = shared.ledger.database.file
    return Reconciler(
        shared.ledger,
        shared.queue,
        shared.intake,
        tips=_tips(shared.course),
        listed=shared.course.listed,
        check=_check(shared.course, spool),
        drain=_drain(spool, shared.intake),
        forget=spool.forget,
        folders=[*([file.parent] if file else []), shared.config.state],
        patience=timedelta(seconds=2 * service.lease_seconds),
        keep=timedelta(days=service.keep_days),
    )


def _tips(course: Course) -> Callable[[Target], tuple[str | None, str | None]]:
    """Return a function that asks a git host for the tips of a target's branch and of its feedback branch."""

    def ask(target: Target) -> tuple[str | None, str | None]:
        credentials = course.credentials(target.repository.host)
        head, shown = tips(target.remote, [target.branch, course.feedback.branch], credentials=credentials)
        return head, shown

    return ask


def _check(course: Course, spool: Spool) -> Callable[[Target], list[str]]:
    """Return a function that looks at the hook and the accounts of a bare repository of this machine."""

    def check(target: Target) -> list[str]:
        if target.remote.protocol != "file":
            return []
        path = Path(target.remote.url)
        try:
            return post_receive.problems(post_receive.place(course, path, host=target.repository.host), spool)
        except GraderError:  # it is not there, which is reported where it is fetched
            return []

    return check


def _drain(spool: Spool, intake: Intake) -> Callable[[], int]:
    """Return a function that takes the pushes in the spool. The spool is created if it is missing."""
    spool.make()

    def drain() -> int:
        drained = spool.drain(partial(intake.receive, source=Source.HOOK))
        for name, reason in drained.rejected:
            LOG.error("a file in the spool was set aside", extra={"file": name, "reason": reason})
            intake.ledger.add_loss("spool", name, reason)
        return drained.taken

    return drain


def _ending(signals: Signals) -> list[str]:
    return ["the service is ending"] if signals.stop.is_set() else []


def _in_use(config: Config) -> tuple[QueueName, ...]:
    """Return the queues that assignments use. Others are left out, because each look into a queue costs time."""
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
        why = "another program uses it, perhaps a service that runs already" if taken else error
        raise GraderError(
            f"cannot listen on {address!a:.100}: {why}; see [service] listen, or --listen"
        ) from error


def _end_with_parent(signals: Signals) -> None:
    """Wait until the pipe from the parent closes, which means that the parent has ended. Then set `signals.stop`."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    signals.stop.set()


def _command(config_file: Path, queues: Sequence[str], name: str) -> list[str]:
    """Return the command line of a child."""
    named = ["--name", name] if name else []
    return [
        *(sys.executable, "-m", "autograder", "worker", "--child", "--workers", "1"),
        *("--queues", ",".join(queues), "--config", str(config_file.resolve()), *named),
    ]


def _lines(
    shared: Parts,
    front: Web | None,
    identity: worker_names.Identity | None,
    queues: Sequence[str],
    workers: int,
) -> Iterator[str]:
    """Yield the lines that are shown at the start."""
    assignments = [name for name, one in shared.config.assignments.items() if one.repositories]
    yield f"autograder {__version__}, {shared.config_file}"
    yield f"  grades   {', '.join(assignments) or 'nothing: no assignment names repositories'}"
    yield f"  ledger   {shared.ledger.database.shown}"
    yield f"  jobs     {mask(shared.course.jobs_url())}"
    if front is not None:
        yield f"  web      http://{front.address}"
    if identity is not None:
        yield f"  workers  {workers}, the first is {identity.name}; {', '.join(queues)}"
        if warning := processors.too_many(workers, "jobs"):
            yield f"           {warning}"


def _readiness(problems: Sequence[str], seconds: float, warming: Sequence[str]) -> Iterator[str]:
    """Yield the lines that say whether everything can be graded, and what is not warm yet."""
    for problem in problems:
        yield f"  problem  {problem}"
    if problems:
        yield "not ready: what is named above cannot be graded, everything else is; it is tried again every half minute"
    else:
        still = f"; warming {', '.join(warming)}" if warming else ""
        yield f"ready after {seconds:.1f} s{still}; Ctrl-C ends it"


def _all(checks: Sequence[Callable[[], list[str]]]) -> Callable[[], list[str]]:
    """Return one check that asks all of `checks`."""
    return lambda: [problem for check in checks for problem in check()]


def _facts(
    front: Web | None, identity: worker_names.Identity | None, queues: Sequence[str]
) -> dict[str, object]:
    """Return the facts of the log line at the start."""
    facts: dict[str, object] = {}
    if front is not None:
        facts["listen"] = front.address
    if identity is not None:
        facts |= {"worker": identity.name, "queues": list(queues)}
    return facts


__all__ = ["Parts", "parts", "run"]
