"""The database under the ledger: its URL, its connections, how rows are inserted, and what its errors mean.

SQLite runs in WAL mode, so readers never wait for the writer. A transaction that writes starts with BEGIN IMMEDIATE:
writers wait for each other at the start, and no transaction fails half-way. The setting `synchronous=FULL` is needed,
because a webhook gets a 2xx response only once the push is on disk. With NORMAL, a power cut may lose the last
transactions. FULL costs one fsync per write.
"""

import contextlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, SQLAlchemyError

from autograder.ledger import schema
from autograder.ledger.faults import BadUrl, LedgerAway, LedgerBusy, LedgerError

BUSY_SECONDS = 60.0  # a backup or a slow disk may hold SQLite's lock for many seconds
_ADVISORY_LOCK = 0x6C6564676572  # "ledger"
_ALLOWED = "allowed are sqlite:///FILE and postgresql://USER@HOST/DATABASE"


def mask(url: str) -> str:
    """Return a database URL without its password, even if the URL is malformed."""
    url = re.sub(r"^([^:]*://[^:]*:).*@", r"\1***@", url, flags=re.DOTALL)
    return re.sub(r"(?i)([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*", r"\1***", url)


def parse_url(url: str, folder: Path | None = None) -> sa.URL:
    """Return the URL of a ledger: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`.

    Args:
        url: as it is written in the configuration.
        folder: a relative FILE is relative to this folder; default: the current one.

    Raises:
        BadUrl: `url` has neither form.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # their messages may show the password
        raise BadUrl(f"{mask(url)!r} is not a database URL; {_ALLOWED}") from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        # An unencoded '/' or '@' in a password moves the rest of the password into the host or the database name.
        if not re.fullmatch(r"[\w.:-]*", parsed.host or "") or not re.fullmatch(
            r"[\w.-]+", parsed.database or ""
        ):
            raise BadUrl(
                f"{mask(url)!r} has no valid host or database name; in a password, write '@' as %40 and '/' as "
                f"%2F; {_ALLOWED}"
            )
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise BadUrl(f"the ledger cannot be in {mask(url)!r}; {_ALLOWED}")
    file = parsed.database
    if not file or file == ":memory:" or file.startswith("file:") or parsed.query or parsed.host:
        raise BadUrl(f"the ledger needs a file, and {mask(url)!r} names no file; {_ALLOWED}")
    return parsed.set(drivername="sqlite+pysqlite", database=str((folder or Path.cwd()) / file))


class Database:
    """The connections to one ledger. Every error it raises is a LedgerError, whose message shows no password."""

    def __init__(self, url: sa.URL, *, create: bool = True, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open the database at `url`, and bring its schema up to date.

        Args:
            url: from `parse_url`.
            create: create what is missing. If False, there must be a ledger, and its schema is left unchanged.
            busy_seconds: how long to wait for other writers of an SQLite file.

        Raises:
            LedgerError: the database cannot be opened, is not a ledger, or was written by a newer autograder.
        """
        self.url = url
        self.shown = mask(url.render_as_string(hide_password=True))
        self.busy_seconds = busy_seconds
        self.file = Path(str(url.database)) if url.drivername.startswith("sqlite") else None
        if self.file:
            self._prepare_file(self.file, create)
        self._engine = self._make_engine()
        try:
            if create:
                self._migrate()
            else:
                self._require_ledger()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees one state of the database and writes nothing."""
        with self._errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that writes all of its changes or none of them."""
        with self._errors(), self._engine.connect() as connection:
            connection = connection.execution_options(ledger_writes=True)
            with connection.begin():
                yield connection

    def now(self) -> datetime:
        """Return the present moment by the clock of the database, which all machines share; on SQLite, by this one's.

        Raises:
            LedgerError: the database does not answer.
        """
        if self.file:
            return datetime.now(timezone.utc)
        with self.reading() as connection:
            found: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return found.astimezone(timezone.utc)

    def revision(self) -> str | None:
        """Return the schema's revision, or None if there is no ledger."""
        with self.reading() as connection:
            return schema.revision(connection)

    # opening ---------------------------------------------------------------------------------------------

    def _prepare_file(self, file: Path, create: bool) -> None:
        """Create the file, readable by its owner only, and switch it to WAL mode once."""
        try:
            if create:
                file.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    # O_EXCL: never open a file that exists. Closing a descriptor of the file drops all locks that this
                    # process holds on the file. Another process could then remove SQLite's journal while our other
                    # connections still use the journal.
                    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            elif not file.is_file():
                raise LedgerError(
                    f"there is no ledger {file}; autograder serve creates it, or correct the URL"
                )
        except OSError as error:
            raise LedgerError(
                f"cannot create the ledger {file}: {error}; make its folder writable"
            ) from error
        with self._errors(), contextlib.closing(sqlite3.connect(file, timeout=self.busy_seconds)) as raw:
            if create:
                _switch_to_wal(raw, time.monotonic() + self.busy_seconds)
            else:
                raw.execute("SELECT count(*) FROM sqlite_master")

    def _make_engine(self) -> sa.Engine:
        common: dict[str, Any] = {"hide_parameters": True, "json_serializer": canonical}
        if self.file:
            engine = sa.create_engine(self.url, connect_args={"timeout": self.busy_seconds}, **common)
            sa.event.listen(engine, "connect", _configure_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
        else:
            try:
                engine = sa.create_engine(
                    self.url, pool_pre_ping=True, connect_args={"connect_timeout": 10}, **common
                )
            except ModuleNotFoundError as error:
                raise LedgerError(
                    "PostgreSQL needs psycopg, which is not installed: pip install 'autograder[postgres]'"
                ) from error
        # A connection must not be used by both processes after a fork.
        sa.event.listen(engine, "connect", _remember_process)
        sa.event.listen(engine, "checkout", _refuse_other_process)
        return engine

    def _migrate(self) -> None:
        if self.revision() == schema.HEAD:
            return
        with self.writing() as connection:  # on SQLite, other processes that start now wait here
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            revision = schema.revision(connection)
            if revision != schema.HEAD:
                self._require_known(revision)
                if revision is None and self.file and sa.inspect(connection).get_table_names():
                    raise LedgerError(
                        f"{self.shown} is a database of another program; name another file in the URL"
                    )
                schema.upgrade(connection, schema.HEAD)

    def _require_ledger(self) -> None:
        revision = self.revision()
        if revision is None:
            raise LedgerError(f"{self.shown} holds no ledger; correct the URL")
        self._require_known(revision)

    def _require_known(self, revision: str | None) -> None:
        if revision is not None and revision not in schema.revisions():
            raise LedgerError(
                f"the ledger {self.shown} has schema {revision}, and this autograder knows up to {schema.HEAD}: "
                "a newer version wrote it; install that one: pip install --upgrade autograder"
            )

    # errors ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn an error of the driver into a LedgerError that says what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> LedgerError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        text = " ".join(self._scrubbed(str(cause)).split())
        here = f"the ledger {self.shown}"
        if self.file is None:
            kind = LedgerAway if is_away(text) else LedgerError
            return kind(f"{here}: {text}; look at the PostgreSQL server and its log")
        for pattern, kind, message in _SQLITE_ERRORS:
            if re.search(pattern, text):
                return kind(message.format(here=here, file=self.file, seconds=self.busy_seconds))
        return LedgerError(f"{here}: {text}; run autograder ledger check")

    def _scrubbed(self, text: str) -> str:
        """Return a driver's message with the password masked, if the message holds it."""
        password = self.url.password
        return text.replace(str(password), "***") if password else text


_SQLITE_ERRORS: tuple[tuple[str, type[LedgerError], str], ...] = (
    (
        "locked|busy",
        LedgerBusy,
        "{here} was locked by another process for {seconds:g} s; find out which one: fuser -v {file}",
    ),
    (
        "full|disk I/O error",
        LedgerError,
        "{here} cannot be written, its disk is full or broken: free some space (df -h {file}), then run "
        "autograder ledger check",
    ),
    (
        "malformed|not a database",
        LedgerError,
        "{here} is damaged, or not a ledger: restore a backup with autograder ledger restore --force FILE",
    ),
    (
        "readonly|unable to open",
        LedgerError,
        "{here} cannot be written; look at its permissions: ls -la {file}*",
    ),
)


def is_away(text: str) -> bool:
    """Whether an error message of PostgreSQL or its driver says that the server cannot be reached at the moment.

    FATAL is a message of the server itself: it has answered, for instance that it does not know the database.
    """
    if "FATAL" in text:
        return re.search(r"starting up|shutting down|recovery|too many clients", text) is not None
    return (
        re.search(r"connection|connect|timeout|could not (?:translate|receive)|server closed", text)
        is not None
    )


def canonical(data: Any) -> str:
    """Return JSON text that is the same for equal data.

    Raises:
        ValueError, TypeError: `data` is not JSON, for instance because it holds NaN.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


# inserting ---------------------------------------------------------------------------------------------------


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that can handle conflicts. Each dialect of SQL has its own class for it."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def insert_new(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> int | None:
    """Insert a row and return its id, or None if a unique constraint shows that the row exists."""
    statement = insert(connection, table).values(**values).on_conflict_do_nothing().returning(table.c.id)
    found: int | None = connection.execute(statement).scalar()
    return found


def ensure(
    connection: sa.Connection, table: sa.Table, key: Mapping[str, Any], rest: Mapping[str, Any]
) -> int:
    """Return the id of the row with this key, and lock the row. A missing row is first made of `key` and `rest`."""
    insert_new(connection, table, {**key, **rest})
    where = [table.c[column] == value for column, value in key.items()]
    found: int = connection.execute(sa.select(table.c.id).where(*where).with_for_update()).scalar_one()
    return found


# SQLite ------------------------------------------------------------------------------------------------------


def _switch_to_wal(raw: sqlite3.Connection, deadline: float) -> None:
    """Switch a file to WAL mode. SQLite's own timeout does not apply here, so wait for other processes."""
    while raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            raw.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _configure_sqlite(raw: Any, _record: object) -> None:
    raw.isolation_level = None  # transactions begin in _begin_sqlite
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("PRAGMA recursive_triggers = ON")  # without it, REPLACE deletes rows and no trigger fires
    raw.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("ledger_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _remember_process(_raw: object, record: Any) -> None:
    record.info["process"] = os.getpid()


def _refuse_other_process(_raw: object, record: Any, proxy: Any) -> None:
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError("this connection belongs to another process")
