"""The database under the ledger: its URL, its connections, its schema, and what its errors mean.

SQLite runs in WAL mode: readers never wait for the writer. Writers begin with BEGIN IMMEDIATE, so that they wait
for each other at the start and never fail half-way. `synchronous=FULL`: a webhook is answered with 2xx only when
the push is on disk, and NORMAL may lose the last commits at a power cut. It costs one fsync per write.
"""

import contextlib
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, SQLAlchemyError

from autograder.ledger.faults import BadUrl, LedgerBusy, LedgerError

HEAD = "r0003"  # the schema that this version of the code needs
VERSION_TABLE = "ledger_version"
BUSY_SECONDS = 60.0  # a backup, or a slow disk, may hold SQLite for many seconds
_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x6C6564676572  # "ledger"
_ALEMBIC = threading.Lock()  # Alembic keeps what it works on in a module


def mask(url: str) -> str:
    """Return a database URL without its password, however badly it is written."""
    url = re.sub(r"^([^:]*://[^:]*:).*@", r"\1***@", url, flags=re.DOTALL)
    return re.sub(r"(?i)([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*", r"\1***", url)


def parse_url(url: str, folder: Path | None = None) -> sa.URL:
    """Return the URL of a ledger: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`.

    Args:
        url: as written.
        folder: what a relative FILE is relative to; default: the current folder.

    Raises:
        BadUrl: it is neither.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # their messages may show the password
        raise BadUrl(f"{mask(url)!r} is no database URL; {_ALLOWED}") from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        # An unencoded '/' or '@' in a password moves the rest of it into the host or the database's name.
        if not re.fullmatch(r"[\w.:-]*", parsed.host or "") or not re.fullmatch(
            r"[\w.-]+", parsed.database or ""
        ):
            raise BadUrl(
                f"{mask(url)!r} has no sound host or database name; write '@' and '/' in a password as %40 and "
                f"%2F; {_ALLOWED}"
            )
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise BadUrl(f"the ledger cannot be in {mask(url)!r}; {_ALLOWED}")
    file = parsed.database
    if not file or file == ":memory:" or file.startswith("file:") or parsed.query or parsed.host:
        raise BadUrl(f"the ledger needs a file, and {mask(url)!r} names none; {_ALLOWED}")
    return parsed.set(drivername="sqlite+pysqlite", database=str((folder or Path.cwd()) / file))


_ALLOWED = "allowed are sqlite:///FILE and postgresql://USER@HOST/DATABASE"


class Database:
    """Connections to one ledger. Every error that leaves it is a LedgerError, and none shows a password."""

    def __init__(self, url: sa.URL, *, create: bool = True, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open the database at `url`, and bring its schema up to date.

        Args:
            url: from `parse_url`.
            create: make what is missing; else a ledger must be there, and its schema is left as it is.
            busy_seconds: how long to wait for other writers of an SQLite file.

        Raises:
            LedgerError: it cannot be opened, is no ledger, or was written by a newer autograder.
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
        """A transaction that sees one state of the database and writes nothing."""
        with self._errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes: all of it, or nothing."""
        with self._errors(), self._engine.connect() as connection:
            connection = connection.execution_options(ledger_writes=True)
            with connection.begin():
                yield connection

    def revision(self) -> str | None:
        """Return the schema's revision, None where there is no ledger."""
        with self.reading() as connection:
            return _revision(connection)

    # opening ---------------------------------------------------------------------------------------------

    def _prepare_file(self, file: Path, create: bool) -> None:
        """Make the file, readable for its owner only, and switch it to WAL mode once."""
        try:
            if create:
                file.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    # Only where there is none. To close a descriptor of a file drops all locks that this process has
                    # on it; another process would then take SQLite's journal away under our other connections.
                    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            elif not file.is_file():
                raise LedgerError(f"there is no ledger {file}; autograder serve makes it, or check the URL")
        except OSError as error:
            raise LedgerError(f"cannot make the ledger {file}: {error}; make its folder writable") from error
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
                    "PostgreSQL needs psycopg, which is not here: pip install 'autograder[postgres]'"
                ) from error
        # A connection must not be used on both sides of a fork.
        sa.event.listen(engine, "connect", _remember_process)
        sa.event.listen(engine, "checkout", _refuse_other_process)
        return engine

    def _migrate(self) -> None:
        if self.revision() == HEAD:
            return
        with self.writing() as connection:  # SQLite: whoever else starts now waits here
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            revision = _revision(connection)
            if revision != HEAD:
                self._require_known(revision)
                if revision is None and self.file and sa.inspect(connection).get_table_names():
                    raise LedgerError(f"{self.shown} is a database of something else; name another file")
                _upgrade(connection)

    def _require_ledger(self) -> None:
        revision = self.revision()
        if revision is None:
            raise LedgerError(f"{self.shown} holds no ledger; check the URL")
        self._require_known(revision)

    def _require_known(self, revision: str | None) -> None:
        if revision is not None and revision not in revisions():
            raise LedgerError(
                f"the ledger {self.shown} has schema {revision}, and this autograder knows up to {HEAD}: it was "
                "written by a newer one; install that: pip install --upgrade autograder"
            )

    # errors ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the driver raises into a LedgerError that says what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> LedgerError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        text = " ".join(self._scrubbed(str(cause)).split())
        here = f"the ledger {self.shown}"
        if self.file is None:
            return LedgerError(f"{here}: {text}; look at the PostgreSQL server and its log")
        for pattern, kind, message in _SQLITE_ERRORS:
            if re.search(pattern, text):
                return kind(message.format(here=here, file=self.file, seconds=self.busy_seconds))
        return LedgerError(f"{here}: {text}; look at it: autograder ledger check")

    def _scrubbed(self, text: str) -> str:
        """Return a driver's message without the password, should it hold that."""
        password = self.url.password
        return text.replace(str(password), "***") if password else text


_SQLITE_ERRORS: tuple[tuple[str, type[LedgerError], str], ...] = (
    (
        "locked|busy",
        LedgerBusy,
        "{here} was locked by another process for {seconds:g} s; see by which: fuser -v {file}",
    ),
    (
        "full|disk I/O error",
        LedgerError,
        "{here} cannot be written, its disk is full or broken: make room (df -h {file}), then run "
        "autograder ledger check",
    ),
    (
        "malformed|not a database",
        LedgerError,
        "{here} is damaged, or no ledger: restore a backup with autograder ledger restore --force FILE",
    ),
    ("readonly|unable to open", LedgerError, "{here} cannot be written; see who may: ls -la {file}*"),
)


def canonical(data: Any) -> str:
    """Return JSON text that is the same for the same data.

    Raises:
        ValueError, TypeError: `data` is not JSON; NaN is not.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def revisions() -> list[str]:
    """Return all revisions of the schema, oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(_MIGRATIONS))
    return [step.revision for step in script.walk_revisions()][::-1]


def upgrade_to(connection: sa.Connection, revision: str) -> None:
    """Run the steps that lead to `revision`, in the transaction that `connection` is in."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, revision)


def _upgrade(connection: sa.Connection) -> None:
    upgrade_to(connection, HEAD)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return None if found is None else str(found)


def _switch_to_wal(raw: sqlite3.Connection, deadline: float) -> None:
    """Switch a file to WAL mode. SQLite does not wait for others here by itself."""
    while raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            raw.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _configure_sqlite(raw: Any, _record: object) -> None:
    raw.isolation_level = None  # we begin transactions ourselves, see _begin_sqlite
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("PRAGMA recursive_triggers = ON")  # else REPLACE deletes rows behind the triggers' back
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
