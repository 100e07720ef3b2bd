"""Maintenance of a ledger: backup, restore and check.

A backup is one SQLite file. It is copied page by page while the service continues (SQLite's online backup), and then
verified. A rename puts it in place at the end, so there is never an incomplete backup. PostgreSQL has its own tools for
backup and restore, `pg_dump` and `pg_restore`; `snapshot` and `check` work on both databases.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import sqlalchemy as sa

from autograder.ledger import invariants, schema, tables
from autograder.ledger.database import BUSY_SECONDS, Database
from autograder.ledger.faults import LedgerError
from autograder.ledger.invariants import Invariant

_PAGES = 1000  # the number of pages copied at a time; others may write between two batches


def backup(url: sa.URL, target: Path, *, force: bool = False) -> int:
    """Copy the ledger at `url` to the file `target` while others use it. Returns the size in bytes.

    Raises:
        LedgerError: the ledger is on PostgreSQL; or `target` exists and `force` is False; or the copy is damaged.
    """
    source = _file_of(url, f"pg_dump --format=custom --file={target} DATABASE")
    if not source.is_file():
        raise LedgerError(f"there is no ledger {source}; autograder serve creates it, or correct the URL")
    if target.exists() and (not force or target.samefile(source)):
        raise LedgerError(f"{target} exists already; name another file, or pass --force to replace it")
    # In mode rw, SQLite removes the files that WAL mode keeps beside the ledger.
    with _copied(source, target.parent, mode="rw") as copy:
        _verify(copy)
        copy.replace(target)
        _sync_folder(target.parent)
    return target.stat().st_size


def snapshot(url: sa.URL, target: Path) -> None:
    """Write the ledger at `url` to the file `target`, as a ledger on SQLite, while others use it.

    A ledger on PostgreSQL is read in one transaction, row by row.

    Raises:
        LedgerError: there is no ledger, its schema is not that of this autograder, or the copy is damaged.
    """
    source = Database(url, create=False)
    try:
        if source.revision() != schema.HEAD:
            raise LedgerError(
                f"{source.shown} has schema {source.revision()}, but {schema.HEAD} is needed: the next start of the "
                "service upgrades it"
            )
        if source.file:
            backup(url, target)
            return
        copy = Database(sa.URL.create("sqlite+pysqlite", database=str(target)))
        try:
            _copy_rows(source, copy)
        finally:
            copy.close()
    finally:
        source.close()
    with contextlib.closing(sqlite3.connect(target)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")  # a single file that can be moved
    _verify(target)


def _copy_rows(source: Database, copy: Database) -> None:
    """Copy all rows of one state of a database. The workers are left out, which are no history."""
    with source.reading() as old, copy.writing() as new:
        old.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in tables.metadata.sorted_tables:
            if table is tables.workers:
                continue
            rows = old.execution_options(yield_per=_PAGES).execute(
                sa.select(table).order_by(*table.primary_key)
            )
            for part in rows.partitions():
                new.execute(table.insert(), [dict(row._mapping) for row in part])


def restore(url: sa.URL, source: Path, *, force: bool = False) -> Path | None:
    """Replace the ledger at `url` by the backup `source`. Returns the new path of the old ledger, if there was one.

    Stop the service first, since nobody may use the ledger. The old ledger is renamed in its folder, never deleted.

    Raises:
        LedgerError: the ledger is on PostgreSQL; or there is a ledger and `force` is False; or `source` is damaged, is
            not a backup, or was written by a newer autograder. In each of these cases nothing has changed.
    """
    target = _file_of(url, "pg_restore --dbname=DATABASE FILE")
    if not source.is_file():
        raise LedgerError(f"there is no backup {source}; name a file that autograder ledger backup wrote")
    exists = target.exists() and target.stat().st_size > 0
    if exists and source.samefile(target):
        raise LedgerError(f"{source} is the ledger itself; name a backup")
    if exists and not force:
        raise LedgerError(
            f"there is a ledger {target}; stop the service, then pass --force: it is renamed, not deleted"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"cannot restore to {target}: {error}") from error
    # Mode ro, because the backup may be on a read-only medium.
    with _copied(source, target.parent, mode="ro") as copy:
        _verify(copy)
        aside = _set_aside(target) if exists else None
        try:
            copy.replace(target)
        except OSError as error:
            raise LedgerError(f"cannot restore to {target}: {error}; the old ledger is {aside}") from error
        _sync_folder(target.parent)
    return aside


def _file_of(url: sa.URL, instead: str) -> Path:
    if not url.drivername.startswith("sqlite"):
        raise LedgerError(f"use PostgreSQL's own tools for a ledger on PostgreSQL: {instead}")
    return Path(str(url.database))


@contextlib.contextmanager
def _copied(source: Path, folder: Path, *, mode: str) -> Iterator[Path]:
    """Make a private copy of the database `source` in `folder`, and remove it at the end unless it was renamed."""
    copy = None
    uri = f"{source.resolve().as_uri()}?mode={mode}"
    try:
        descriptor, name = tempfile.mkstemp(prefix=".ledger-", suffix=".part", dir=folder)
        os.close(descriptor)
        copy = Path(name)
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as old,
            contextlib.closing(sqlite3.connect(copy)) as new,
        ):
            old.backup(new, pages=_PAGES)
            new.execute("PRAGMA journal_mode = DELETE")  # a single file that can be moved
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        yield copy
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(
            f"cannot copy {source} to {folder}: {error}; look at the disk: df -h {folder}"
        ) from error
    finally:
        if copy:
            for leftover in (copy, Path(f"{copy}-journal"), Path(f"{copy}-wal"), Path(f"{copy}-shm")):
                leftover.unlink(missing_ok=True)


def _verify(copy: Path) -> None:
    """Refuse a file that is damaged, is not a ledger, or has a newer schema."""
    with contextlib.closing(sqlite3.connect(copy)) as raw:
        problems = [*invariants.file_problems(raw.execute), *invariants.foreign_key_problems(raw.execute)]
        if problems:
            raise LedgerError(f"this copy is damaged: {problems[0]}; take another backup")
        try:
            row = raw.execute(f"SELECT version_num FROM {schema.VERSION_TABLE}").fetchone()  # noqa: S608
        except sqlite3.OperationalError:
            row = None
    if row is None:
        raise LedgerError(
            "this file is a database, but not a ledger; name a file that autograder ledger backup wrote"
        )
    if row[0] not in schema.revisions():
        raise LedgerError(
            f"this file has schema {row[0]}, and this autograder knows up to {schema.HEAD}: install the newer version "
            "that wrote it"
        )


def _set_aside(target: Path) -> Path:
    """Rename the ledger at `target` in its folder, see `set_aside`."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    return set_aside(target, target.with_name(f"{target.name}.before-restore-{stamp}"))


def set_aside(target: Path, aside: Path) -> Path:
    """Rename a database on SQLite, such as a ledger, and the files that belong to it; return the new path.

    Raises:
        LedgerError: somebody uses it.
    """
    try:
        with contextlib.closing(sqlite3.connect(target, timeout=1.0)) as raw:
            # Leaving WAL mode requires exclusive use of the file, and moves everything from the WAL into it.
            raw.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise LedgerError(f"{target} is in use; stop the service: fuser -v {target}") from error
    except sqlite3.DatabaseError:
        pass  # the old ledger is damaged, which may be why it is replaced; its files are kept unchanged
    for suffix in ("-wal", "-shm", ""):
        part = Path(f"{target}{suffix}")
        if part.exists():
            shutil.move(part, f"{aside}{suffix}")
    return aside


def _sync_folder(folder: Path) -> None:
    """Make the renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(url: sa.URL) -> list[Invariant]:
    """Examine everything that must hold in the ledger at `url`, without changing it.

    Raises:
        LedgerError: there is no ledger, or it cannot be read at all.
    """
    database = Database(url, create=False)
    try:
        return check_database(database)
    finally:
        database.close()


def check_database(database: Database) -> list[Invariant]:
    """Examine an open database in the same way as `check`."""
    revision = database.revision()
    if revision != schema.HEAD:
        problem = f"is {revision}, but {schema.HEAD} is needed: the next start of the service upgrades it"
        return [Invariant("schema", (problem,))]
    with database.reading() as connection:
        return invariants.examine(connection)
