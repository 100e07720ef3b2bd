"""Finds the state that `autograder status` shows: jobs by state, queues, workers, and what needs staff."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from autograder.config import load
from autograder.course.course import Course
from autograder.course.deadline import duration
from autograder.errors import GraderError
from autograder.ledger import JobState, Ledger
from autograder.ledger.workers import workers
from autograder.report import both_ends
from autograder.service import attention, readiness
from autograder.service.intake import post_receive
from autograder.service.intake.spool import Spool
from autograder.service.jobs.queue import Queue
from autograder.service.service import depths

SHOWN = 10


def look(config_file: Path) -> dict[str, Any]:
    """Return the state of a configuration's service as plain data. All times are in UTC.

    Raises:
        GraderError: the ledger does not exist or cannot be read.
    """
    config = load(config_file)
    course = Course.of(config)
    now = datetime.now(timezone.utc)
    with Ledger.open(config.ledger_url(), folder=config.path("."), create=False) as ledger:
        known, clock = workers(ledger.database), ledger.database.now()
        found: dict[str, Any] = {
            "problems": [],
            "jobs": {state.value: number for state, number in ledger.count_jobs().items()},
            "workers": [
                {
                    "worker": row.name,
                    "queues": list(row.queues),
                    "version": row.version,
                    "seen": row.seen.isoformat(timespec="seconds"),
                    "alive": readiness.is_alive(row, clock, config.service.lease_seconds),
                }
                for row in known
            ],
            "running": [
                {"job": job.id, "worker": job.worker, "tries": job.tries}
                for job in ledger.jobs(states=[JobState.RUNNING])
            ],
            "dead": [
                {"job": job.id, "reason": job.reason, "at": job.updated.isoformat(timespec="seconds")}
                for job in ledger.jobs(states=[JobState.DEAD])
            ],
            "failed": [
                {"job": job.id, "reason": job.reason, "tries": job.tries}
                for job in ledger.jobs(states=[JobState.FAILED])
            ],
            **attention.look(ledger, course),
        }
    try:
        found["repositories"] = post_receive.findings(course, Spool(course.spool()))
    except GraderError as error:
        found["repositories"] = [str(error)]
    try:
        queue = Queue(course.jobs_url())
        try:
            found["queues"] = {
                name: {"waiting": depth.waiting, "running": depth.running, "oldest_seconds": depth.oldest}
                for name, depth in depths(queue.entries(), now).items()
            }
        finally:
            queue.close()
    except GraderError as error:
        found["queues"], found["problem"] = {}, str(error)
    found["problems"] = readiness.seen(config_file)
    found["problems"] += readiness.recorded(course, found["problems"])[0]
    return found


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Return the result of `look` as lines for people."""
    jobs = [f"{number} {state}" for state, number in found["jobs"].items() if number]
    yield "jobs     " + (", ".join(jobs) or "none")
    for problem in found["problems"]:
        yield f"problem  {problem}"
    for name, queue in found["queues"].items():
        oldest = f", the oldest for {_seconds(queue['oldest_seconds'])}" if queue["oldest_seconds"] else ""
        yield f"queue    {name}: {queue['waiting']} waiting{oldest}, {queue['running']} running"
    if "problem" in found:
        yield f"queue    {found['problem']}"
    for worker in found["workers"]:
        state = "alive" if worker["alive"] else "not heard from"
        yield f"worker   {worker['worker']} ({', '.join(worker['queues'])}): {state}, last seen {worker['seen']}"
    if not found["workers"]:
        yield "worker   none; start one: autograder serve"
    for kind in ("running", "failed", "dead"):
        for job in found[kind][:SHOWN]:
            reason = f": {both_ends(job['reason'])}" if "reason" in job else f" on {job['worker']}"
            yield f"{kind:8} {job['job']}{reason}"
        if len(found[kind]) > SHOWN:
            yield f"{kind:8} … and {len(found[kind]) - SHOWN} more"
    for line in found["repositories"][:SHOWN]:
        yield f"hook     {line}"
    if len(found["repositories"]) > SHOWN:
        yield f"hook     … and {len(found['repositories']) - SHOWN} more; see autograder hook check"
    if found["dead"]:
        yield "Look at a job with autograder jobs show JOB, then autograder jobs retry JOB."
    yield from attention.lines(found)


def _seconds(number: float) -> str:
    return duration(timedelta(seconds=number))
