"""Limits of pushes: how many pushes of a student are graded per hour and per day.

A push over the limit is recorded, and waits. Once the limit allows, the newest push that waits is graded, so the last
push before the deadline is graded in the end: when it was received decides whether it is late, not when it is graded. A
newer push replaces one that waits. A commit that was graded once costs nothing when it is pushed again.

Everything is derived from the times of the pushes. The functions are pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from autograder.course.deadline import shown
from autograder.language import Text, join, tell, tell_count

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class PushLimits:
    """How many pushes are graded within any hour, and within any 24 hours. 0: there is no limit."""

    per_hour: int = 0
    per_day: int = 0

    def __bool__(self) -> bool:
        return bool(self.per_hour or self.per_day)


@dataclass(frozen=True)
class OverLimit:
    """Why a push is not graded at once.

    Attributes:
        until: when it is graded; None: a newer push has replaced it.
        allowed: how many pushes are graded within that time.
        within: an hour or a day.
    """

    until: datetime | None
    allowed: int
    within: timedelta


def over(limits: PushLimits, pushes: Sequence[tuple[str, datetime]]) -> list[OverLimit | None]:
    """Return for each push why it is not graded at once; None: it is.

    Args:
        limits: of the assignment.
        pushes: the commit of each push that may count, and when it was received, in the order of the branch's moves.
    """
    found: list[OverLimit | None] = []
    graded: list[datetime] = []
    commits: set[str] = set()
    waiting: list[int] = []  # the pushes of the one commit that waits
    wait: OverLimit | None = None
    now = datetime.min.replace(tzinfo=timezone.utc)
    for index, (commit, received) in enumerate(pushes):
        now = max(now, received)
        if wait is not None and wait.until is not None and wait.until <= now:
            graded.append(wait.until)
            commits.add(pushes[waiting[0]][0])
            waiting, wait = [], None
        if wait is not None and pushes[waiting[0]][0] != commit:
            for older in waiting:
                found[older] = replace(wait, until=None)
            waiting, wait = [], None
        if commit not in commits and wait is None:
            wait = _wait(limits, graded, now)
            if wait is None:
                graded.append(now)
                commits.add(commit)
        found.append(wait)
        if wait is not None:
            waiting.append(index)
    return found


def _wait(limits: PushLimits, graded: Sequence[datetime], now: datetime) -> OverLimit | None:
    """Return why a push at this moment has to wait, and until when."""
    waits = []
    for allowed, within in ((limits.per_hour, HOUR), (limits.per_day, DAY)):
        recent = [at for at in graded if at > now - within]
        if allowed and len(recent) >= allowed:
            waits.append(OverLimit(recent[-allowed] + within, allowed, within))
    return max(waits, key=lambda wait: wait.until or now, default=None)


def sentence(limit: OverLimit, zone: ZoneInfo) -> Text:
    """Return the sentences for students about a push over the limit."""
    if limit.within == HOUR:
        rule = tell_count("{n} push per hour is graded.", "{n} pushes per hour are graded.", n=limit.allowed)
    else:
        rule = tell_count("{n} push per day is graded.", "{n} pushes per day are graded.", n=limit.allowed)
    if limit.until is None:
        return join(
            [rule, tell("This one was over that limit, and a newer push came before it could be graded.")]
        )
    return join(
        [
            rule,
            tell(
                "This one is over that limit. It is graded soon after {when}, unless a newer push comes before that.",
                when=shown(limit.until, zone),
            ),
        ]
    )
