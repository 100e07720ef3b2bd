"""Where a reported move of a branch belongs among the recorded ones, and which report of its time holds.

The functions are pure. The order of a branch's moves is the order in which they were recorded, because a clock may have
been wrong. A report that comes late is put where the moves before and after it say: each push has a `position`.

A move is a repeat of the newest one if it leads to the same commit. Force pushes may make an earlier move again: A, B,
A, B. Then only the branch can say whether a report repeats an old move or is a new one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from autograder.ledger.records import RecordedPush, Source

PROMPT = timedelta(minutes=10)
"""A host delivers its webhooks within this time. A later one was sent again, and says little about the time."""


def repeats(known: Sequence[RecordedPush], commit: str, before: str) -> list[RecordedPush]:
    """Return the recorded pushes that may be the same move.

    Args:
        known: the pushes to the branch, in order.
        commit: at which the branch is after the move.
        before: at which it was before; empty if that is unknown.
    """
    return [
        push
        for push in known
        if push.commit == commit and (not before or not push.before or push.before == before)
    ]


def place(
    known: Sequence[RecordedPush], commit: str, before: str, head: str | None = None
) -> RecordedPush | float | None:
    """Return the recorded push that is the same move, or the position of a new one. None: it is the newest.

    Args:
        known, commit, before: see `repeats`.
        head: the commit at the tip of the branch; None if nobody asked. It decides whether an old move was made again.
    """
    if not known:
        return None
    same = repeats(known, commit, before)
    if same and same[-1] is known[-1]:
        return known[-1]
    gap = _gap(known, commit, before)
    leads_on = before == known[-1].commit
    again = head == commit or (leads_on and head != known[-1].commit)
    if same and gap is None and not again:
        return same[-1]
    return None if leads_on else gap


def _gap(known: Sequence[RecordedPush], commit: str, before: str) -> float | None:
    """Return the position of a move that is missing between two recorded ones, or None if there is no such gap."""
    for index in range(len(known) - 1, -1, -1):
        after, previous = known[index], known[index - 1] if index else None
        leads_on = after.before == commit and (previous is None or previous.commit != commit)
        follows = (
            previous is not None and previous.commit == before and not after.before and after.commit != commit
        )
        if leads_on or follows:
            return (after.position + (previous.position if previous else after.position - 2)) / 2
    return None


def improves(
    known: tuple[datetime, Source], received: datetime, source: Source
) -> tuple[datetime, Source] | None:
    """Return what is known of a push's time after one more report of it, or None if the report adds nothing.

    Every report says that the push had been made by then, so the earliest report is the closest to the truth. If nobody
    reported the push before it was found on the branch, its time is unknown, unless its webhook comes promptly. What
    staff say holds.
    """
    was, how = known
    if Source.STAFF in (how, source):
        return (received, source) if source is Source.STAFF else None
    if source is Source.UNKNOWN:
        return None
    if how is Source.UNKNOWN:
        return (min(was, received), source) if received <= was + PROMPT else None
    return (received, source) if received < was else None
