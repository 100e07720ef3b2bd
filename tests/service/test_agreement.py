"""All that shows points agrees: random courses, and every place that says what counts.

`course.standing` decides. The gradebook and its files, score.md and score.json, commit statuses, pages, the archive,
statistics, `collect`, `jobs list --json` and the preview of a regrade are compared with it, on one ledger with late
days, budgets, adjustments, teams, extensions, unknown receive times, regrades, and repositories of nobody.
AUTOGRADER_COURSES=100 tries so many courses.
"""

import csv
import html
import io
import json
import os
import random
import re
from datetime import datetime, timedelta, timezone

import openpyxl
import pytest
from starlette.testclient import TestClient

from autograder import config
from autograder.course import gradebook_files as files
from autograder.course.course import Course
from autograder.course.gradebook import State, gradebook
from autograder.course.standing import all_standings, standing
from autograder.ledger import AdjustmentKind, JobState, RepositoryName, Source
from autograder.service.http import app as edge
from autograder.service.intake.intake import Intake
from autograder.service.jobs.showing import NOT_GRADED, Showing
from autograder.service.jobs.statuses import status_of
from autograder.service.metrics import Metrics
from autograder.service.service import Service
from autograder.service.staff import Staff
from autograder.term import statistics
from autograder.term.collection import works
from tests.support.classroom import HOST, Class
from tests.support.ledgers import MAIN, commit, problems, report
from tests.support.webservice import TOKEN, URL, StillQueue

ROSTER = """\
id,name,login,section,team:a1,role
2026001,王小明,ann,1班,,
2026002,李雷,bob,1班,red,
2026003,韩梅梅,cat,2班,red,
2026004,=1+1,dan,,blue,
2026005,张伟,eve,2班,blue,
2026006,陈静,fay,2班,,
t1,Ada,ada,,,,staff
"""
CLOSES = {
    "a0": datetime(2026, 9, 15, 12, tzinfo=timezone.utc),
    "a1": datetime(2026, 9, 25, 12, tzinfo=timezone.utc),
    "a2": datetime(2026, 10, 5, 12, tzinfo=timezone.utc),
}
STUDENTS = {
    "a0": ("ann", "bob", "cat", "dan", "2026005", "eve", "zoe", "ada"),
    "a1": ("ann", "red", "blue", "bob", "fay", "zoe"),
    "a2": ("bob", "cat", "eve", "zoe"),
}


def rules(rng):
    """Return a random autograder.toml."""
    text = f'[course]\nroster = "roster.csv"\nlate_days = {rng.choice([0, 2, 3])}\n'
    text += f'[hosts."{HOST}"]\nkind = "folder"\nbase = "host"\n'
    for name in CLOSES:
        text += (
            f'[assignments.{name}]\nsuite = "hidden/{name}"\nrepositories = ["dls/{name}-*"]\nzone = "UTC"\n'
        )
        text += f'closes = "{CLOSES[name]:%Y-%m-%d} 11:59"\npolicy = "{rng.choice(["last", "best"])}"\n'
        text += f'weight = {rng.choice([1, 2, 0.5])}\nextensions_file = "extensions.csv"\n'
        if days := rng.choice([0, 2, 4]):
            price = rng.choice(["", "late_points_per_day = 7\n", "late_percent_per_day = 12.5\n"])
            text += f"late_days_allowed = {days}\n{price}"
        text += rng.choice(["", "", "pushes_per_day = 2\n"])
    return text


def extensions(rng):
    """Return random extensions, sometimes with a line that has a mistake."""
    text = "student,assignment,closes\n"
    for student, name in rng.sample([("2026001", "a0"), ("red", "a1"), ("cat", "a0"), ("dan", "a1")], 2):
        text += f"{student},{name},{CLOSES[name] + timedelta(days=rng.choice([1, 3])):%Y-%m-%d %H:%M}\n"
    return text + ("2026004,a0,someday\n" if rng.random() < 0.2 else "")


def settle(ledger, job, points):
    """Grade a job, or end it without a report if `points` is None."""
    ledger.move(job.id, JobState.RUNNING, worker="host:1")
    if points is None:
        ledger.move(job.id, JobState.FINAL, reason=f"{NOT_GRADED}late")
    else:
        ledger.add_report(job.id, report(points, assignment=job.assignment, tree_digest=job.id))
        ledger.move(job.id, JobState.FINAL)


def play(dls, rng):
    """Let a random course happen in the ledger of a class."""
    acts = []
    for name, students in STUDENTS.items():
        for student in students:
            for number in range(rng.choice([0, 1, 2, 3])):
                when = CLOSES[name] + timedelta(hours=rng.choice([-90, -30, -20, -1, 5, 30, 60, 80, 130]))
                acts.append((when + timedelta(minutes=len(acts)), name, student, number))
    for when, name, student, number in sorted(acts):
        repository = RepositoryName(HOST, "dls", f"{name}-{student}")
        dls.clock.now = when
        word = f"{name} {student} {number}"
        source = rng.choice([Source.HOOK, Source.HOOK, Source.HOOK, Source.UNKNOWN])
        dls.ledger.record_push(repository, commit=commit(word), ref=MAIN, source=source)
        late = when > CLOSES[name] + timedelta(days=1) and rng.random() < 0.3
        if rng.random() < 0.15:
            continue  # no job yet
        job = dls.ledger.open_job(repository, commit(word), name).row
        if rng.random() < 0.15:
            continue  # it waits
        settle(dls.ledger, job, None if late else rng.randrange(101))
        if rng.random() < 0.2:
            again = dls.ledger.open_job(
                repository, commit(word), name, attempt=2, may_lower=rng.random() < 0.5
            ).row
            settle(dls.ledger, again, rng.randrange(101))
    for _ in range(rng.randrange(8)):
        name = rng.choice(list(STUDENTS))
        repository = RepositoryName(HOST, "dls", f"{name}-{rng.choice(STUDENTS[name])}")
        kind = rng.choice(list(AdjustmentKind))
        if kind is AdjustmentKind.UNDO:
            given = [
                each
                for each in dls.ledger.adjustments(name, repository=repository)
                if each.kind is not AdjustmentKind.UNDO
            ]
            if not given:
                continue
            values = {"undoes": given[-1].id}
        elif kind is AdjustmentKind.USE:
            pushed = dls.ledger.pushes(repository)
            if not pushed:
                continue
            values = {"commit": pushed[0].commit}
        else:
            values = {AdjustmentKind.POINTS: {"points": 5}, AdjustmentKind.SET: {"points": 61}}.get(kind, {})
        undone = {each.undoes for each in dls.ledger.adjustments(name, repository=repository)}
        if kind is AdjustmentKind.UNDO and values["undoes"] in undone:
            continue
        dls.ledger.add_adjustment(repository, name, kind, who="okafor", why="a reason", **values)


@pytest.fixture(params=range(int(os.environ.get("AUTOGRADER_COURSES", "4"))))
def dls(request, folder):
    rng = random.Random(request.param)  # noqa: S311 (not for secrets)
    (folder / "extensions.csv").write_text(extensions(rng))
    made = Class(folder, rules(rng), ROSTER)
    play(made, rng)
    made.clock.now = CLOSES["a1"] + timedelta(days=rng.choice([-3, 30]))
    made.course = Course.of(config.load(folder / "autograder.toml"))
    yield made
    assert problems(made.ledger) == []
    made.ledger.close()


def rows_of(dls):
    """Return the gradebook, and each of its entries that has a repository."""
    book = gradebook(dls.ledger, dls.course, dls.clock.now, cases=True)
    return book, [
        (row, name, entry)
        for row in book.rows
        for name, entry in row.entries.items()
        if entry.stands is not None
    ]


def test_all_that_shows_points_agrees(dls, monkeypatch):
    the_gradebook_and_its_files_agree(dls)
    branch_status_and_pages_agree(dls)
    what_is_made_from_the_ledger_agrees(dls, monkeypatch)


def the_gradebook_and_its_files_agree(dls):
    book, entries = rows_of(dls)
    assert entries
    for name, found in all_standings(dls.ledger, dls.course, list(CLOSES)).items():
        for repository, stands in found.items():
            assert standing(dls.ledger, dls.course, stands.target) == stands, (name, repository)
    for _, _, entry in entries:
        assert entry.stands == standing(dls.ledger, dls.course, entry.stands.target)
        assert entry.result == entry.stands.result
        if entry.result.graded is not None:
            assert sum(case.points for case in entry.cases.values()) == entry.result.graded
    # CSV, JSON, Excel
    csv_rows = list(csv.DictReader(io.StringIO(files.csv_text(book))))
    plain = json.loads(files.json_text(book))["students"]
    workbook = openpyxl.load_workbook(io.BytesIO(files.xlsx(book)))
    for number, row in enumerate(book.rows):
        total = "" if row.total is None else str(row.total)
        assert csv_rows[number]["total_percent"] == total
        assert plain[number]["total_percent"] == (None if row.total is None else float(row.total))
        for name, entry in row.entries.items():
            points = "" if entry.points is None else str(entry.points)
            assert csv_rows[number][f"{name} points"] == points
            assert csv_rows[number][f"{name} state"] == entry.state.value
            assert plain[number]["assignments"][name]["points"] == entry.points
            assert plain[number]["assignments"][name]["in_total"] == entry.in_total
            sheet = list(workbook[name].iter_rows(values_only=True))
            line = dict(zip(sheet[0], sheet[number + 1], strict=True))
            assert (line["points"], line["in_total"]) == (entry.points, entry.in_total)
    # Canvas and Moodle
    people = [row for row in book.rows if row.person is not None]
    canvas = list(csv.DictReader(io.StringIO(files.canvas(book, {}))))[1:]
    moodle = list(csv.DictReader(io.StringIO(files.moodle(book, {}))))
    for row, one, other in zip(people, canvas, moodle, strict=True):
        for name, entry in row.entries.items():
            points = "" if entry.in_total is None else str(entry.in_total)
            assert other[name] == points
            assert one[name] == ("EX" if entry.state is State.EXCUSED else points)
    # what is added up
    for row in book.rows:
        counted = {name: entry.in_total for name, entry in row.entries.items() if entry.in_total is not None}
        assert not [name for name in counted if row.entries[name].result.excused]
        if row.total is not None:
            weights = {name: float(book.weights[name]) for name in counted if book.max_points[name]}
            mean = sum(weight * counted[name] for name, weight in weights.items()) / sum(weights.values())
            assert abs(float(row.total) - mean) <= 0.0051  # each is worth 100


def says(files_, result, score):
    """Return the points that feedback files say; None: no score."""
    text, data = files_["score.md"].decode(), json.loads(files_["score.json"])
    if "result" in data:
        assert data["result"]["points"] == result.points
        assert data["result"]["graded"] == result.graded
        assert data["result"]["excused"] == result.excused
        assert data["result"]["penalty"] == result.penalty
        if result.excused:
            assert "does not count for you" in text
            return None
    found = re.search(r"Your score is (\d+) / ", text)
    if found:
        return int(found[1])
    if "There is no score yet" in text:
        return None
    assert score is not None
    return sum(case["points"] for case in data["cases"])


def branch_status_and_pages_agree(dls):
    staff = pages_of(dls)
    for _, name, entry in rows_of(dls)[1]:
        stands, result = entry.stands, entry.result
        if not stands.open:
            shown = Showing(dls.ledger, dls.course, stands.target).due()
            if shown is not None:
                assert says(shown.files, result, stands.score) == result.points, entry.repository
        if stands.score is not None:
            status = status_of(dls.ledger, dls.course, entry.repository, stands.score.commit)
            if result.excused:
                assert "excused" in str(status.text)
            elif not [
                job for job in dls.ledger.jobs(repository=entry.repository) if job.state.value == "queued"
            ]:
                assert status.text.startswith(f"{result.points} / {result.max_points}")
        if stands.pushes:
            text = page(staff, f"/r/{entry.repository}")
            said = (
                "excused"
                if result.excused
                else f"{result.points} / {result.max_points} counts"
                if result.points is not None
                else "which score counts is open"
                if stands.open
                else "no score counts yet"
            )
            assert f"{name}: {said}" in text, (text[:400], said)
    book = gradebook(dls.ledger, dls.course, dls.clock.now)
    assert staff.get("/grades.csv").text.lstrip("\ufeff") == files.csv_text(book)


def what_is_made_from_the_ledger_agrees(dls, monkeypatch):
    book, entries = rows_of(dls)
    listed = {job["id"]: job for job in json.loads(dls.run("jobs", "list", "--all", "--json").stdout)}
    for _, _, entry in entries:
        if entry.stands.score is not None:
            assert listed[entry.stands.score.job_id]["points"] == entry.result.graded
    for name in CLOSES:
        found = statistics.of(book, name)
        of = [row.entries[name] for row in book.rows]
        assert found.points == tuple(sorted(each.points for each in of if each.points is not None))
        by_repository = {work.target.repository: work for work in works(dls.ledger, dls.course, name)}
        for each in of:
            if each.stands is not None:
                assert by_repository[each.repository].stands == each.stands
                if each.push is not None and not each.stands.open:
                    assert by_repository[each.repository].push == each.push
        students = {row.id: row.entries[name].repository for row in book.rows if row.person is not None}
        for work in by_repository.values():
            for person in work.people:
                assert not person.is_student or students[person.id] == work.target.repository
    # the archive derives the same rows again
    archive = dls.folder / "course.zip"
    made = dls.run("course", "archive", "--to", archive)
    assert made.exit_code == 0, made.output
    checked = dls.run("ledger", "check", archive)
    assert checked.exit_code == 0, checked.output
    # a regrade that gives the same again changes nothing
    staff = staff_of(dls)

    def same(_, choices, *__):
        for choice in choices:
            if stored := dls.ledger.report(choice.last.id):
                yield choice.last.id, stored.report

    monkeypatch.setattr(Staff, "_graded", same)
    for name in CLOSES:
        choices = [one for one in staff.choices(name) if dls.ledger.report(one.last.id)]
        of_repository = {entry.repository: entry for _, of, entry in entries if of == name}
        for preview in staff.preview(choices, None):
            if preview.repository in of_repository:
                before = of_repository[preview.repository]
                assert preview.before.result == before.result
                assert preview.before.stands == before.stands
            assert preview.after.points == preview.before.points


def staff_of(dls):
    intake = Intake(dls.ledger, dls.course, StillQueue(dls.clock), clock=dls.clock)
    return Staff(dls.ledger, dls.course, intake, "okafor")


def pages_of(dls):
    token = dls.course.config.path(dls.course.config.service.staff_token_file)
    token.parent.mkdir(exist_ok=True)
    token.write_text(TOKEN)
    queue = StillQueue(dls.clock)
    service = Service(
        dls.ledger,
        dls.course,
        queue,
        Intake(dls.ledger, dls.course, queue, clock=dls.clock),
        metrics=Metrics(),
        lease_seconds=86400.0,
        later=lambda _open: None,
        clock=dls.clock,
    )
    client = TestClient(edge.create(service), base_url=URL, raise_server_exceptions=False)
    client.post("/login", data={"token": TOKEN})
    return client


def page(client, path):
    response = client.get(path)
    assert response.status_code == 200, response.text
    return " ".join(
        html.unescape(re.sub(r"<[^>]*>", "", response.text)).replace("\u2009", "").split()
    ).replace("/", " / ")
