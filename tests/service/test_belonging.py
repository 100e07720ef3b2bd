"""Whether a machine belongs to the course: its secret, suites and reference."""

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.config import SECRET_VARIABLE, load
from autograder.errors import ConfigError, GraderError
from autograder.grading.grader import Grader
from autograder.ledger import JobState
from autograder.report import Report
from autograder.service import belonging
from tests.support.course import CourseFolder
from tests.support.university import University, now

OTHER = "another-secret-of-32-characters!"


@pytest.fixture
def service(folder):
    university = University(folder)
    with university.parts() as parts:
        yield university, parts


def secret_file(parts):
    return parts.config.path(parts.config.secret_file)


def test_the_first_process_makes_the_secret_and_the_ledger_knows_it_then(service):
    _, parts = service
    belonging.require_secret(parts.config, parts.ledger)
    belonging.require_secret(parts.config, parts.ledger)
    (line,) = parts.ledger.audit_lines()
    secret = parts.config.secret(make=False)
    assert line.details == {"fingerprint": belonging.fingerprint(secret)}
    assert secret.decode() not in str(line)


def test_a_machine_with_another_secret_does_not_start(service, monkeypatch):
    _, parts = service
    belonging.require_secret(parts.config, parts.ledger)
    monkeypatch.setenv(SECRET_VARIABLE, OTHER)
    with pytest.raises(ConfigError, match="is not that of the ledger; copy the secret") as refused:
        belonging.require_secret(parts.config, parts.ledger)
    assert OTHER not in str(refused.value)


def test_a_machine_without_the_secret_does_not_make_one(service):
    _, parts = service
    belonging.require_secret(parts.config, parts.ledger)
    secret_file(parts).unlink()
    with pytest.raises(ConfigError, match="set AUTOGRADER_SECRET, or copy the file"):
        belonging.require_secret(parts.config, parts.ledger)
    assert not secret_file(parts).exists()


def test_of_two_first_processes_with_different_secrets_one_goes_on(service, monkeypatch):
    _, parts = service
    audit = parts.ledger.audit

    def late(*arguments, **values):  # the other process was between our look and our line
        monkeypatch.setattr(parts.ledger, "audit", audit)
        audit(
            "autograder",
            belonging.FIRST,
            why="x",
            subject=belonging.SUBJECT,
            details={"fingerprint": "theirs"},
        )
        return audit(*arguments, **values)

    monkeypatch.setattr(parts.ledger, "audit", late)
    with pytest.raises(ConfigError, match="is not that of the ledger"):
        belonging.require_secret(parts.config, parts.ledger)
    assert belonging.recorded(parts.ledger) == "theirs"


def test_staff_may_change_the_secret_on_purpose(service, monkeypatch):
    university, parts = service
    belonging.require_secret(parts.config, parts.ledger)
    monkeypatch.setenv(SECRET_VARIABLE, OTHER)
    command = ["ledger", "accept-secret", "--config", str(university.config_file)]
    assert CliRunner().invoke(main, command).exit_code == 2  # the reason is missing
    result = CliRunner().invoke(main, [*command, "--why", "it was in a public repository", "--who", "okafor"])
    assert (result.exit_code, result.output) == (0, "accepted\n")
    belonging.require_secret(parts.config, parts.ledger)
    line = parts.ledger.audit_lines()[0]
    assert (line.who, line.why) == ("okafor", "it was in a public repository")
    monkeypatch.delenv(SECRET_VARIABLE)
    with pytest.raises(ConfigError, match="is not that of the ledger"):
        belonging.require_secret(parts.config, parts.ledger)


def test_another_suite_or_reference_than_that_of_the_newest_report_is_named(service):
    university, parts = service
    ours = {"suite_digest": "s1", "reference_digest": "r1"}
    assert belonging.differences(parts.ledger, "t", ours) == []
    for work, provenance in (
        ("x = 1\n", {"suite_digest": "s0", "reference_digest": "r0"}),
        ("x = 2\n", ours),
    ):
        job = parts.intake.receive(university.push(work), now()).job
        parts.ledger.move(job.id, JobState.RUNNING, worker="host:0")
        parts.ledger.add_report(job.id, Report("t", (), provenance))
    assert belonging.differences(parts.ledger, "t", ours) == []
    assert belonging.differences(parts.ledger, "t", ours | {"suite_digest": "s2"}) == ["suite"]
    assert belonging.differences(parts.ledger, "t", {"suite_digest": "s2", "reference_digest": "r2"}) == [
        "suite",
        "reference",
    ]


def test_why_a_suite_cannot_start_is_told_to_everybody_who_asks(tmp_path):
    """The thread that waits for the suite to be warm must not take the reason away from the job that needs it."""
    course = CourseFolder(tmp_path, score="import nothing_of_that_name\n")
    with Grader(load(course.config_file), "t", config_file=course.config_file) as grader:
        for _ in range(2):
            with pytest.raises(GraderError, match="nothing_of_that_name"):
                grader.ready()
