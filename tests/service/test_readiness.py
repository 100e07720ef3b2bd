"""Ready means: can grade. What keeps a course from grading is named by every command that staff look at."""

import http.client
import json
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.config import load
from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.ledger import workers
from autograder.service import readiness
from tests.support.processes import PATIENCE, Processes, until
from tests.support.university import University


@pytest.fixture
def university(folder):
    return University(folder)


@pytest.fixture
def processes(university):
    processes = Processes(university)
    yield processes
    processes.end()


def write(university, text, path="autograder.toml"):
    file = university.course.folder / path
    file.write_text(text)


def configure(university, old, new):
    text = university.config_file.read_text()
    assert old in text
    university.config_file.write_text(text.replace(old, new))


def break_suite(university):
    write(university, "import probes\n\ndef test_double(student:\n", "hidden/t/test_score.py")


def break_probes(university):
    write(university, "def double(x)\n", "hidden/t/probes.py")


def break_reference(university):
    write(university, "def double(x):\n    return x\n", "src/work.py")


def remove_module(university):
    configure(university, "[assignments.t]\n", '[assignments.t]\npreload = ["numpi"]\n')


def remove_device(university):
    configure(university, "[assignments.t]\n", '[assignments.t]\ndevices = ["/dev/no-such-gpu"]\n')


def break_configuration(university):
    configure(university, "[assignments.t]\n", "[assignments.t]\ntimeout = 0\n")


FAULTS = [
    (break_suite, "hidden/t/test_score.py:3: SyntaxError: '(' was never closed"),
    (break_probes, "SyntaxError: expected ':'"),
    (break_reference, "the reference itself fails 1 case(s)"),
    (remove_module, "preload: numpi cannot be imported (No module named 'numpi')"),
    (remove_device, "devices: this machine has no /dev/no-such-gpu"),
    (break_configuration, "autograder.toml:2: assignments.t.timeout: Expected `float` > 0.0"),
]


def run(command, university):
    return CliRunner().invoke(main, [*command.split(), "--config", str(university.config_file)])


@pytest.mark.sandbox
@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_what_keeps_the_course_from_grading_is_found_at_once(university, fault, message):
    fault(university)
    (problem,) = readiness.problems(university.config_file)
    assert problem.startswith(f"{university.config_file}:")
    assert message in problem
    assert "\n" not in problem


@pytest.mark.sandbox
def test_a_machine_that_makes_no_sandbox_any_more_is_noticed(university, monkeypatch, tmp_path):
    assert readiness.problems(university.config_file) == []
    command = tmp_path / "bwrap"
    command.write_text("#!/bin/sh\necho 'No permissions to create a new namespace' >&2\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (problem,) = readiness.problems(university.config_file)
    assert "the sandbox did not start: No permissions to create a new namespace" in problem


@pytest.mark.sandbox
def test_the_service_its_page_and_every_command_name_the_same(university, processes):
    """`config check`, `serve`, `/readyz`, `status` and `doctor --config`."""
    with university.parts():
        pass  # there is a ledger
    break_suite(university)
    cause = "SyntaxError: '(' was never closed"
    service = processes.begin("--listen", "127.0.0.1:0", pretend=False)
    until(lambda: "not ready" in service.output(), lambda: service.output())
    assert cause in service.output()
    connection = http.client.HTTPConnection(service.url().removeprefix("http://"), timeout=PATIENCE)
    connection.request("GET", "/readyz")
    response = connection.getresponse()
    assert response.status == 503
    assert cause in "".join(json.load(response)["problems"])
    connection.close()
    for command, status in (("config check", 2), ("status", 0), ("doctor", 1)):
        result = run(command, university)
        assert (result.exit_code, cause in result.output) == (status, True), result.output


@pytest.mark.sandbox
def test_check_says_what_it_tried_and_makes_no_secret(university):
    result = run("config check", university)
    assert result.exit_code == 0, result.output
    assert "ok    t: the sandbox starts, and the reference passes the suite" in result.output
    assert not (university.course.folder / ".autograder" / "secret").exists()


# what is remembered --------------------------------------------------------------------------------------


class PretendedGrader:
    """Counts how often it was started; fails if the suite says so."""

    started = 0

    def __init__(self, config, assignment, **_settings):
        self.suite = config.path(config.assignment(assignment).suite) / "test_score.py"

    def ready(self):
        PretendedGrader.started += 1
        if "broken" in self.suite.read_text():
            raise GraderError("the suite is broken")

    def close(self):
        pass


@pytest.fixture
def grader(university):
    with university.parts():
        pass
    PretendedGrader.started = 0
    return PretendedGrader


def test_what_works_is_tried_again_only_when_something_changed(university, grader):
    for _ in range(3):
        assert readiness.problems(university.config_file, make=grader) == []
    assert grader.started == 1
    write(university, "# another suite", "hidden/t/test_score.py")
    assert readiness.problems(university.config_file, make=grader) == []
    configure(university, "[assignments.t]\n", "[assignments.t]\ntimeout = 3\n")
    assert readiness.problems(university.config_file, make=grader) == []
    assert grader.started == 3


def test_what_does_not_work_is_tried_again_each_time(university, grader):
    write(university, "broken", "hidden/t/test_score.py")
    for _ in range(2):
        assert readiness.problems(university.config_file, make=grader) == [
            f"{university.config_file}:1: assignments.t: the suite is broken"
        ]
    assert grader.started == 2


@pytest.mark.parametrize(
    ("queues", "skipped"),
    [
        (("cpu",), "this machine does not serve the queue gpu"),
        (None, "this machine has no /dev/no-such-gpu; try it on one that has"),
        (("gpu",), ""),
    ],
)
def test_an_assignment_of_another_machine_is_not_tried_here(university, grader, queues, skipped):
    configure(
        university, "[assignments.t]\n", '[assignments.t]\nqueue = "gpu"\ndevices = ["/dev/no-such-gpu"]\n'
    )
    config = load(university.config_file)
    (found,) = readiness.tried(config, university.config_file, ["t"], queues=queues, make=grader)
    assert found.skipped == skipped
    assert bool(grader.started) == (not skipped)


def test_status_shows_what_the_service_sees(university, grader, monkeypatch):
    monkeypatch.setattr(readiness, "problems", lambda *_arguments, **_settings: ["of the service"])
    watch = readiness.Watch(university.config_file, ["cpu"])
    assert watch.problems() == [readiness.NOT_YET]
    watch.start()
    try:
        until(lambda: watch.done and list((university.course.folder / ".autograder/ready").glob(".found-*")))
        monkeypatch.setattr(readiness, "problems", lambda *_arguments, **_settings: ["of this command"])
        assert readiness.seen(university.config_file) == watch.problems() == ["of the service"]
    finally:
        watch.stop()
    assert readiness.seen(university.config_file) == ["of this command"]  # no service runs any more


@pytest.mark.sandbox
def test_the_doctor_tries_the_devices_of_the_course(university):
    remove_device(university)
    result = run("doctor", university)
    assert result.exit_code == 1
    assert "FAIL  device /dev/no-such-gpu: not there" in result.output
    assert "ok    wall: " in result.output
    assert "devices: this machine has no /dev/no-such-gpu" in result.output


# queues --------------------------------------------------------------------------------------------------


@pytest.fixture
def two_queues(folder):
    university = University(folder, lease_seconds=1000)
    with university.config_file.open("a") as file:
        file.write('\n[assignments.g]\nsuite = "hidden/t"\nqueue = "gpu"\nrepositories = ["dls/g-*"]\n')
    return university


def test_a_queue_that_nobody_serves_is_named(two_queues):
    course = Course.of(load(two_queues.config_file))
    now = datetime.now(timezone.utc)
    assert readiness.recorded(course) == ([], [])  # there is no ledger yet
    with two_queues.parts() as parts:
        assert readiness.recorded(course)[0] == []  # no worker runs
        workers.start(parts.ledger.database, "grader:0", origin="", queues=["cpu"], version="1", now=now)
        (problem,) = readiness.recorded(course)[0]
        assert problem == (
            "no worker serves the queue gpu, so g cannot be graded; start one: autograder worker --queues gpu"
        )
        result = run("config check --no-suites", two_queues)
        assert (result.exit_code, f"FAIL  {problem}" in result.output) == (2, True)
        assert f"problem  {problem}" in run("status", two_queues).output
        workers.start(parts.ledger.database, "gpu-machine:0", origin="", queues=["gpu"], version="1", now=now)
        assert readiness.recorded(course)[0] == []
        later = now + timedelta(days=1)
        assert not any(readiness.is_alive(row, later, 30) for row in workers.workers(parts.ledger.database))
        assert len(readiness.unserved(course, [])) == 2


def test_an_extension_of_a_name_that_is_nearly_a_student_s_is_named(folder):
    keys = 'zone = "UTC"\ncloses = "2026-09-15 23:59"\nextensions_file = "extensions.csv"\n'
    university = University(folder, assignment=keys)
    extensions = university.course.folder / "extensions.csv"
    extensions.write_text("student,assignment,closes\n2O23,t,2026-09-20 12:00\nzoe,t,2026-09-20 12:00\n")
    with university.parts() as parts:
        parts.intake.receive(university.push(student="2023"), datetime(2026, 9, 1, tzinfo=timezone.utc))
    result = run("config check --no-suites", university)
    assert result.exit_code == 2
    message = f"{extensions}:2: student: no repository of '2O23' has pushed, but one of '2023' has; correct the name"
    assert f"FAIL  {message}" in result.output
    assert f"note  {extensions}:3: no repository of zoe has pushed to t yet" in result.output
    assert f"problem  {message}" in run("status", university).output
