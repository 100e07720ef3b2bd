"""The service as processes: pushes go in, feedback comes out. Faults are in test_service_faults.py."""

import contextlib
import hashlib
import hmac
import http.client
import json
import signal
import subprocess
import sys

import pytest

from autograder.errors import GraderError
from autograder.ledger import JobState
from autograder.ledger.workers import workers
from autograder.service import serve
from autograder.service import status as overview
from tests.support.ledgers import problems
from tests.support.processes import PATIENCE, Processes, accounted, settled, until
from tests.support.university import BROKEN, HALF, RIGHT, University, now


@pytest.fixture
def university(folder):
    return University(folder)


@pytest.fixture
def processes(university):
    processes = Processes(university)
    yield processes
    processes.end()


def ask(url, method, path, body=None, headers=None):
    """Send an HTTP request; return the status."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        return connection.getresponse().status


def take(parts, push):
    return parts.intake.receive(push, now()).job.id


# the whole thing -----------------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_pushes_are_graded_in_the_sandbox_and_answered(university, processes):
    processes.start(pretend=False)
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
    secret = "s3cr3t" * 6
    university.course.write("hook", secret).chmod(0o600)
    text = university.config_file.read_text().replace('kind = "folder"', 'kind = "gitea"')
    base = f'base = "file://{university.folder}/host"\nwebhook_secret_file = "hook"'
    university.course.write("autograder.toml", text.replace('base = "../host"', base))
    service = processes.start()
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
        assert ask(service.url(), "POST", "/webhook/gitea", body, headers) == status
    until(university.published)
    assert ask(service.url(), "GET", "/readyz") == 200
    service.send_signal(signal.SIGTERM)
    assert service.wait() == 0
    assert [line for line in university.log() if line["level"] == "error"] == []


@pytest.mark.sandbox
def test_a_suite_that_changed_is_used_from_the_next_push_on(university, processes):
    processes.start(pretend=False)
    with university.parts() as parts:
        settled(parts, take(parts, university.push(HALF)))
        assert university.score() == 40
        suite = university.course.folder / "hidden/t/test_score.py"
        suite.write_text(
            suite.read_text().replace("points=60", "points=30").replace("points=40", "points=70")
        )
        settled(parts, take(parts, university.push(HALF + "#\n")))
        assert university.score() == 70


# ended in order ------------------------------------------------------------------------------------------


def test_a_second_ctrl_c_ends_at_once(university, processes):
    service = processes.start(before='hold("go")')
    with university.parts() as parts:
        take(parts, university.push())
        until((university.folder / "go.reached").exists)
        service.send_signal(signal.SIGINT)
        until(lambda: "\nending" in service.output())
        service.send_signal(signal.SIGINT)
        assert service.wait() == 130


# several workers --------------------------------------------------------------------------------------


def test_workers_are_processes_that_end_with_the_first(university, processes):
    service = processes.start("--workers", "2", pretend=False)
    with university.parts() as parts:
        until(lambda: len(workers(parts.ledger.database)) == 2)
        names = sorted(row.name[-2:] for row in workers(parts.ledger.database))
        assert names == [":0", ":1"]
        service.kill()
        until(lambda: [row.name[-2:] for row in workers(parts.ledger.database)] == [":0"])


def test_pushes_of_many_students_are_answered_by_two_workers(university, processes):
    processes.start()
    processes.start(command="worker")
    students = [f"s{number}" for number in range(6)]
    with university.parts() as parts:
        jobs = [take(parts, university.push(RIGHT, student)) for student in students]
        assert {settled(parts, job) for job in jobs} == {JobState.FINAL}
        assert [university.score(student) for student in students] == [100] * 6
        assert problems(parts.ledger) == []


# the reconciler ------------------------------------------------------------------------------------------


def test_what_the_queue_forgot_is_queued_again(university, processes):
    with university.parts() as parts:
        push = university.push()
        parts.ledger.record_push(university.repository(), commit=push.commit, ref=push.ref)
        other = university.push(student="bob")
        parts.ledger.record_push(university.repository("bob"), commit=other.commit, ref=other.ref)
        parts.ledger.open_job(university.repository("bob"), other.commit, "t")
        processes.start()
        until(lambda: university.published() and university.published("bob"))
        assert university.published("bob") == [other.commit]


def test_failed_jobs_are_tried_again_after_a_while(university, processes):
    processes.start(
        before="""
from autograder.errors import GraderError
def grade(self, assignment, folder, commit, draws):
    if (HERE / "repaired").exists():
        return PretendedGraders.grade(self, assignment, folder, commit, draws)
    raise GraderError("the sandbox broke")
Graders.grade = grade
"""
    )
    with university.parts() as parts:
        job = take(parts, university.push())
        until(lambda: parts.ledger.job(job).tries >= 2)
        (university.folder / "repaired").touch()
        assert settled(parts, job) is JobState.FINAL
        assert accounted(university, parts, ["ann"]) == []


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


def test_status_of_a_ledger_without_jobs_says_none():
    nothing = {
        "jobs": {},
        "problems": [],
        "queues": {},
        "workers": [],
        "running": [],
        "dead": [],
        "failed": [],
    }
    assert next(overview.lines(nothing)) == "jobs     none"


def test_an_address_that_is_taken_is_named(university, processes):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = processes.begin("--listen", address, pretend=False)
        assert service.wait() == 1
    log = (university.folder / "log").read_text()
    assert f"cannot listen on '{address}': another program uses it" in log


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:x", ":8700"])
def test_an_address_that_is_not_one_is_refused_with_an_example(address):
    with pytest.raises(GraderError, match="ADDRESS:PORT is needed, such as"):
        serve._listening(address)
