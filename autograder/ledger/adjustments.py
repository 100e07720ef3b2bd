"""What staff decide about the score of a repository. A decision is undone by a further row, never removed."""

from collections.abc import Iterable

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.database import ensure, insert_new
from autograder.ledger.faults import Conflict, LedgerError, Unknown
from autograder.ledger.names import RepositoryName, checked_commit
from autograder.ledger.part import Part
from autograder.ledger.records import Adjustment, AdjustmentKind
from autograder.ledger.values import storable

MOST_POINTS = 1_000_000
_a = tables.adjustments.c
_ROWS = (
    sa.select(tables.adjustments, _a.commit_sha.label("commit"), *rows.NAME)
    .join_from(tables.adjustments, tables.repositories)
    .order_by(_a.id)
)


class Adjustments(Part):
    """The methods about adjustments."""

    def add_adjustment(
        self,
        repository: RepositoryName,
        assignment: str,
        kind: AdjustmentKind,
        *,
        who: str,
        why: str,
        points: int | None = None,
        commit: str = "",
        undoes: int | None = None,
    ) -> Adjustment:
        """Record a decision of staff. The repository need not have a push.

        Args:
            repository, assignment: whose score.
            kind: what is decided.
            who, why: who decides, and the reason.
            points: for `points` and `set`.
            commit: for `use`.
            undoes: for `undo`: the id of an adjustment of the same repository and assignment.

        Raises:
            Unknown: there is no such adjustment to undo.
            Conflict: it is undone already.
            LedgerError: a value is missing, or is not allowed.
        """
        checked(kind, points=points, commit=commit, undoes=undoes)
        if not (who.strip() and why.strip()):
            raise LedgerError("an adjustment needs who decided it, and why: neither may be empty")
        now = self._now()
        with self.database.writing() as connection:
            key = {"host": repository.host, "owner": repository.owner, "name": repository.name}
            owner = ensure(connection, tables.repositories, key, {"created": now})
            if undoes is not None:
                _require_undoable(connection, owner, assignment, undoes)
            values = {
                "repository_id": owner,
                "assignment": assignment,
                "kind": kind.value,
                "points": points,
                "commit_sha": commit,
                "undoes": undoes,
                "who": storable(who, 200),
                "why": storable(why),
                "at": now,
            }
            added = insert_new(connection, tables.adjustments, values)
            if added is None:  # PostgreSQL: somebody undid it in the meantime
                raise Conflict(f"adjustment {undoes} is undone already")
            return _adjustment(connection.execute(_ROWS.where(_a.id == added)).one())

    def check_adjustment(
        self,
        repository: RepositoryName,
        assignment: str,
        kind: AdjustmentKind,
        *,
        points: int | None = None,
        commit: str = "",
        undoes: int | None = None,
    ) -> None:
        """Refuse what `add_adjustment` would refuse. Nothing is recorded.

        Raises:
            LedgerError: see `add_adjustment`.
        """
        checked(kind, points=points, commit=commit, undoes=undoes)
        if undoes is not None:
            with self.database.reading() as connection:
                owner = connection.execute(sa.select(tables.repositories.c.id).where(rows.named(repository)))
                _require_undoable(connection, owner.scalar(), assignment, undoes)

    def adjustments(
        self, assignment: str | None = None, *, repository: RepositoryName | None = None
    ) -> list[Adjustment]:
        """Return all adjustments that were ever recorded, undone ones and their undoing too, the oldest first.

        Args:
            assignment: only of this assignment.
            repository: only of this repository.
        """
        query = _ROWS
        if assignment is not None:
            query = query.where(_a.assignment == assignment)
        if repository is not None:
            query = query.where(rows.named(repository))
        with self.database.reading() as connection:
            return [_adjustment(row) for row in connection.execute(query)]


def checked(kind: AdjustmentKind, *, points: int | None, commit: str, undoes: int | None) -> None:
    """Refuse an adjustment that lacks its value, or has the value of another kind.

    Raises:
        LedgerError: the values do not fit the kind.
    """
    wants = (
        kind in (AdjustmentKind.POINTS, AdjustmentKind.SET),
        kind is AdjustmentKind.USE,
        kind is AdjustmentKind.UNDO,
    )
    if (points is not None, bool(commit), undoes is not None) != wants:
        raise LedgerError(
            f"an adjustment {kind.value!r} has points, a commit or what it undoes, as its kind needs"
        )
    if commit:
        checked_commit(commit)
    if points is not None and not -MOST_POINTS <= points <= MOST_POINTS:
        raise LedgerError(f"points must be between -{MOST_POINTS} and {MOST_POINTS}")
    if kind is AdjustmentKind.SET and points is not None and points < 0:
        raise LedgerError("a score cannot be set to less than 0 points")


def in_force(found: Iterable[Adjustment]) -> tuple[Adjustment, ...]:
    """Return the adjustments that are not undone, without those that only undo others, the oldest first."""
    found = list(found)
    undone = {each.undoes for each in found}
    return tuple(each for each in found if each.kind is not AdjustmentKind.UNDO and each.id not in undone)


def _require_undoable(connection: sa.Connection, owner: int | None, assignment: str, undoes: int) -> None:
    row = connection.execute(sa.select(tables.adjustments).where(_a.id == undoes)).one_or_none()
    if row is None or (row.repository_id, row.assignment) != (owner, assignment):
        raise Unknown(
            f"there is no adjustment {undoes} of this student for {assignment}; see autograder adjust --list"
        )
    if row.kind == AdjustmentKind.UNDO.value:
        raise Conflict(f"adjustment {undoes} undoes another one; to bring that back, decide it again")
    if connection.execute(sa.select(_a.id).where(_a.undoes == undoes)).first():
        raise Conflict(f"adjustment {undoes} is undone already")


def _adjustment(row: sa.Row[tuple[object, ...]]) -> Adjustment:
    return rows.record(Adjustment, row, repository=rows.repository(row), kind=AdjustmentKind(row.kind))
