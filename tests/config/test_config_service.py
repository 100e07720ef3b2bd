"""autograder.toml: hosts, the service, feedback, deadlines; and the environment variables that replace keys."""

import pytest

from autograder.config import load, parse, settings
from autograder.config.reading import OVERRIDABLE, variable_of
from autograder.course.deadline import deadline_of
from autograder.errors import ConfigError

FILE = """\
[hosts."git.uni.example"]
kind = "gitea"
base = "https://git.uni.example"

[hosts.files]
kind = "folder"
base = "/srv/git"

[service]
listen = "127.0.0.1:8700"
retries = 3

[assignments.a0]
suite = "hidden/a0"
host = "files"
repositories = ["cs/a0-*"]
zone = "Europe/Berlin"
opens = "2026-09-01 08:00"
closes = "2026-09-15 23:59"
grace_minutes = 15
branch = "main"
policy = "best"

[assignments.a1]
suite = "hidden/a1"
host = "files"
repositories = ["cs/a1-*"]
"""


def wrong(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        parse(text, tmp_path / "autograder.toml")
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_values_and_defaults(tmp_path):
    config = parse(FILE, tmp_path / "autograder.toml")
    assert list(config.hosts) == ["git.uni.example", "files"]
    assert config.hosts["files"].username == "x-access-token"
    assert config.base("files") == "/srv/git"
    assert (config.service.retries, config.service.lease_seconds) == (3, 30)
    assert config.feedback.branch == "score-feedback"
    assert config.assignment("a0").policy == "best"
    assert deadline_of(config.assignment("a1")).closes is None


def test_without_hosts_folders_can_be_graded(tmp_path):
    config = parse('[assignments.a0]\nsuite = "x"\n', tmp_path / "autograder.toml")
    assert config.hosts == {}
    assert config.host_of("a0") == ""


def test_the_only_host_need_not_be_named(tmp_path):
    text = FILE.replace('host = "files"\n', "")
    one = text[: text.index("[hosts.files]")] + text[text.index("[service]") :]
    assert parse(one, tmp_path / "autograder.toml").host_of("a0") == "git.uni.example"
    assert "autograder.toml:15: assignments.a0.repositories: add the key host" in wrong(tmp_path, text)


MISTAKES = [
    ('kind = "gitea"', 'kind = "gitee"', "2: hosts.git.uni.example.kind", "allowed are github, gitea,"),
    ('kind = "gitea"', "", "1: hosts.git.uni.example", "missing required field `kind`"),
    ('kind = "gitea"', 'kind = "gitea"\ntoken = "x"', "3: hosts.git.uni.example.token", "allowed are kind, base"),
    ('kind = "folder"', 'kind = "folder"\nwebhook_secret_file = "x"', "7: hosts.files.webhook", "a post-receive"),
    ('base = "https://', 'base = "ftp://', "3: hosts.git.uni.example.base", "https://HOST, ssh://USER@HOST"),
    ('base = "https://', 'base = "http://', "3: hosts.git.uni.example.base", "not encrypted"),
    ('base = "https://', 'base = "https://ann:secret@', "3: hosts.git.uni.example.base", "without a password"),
    ('base = "https://', 'base = "ssh://git@', "3: hosts.git.uni.example.base", "ssh needs known_hosts_file"),
    ('base = "/srv/git"', 'base = "https://x.example"', "7: hosts.files.base", "a folder of this machine"),
    ('[hosts."git.uni.example"]', '[hosts."Git_Uni"]', "1: hosts.Git_Uni", "not a host's name"),
    ("[hosts.files]", '[hosts."git-uni.example"]', "5: hosts.git-uni.example", "same names as those of git.uni"),
    ("127.0.0.1:8700", "8700", "10: service.listen", "ADDRESS:PORT"),
    ("127.0.0.1:8700", "127.0.0.1:87000", "10: service.listen", "ADDRESS:PORT"),
    ("retries = 3", "retries = -1", "11: service.retries", "Expected `int` >= 0"),
    ("retries = 3", "retires = 3", "11: service.retires", "allowed are listen, url"),
    ("retries = 3", 'url = "javascript:x"', "11: service.url", "https://grades.uni.example"),
    ("retries = 3", "lease_seconds = 0", "11: service.lease_seconds", "> 0"),
    ("retries = 3", '[feedback]\nbranch = "a b"', "12: feedback.branch", "not the name of a branch"),
    ("retries = 3", '[feedback]\nname = "<b>"', "12: feedback.name", "cannot be the author"),
    ('host = "files"', 'host = "fiels"', "15: assignments.a0.host", "fiels; there are git.uni.example, files"),
    ("cs/a0-*", "a0-*", "16: assignments.a0.repositories", "write owner/name"),
    ("cs/a0-*", "cs/a0-*.git", "16: assignments.a0.repositories", "not a pattern"),
    ("cs/a0-*", "cs/../x", "16: assignments.a0.repositories", "not a pattern"),
    ("cs/a1-*", "cs/a0-*", "27: assignments.a1.repositories", "already a pattern of a0"),
    ("Europe/Berlin", "Europe/Berln", "17: assignments.a0.zone", "IANA name"),
    ('zone = "Europe/Berlin"', "", "18: assignments.a0.opens", "add the key zone"),
    ("2026-09-01 08:00", "1 September", "18: assignments.a0.opens", "write it as 2026-10-12 23:59"),
    ("2026-09-15 23:59", "2026-09-31 23:59", "19: assignments.a0.closes", "not a time"),
    ("2026-09-15 23:59", "2026-08-15 23:59", "19: assignments.a0.closes", "must be later than opens"),
    ("grace_minutes = 15", "grace_minutes = -1", "20: assignments.a0.grace_minutes", "grace period must be"),
    ('branch = "main"', 'branch = "score-feedback"', "21: assignments.a0.branch", "the branch of the feedback"),
    ('branch = "main"', 'branch = "-main"', "21: assignments.a0.branch", "not the name of a branch"),
    ('policy = "best"', 'policy = "first"', "22: assignments.a0.policy", "allowed are last, best"),
    ('policy = "best"', 'extensions_file = "x.txt"', "22: assignments.a0.extensions_file", ".csv or a .toml"),
    ('suite = "hidden/a1"', 'suite = "x"\nextensions_file = "x.csv"', "26: assignments.a1.ext", "no deadline"),
    ("[assignments.a1]", '[assignments."a 1"]', "24: assignments.a 1", "up to 32 letters"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "where", "message"), MISTAKES, ids=[row[2].rpartition(".")[2][:7] for row in MISTAKES]
)
def test_a_mistake_is_reported_with_its_line_and_what_is_allowed(tmp_path, old, new, where, message):
    assert old in FILE
    text = wrong(tmp_path, FILE.replace(old, new, 1))
    assert text.startswith(f"autograder.toml:{where}"), text
    assert message in text
    assert "secret@" not in text


# the environment -----------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "autograder.toml"
    path.write_text(FILE)
    return path


def test_a_variable_takes_precedence_over_the_file(file):
    config = load(file, {"AUTOGRADER_SERVICE_LISTEN": "[::1]:99", "AUTOGRADER_SERVICE_RETRIES": "7"})
    assert (config.service.listen, config.service.retries) == ("[::1]:99", 7)
    config = load(file, {"AUTOGRADER_LEDGER_URL": "sqlite:///x", "AUTOGRADER_FEEDBACK_EMAIL": "a@b.example"})
    assert (config.ledger_url(), config.feedback.email) == ("sqlite:///x", "a@b.example")


def test_an_empty_variable_counts_as_not_set(file, monkeypatch):
    config = load(file, {"AUTOGRADER_LEDGER_URL": "", "AUTOGRADER_SERVICE_RETRIES": ""})
    assert (config.ledger_url(), config.service.retries) == ("sqlite:///.autograder/ledger.sqlite", 3)
    (found,) = [
        item for item in settings(file, {"AUTOGRADER_SERVICE_RETRIES": ""}) if item.key == "service.retries"
    ]
    assert found.source == "autograder.toml:11"
    monkeypatch.setenv("AUTOGRADER_SECRET", "")
    assert len(config.secret()) == 64


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("AUTOGRADER_SERVICE_RETRIES", "many", "Expected `int`"),
        ("AUTOGRADER_SERVICE_RETRIES", "-1", "Expected `int` >= 0"),
        ("AUTOGRADER_SERVICE_LISTEN", "8700", "ADDRESS:PORT"),
        ("AUTOGRADER_FEEDBACK_BRANCH", "a..b", "not the name of a branch"),
    ],
    ids=["type", "range", "address", "branch"],
)
def test_a_mistake_in_a_variable_names_the_variable(file, variable, value, message):
    with pytest.raises(ConfigError) as caught:
        load(file, {variable: value})
    assert str(caught.value).startswith(f"{variable}: ")
    assert message in str(caught.value)


def test_what_is_trusted_stands_in_the_file_alone(file):
    assert not {"hosts", "assignments", "sandbox"} & set(OVERRIDABLE)
    assert variable_of(("sandbox", "waive")) == ""
    config = load(file, {"AUTOGRADER_SANDBOX_KIND": "none", "AUTOGRADER_HOSTS_FILES": "x"})
    assert config.sandbox.kind == "auto"


def test_every_setting_says_where_it_came_from(file):
    found = {
        item.key: (item.value, item.source) for item in settings(file, {"AUTOGRADER_SERVICE_URL": "http://x"})
    }
    assert found["service.url"] == ("http://x", "AUTOGRADER_SERVICE_URL")
    assert found["service.retries"] == (3, "autograder.toml:11")
    assert found["service.keep_days"] == (30.0, "default")
    assert found["hosts.git.uni.example.kind"] == ("gitea", "autograder.toml:2")
    assert found["hosts.files.base"] == ("/srv/git", "autograder.toml:7")
    assert found["assignments.a1.branch"] == ("main", "default")
    assert "folder" not in found
