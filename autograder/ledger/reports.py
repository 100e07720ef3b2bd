"""The reports: recording one for each job, and reading them back as they were recorded."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.database import canonical, insert_new
from autograder.ledger.faults import Conflict, IllegalTransition, LedgerError
from autograder.ledger.part import Part
from autograder.ledger.records import CasePoints, Drawn, GradedJob, GradedTree, Recorded, StoredReport
from autograder.ledger.states import JobState
from autograder.ledger.values import require_json, storable, utc
from autograder.report import Report, from_json

_re, _rc, _j = tables.reports.c, tables.report_cases.c, tables.jobs.c
MOST_VALUES = 10_000  # in one query; databases accept a few more
_CASE_COLUMNS = [column for column in _rc if column.name not in ("report_id", "position")]
REPORTS = sa.select(tables.reports, _j.assignment).join(tables.jobs, _re.job_id == _j.id)


class Reports(Part):
    """The methods about reports."""

    def add_report(self, job: str, report: Report) -> Recorded[StoredReport]:
        """Record the report of a running job. The first report stays: a second call returns the first one.

        Publish the returned report, not the passed one, so that students read the report that counts.

        Raises:
            Unknown: there is no such job.
            IllegalTransition: the job is not running and has no report.
            Conflict: the report is for another assignment.
            LedgerError: the report is invalid: impossible points, a case that occurs twice, provenance that is not
                JSON.
        """
        data = _checked(report)
        with self.database.writing() as connection:
            row = rows.find_job(connection, job, lock=True)
            if report.assignment != row.assignment:
                raise Conflict(f"a report of {report.assignment} does not belong to {job}; check the worker")
            known = report_of(connection, job)
            if known:
                return Recorded(known, new=False)
            if JobState(row.state) is not JobState.RUNNING:
                raise IllegalTransition(f"{job} is {row.state}: only a running job gets a report")
            values = {
                "job_id": job,
                "format": data["schema"],
                "points": data["points"],
                "max_points": data["max_points"],
                "provenance": data["provenance"],
                "digest": report_digest(data),
                "recorded": self._now(),
            }
            added = insert_new(connection, tables.reports, values)
            cases = [
                {"report_id": added, "position": position} | case
                for position, case in enumerate(data["cases"])
            ]
            if cases:
                connection.execute(tables.report_cases.insert(), cases)
            stored = report_of(connection, job)
            if stored is None:
                raise LedgerError(f"the report of {job} could not be read back; run autograder ledger check")
            return Recorded(stored, new=True)

    def report(self, job: str) -> StoredReport | None:
        """Return the report of a job, or None if the job has no report."""
        with self.database.reading() as connection:
            return report_of(connection, job)

    def results(self, *, limit: int, offset: int = 0) -> list[GradedJob]:
        """Return the points of the last reports, the latest first; `limit` and `offset` select a page of them."""
        page = sa.select(_re.id).order_by(_re.id.desc()).limit(limit).offset(offset).subquery()
        query = (
            rows.JOBS.add_columns(_re.points, _re.max_points, _re.recorded)
            .join(tables.reports, _re.job_id == _j.id)
            .where(_re.id.in_(sa.select(page.c.id)))
            .order_by(_re.id.desc())
        )
        with self.database.reading() as connection:
            return [rows.record(GradedJob, row, job=rows.job(row)) for row in connection.execute(query)]

    def case_history(self, assignment: str) -> dict[str, dict[str, float]]:
        """Return, for each case of an assignment, how many reports there are, how many passed, and the longest time.

        All reports count, those of earlier versions of the suite too.
        """
        passed = sa.case((_rc.verdict == "passed", 1), else_=0)
        query = (
            sa.select(_rc.name, sa.func.count(), sa.func.sum(passed), sa.func.max(_rc.seconds))
            .select_from(tables.report_cases)
            .join(tables.reports, _rc.report_id == _re.id)
            .join(tables.jobs, _re.job_id == _j.id)
            .where(_j.assignment == assignment)
            .group_by(_rc.name)
        )
        with self.database.reading() as connection:
            return {
                name: {"reports": count, "passed": int(good), "slowest": float(seconds or 0)}
                for name, count, good, seconds in connection.execute(query)
            }

    def case_points(self, jobs: Collection[str]) -> dict[str, dict[str, CasePoints]]:
        """Return the points of each case in the reports of some jobs: job -> name of the case -> points."""
        found: dict[str, dict[str, CasePoints]] = {}
        wanted = sorted(set(jobs))
        with self.database.reading() as connection:
            for start in range(0, len(wanted), MOST_VALUES):
                query = (
                    sa.select(_re.job_id, _rc.name, _rc.points, _rc.max_points, _rc.verdict)
                    .join_from(tables.reports, tables.report_cases, _rc.report_id == _re.id)
                    .where(_re.job_id.in_(wanted[start : start + MOST_VALUES]))
                    .order_by(_re.id, _rc.position)
                )
                for row in connection.execute(query):
                    found.setdefault(row.job_id, {})[row.name] = rows.record(CasePoints, row)
        return found

    def points(self, jobs: Collection[str]) -> dict[str, tuple[int, int]]:
        """Return the points of the reports of some jobs, and what they are worth."""
        found: dict[str, tuple[int, int]] = {}
        wanted = sorted(set(jobs))
        with self.database.reading() as connection:
            for start in range(0, len(wanted), MOST_VALUES):
                query = sa.select(_re.job_id, _re.points, _re.max_points).where(
                    _re.job_id.in_(wanted[start : start + MOST_VALUES])
                )
                for row in connection.execute(query):
                    found[row.job_id] = row.points, row.max_points
        return found

    def graded_trees(self, assignment: str) -> list[GradedTree]:
        """Return the digest of the src/ of each report of an assignment, the oldest first.

        A report of a submission that was refused as a whole has no digest and is left out.
        """
        tree = _re.provenance["tree_digest"].as_string().label("tree")
        query = (
            sa.select(*rows.NAME, rows.COMMIT, tree, _re.points)
            .select_from(
                tables.reports.join(tables.jobs, _re.job_id == _j.id).join(
                    rows.SUBMISSIONS, _j.submission_id == tables.submissions.c.id
                )
            )
            .where(_j.assignment == assignment)
            .order_by(_re.id)
        )
        with self.database.reading() as connection:
            return [
                rows.record(GradedTree, row, repository=rows.repository(row))
                for row in connection.execute(query)
                if row.tree
            ]

    def provenances(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the assignment and the provenance of every report, in the order of recording."""
        query = (
            sa.select(_j.assignment, _re.provenance)
            .select_from(tables.reports.join(tables.jobs, _re.job_id == _j.id))
            .order_by(_re.id)
        )
        with self.database.reading() as connection:
            return [(row.assignment, dict(row.provenance)) for row in connection.execute(query)]

    def newest_provenance(self, assignment: str) -> dict[str, Any] | None:
        """Return the provenance of the report of an assignment that was recorded last; None if there is no report."""
        query = (
            sa.select(_re.provenance)
            .select_from(tables.reports.join(tables.jobs, _re.job_id == _j.id))
            .where(_j.assignment == assignment)
            .order_by(_re.id.desc())
            .limit(1)
        )
        with self.database.reading() as connection:
            found: dict[str, Any] | None = connection.execute(query).scalar()
            return found

    def draws_since(self, report: int, since: datetime) -> list[Drawn]:
        """Return the reports after the one with this number that were recorded after `since`, the oldest first."""
        query = (
            sa.select(_re.id, _re.provenance, _re.recorded, _j.assignment)
            .select_from(tables.reports.join(tables.jobs, _re.job_id == _j.id))
            .where(_re.id > report, _re.recorded >= utc(since))
            .order_by(_re.id)
        )
        with self.database.reading() as connection:
            return [
                Drawn(
                    row.id,
                    row.assignment,
                    str(row.provenance.get("suite_digest") or ""),
                    tuple(row.provenance.get("draws") or ()),
                    row.recorded,
                )
                for row in connection.execute(query)
            ]


def report_of(connection: sa.Connection, job: str) -> StoredReport | None:
    """Return the report of a job, or None if the job has no report.

    Raises:
        LedgerError: the report is damaged, or has a format that this autograder does not read.
    """
    row = connection.execute(REPORTS.where(_re.job_id == job)).one_or_none()
    if row is None:
        return None
    try:
        report = from_json(report_data(connection, row))
    except ValueError as error:
        raise LedgerError(f"the report of {row.job_id}: {error}; run autograder ledger check") from error
    return rows.record(StoredReport, row, report=report)


def report_data(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
    """Return the plain data that `Report.to_json` gave when this row of `REPORTS` was written."""
    cases = sa.select(*_CASE_COLUMNS).where(_rc.report_id == row.id).order_by(_rc.position)
    return {
        "schema": row.format,
        "assignment": row.assignment,
        "points": row.points,
        "max_points": row.max_points,
        "cases": [dict(case._mapping) for case in connection.execute(cases)],
        "provenance": row.provenance,
    }


def report_digest(data: Mapping[str, Any]) -> str:
    """Return the sha256 of a report's canonical JSON, hex."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def _checked(report: Report) -> dict[str, Any]:
    """Return a report as plain data that can be stored."""
    data = report.to_json()
    require_json(data, "a report")
    names = [case["name"] for case in data["cases"]]
    if len(set(names)) != len(names):
        raise LedgerError("a case is in the report twice; correct the suite")
    for case in data["cases"]:
        most = report.extra.get(case["name"], case["max_points"])
        if not 0 <= case["points"] <= most:
            raise LedgerError(f"{case['name']} has {case['points']} of {most} points")
        for key in ("name", "message"):
            case[key] = storable(case[key])
    return data
