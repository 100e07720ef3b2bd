"""How many processors this process may use."""

import os


def available() -> int:
    """Return the number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def too_many(number: int, what: str) -> str:
    """Return a warning if `number` of something at a time is more than the processors serve, otherwise an empty text.

    No student loses points by that, but a case that gets too little of a processor is graded again.
    """
    processors = available()
    if number <= processors:
        return ""
    return (
        f"{number} {what} at a time share {processors} processor{'s'[: processors != 1]}: each takes longer"
    )
