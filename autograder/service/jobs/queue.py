"""Runs jobs with DBOS, so that they survive the process that runs them. No other module imports DBOS.

    Queue       puts jobs into queues and takes them out, from any process
    Consumer    runs jobs, one at a time, in a worker

A job of the ledger that is queued for the first time gets a workflow of DBOS whose id is the job's id. If it is queued
again, it gets a new workflow: the time of that change is appended to the id. So all processes that see the same row of
the ledger ask for the same workflow. The steps of a workflow are those of a `Work`, with a checkpoint after each step.

The ledger and DBOS each have a database. The ledger holds the facts: which jobs there are, the state of each job, how
often and by whom it was tried, its report and its feedback. DBOS holds the facts that are needed to hand out work:
which workflow waits in which queue with which priority and until when, which worker runs it, and which steps it has
finished. DBOS holds no results and no reasons: a checkpoint holds the next step and the facts that this step needs. Two
facts are in both databases, because the databases may be two files without a common transaction:

- That a job waits or runs. DBOS decides under its own locks which worker gets a workflow. The ledger records the
  result.
- Which worker has a job. In DBOS, the worker's name is the key by which the jobs of a dead worker are given back. In
  the ledger, it is part of the job's history.

Where they differ, the ledger is right, and the reconciler repairs the difference. If the whole database of DBOS were
deleted, the reconciler would queue all jobs that are open in the ledger again.

Measurements showed that DBOS needs the following:

- The name of a worker is unique, and is the same at the worker's next start.
- The version is pinned, because a newer autograder may repeat the steps of an older one.
- Values are plain JSON, never pickle.
- Every workflow has a priority, because DBOS prefers a workflow without a priority to all others.
- Queues are registered before any process listens to them.
- SQLite is switched to WAL once.
"""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    StepOptions,
    error,
)
from sqlalchemy.exc import SQLAlchemyError

from autograder.config.schema import QUEUES
from autograder.errors import GraderError
from autograder.ledger import Job
from autograder.ledger.database import is_away, mask
from autograder.service.logs import LOG

WORKFLOW = "grade"
APPLICATION = "autograder"
VERSION = "1"  # of the workflow below, not of the code: a newer autograder takes over jobs that wait or run
POLL_SECONDS = 0.15  # one look takes 2 ms
WAITING, RUNNING = ("ENQUEUED", "DELAYED"), ("PENDING",)
ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_ROUND = "~"
_BATCH = 500
_POOL = 4

Facts = dict[str, Any]


class QueueError(GraderError):
    """The queue's database cannot be used. Jobs that are open in the ledger will be queued later."""


class QueueAway(QueueError):
    """The database server of the queue does not answer, or is just starting."""


class Work(Protocol):
    """The work on a job, independent of DBOS; see `pipeline.Pipeline`. Its methods are called in threads."""

    def begin(self, job_id: str) -> Facts:
        """Begin a job, for the first time or again; return the first step, or the end. No checkpoint follows."""

    def step(self, name: str, job_id: str, facts: Mapping[str, Any]) -> Facts:
        """Take one step, see `pipeline.Pipeline.step`. Both `facts` and the result are plain JSON."""

    def interrupt(self, job_id: str) -> None:
        """Make the running step of a job end soon, because the job was cancelled."""

    def queue_again(self, job_id: str) -> None:
        """Put a job whose try failed into the queue again."""


@dataclass(frozen=True)
class Entry:
    """A job in the queue.

    Attributes:
        job: the job's id in the ledger.
        workflow: the job's id in DBOS.
        queue: `cpu` or `gpu`.
        running: whether a worker has it.
        worker: the worker that runs it; empty while it waits.
        since: when the job was put into the queue (UTC).
        due: the moment before which the job must not start; None if it may start at any time.
    """

    job: str
    workflow: str
    queue: str
    running: bool
    worker: str
    since: datetime
    due: datetime | None


def workflow_id(job: Job) -> str:
    """Return the id of the workflow for a job in its present state in the ledger."""
    if job.updated == job.created:
        return job.id
    return f"{job.id}{_ROUND}{int(job.updated.timestamp() * 1_000_000):x}"


def prepare(url: str) -> None:
    """Create the queue's database, or bring it up to date. Several processes may do so at once.

    Args:
        url: sqlite+pysqlite:///FILE or postgresql+psycopg://…; may contain a password.

    Raises:
        QueueError: the database cannot be created.
    """
    parsed = sa.make_url(url)
    with _errors(url):
        if parsed.drivername.startswith("sqlite"):
            file = Path(str(parsed.database))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            with contextlib.closing(sqlite3.connect(file, timeout=60)) as raw:
                _switch_to_wal(raw)
        DBOS.migrate(url)
        client = _client(url)
        try:
            for name in QUEUES:
                client.register_queue(
                    name, worker_concurrency=1, polling_interval_sec=POLL_SECONDS, on_conflict="always_update"
                )
        finally:
            client.destroy()


class Queue:
    """Puts jobs into the queues, lists them, and takes them out. It does not run jobs. Threads may share it."""

    def __init__(self, url: str) -> None:
        """Connect to a database that `prepare` created.

        Raises:
            QueueError: the database cannot be reached.
        """
        self._url = url
        with _errors(url):
            self._client = _client(url)

    def close(self) -> None:
        """Close all connections."""
        self._client.destroy()

    def enqueue(self, job: Job, queue: str, *, priority: int, delay: timedelta = timedelta(0)) -> bool:
        """Put a job into a queue, unless it is there already; return whether it was put there now.

        Args:
            job: as it is in the ledger now.
            queue: one of QUEUES.
            priority: 1 or more; the job with the lowest number is taken first.
            delay: the shortest time that the job must wait.

        Raises:
            QueueError: there is no such queue, or the database cannot be written.
        """
        if queue not in QUEUES:  # no worker would ever take the job
            raise QueueError(f"there is no queue {queue!r}, only {' and '.join(QUEUES)}")
        name = workflow_id(job)
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": queue,
            "workflow_id": name,
            "workflow_id_reuse_policy": "reject",
            "app_version": VERSION,
            "priority": max(1, priority),
        }
        if delay > timedelta(0):
            options["delay_seconds"] = delay.total_seconds()
        with _errors(self._url):
            try:
                self._client.enqueue(options, job.id)
                return True
            except error.DBOSWorkflowIDInUseError:
                return self._rewind(name, queue)

    def _rewind(self, name: str, queue: str) -> bool:
        """Start a workflow again if it has ended although its job is still open in the ledger."""
        found = self._client.list_workflows(workflow_ids=[name], load_input=False, load_output=False)
        if not found or found[0].status not in ENDED:
            return False
        with contextlib.suppress(error.DBOSException):  # another process was faster
            self._client.rewind_workflow(name, queue_name=queue, application_version=VERSION)
            return True
        return False

    def wait_only(self, entry: Entry, delay: timedelta) -> None:
        """Let a job that waits for its next try wait for `delay` from now. A job that waits for no try is left alone.

        Raises:
            QueueError: the database cannot be written.
        """
        with _errors(self._url):
            self._client.set_workflow_delay(entry.workflow, delay_seconds=delay.total_seconds())

    def cancel(self, job_id: str) -> None:
        """Take a job out of the queue. If a worker grades it already, that step ends within seconds.

        Raises:
            QueueError: the database cannot be written.
        """
        with _errors(self._url):
            found = self._client.list_workflows(
                workflow_id_prefix=job_id,
                status=[*WAITING, *RUNNING],
                load_input=False,
                load_output=False,
            )
            names = [status.workflow_id for status in found if _job_of(status.workflow_id) == job_id]
            if names:
                self._client.cancel_workflows(names)

    def entries(self) -> list[Entry]:
        """Return the jobs that wait or run, in the order in which they were queued.

        Raises:
            QueueError: the database cannot be read.
        """
        with _errors(self._url):
            found = self._client.list_workflows(
                status=[*WAITING, *RUNNING], name=WORKFLOW, load_input=False, load_output=False
            )
        return [
            Entry(
                _job_of(status.workflow_id),
                status.workflow_id,
                status.queue_name or "",
                status.status in RUNNING,
                status.executor_id or "" if status.status in RUNNING else "",
                _moment(status.created_at or 0),
                _moment(status.delay_until_epoch_ms) if status.delay_until_epoch_ms else None,
            )
            for status in found
        ]

    def recover(self, worker: str, entries: Collection[Entry]) -> int:
        """Put jobs of a dead worker back into their queues; return the number of jobs put back.

        A job that another worker has taken over meanwhile is left alone.

        Raises:
            QueueError: the database cannot be written.
        """
        with _errors(self._url):
            return sum(
                # This method is not public, but no public method does the same. DBOS calls a worker an executor, and
                # recovers only the workflows of the executor that starts again. `resume_workflow` also moves a workflow
                # that a living executor has just taken. The method below moves a row only while the row names the dead
                # executor, so several workers may call it at the same time.
                self._client._sys_db.reenqueue_for_recovery(entry.workflow, [worker], entry.queue)
                for entry in entries
                if entry.running and entry.worker == worker
            )

    def delete_ended(self, before: datetime) -> int:
        """Delete the workflows that ended before a moment; return how many.

        Raises:
            QueueError: the database cannot be written.
        """
        deleted = 0
        with _errors(self._url):
            while True:
                found = self._client.list_workflows(
                    status=list(ENDED),
                    completed_before=before.astimezone(timezone.utc).isoformat(),
                    limit=_BATCH,
                    load_input=False,
                    load_output=False,
                )
                if found:
                    self._client.delete_workflows([status.workflow_id for status in found])
                deleted += len(found)
                if len(found) < _BATCH:
                    return deleted

    def check(self) -> None:
        """Connect to the database, to see whether that is possible.

        Raises:
            QueueError: the database cannot be reached.
        """
        with _errors(self._url):
            self._client.check_connection()


class Consumer:
    """Takes jobs from queues and runs them in this process, one at a time. A process can have one.

    Args:
        url: of a database that `prepare` created.
        worker: the worker's name: unique, and the same at the next start.
        queues: the queues to take jobs from; each is one of QUEUES.
        work: does the steps of a job.
        steps: the names of the steps of `work`. If the next step has any other name, the job ends.
        preemptible: the names of the steps that end when the job is cancelled.
    """

    def __init__(
        self,
        url: str,
        worker: str,
        queues: Sequence[str],
        work: Work,
        *,
        steps: Sequence[str],
        preemptible: Collection[str],
    ) -> None:
        unknown = sorted(set(queues) - set(QUEUES))
        if unknown or not queues:
            raise QueueError(
                f"there is no queue {', '.join(unknown) or 'named'}, only {' and '.join(QUEUES)}"
            )
        self._url, self._worker, self._queues = url, worker, tuple(queues)
        self._work, self._steps, self._preemptible = work, tuple(steps), frozenset(preemptible)
        self._running: set[str] = set()
        self._ending = False
        self._active_steps = 0  # threads that run a step
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start to take jobs. Jobs that a worker of this name had when it died are taken first.

        Raises:
            QueueError: the database cannot be used.
        """
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._url,
            "application_version": VERSION,
            "executor_id": self._worker,
            "serializer": DBOSPortableJSONSerializer(),
            "sys_db_pool_size": _POOL,
            "run_migrations": False,
            "log_level": "WARNING",
            "max_executor_threads": 16,
        }

        async def run(job_id: str) -> None:
            await self._workflow(job_id)

        logging.getLogger("dbos").addHandler(logging.NullHandler())  # otherwise DBOS prints to standard error
        logging.getLogger("dbos").addFilter(_CANCELLED)
        with _errors(self._url):
            DBOS(config=config)
            DBOS.workflow(name=WORKFLOW)(run)
            DBOS.listen_queues(list(self._queues))
            DBOS.launch()

    def stop(self, seconds: float) -> bool:
        """Take no more jobs, and wait for the job that runs; return whether it finished.

        Args:
            seconds: how long to wait. A job that is cut off starts again with the worker, or in another worker.
        """
        self._ending = True
        wait = int(max(1.0, seconds)) if self.running() and seconds > 0 else 0
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=wait)
        return self._active_steps == 0

    def running(self) -> frozenset[str]:
        """Return the ids of the workflows that run in this process."""
        with self._lock:
            return frozenset(self._running)

    async def _workflow(self, job_id: str) -> None:
        name = DBOS.workflow_id or job_id
        with self._lock:
            self._running.add(name)
        try:
            facts = await asyncio.to_thread(self._work.begin, job_id)
            while facts["next"] in self._steps:
                step: str = facts["next"]
                options: StepOptions = {"name": step, "preemptible": step in self._preemptible}
                facts = await DBOS.run_step_async(options, self._step, step, job_id, facts)
            if facts["next"] == "retry":
                await asyncio.to_thread(self._work.queue_again, job_id)
        finally:
            with self._lock:
                self._running.discard(name)

    def _counted(self, name: str, job_id: str, facts: Facts) -> Facts:
        """Take a step in the calling thread, and count it as active meanwhile."""
        with self._lock:
            self._active_steps += 1
        try:
            return self._work.step(name, job_id, facts)
        finally:
            with self._lock:
                self._active_steps -= 1

    async def _step(self, name: str, job_id: str, facts: Facts) -> Facts:
        task = asyncio.ensure_future(asyncio.to_thread(self._counted, name, job_id, facts))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._ending:  # the process is ending, and the step ends with it
                raise
            LOG.info("a running job was cancelled", extra={"job": job_id, "step": name})
            await asyncio.to_thread(self._work.interrupt, job_id)
            with contextlib.suppress(Exception):
                await task
            raise


class _Cancelled(logging.Filter):
    """Drops the errors that DBOS logs for cancelled jobs, because to cancel a job is not an error."""

    def filter(self, record: logging.LogRecord) -> bool:
        cause = record.exc_info[1] if record.exc_info else None
        return not isinstance(
            cause, (error.DBOSWorkflowCancelledError, error.DBOSAwaitedWorkflowCancelledError)
        )


_CANCELLED = _Cancelled()


def _client(url: str) -> DBOSClient:
    return DBOSClient(
        system_database_url=url,
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
        system_database_pool_size=_POOL,
        retry_connection_errors=False,  # the sender of a push must not wait for it
    )


def _job_of(workflow: str) -> str:
    return workflow.partition(_ROUND)[0]


def _moment(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    """Switch a SQLite file to WAL mode. Wait for other processes that use it, because SQLite itself does not wait."""
    deadline = time.monotonic() + 60
    while raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            raw.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as locked:
            if "locked" not in str(locked) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def _errors(url: str) -> Iterator[None]:
    """Turn errors of DBOS and of the database driver into a QueueError that does not contain the password."""
    try:
        yield
    except (error.DBOSException, SQLAlchemyError, sqlite3.Error, OSError) as cause:
        text = " ".join(str(getattr(cause, "orig", None) or cause).split())
        password = sa.make_url(url).password
        if password:
            text = text.replace(str(password), "***")
        kind = QueueAway if not url.startswith("sqlite") and is_away(text) else QueueError
        raise kind(f"the queue {mask(url)}: {text[:300]}") from None


__all__ = ["QUEUES", "Consumer", "Entry", "Queue", "QueueError", "Work", "prepare", "workflow_id"]
