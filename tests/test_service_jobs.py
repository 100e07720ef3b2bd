"""The service as processes: pushes go in, answers come out, and whoever is killed loses nothing."""

import contextlib
import hashlib
import hmac
import http.client
import json
import signal
import subprocess
import sys
import time

import pytest

from autograder.ledger import OPEN, JobState
from autograder.ledger.workers import workers
from tests.ledgers import problems
from tests.university import BROKEN, HALF, RIGHT, University, now
from tests.walls import needs_wall

PATIENCE = 100

# Runs the command line with a sandbox that is only pretended, and with what `before` says done first.
DRIVER = """
import os, signal, sys, threading, time
from pathlib import Path
from autograder import feedback
from autograder.cli import main
from autograder.ledger import JobState, Ledger
from autograder.service import pipeline, serve
from autograder.service.pipeline import Pipeline
from tests.university import PretendedGraders

class Graders(PretendedGraders):
    def __init__(self, config, config_file):
        super().__init__()
        self.folder = config_file.parent.parent
    def warm(self, names): pass
    def close(self): pass
    def grade(self, assignment, folder, commit):
        with (self.folder / "graded").open("a") as file:
            file.write(commit + "\\n")
        return super().grade(assignment, folder, commit)

serve.Graders = Graders
HERE = Path(sys.argv[sys.argv.index("--config") + 1]).parent.parent

def die(owner, name, when, only=lambda *a, **k: True):
    real = getattr(owner, name)
    def dying(*arguments, **values):
        mine = only(*arguments, **values)
        if mine and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **values)
        if mine and when == "behind":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, dying)

def wait_for(name):
    (HERE / (name + ".reached")).touch()
    while not (HERE / name).exists():
        time.sleep(0.02)

{before}
main()
"""

FINAL = "only=lambda ledger, job, state, **_: state is JobState.FINAL"
PLACES = {
    "in the fetch": 'die(pipeline, "fetch_commit", "before")',
    "behind the fetch": 'die(Pipeline, "_fetch", "behind")',
    "while it is graded": 'die(Graders, "grade", "behind")',
    "behind the report": 'die(Ledger, "add_report", "behind")',
    "behind the grade": 'die(Pipeline, "_grade", "behind")',
    "behind the push to the branch": 'die(feedback, "publish", "behind")',
    "behind the feedback": 'die(Ledger, "add_feedback", "behind")',
    "behind the end": f'die(Ledger, "move", "behind", {FINAL})',
}


@pytest.fixture
def university(folder):
    return University(folder)


class Processes:
    """Processes of the service; all end with the test."""

    def __init__(self, university):
        self.university, self.all, self.url = university, [], ""

    def start(self, *arguments, before=None, command="serve"):
        """Start one and wait until it is ready; with `before`, its grading is pretended."""
        process = self.begin(*arguments, before=before, command=command)
        for line in process.stdout:
            if line.startswith(b"  web "):
                self.url = line.decode().split()[-1]
            if line.startswith(b"ready"):
                return process
        raise AssertionError(
            f"it ended with {process.wait()}: {(self.university.folder / 'log').read_text()}"
        )

    def begin(self, *arguments, before=None, command="serve"):
        driver = None if before is None else DRIVER.replace("{before}", before)
        process = self.university.start(*arguments, command=command, driver=driver)
        self.all.append(process)
        return process

    def end(self):
        for process in self.all:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def processes(university):
    processes = Processes(university)
    yield processes
    processes.end()


def until(true, what="it did not come to that"):
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def settled(parts, job):
    """Wait until a job is settled; return its state."""
    until(lambda: parts.ledger.job(job).state not in OPEN, f"{parts.ledger.job(job)}")
    return parts.ledger.job(job).state


def ask(url, method, path, body=None, headers=None):
    """Ask over HTTP; return the status."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        return connection.getresponse().status


def take(parts, push):
    return parts.intake.receive(push, now()).job.id


def exactly_once(university, parts, job):
    """Require one report and one answer of a job."""
    commit = parts.ledger.job(job).commit
    (entry,) = [
        entry for entry in parts.ledger.history(parts.ledger.job(job).repository).jobs if entry.job.id == job
    ]
    assert entry.job.state is JobState.FINAL
    assert entry.report is not None
    assert [one.commit for one in entry.feedback] == [university.bare().tip("score-feedback")]
    assert university.answers() == [commit]
    assert problems(parts.ledger) == []


# the whole thing -----------------------------------------------------------------------------------------


@needs_wall
def test_pushes_are_graded_in_the_sandbox_and_answered(university, processes):
    processes.start()
    with university.parts() as parts:
        jobs = {
            student: take(parts, university.push(work, student))
            for student, work in (("ann", RIGHT), ("bob", HALF), ("eve", BROKEN))
        }
        assert {settled(parts, job) for job in jobs.values()} == {JobState.FINAL}
        assert {student: university.score(student) for student in jobs} == {"ann": 100, "bob": 40, "eve": 0}
        assert "❓" in university.text("eve")
        assert problems(parts.ledger) == []
    lines = university.log()
    for job in jobs.values():
        own = [line for line in lines if line.get("job") == job]
        assert [line["step"] for line in own if line["event"] == "step"] == ["fetch", "grade", "publish"]
        assert all(line["push"] for line in own)


def test_a_signed_webhook_is_answered_and_the_service_ends_without_an_error(university, processes):
    pytest.importorskip("autograder.service.app")
    secret = "s3cr3t" * 6
    university.course.write("hook", secret).chmod(0o600)
    text = university.config_file.read_text().replace('kind = "folder"', 'kind = "gitea"')
    base = f'base = "file://{university.folder}/host"\nwebhook_secret_file = "hook"'
    university.course.write("autograder.toml", text.replace('base = "../host"', base))
    service = processes.start(before="")
    push = university.push()
    person = {"login": "ann"}
    payload = {"ref": push.ref, "before": push.before, "after": push.commit, "pusher": person}
    body = json.dumps(payload | {"repository": {"full_name": "dls/t-ann"}}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-Gitea-Event": "push",
        "X-Gitea-Delivery": push.delivery_id,
        "X-Gitea-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }
    for status in (202, 200):  # recorded; known
        assert ask(processes.url, "POST", "/webhook/gitea", body, headers) == status
    until(university.answers)
    assert ask(processes.url, "GET", "/readyz") == 200
    service.send_signal(signal.SIGTERM)
    assert service.wait(PATIENCE) == 0
    assert [line for line in university.log() if line["level"] == "error"] == []


@needs_wall
def test_a_suite_that_changed_is_used_from_the_next_push_on(university, processes):
    processes.start()
    with university.parts() as parts:
        settled(parts, take(parts, university.push(HALF)))
        assert university.score() == 40
        suite = university.course.folder / "hidden/t/test_score.py"
        suite.write_text(
            suite.read_text().replace("points=60", "points=30").replace("points=40", "points=70")
        )
        settled(parts, take(parts, university.push(HALF + "#\n")))
        assert university.score() == 70


# killed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_kill_9_and_start_again_gives_one_report_and_one_answer(university, processes, place):
    first = processes.start(before=PLACES[place])
    with university.parts() as parts:
        job = take(parts, university.push())
        assert first.wait(PATIENCE) == -signal.SIGKILL
        processes.start(before="")
        assert settled(parts, job) is JobState.FINAL
        until(lambda: not parts.queue.entries())
        exactly_once(university, parts, job)


def test_a_worker_that_is_killed_is_replaced_by_another(university, processes):
    victim = processes.start(before='die(Graders, "grade", "before")')
    with university.parts() as parts:
        job = take(parts, university.push())
        assert victim.wait(PATIENCE) == -signal.SIGKILL
        # its name must not be free, or the next one would be it
        lock = university.course.folder / ".autograder/slots"
        (held,) = lock.iterdir()
        import fcntl

        with held.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            processes.start(before="", command="worker")
            assert settled(parts, job) is JobState.FINAL
        assert parts.ledger.job(job).worker.endswith(":1")
        exactly_once(university, parts, job)
        until(lambda: [row.executor[-2:] for row in workers(parts.ledger.database)] == [":1"])


def test_a_worker_that_was_stopped_and_wakes_up_changes_nothing(university, processes):
    sleeper = processes.start(
        before='real = Graders.grade\ndef grade(*a):\n    wait_for("wake")\n    return real(*a)\nGraders.grade = grade'
    )
    with university.parts() as parts:
        job = take(parts, university.push())
        until((university.folder / "wake.reached").exists)
        sleeper.send_signal(signal.SIGSTOP)
        processes.start(before="", command="worker")
        assert settled(parts, job) is JobState.FINAL
        (university.folder / "wake").touch()
        sleeper.send_signal(signal.SIGCONT)
        until(lambda: (university.folder / "graded").read_text().count("\n") == 2)
        sleeper.send_signal(signal.SIGTERM)
        assert sleeper.wait(PATIENCE) == 0
        exactly_once(university, parts, job)


def test_a_job_that_always_kills_its_worker_is_dead_in_the_end(folder):
    university = University(folder, service="retries = 1")
    processes = Processes(university)
    try:
        with university.parts() as parts:
            job = take(parts, university.push())
            for _ in range(2):
                killed = processes.begin(before='die(Graders, "grade", "before")')
                assert killed.wait(PATIENCE) == -signal.SIGKILL
            processes.start(before='die(Graders, "grade", "before")')
            assert settled(parts, job) is JobState.DEAD
            assert "does it end its worker?" in parts.ledger.job(job).reason
    finally:
        processes.end()


# ended in order ------------------------------------------------------------------------------------------


HOLD = 'real = Graders.grade\ndef grade(*a):\n    wait_for("go")\n    return real(*a)\nGraders.grade = grade'


def test_sigterm_waits_for_the_job_that_runs(university, processes):
    service = processes.start(before=HOLD)
    with university.parts() as parts:
        job = take(parts, university.push())
        until((university.folder / "go.reached").exists)
        service.send_signal(signal.SIGTERM)
        (university.folder / "go").touch()
        assert service.wait(PATIENCE) == 0
        assert parts.ledger.job(job).state is JobState.FINAL
        assert workers(parts.ledger.database) == []
        exactly_once(university, parts, job)


def test_sigterm_beyond_its_limit_leaves_the_job_to_the_next_start(folder):
    university = University(folder, service="drain_seconds = 0")
    processes = Processes(university)
    try:
        service = processes.start(before=HOLD)
        with university.parts() as parts:
            job = take(parts, university.push())
            until((university.folder / "go.reached").exists)
            service.send_signal(signal.SIGTERM)
            assert service.wait(PATIENCE) == 0
            assert parts.ledger.job(job).state is JobState.RUNNING
            processes.start(before="")
            assert settled(parts, job) is JobState.FINAL
            exactly_once(university, parts, job)
    finally:
        processes.end()


def test_a_second_ctrl_c_ends_at_once(university, processes):
    service = processes.start(before=HOLD)
    with university.parts() as parts:
        take(parts, university.push())
        until((university.folder / "go.reached").exists)
        service.send_signal(signal.SIGINT)
        for line in service.stdout:
            if line.startswith(b"ending"):
                break
        service.send_signal(signal.SIGINT)
        assert service.wait(PATIENCE) == 130


# several slots -------------------------------------------------------------------------------------------


def test_slots_are_processes_that_end_with_the_first(university, processes):
    service = processes.start("--slots", "2", before=None)
    with university.parts() as parts:
        until(lambda: len(workers(parts.ledger.database)) == 2)
        names = sorted(row.executor[-2:] for row in workers(parts.ledger.database))
        assert names == [":0", ":1"]
        service.kill()
        until(lambda: [row.executor[-2:] for row in workers(parts.ledger.database)] == [":0"])


def test_pushes_of_many_students_are_answered_by_two_slots(university, processes):
    processes.start(before="")
    processes.start(before="", command="worker")
    students = [f"s{number}" for number in range(6)]
    with university.parts() as parts:
        jobs = [take(parts, university.push(RIGHT, student)) for student in students]
        assert {settled(parts, job) for job in jobs} == {JobState.FINAL}
        assert [university.score(student) for student in students] == [100] * 6
        assert problems(parts.ledger) == []


def test_on_postgresql_a_worker_takes_over_from_one_that_was_killed(folder, postgresql_server):
    university = University(folder, url=postgresql_server.new_database())
    processes = Processes(university)
    try:
        processes.start("--slots", "0", before="")
        victim = processes.start("--name", "one", before='die(Graders, "grade", "before")', command="worker")
        with university.parts() as parts:
            job = take(parts, university.push())
            assert victim.wait(PATIENCE) == -signal.SIGKILL
            processes.start("--name", "two", before="", command="worker")
            assert settled(parts, job) is JobState.FINAL
            assert parts.ledger.job(job).worker == "two:0"
            exactly_once(university, parts, job)
    finally:
        processes.end()


# the reconciler ------------------------------------------------------------------------------------------


def test_what_the_queue_forgot_is_queued_again(university, processes):
    with university.parts() as parts:
        push = university.push()
        parts.ledger.record_push(university.repository(), commit=push.commit, ref=push.ref)
        other = university.push(student="bob")
        parts.ledger.record_push(university.repository("bob"), commit=other.commit, ref=other.ref)
        parts.ledger.open_job(university.repository("bob"), other.commit, "t")
        processes.start(before="")
        until(lambda: university.answers() and university.answers("bob"))
        assert university.answers("bob") == [other.commit]


def test_failed_jobs_are_tried_again_after_a_while(university, processes):
    processes.start(
        before="""
from autograder.errors import GraderError
def grade(self, assignment, folder, commit):
    if (HERE / "mended").exists():
        return PretendedGraders.grade(self, assignment, folder, commit)
    raise GraderError("the sandbox broke")
Graders.grade = grade
"""
    )
    with university.parts() as parts:
        job = take(parts, university.push())
        until(lambda: parts.ledger.job(job).tries >= 2)
        (university.folder / "mended").touch()
        assert settled(parts, job) is JobState.FINAL
        exactly_once(university, parts, job)


# status --------------------------------------------------------------------------------------------------


def test_status_shows_jobs_queues_workers_and_the_dead(university):
    with university.parts() as parts:
        job = take(parts, university.push())
        parts.ledger.move(job, JobState.DEAD, reason="no such repository")
        parts.queue.cancel(job)
        take(parts, university.push(student="bob"))
    command = [sys.executable, "-m", "autograder", "status", "--config", str(university.config_file)]
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert (found["jobs"]["queued"], found["jobs"]["dead"]) == (1, 1)
    assert found["queues"]["cpu"]["waiting"] == 1
    assert [entry["reason"] for entry in found["dead"]] == ["no such repository"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert "worker   none; start one: autograder serve" in text
    assert f"dead     {job}: no such repository" in text


def test_an_address_that_is_taken_is_named(university, processes):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = processes.begin("--listen", address)
        assert service.wait(PATIENCE) == 1
    assert f"cannot listen on '{address}'" in (university.folder / "log").read_text()
