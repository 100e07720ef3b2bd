"""What arrived and did not become a push: counted, so that staff see it, and forgotten after a month.

Anybody can send requests, so the number of rows is limited, and each row counts the things that are alike.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.database import insert
from autograder.ledger.part import Part
from autograder.ledger.records import Loss
from autograder.ledger.values import storable

KEPT = timedelta(days=30)
MOST = 1000  # rows
_l = tables.losses.c


class Losses(Part):
    """The methods about losses."""

    def add_loss(self, kind: str, subject: str, reason: str) -> None:
        """Count something that arrived and did not become a push.

        Args:
            kind: `delivery`, `spool`, `branch` or `feedback branch`.
            subject: what it is about: a repository, or the host.
            reason: why it is no push, and what to do.
        """
        now = self._now()
        key = {"kind": storable(kind, 50), "subject": storable(subject, 300), "reason": storable(reason, 500)}
        counted = {"number": _l.number + 1, "last": now}
        with self.database.writing() as connection:
            statement = insert(connection, tables.losses).values(**key, number=1, first=now, last=now)
            keys = [_l.kind, _l.subject, _l.reason]
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=counted))
            kept = sa.select(_l.id).order_by(_l.last.desc(), _l.id.desc()).limit(MOST)
            old = sa.or_(_l.last < now - KEPT, _l.id.not_in(kept))
            connection.execute(tables.losses.delete().where(old))

    def losses(self, *, since: datetime | None = None, limit: int | None = None) -> list[Loss]:
        """Return what did not become a push, the latest first.

        Args:
            since: only what happened again after this moment.
            limit: return at most this many.
        """
        query = sa.select(tables.losses).order_by(_l.last.desc(), _l.id.desc()).limit(limit)
        if since is not None:
            query = query.where(_l.last >= since)
        with self.database.reading() as connection:
            return [rows.record(Loss, row) for row in connection.execute(query)]
