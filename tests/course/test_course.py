"""The resolved configuration: repositories, credentials, deadlines, endpoints."""

from datetime import datetime, timedelta, timezone

import pytest

from autograder.config import parse
from autograder.config.times import DeadlineError
from autograder.course.course import Course
from autograder.course.deadline import Timing
from autograder.errors import ConfigError
from autograder.git.remote import RemoteError
from autograder.ledger import RepositoryName, ScorePolicy

HOST = "git.uni.example"
FILE = """\
[hosts."git.uni.example"]
kind = "gitea"
base = "https://git.uni.example/base"
webhook_secret_file = "secrets/hook"
token_file = "secrets/token"
bots = ["grader"]

[hosts.files]
kind = "folder"
base = "repositories"

[assignments.a0]
suite = "hidden/a0"
host = "git.uni.example"
repositories = ["cs/a0-*", "teams/*/a0"]
zone = "Europe/Berlin"
opens = "2026-09-01 08:00"
closes = "2026-09-15 23:59"
grace_minutes = 15
extensions_file = "extensions.csv"

[assignments.a1]
suite = "hidden/a1"
host = "git.uni.example"
repositories = ["cs/a?-*", "cs/plain"]
branch = "submit"
policy = "best"
queue = "gpu"

[assignments.a2]
suite = "hidden/a2"
host = "files"
repositories = ["*/a2"]
"""
CLOSES = datetime(2026, 9, 15, 21, 59, 59, 999_999, tzinfo=timezone.utc)
GRACE = timedelta(minutes=15)


@pytest.fixture(autouse=True)
def no_secrets_of_this_machine(monkeypatch):
    for name in ("AUTOGRADER_TOKEN_GIT_UNI_EXAMPLE", "AUTOGRADER_WEBHOOK_SECRET_GIT_UNI_EXAMPLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def course(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "hook").write_text("first-secret-of-16\nsecond-secret-of-16\n")
    (tmp_path / "secrets" / "token").write_text("Zq7-token\n")
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\nBo,a0,2026-09-20 12:00\n")
    return Course.of(parse(FILE, tmp_path / "autograder.toml"))


def repository(path, host=HOST):
    return RepositoryName.parse(f"{host}/{path}")


def target(course, path, branch="main", host=HOST):
    return course.target(repository(path, host), branch)


# repositories ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "branch", "assignment", "student"),
    [
        ("cs/a0-ann", "main", "a0", "ann"),
        ("teams/red/a0", "main", "a0", "red"),
        ("cs/a1-ann", "submit", "a1", "ann"),
        ("cs/plain", "submit", "a1", "plain"),
    ],
    ids=["a0", "team", "a1", "plain"],
)
def test_a_repository_belongs_to_the_first_assignment_that_matches(course, path, branch, assignment, student):
    found = target(course, path, branch)
    assert (found.assignment, found.student, found.branch) == (assignment, student, branch)
    assert found.repository == repository(path)
    assert found.remote.url == f"https://git.uni.example/base/{path}.git"


@pytest.mark.parametrize(
    ("path", "branch"),
    [
        ("cs/a0-ann", "submit"),  # the branch of a1, whose second pattern matches too
        ("cs/a0-ann", "score-feedback"),
        ("cs/a0-", "main"),  # nobody
        ("cs/b0-ann", "main"),
        ("cs/deep/a0-ann", "main"),  # a star does not cross a slash
        ("teams/red/blue/a0", "main"),
        ("xcs/a0-ann", "main"),
        ("cs/a0-ann.git", "main"),  # the same repository under a second name
        ("cs/plainly", "submit"),
    ],
)
def test_what_does_not_match_is_not_graded(course, path, branch):
    assert target(course, path, branch) is None


def test_names_match_as_their_host_matches_them(course):
    assert target(course, "CS/A0-Ann").student == "Ann"
    assert (
        target(course, "CS/plain", "submit", host="files") is None
    )  # a file system tells upper from lower case


def test_a_repository_of_another_host_is_not_graded(course):
    assert target(course, "cs/a0-ann", host="files") is None
    assert target(course, "cs/a0-ann", host="elsewhere.example") is None


def test_a_folder_is_relative_to_the_configuration(course, tmp_path):
    found = target(course, "ann/a2", host="files")
    assert found.remote.protocol == "file"
    assert found.remote.url == f"{tmp_path}/repositories/ann/a2.git"
    assert (found.student, found.queue) == ("ann", "cpu")


def test_the_queue_is_the_assignment_s(course):
    assert target(course, "cs/a1-ann", "submit").queue == "gpu"


# credentials and secrets -------------------------------------------------------------------------------


def test_a_token_is_read_at_each_call(course, tmp_path):
    assert course.credentials(HOST).token == "Zq7-token"
    (tmp_path / "secrets" / "token").write_text("another")
    assert course.credentials(HOST).token == "another"


def test_the_environment_takes_precedence_over_the_file(course, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_TOKEN_GIT_UNI_EXAMPLE", "from-environment")
    assert course.credentials(HOST).token == "from-environment"


def test_no_token_is_no_token(course):
    assert course.credentials("files").token == ""


def test_a_secret_is_in_no_repr_and_no_error(course, tmp_path):
    assert "Zq7" not in repr(course.credentials(HOST)) + repr(course.config)
    assert "first-secret" not in repr(course.endpoint(HOST))
    (tmp_path / "secrets" / "token").write_text("Zq7 token")
    with pytest.raises(RemoteError) as caught:
        course.credentials(HOST)
    assert "Zq7" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [("", "is empty"), ("\n", "is empty"), ("tök", "is not ASCII text")]
)
def test_a_token_file_without_a_token_is_our_fault(course, tmp_path, content, message):
    (tmp_path / "secrets" / "token").write_text(content)
    with pytest.raises(ConfigError, match=f"token.*{message}"):
        course.credentials(HOST)


def test_a_missing_token_file_names_the_file_and_the_variable(course, tmp_path):
    (tmp_path / "secrets" / "token").unlink()
    with pytest.raises(
        ConfigError, match=r"cannot read .*secrets/token: No such file.*AUTOGRADER_TOKEN_GIT_UNI_EXAMPLE"
    ):
        course.credentials(HOST)


def test_the_endpoint_has_all_secrets_and_bots(course):
    endpoint = course.endpoint(HOST)
    assert endpoint.host == HOST
    assert endpoint.secrets == (b"first-secret-of-16", b"second-secret-of-16")
    assert endpoint.bots == ("grader",)


def test_a_host_without_a_webhook_has_no_endpoint(course):
    with pytest.raises(ConfigError, match="has no webhook"):
        course.endpoint("files")
    with pytest.raises(ConfigError, match=r"no host 'nowhere'; .*git\.uni\.example, files"):
        course.endpoint("nowhere")


def test_an_endpoint_without_a_secret_is_refused(tmp_path):
    text = FILE.replace('webhook_secret_file = "secrets/hook"\n', "")
    course = Course.of(parse(text, tmp_path / "autograder.toml"))
    with pytest.raises(ConfigError) as caught:
        course.endpoint(HOST)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/autograder.toml:1: hosts.{HOST}: the webhook of {HOST} has no secret")
    assert (
        f'webhook_secret_file = "FILE" to [hosts."{HOST}"], or set AUTOGRADER_WEBHOOK_SECRET_GIT_UNI' in said
    )


def test_the_staff_token_is_made_once_and_private(course, monkeypatch, tmp_path):
    monkeypatch.delenv("AUTOGRADER_STAFF_TOKEN", raising=False)
    token = course.staff_token()
    assert course.staff_token() == token
    assert len(token) == 64
    file = tmp_path / ".autograder" / "staff-token"
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in file.parent.iterdir()] == ["staff-token"]


# deadlines ---------------------------------------------------------------------------------------------


def test_a_deadline_has_its_zone_and_grace(course):
    deadline = course.deadline("a0")
    assert deadline.closes == CLOSES
    assert deadline.grace == GRACE
    assert course.deadline("a1").closes is None


def test_an_extension_is_the_student_s(course):
    assert course.extension(target(course, "cs/a0-ann")) is None
    assert course.extension(target(course, "cs/a0-bo")).closes > CLOSES
    assert course.extension(target(course, "cs/a1-bo", "submit")) is None


def test_extensions_are_read_again_when_the_file_changed(course, tmp_path):
    course.extension(target(course, "cs/a0-ann"))
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\nann,a0,2026-09-30 12:00\n")
    assert course.extension(target(course, "cs/a0-ann")) is not None
    assert course.extension(target(course, "cs/a0-bo")) is None


LATE = datetime(2026, 9, 16, 9, tzinfo=timezone.utc)


def test_while_the_file_has_a_mistake_only_pushes_that_would_be_late_wait(course, tmp_path):
    file = tmp_path / "extensions.csv"
    assert course.decide(target(course, "cs/a0-ann"), LATE).timing is Timing.LATE
    file.write_text("student,assignment,closes\nann,a0,tomorrow\neve,a0,2026/9/20 12:00\n")
    for _ in range(2):
        with pytest.raises(
            DeadlineError, match=r"extensions\.csv:2: closes: not a time.*waits until the file is corrected"
        ):
            course.decide(target(course, "cs/a0-ann"), LATE)
    assert course.decide(target(course, "cs/a0-ann"), CLOSES).timing is Timing.ON_TIME
    assert course.decide(target(course, "cs/a0-bo"), LATE).extended  # by the last version without a mistake
    assert course.decide(target(course, "cs/a0-eve"), LATE).extended
    file.unlink()
    with pytest.raises(DeadlineError, match="the extensions cannot be read"):
        course.decide(target(course, "cs/a0-ann"), LATE)
    assert repository("cs/a0-bo") in course.cutoffs("a0", [repository("cs/a0-bo")]).extensions


def test_a_class_deadline_after_an_extension_stops_nothing(course, tmp_path):
    text = FILE.replace('closes = "2026-09-15 23:59"', 'closes = "2026-09-30 23:59"')
    course = Course.of(parse(text, tmp_path / "autograder.toml"))
    decision = course.decide(target(course, "cs/a0-bo"), datetime(2026, 9, 25, tzinfo=timezone.utc))
    assert (decision.timing, decision.extended) == (Timing.ON_TIME, False)
    assert course.cutoffs("a0", [repository("cs/a0-bo")]).extensions == {}
    assert not [text for text in course.problems() if "extensions" in text]
    (note,) = course.notes()
    assert note.startswith(
        f"{tmp_path}/extensions.csv:2: has no effect: a0 closes for everybody on Wed 30 Sep 2026"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cs/b0-bob",
            "'cs/b0-bob' cannot be a student: no repository of cs/a0-*, teams/*/a0 can have that name",
        ),
        ("cs/a0-bob", "'cs/a0-bob' is a repository; write the student's name, bob"),
        ("a0-bob", "'a0-bob' is a repository; write the student's name, bob"),
        ("2.02E+11", "'2.02E+11' is a number that a spreadsheet program has shortened"),
        ("Zoë", "'Zoë' cannot be a student"),
        ("-bob/", "'-bob/' cannot be a student"),
    ],
)
def test_a_name_that_no_student_can_have_is_a_mistake(course, tmp_path, name, message):
    (tmp_path / "extensions.csv").write_text(f"student,assignment,closes\n{name},a0,2026-09-20 12:00\n")
    (extensions,) = course.extensions()
    (mistake,) = extensions.mistakes
    assert mistake.startswith(f"{tmp_path}/extensions.csv:2: student: {message}")


def test_a_name_that_looks_like_the_student_s_keeps_the_push_from_being_called_late(course, tmp_path):
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\n2O23,a0,2026-09-20 12:00\n")
    with pytest.raises(DeadlineError, match=r"extensions\.csv:2: the name 2O23 is nearly 2023; .* waits"):
        course.decide(target(course, "cs/a0-2023"), LATE)
    assert course.decide(target(course, "cs/a0-2024"), LATE).timing is Timing.LATE


def test_cutoffs_include_grace_and_extensions(course):
    names = [repository("cs/a0-ann"), repository("cs/a0-bo"), repository("cs/other"), repository("cs/a1-bo")]
    cutoffs = course.cutoffs("a0", names)
    assert cutoffs.default == CLOSES + GRACE
    extended = datetime(2026, 9, 20, 10, 0, 59, 999_999, tzinfo=timezone.utc)
    assert cutoffs.extensions == {repository("cs/a0-bo"): extended + GRACE}
    assert course.cutoffs("a1", names).default is None


def test_policies(course):
    assert course.policy("a0") is ScorePolicy.LAST
    assert course.policy("a1") is ScorePolicy.BEST


# places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "sqlite+pysqlite:///{folder}/.autograder/jobs.sqlite"),
        ('[ledger]\nurl = "sqlite:///x/grades.db"', "sqlite+pysqlite:///{folder}/x/jobs.sqlite"),
        ('[ledger]\nurl = "postgresql://u@h/grades"', "postgresql+psycopg://u@h/grades"),
        ('[service]\njobs = "sqlite:///q.sqlite"', "sqlite+pysqlite:///{folder}/q.sqlite"),
    ],
    ids=["default", "sqlite", "postgresql", "jobs"],
)
def test_jobs_are_beside_the_ledger_by_default(tmp_path, settings, expected):
    course = Course.of(parse(FILE + settings, tmp_path / "autograder.toml"))
    assert course.jobs_url() == expected.format(folder=tmp_path)


def test_feedback_is_ours(course, tmp_path):
    assert course.feedback.branch == "score-feedback"
    assert course.feedback.signing_key is None
    text = FILE + '[feedback]\nname = "Course staff"\nsigning_key_file = "secrets/sign"\n'
    feedback = Course.of(parse(text, tmp_path / "autograder.toml")).feedback
    assert feedback.identity.name == "Course staff"
    assert feedback.signing_key == tmp_path / "secrets" / "sign"


@pytest.fixture
def complete(course, tmp_path):
    (tmp_path / "repositories").mkdir()
    for name in ("a0", "a1", "a2"):
        (tmp_path / "hidden" / name).mkdir(parents=True)
        (tmp_path / "hidden" / name / "test_score.py").touch()
    for name in ("hook", "token"):
        (tmp_path / "secrets" / name).chmod(0o600)
    (tmp_path / "src").mkdir()
    return course


def test_a_complete_course_has_no_problems(complete):
    assert complete.problems() == []


def test_problems_are_named_all_at_once(complete, tmp_path):
    (tmp_path / "secrets" / "token").unlink()
    (tmp_path / "secrets" / "hook").write_text("short")
    (tmp_path / "secrets" / "hook").chmod(0o640)
    (tmp_path / "extensions.csv").write_text("a,b\n")
    (tmp_path / "repositories").rmdir()
    (tmp_path / "src").rmdir()
    (tmp_path / "hidden" / "a1" / "test_score.py").unlink()
    text = "\n".join(complete.problems())
    for part in (
        f"{tmp_path}/autograder.toml:10: hosts.files.base: there is no folder",
        f"{tmp_path}/autograder.toml:1: reference: there is no folder {tmp_path}/src",
        f"{tmp_path}/autograder.toml:23: assignments.a1.suite: there is no file",
        f"chmod 600 {tmp_path}/secrets/hook",
        "the token of git.uni.example",
        "shorter than 16 bytes",
        "extensions.csv:1:",
    ):
        assert part in text
    assert len(complete.problems()) == 7


def test_a_spool_that_anybody_may_write_to_is_a_problem(complete):
    complete.spool().mkdir(parents=True)
    complete.spool().chmod(0o770)
    assert complete.problems() == []
    complete.spool().chmod(0o777)
    assert complete.problems() == [
        f"every user can write to {complete.spool()}, and claim pushes: chmod o-w {complete.spool()}"
    ]


def test_what_is_configured_and_not_used_is_a_problem(tmp_path):
    text = FILE.replace('repositories = ["*/a2"]', "") + '[feedback]\nsigning_key_file = "sign"\n'
    text = "\n".join(Course.of(parse(text, tmp_path / "autograder.toml")).problems())
    assert "hosts.files: no assignment has repositories on it" in text
    assert "feedback.signing_key_file: there is no file" in text


def test_where_a_missing_token_goes_is_said(tmp_path):
    text = FILE.replace('token_file = "secrets/token"\n', "")
    notes = Course.of(parse(text, tmp_path / "autograder.toml")).notes()
    assert notes == [
        f"{tmp_path}/autograder.toml:1: hosts.{HOST}: there is no token, so only `autograder ci` can publish feedback: "
        f'add token_file = "FILE" to [hosts."{HOST}"], or set AUTOGRADER_TOKEN_GIT_UNI_EXAMPLE'
    ]


def test_where_a_missing_key_of_a_github_app_goes_is_said(tmp_path):
    text = """
[hosts."github.com"]
kind = "github"
base = "https://github.com"
app_id = "1"
app_installation = 2
[assignments.a0]
suite = "a0"
repositories = ["cs/a0-*"]
"""
    course = Course.of(parse(text, tmp_path / "autograder.toml"))
    with pytest.raises(ConfigError) as caught:
        course.credentials("github.com")
    said = str(caught.value)
    assert said.startswith(
        f"{tmp_path}/autograder.toml:5: hosts.github.com.app_id: the GitHub App has no key: add "
    )
    assert 'app_key_file = "FILE" to [hosts."github.com"], or set AUTOGRADER_APP_KEY_GITHUB_COM' in said
