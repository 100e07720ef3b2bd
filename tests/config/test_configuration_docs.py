"""docs/configuration.md has every key of the schema with its default and meaning. And `autograder config`."""

import dataclasses
import inspect
import json
import re

import msgspec
import pytest
from click.testing import CliRunner

from autograder import config
from autograder.cli import main
from autograder.config import reading, schema, secrets
from autograder.config.reading import CONFIG_VARIABLE
from autograder.hosts import KINDS
from autograder.sandbox.limits import Limits
from tests.support import ROOT

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text()
TABLES = {
    "The top of the file": schema.Config,
    "`[course]`": schema.CourseConfig,
    "`[assignments.NAME]`": schema.AssignmentConfig,
    "`[assignments.NAME.limits]`": schema.LimitsConfig,
    "`[assignments.NAME.build]`": schema.BuildConfig,
    "`[assignments.NAME.release]`": schema.ReleaseConfig,
    "`[starter]` and `[assignments.NAME.starter]`": schema.StarterConfig,
    '`[hosts."NAME"]`': schema.HostConfig,
    "`[service]`": schema.ServiceConfig,
    "`[feedback]`": schema.FeedbackConfig,
    "`[notices]`": schema.NoticesConfig,
    "`[ledger]`": schema.LedgerConfig,
    "`[sandbox]`": schema.SandboxConfig,
}
TABLES_OF_TOP = {
    *("course", "starter", "assignments", "hosts", "sandbox", "ledger", "service", "feedback"),
    "notices",
}
NO_KEYS = {*TABLES_OF_TOP, *reading.NO_KEYS}


def rows(kind):
    """Return the rows of the document for a table of the file, from its docstring and defaults."""
    attributes = inspect.getdoc(kind).split("Attributes:\n")[1]
    texts = dict(re.findall(r"^    (\w+): ((?:.|\n {8})+)", attributes, re.MULTILINE))
    for field in msgspec.structs.fields(kind):
        if kind is schema.Config and field.name in NO_KEYS:
            continue
        default = "required"
        if not field.required:
            made = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
            default = (
                ""
                if made is None or isinstance(made, msgspec.Struct)
                else f"`{json.dumps(msgspec.to_builtins(made))}`"
            )
        yield f"| `{field.name}` | {default} | {re.sub(chr(10) + ' +', ' ', texts[field.name])} |"


@pytest.mark.parametrize(
    "title", TABLES, ids=[kind.__name__.removesuffix("Config") or "top" for kind in TABLES.values()]
)
def test_every_key_is_documented_as_the_schema_has_it(title):
    section = DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0].strip().splitlines()
    assert section[:2] == ["| key | default | meaning |", "|---|---|---|"]
    assert section[2:] == list(rows(TABLES[title]))


def test_no_table_is_left_out():
    fields = {field.name: field.type for field in msgspec.structs.fields(schema.Config)}
    structs = {
        kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }
    assert structs == set(TABLES.values())
    assert set(fields) >= NO_KEYS


def test_the_limits_of_the_file_are_those_of_the_sandbox():
    assert msgspec.structs.asdict(schema.LimitsConfig()) == dataclasses.asdict(Limits())


def test_every_kind_of_host_is_documented():
    section = DOCUMENT.split("\n## Kinds of host\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{name}` | {kind.title} | {'post-receive hook' if kind.is_folder else 'webhook'} | "
        f"{'yes' if kind.app_api else 'no'} |"
        for name, kind in KINDS.items()
    ]


def test_every_variable_is_documented():
    names = [value for name, value in vars(secrets).items() if name.endswith("_VARIABLE")]
    assert len(names) == 8
    for name in [*names, CONFIG_VARIABLE]:
        assert f"| `{name}" in DOCUMENT


def test_the_example_is_accepted(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    loaded = config.parse(example, tmp_path / "autograder.toml")
    assert loaded.host_of("a0") == "git.uni.example"


# the commands --------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path, monkeypatch):
    for name in ("AUTOGRADER_SECRET", "AUTOGRADER_STAFF_TOKEN", "AUTOGRADER_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTOGRADER_WEBHOOK_SECRET_GIT_UNI_EXAMPLE", "Zq7-webhook-secret-of-the-course")
    path = tmp_path / "autograder.toml"
    path.write_text(
        '[hosts."git.uni.example"]\nkind = "gitea"\nbase = "https://git.uni.example"\ntoken_file = "token"\n'
        '[ledger]\nurl = "postgresql://ann:Zq7-password@db/grades"\n'
        '[assignments.a0]\nsuite = "a0"\nrepositories = ["cs/a0-*"]\n'
    )
    (tmp_path / "token").write_text("Zq7-token")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "a0").mkdir()
    (tmp_path / "a0" / "test_score.py").touch()
    return path


def run(*arguments):
    return CliRunner().invoke(main, ["config", *map(str, arguments)])


def test_show_says_where_each_value_came_from_and_no_secret(file, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_SERVICE_LISTEN", "127.0.0.1:9000")
    monkeypatch.setenv("AUTOGRADER_SERVICE_JOBS", "postgresql://ann:Zq7-jobs@db/jobs")
    result = run("show", "--config", file)
    assert result.exit_code == 0, result.output
    assert "Zq7" not in result.output
    lines = {line.split(" = ")[0]: line for line in result.output.splitlines()}
    assert re.search(r'"127.0.0.1:9000" +# AUTOGRADER_SERVICE_LISTEN$', lines["service.listen"])
    assert re.search(r'"postgresql://ann:\*\*\*@db/grades" +# autograder.toml:6$', lines["ledger.url"])
    assert re.search(r"30.0 +# default$", lines["service.keep_days"])
    assert lines["token of git.uni.example"].endswith(f"# {file.parent}/token")
    assert lines["webhook secret of git.uni.example"].endswith("# AUTOGRADER_WEBHOOK_SECRET_GIT_UNI_EXAMPLE")
    assert "is not set, no file .autograder/secret" in lines["course secret"]


def test_show_is_json_where_that_is_wanted(file):
    shown = json.loads(run("show", "--json", "--config", file).output)
    assert shown["assignments.a0.suite"] == {"value": "a0", "source": "autograder.toml:8"}


@pytest.mark.parametrize("text", ['course = "dl"', '[course]\nname = "dl"'], ids=["key", "table"])
def test_the_name_of_the_course_is_a_key_or_in_a_table(file, text):
    rest = file.read_text()
    file.write_text(f"{text}\n{rest}")
    shown = json.loads(run("show", "--json", "--config", file).output)
    line = text.count("\n") + 1
    assert shown["course.name"] == {"value": "dl", "source": f"autograder.toml:{line}"}


def test_show_makes_no_secret(file):
    run("show", "--config", file)
    assert not (file.parent / ".autograder").exists()


def test_check_says_ok_or_what_is_wrong(file):
    (file.parent / "src").mkdir()
    result = run("check", "--no-suites", "--config", file)
    assert result.exit_code == 0, result.output
    assert "hosts: git.uni.example" in result.output
    (file.parent / "token").chmod(0o644)
    result = run("check", "--no-suites", "--config", file)
    assert result.exit_code == 2
    assert f"FAIL  other users can read {file.parent}/token" in result.output
    file.write_text("[assignments.a0]\nsuit = 1\n")
    result = run("check", "--config", file)
    assert result.exit_code == 2
    assert "autograder.toml:2: assignments.a0.suit: this key is not allowed" in result.output


def test_check_shows_each_deadline_in_words_and_doubtful_zones(file):
    (file.parent / "src").mkdir()
    file.write_text(file.read_text() + 'zone = "Etc/GMT+8"\ncloses = "2026-09-15 23:59"\n')
    result = run("check", "--no-suites", "--config", file)
    assert result.exit_code == 0, result.output
    assert (
        "a0 closes Tue 15 Sep 2026, 23:59 UTC-08 (Etc/GMT+8), UTC-08:00, which is Wed 16 Sep 2026, 07:59 UTC"
        in result.output
    )
    assert f"note  {file}:10: assignments.a0.zone: Etc/GMT+8 is UTC-08:00 here: the sign" in result.output


def test_check_shows_the_line_of_a_mistake_in_the_extensions(file):
    (file.parent / "src").mkdir()
    file.write_text(
        file.read_text() + 'zone = "UTC"\ncloses = "2026-09-15 23:59"\nextensions_file = "extensions.csv"\n'
    )
    extensions = file.parent / "extensions.csv"
    extensions.write_text(
        "student,assignment,closes\ncs/b0-bob,a0,2026-09-20 12:00\nann,a0,2026-09-20\neve,a0,2026-09-01 12:00\n"
    )
    result = run("check", "--no-suites", "--config", file)
    assert result.exit_code == 2
    assert f"FAIL  {extensions}:2: student: 'cs/b0-bob' cannot be a student" in result.output
    assert f"FAIL  {extensions}:3: closes: not a time" in result.output
    assert f"note  {extensions}:4: has no effect: a0 closes for everybody" in result.output
