"""Our own commits: starters, updates of starters, hand-outs. They are in students' repositories and are never graded.

A commit is ours because its id was recorded when we made it. Its author, its message and its tree say nothing, since a
student can copy or amend them.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from autograder.ledger import tables
from autograder.ledger.database import insert_new
from autograder.ledger.names import checked_commit
from autograder.ledger.part import Part
from autograder.ledger.values import storable

_o, _s = tables.own_commits.c, tables.submissions.c
IS_OWN = sa.exists().where(_o.commit_sha == _s.commit_sha).correlate_except(tables.own_commits)
"""The condition that a submission is one of our own commits."""


class OwnCommits(Part):
    """The methods about our own commits."""

    def add_own_commit(self, commit: str, what: str) -> bool:
        """Record that we made a commit; return whether this call recorded it.

        Args:
            commit: its full id. It is ours in every repository.
            what: what it is, for people: `starter of a0`.

        Raises:
            LedgerError: `commit` is not a full commit id.
        """
        values = {"commit_sha": checked_commit(commit), "what": storable(what, 200), "recorded": self._now()}
        with self.database.writing() as connection:
            return insert_new(connection, tables.own_commits, values) is not None

    def own_commits(self, among: Iterable[str] | None = None) -> dict[str, str]:
        """Return the id of each of our commits and what it is.

        Args:
            among: only of these commits.
        """
        query = sa.select(_o.commit_sha, _o.what).order_by(_o.id)
        if among is not None:
            query = query.where(_o.commit_sha.in_(list(among)))
        with self.database.reading() as connection:
            return {row.commit_sha: row.what for row in connection.execute(query)}

    def is_own(self, commit: str) -> bool:
        """Whether we made this commit."""
        return bool(self.own_commits([commit]))
