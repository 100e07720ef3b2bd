"""Measures the gradebook of a large course (`python -m benchmarks.gradebook`).

A ledger is filled with 500 students, four assignments and ten graded pushes for each, 20,000 reports in all, and some
late days, adjustments and regrades. Measured are the queries and the time of the rows, with and without the points of
the cases, and of each format; and the same with a tenth of the students, which must take as many queries.

The figure that matters is the last column: the time of the rows, divided by the time of reading the reports' points and
the pushes' times once, each in one query.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from autograder import config
from autograder.course import gradebook_files as files
from autograder.course.course import Course
from autograder.course.gradebook import Gradebook, gradebook
from autograder.ledger import AdjustmentKind, Ledger, RepositoryName, tables
from autograder.service import roster_check
from tests.support.ledgers import MAIN, commit

RESULTS = Path(__file__).parent / "results" / "gradebook.json"
HOST = "git.uni.example"
ASSIGNMENTS = ("a0", "a1", "a2", "a3")
PUSHES, CASES = 10, 25
BATCH = 2000
OPENED = datetime(2026, 9, 1, 8, tzinfo=timezone.utc)
CLOSES = OPENED + timedelta(days=12)
FILE = (
    f'[course]\nroster = "roster.csv"\nlate_days = 4\n[hosts."{HOST}"]\nkind = "folder"\nbase = "."\n'
    + "".join(
        f'[assignments.{name}]\nsuite = "hidden/{name}"\nrepositories = ["dls/{name}-*"]\nzone = "UTC"\n'
        f'closes = "{CLOSES:%Y-%m-%d %H:%M}"\nlate_days_allowed = 3\nlate_points_per_day = 10\n'
        f'policy = "{"best" if name == "a3" else "last"}"\n'
        for name in ASSIGNMENTS
    )
)


def course_of(folder: Path, students: int) -> Course:
    """Make the folder of a course with a roster."""
    folder.mkdir()
    (folder / "autograder.toml").write_text(FILE)
    lines = [f"2026{n:05},学生{n},s{n},s{n}@uni.example,{n % 8 + 1}班" for n in range(students)]
    (folder / "roster.csv").write_text("\n".join(["id,name,login,email,section", *lines]) + "\n")
    return Course.of(config.load(folder / "autograder.toml"))


def fill(ledger: Ledger, students: int) -> int:
    """Put the pushes and reports of all students into a ledger; return the number of reports."""
    provenance = {
        "draws": {},
        "seed_id": "0" * 16,
        "versions": {"numpy": "2.3.1", "python": "3.12"},
        "sandbox": "bwrap",
    }
    number = 0
    rows: dict[sa.Table, list[dict[str, Any]]] = {}

    def flush() -> None:
        with ledger.database.writing() as connection:
            for table, values in rows.items():
                connection.execute(table.insert(), values)
        rows.clear()

    for place, (name, student) in enumerate((name, n) for name in ASSIGNMENTS for n in range(students)):
        repository, path = place + 1, f"{HOST}/dls/{name}-s{student}"
        rows.setdefault(tables.repositories, []).append(
            {"id": repository, "host": HOST, "owner": "dls", "name": f"{name}-s{student}", "created": OPENED}
        )
        for push in range(PUSHES):
            number += 1
            sha, at = commit(f"{path}{push}"), OPENED + timedelta(days=push * 1.4, minutes=student)
            job, points = f"grade:{path}:{sha}:{name}", 4 * (number % (CASES + 1))
            common = {"created": at, "updated": at, "started": at, "finished": at}
            rows.setdefault(tables.submissions, []).append(
                {"id": number, "repository_id": repository, "commit_sha": sha, "created": at}
            )
            rows.setdefault(tables.pushes, []).append(
                {"id": number, "submission_id": number, "host": HOST, "delivery_id": sha, "ref": MAIN,
                 "before_sha": "", "sender": f"s{student}", "payload_digest": "", "received": at,
                 "source": "hook", "position": push + 1.0, "recorded": at}
            )  # fmt: skip
            rows.setdefault(tables.jobs, []).append(
                {"id": job, "submission_id": number, "assignment": name, "attempt": 1, "may_lower": False,
                 "state": "final", "reason": "", "worker": "host:1", "tries": 1} | common
            )  # fmt: skip
            rows.setdefault(tables.reports, []).append(
                {"id": number, "job_id": job, "format": 1, "points": points, "max_points": 4 * CASES, "digest": "",
                 "provenance": provenance | {"commit": sha, "tree_digest": sha}, "recorded": at}
            )  # fmt: skip
            rows.setdefault(tables.report_cases, []).extend(
                {"report_id": number, "position": case, "name": f"Task1 - Case{case + 1}", "max_points": 4,
                 "verdict": "passed" if 4 * case < points else "wrong", "points": 4 if 4 * case < points else 0,
                 "message": "" if 4 * case < points else "the values differ", "seconds": 0.1, "cpu_seconds": 0.1,
                 "peak_bytes": 1 << 20}
                for case in range(CASES)
            )  # fmt: skip
            if number % BATCH == 0:
                flush()
    flush()
    for student in range(0, students, 20):
        ledger.add_adjustment(
            RepositoryName(HOST, "dls", f"a1-s{student}"),
            "a1",
            AdjustmentKind.POINTS,
            points=5,
            who="staff",
            why="x",
        )
    return number


def counted(act: Callable[[], Any]) -> tuple[Any, int]:
    """Return what a function returns, and the number of its queries."""
    seen = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        return act(), len(seen)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)


def seconds(act: Callable[[], Any], times: int) -> float:
    """Return the median time of some calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def read_once(ledger: Ledger) -> None:
    """Read the points of all reports and the times of all pushes, each in one query."""
    with ledger.database.reading() as connection:
        connection.execute(sa.select(tables.reports.c.points, tables.reports.c.job_id)).all()
        connection.execute(sa.select(tables.pushes.c.received, tables.pushes.c.ref)).all()


def measure(folder: Path, students: int, times: int) -> list[dict[str, Any]]:
    """Return a row for each thing that is measured in a course of this size."""
    course = course_of(folder, students)
    now = CLOSES + timedelta(days=30)
    with Ledger.open(course.config.ledger_url(), folder=folder) as ledger:
        reports = fill(ledger, students)

        def rows(cases: bool = False) -> Gradebook:
            return gradebook(ledger, course, now, cases=cases)

        made, with_cases = rows(), rows(True)
        assert len(made.rows) == students
        assert all(row.total is not None for row in made.rows)
        once = seconds(lambda: read_once(ledger), times)
        acts: dict[str, Callable[[], Any]] = {
            "rows": rows,
            "rows with cases": lambda: rows(True),
            "one assignment": lambda: gradebook(ledger, course, now, assignments=["a1"]),
            "csv with cases": lambda: files.csv_text(with_cases),
            "xlsx with cases": lambda: files.xlsx(with_cases),
            "json with cases": lambda: files.json_text(with_cases),
            "roster check": lambda: roster_check.check(course, ledger, ask_hosts=False),
        }
        found = []
        for what, act in acts.items():
            _, queries = counted(act)
            taken = seconds(act, times)
            found.append(
                {"students": students, "reports": reports, "what": what, "queries": queries, "seconds": taken,
                 "over_reading": taken / once}
            )  # fmt: skip
        return found


def main() -> None:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gradebook", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--students", type=int, default=500)
    parser.add_argument("--times", type=int, default=5, help="how often each thing is measured")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for students in (max(1, options.students // 10), options.students):
            found += measure(Path(name) / str(students), students, options.times)
    print("| Students | Reports | What            | Queries | Median s | ÷ reading once |")
    print("|---------:|--------:|-----------------|--------:|---------:|---------------:|")
    for row in found:
        print(
            f"| {row['students']:8} | {row['reports']:7} | {row['what']:15} | {row['queries']:7} "
            f"| {row['seconds']:8.2f} | {row['over_reading']:14.1f} |"
        )
    by_what = {
        row["what"]: {each["queries"] for each in found if each["what"] == row["what"]} for row in found
    }
    assert all(len(queries) == 1 for queries in by_what.values()), (
        "the number of queries depends on the number of students"
    )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
