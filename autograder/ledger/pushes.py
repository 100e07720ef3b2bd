"""The pushes: recording them, once each, and finding those that still need grading."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from autograder.ledger import moves, rows, tables
from autograder.ledger.database import ensure, insert_new
from autograder.ledger.faults import Conflict, LedgerError, Unknown
from autograder.ledger.names import RepositoryName, checked_commit, checked_ref
from autograder.ledger.own import IS_OWN
from autograder.ledger.part import Part
from autograder.ledger.records import Recorded, RecordedPush, Source, UnsettledPush
from autograder.ledger.states import OPEN
from autograder.ledger.values import storable, utc

MOST_NAMES = 10_000  # in one query; databases accept a few more
_r, _s, _p, _j = tables.repositories.c, tables.submissions.c, tables.pushes.c, tables.jobs.c


class Pushes(Part):
    """The methods about pushes and the repositories that they came from."""

    def record_push(
        self,
        repository: RepositoryName,
        *,
        commit: str,
        ref: str,
        before: str = "",
        sender: str = "",
        delivery_id: str | None = None,
        payload_digest: str = "",
        received: datetime | None = None,
        source: Source = Source.WEBHOOK,
        head: str | None = None,
    ) -> Recorded[RecordedPush]:
        """Record that `ref` of `repository` moved from `before` to `commit`. A push is recorded only once.

        A push is already recorded if its delivery id is known, or if it is the same move as the newest recorded one.
        If it is the same move as an older one, `head` decides: a branch may be set back and forth, and under the score
        policy `last` the earlier commit then counts again. `moves.place` has the rules. What a repeated report says
        about the receive time is kept if it is better than what was known.

        Args:
            repository: the repository that was pushed to.
            commit: the full id of the commit that the branch is at now.
            ref: its full name, such as refs/heads/main.
            before: the commit that the branch was at before; empty if it is unknown.
            sender: who pushed, according to the host.
            delivery_id: the host's id of the delivery, unique per host.
            payload_digest: sha256 of the request that reported the push, hex.
            received: when the push reached us; default: now. The spool passes the time at which it stored the push.
            source: how `received` is known.
            head: the commit at the tip of the branch; needed where `may_repeat` says so.

        Raises:
            Conflict: the delivery id belongs to a push of another repository or commit.
            LedgerError: a value is invalid, or the database fails.
        """
        checked_commit(commit)
        checked_ref(ref)
        if before:
            checked_commit(before, "before")
        if delivery_id is not None and not 0 < len(delivery_id) <= 200:
            raise LedgerError("a delivery id has 1 to 200 characters; pass None if the host gives no id")
        now = self._now()
        values: dict[str, Any] = {
            "delivery_id": None if delivery_id is None else storable(delivery_id),
            "ref": ref,
            "before_sha": before,
            "sender": storable(sender, 200),
            "payload_digest": storable(payload_digest, 200),
            "received": utc(received or now),
            "source": source.value,
            "recorded": now,
        }
        with self.database.writing() as connection:
            known = _delivered(connection, repository, commit, values["delivery_id"])
            if known:
                return Recorded(_dated(connection, known, values, now), new=False)
            owner = _ensure_repository(connection, repository, now)
            place = moves.place(_moves(connection, owner, ref), commit, before, head)
            if isinstance(place, RecordedPush):
                return Recorded(_dated(connection, place, values, now), new=False)
            values["position"] = _last_position(connection, owner) + 1 if place is None else place
            key = {"repository_id": owner, "commit_sha": commit}
            submission = ensure(connection, tables.submissions, key, {"created": now})
            own = {"submission_id": submission, "host": repository.host}
            added = insert_new(connection, tables.pushes, values | own)
            if added is None:  # PostgreSQL: another repository got this delivery id in the meantime
                known = _delivered(connection, repository, commit, values["delivery_id"])
                if known is None:
                    raise LedgerError("a push could not be recorded; run autograder ledger check")
                return Recorded(known, new=False)
            row = connection.execute(rows.PUSHES.where(_p.id == added)).one()
            return Recorded(rows.push(row), new=True)

    def may_repeat(
        self, repository: RepositoryName, *, commit: str, ref: str, before: str, delivery_id: str | None
    ) -> bool:
        """Return whether only the branch can say if a report is about a new move, see `record_push`."""
        with self.database.reading() as connection:
            if delivery_id and _delivered(connection, repository, commit, storable(delivery_id)):
                return False
            query = rows.PUSHES.where(rows.named(repository), _p.ref == ref).order_by(*rows.ORDER)
            known = [rows.push(row) for row in connection.execute(query)]
        same = moves.repeats(known, commit, before)
        return bool(same) and same[-1] is not known[-1]

    def set_received(
        self, push: int, received: datetime, *, source: Source, who: str = "", why: str = ""
    ) -> RecordedPush:
        """Record what was learned about the time of a push, if it is better than what is known.

        Args:
            push: its number.
            received: when it was received.
            source: how that is known. What staff say replaces everything else.
            who, why: for staff.

        Raises:
            Unknown: there is no such push.
        """
        now = self._now()
        with self.database.writing() as connection:
            row = connection.execute(
                rows.PUSHES.where(_p.id == push).with_for_update(of=tables.pushes)
            ).one_or_none()
            if row is None:
                raise Unknown(f"there is no push {push}; autograder pushes lists them")
            values = {"received": utc(received), "source": source.value, "who": who, "why": why}
            return _dated(connection, rows.push(row), values, now)

    def push(self, number: int) -> RecordedPush:
        """Return one push.

        Raises:
            Unknown: there is no such push.
        """
        with self.database.reading() as connection:
            row = connection.execute(rows.PUSHES.where(_p.id == number)).one_or_none()
        if row is None:
            raise Unknown(f"there is no push {number}; autograder pushes lists them")
        return rows.push(row)

    def undated(self) -> list[RecordedPush]:
        """Return the pushes whose receive time is unknown, in the order of recording."""
        query = rows.PUSHES.where(rows.SOURCE.in_([Source.UNKNOWN.value])).order_by(_p.id)
        with self.database.reading() as connection:
            return [rows.push(row) for row in connection.execute(query)]

    def pushes(
        self,
        repository: RepositoryName,
        *,
        commit: str | None = None,
        ref: str | None = None,
        after: int | None = None,
    ) -> list[RecordedPush]:
        """Return pushes of a repository, in the order in which its branch moved.

        Args:
            repository: of which repository.
            commit: only pushes of this commit.
            ref: only pushes to this ref.
            after: only pushes that were recorded after the push with this id.
        """
        query = rows.PUSHES.where(rows.named(repository)).order_by(*rows.ORDER)
        if commit is not None:
            query = query.where(_s.commit_sha == commit)
        if ref is not None:
            query = query.where(_p.ref == ref)
        if after is not None:
            query = query.where(_p.id > after)
        with self.database.reading() as connection:
            return [rows.push(row) for row in connection.execute(query)]

    def last_sources(self) -> dict[RepositoryName, Source]:
        """Return how we know the receive time of the last push to any branch of each repository."""
        query = sa.select(*rows.NAME, rows.SOURCE).select_from(rows.TIMED_PUSHES).order_by(*rows.ORDER)
        with self.database.reading() as connection:
            return {rows.repository(row): Source(row.source) for row in connection.execute(query)}

    def pushes_to(self, ref: str, repositories: Collection[RepositoryName]) -> list[RecordedPush]:
        """Return the pushes of some repositories to one ref, those of each in the order in which its branch moved."""
        wanted = set(repositories)
        query = rows.PUSHES.where(_p.ref == ref).order_by(*rows.ORDER)
        if len(names := {repository.name for repository in wanted}) <= MOST_NAMES:
            query = query.where(_r.name.in_(names))
        with self.database.reading() as connection:
            found = [row for row in connection.execute(query) if rows.repository(row) in wanted]
            return [rows.push(row) for row in found]

    def repositories(
        self, *, part: str = "", limit: int | None = None, offset: int = 0
    ) -> list[RepositoryName]:
        """Return the repositories that have a recorded push, by name.

        Args:
            part: return only repositories whose `host/owner/name` contains this text; case does not matter.
            limit, offset: select a page of the repositories.
        """
        whole = _r.host + "/" + _r.owner + "/" + _r.name
        pushed = sa.exists().where(_s.repository_id == _r.id).correlate(tables.repositories)
        query = sa.select(*rows.NAME).where(pushed).order_by(*rows.NAME).limit(limit).offset(offset)
        if part:
            query = query.where(whole.icontains(part, autoescape=True))
        with self.database.reading() as connection:
            return [rows.repository(row) for row in connection.execute(query)]

    def recorded_name(self, repository: RepositoryName) -> RepositoryName:
        """Return the name under which a repository is recorded, whatever the case; a new one is returned as it is."""
        query = sa.select(*rows.NAME).where(
            _r.host == repository.host,
            sa.func.lower(_r.owner) == repository.owner.lower(),
            sa.func.lower(_r.name) == repository.name.lower(),
        )
        with self.database.reading() as connection:
            found = [rows.repository(row) for row in connection.execute(query.order_by(_r.id))]
        return repository if repository in found or not found else found[0]

    def unsettled(
        self, *, assignment: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[UnsettledPush]:
        """Return the pushes that have no job or an open one, as they were recorded. The reconciler works through them.

        Pushes of our own commits are left out.

        Args:
            assignment: consider the jobs of this assignment only.
            since: leave out pushes that were recorded earlier.
            limit: return at most this many.
        """
        own = _j.submission_id == _p.submission_id
        if assignment is not None:
            own = sa.and_(own, _j.assignment == assignment)
        states = [state.value for state in OPEN]
        query = rows.PUSHES.where(
            sa.or_(
                ~sa.exists().where(own).correlate(tables.pushes),
                sa.exists().where(own, _j.state.in_(states)).correlate(tables.pushes),
            ),
            ~IS_OWN,
        ).order_by(_p.id)
        if since is not None:
            query = query.where(_p.recorded >= utc(since))
        with self.database.reading() as connection:
            found = []
            for row in connection.execute(query.limit(limit)).all():
                jobs = rows.JOBS.where(_j.submission_id == row.submission_id)
                if assignment is not None:
                    jobs = jobs.where(_j.assignment == assignment)
                ordered = connection.execute(jobs.order_by(_j.assignment, _j.attempt))
                found.append(UnsettledPush(rows.push(row), tuple(map(rows.job, ordered))))
            return found


def _delivered(
    connection: sa.Connection, repository: RepositoryName, commit: str, delivery_id: Any
) -> RecordedPush | None:
    """Return the push that this delivery has already reported."""
    if delivery_id is None:
        return None
    query = rows.PUSHES.where(_p.host == repository.host, _p.delivery_id == delivery_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    push = rows.push(row)
    if (push.repository, push.commit) != (repository, commit):
        raise Conflict(
            f"delivery {delivery_id!a} of {repository.host} is recorded for {push.repository} at "
            f"{push.commit}, and came again for {repository} at {commit}; see the host's list of deliveries"
        )
    return push


def _ensure_repository(connection: sa.Connection, repository: RepositoryName, now: datetime) -> int:
    key = {"host": repository.host, "owner": repository.owner, "name": repository.name}
    return ensure(connection, tables.repositories, key, {"created": now})


def _moves(connection: sa.Connection, repository_id: int, ref: str) -> list[RecordedPush]:
    query = rows.PUSHES.where(_s.repository_id == repository_id, _p.ref == ref).order_by(*rows.ORDER)
    return [rows.push(row) for row in connection.execute(query)]


def _last_position(connection: sa.Connection, repository_id: int) -> float:
    query = sa.select(sa.func.max(_p.position)).join_from(tables.pushes, tables.submissions)
    return connection.execute(query.where(_s.repository_id == repository_id)).scalar() or 0.0


def _dated(
    connection: sa.Connection, push: RecordedPush, report: Mapping[str, Any], now: datetime
) -> RecordedPush:
    """Record what one more report says about the time of a push, if it adds anything; return the push."""
    better = moves.improves((push.received, push.source), report["received"], Source(report["source"]))
    if better is None or better == (push.received, push.source):
        return push
    received, source = better
    connection.execute(
        tables.push_times.insert().values(
            push_id=push.id,
            received=received,
            source=source.value,
            who=storable(report.get("who", "")),
            why=storable(report.get("why", "")),
            at=now,
        )
    )
    return replace(push, received=received, source=source)
