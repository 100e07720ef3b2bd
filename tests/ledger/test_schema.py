"""The ledger's schema: how it is created and upgraded, and that a ledger of an earlier version opens unchanged."""

import json

import alembic.autogenerate
import alembic.migration
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from autograder.cli import main
from autograder.ledger import AdjustmentKind, Ledger, LedgerError, schema, tables
from autograder.ledger.schema import HEAD, VERSION_TABLE, revisions
from tests.support.ledger_schemas import DUMPED, DUMPS, NEXT, add_step, everything, fill, load, make
from tests.support.ledgers import Semester, commit, problems, repository


def test_head_is_the_last_revision():
    assert revisions()[-1] == HEAD


@pytest.mark.parametrize("revision", revisions())
def test_an_older_schema_is_upgraded_with_its_data(new_url, revision, monkeypatch, tmp_path):
    make(new_url, revision)
    add_step(monkeypatch, tmp_path)
    with Ledger.open(new_url) as ledger:
        assert ledger.database.revision() == NEXT
        with ledger.database.reading() as connection:
            assert sa.inspect(connection).has_table("notes")
        assert [push.delivery_id for push in ledger.history(repository()).pushes] == ["d"]
        assert [item.push.commit for item in ledger.unsettled()] == [commit("one")]
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
    upgrade = schema.upgrade

    def fail(connection, to):
        upgrade(connection, to)
        raise LedgerError("in the middle")

    monkeypatch.setattr(schema, "upgrade", fail)
    with pytest.raises(LedgerError, match="in the middle"):
        Ledger.open(new_url)
    monkeypatch.undo()
    with Ledger.open(new_url) as ledger:
        assert problems(ledger) == []


def test_the_triggers_cover_every_table():
    assert {*tables.ONLY_GROW, "jobs", "workers", "losses"} == set(tables.metadata.tables)


# a ledger of an earlier version -----------------------------------------------------------------------------


@pytest.fixture(params=DUMPED)
def dumped(request):
    return request.param


@pytest.fixture
def opened(new_url, clock, dumped):
    """The ledger in the dump, which an earlier version wrote, opened by this one."""
    load(dumped, new_url)
    with Ledger.open(new_url, clock=clock) as ledger:
        yield ledger


def told(revision):
    return json.loads((DUMPS / f"{revision}.json").read_text())


def test_an_earlier_ledger_opens_with_all_its_data(opened, dumped):
    assert everything(opened, dumped) == told(dumped)
    assert problems(opened) == []


def test_the_command_finds_nothing_wrong_with_an_earlier_ledger(new_url, dumped):
    load(dumped, new_url)
    Ledger.open(new_url).close()
    result = CliRunner().invoke(main, ["ledger", "check", "--url", new_url])
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output


def test_the_dump_holds_a_row_of_every_table(opened, dumped):
    later = {"r0003": ("push_times", "own_commits", "losses", "adjustments"), "r0004": ("adjustments",)}
    with opened.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            if table.name not in later[dumped]:
                assert connection.execute(table.select()).first(), table.name


def test_the_calls_that_made_the_dump_give_the_same_today(semester, dumped):
    fill(semester, dumped)
    assert everything(semester.ledger, dumped) == told(dumped)


def test_an_earlier_ledger_can_be_written_to(opened, clock):
    semester = Semester(opened, clock)
    clock.after(days=1)
    semester.push("five", "bob")
    semester.grade("five", 40, "bob")
    adjust = AdjustmentKind.POINTS
    opened.add_adjustment(repository("bob"), "a0", adjust, points=2, who="okafor", why="a typing error")
    assert semester.points() == {"ann": 50, "bob": 40}
    assert problems(opened) == []


def test_an_earlier_ledger_has_the_schema_of_a_new_one(opened, request):
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
