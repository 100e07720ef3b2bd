"""The ledger's schema: how it is made, that a ledger of an earlier version opens with all that is in it."""

import contextlib
import json
import sqlite3
from pathlib import Path

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa

from autograder.ledger import Ledger, LedgerError, database, tables
from autograder.ledger.database import HEAD, VERSION_TABLE, parse_url, revisions, upgrade_to
from tests.ledgers import MAIN, Course, commit, everything, fill, problems, repository

DUMPS = Path(__file__).parent / "schemas"


def test_head_is_the_last_revision():
    assert revisions()[-1] == HEAD


def make(url, revision):
    """Bring a new database to a revision, and put a push into it as that revision would."""
    parsed = parse_url(url)
    if "sqlite" in parsed.drivername:
        Path(parsed.database).parent.mkdir()
    engine = sa.create_engine(parsed)
    time = "'2026-09-10 12:00:00.000000'"
    sha = commit("one")
    with engine.begin() as connection:
        upgrade_to(connection, revision)
        for statement in (
            "INSERT INTO repositories VALUES (1, 'git.uni.example', 'dls', 'a0-ann', :time)",
            "INSERT INTO submissions VALUES (1, 1, :sha, :time)",
            "INSERT INTO pushes VALUES (1, 1, 'git.uni.example', 'd', :ref, '', 'ann', '', :time)",
        ):
            connection.exec_driver_sql(
                statement.replace(":time", time).replace(":sha", f"'{sha}'").replace(":ref", f"'{MAIN}'")
            )
    engine.dispose()


@pytest.mark.parametrize("revision", revisions())
def test_an_older_schema_is_brought_up_to_date_with_all_that_is_in_it(new_url, revision):
    make(new_url, revision)
    with Ledger.open(new_url) as ledger:
        assert ledger.database.revision() == HEAD
        assert [push.delivery_id for push in ledger.history(repository()).pushes] == ["d"]
        assert [item.push.commit for item in ledger.unanswered()] == [commit("one")]
        assert problems(ledger) == []


def test_the_migrations_make_what_the_queries_expect(ledger):
    with ledger.database.reading() as connection:
        context = alembic.migration.MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert alembic.autogenerate.compare_metadata(context, tables.metadata) == []


def test_a_newer_schema_is_refused(new_url):
    with Ledger.open(new_url) as ledger, ledger.database.writing() as connection:
        connection.execute(sa.text("UPDATE ledger_version SET version_num = 'r9999'"))
    for create in (True, False):
        with pytest.raises(LedgerError, match=f"has schema r9999, and this autograder knows up to {HEAD}"):
            Ledger.open(new_url, create=create)


def test_a_migration_that_fails_leaves_nothing(new_url, monkeypatch):
    def fail(connection):
        upgrade_to(connection, "r0001")
        raise LedgerError("in the middle")

    monkeypatch.setattr(database, "_upgrade", fail)
    with pytest.raises(LedgerError, match="in the middle"):
        Ledger.open(new_url)
    monkeypatch.undo()
    with Ledger.open(new_url) as ledger:
        assert problems(ledger) == []


def test_the_triggers_cover_every_table():
    assert {*tables.ONLY_GROW, "jobs", "workers"} == set(tables.metadata.tables)


# a ledger of an earlier version -----------------------------------------------------------------------------


def load(name, url):
    """Make the database at `url` what a dump holds."""
    parsed = parse_url(url)
    statements = (DUMPS / f"{name}.{parsed.get_backend_name()}.sql").read_text()
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database).parent.mkdir()
        with contextlib.closing(sqlite3.connect(parsed.database)) as connection:
            connection.executescript(statements)
    else:
        engine = sa.create_engine(parsed, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.connection.driver_connection.execute(statements)
        engine.dispose()


@pytest.fixture
def opened(new_url, clock):
    """A ledger that the autograder wrote which made the dump, opened with this one."""
    load("r0003", new_url)
    with Ledger.open(new_url, clock=clock) as ledger:
        yield ledger


def test_a_ledger_of_an_earlier_version_opens_with_all_that_is_in_it(opened):
    assert everything(opened) == json.loads((DUMPS / "r0003.json").read_text())
    assert problems(opened) == []


def test_the_dump_holds_a_row_of_every_table(opened):
    with opened.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            assert connection.execute(table.select()).first(), table.name


def test_the_calls_that_made_the_dump_give_the_same_today(course):
    fill(course)
    assert everything(course.ledger) == json.loads((DUMPS / "r0003.json").read_text())


def test_a_ledger_of_an_earlier_version_goes_on(opened, clock):
    course = Course(opened, clock)
    clock.after(days=1)
    course.push("five", "bob")
    course.grade("five", 40, "bob")
    assert course.points() == {"ann": 50, "bob": 40}
    assert problems(opened) == []


def test_a_ledger_of_an_earlier_version_has_the_schema_of_a_new_one(opened, request):
    new, _ = request.getfixturevalue(f"{opened.database.url.get_backend_name()}_database")
    assert catalog(opened.database) == catalog(new)


def catalog(database):
    """Return what a database says about its tables, columns, indexes, constraints and triggers."""
    if database.file:
        queries = ["SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL"]
    else:
        queries = [
            "SELECT table_name, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'",
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
            "SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        ]
    with database.reading() as connection:
        return [
            sorted(
                tuple(" ".join(str(value).split()) for value in row)
                for row in connection.exec_driver_sql(query)
            )
            for query in queries
        ]
