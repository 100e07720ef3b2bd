"""The audit trail: what staff do, and why."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.database import insert_new
from autograder.ledger.faults import LedgerError
from autograder.ledger.part import Part
from autograder.ledger.records import AuditLine
from autograder.ledger.values import require_json, storable

_a = tables.audit_lines.c
_LINES = sa.select(tables.audit_lines)


class Audit(Part):
    """The methods of the audit trail."""

    def audit(
        self,
        who: str,
        what: str,
        *,
        why: str,
        subject: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> AuditLine:
        """Record that a member of staff does something. Call it before the action itself.

        Args:
            who: the person, never only "admin".
            what: the action: `regrade`, `jobs cancel`, `ledger restore`.
            why: the reason in the person's own words.
            subject: what the action is applied to: a job's id, `host/owner/name`, an assignment.
            details: plain JSON data, without credentials.

        Raises:
            LedgerError: who, what or why is empty, or `details` is not JSON.
        """
        if not (who.strip() and what.strip() and why.strip()):
            raise LedgerError("an audit line needs who did what, and why: none of them may be empty")
        details = dict(details or {})
        require_json(details, "the details of an audit line")
        values = {
            "at": self._now(),
            "who": storable(who),
            "what": storable(what),
            "why": storable(why),
            "subject": storable(subject),
            "details": details,
        }
        with self.database.writing() as connection:
            added = insert_new(connection, tables.audit_lines, values)
            return rows.record(AuditLine, connection.execute(_LINES.where(_a.id == added)).one())

    def audit_lines(self, *, subject: str | None = None, limit: int | None = None) -> list[AuditLine]:
        """Return the audit lines, the latest first."""
        query = _LINES.order_by(_a.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(_a.subject == subject)
        with self.database.reading() as connection:
            return [rows.record(AuditLine, row) for row in connection.execute(query)]
