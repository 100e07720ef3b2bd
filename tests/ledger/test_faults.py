"""The ledger when things go wrong: many processes at once, kill -9, a locked file, a full disk, passwords.

What is not shown here: a power cut (that SQLite's synchronous=FULL is asked for is shown), a disk that lies.
"""

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.errors import ConfigError
from autograder.ledger import JobState, Ledger, LedgerBusy, LedgerError
from autograder.ledger.database import mask, parse_url
from autograder.ledger.schema import HEAD
from tests.support.ledgers import MAIN, Clock, Semester, commit, problems, report, repository

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and asks Linux for details")
FORK = multiprocessing.get_context("fork") if sys.platform == "linux" else None


@pytest.fixture
def url(database):
    return database.url.render_as_string(hide_password=False)


def together(count, work, *arguments):
    """Run `work(number, barrier, *arguments)` in `count` processes, and return what each returns."""
    barrier, results = FORK.Barrier(count), FORK.Queue()

    def child(number):
        try:
            results.put((number, work(number, barrier, *arguments), ""))
        except BaseException:  # noqa: BLE001
            barrier.abort()
            results.put((number, None, traceback.format_exc()))

    processes = [FORK.Process(target=child, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    found = [results.get(timeout=240) for _ in processes]
    for process in processes:
        process.join()
    assert not [error for _, _, error in found if error]
    return [value for _, value, _ in sorted(found)]


# many at once --------------------------------------------------------------------------------------------


def same_pushes(number, barrier, url):
    with Ledger.open(url) as ledger:
        barrier.wait(timeout=120)
        return [
            ledger.record_push(
                repository(), commit=commit(str(push)), ref=MAIN, delivery_id=f"{number % 2}-{push}"
            ).new
            for push in range(10)
        ]


def test_many_processes_that_record_the_same_pushes(url, ledger):
    results = together(6, same_pushes, url)
    assert [sum(new) for new in zip(*results, strict=True)] == [1] * 10
    assert len(ledger.history(repository()).pushes) == 10
    assert problems(ledger) == []


def same_job(number, barrier, url):
    with Ledger.open(url) as ledger:
        barrier.wait(timeout=120)
        job = ledger.open_job(repository(), commit("one"), "a0").row
        ledger.move(job.id, JobState.RUNNING, worker=f"host:{number}")
        new = ledger.add_report(job.id, report(10 * number)).new
        ledger.add_feedback(job.id, commit=commit("feedback"), branch="score-feedback")
        return new


def test_many_workers_that_finish_the_same_job(url, ledger):
    Semester(ledger, Clock()).push("one")
    new = together(6, same_job, url)
    assert sum(new) == 1
    (job,) = ledger.history(repository()).jobs
    assert job.report.report.points == 10 * new.index(True)
    assert (job.job.tries, len(job.feedback)) == (6, 1)
    assert problems(ledger) == []


def first_start(_number, barrier, url):
    barrier.wait(timeout=120)
    with Ledger.open(url) as ledger:
        return ledger.database.revision()


def test_many_processes_that_start_at_once_on_nothing(new_url):
    assert together(5, first_start, new_url) == [HEAD] * 5
    with Ledger.open(new_url) as ledger:
        assert problems(ledger) == []


def test_threads_share_a_ledger(ledger):
    errors = []

    def record(number):
        try:
            for push in range(5):
                ledger.record_push(repository(str(number)), commit=commit(str(push)), ref=MAIN)
        except LedgerError as error:
            errors.append(error)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(ledger.repositories()) == 6
    assert problems(ledger) == []


def test_a_forked_child_may_go_on_with_it(semester):
    semester.push("one")

    def child(_number, barrier):
        barrier.wait(timeout=120)
        return semester.push("two", "bob").new

    assert together(1, child) == [True]
    assert semester.push("three").new
    assert len(semester.ledger.repositories()) == 2
    assert problems(semester.ledger) == []


# kill -9 -------------------------------------------------------------------------------------------------


def grade_forever(url, pipe):
    """Grade one push after the other, and write a letter to the pipe after each step."""
    with Ledger.open(url) as ledger:
        semester = Semester(ledger, Clock())
        for number in range(10_000):
            semester.push(str(number), delivery_id=str(number))
            os.write(pipe, b"p")
            semester.grade(str(number))
            os.write(pipe, b"g")


@pytest.mark.parametrize("lines", [1, 2, 5, 12])
def test_kill_9_leaves_all_of_an_act_or_nothing(url, ledger, lines):
    reading, writing = os.pipe()
    process = FORK.Process(target=grade_forever, args=(url, writing))
    process.start()
    os.close(writing)
    letters = b"".join(os.read(reading, 1) for _ in range(lines))
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while rest := os.read(reading, 100):
        letters += rest
    os.close(reading)
    assert problems(ledger) == []
    history = ledger.history(repository())
    assert len(history.pushes) - letters.count(b"p") in (
        0,
        1,
    )  # at most one, killed before it wrote its letter
    final = [job for job in history.jobs if job.job.state is JobState.FINAL]
    assert len(final) - letters.count(b"g") in (0, 1)
    assert all(job.report for job in final)
    # ... and the next process continues.
    semester = Semester(ledger, Clock())
    assert not semester.push("0", delivery_id="0").new
    semester.push("next")
    assert semester.grade("next").state is JobState.FINAL


# a locked file -------------------------------------------------------------------------------------------


@pytest.fixture
def file(folder):
    """A new ledger on SQLite."""
    Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}").close()
    return folder / "ledger.sqlite"


@contextlib.contextmanager
def locked(file):
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def test_a_write_waits_for_a_lock(file):
    with Ledger.open(f"sqlite:///{file}") as ledger, locked(file) as other:
        release = threading.Timer(0.3, other.execute, ("ROLLBACK",))
        release.start()
        assert Semester(ledger, Clock()).push("one").new
        release.join()


def test_a_lock_that_is_held_too_long_is_reported_and_changes_nothing(file):
    with Ledger.open(f"sqlite:///{file}", busy_seconds=0.05) as ledger:
        with locked(file), pytest.raises(LedgerBusy, match=r"locked by another process for 0.05 s.*fuser -v"):
            Semester(ledger, Clock()).push("one")
        assert ledger.repositories() == []
        assert Semester(ledger, Clock()).push("one").new


def test_readers_do_not_wait_for_the_writer(file):
    with Ledger.open(f"sqlite:///{file}", busy_seconds=0.05) as ledger:
        Semester(ledger, Clock()).push("one")
        with locked(file):
            assert ledger.repositories() == [repository()]


def test_one_that_is_opened_twice_in_a_process_keeps_its_locks(file):
    """Otherwise the other process believes it is alone, and removes the journal when it closes."""
    url = f"sqlite:///{file}"
    with Ledger.open(url) as first:
        first.record_push(repository(), commit=commit("one"), ref=MAIN)
        with Ledger.open(url) as second:
            program = (
                "import sys; from autograder.ledger import Ledger; from tests.support.ledgers import *\n"
                "with Ledger.open(sys.argv[1]) as ledger:\n"
                "    ledger.record_push(repository('bob'), commit=commit('two'), ref=MAIN)"
            )
            subprocess.run([sys.executable, "-c", program, url], check=True)
            first.record_push(repository("eve"), commit=commit("three"), ref=MAIN)
            assert len(second.repositories()) == 3
    with Ledger.open(url) as later:
        assert len(later.repositories()) == 3


def test_the_file_is_private_durable_and_in_wal_mode(file):
    assert file.stat().st_mode & 0o077 == 0
    with Ledger.open(f"sqlite:///{file}") as ledger, ledger.database.writing() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
        assert found == ["wal", 2, 1, 1]
        assert all(part.stat().st_mode & 0o077 == 0 for part in file.parent.glob("ledger.sqlite*"))


# a full disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk needs root and the right to mount")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(write):
    for number in range(1000):
        write(number)


def test_a_full_disk_is_our_fault_and_leaves_the_ledger_whole(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    with Ledger.open(f"sqlite:///{small_disk / 'ledger.sqlite'}") as ledger:
        semester = Semester(ledger, Clock())
        semester.push("one")
        message = r"disk is full or broken: free some space"
        with pytest.raises(LedgerError, match=message):
            fill(lambda number: ledger.audit("test", str(number), why="x", details={"x": "y" * 5000}))
        kept = len(ledger.audit_lines())
        with pytest.raises(LedgerError, match=message):
            fill(lambda number: semester.push(f"more {number}"))
        ballast.unlink()
        ledger.audit("test", "go on", why="there is room again")
        assert len(ledger.audit_lines()) == kept + 1
        semester.push("two")
        assert problems(ledger) == []


def test_a_full_disk_at_the_start(small_disk):
    (small_disk / "ballast").write_bytes(bytes(2**20))
    with pytest.raises(LedgerError, match=r"disk is full|cannot create the ledger"):
        Ledger.open(f"sqlite:///{small_disk / 'ledger.sqlite'}")


# what cannot be opened -----------------------------------------------------------------------------------


def test_what_is_not_a_ledger(folder):
    (folder / "text").write_text("this is no database, but long enough to be looked at as one " * 40)
    with pytest.raises(LedgerError, match="damaged, or not a ledger"):
        Ledger.open(f"sqlite:///{folder / 'text'}")
    with contextlib.closing(sqlite3.connect(folder / "other")) as other:
        other.execute("CREATE TABLE jobs (id)")
    with pytest.raises(LedgerError, match="a database of another program"):
        Ledger.open(f"sqlite:///{folder / 'other'}")
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger.open(f"sqlite:///{folder / 'missing'}", create=False)
    assert not (folder / "missing").exists()
    (folder / "file").touch()
    with pytest.raises(LedgerError, match="cannot create the ledger"):
        Ledger.open(f"sqlite:///{folder / 'file' / 'ledger.sqlite'}")


def test_a_postgresql_database_without_a_ledger(postgresql_server):
    with pytest.raises(LedgerError, match="holds no ledger"):
        Ledger.open(postgresql_server.new_database(), create=False)


def test_a_postgresql_server_that_is_not_there(folder):
    pytest.importorskip("psycopg")
    with pytest.raises(LedgerError, match="look at the PostgreSQL server") as caught:
        Ledger.open(f"postgresql://ann:Zq7secret@/grades?host={folder}")
    assert "Zq7" not in str(caught.value)
    assert "ann:***@" in str(caught.value)


def test_a_relative_file_is_relative_to_the_folder(folder):
    Ledger.open("sqlite:///state/x.sqlite", folder=folder).close()
    assert (folder / "state" / "x.sqlite").is_file()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory",
        "sqlite:///x?timeout=1",
        "sqlite://host/x",
        "mysql://ann:Zq7@host/grades",
        "postgresql+psycopg2://ann:Zq7@host/grades",
        "postgresql://ann:12Zq7@host:port/grades",
    ],
)
def test_an_invalid_url(url):
    with pytest.raises(ConfigError, match="allowed are sqlite:///FILE") as caught:
        parse_url(url)
    assert "Zq7" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_goes_through_psycopg(scheme):
    assert parse_url(f"{scheme}://ann@host/grades").drivername == "postgresql+psycopg"


@given(
    st.text(max_size=10),
    st.sampled_from(["postgresql", "mysql", "postgres", "nonsense"]),
    st.text(max_size=5),
)
@settings(deadline=None)
def test_a_password_is_never_shown(middle, scheme, user):
    url = f"{scheme}://{user.replace(':', '')}:Zq7{middle}Zq7@host:5432/grades"
    try:
        parsed = parse_url(url)
    except LedgerError as error:
        shown = str(error)
    else:
        shown = mask(parsed.render_as_string())
    assert "Zq7" not in shown
    assert "Zq7" not in mask(url)
    assert "Zq7" not in mask(f"postgresql://host/grades?a=b&password=Zq7{middle.replace('&', '')}")
