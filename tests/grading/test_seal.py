"""The seal: whatever a student edits in a published score is seen."""

import json

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.grading import seal
from autograder.grading.seal import MAX_BYTES, State
from autograder.report import dumps, markdown
from tests.support.githost import Bare, git
from tests.support.ledgers import commit, report

SECRET = b"a course secret of some length"
WHOSE = {"repository": "git.uni.example/cs/a0-ann", "commit": commit("one"), "attempt": 1}
TABLE = markdown([report(60)]).encode()
DATA = seal.sealed(report(60).to_json(), TABLE, **WHOSE, secret=SECRET)


def check(data, table=TABLE, secret=SECRET):
    content = data if isinstance(data, bytes) else dumps(data).encode()
    return seal.verify(content, table, secret)


def test_what_was_published_is_unchanged():
    found = check(DATA)
    assert (found.state, found.reason) == (State.UNCHANGED, "")
    assert (found.repository, found.commit, found.attempt) == tuple(WHOSE.values())
    assert (found.assignment, found.points, found.max_points) == ("a0", 60, 100)


def test_the_report_itself_is_as_it_was():
    assert {key: value for key, value in DATA.items() if key != "seal"} == report(60).to_json()


def test_another_layout_is_unchanged():
    assert check(json.dumps(dict(reversed(DATA.items()))).encode()).state is State.UNCHANGED


def test_without_score_md_only_score_json_is_checked():
    assert check(DATA, table=None).state is State.UNCHANGED


def edit(*path, to):
    data = json.loads(dumps(DATA))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return data


@pytest.mark.parametrize(
    "edited",
    [
        edit("points", to=100),
        edit("points", to=60.0),
        edit("points", to=True),
        edit("cases", 1, "verdict", to="passed"),
        edit("cases", 1, "message", to=""),
        edit("cases", to=[]),
        edit("provenance", "commit", to=commit("two")),
        edit("assignment", to="a1"),
        edit("extra", to=1),
        edit("seal", "commit", to=commit("two")),
        edit("seal", "repository", to="git.uni.example/cs/a0-bo"),
        edit("seal", "attempt", to=2),
        edit("seal", "table", to="0" * 64),
        edit("seal", "hmac", to="0" * 64),
        edit("seal", "hmac", to="ä\ud800"),
        edit("seal", "hmac", to=None),
        edit("seal", "more", to=1),
        edit("seal", to={}),
        edit("seal", to="x"),
        edit("points", to=float("inf")),
    ],
    ids=[
        "points",
        "float",
        "bool",
        "verdict",
        "message",
        "no-cases",
        "provenance",
        "assignment",
        "extra",
        "commit",
        "repository",
        "attempt",
        "table",
        "hmac",
        "hmac-surrogate",
        "hmac-none",
        "seal-key",
        "seal-empty",
        "seal-text",
        "infinity",
    ],
)
def test_every_edit_is_seen(edited):
    content = json.dumps(edited).encode()
    assert check(content).state is State.EDITED


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"points": ' + b"9" * 10_000 + b"}",
        b" " * (seal.MAX_BYTES + 1),
        dumps(DATA).replace('"points": 60,', '"points": 100, "points": 60,', 1).encode(),
    ],
    ids=["empty", "not-utf8", "braces", "brackets", "digits", "spaces", "key-twice"],
)
def test_what_is_no_report_is_edited(content):
    assert check(content).state is State.EDITED


def test_an_edited_table_is_seen():
    found = check(DATA, TABLE.replace(b"| 60 |", b"| 100 |"))
    assert found.state is State.EDITED
    assert "score.md" in found.reason
    assert found.points == 60


def test_what_the_service_did_not_publish_is_not_sealed():
    assert check(report(60).to_json()).state is State.UNSEALED
    assert check(b"[]").state is State.UNSEALED


def test_a_seal_of_another_secret_is_named():
    assert check(DATA, secret=b"another secret of some length").state is State.OTHER_SECRET


# the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_SECRET", SECRET.decode())
    file = tmp_path / "autograder.toml"
    file.write_text('[assignments.a0]\nsuite = "x"\n')
    return file


def verify(config, path):
    return CliRunner().invoke(main, ["verify", str(path), "--config", str(config)])


def files(data=DATA, table=TABLE):
    return {"score.json": dumps(data).encode(), "score.md": table}


def test_a_file_is_verified_with_the_table_beside_it(config, tmp_path):
    for name, content in files().items():
        (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / "score.json"):
        result = verify(config, path)
        assert result.exit_code == 0, result.output
        assert result.stdout == (
            f"unchanged: git.uni.example/cs/a0-ann at {commit('one')}, attempt 1: a0, 60 of 100 points\n"
        )
    (tmp_path / "score.md").write_text("# Score Summary\n\n100 / 100\n")
    result = verify(config, tmp_path)
    assert result.exit_code == 1
    assert "edited: score.md is not what was published" in result.output
    (tmp_path / "score.md").unlink()
    assert "no score.md to compare" in verify(config, tmp_path).output


def test_a_bare_repository_is_verified(config, tmp_path):
    bare = Bare(tmp_path / "a0-ann.git")
    bare.commit(files(), branch="score-feedback")
    result = verify(config, bare.path)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("unchanged: ")
    bare.commit(files(edit("points", to=100)), branch="score-feedback")
    result = verify(config, bare.path)
    assert result.exit_code == 1
    assert "edited: score.json is not what was published" in result.output


def test_a_clone_is_verified_as_its_origin_has_it(config, tmp_path):
    bare = Bare(tmp_path / "a0-ann.git")
    bare.commit({"README": b"x"})
    bare.commit(files(), branch="score-feedback")
    git(tmp_path, "clone", "--quiet", str(bare.path), "clone")
    (tmp_path / "clone" / "score.json").write_text("{}")
    assert verify(config, tmp_path / "clone").exit_code == 0


@pytest.mark.parametrize(
    "content",
    [{"README": b"x"}, None],
    ids=["other-file", "no-branch"],
)
def test_a_repository_without_feedback_is_no_fault_of_anybody(config, tmp_path, content):
    bare = Bare(tmp_path / "a0-ann.git")
    bare.commit({"README": b"x"})
    if content:
        bare.commit(content, branch="score-feedback")
    result = verify(config, bare.path)
    assert result.exit_code == 1
    missing = (
        "there is no score.json on the branch" if content else "has no branch score-feedback: nothing was"
    )
    assert f"error: {bare.path}" in result.output
    assert missing in result.output


def test_a_link_on_the_branch_leads_nowhere(config, tmp_path):
    bare = Bare(tmp_path / "a0-ann.git")
    bare.commit({"score.json": b"/etc/passwd"}, branch="score-feedback", modes={"score.json": "120000"})
    assert "there is no score.json" in verify(config, bare.path).output


def test_a_table_that_cannot_be_compared_is_not_called_unchanged(config, tmp_path):
    bare = Bare(tmp_path / "a0-ann.git")
    bare.commit(files(table=b"forged.md"), branch="score-feedback", modes={"score.md": "120000"})
    result = verify(config, bare.path)
    assert result.exit_code == 1, result.output
    assert "score.md" in result.output
    bare.commit(files(table=b"x" * (MAX_BYTES + 1)), branch="score-feedback")
    result = verify(config, bare.path)
    assert result.exit_code == 1, result.output
    assert "score.md" in result.output


def test_a_name_that_is_there_twice_is_edited(config, tmp_path):
    bare = Bare(tmp_path / "a0-ann.git")
    forged = bare.blob(dumps(edit("points", to=100)).encode())
    entries = [("100644", name.encode(), bare.blob(content)) for name, content in files().items()]
    bare.commit_tree(bare.tree(("100644", b"score.json", forged), *entries), branch="score-feedback")
    assert bare.show("score-feedback:score.json") == dumps(edit("points", to=100)).encode()  # what people see
    result = verify(config, bare.path)
    assert result.exit_code == 1, result.output
    assert "twice" in result.output
