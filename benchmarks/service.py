"""What the service costs (`python -m benchmarks.service`).

    webhooks   many signed webhooks at once, to a service whose worker is busy with other jobs: latency, pushes lost
    class      every student of a class pushes at once: time until the last feedback, beside the grading alone
    ledger     one job with few and with many rows in the ledger, in turns: without git and sandbox

The course is that of the tests, two small cases; the processes, the sandbox, git and HTTP are real.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import sqlalchemy as sa

from autograder.git.feedback import Published
from autograder.hosts.push import Push
from autograder.ledger import JobState, Ledger, tables
from autograder.service.intake.reconciler import Reconciler
from autograder.service.jobs import pipeline
from tests.support.ledgers import commit as commit_of
from tests.support.ledgers import report
from tests.support.university import HALF, RIGHT, PretendedGraders, University

RESULTS = Path(__file__).parent / "results" / "service.json"
SECRET = "0123456789" * 4
BATCH = 5000


def university(folder: Path) -> University:
    """Make a university whose host sends signed webhooks."""
    made = University(folder)
    made.course.write("hook", SECRET).chmod(0o600)
    host = f'kind = "gitea"\nwebhook_secret_file = "hook"\nbase = "file://{folder}/host"'
    text = made.config_file.read_text().replace('kind = "folder"\nbase = "../host"', host)
    made.course.write("autograder.toml", text)
    return made


@contextmanager
def serving(scene: University, workers: int) -> Iterator[int]:
    """Run the service; give the port on which it listens."""
    process = scene.start("--workers", str(workers))
    try:
        assert process.stdout is not None
        port = 0
        for line in process.stdout:
            if b"http://" in line:
                port = int(line.split(b":")[-1])
            if line.startswith(b"ready"):
                break
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def request(push: Push, port: int) -> bytes:
    """Return the signed webhook of a push, as bytes on the wire."""
    body = json.dumps(
        {
            "ref": push.ref,
            "before": push.before,
            "after": push.commit,
            "pusher": {"login": push.sender},
            "repository": {"full_name": f"{push.owner}/{push.name}"},
        }
    ).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhook/gitea HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"X-Gitea-Event: push\r\nX-Gitea-Delivery: {push.delivery_id}\r\nX-Gitea-Signature: {signature}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def send_all(requests: Sequence[bytes], port: int) -> list[tuple[float, int]]:
    """Send all at once; return the seconds until the response and its status for each."""

    async def send(content: bytes) -> tuple[float, int]:
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(content)
        status = int((await reader.readline()).split()[1])
        seconds = time.perf_counter() - start
        writer.close()
        return seconds, status

    return list(await asyncio.gather(*map(send, requests)))


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which `part` of all lie."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def measure_webhooks(folder: Path, count: int) -> dict[str, Any]:
    """Return the latency of webhooks that arrive at once while a worker grades."""
    scene = university(folder)
    busy = [scene.push(RIGHT if number % 2 else HALF, f"busy{number}") for number in range(20)]
    # These commits do not exist. Their jobs wait until the others are graded, and are not measured.
    told = [scene.reported(commit_of(str(number)), student=f"s{number}") for number in range(count)]
    with serving(scene, 1) as port:
        asyncio.run(send_all([request(push, port) for push in busy], port))
        responses = asyncio.run(send_all([request(push, port) for push in told], port))
    with Ledger.open(scene.config().ledger_url(), folder=scene.course.folder) as ledger:
        recorded = {push.commit for push in told} & {
            push.commit for name in ledger.repositories() for push in ledger.pushes(name)
        }
    waits = [wait for wait, _ in responses]
    statuses = Counter(status for _, status in responses)
    lost = sum(
        status < 300 and push.commit not in recorded
        for push, (_, status) in zip(told, responses, strict=True)
    )
    return {
        "count": count,
        "p50_seconds": quantile(waits, 0.5),
        "p99_seconds": quantile(waits, 0.99),
        "most_seconds": max(waits),
        "statuses": {str(status): number for status, number in statuses.items()},
        "recorded": len(recorded),
        "accepted_and_lost": lost,
    }


def measure_class(folder: Path, students: int, workers: int) -> dict[str, Any]:
    """Return how long a class waits whose students all push at once."""
    scene = university(folder)
    pushes = [scene.push(RIGHT if n % 2 else HALF, f"s{n}") for n in range(students)]
    with serving(scene, workers) as port, scene.parts() as parts:
        time.sleep(5)  # the suite's servers start
        start = time.perf_counter()
        asyncio.run(send_all([request(push, port) for push in pushes], port))
        while parts.ledger.count_jobs()[JobState.FINAL] < students:
            time.sleep(0.05)
        last = time.perf_counter() - start
        waits = [(job.finished - job.created).total_seconds() for job in parts.ledger.jobs() if job.finished]
        assert all(scene.score(f"s{number}") == (100 if number % 2 else 40) for number in range(students))
    steps = Counter[str]()
    for line in scene.log():
        if line["event"] == "step":
            steps[line["step"]] += line["seconds"]
    return {
        "students": students,
        "workers": workers,
        "last_feedback_seconds": last,
        "median_feedback_seconds": statistics.median(waits),
        "grading_seconds": steps["grade"],
        "fetch_seconds": steps["fetch"],
        "publish_seconds": steps["publish"],
        "over_grading": last * workers / steps["grade"],
        "over_all_steps": last * workers / sum(steps.values()),
    }


def fill(ledger: Ledger, rows: int) -> None:
    """Put so many graded pushes into a ledger, of a hundredth as many repositories."""
    moment = datetime.now(timezone.utc) - timedelta(days=20)
    data = report(100, assignment="t").to_json()
    for start in range(0, rows, BATCH):
        numbers = range(start + 1, min(start + BATCH, rows) + 1)
        owners = {(n - 1) // 100 + 1 for n in numbers}
        names = {
            n: f"grade:git.uni.example/dls/t-old{(n - 1) // 100}:{commit_of(f'old{n}')}:t" for n in numbers
        }
        same: dict[str, Any] = {"created": moment, "updated": moment, "started": moment, "finished": moment}
        with ledger.database.writing() as connection:

            def put(
                table: sa.Table, values: list[dict[str, Any]], connection: sa.Connection = connection
            ) -> None:
                connection.execute(table.insert(), values)

            known = set(connection.execute(sa.select(tables.repositories.c.id)).scalars())
            new = sorted(owners - known)
            if new:
                put(
                    tables.repositories,
                    [
                        {
                            "id": n,
                            "host": "git.uni.example",
                            "owner": "dls",
                            "name": f"t-old{n - 1}",
                            "created": moment,
                        }
                        for n in new
                    ],
                )
            put(
                tables.submissions,
                [
                    {
                        "id": n,
                        "repository_id": (n - 1) // 100 + 1,
                        "commit_sha": commit_of(f"old{n}"),
                        "created": moment,
                    }
                    for n in numbers
                ],
            )
            put(
                tables.pushes,
                [
                    {
                        "submission_id": n,
                        "host": "git.uni.example",
                        "delivery_id": f"old{n}",
                        "ref": "refs/heads/main",
                        "before_sha": "0" * 40,
                        "sender": "s",
                        "payload_digest": "",
                        "received": moment,
                    }
                    for n in numbers
                ],
            )
            put(
                tables.jobs,
                [
                    {
                        "id": names[n],
                        "submission_id": n,
                        "assignment": "t",
                        "attempt": 1,
                        "may_lower": False,
                        "state": "final",
                        "reason": "graded",
                        "worker": "w:0",
                        "tries": 1,
                        **same,
                    }
                    for n in numbers
                ],
            )
            put(
                tables.job_changes,
                [
                    {
                        "job_id": names[n],
                        "state_before": before,
                        "state_after": after,
                        "reason": "",
                        "worker": "",
                        "at": moment,
                    }
                    for n in numbers
                    for before, after in ((None, "queued"), ("queued", "running"), ("running", "final"))
                ],
            )
            put(
                tables.reports,
                [
                    {
                        "id": n,
                        "job_id": names[n],
                        "format": data["schema"],
                        "points": 100,
                        "max_points": 100,
                        "provenance": data["provenance"],
                        "digest": "",
                        "recorded": moment,
                    }
                    for n in numbers
                ],
            )
            put(
                tables.report_cases,
                [
                    {"report_id": n, "position": position} | case
                    for n in numbers
                    for position, case in enumerate(data["cases"])
                ],
            )


class WithoutGit:
    """Stands in for fetch and feedback: the ledger's part of a job is measured."""

    @staticmethod
    def fetch(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(files={"src/__init__.py": b"", "src/work.py": RIGHT.encode()})

    @staticmethod
    def publish(*_: Any, graded_commit: str, **__: Any) -> Published:
        return Published(commit_of(graded_commit), changed=True)


class OneLedger:
    """Takes pushes and works on their jobs, in a ledger with so many rows."""

    def __init__(self, folder: Path, rows: int, stack: ExitStack) -> None:
        self.scene, self.rows = University(folder), rows
        self.parts = stack.enter_context(self.scene.parts())
        fill(self.parts.ledger, rows)
        self.steps = pipeline.Pipeline(
            self.parts.ledger,
            self.parts.course,
            PretendedGraders(),
            self.parts.intake,
            folder / "work",
            "w:0",
        )
        mending = Reconciler(self.parts.ledger, self.parts.queue, self.parts.intake)
        self.first_mend = seconds(mending.mend)  # which looks at everything
        self.mend = mending.mend

    def job(self, number: int) -> tuple[float, float, float]:
        """Return the seconds to take a push, to work on its job, and to reconcile."""
        push = self.scene.reported(
            commit_of(f"new{number}"), student=f"old{number % max(1, self.rows // 100)}"
        )
        start = time.perf_counter()
        job = self.parts.intake.receive(push, datetime.now(timezone.utc)).job
        between = time.perf_counter()
        assert job is not None
        with mock.patch.object(pipeline, "branch_head", return_value=push.commit):
            self.steps.run(job.id)
        end = time.perf_counter()
        assert self.parts.ledger.job(job.id).state is JobState.FINAL
        self.parts.queue.cancel(job.id)
        return between - start, end - between, seconds(self.mend)


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` took."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure_ledgers(folder: Path, rows: Sequence[int], jobs: int) -> list[dict[str, Any]]:
    """Return what one job costs in ledgers with so many rows, one job in each by turns."""
    with (
        ExitStack() as stack,
        mock.patch.object(pipeline, "fetch_commit", WithoutGit.fetch),
        mock.patch.object(pipeline.feedback, "publish", WithoutGit.publish),
    ):
        ledgers = [OneLedger(folder / f"ledger{number}", number, stack) for number in rows]
        found: dict[int, list[tuple[float, float, float]]] = {number: [] for number in rows}
        for turn in range(jobs + 5):
            for one in ledgers:
                times = one.job(turn)
                if turn >= 5:  # the first ones only warm up
                    found[one.rows].append(times)
        smallest = found[rows[0]]
        return [
            {
                "rows": one.rows,
                "take_ms": 1000 * statistics.median(times[0] for times in found[one.rows]),
                "work_ms": 1000 * statistics.median(times[1] for times in found[one.rows]),
                "mend_ms": 1000 * statistics.median(times[2] for times in found[one.rows]),
                "first_mend_ms": 1000 * one.first_mend,
                "over_first": statistics.median(
                    (mine[0] + mine[1]) / (other[0] + other[1])
                    for mine, other in zip(found[one.rows], smallest, strict=True)
                ),
            }
            for one in ledgers
        ]


def main() -> None:
    """Measure, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__.split("\n")[0])
    parser.add_argument("--webhooks", type=int, default=500)
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--rows", type=int, nargs="*", default=[10, 100_000])
    parser.add_argument("--jobs", type=int, default=50, help="that are measured in each ledger")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name).resolve()
        sent = measure_webhooks(scratch / "webhooks", options.webhooks)
        print("| Webhooks at once | p50 s | p99 s | Most s | Recorded | Accepted and lost |")
        print("|-----------------:|------:|------:|-------:|---------:|------------------:|")
        print(
            f"| {sent['count']:16} | {sent['p50_seconds']:5.2f} | {sent['p99_seconds']:5.2f} "
            f"| {sent['most_seconds']:6.2f} | {sent['recorded']:8} | {sent['accepted_and_lost']:17} |\n",
            flush=True,
        )
        classes = []
        print(
            "| Students | Workers | Last feedback s | Median s | Grading s | × workers ÷ grading | ÷ all steps |"
        )
        print(
            "|---------:|--------:|----------------:|---------:|----------:|--------------------:|------------:|"
        )
        for workers in dict.fromkeys(options.workers):
            row = measure_class(scratch / f"class{workers}", options.students, workers)
            classes.append(row)
            print(
                f"| {row['students']:8} | {workers:7} | {row['last_feedback_seconds']:15.1f} "
                f"| {row['median_feedback_seconds']:8.1f} | {row['grading_seconds']:9.1f} "
                f"| {row['over_grading']:19.2f} | {row['over_all_steps']:11.2f} |",
                flush=True,
            )
        ledgers = measure_ledgers(scratch, options.rows, options.jobs)
        print(
            "\n| Rows in the ledger | Take a push ms | Its job ms | / the first | Reconcile ms | At the start ms |"
        )
        print(
            "|-------------------:|---------------:|-----------:|------------:|-------------:|----------------:|"
        )
        for row in ledgers:
            print(
                f"| {row['rows']:18} | {row['take_ms']:14.1f} | {row['work_ms']:10.1f} | {row['over_first']:11.2f} "
                f"| {row['mend_ms']:12.1f} | {row['first_mend_ms']:15.1f} |"
            )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(
        json.dumps({"schema": 1, "webhooks": sent, "class": classes, "ledger": ledgers}, indent=2) + "\n"
    )
    print(f"\nwritten: {options.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
