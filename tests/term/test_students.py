"""`autograder course student`: everything that the course holds about a student, and the removal of the names."""

import json
import re
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.ledger import (
    AdjustmentKind,
    JobState,
    Ledger,
    LedgerError,
    RepositoryName,
    removal,
    tables,
    workers,
)
from autograder.ledger.invariants import Invariant
from autograder.ledger.maintenance import check
from autograder.ledger.removal import HOST, remove_names
from tests.support.desk import Desk
from tests.support.ledgers import Clock, Semester, problems, report, repository
from tests.support.university import RIGHT, University, now

ROSTER = """id,name,login,email,team
20260001,张伟,ann,ann@uni.example,
20260002,Bob Müller,bob,bob@uni.example,red
20260003,Cy Okafor,cy,cy@uni.example,red
"""
EXTENSIONS = "student,assignment,closes,reason\nann,t,2026-09-20 12:00,ill\n"
SETTINGS = 'zone = "UTC"\ncloses = "2026-09-15 23:59"\nextensions_file = "extensions.csv"'
NEW = RepositoryName(HOST, "student", "s-1")


# the ledger ----------------------------------------------------------------------------------------------


@pytest.fixture
def semester(ledger):
    """Ann and Bob pushed; staff wrote about ann; a report quotes her."""
    semester = Semester(ledger, Clock())
    for student in ("ann", "bob"):
        semester.push("one", student)
        semester.grade("one", 70, student)
        semester.push("two", student)
        semester.grade("two", 80, student)
    ledger.add_adjustment(
        repository(), "a0", AdjustmentKind.POINTS, points=5, who="okafor", why="Ann's mail; see dls/a0-ann"
    )
    ledger.audit("okafor", "regrade", why="annex 3, for ann", subject=semester.open("two", attempt=2).id)
    semester.run("two", attempt=2)
    ledger.add_report(f"{semester.open('two', attempt=2).id}", _quoting())

    ledger.move(semester.open("two", attempt=2).id, JobState.FINAL)
    return semester


def _quoting():
    whole = report(80)
    cases = (replace(whole.cases[0], message="FileNotFoundError: /home/ann/data"), *whole.cases[1:])
    return replace(whole, cases=cases)


WORDS = {"git.uni.example/dls/a0-ann": str(NEW), "dls/a0-ann": "student/s-1", "a0-ann": "s-1", "ann": "s-1"}


def everything(ledger):
    """Return all that is in the ledger's tables as one text."""
    with ledger.database.reading() as connection:
        return "\n".join(
            str(tuple(row))
            for table in tables.metadata.sorted_tables
            for row in connection.execute(table.select())
        )


def test_names_are_replaced_and_everything_else_stays(semester, ledger):
    before = semester.points()
    removed = remove_names(ledger.database, {repository(): NEW}, WORDS, {"ann"})
    assert problems(ledger) == []
    text = everything(ledger)
    assert not re.search(r"\bann\b", text, re.IGNORECASE)
    assert "annex 3, for s-1" in text
    assert "s-1's mail; see student/s-1" in text
    assert "FileNotFoundError: /home/s-1/data" in text
    after = semester.points()
    assert after == {"bob": before["bob"], NEW.name: before["ann"]}
    assert len(ledger.pushes(NEW)) == 2
    assert {push.sender for push in ledger.pushes(NEW)} == {""}
    assert removed.rows["repositories"] == 1
    assert (removed.rows["jobs"], removed.rows["reports"]) == (3, 1)
    with pytest.raises(LedgerError):  # nothing may be changed, as before
        _change(ledger)


def _change(ledger):
    with ledger.database.writing() as connection:
        connection.execute(tables.pushes.update().values(sender="eve"))


def test_a_dry_run_changes_nothing(semester, ledger):
    before = everything(ledger)
    removed = remove_names(ledger.database, {repository(): NEW}, WORDS, {"ann"}, dry_run=True)
    assert removed.rows["repositories"] == 1
    assert everything(ledger) == before
    assert problems(ledger) == []


def test_a_job_that_has_not_ended_keeps_everything_as_it_is(semester, ledger):
    semester.push("three")
    job = semester.open("three")
    before = everything(ledger)
    with pytest.raises(LedgerError, match=f"{job.id} is queued; wait for it"):
        remove_names(ledger.database, {repository(): NEW}, WORDS, {"ann"})
    assert everything(ledger) == before


def test_a_ledger_that_would_not_be_sound_is_not_changed(semester, ledger, monkeypatch):
    before = everything(ledger)
    monkeypatch.setattr(removal.invariants, "examine", lambda _: [Invariant("order", ("is lost",))])
    with pytest.raises(LedgerError, match="nothing was changed: order: is lost"):
        remove_names(ledger.database, {repository(): NEW}, WORDS, {"ann"})
    monkeypatch.undo()
    assert everything(ledger) == before
    assert problems(ledger) == []


def test_the_old_names_are_in_no_page_of_the_file(folder):
    file = folder / "ledger.sqlite"
    with Ledger.open(f"sqlite:///{file}") as ledger:
        semester = Semester(ledger, Clock())
        semester.push("one", "zaphodbeeblebrox")
        semester.grade("one", 70, "zaphodbeeblebrox")
        old = repository("zaphodbeeblebrox")
        remove_names(
            ledger.database, {old: NEW}, {old.name: "s-1", "zaphodbeeblebrox": "s-1"}, {"zaphodbeeblebrox"}
        )
    for path in folder.iterdir():
        assert b"zaphodbeeblebrox" not in path.read_bytes(), path
    with sqlite3.connect(file) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def desk(folder):
    university = University(folder, assignment=SETTINGS)
    course = university.course
    course.write("extensions.csv", EXTENSIONS)
    course.write("roster.csv", ROSTER)
    file = course.write(
        "autograder.toml", '[course]\nroster = "roster.csv"\n' + university.config_file.read_text()
    )
    assert file == university.config_file
    with university.parts() as parts:
        desk = Desk(university, parts, folder / "work")
        desk.run(desk.push(RIGHT, received=now() - timedelta(days=4000)))
        desk.run(desk.push(RIGHT, "red", received=now() - timedelta(days=4000)))
        parts.ledger.audit("okafor", "adjust", why="张伟 was ill", subject="git.uni.example/dls/t-ann")
        yield desk


def run(desk, *arguments):
    return CliRunner().invoke(
        main, ["course", "student", *arguments, "--config", str(desk.university.config_file)]
    )


@pytest.mark.parametrize("name", ["ann", "20260001"])
def test_show(desk, name):
    result = run(desk, "show", name)
    assert result.exit_code == 0, result.output
    assert "roster     id: 20260001; name: 张伟; login: ann; email: ann@uni.example\n" in result.output
    assert (
        "ledger     git.uni.example/dls/t-ann (t): 1 pushes, 1 jobs, 1 reports, 0 adjustments\n"
        in result.output
    )
    assert "extension  t until 2026-09-20T12:00" in result.output
    assert "audit      1 lines" in result.output
    assert "delete line 2 of" in result.output
    assert "bob" not in result.output
    found = json.loads(run(desk, "show", name, "--json").output)
    (one,) = found["repositories"]
    assert one["jobs"][0]["report"]["points"] == 100
    assert one["pushes"][0]["sender"] == "ann"


def test_a_team_s_repository_is_named_and_kept(desk):
    result = run(desk, "show", "bob")
    assert "(t, shared by a team): 1 pushes" in result.output
    assert run(desk, "remove", "bob", "--why", "left the course").exit_code == 0
    with desk.university.parts() as parts:
        assert parts.ledger.pushes(desk.university.repository("red"))
        assert problems(parts.ledger) == []


def test_remove(desk):
    result = run(desk, "remove", "20260001", "--why", "asked for it", "--dry-run")
    assert result.exit_code == 0, result.output
    assert (
        "would change 1 rows of repositories, 1 rows of pushes, 1 rows of jobs, 1 rows of audit_lines"
        in result.output
    )
    result = run(desk, "remove", "20260001", "--why", "asked for it", "--who", "okafor")
    assert result.exit_code == 0, result.output
    pseudonym = re.search(r"20260001 is (s-[0-9a-f]{8}) in the ledger now", result.output)[1]
    assert "yours to remove  the roster: delete line 2" in result.output
    text = everything(desk.ledger)
    for name in ("ann", "张伟", "20260001"):
        assert name not in re.sub(r"[0-9a-f]{40}", "", text)
    (line, *_) = desk.ledger.audit_lines()
    assert (line.what, line.subject, line.why) == ("course student remove", pseudonym, "asked for it")
    assert problems(desk.ledger) == []
    (name,) = [name for name in desk.ledger.repositories() if name.host == HOST]
    assert name.name == f"{pseudonym}-t-1"
    assert desk.course.target(name, "main") is None
    desk.reconciler().repair()  # asks no host that does not exist
    assert run(desk, "show", "eve").exit_code == 1


def test_commands_work_after_a_removal(desk):
    assert run(desk, "remove", "ann", "--why", "asked for it").exit_code == 0
    config = str(desk.university.config_file)
    for arguments in (
        ("republish",),
        ("grades",),
        ("status",),
        ("pushes", "list"),
        ("jobs", "list", "--all"),
        ("roster", "check"),
        ("collect", "-a", "t", "--to", str(desk.university.folder / "collected")),
        ("stats", "-a", "t"),
        ("course", "archive", "--to", str(desk.university.folder / "x.zip")),
    ):
        result = CliRunner().invoke(main, [*arguments, "--config", config])
        assert result.exit_code in ((0, 1) if arguments[0] == "roster" else (0,)), (arguments, result.output)
        if arguments[0] in ("grades", "roster", "republish", "stats", "collect"):
            assert "removed.invalid" not in result.output, arguments
    assert CliRunner().invoke(main, ["ledger", "check", str(desk.university.folder / "x.zip")]).exit_code == 0


def test_nobody_is_removed_while_the_service_runs(desk):
    workers.start(desk.ledger.database, "grader-1:0", origin="", queues=["cpu"], version="1", now=now())
    result = run(desk, "remove", "ann", "--why", "asked for it")
    assert result.exit_code == 1
    assert "the service runs (grader-1:0); stop it first" in result.output
    assert run(desk, "remove", "ann", "--why", "x", "--dry-run").exit_code == 0


def test_the_ledger_of_the_command_is_checked(desk):
    run(desk, "remove", "ann", "--why", "asked for it")
    assert all(item.ok for item in check(desk.ledger.database.url))
