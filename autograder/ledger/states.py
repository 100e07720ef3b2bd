"""The states of a job: which ones there are, which belong together, and how a job moves between them."""

from collections.abc import Mapping
from enum import Enum


class JobState(str, Enum):
    """The state of a job."""

    QUEUED = "queued"  # it waits for a worker
    RUNNING = "running"  # a worker has it
    FINAL = "final"  # done: its report counts from now on, or its reason says why it has no report
    SUPERSEDED = "superseded"  # a newer push of the repository took its place
    FAILED = "failed"  # our fault or the git host's; it will be tried again
    DEAD = "dead"  # a dead letter: it was tried often enough and waits for staff


OPEN = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.FAILED})  # the service still has to work on it
WAITING = OPEN - {JobState.RUNNING}  # open, but no worker has it
ENDED = frozenset({JobState.FINAL, JobState.SUPERSEDED})  # nobody has to do anything

WORKER_LOST = "its worker was lost"
"""The reason of a change to `failed` that no error of the job caused: the worker ended while it ran the job."""
WAITS = "waits for the course staff: "
"""The reason of a change to `failed` begins with this if only staff can end the wait. It is no failed try."""

# The states to which a job may move. A running job may be started again: its worker died, and another one took it over.
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.SUPERSEDED, JobState.DEAD}),
    JobState.RUNNING: frozenset(JobState),
    JobState.FAILED: frozenset({JobState.QUEUED, JobState.RUNNING, JobState.SUPERSEDED, JobState.DEAD}),
    JobState.DEAD: frozenset({JobState.QUEUED}),  # staff try it again
    JobState.SUPERSEDED: frozenset({JobState.QUEUED}),  # the student pushed this commit again
    JobState.FINAL: frozenset(),
}
