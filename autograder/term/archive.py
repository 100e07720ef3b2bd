"""The archive of a course: one file with everything that its grades follow from, and how to check it.

    manifest.json     what is in the archive, with the sha256 of each file
    ledger.sqlite     the ledger, also if the course has it on PostgreSQL
    secret            the course secret, without which nobody can repeat the inputs or check a seal
    suites.json       the digests of all suites and references that graded, with the numbers of their reports
    config/…          autograder.toml, and the files of extensions and the roster that it names
    grades.csv, grades.json     the gradebook as it was derived when the archive was made
    README.txt        what this is, for whoever finds it

`check` compares each file with the manifest, examines the ledger, and derives the gradebook again from the ledger and
the configuration in the archive. An archive is read with bounds, and nothing in it decides where a file is written.
"""

import hashlib
import json
import lzma
import os
import shutil
import sqlite3
import subprocess
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import sqlalchemy as sa

from autograder import __version__, config
from autograder.config import Config
from autograder.course.course import Course
from autograder.course.gradebook import gradebook
from autograder.course.gradebook_files import csv_text, json_text
from autograder.errors import ConfigError, GraderError
from autograder.git.process import closed_environment
from autograder.ledger import Ledger, maintenance
from autograder.ledger.database import Database, parse_url
from autograder.ledger.invariants import Invariant
from autograder.service import belonging
from autograder.submission import digest, read_tree

FORMAT = 1
MANIFEST, LEDGER, SECRET, SUITES, README = (
    *("manifest.json", "ledger.sqlite", "secret"),
    *("suites.json", "README.txt"),
)
GRADES, GRADES_TABLE = "grades.json", "grades.csv"
CONFIG = "config/"
MAX_BYTES = 20 << 30  # of the ledger in an archive, unpacked
MAX_SMALL_BYTES = 256 << 20  # of one that is read into memory
MAX_FILES = 1000
MAX_NAMED = 20  # files that are named although the manifest does not know them
SPARE_BYTES = 1 << 30  # of the disk, which an archive that is unpacked must leave
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Archived:
    """What an archive holds, for people: lines such as `ledger.sqlite  1.2 MB`, and what is not in it."""

    size: int
    lines: tuple[str, ...]
    missing: tuple[str, ...]


def is_archive(file: Path) -> bool:
    """Whether a file has the form of an archive."""
    return file.is_file() and zipfile.is_zipfile(file)


# writing -----------------------------------------------------------------------------------------------------


def write(
    settings: Config,
    config_file: Path,
    target: Path,
    now: datetime,
    *,
    secret: bool = True,
    force: bool = False,
) -> Archived:
    """Write the archive of a course. The service may run. There is never an incomplete archive.

    Args:
        settings: the configuration.
        config_file: the file that it was read from.
        target: the file to write; only its owner may read it.
        now: the present moment.
        secret: whether the course secret is put in.
        force: replace the file if it exists.

    Raises:
        GraderError: the file exists or cannot be written, or the ledger cannot be read.
    """
    if target.exists() and not force:
        raise GraderError(f"{target} exists already; name another file, or pass --force to replace it")
    url = parse_url(settings.ledger_url(), settings.path("."))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".autograder-archive-", dir=target.parent) as name:
            folder = Path(name)
            missing = list(_gather(settings, config_file, url, folder, now, secret=secret))
            draft = folder.parent / f"{folder.name}.zip"
            try:
                lines = _pack(folder, draft, settings, now)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise GraderError(f"cannot write {target}: {error}; free disk space, or name another file") from error
    return Archived(target.stat().st_size, tuple(lines), tuple(missing))


def _gather(
    settings: Config, config_file: Path, url: sa.URL, folder: Path, now: datetime, *, secret: bool
) -> Iterator[str]:
    """Put everything into a folder; yield what is missing, a line each."""
    maintenance.snapshot(url, folder / LEDGER)
    if secret:
        try:
            _put(folder / SECRET, settings.secret(make=False) + b"\n")
        except ConfigError as error:
            yield f"the course secret: {error}"
    else:
        yield "the course secret: keep it, or the seals of feedback cannot be checked"
    files = {}
    for key, path in _named(settings, config_file).items():
        files[key] = f"{CONFIG}{_place(key)}"
        try:
            _put(folder / files[key], path.read_bytes())
        except OSError as error:
            del files[key]
            yield f"{path}: {error.strerror}"
    with Ledger.open(f"sqlite:///{folder / LEDGER}", create=False) as ledger:
        book = gradebook(ledger, Course.of(settings), now, cases=True)
        _put(folder / SUITES, _json({"graded": _graded(ledger), "now": _suites(settings)}))
    _put(folder / GRADES, json_text(book).encode())
    _put(folder / GRADES_TABLE, csv_text(book).encode("utf-8-sig"))
    _put(folder / README, _readme(settings, now).encode())
    _put(folder / MANIFEST, _json({"files": files}))


def _named(settings: Config, config_file: Path) -> dict[str, Path]:
    """Return the files that decide about grades, as the configuration writes them."""
    found = {config_file.name: config_file}
    names = [settings.course.roster, *(each.extensions_file for each in settings.assignments.values())]
    return found | {name: settings.path(name) for name in names if name}


def _place(key: str) -> str:
    """Return where a file of the configuration is in the archive. A path that leads elsewhere keeps its name alone."""
    parts = PurePosixPath(key.replace("\\", "/")).parts
    safe = bool(parts) and all(part not in ("..", "/") and ":" not in part for part in parts)
    if safe:
        return "/".join(parts)
    return f"elsewhere/{hashlib.sha256(key.encode()).hexdigest()[:8]}-{parts[-1]}"


def _pack(folder: Path, draft: Path, settings: Config, now: datetime) -> list[str]:
    """Write the folder into one file, with the manifest; return a line for each file."""
    given = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).unlink()
    members = {}
    lines = []
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                name = path.relative_to(folder).as_posix()
                members[name] = {"sha256": _sha256(path), "bytes": path.stat().st_size}
                packed.write(path, name)
                lines.append(f"{name}: {path.stat().st_size} bytes")
            manifest = {
                "format": FORMAT,
                "course": settings.course.name,
                "made": now.isoformat(timespec="seconds"),
                "autograder": __version__,
                "commit": _commit(settings.path(".")),
                "assignments": list(settings.assignments),
                "config": given["files"],
                "files": members,
            }
            packed.writestr(MANIFEST, _json(manifest))
        file.flush()
        os.fsync(file.fileno())
    return lines


def _graded(ledger: Ledger) -> list[dict[str, Any]]:
    """Return which suites and references graded, as the reports say."""
    keys = ("suite_digest", "reference_digest", "grader_version")
    counts: dict[tuple[str, ...], int] = {}
    for assignment, provenance in ledger.provenances():
        key = (assignment, *(str(provenance.get(name) or "") for name in keys))
        counts[key] = counts.get(key, 0) + 1
    return [
        {"assignment": key[0], **dict(zip(keys, key[1:], strict=True)), "reports": number}
        for key, number in sorted(counts.items())
    ]


def _suites(settings: Config) -> dict[str, dict[str, str]]:
    """Return the digests of the suites and of the reference as they are on this machine, as reports name them."""
    found = {}
    try:
        reference = digest(read_tree(settings.path(settings.reference)))
    except Exception:  # noqa: BLE001 (a machine without the reference can archive, too)
        reference = ""
    for name, assignment in settings.assignments.items():
        suite = settings.path(assignment.suite)
        files = {path.name: path.read_bytes() for path in sorted(suite.glob("*.py"))}
        found[name] = {"suite_digest": digest(files) if files else "", "reference_digest": reference}
    return found


def _commit(folder: Path) -> str:
    """Return the commit of the course's own repository, with `+` if files differ from it; empty if it is not in git."""
    environment = closed_environment({"safe.directory": "*"})
    found = []
    for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return ""
        found.append(done.stdout.strip())
    return found[0] + ("+" if found[1] else "")


def _readme(settings: Config, now: datetime) -> str:
    name = settings.course.name or "a course"
    return f"""The archive of {name}, made on {now:%Y-%m-%d} by autograder {__version__}.

It holds personal data and the course secret: keep it as carefully as the grades themselves, and delete it when the
rules of your university say so. Nothing else of the course is needed to read the grades:

    grades.csv                            opens in a spreadsheet program
    autograder ledger check FILE          checks every file, the ledger, and that the grades follow from it

manifest.json names each file. The submissions are not in it: they are in the students' repositories, and in what
`autograder collect` wrote.
"""


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def _sha256(path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            whole.update(block)
    return whole.hexdigest()


# checking ----------------------------------------------------------------------------------------------------


_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(ValueError, KeyError, TypeError, AttributeError, OverflowError),
    *(NotImplementedError, RuntimeError),  # a way of packing that is not known; a file with a password
    RecursionError,
)
"""What a file can raise that a stranger made."""


@contextmanager
def opened(file: Path) -> Iterator[tuple[dict[str, Any], Path, list[str]]]:
    """Unpack an archive into a private folder; yield its manifest, the folder, and what differs from the manifest.

    Raises:
        GraderError: it is not an archive, or one of a later version.
    """
    with tempfile.TemporaryDirectory(prefix="autograder-archive-") as name:
        folder, problems = Path(name), []
        try:
            with zipfile.ZipFile(file) as packed:
                manifest = _manifest(packed)
                members: Mapping[str, Any] = manifest["files"]
                names = Counter(packed.namelist())
                strangers = names.keys() - {*members, MANIFEST}
                problems += [
                    f"{name!a:.100} is not in the manifest" for name in sorted(strangers)[:MAX_NAMED]
                ]
                problems += [f"{name!a:.100} is there twice" for name, number in names.items() if number > 1]
                _require_space(members, folder)
                for name, about in members.items():
                    problems += _unpack(packed, name, about, folder)
        except _UNREADABLE as error:
            raise GraderError(f"{file} is not an archive of a course, or is damaged: {error}") from error
        yield manifest, folder, problems


def _manifest(packed: zipfile.ZipFile) -> dict[str, Any]:
    about = packed.getinfo(MANIFEST)
    if about.file_size > MAX_SMALL_BYTES:
        raise ValueError("the manifest is too large")
    manifest = json.loads(packed.read(MANIFEST))
    if manifest["format"] != FORMAT:
        raise GraderError(
            f"this archive has the format {manifest['format']!r:.20}, and this autograder knows {FORMAT}: install the "
            "newer version that wrote it"
        )
    if len(manifest["files"]) > MAX_FILES:
        raise ValueError("it names too many files")
    for key in ("files", "config"):
        for name in (*manifest[key].values(), *manifest[key]) if key == "config" else manifest[key]:
            if not isinstance(name, str):
                raise TypeError(f"{key} holds no names")
    for name in (*manifest["files"], *manifest["config"].values()):
        parts = PurePosixPath(name).parts
        if (
            not parts
            or name != "/".join(parts)
            or ".." in parts
            or "\\" in name
            or ":" in name
            or "\0" in name
            or (name != LEDGER and name.casefold().startswith(LEDGER))  # a journal: SQLite does what it says
        ):
            raise ValueError(f"{name!a:.100} is not a name that an archive has")
    return dict(manifest)


def _require_space(members: Mapping[str, Any], folder: Path) -> None:
    """Refuse an archive that would fill the disk, before anything is unpacked: a small file may stand for a huge one.

    Raises:
        GraderError: it would.
        ValueError: a file is larger than any archive has it.
    """
    sizes = {name: int(about["bytes"]) for name, about in members.items()}
    for name, size in sizes.items():
        if not 0 <= size <= (MAX_BYTES if name == LEDGER else MAX_SMALL_BYTES):
            raise ValueError(f"{name!a:.100} is too large")
    whole, free = sum(sizes.values()), shutil.disk_usage(folder).free
    if whole + SPARE_BYTES > free:
        raise GraderError(
            f"this archive has {whole >> 20} MiB when it is unpacked, and {folder.parent} has {free >> 20} MiB left: "
            "let TMPDIR name a folder on a larger disk"
        )


def _unpack(packed: zipfile.ZipFile, name: str, about: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Write one file into the folder; yield how it differs from the manifest."""
    try:
        info = packed.getinfo(name)
    except KeyError:
        yield f"{name} is missing"
        return
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    whole, size = hashlib.sha256(), 0
    limit = int(about["bytes"])
    try:
        with packed.open(info) as source, path.open("wb") as file:
            while block := source.read(_BLOCK):
                size += len(block)
                if size > limit:
                    break
                whole.update(block)
                file.write(block)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        yield f"{name} cannot be read: {error}"
        return
    if size != about["bytes"] or whole.hexdigest() != about["sha256"]:
        yield f"{name} is not what was archived"


def check(file: Path) -> list[Invariant]:
    """Examine an archive: its files, its ledger, and whether the grades follow from it. Nothing is changed.

    Raises:
        GraderError: it is not an archive, or its ledger cannot be read at all.
    """
    with opened(file) as (manifest, folder, problems):
        found = [Invariant("the files are what was archived", tuple(problems))]
        _refuse_programs(folder / LEDGER)
        database = Database(parse_url(f"sqlite:///{folder / LEDGER}"), create=(folder / LEDGER).is_file())
        try:
            found += maintenance.check_database(database)
        finally:
            database.close()
        with Ledger.open(f"sqlite:///{folder / LEDGER}") as ledger:
            found.append(
                Invariant("the secret is that of the ledger", tuple(_secret_problems(folder, ledger)))
            )
            found.append(
                Invariant(
                    "the grades follow from the ledger", tuple(_grade_problems(manifest, folder, ledger))
                )
            )
    return found


def _refuse_programs(ledger: Path) -> None:
    """Refuse a database with views or virtual tables. A ledger has none, and reading one may take forever.

    Raises:
        GraderError: it has one.
    """
    if not ledger.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True)) as raw:
            raw.text_factory = bytes
            odd = raw.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'view' OR (type = 'table' AND rootpage = 0)"
            ).fetchone()[0]
    except sqlite3.Error:  # the check of the ledger says what is wrong
        return
    if odd:
        raise GraderError(
            f"the database in this archive has {odd} views or virtual tables, and a ledger has none: it was changed"
        )


def _secret_problems(folder: Path, ledger: Ledger) -> Iterator[str]:
    known = belonging.recorded(ledger)
    if (folder / SECRET).is_file() and known is not None:
        secret = (folder / SECRET).read_bytes().strip()
        if belonging.fingerprint(secret) != known:
            yield "it is another one"


def _grade_problems(manifest: Mapping[str, Any], folder: Path, ledger: Ledger) -> Iterator[str]:
    """Derive the gradebook from what is in the archive, and yield how it differs from the one in the archive."""
    try:
        archived = json.loads((folder / GRADES).read_bytes())
        made = datetime.fromisoformat(archived["made"])
        book = gradebook(ledger, Course.of(_settings(manifest, folder)), made, cases=True)
        before, again = _rows(archived), _rows(json.loads(json_text(book)))
    except FileNotFoundError:
        yield "there are no grades"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"they cannot be read: {error}"
    except GraderError as error:
        yield f"they cannot be derived: {error}"
    else:
        yield from (
            f"the row of {name} differs"
            for name in dict.fromkeys([*before, *again])
            if before.get(name) != again.get(name)
        )


def _rows(book: Mapping[str, Any]) -> dict[str, Any]:
    """Return the students of a gradebook by id. Notes are left out: they may name files by their place."""
    rows = {}
    for row in book["students"]:
        entries = {name: {**entry, "note": ""} for name, entry in row["assignments"].items()}
        rows[str(row["id"])] = {**row, "assignments": entries}
    return rows


def _settings(manifest: Mapping[str, Any], folder: Path) -> Config:
    """Return the configuration in an archive. Its files are those of the archive, wherever they were."""
    places: Mapping[str, str] = manifest["config"]
    first = next(iter(places.values()))
    settings = config.load(folder / first, environment={})

    def moved(name: str) -> str:
        """Return the place of a file in the archive; without one, where no file is: never one of this machine."""
        return str(folder / places.get(name, "missing")) if name else ""

    return msgspec.structs.replace(
        settings,
        course=msgspec.structs.replace(settings.course, roster=moved(settings.course.roster)),
        assignments={
            name: msgspec.structs.replace(each, extensions_file=moved(each.extensions_file))
            for name, each in settings.assignments.items()
        },
    )
