"""`autograder course new-term`: what a new term begins with."""

import re
import sqlite3

import pytest

from autograder.ledger import Ledger, workers
from tests.support.university import RIGHT, now
from tests.term.test_archive import archived, desk, run  # noqa: F401 (fixtures)


def new_term(desk, file, *arguments):  # noqa: F811
    return run("course", "new-term", "--archive", file, "--config", desk.university.config_file, *arguments)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_everything_of_the_old_term_is_set_aside_and_staff_are_told_what_is_left(desk, archived):  # noqa: F811
    state = desk.university.course.folder / ".autograder"
    desk.course.spool().mkdir(exist_ok=True)
    secret = (state / "secret").read_bytes()
    before = names(state)
    result = new_term(desk, archived, "--dry-run")
    assert result.exit_code == 0, result.output
    assert f"would move  {state / 'ledger.sqlite'}" in result.output
    assert names(state) == before
    desk.ledger.close()
    desk.queue.close()
    result = new_term(desk, archived)
    assert result.exit_code == 0, result.output
    folder = re.search(r"the old term is in (\S+);", result.output)[1]
    assert names(state).isdisjoint(
        {"ledger.sqlite", "ledger.sqlite-wal", "jobs.sqlite", "secret", "spool", "roster"}
    )
    (aside,) = state.glob("before-*")
    assert str(aside) == folder
    assert {"ledger.sqlite", "jobs.sqlite", "secret", "spool"} <= names(aside)
    assert (aside / "secret").read_bytes() == secret
    assert aside.stat().st_mode & 0o077 == 0
    with sqlite3.connect(aside / "ledger.sqlite") as raw:
        assert raw.execute("SELECT count(*) FROM pushes").fetchone() == (2,)
    todo = re.findall(r"^to do +(.*)$", result.output, re.MULTILINE)
    assert any("assignments.t.closes: 2026-09-15 is over" in line for line in todo)
    assert any("roster.csv: replace the 3 people" in line for line in todo)
    assert any("extensions.csv: keep nothing but the first line" in line for line in todo)
    assert any("t-ann and 1 more of the old term match" in line for line in todo)
    with desk.university.parts() as parts:  # a new term begins
        assert parts.ledger.repositories() == []
        assert parts.config.secret() != secret.strip()


def test_an_archive_that_lacks_a_push_is_not_enough(desk, archived):  # noqa: F811
    desk.push(RIGHT, "cy")
    result = new_term(desk, archived)
    assert result.exit_code == 1
    assert "does not hold the ledger as it is now: repositories, submissions, pushes" in result.output
    assert (desk.university.course.folder / ".autograder" / "ledger.sqlite").is_file()


def test_an_archive_that_is_damaged_is_not_enough(desk, archived):  # noqa: F811
    whole = bytearray(archived.read_bytes())
    whole[len(whole) // 2] ^= 1
    archived.write_bytes(whole)
    result = new_term(desk, archived)
    assert result.exit_code == 1
    assert "is not sound" in result.output or "damaged" in result.output


def test_the_service_must_be_stopped(desk, archived):  # noqa: F811
    workers.start(desk.ledger.database, "grader-1:0", origin="", queues=["cpu"], version="1", now=now())
    result = new_term(desk, archived)
    assert result.exit_code == 1
    assert "stop it first" in result.output
    assert new_term(desk, archived, "--dry-run").exit_code == 0


def test_a_database_that_is_in_use_is_not_moved(desk, archived):  # noqa: F811
    state = desk.university.course.folder / ".autograder"
    with sqlite3.connect(state / "ledger.sqlite") as raw:
        raw.execute("BEGIN IMMEDIATE")
        result = new_term(desk, archived)
        raw.execute("ROLLBACK")
    assert result.exit_code == 1
    assert (state / "ledger.sqlite").is_file()
    with Ledger.open(f"sqlite:///{state / 'ledger.sqlite'}") as ledger:
        assert len(ledger.repositories()) == 2


@pytest.mark.parametrize("arguments", [(), ("--archive", "/nonexistent.zip")])
def test_an_archive_must_be_named(desk, arguments):  # noqa: F811
    assert run("course", "new-term", "--config", desk.university.config_file, *arguments).exit_code == 2
