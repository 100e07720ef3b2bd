"""Which workers run at the moment. Each worker has one row, and renews it while it lives.

Times in a row are those of the database's clock, because the clocks of machines differ. The age of a row does not prove
that its worker is dead: its machine may be slow to reach the database. A watcher compares `beats`, the number of
renewals, over a period of its own clock (`autograder.service.jobs.lease`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.database import Database, insert
from autograder.ledger.values import storable

MAX_PROBLEMS, MAX_PROBLEM = 20, 1000  # of one worker, and characters of one
_w = tables.workers.c
_WORKERS = sa.select(tables.workers, _w.executor.label("name"))


@dataclass(frozen=True)
class Worker:
    """A worker of the service.

    Attributes:
        name: `host:number`.
        origin: the machine and the service's folder. The name is unique within them.
        queues: the queues that it serves.
        version: the version of the autograder.
        beats: how often it has renewed its row since it started.
        started, seen: when it started, and last renewed its row, by the clock of the database (UTC).
        problems: what keeps its machine from grading, when it last renewed its row.
    """

    name: str
    origin: str
    queues: tuple[str, ...]
    version: str
    beats: int
    started: datetime
    seen: datetime
    problems: tuple[str, ...] = ()


def start(
    database: Database, name: str, *, origin: str, queues: Sequence[str], version: str, now: datetime
) -> None:
    """Write the row of a worker that starts. It replaces the row of an earlier worker with the same name."""
    values: dict[str, Any] = {
        "origin": storable(origin),
        "queues": json.dumps(list(queues)),
        "version": storable(version, 100),
        "beats": 0,
        "started": now,
        "seen": now,
        "problems": "[]",
    }
    with database.writing() as connection:
        statement = insert(connection, tables.workers).values(executor=storable(name), **values)
        connection.execute(statement.on_conflict_do_update(index_elements=[_w.executor], set_=values))


def beat(database: Database, name: str, *, now: datetime, problems: Sequence[str] = ()) -> bool:
    """Renew a worker's row, with what keeps its machine from grading; return whether there was a row."""
    said = json.dumps([storable(problem, MAX_PROBLEM) for problem in problems[:MAX_PROBLEMS]])
    with database.writing() as connection:
        update = tables.workers.update().where(_w.executor == name)
        return connection.execute(update.values(beats=_w.beats + 1, seen=now, problems=said)).rowcount > 0


def end(database: Database, name: str, *, beats: int | None = None) -> bool:
    """Remove the row of a worker that stopped; return whether there was one.

    Args:
        database: the ledger's database.
        name: the worker.
        beats: remove the row only if it still has this number of renewals. A worker that has just resumed has renewed
            its row, and keeps it.
    """
    delete = tables.workers.delete().where(_w.executor == name)
    if beats is not None:
        delete = delete.where(_w.beats == beats)
    with database.writing() as connection:
        return connection.execute(delete).rowcount > 0


def workers(database: Database) -> list[Worker]:
    """Return all workers, by name."""
    with database.reading() as connection:
        return [
            rows.record(
                Worker, row, queues=tuple(json.loads(row.queues)), problems=tuple(json.loads(row.problems))
            )
            for row in connection.execute(_WORKERS.order_by(_w.executor))
        ]
