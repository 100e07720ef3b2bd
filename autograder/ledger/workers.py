"""Who works at the moment: one row for each worker slot, renewed while the slot lives.

A row's age is no proof of death: clocks differ between machines. Whoever watches compares `beats`, the number of
renewals, over a while of its own clock (`autograder.service.jobs.lease`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from autograder.ledger import tables
from autograder.ledger.database import Database
from autograder.ledger.rows import storable

_w = tables.workers.c


@dataclass(frozen=True)
class Worker:
    """A worker slot.

    Attributes:
        executor: its name, `host:slot`.
        origin: where that name is unique: the machine and the service's folder.
        queues: which it serves.
        version: of the autograder.
        beats: how often it has renewed its row since it started.
        started, seen: by its own clock (UTC).
    """

    executor: str
    origin: str
    queues: tuple[str, ...]
    version: str
    beats: int
    started: datetime
    seen: datetime


def start(
    database: Database, executor: str, *, origin: str, queues: Sequence[str], version: str, now: datetime
) -> None:
    """Write the row of a slot that starts, in place of that of its predecessor."""
    values: dict[str, Any] = {
        "origin": storable(origin),
        "queues": json.dumps(list(queues)),
        "version": storable(version, 100),
        "beats": 0,
        "started": now,
        "seen": now,
    }
    with database.writing() as connection:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(tables.workers).values(executor=storable(executor), **values)
        connection.execute(insert.on_conflict_do_update(index_elements=[_w.executor], set_=values))


def beat(database: Database, executor: str, *, now: datetime) -> bool:
    """Renew a slot's row; return whether it was there."""
    with database.writing() as connection:
        update = tables.workers.update().where(_w.executor == executor)
        return connection.execute(update.values(beats=_w.beats + 1, seen=now)).rowcount > 0


def end(database: Database, executor: str, *, beats: int | None = None) -> bool:
    """Remove the row of a slot that stopped; return whether it was there.

    Args:
        database: where.
        executor: the slot.
        beats: only while it still has this number, so that one which just came back to life is left alone.
    """
    delete = tables.workers.delete().where(_w.executor == executor)
    if beats is not None:
        delete = delete.where(_w.beats == beats)
    with database.writing() as connection:
        return connection.execute(delete).rowcount > 0


def workers(database: Database) -> list[Worker]:
    """Return all rows, by name."""
    with database.reading() as connection:
        rows = connection.execute(sa.select(tables.workers).order_by(_w.executor)).all()
    return [
        Worker(
            row.executor,
            row.origin,
            tuple(json.loads(row.queues)),
            row.version,
            row.beats,
            row.started,
            row.seen,
        )
        for row in rows
    ]
