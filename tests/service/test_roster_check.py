"""`autograder roster`: who is missing, what belongs to nobody, who shares a repository, whose work is the same."""

import json

import pytest

from autograder import config
from autograder.course.course import Course
from autograder.ledger import AdjustmentKind, RepositoryName, Source
from autograder.service import roster_check
from tests.support.classroom import FILE, HOST, ROSTER, Class
from tests.support.ledgers import commit


def checked(dls, **values):
    """Return what the check says, a line for each finding."""
    return [
        (finding.kind, finding.problem, finding.line())
        for finding in roster_check.check(dls.course, dls.ledger, **values)
    ]


@pytest.fixture
def dls(folder):
    made = Class(folder)
    yield made
    made.ledger.close()


def test_before_anything_was_handed_out(dls):
    assert checked(dls) == [
        ("no repository", False, "a0: no student has a repository; they were not handed out yet"),
        ("no repository", False, "a1: no student has a repository; they were not handed out yet"),
    ]
    assert checked(dls, ask_hosts=False, assignments=["a0"]) == [
        ("no push", False, "a0: no student has pushed yet")
    ]


def test_who_has_no_repository_no_hook_and_no_push_is_named(dls):
    dls.bare("a0-ann")
    dls.bare("a0-bob", hook=False)
    dls.graded("a0-ann", "work")
    found = checked(dls, assignments=["a0"])
    assert found[0][:2] == ("no hook", True)
    assert "dls/a0-bob.git has no hook, so its pushes are found late" in found[0][2]
    assert found[1:] == [
        ("no repository", False, "a0: have no repository: 韩梅梅 (2026003)"),
        ("no push", False, "a0: have not pushed yet: 李雷 (2026002)"),
    ]


def test_a_push_that_nobody_reported_is_a_sign_of_a_missing_webhook(dls):
    dls.graded("a0-ann", "first", source=Source.HOST)
    dls.graded("a0-bob", "second", source=Source.HOST)
    dls.graded("a0-bob", "third", source=Source.WEBHOOK)
    found = {kind: line for kind, _, line in checked(dls, ask_hosts=False, assignments=["a0"])}
    assert found["no hook"].endswith(f"see docs/webhooks.md: {HOST}/dls/a0-ann")


def test_a_repository_of_nobody_is_a_problem(dls):
    dls.graded("a0-eve", "work")
    dls.graded("a0-ada", "work")  # staff try out the assignment
    found = checked(dls, ask_hosts=False, assignments=["a0"])
    text = "nobody in the roster has the name that these repositories have; correct the roster"
    assert found[0] == ("nobody", True, f"a0: {text}: {HOST}/dls/a0-eve")
    assert "ada" not in str(found[1:-1])


def test_an_adjustment_of_nobody_is_a_problem(dls):
    for student in ("ann", "eve"):
        name = RepositoryName(HOST, "dls", f"a0-{student}")
        dls.ledger.add_adjustment(name, "a0", AdjustmentKind.SET, points=5, who="x", why="y")
    (first, *_) = checked(dls, ask_hosts=False, assignments=["a0"])
    assert first[:2] == ("nobody", True)
    assert first[2].startswith("a0: staff adjusted a score, and nobody in the roster has the name")
    assert first[2].endswith(f": {HOST}/dls/a0-eve")


def test_members_of_a_team_share_a_repository(dls):
    dls.graded("a1-red", "work")
    assert checked(dls, ask_hosts=False, assignments=["a1"]) == [
        ("no push", False, "a1: have not pushed yet: 王小明 (2026001)")
    ]
    dls.graded("a1-bob", "own work")
    (first, *_) = checked(dls, ask_hosts=False, assignments=["a1"])
    text = "is in the team red, and has a repository of their own (dls/a1-bob), which does not count"
    assert first == ("alone", True, f"a1: {text}: 李雷 (2026002)")


def test_two_repositories_of_one_student_are_a_problem(dls):
    dls.graded("a0-ann", "work")
    dls.graded("a0-2026001", "other")
    (first, *_) = checked(dls, ask_hosts=False, assignments=["a0"])
    assert first[:2] == ("several", True)
    assert "has 2 repositories (dls/a0-2026001, dls/a0-ann)" in first[2]


def test_identical_work_is_named_and_the_starter_is_not(dls):
    dls.graded("a1-ann", "x1", tree="copied", points=60)
    dls.graded("a1-ann", "x2", tree="copied", points=60)  # a commit that leaves src/ alone
    dls.graded("a1-red", "x3", tree="copied", points=60)
    dls.graded("a1-ann", "x4", tree="starter", points=10)
    dls.graded("a1-red", "x5", tree="starter", points=10)
    dls.graded("a1-ann", "x6", tree="nothing", points=0)
    dls.graded("a1-red", "x7", tree="nothing", points=0)
    found = [line for kind, _, line in checked(dls, ask_hosts=False) if kind == "identical"]
    commits = ", ".join(sorted(commit(word)[:10] for word in ("x1", "x3")))
    assert found == [
        f"a1: handed in the same src/ (commits {commits}): 王小明 (2026001), 李雷 (2026002), 韩梅梅 (2026003)"
    ]


def test_mistakes_of_the_roster_and_of_extensions_are_problems(dls):
    settings = FILE.replace(
        '"dls/a0-*"]\n',
        '"dls/a0-*"]\nzone = "UTC"\ncloses = "2026-09-15 23:59"\nextensions_file = "extensions.csv"\n',
    )
    (dls.folder / "autograder.toml").write_text(settings)
    (dls.folder / "roster.csv").write_text(ROSTER + "2026001,again\n")
    (dls.folder / "extensions.csv").write_text("student,assignment,closes\nbib,a0,2026-09-20 12:00\n")
    result = dls.run("roster", "check", "--no-hosts")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert f"FAIL  {dls.folder}/roster.csv:6: id 2026001 is also in line 2; correct one of them" in lines
    assert any("extensions.csv:2: student: nobody in" in line for line in lines if line.startswith("FAIL"))
    assert lines[-1] == "error: 2 problems; correct what is listed above"


def test_check_is_json_where_that_is_wanted(dls):
    dls.graded("a0-eve", "work")
    result = dls.run("roster", "check", "--no-hosts", "--json", "-a", "a0")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    assert rows[0] == {
        "kind": "nobody",
        "problem": True,
        "assignment": "a0",
        "text": "nobody in the roster has the name that these repositories have; correct the roster",
        "people": [],
        "repositories": [f"{HOST}/dls/a0-eve"],
    }


def test_check_without_a_ledger_or_a_roster(dls):
    dls.ledger.close()
    (dls.folder / ".autograder" / "ledger.sqlite").unlink()
    result = dls.run("roster", "check")
    assert result.exit_code == 0, result.output
    assert "nothing is known about pushes" in result.stderr
    assert "ok    the roster agrees" in result.stdout
    (dls.folder / "autograder.toml").write_text(FILE.replace('roster = "roster.csv"', ""))
    for command in ("check", "show"):
        result = dls.run("roster", command)
        assert result.exit_code == 2
        assert 'has no roster: add roster = "roster.csv" to [course]' in result.output
    assert dls.run("roster", "check", "-a", "a9").exit_code == 2


def test_a_host_that_cannot_be_asked_is_a_problem_and_nobody_is_called_missing(dls, monkeypatch):
    settings = FILE.replace('kind = "folder"\nbase = "host"', 'kind = "gitea"\nbase = "https://127.0.0.1:9"')
    (dls.folder / "autograder.toml").write_text(settings)
    course = Course.of(config.load(dls.folder / "autograder.toml"))
    found = roster_check.check(course, dls.ledger, assignments=["a0"])
    assert [finding.kind for finding in found] == ["host", "no push"]


def test_show_aligns_chinese_names(dls):
    result = dls.run("roster", "show")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "id       name    section  team     role     logins  a0   a1",
        "2026001  王小明  1班               student  ann     ann  ann",
        "2026002  李雷    1班      a1: red  student  bob     bob  red",
        "2026003  韩梅梅  2班      a1: red  student  cat     cat  red",
        "t1       Ada                       staff    ada     -    -",
    ]


@pytest.mark.parametrize(
    ("who", "ids"),
    [("BOB", ["2026002"]), ("2026003", ["2026003"]), ("red", ["2026002", "2026003"]), ("小明", ["2026001"])],
)
def test_show_finds_by_id_login_team_or_a_part_of_the_name(dls, who, ids):
    rows = json.loads(dls.run("roster", "show", who, "--json").stdout)
    assert [row["id"] for row in rows] == ids
    if who == "BOB":
        assert rows[0]["repositories"] == {"a0": "bob", "a1": "red"}
        assert rows[0]["teams"] == {"a1": "red"}


def test_show_of_nobody_says_so(dls):
    result = dls.run("roster", "show", "eve")
    assert result.exit_code == 1
    assert "nobody in" in result.stderr
    assert "is eve" in result.stderr
