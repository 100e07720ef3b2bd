"""Backup, restore and check of a ledger, and `autograder ledger`."""

import contextlib
import shutil
import sqlite3
import threading

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.ledger import JobState, Ledger, LedgerError
from autograder.ledger.database import parse_url
from autograder.ledger.invariants import Invariant
from autograder.ledger.maintenance import backup, check, restore
from autograder.ledger.schema import HEAD
from tests.support.ledger_schemas import NEXT, add_step, make
from tests.support.ledgers import Clock, Semester, commit, problems, repository


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A ledger on SQLite with one graded push and one that waits, to be copied."""
    sample = tmp_path_factory.mktemp("sample") / "ledger.sqlite"
    with Ledger.open(f"sqlite:///{sample}") as ledger:
        semester = Semester(ledger, Clock())
        semester.push("one")
        semester.grade("one", 70)
        semester.push("two")
        semester.open("two")
        ledger.audit("okafor", "look", why="a test")
    return sample


@pytest.fixture
def file(folder, sample):
    """A copy of the sample."""
    shutil.copy2(sample, folder / "ledger.sqlite")
    return folder / "ledger.sqlite"


def url(file):
    return parse_url(f"sqlite:///{file}")


def points(file):
    with Ledger.open(f"sqlite:///{file}") as ledger:
        return Semester(ledger, Clock()).points()


def raw(file, *statements):
    """Write to a ledger without its code."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# backup --------------------------------------------------------------------------------------------------


def test_a_backup_is_a_ledger_in_one_private_file(file, folder):
    target = folder / "backup.sqlite"
    assert backup(url(file), target) == target.stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == ["backup.sqlite", "ledger.sqlite"]
    assert target.stat().st_mode & 0o077 == 0
    assert all(item.ok for item in check(url(target)))
    assert points(target) == {"ann": 70}


def test_a_backup_while_others_write(file, folder):
    stop = threading.Event()
    with Ledger.open(f"sqlite:///{file}") as ledger:

        def write():
            semester, number = Semester(ledger, Clock()), 0
            while not stop.is_set():
                number += 1
                semester.push(f"more {number}", "bob")
                semester.grade(f"more {number}", 1, "bob")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(3):
                target = folder / f"backup{number}.sqlite"
                backup(url(file), target)
                assert all(item.ok for item in check(url(target)))
        finally:
            stop.set()
            writer.join()
        assert problems(ledger) == []


def test_a_backup_replaces_nothing_unasked(file, folder):
    target = folder / "backup.sqlite"
    target.write_text("precious")
    with pytest.raises(LedgerError, match="exists already"):
        backup(url(file), target)
    assert target.read_text() == "precious"
    backup(url(file), target, force=True)
    assert points(target) == {"ann": 70}


def test_a_damaged_ledger_is_not_backed_up(file, folder):
    damage(file)
    with pytest.raises(LedgerError):
        backup(url(file), folder / "backup.sqlite")
    assert [path.name for path in folder.iterdir()] == ["ledger.sqlite"]


@pytest.mark.parametrize("force", [False, True])
def test_a_backup_onto_the_ledger_itself(file, force):
    with pytest.raises(LedgerError, match="name another file"):
        backup(url(file), file, force=force)
    assert points(file) == {"ann": 70}


def test_a_backup_to_nowhere_or_of_nothing(file, folder):
    with pytest.raises(LedgerError, match="cannot copy"):
        backup(url(file), folder / "missing" / "backup.sqlite")
    with pytest.raises(LedgerError, match="there is no ledger"):
        backup(url(folder / "missing.sqlite"), folder / "backup.sqlite")


def test_postgresql_has_tools_of_its_own(folder):
    there = parse_url("postgresql://ann@host/grades")
    with pytest.raises(LedgerError, match="pg_dump"):
        backup(there, folder / "x")
    with pytest.raises(LedgerError, match="pg_restore"):
        restore(there, folder / "x")


# restore -------------------------------------------------------------------------------------------------


def damage(file):
    """Overwrite a page in the middle of the file."""
    with file.open("r+b") as stream:
        stream.seek(8192)
        stream.write(b"\xff" * 4096)


@pytest.fixture
def saved(file, folder):
    backup(url(file), folder / "backup.sqlite")
    return folder / "backup.sqlite"


def test_restore_to_an_empty_place(saved, folder):
    target = folder / "new" / "ledger.sqlite"
    assert restore(url(target), saved) is None
    assert points(target) == {"ann": 70}
    assert target.stat().st_mode & 0o077 == 0


def test_restore_sets_the_ledger_aside(saved, file):
    with Ledger.open(f"sqlite:///{file}") as ledger:
        semester = Semester(ledger, Clock())
        semester.push("three", "bob")
        semester.grade("three", 5, "bob")
    with pytest.raises(LedgerError, match="stop the service, then pass --force"):
        restore(url(file), saved)
    assert points(file) == {"ann": 70, "bob": 5}
    aside = restore(url(file), saved, force=True)
    assert points(file) == {"ann": 70}
    assert points(aside) == {"ann": 70, "bob": 5}


def test_restore_over_a_damaged_ledger(saved, file):
    damage(file)
    aside = restore(url(file), saved, force=True)
    assert points(file) == {"ann": 70}
    assert b"\xff" * 4096 in aside.read_bytes()


def test_restore_while_the_service_runs(saved, file):
    with Ledger.open(f"sqlite:///{file}") as ledger:
        assert ledger.repositories()
        with pytest.raises(LedgerError, match="is in use; stop the service"):
            restore(url(file), saved, force=True)
        assert Semester(ledger, Clock()).push("three").new
        assert problems(ledger) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no backup"),
        (lambda path: path.write_text("no database at all " * 100), "cannot copy"),
        (lambda path: raw(path, "CREATE TABLE x (y)"), "but not a ledger"),
        (lambda path: newer(path), "schema r9999"),
        (lambda path: foreign(path), "this copy is damaged"),
    ],
    ids=["missing", "text", "other", "newer", "references"],
)
@pytest.mark.parametrize("there", [True, False])
def test_an_invalid_backup_changes_nothing(file, folder, make, message, there):
    bad = folder / "bad"
    bad_source = folder / "source"
    shutil.copy(file, bad_source)
    make(bad)
    target = file if there else folder / "new.sqlite"
    before = target.read_bytes() if there else None
    with pytest.raises(LedgerError, match=message):
        restore(url(target), bad, force=True)
    assert (target.read_bytes() if target.exists() else None) == before
    assert not list(folder.glob("*before-restore*"))
    assert not list(folder.glob("*.part*"))


def newer(path):
    Ledger.open(f"sqlite:///{path}").close()
    raw(path, "UPDATE ledger_version SET version_num = 'r9999'")


def foreign(path):
    Ledger.open(f"sqlite:///{path}").close()
    raw(path, "INSERT INTO submissions VALUES (1, 77, 'x', '2026-09-10 12:00:00.000000')")


def test_a_backup_of_an_older_schema_is_restored_and_upgraded(folder, monkeypatch, tmp_path):
    old = folder / "old" / "ledger.sqlite"
    make(f"sqlite:///{old}", HEAD)
    add_step(monkeypatch, tmp_path)
    restore(url(folder / "ledger.sqlite"), old)
    with Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        assert ledger.database.revision() == NEXT
        assert [push.commit for push in ledger.history(repository()).pushes] == [commit("one")]


# check ---------------------------------------------------------------------------------------------------

DAMAGE = {
    "points are the sum of the cases": "UPDATE reports SET points = 100",
    "reports are what was recorded": "UPDATE report_cases SET message = 'well done'",
    "references": "UPDATE reports SET job_id = 'x'",
    "foreign keys": "INSERT INTO submissions VALUES (9, 77, 'x', '2026-09-10 12:00:00.000000')",
    "final jobs have a report or a reason": "DELETE FROM reports",
    "jobs changed state as allowed": "UPDATE jobs SET state = 'dead' WHERE state = 'queued'",
    "job ids match their submissions": "UPDATE jobs SET attempt = 2 WHERE state = 'queued'",
    "adjustments fit together": "INSERT INTO adjustments VALUES (1, 1, 'a0', 'use', NULL, '', NULL, 'x', 'x', "
    "'2026-09-10 12:00:00.000000')",
    "pushes belong to submissions": "UPDATE pushes SET host = 'github.com'",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_check_finds(file, name):
    assert all(item.ok for item in check(url(file)))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        triggers = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ]
    raw(file, *(f"DROP TRIGGER {trigger}" for trigger in triggers), DAMAGE[name])
    failed = {item.name for item in check(url(file)) if not item.ok}
    assert {name, "triggers are in place"} <= failed


def test_check_finds_a_report_added_to(file):
    raw(file, "INSERT INTO report_cases VALUES (1, 3, 'Task0 - Case4', 'passed', 30, 30, '', 0, 0, 0)")
    failed = [item for item in check(url(file)) if not item.ok]
    assert [item.name for item in failed] == [
        "points are the sum of the cases",
        "reports are what was recorded",
    ]
    assert "says 70 / 100, its cases 100 / 130" in failed[0].detail


def test_check_finds_a_damaged_file(file):
    damage(file)
    try:
        failed = [item.name for item in check(url(file)) if not item.ok]
    except LedgerError as error:
        failed = [str(error)]
    assert failed


def test_check_shows_a_few_of_many_problems():
    item = Invariant("x", tuple(str(number) for number in range(9)))
    assert item.detail == "0; 1; 2; 3; 4; and 4 more"


def test_check_changes_nothing(file):
    before = file.read_bytes()
    check(url(file))
    assert file.read_bytes() == before


def test_check_names_an_older_schema(folder, monkeypatch, tmp_path):
    make(f"sqlite:///{folder / 'old' / 'ledger.sqlite'}", HEAD)
    add_step(monkeypatch, tmp_path)
    (item,) = check(url(folder / "old" / "ledger.sqlite"))
    assert not item.ok
    assert item.detail.startswith(f"is {HEAD}, but {NEXT} is needed")


# the command line ----------------------------------------------------------------------------------------

CONFIG = '[assignments.a0]\nsuite = "hidden/a0"\n'


def run(*arguments):
    return CliRunner().invoke(main, ["ledger", *map(str, arguments)])


@pytest.fixture
def staff(folder, file, monkeypatch):
    """A staff repository with a ledger in its usual place; tests run in a folder below it."""
    (folder / "autograder.toml").write_text(CONFIG)
    (folder / ".autograder").mkdir()
    shutil.copy(file, folder / ".autograder" / "ledger.sqlite")
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    monkeypatch.setenv("AUTOGRADER_CONFIG", str(folder / "autograder.toml"))
    monkeypatch.delenv("AUTOGRADER_LEDGER_URL", raising=False)
    return folder


def test_backup_check_and_restore(staff):
    result = run("backup", "b.sqlite")
    assert (result.exit_code, "verified" in result.output) == (0, True)
    result = run("check")
    assert result.exit_code == 0, result.output
    assert "ok    points are the sum of the cases: holds" in result.output
    result = run("restore", "b.sqlite")
    assert result.exit_code == 1
    assert "pass --force" in result.output
    result = run("restore", "b.sqlite", "--force")
    assert result.exit_code == 0, result.output
    assert "the previous ledger is now" in result.output
    assert points(staff / ".autograder" / "ledger.sqlite") == {"ann": 70}


def test_check_fails_loudly(staff):
    file = staff / ".autograder" / "ledger.sqlite"
    raw(file, "DROP TRIGGER reports_no_update", "UPDATE reports SET points = 100")
    result = run("check")
    assert result.exit_code == 1
    assert "FAIL  points are the sum of the cases" in result.output
    assert "3 checks failed" in result.output


def test_the_url_comes_from_the_option_the_environment_or_the_file(staff, monkeypatch):
    (staff / "autograder.toml").write_text('[ledger]\nurl = "sqlite:///from-file.sqlite"\n' + CONFIG)
    assert str(staff / "from-file.sqlite") in run("check").output
    monkeypatch.setenv("AUTOGRADER_LEDGER_URL", "sqlite:///from-environment.sqlite")
    assert str(staff / "from-environment.sqlite") in run("check").output
    assert str(staff / "below" / "x.sqlite") in run("check", "--url", "sqlite:///x.sqlite").output
    assert not list(staff.glob("**/from-*"))


def test_an_invalid_url_is_a_configuration_error(staff, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_LEDGER_URL", "mysql://ann:Zq7secret@host/grades")
    result = run("check")
    assert result.exit_code == 2
    assert "mysql://ann:***@host/grades" in result.output
    assert "Zq7" not in result.output


def test_a_misspelt_key_is_reported_with_its_line(staff):
    (staff / "autograder.toml").write_text('[ledger]\nurI = "sqlite:///x"\n' + CONFIG)
    result = run("check")
    assert result.exit_code == 2
    assert "autograder.toml:2: ledger.urI: this key is not allowed; allowed are url" in result.output


def test_a_state_is_written_as_its_word(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        found = {row[0] for row in connection.execute("SELECT state FROM jobs")}
    assert found == {JobState.FINAL.value, JobState.QUEUED.value}
