"""No push is lost, graded twice with different results, or answered on the wrong repository, whatever fails.

One fault, one test, with real processes of the service, databases and repositories. Grading is pretended unless it
matters. Each test ends with `accounted`: every push has one report and one feedback commit, or its job is superseded,
and the ledger says which.
"""

import contextlib
import ctypes
import os
import random
import signal
import sqlite3
import threading
import traceback
from pathlib import Path

import pytest

from autograder.errors import GraderError
from autograder.git.scratch import Repository
from autograder.ledger import OPEN, JobState, Ledger
from autograder.ledger.workers import workers
from autograder.service.intake.reconciler import Reconciler
from autograder.service.jobs.pipeline import FETCH, GRADE, PUBLISH, Pipeline
from tests.support import postgres
from tests.support.processes import Processes, accounted, graded, settled, until
from tests.support.university import HALF, RIGHT, PretendedGraders, University, now

ROOT = os.geteuid() == 0


@pytest.fixture
def university(folder):
    return University(folder)


@pytest.fixture
def processes(university):
    processes = Processes(university)
    yield processes
    processes.end()


@pytest.fixture
def campus(new_url, folder):
    """A university on each database, and its processes."""
    university = University(folder, url=new_url)
    processes = Processes(university)
    yield university, processes
    processes.end()


@pytest.fixture
def patient_campus(new_url, folder):
    """The same, but no busy worker is taken for dead."""
    university = University(folder, url=new_url, lease_seconds=60)
    processes = Processes(university)
    yield university, processes
    processes.end()


def take(parts, push):
    return parts.intake.receive(push, now()).job.id


def running(parts, worker):
    """Return the job that the worker with a number runs."""
    found = [job for job in parts.ledger.jobs(states=[JobState.RUNNING]) if job.worker.endswith(f":{worker}")]
    return found[0].id if found else None


def quiet(parts):
    """Wait until nothing waits or runs."""
    until(
        lambda: not parts.queue.entries() and not parts.ledger.jobs(states=OPEN),
        lambda: f"{parts.queue.entries()}\n{parts.ledger.jobs(states=OPEN)}",
    )


# killed ------------------------------------------------------------------------------------------------------

MINE = "only=lambda steps, job, *_: job.commit == os.environ['VICTIM']"
OF_LEDGER = "only=lambda ledger, job, *_, **__: os.environ['VICTIM'] in job"
FINAL = "only=lambda ledger, job, state, **_: state is JobState.FINAL and os.environ['VICTIM'] in job"
PUBLISHED = "only=lambda _, entries, **__: os.environ['VICTIM'] in [each.graded_commit for each in entries()]"
MOMENTS = {
    "as it takes the job up": f'die(Pipeline, "_fetch", "before", {MINE})',
    "in the fetch": f'die(Pipeline, "_bring", "after", {MINE})',
    "between the fetch and its checkpoint": f'die(Pipeline, "_fetch", "after", {MINE})',
    "while it is graded": 'die(Graders, "grade", "before", only=lambda *a: os.environ["VICTIM"] in a)',
    "after the report": f'die(Ledger, "add_report", "after", {OF_LEDGER})',
    "between the report and its checkpoint": f'die(Pipeline, "_grade", "after", {MINE})',
    "before the push to the branch": f'die(feedback, "show", "before", {PUBLISHED})',
    "after the push to the branch": f'die(feedback, "show", "after", {PUBLISHED})',
    "after the feedback": f'die(Ledger, "add_feedback", "after", {OF_LEDGER})',
    "between the end and its checkpoint": f'die(Ledger, "move", "after", {FINAL})',
}


def test_kill_9_in_every_step_and_the_next_start_goes_on(campus):
    """Each process is killed at another moment, on the job of another student, and the next one has the same name.

    Each has another version, too: a newer autograder takes over what an older one left.
    """
    university, processes = campus
    with university.parts() as parts:
        jobs = {}
        for number, (moment, text) in enumerate(MOMENTS.items()):
            push = university.push(student=f"s{number}")
            version = f"autograder.__version__ = lease.__version__ = '1.{number}'\n"
            process = processes.start(
                before=version + text, VICTIM=push.commit, DBOS__APPVERSION=f"1.{number}"
            )
            jobs[f"s{number}"] = take(parts, push)
            assert process.wait() == -signal.SIGKILL, moment
        processes.start()
        assert {settled(parts, job) for job in jobs.values()} == {JobState.FINAL}
        quiet(parts)
        assert accounted(university, parts, jobs) == []
        assert [university.score(student) for student in jobs] == [100] * len(jobs)
        # a report that is in the ledger is not made again
        times = [graded(university).count(parts.ledger.job(job).commit) for job in jobs.values()]
        assert times == [1] * len(jobs)


@pytest.mark.parametrize("call", ["record_push", "open_job"])
def test_kill_9_of_who_takes_a_push_loses_nothing_that_was_recorded(university, processes, call):
    push = university.push()
    with university.parts() as parts:
        text = f"""
from autograder.service.serve import parts
from tests.support.university import now
from autograder.hosts.push import Push
die(Ledger, "{call}", "after")
with parts(Path(sys.argv[sys.argv.index("--config") + 1])) as mine:
    mine.intake.receive({push!r}, now())
"""
        assert processes.begin(before=text).wait() == -signal.SIGKILL
        assert len(parts.ledger.pushes(university.repository())) == 1
        assert parts.queue.entries() == []
        processes.start()
        until(lambda: university.published() == [push.commit])
        quiet(parts)
        assert accounted(university, parts, ["ann"]) == []


def test_a_job_that_always_kills_its_worker_is_given_up(folder):
    university = University(folder, service="retries = 2")
    processes = Processes(university)
    try:
        with university.parts() as parts:
            bad, good = university.push(HALF, "eve"), university.push(student="ann")
            jobs = [take(parts, bad), take(parts, good)]
            kill = 'die(Graders, "grade", "before", only=lambda *a: os.environ["VICTIM"] in a)'
            for _ in range(3):
                assert processes.begin(before=kill, VICTIM=bad.commit).wait() == -signal.SIGKILL
            processes.start(before=kill, VICTIM=bad.commit)
            assert [settled(parts, job) for job in jobs] == [JobState.DEAD, JobState.FINAL]
            assert "does it end its worker?" in parts.ledger.job(jobs[0]).reason
            assert (university.published("eve"), university.published("ann")) == ([], [good.commit])
    finally:
        processes.end()


# taken over --------------------------------------------------------------------------------------------------


def test_who_is_killed_or_stopped_is_replaced_and_a_woken_one_changes_nothing(campus):
    university, processes = campus
    with university.parts() as parts:
        first = processes.start("--listen", "127.0.0.1:0", before='hold("first")')
        one = take(parts, university.push(student="ann"))
        until(lambda: running(parts, 0) == one)
        second = processes.start(command="worker", before='hold("second")')  # its name is :1
        first.kill()
        until(lambda: running(parts, 1) == one)
        until((university.folder / "second.reached").exists)
        second.send_signal(signal.SIGSTOP)
        processes.start(command="worker", before='hold("third")')  # :0 again
        until(lambda: running(parts, 0) == one)
        (university.folder / "third").touch()
        assert settled(parts, one) is JobState.FINAL
        tip = university.bare().tip("score-feedback")
        (university.folder / "second").touch()
        second.send_signal(signal.SIGCONT)
        until(lambda: len(graded(university)) == 2)
        # the woken worker takes jobs as before
        two = [take(parts, university.push(student=f"s{number}")) for number in range(3)]
        assert {settled(parts, job) for job in two} == {JobState.FINAL}
        second.send_signal(signal.SIGTERM)
        assert second.wait() == 0
        assert university.bare().tip("score-feedback") == tip
        assert accounted(university, parts, ["ann", "s0", "s1", "s2"]) == []


def test_two_publishers_at_once_make_one_feedback_commit(folder, monkeypatch):
    """Both have read the branch before either pushes."""
    university = University(folder)
    together = threading.Barrier(2)
    real, pushed = Repository.push, []

    def push(self, *arguments, **values):
        if len(pushed) < 2:
            pushed.append(None)
            together.wait()
        flag, text = real(self, *arguments, **values)
        pushed.append(flag)
        return flag, text

    monkeypatch.setattr(Repository, "push", push)
    with university.parts() as parts:
        job = take(parts, university.push())
        both = [
            Pipeline(parts.ledger, parts.course, PretendedGraders(), parts.intake, folder / name, f"{name}:0")
            for name in ("a", "b")
        ]
        facts = [one.step(FETCH, job, one.begin(job)) for one in both]
        facts = [one.step(GRADE, job, its) for one, its in zip(both, facts, strict=True)]
        ends = []
        threads = [
            threading.Thread(target=lambda one=one, its=its: ends.append(one.step(PUBLISH, job, its)))
            for one, its in zip(both, facts, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [end["next"] for end in ends] == ["end", "end"]
        assert len(pushed) >= 4  # both were there
        assert parts.ledger.job(job).state is JobState.FINAL
        assert accounted(university, parts, ["ann"]) == []


# ended in order ----------------------------------------------------------------------------------------------


def test_sigterm_waits_for_the_job_that_runs(university, processes):
    service = processes.start(before='hold("go")')
    with university.parts() as parts:
        job, other = (take(parts, university.push(student=student)) for student in ("ann", "bob"))
        until((university.folder / "go.reached").exists)
        service.send_signal(signal.SIGTERM)
        until(lambda: "\nending" in service.output())
        (university.folder / "go").touch()
        assert service.wait() == 0
        assert sorted(parts.ledger.job(one).state.value for one in (job, other)) == ["final", "queued"]
        assert workers(parts.ledger.database) == []
        processes.start()
        quiet(parts)
        assert accounted(university, parts, ["ann", "bob"]) == []


@pytest.mark.parametrize("seconds", [0, 1])
def test_sigterm_beyond_its_limit_leaves_the_job_to_the_next_start(folder, seconds):
    university = University(folder, service=f"drain_seconds = {seconds}")
    processes = Processes(university)
    try:
        service = processes.start(before='hold("never")')
        with university.parts() as parts:
            job = take(parts, university.push())
            until((university.folder / "never.reached").exists)
            service.send_signal(signal.SIGTERM)
            assert service.wait() == 0
            # given back: the worker did not end because of the job
            assert parts.ledger.job(job).state is JobState.QUEUED
            assert parts.ledger.job(job).reason == "the worker was stopped"
            processes.start()
            assert settled(parts, job) is JobState.FINAL
            quiet(parts)
            assert accounted(university, parts, ["ann"]) == []
    finally:
        processes.end()


# databases ---------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_service_that_starts_before_postgresql_waits_for_it(folder):
    """After a reboot of both machines. A unit that gives up after five quick failures would stay down for good."""
    with postgres.running() as server:
        university = University(folder, url=server.new_database())
        processes = Processes(university)
        server.stop()
        try:
            service, ended = processes.begin(), processes.begin()
            for process in (service, ended):
                until(lambda process=process: "waiting for the database" in process.output())
            ended.send_signal(signal.SIGTERM)
            assert ended.wait() == 1
            assert service.poll() is None
            server.start()
            processes.ready(service)
            with university.parts() as parts:
                assert settled(parts, take(parts, university.push())) is JobState.FINAL
            assert all(
                line.startswith("{") for line in university_log(university) if "error: ended" not in line
            )
        finally:
            processes.end()


def university_log(university):
    return (university.folder / "log").read_text().splitlines()


@pytest.mark.postgres
def test_a_database_that_does_not_exist_is_not_waited_for(folder):
    with postgres.running() as server:
        university = University(folder, url=server.url("nothing"))
        processes = Processes(university)
        try:
            assert processes.begin().wait() == 1
        finally:
            processes.end()


@pytest.mark.postgres
def test_postgresql_stops_and_starts_while_jobs_are_worked_off(folder):
    with postgres.running() as server:
        university = University(folder, url=server.new_database())
        processes = Processes(university)
        students = [f"s{number}" for number in range(6)]
        try:
            processes.start(before='hold("go")')
            processes.start(before="", command="worker")
            with university.parts() as parts:
                jobs = [take(parts, university.push(student=student)) for student in students]
                until((university.folder / "go.reached").exists)
                until(lambda: parts.ledger.count_jobs()[JobState.FINAL] >= 1)
                server.stop()
                push = university.push(student="late")
                with pytest.raises(GraderError):  # the git host gets 503, and sends the push again
                    take(parts, push)
                (university.folder / "go").touch()
                server.start()
                jobs.append(take(parts, push))
                assert {settled(parts, job) for job in jobs} == {JobState.FINAL}
                quiet(parts)
                assert accounted(university, parts, [*students, "late"]) == []
        finally:
            processes.end()


def test_sqlite_is_locked_for_longer_than_anybody_waits(university, processes):
    """Both files are locked; the ledger waits 60 s and DBOS 30 s by default, which is shortened."""
    processes.start(
        before="""
real = Ledger.open.__func__
Ledger.open = classmethod(lambda cls, url, **others: real(cls, url, busy_seconds=0.5, **others))
hold("go")
"""
    )
    with university.parts() as parts:
        job = take(parts, university.push())
        until((university.folder / "go.reached").exists)
        state = university.course.folder / ".autograder"
        with contextlib.ExitStack() as stack:
            for name in ("ledger.sqlite", "jobs.sqlite"):
                raw = stack.enter_context(contextlib.closing(sqlite3.connect(state / name)))
                raw.isolation_level = None
                raw.execute("BEGIN IMMEDIATE")
            with (
                Ledger.open(f"sqlite:///{state / 'ledger.sqlite'}", busy_seconds=0.2) as impatient,
                pytest.raises(GraderError, match="was locked"),
            ):
                impatient.record_push(university.repository("bob"), commit="1" * 40, ref="refs/heads/main")
            (university.folder / "go").touch()
            log = university.folder / "log"
            until(lambda: "was locked by another process" in log.read_text())
            assert parts.ledger.job(job).state is JobState.RUNNING
        other = take(parts, university.push(student="bob"))
        assert [settled(parts, one) for one in (job, other)] == [JobState.FINAL] * 2
        quiet(parts)
        assert accounted(university, parts, ["ann", "bob"]) == []


def test_the_queue_s_database_is_lost_with_what_waits_and_what_runs(university, processes):
    service = processes.start(before='hold("never")')
    with university.parts() as parts:
        jobs = [take(parts, university.push(student=student)) for student in ("ann", "bob")]
        until((university.folder / "never.reached").exists)
    service.kill()
    service.wait()
    for file in (university.course.folder / ".autograder").glob("jobs.sqlite*"):
        file.unlink()
    processes.start()
    with university.parts() as parts:
        assert {settled(parts, job) for job in jobs} == {JobState.FINAL}
        quiet(parts)
        assert accounted(university, parts, ["ann", "bob"]) == []


SMALL = """
libc("unshare", 0x00020000)  # a mount namespace of its own: the disk goes with this process
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "small", str(HERE / "small")], check=True)
hold("go")
"""


@pytest.mark.skipif(not ROOT, reason="mounts a small disk; needs root")
def test_a_full_disk_stops_everything_and_loses_nothing(folder):
    (folder / "small").mkdir()
    university = University(folder, url=f"sqlite:///{folder}/small/ledger.sqlite")
    processes = Processes(university)

    def fill_and_make_room():
        with university.parts() as parts:
            take(parts, university.push(student="ann"))
            until((folder / "go.reached").exists)
            ballast = folder / "small" / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)
            push, refusal = university.push(student="bob"), ""
            while not refusal:  # the journal has a little room left
                try:
                    take(parts, push)
                    push = university.push(
                        HALF + "#" * len(parts.ledger.pushes(university.repository("bob"))), "bob"
                    )
                except GraderError as error:
                    refusal = str(error)
            assert "its disk is full" in refusal
            (folder / "go").touch()
            until(lambda: "disk is full" in (folder / "log").read_text())
            ballast.unlink()
            take(parts, push)
            quiet(parts)
            assert university.published("ann")
            assert university.published("bob")[-1] == push.commit
            assert accounted(university, parts, ["ann", "bob"]) == []

    try:
        service = processes.start(before=SMALL)
        in_mounts_of(service.pid, fill_and_make_room)
    finally:
        processes.end()


def in_mounts_of(pid, work):
    """Run `work` in a process that sees the disks that another process sees."""
    child = os.fork()
    if child == 0:
        try:
            with Path(f"/proc/{pid}/ns/mnt").open() as namespace:
                assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 (pytest must not go on in this process)
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "see above"


# often, and in any order -------------------------------------------------------------------------------------

LOOPBACK_ONLY = """
libc("unshare", 0x40000000)  # a network namespace of its own
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
"""


@pytest.mark.skipif(not ROOT, reason="makes a network namespace; needs root")
def test_no_network_but_loopback_is_needed(university, processes):
    service = processes.start(before=LOOPBACK_ONLY)
    devices = Path(f"/proc/{service.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    with university.parts() as parts:
        assert settled(parts, take(parts, university.push())) is JobState.FINAL
        assert accounted(university, parts, ["ann"]) == []


def test_one_push_that_is_delivered_eight_times_at_once_and_again_after_its_feedback(campus):
    university, processes = campus
    push = university.push()
    with university.parts() as parts:
        results = []
        threads = [
            threading.Thread(target=lambda: results.append(parts.intake.receive(push, now()).result))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["known"] * 7 + ["recorded"]
        (entry,) = parts.queue.entries()
        processes.start()
        job = parts.ledger.job(entry.job)
        assert settled(parts, job.id) is JobState.FINAL
        quiet(parts)
        assert parts.intake.receive(push, now()).result == "known"
        for known in (job, parts.ledger.job(job.id)):  # directly, as it was and as it is
            parts.queue.enqueue(known, "cpu", priority=1)
        quiet(parts)
        assert graded(university) == [push.commit]
        assert accounted(university, parts, ["ann"]) == []


@pytest.mark.parametrize("seed", [1, 2])
def test_webhooks_come_twice_and_out_of_order(university, processes, seed):
    works = [f"{RIGHT}# {number}\n" for number in range(5)]
    pushes = [university.push(work) for work in [*works, HALF]]
    delivered = pushes * 2
    random.Random(seed).shuffle(delivered)  # noqa: S311 (an order, no secret)
    processes.start()
    with university.parts() as parts:
        for push in delivered:
            take(parts, push)
        quiet(parts)
        assert university.published()[-1] == pushes[-1].commit
        assert university.score() == 40
        assert accounted(university, parts, ["ann"]) == []


def test_fifty_pushes_of_one_student_do_not_delay_another(university, processes):
    processes.start(before='hold("go")')
    with university.parts() as parts:
        first = take(parts, university.push(student="first"))
        until(lambda: running(parts, 0) == first)
        many = [take(parts, university.push(f"{RIGHT}# {number}\n", "ann")) for number in range(50)]
        take(parts, university.push(student="bob"))
        (university.folder / "go").touch()
        quiet(parts)
        states = [parts.ledger.job(job).state for job in many]
        assert states == [JobState.SUPERSEDED] * 49 + [JobState.FINAL]
        assert accounted(university, parts, ["first", "ann", "bob"]) == []
        assert len(graded(university)) == 3


def test_fifty_pushes_that_must_all_be_answered_do_not_delay_another(folder):
    """Late ones supersede nothing."""
    university = University(folder, assignment='closes = "2026-01-01 00:00"\nzone = "UTC"')
    processes = Processes(university)
    try:
        with university.parts() as parts:
            many = [take(parts, university.push(f"{RIGHT}# {number}\n", "ann")) for number in range(50)]
            late = take(parts, university.push(student="bob"))
            processes.start()
            assert settled(parts, late) is JobState.FINAL
            started = [job.started for job in map(parts.ledger.job, many) if job.started]
            assert sum(moment < parts.ledger.job(late).started for moment in started) <= 2
    finally:
        processes.end()


# several at once ---------------------------------------------------------------------------------------------


def test_four_processes_have_one_job_each(patient_campus):
    university, processes = patient_campus
    started = [
        processes.begin("--listen", "127.0.0.1:0", before='hold("go")'),
        *(processes.begin(command="worker", before='hold("go")') for _ in range(3)),
    ]
    for process in started:
        processes.ready(process)
    with university.parts() as parts:
        students = [f"s{number}" for number in range(9)]
        jobs = [take(parts, university.push(student=student)) for student in students]
        until(lambda: parts.ledger.count_jobs()[JobState.RUNNING] == 4)
        entries = parts.queue.entries()
        names = [entry.worker for entry in entries if entry.running]
        assert (len(names), len(set(names)), len(entries)) == (4, 4, 9)
        (university.folder / "go").touch()
        assert {settled(parts, job) for job in jobs} == {JobState.FINAL}
        quiet(parts)
        assert accounted(university, parts, students) == []
        assert len(graded(university)) == 9


def test_three_reconcilers_at_once_queue_what_is_missing_once(campus):
    university, processes = campus
    students = [f"s{number}" for number in range(6)]
    with contextlib.ExitStack() as stack:
        three = [stack.enter_context(university.parts()) for _ in range(3)]
        for number, student in enumerate(students):
            push, name = university.push(student=student), university.repository(student)
            three[0].ledger.record_push(name, commit=push.commit, ref=push.ref)
            if number % 2:
                three[0].ledger.open_job(name, push.commit, "t")
        together = threading.Barrier(3)
        faults = []

        def repair(parts):
            one = Reconciler(parts.ledger, parts.queue, parts.intake)
            try:
                for _ in range(2):
                    together.wait()
                    one.repair()
            except Exception as error:  # noqa: BLE001 (the test reads them)
                faults.append(error)
                together.abort()

        threads = [threading.Thread(target=repair, args=[parts]) for parts in three]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        entries = three[0].queue.entries()
        assert (len(entries), len({entry.job for entry in entries})) == (6, 6)
        processes.start()
        quiet(three[0])
        assert accounted(university, three[0], students) == []
        assert len(graded(university)) == 6
