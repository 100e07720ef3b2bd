"""What staff must look at besides jobs: pushes whose receive time is unknown, and what did not become a push."""

from collections.abc import Iterator
from typing import Any

from autograder.course.course import Course
from autograder.course.deadline import Timing
from autograder.course.standing import decide
from autograder.errors import GraderError
from autograder.git.names import HEADS
from autograder.ledger import Ledger, RecordedPush
from autograder.report import one_line

SHOWN = 10


def undated(ledger: Ledger, course: Course) -> list[RecordedPush]:
    """Return the pushes for which staff must set the receive time: they were found after the deadline.

    A push that was found before the deadline was in time, whenever it was made.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    return [push for push in ledger.undated() if _matters(course, push)]


def _matters(course: Course, push: RecordedPush) -> bool:
    try:
        target = course.target(push.repository, push.ref.removeprefix(HEADS))
        return target is not None and decide(course, target, push).timing is Timing.UNKNOWN
    except GraderError:  # nobody can say; staff should look
        return True


def look(ledger: Ledger, course: Course) -> dict[str, Any]:
    """Return what staff must look at as plain data, for `autograder status`.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    return {
        "undated": [
            {
                "push": push.id,
                "repository": str(push.repository),
                "commit": push.commit,
                "found": push.received.isoformat(timespec="seconds"),
            }
            for push in undated(ledger, course)
        ],
        "losses": [
            {
                "kind": loss.kind,
                "subject": loss.subject,
                "reason": loss.reason,
                "number": loss.number,
                "last": loss.last.isoformat(timespec="seconds"),
            }
            for loss in ledger.losses()
        ],
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Return the result of `look` as lines for people."""
    for push in found["undated"][:SHOWN]:
        yield (
            f"undated  push {push['push']} of {push['repository']}, found {push['found']}: its receive time is unknown "
            "and it counts"
        )
    if found["undated"]:
        yield "Set a receive time with autograder pushes received PUSH --at TIME --why WHY."
    for loss in found["losses"][:SHOWN]:
        times = f" ({loss['number']} times)" if loss["number"] > 1 else ""
        yield f"lost     {loss['kind']} {loss['subject']}: {one_line(loss['reason'])}{times}"
    if len(found["losses"]) > SHOWN:
        yield f"lost     … and {len(found['losses']) - SHOWN} more; autograder status --json shows all"
