"""What all tests share: settings of Hypothesis, short test ids, and fixtures of a ledger.

`ledger` is the same database in all tests of a process, emptied before each: making one costs more than most tests do.
It comes once on SQLite, and once on PostgreSQL where that can be started.
"""

import contextlib
import hashlib
import re
import sqlite3
import tempfile
from pathlib import Path

import hypothesis
import pytest

from autograder.ledger import Ledger, tables
from autograder.ledger.database import Database, parse_url
from tests.support import ROOT, chromium, postgres
from tests.support.engine import why_no_engine
from tests.support.ledgers import Clock, Semester
from tests.support.walls import why_no_wall

# Other programs may use the processors: how long an example takes says nothing about it.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")

MAX_PARAMETER = 40
MAX_TEST_ID = 200


def pytest_make_parametrize_id(config, val, argname):
    """Shorten a long text or number: its beginning, and a digest that tells it from others. The rest is pytest's."""
    if isinstance(val, int):
        text = hex(val)
    elif isinstance(val, bytes):
        text = val.decode("latin-1")
    elif isinstance(val, str):
        text = val
    else:
        return None
    if len(text) <= MAX_PARAMETER and text.isprintable():
        return None
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:6]
    words = re.findall(r"[A-Za-z0-9]+", text[:MAX_PARAMETER])
    return "-".join([*words, digest])


NEEDS = {
    "sandbox": why_no_wall,
    "docker": why_no_engine,
    "browser": chromium.missing,
    "postgres": postgres.missing,
}
"""What a machine may lack, by marker: returns the reason to skip, or an empty text."""
ROOMS = ("service", "release")
"""Folders whose tests have a marker of the same name: they start many processes, or compile."""


def pytest_collection_modifyitems(items):
    """Mark tests by their room; refuse ids that change between runs, and ids that nobody can read."""
    for item in items:
        for room in ROOMS:
            if item.path.is_relative_to(ROOT / "tests" / room):
                item.add_marker(room)
        if len(item.nodeid) > MAX_TEST_ID or re.search(r" at 0x[0-9a-f]+", item.nodeid):
            raise pytest.UsageError(f"give the parameters of this test shorter, stable ids: {item.nodeid}")


def pytest_runtest_setup(item):
    """Skip a test that needs what this machine lacks, with the reason."""
    for name, missing in NEEDS.items():
        if item.get_closest_marker(name) and missing():
            pytest.skip(missing())


@pytest.fixture(scope="session")
def postgresql_server():
    """A PostgreSQL server of our own."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_database():
    """A database on SQLite, and how to empty it."""
    with new_folder() as folder:
        Ledger.open(f"sqlite:///{folder / 'empty.sqlite'}").close()
        database = Database(parse_url(f"sqlite:///{folder / 'ledger.sqlite'}"))

        def empty():
            with (
                contextlib.closing(sqlite3.connect(folder / "empty.sqlite")) as source,
                contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as target,
            ):
                source.backup(target)

        yield database, empty
        database.close()


@pytest.fixture(scope="session")
def postgresql_database(postgresql_server):
    """A database on PostgreSQL, and how to empty it."""
    url = parse_url(postgresql_server.new_database())
    database = Database(url)
    names = ", ".join(tables.metadata.tables)

    def empty():
        # As a replica the server fires no triggers: it would refuse otherwise.
        postgresql_server.execute(
            f"SET session_replication_role = replica; TRUNCATE {names} RESTART IDENTITY", url.database
        )

    yield database, empty
    database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request):
    """An open database with an empty ledger, once on each."""
    database, empty = request.getfixturevalue(f"{request.param}_database")
    empty()
    return database


@pytest.fixture
def clock():
    """A clock that tests move."""
    return Clock()


@pytest.fixture
def ledger(database, clock):
    """An open, empty ledger, once on each database."""
    return Ledger(database, clock)


@pytest.fixture
def semester(ledger, clock):
    """Students who push, and a grader that grades, on `ledger`."""
    return Semester(ledger, clock)


@pytest.fixture
def folder():
    """A temporary folder, in memory where that can be had: a slow disk would make the tests slow."""
    with new_folder() as folder:
        yield folder


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def new_url(request, folder):
    """The URL of a database in which there is nothing yet, once on each."""
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'new' / 'ledger.sqlite'}"
    return request.getfixturevalue("postgresql_server").new_database()


@contextlib.contextmanager
def new_folder():
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=postgres.in_memory(50 * 2**20)) as name:
        yield Path(name)
