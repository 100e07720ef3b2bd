"""`autograder course archive`, and `autograder ledger check` of an archive."""

import hashlib
import json
import re
import shutil
import sqlite3
import zipfile

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.errors import GraderError
from autograder.ledger import AdjustmentKind, Ledger
from autograder.ledger.database import parse_url
from autograder.ledger.maintenance import check, snapshot
from autograder.service import belonging
from autograder.term import archive
from tests.support.desk import Desk
from tests.support.ledgers import Clock, Semester, repository
from tests.support.university import HALF, RIGHT, University
from tests.term.test_collection import before

SETTINGS = 'zone = "UTC"\ncloses = "2026-09-15 23:59"\nextensions_file = "terms/extensions.csv"'
ROSTER = "id,name,login\n20260001,张伟,ann\n20260002,Bob Müller,bob\n20260003,Cy,cy\n"


@pytest.fixture
def desk(folder):
    university = University(folder, assignment=SETTINGS)
    course = university.course
    course.write("terms/extensions.csv", "student,assignment,closes\nbob,t,2026-09-20 12:00\n")
    course.write("roster.csv", ROSTER)
    course.write(
        "autograder.toml",
        '[course]\nname = "dl"\nroster = "roster.csv"\n' + university.config_file.read_text(),
    )
    with university.parts() as parts:
        belonging.require_secret(parts.config, parts.ledger)
        desk = Desk(university, parts, folder / "work")
        desk.run(desk.push(RIGHT, received=before(hours=2)))
        desk.run(desk.push(HALF, "bob", received=before(days=-2)))
        parts.ledger.add_adjustment(
            university.repository("bob"), "t", AdjustmentKind.POINTS, who="ta", why="=1+1", points=3
        )
        yield desk


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def archived(desk):
    file = desk.university.folder / "dl.zip"
    result = run("course", "archive", "--to", file, "--config", desk.university.config_file)
    assert result.exit_code == 0, result.output
    return file


def checked(file):
    """Return the exit status of `ledger check`, and what fails."""
    result = run("ledger", "check", file)
    return result.exit_code, re.findall(r"^FAIL  (.*)$", result.output, re.MULTILINE)


def changed(file, target, edit):
    """Write a copy of an archive whose members went through `edit`: a dict of name -> content."""
    with zipfile.ZipFile(file) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    edit(members)
    with zipfile.ZipFile(target, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return target


def test_an_archive_holds_all_that_the_grades_follow_from(desk, archived):
    assert archived.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in archived.parent.iterdir() if "archive" in path.name) == []
    with zipfile.ZipFile(archived) as packed:
        assert sorted(packed.namelist()) == [
            *("README.txt", "config/autograder.toml", "config/roster.csv", "config/terms/extensions.csv"),
            *("grades.csv", "grades.json", "ledger.sqlite", "manifest.json", "secret", "suites.json"),
        ]
        manifest = json.loads(packed.read("manifest.json"))
        grades = json.loads(packed.read("grades.json"))
        suites = json.loads(packed.read("suites.json"))
        assert packed.read("secret").strip() == desk.course.config.secret()
        assert "张伟" in packed.read("grades.csv").decode("utf-8-sig")
    assert (manifest["format"], manifest["course"], manifest["assignments"]) == (1, "dl", ["t"])
    points = {row["id"]: row["assignments"]["t"]["points"] for row in grades["students"]}
    assert points == {"20260001": 100, "20260002": 43, "20260003": None}
    assert suites["graded"][0]["reports"] == 2
    assert re.fullmatch("[0-9a-f]{64}", suites["now"]["t"]["suite_digest"])
    assert checked(archived) == (0, [])


def test_the_check_needs_nothing_but_the_archive(desk, archived, tmp_path):
    alone = shutil.copy(archived, tmp_path / "alone.zip")
    shutil.rmtree(desk.university.course.folder)
    result = run("ledger", "check", alone)
    assert result.exit_code == 0, result.output
    assert "ok    the grades follow from the ledger: holds" in result.output
    assert "ok    job ids match their submissions: holds" in result.output


def test_what_was_changed_in_an_archive_is_found(archived, tmp_path):
    def edited(name, old, new):
        return lambda members: members.update({name: members[name].replace(old, new)})

    for number, (edit, failure) in enumerate(
        [
            (edited("grades.csv", b"100", b"099"), "grades.csv is not what was archived"),
            (edited("secret", b"a", b"b"), "secret is not what was archived"),
            (lambda members: members.pop("suites.json"), "suites.json is missing"),
            (lambda members: members.update({"../evil": b"x"}), "'../evil' is not in the manifest"),
        ]
    ):
        status, failures = checked(changed(archived, tmp_path / f"{number}.zip", edit))
        assert status == 1
        assert failure in failures[0]


def forged(members, name, content):
    """Change a file, and the manifest with it."""
    manifest = json.loads(members["manifest.json"])
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    members |= {name: content, "manifest.json": json.dumps(manifest).encode()}


def test_grades_that_do_not_follow_from_the_ledger_are_found(archived, tmp_path):
    def better(members):
        forged(members, "grades.json", members["grades.json"].replace(b'"points": 43', b'"points": 99'))

    assert checked(changed(archived, tmp_path / "a.zip", better)) == (
        1,
        ["the grades follow from the ledger: the row of 20260002 differs"],
    )

    def earlier(members):
        text = members["config/terms/extensions.csv"].replace(b"2026-09-20", b"2026-09-16")
        forged(members, "config/terms/extensions.csv", text)

    assert checked(changed(archived, tmp_path / "b.zip", earlier))[1] == [
        "the grades follow from the ledger: the row of 20260002 differs"
    ]

    def other_secret(members):
        forged(members, "secret", b"f" * 64)

    assert checked(changed(archived, tmp_path / "c.zip", other_secret))[1] == [
        "the secret is that of the ledger: it is another one"
    ]


def test_what_is_no_archive_is_refused(archived, tmp_path):
    def manifest(**values):
        def edit(members):
            members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | values).encode()

        return edit

    for number, edit in enumerate(
        [
            lambda members: members.pop("manifest.json"),
            lambda members: members.update({"manifest.json": b"[]"}),
            manifest(files={"../evil": {"sha256": "", "bytes": 1}}),
            manifest(files={"/evil": {"sha256": "", "bytes": 1}}),
            manifest(config={"a.toml": "../../etc/passwd"}),
            manifest(files=[1]),
        ]
    ):
        result = run("ledger", "check", changed(archived, tmp_path / f"{number}.zip", edit))
        assert result.exit_code == 1, number
        assert "is not an archive of a course, or is damaged" in result.output
    result = run("ledger", "check", changed(archived, tmp_path / "later.zip", manifest(format=2)))
    assert "install the newer version" in result.output
    whole = archived.read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert run("ledger", "check", tmp_path / "cut.zip").exit_code == 1
    assert not list(tmp_path.parent.glob("evil"))


def packed(target, manifest=None, **members):
    """Write an archive as a stranger would; without a manifest, one that names the members."""
    contents = {name.replace("__", "."): content for name, content in members.items()}
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
    }
    manifest = json.dumps({"format": 1, "files": files, "config": {}}) if manifest is None else manifest
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {"manifest.json": manifest, **contents}.items():
            file.writestr(name, content)
    return target


@pytest.mark.parametrize(
    "manifest",
    [
        "[" * 200_000,
        '{"format": 1, "files": {"a": {"bytes": Infinity, "sha256": ""}}, "config": {}}',
        '{"format": 1, "files": {"a": {"bytes": -1, "sha256": ""}}, "config": {}}',
        '{"format": 1, "files": {"grades.json": {"bytes": 5000000000, "sha256": ""}}, "config": {}}',
        '{"format": 1, "files": ["a"], "config": {}}',
        '{"format": 1, "files": {}, "config": [1]}',
        '{"format": 1, "files": {"ledger.sqlite-journal": {"bytes": 1, "sha256": ""}}, "config": {}}',
        '{"format": 1, "files": {"Ledger.sqlite-wal": {"bytes": 1, "sha256": ""}}, "config": {}}',
    ],
    ids=["deep", "infinite", "negative", "too large", "a list", "config is a list", "a journal", "a WAL"],
)
def test_a_manifest_that_a_stranger_made_is_refused(tmp_path, manifest):
    with pytest.raises(GraderError, match="is not an archive of a course, or is damaged"):
        archive.check(packed(tmp_path / "x.zip", manifest, a=b"x"))


def test_an_archive_that_would_fill_the_disk_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    file = packed(tmp_path / "x.zip", ledger__sqlite=b"0" * (3 << 20))
    usage = shutil.disk_usage(tmp_path)._replace(free=archive.SPARE_BYTES + (2 << 20))
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(GraderError, match="has 3 MiB when it is unpacked"):
        archive.check(file)


def test_a_member_that_was_damaged_or_has_a_password_is_no_crash(tmp_path):
    whole = packed(tmp_path / "x.zip", secret=bytes(range(256)) * 400).read_bytes()
    begins, listed = whole.find(b"PK\3\4", 10), whole.rfind(b"PK\1\2")
    damaged, closed = bytearray(whole), bytearray(whole)
    for place in range(begins + 40, begins + 60):
        damaged[place] ^= 0xFF
    closed[begins + 6] |= 1
    closed[listed + 8] |= 1
    (tmp_path / "x.zip").write_bytes(damaged)
    with archive.opened(tmp_path / "x.zip") as (_, _, problems):
        assert "secret cannot be read" in problems[0]
    (tmp_path / "x.zip").write_bytes(closed)
    with pytest.raises(GraderError, match="encrypted"):
        archive.check(tmp_path / "x.zip")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW pushes AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "CREATE VIRTUAL TABLE pushes USING fts5(a)",
    ],
)
def test_a_database_whose_rows_are_computed_is_not_read(tmp_path, statement):
    with sqlite3.connect(tmp_path / "evil") as raw:
        raw.execute(statement)
    raw.close()
    file = packed(tmp_path / "x.zip", ledger__sqlite=(tmp_path / "evil").read_bytes())
    with pytest.raises(GraderError, match="views or virtual tables, and a ledger has none"):
        archive.check(file)


def test_an_archive_reads_no_file_of_the_machine_that_checks_it(archived, tmp_path):
    secret = tmp_path / "of-the-machine.csv"
    secret.write_text("id,name,login\n20260001,ROOT-PASSWORD,ann\n")

    def elsewhere(members):
        text = members["config/autograder.toml"].replace(b'"roster.csv"', f'"{secret}"'.encode())
        forged(members, "config/autograder.toml", text)

    status, failures = checked(changed(archived, tmp_path / "x.zip", elsewhere))
    assert status == 1
    assert any("the row of 20260003 differs" in failure for failure in failures), failures
    with archive.opened(tmp_path / "x.zip") as (manifest, folder, _):
        settings = archive._settings(manifest, folder)
        assert settings.course.roster.startswith(str(folder))


def test_a_backup_is_checked_too(desk, tmp_path):
    file = tmp_path / "backup.sqlite"
    assert run("ledger", "backup", file, "--config", desk.university.config_file).exit_code == 0
    assert checked(file) == (0, [])
    assert run("ledger", "check", file, "--url", "sqlite:///x").exit_code == 2


def test_a_file_is_replaced_by_request_only_and_the_secret_may_stay_out(desk, archived):
    arguments = ("course", "archive", "--to", archived, "--config", desk.university.config_file)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "exists already" in result.output
    result = run(*arguments, "--force", "--no-secret")
    assert result.exit_code == 0, result.output
    assert "not in it: the course secret: keep it" in result.output
    with zipfile.ZipFile(archived) as packed:
        assert "secret" not in packed.namelist()
    assert checked(archived) == (0, [])


def test_a_file_that_is_missing_is_named(desk, tmp_path):
    (desk.university.course.folder / "terms" / "extensions.csv").unlink()
    result = run("course", "archive", "--to", tmp_path / "x.zip", "--config", desk.university.config_file)
    assert result.exit_code == 0, result.output
    assert "extensions.csv: No such file" in result.output


def test_a_snapshot_of_any_ledger_is_a_ledger_on_sqlite(ledger, folder):
    semester = Semester(ledger, Clock())
    for student in ("ann", "bob"):
        semester.push("one", student)
        semester.grade("one", 70, student)
    first = ledger.add_adjustment(repository(), "a0", AdjustmentKind.SET, points=5, who="ta", why="x")
    ledger.add_adjustment(repository(), "a0", AdjustmentKind.UNDO, undoes=first.id, who="ta", why="x")
    ledger.add_loss("delivery", "webhook", "no JSON")
    target = folder / "snapshot.sqlite"
    snapshot(ledger.database.url, target)
    assert all(item.ok for item in check(parse_url(f"sqlite:///{target}")))
    with Ledger.open(f"sqlite:///{target}") as copy:
        assert copy.adjustments() == ledger.adjustments()
        assert copy.history(repository()) == ledger.history(repository())
        assert Semester(copy, Clock()).points() == semester.points()
        Semester(copy, Clock()).push("two")  # it can be gone on with
    assert [path.name for path in folder.glob("*.part")] == []


def test_there_is_no_incomplete_archive(desk, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_pack", full)
    config = desk.course.config
    with pytest.raises(GraderError, match="No space left"):
        archive.write(config, desk.university.config_file, tmp_path / "x.zip", before(days=-30))
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_on_either_database_is_archived(folder, new_url):
    university = University(folder, url=new_url)
    with university.parts() as parts:
        belonging.require_secret(parts.config, parts.ledger)
        desk = Desk(university, parts, folder / "work")
        desk.run(desk.push(RIGHT))
        file = folder / "x.zip"
        result = run("course", "archive", "--to", file, "--config", university.config_file)
        assert result.exit_code == 0, result.output
        assert checked(file) == (0, [])
        arguments = ("course", "new-term", "--archive", file, "--dry-run", "--config", university.config_file)
        result = run(*arguments)
    assert result.exit_code == 0, result.output
    on_postgresql = new_url.startswith("postgresql")
    assert (
        "create an empty database, and write its URL in place of postgresql" in result.output
    ) == on_postgresql
