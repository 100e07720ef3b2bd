"""The seam to DBOS: jobs that survive the process which runs them. The only module that imports it.

    Queue     puts jobs in and takes them out, from any process
    Slot      runs them, one at a time, in this process

A job of the ledger is a workflow of DBOS with the job's id; a job that was queued once more is another round and gets
the time of that behind its id, so that everybody who sees the same row of the ledger asks for the same workflow. The
steps are those of a `Work`, each a checkpoint. Nothing but ids and plain JSON goes into this database, and all of it
could be deleted: the reconciler would queue again what the ledger says is open.

What was measured and is obeyed here: the name of a slot is unique and stable; the version is pinned, since the steps
themselves can be repeated; values are plain JSON, never pickle; every workflow has a priority, since none beats all;
queues are registered before anybody listens; SQLite is switched to WAL once.
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
from typing import Any, Protocol, TypeVar

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

from autograder.errors import GraderError
from autograder.ledger import Job
from autograder.ledger.database import mask
from autograder.service.logs import LOG

QUEUES = ("cpu", "gpu")
WORKFLOW = "grade"
APPLICATION = "autograder"
VERSION = (
    "1"  # of the workflow below, never of the code: what waits or runs is taken up by a newer autograder
)
POLL_SECONDS = 0.15  # a look costs 2 ms
WAITING, RUNNING = ("ENQUEUED", "DELAYED"), ("PENDING",)
ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_ROUND = "~"
_BATCH = 500
_POOL = 4

Facts = dict[str, Any]
Result = TypeVar("Result")


class QueueError(GraderError):
    """The queue's database cannot be used; what is in the ledger will be queued later."""


class Work(Protocol):
    """What a slot does. Called in threads."""

    def begin(self, job_id: str) -> Facts:
        """Take a job up, the first time or again; return the first step, or the end. Not a checkpoint."""

    def step(self, name: str, job_id: str, facts: Mapping[str, Any]) -> Facts:
        """Take one step, see `pipeline.Pipeline.step`; `facts` and the result are plain JSON."""

    def interrupt(self, job_id: str) -> None:
        """Make the step that runs for a job end soon: the job was cancelled."""

    def again(self, job_id: str) -> None:
        """Queue a job that failed once more."""


@dataclass(frozen=True)
class Entry:
    """A job in the queue.

    Attributes:
        job: the ledger's id.
        workflow: DBOS's.
        queue: `cpu` or `gpu`.
        running: whether a slot has it.
        executor: which slot had it last; empty for none.
        since: when it was put there (UTC).
        due: when it may begin, where it has to wait for that.
    """

    job: str
    workflow: str
    queue: str
    running: bool
    executor: str
    since: datetime
    due: datetime | None


def workflow_id(job: Job) -> str:
    """Return the id of the workflow that works on a job as the ledger shows it."""
    if job.updated == job.created:
        return job.id
    return f"{job.id}{_ROUND}{int(job.updated.timestamp() * 1_000_000):x}"


def prepare(url: str) -> None:
    """Make the queue's database where it is missing, or bring it up to date. Safe to do at once from several processes.

    Args:
        url: sqlite+pysqlite:///FILE or postgresql+psycopg://…; may hold a password.

    Raises:
        QueueError: it cannot be made.
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
    """The queue as seen from outside: put jobs in, look, take them out. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        """Connect to a database that `prepare` made.

        Raises:
            QueueError: it cannot be reached.
        """
        self._url = url
        with _errors(url):
            self._client = _client(url)

    def close(self) -> None:
        """Close all connections."""
        self._client.destroy()

    def enqueue(self, job: Job, queue: str, *, priority: int, delay: timedelta = timedelta(0)) -> bool:
        """Put a job into a queue, once however often it is asked; return whether that was new.

        Args:
            job: as the ledger shows it now.
            queue: one of QUEUES.
            priority: lower goes first; from 1 on.
            delay: after which it may begin.

        Raises:
            QueueError: there is no such queue, or its database cannot be written.
        """
        if queue not in QUEUES:  # it would wait there for ever
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
                return self._again(name, queue)

    def _again(self, name: str, queue: str) -> bool:
        """Begin a workflow anew that ended while the ledger still says that its job is open."""
        found = self._client.list_workflows(workflow_ids=[name], load_input=False, load_output=False)
        if not found or found[0].status not in ENDED:
            return False
        with contextlib.suppress(error.DBOSException):  # somebody else was faster
            self._client.rewind_workflow(name, queue_name=queue, application_version=VERSION)
            return True
        return False

    def cancel(self, job_id: str) -> None:
        """Take a job out of the queue; if a slot has it, the step that grades ends within seconds.

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
        """Return the jobs that wait or run, those that were put there first first.

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

    def recover(self, executor: str, entries: Collection[Entry]) -> int:
        """Give jobs of a slot that is dead back to their queue; return how many were.

        A job that another slot has taken over meanwhile is left alone.

        Raises:
            QueueError: the database cannot be written.
        """
        with _errors(self._url):
            return sum(
                # Not public. It moves a row only while that names this executor, so it is safe to race.
                self._client._sys_db.reenqueue_for_recovery(entry.workflow, [executor], entry.queue)
                for entry in entries
                if entry.running and entry.executor == executor
            )

    def delete_ended(self, before: datetime) -> int:
        """Delete what ended before that moment; return how many workflows were deleted.

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
        """Do nothing, if the database can be reached.

        Raises:
            QueueError: it cannot.
        """
        with _errors(self._url):
            self._client.check_connection()


class Slot:
    """Runs jobs in this process, one at a time. There can be one in a process.

    Args:
        url: of a database that `prepare` made.
        executor: the slot's name: unique, and the same at the next start.
        queues: which to take jobs from, of QUEUES.
        work: what to do with them.
        steps: the names of the steps of `work`; any other that it names is the end.
        preemptible: those of them that end when the job is cancelled.
    """

    def __init__(
        self,
        url: str,
        executor: str,
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
        self.executor, self.queues = executor, tuple(queues)
        self._url, self._work, self._steps, self._preemptible = (
            url,
            work,
            tuple(steps),
            frozenset(preemptible),
        )
        self._running: set[str] = set()
        self._ending = False
        self._at_work = 0  # threads that take a step
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to take jobs; first those that this slot had when it died.

        Raises:
            QueueError: the database cannot be used.
        """
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_url": self._url,
            "application_version": VERSION,
            "executor_id": self.executor,
            "serializer": DBOSPortableJSONSerializer(),
            "sys_db_pool_size": _POOL,
            "run_migrations": False,
            "log_level": "WARNING",
            "max_executor_threads": 16,
        }

        async def run(job_id: str) -> str:
            return await self._workflow(job_id)

        logging.getLogger("dbos").addHandler(logging.NullHandler())  # else DBOS prints by itself
        logging.getLogger("dbos").addFilter(_CANCELLED)
        with _errors(self._url):
            DBOS(config=config)
            DBOS.workflow(name=WORKFLOW)(run)
            DBOS.listen_queues(list(self.queues))
            DBOS.launch()

    def stop(self, seconds: float) -> bool:
        """Take no more jobs, and wait for the one that runs; return whether it came to its end.

        Args:
            seconds: how long to wait. What is cut off is begun again at the next start, or by another slot.
        """
        self._ending = True
        wait = int(max(1.0, seconds)) if self.running() and seconds > 0 else 0
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=wait)
        return self._at_work == 0

    def running(self) -> frozenset[str]:
        """Return the ids of the workflows that run here."""
        with self._lock:
            return frozenset(self._running)

    async def _workflow(self, job_id: str) -> str:
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
                await asyncio.to_thread(self._work.again, job_id)
            return str(facts.get("reason", ""))
        finally:
            with self._lock:
                self._running.discard(name)

    def _take(self, name: str, job_id: str, facts: Facts) -> Facts:
        with self._lock:
            self._at_work += 1
        try:
            return self._work.step(name, job_id, facts)
        finally:
            with self._lock:
                self._at_work -= 1

    async def _step(self, name: str, job_id: str, facts: Facts) -> Facts:
        task = asyncio.ensure_future(asyncio.to_thread(self._take, name, job_id, facts))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._ending:  # the process ends, and what runs with it
                raise
            LOG.info("cancelled", extra={"job": job_id, "step": name})
            await asyncio.to_thread(self._work.interrupt, job_id)
            with contextlib.suppress(Exception):
                await task
            raise


class _Cancelled(logging.Filter):
    """Leaves out that a job was cancelled: it was meant to be."""

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
        retry_connection_errors=False,  # whoever brings a push must not wait for it
    )


def _job_of(workflow: str) -> str:
    return workflow.partition(_ROUND)[0]


def _moment(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    """Switch a file to WAL mode. SQLite does not wait for others here by itself."""
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
    """Turn what DBOS and the driver raise into a QueueError without the password."""
    try:
        yield
    except (error.DBOSException, SQLAlchemyError, sqlite3.Error, OSError) as cause:
        text = " ".join(str(getattr(cause, "orig", None) or cause).split())
        password = sa.make_url(url).password
        if password:
            text = text.replace(str(password), "***")
        raise QueueError(f"the queue {mask(url)}: {text[:300]}") from None


__all__ = ["QUEUES", "Entry", "Queue", "QueueError", "Slot", "Work", "prepare", "workflow_id"]
