"""Planted leaks are found wherever they are; what may be seen is not a leak."""

import ast

import pytest

from autograder import config
from autograder.release import leaks, markers, proof, repository, starter
from autograder.release.proof import NotReady
from tests.support import ROOT
from tests.support.staff import EARLIER, SETTINGS, Staff

SOLUTION = "return _scaled_by_a_factor(x, 2 + math.floor(0.5))"
HIDDEN = "assert_close(student(probes.double, x), ref(probes.double, x))"
SECRET = "correct-horse-battery-staple"


@pytest.fixture
def staff(tmp_path):
    return Staff(tmp_path / "staff")


def check(staff, **planted):
    """Look for leaks in the starter of `staff` with files planted in it."""
    settings = config.load(staff.config_file)
    made = starter.build(settings, "t")
    made.files.update({path.replace("__", "/"): content for path, content in planted.items()})
    proof.nothing_leaks(settings, made, {})


def caught(staff, text, message, path="test_toy.py"):
    with pytest.raises(NotReady, match=message):
        check(staff, **{path: text.encode()})


def test_a_clean_starter_passes(staff):
    check(staff)


@pytest.mark.parametrize(
    "text",
    [
        f"    {SOLUTION}\n",
        f"# {SOLUTION}\n",
        f"# the answer is {SOLUTION.removeprefix('return ')}, they say: {SOLUTION}\n",
        "return  _scaled_by_a_factor( x, 2+math.floor( 0.5 ) )\n",
        "> return x * factor\n",
    ],
    ids=["as-it-is", "comment", "within-a-line", "other-spaces", "short-line"],
)
def test_a_solution_line_is_found(staff, text):
    caught(staff, f"x = 1\n{text}", r"test_toy\.py:2: a line of the solution in src/work\.py")


def test_a_helper_s_docstring_is_found(staff):
    caught(staff, "Multiply, which is what nobody may know.", "the solution in src/work.py")


def test_the_solution_of_a_later_assignment_is_found(staff):
    caught(staff, "return sorted(numbers, key=lambda number: -number)", r"the solution in src/later\.py")


def test_the_solution_of_an_earlier_assignment_may_be_seen(staff):
    assert 'return "".join((text, text, ""))' in EARLIER
    check(staff, **{"README.md": b'return "".join((text, text, ""))\n'})


def test_a_hidden_case_is_found(staff):
    caught(staff, f"    {HIDDEN}\n", "a line of the hidden suite of t")


def test_a_declared_line_may_be_seen(tmp_path):
    settings = SETTINGS.replace("score = 0", f'score = 0\npublic = ["{HIDDEN}"]', 1)
    check(Staff(tmp_path, settings=settings), **{"test_toy.py": HIDDEN.encode()})


def test_a_marker_left_is_found(staff):
    caught(staff, "### BEGIN SOLUTION\n", r"test_toy\.py:1: a solution marker")


@pytest.mark.parametrize(
    "place",
    ["hidden/t/probes.py", "see starter/gitignore", "(docs/assignment.md)"],
    ids=["hidden", "starter", "docs"],
)
def test_a_path_of_the_staff_repository_is_found(staff, place):
    caught(staff, f"# {place}\n", "a path of the staff repository")


def test_where_the_staff_repository_lies_is_found(staff):
    caught(staff, f"# {staff.folder}/x\n", "a path of the staff: ")


def test_the_secret_of_the_course_is_found_and_not_repeated(staff):
    staff.write(".autograder/secret", f"{SECRET}\n")
    with pytest.raises(NotReady) as caught:
        check(staff, **{"README.md": f"key {SECRET}\n".encode()})
    assert "README.md:1: the secret in secret_file" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_secret_of_the_environment_is_found(staff, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_WEBHOOK_SECRET_HOST", SECRET)
    caught(staff, f"{SECRET}\n", "the secret in AUTOGRADER_WEBHOOK_SECRET_HOST")


@pytest.mark.parametrize(
    "key",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ghp_" + "a1" * 18,
        "github_pat_" + "b2" * 20,
        "glpat-" + "c3" * 10,
    ],
    ids=["ssh", "github", "github-fine-grained", "gitlab"],
)
def test_keys_and_tokens_are_found_by_their_look(staff, key):
    caught(staff, key, "a key or token")


@pytest.mark.parametrize(
    "path",
    ["hidden/t/test_score.py", ".github/workflows/other.yml", "notes.txt"],
    ids=["hidden", "workflow", "notes"],
)
def test_a_file_that_does_not_belong_is_refused(staff, path):
    caught(staff, "", "does not belong in a starter", path=path)


def test_a_leak_in_an_object_that_no_branch_shows_is_found(staff, tmp_path):
    settings = config.load(staff.config_file)
    made = starter.build(settings, "t")
    folder = tmp_path / "out"
    folder.mkdir()
    repository.create(folder, made)
    proof.nothing_leaks(settings, made, repository.contents(folder))
    (tmp_path / "leak").write_text(f"{SOLUTION}\n")
    repository._Git(folder)("hash-object", "-w", str(tmp_path / "leak"))
    with pytest.raises(NotReady, match=r"blob [0-9a-f]{40}:1: a line of the solution"):
        proof.nothing_leaks(settings, made, repository.contents(folder))


def test_a_leak_in_a_commit_message_or_a_file_of_git_is_found(staff):
    settings = config.load(staff.config_file)
    made = starter.build(settings, "t")
    for name in ("commit 1234", ".git/description"):
        with pytest.raises(NotReady, match=f"^1 leaks.*\n  {name}:1: a line of the solution"):
            proof.nothing_leaks(settings, made, {name: SOLUTION.encode()})


@pytest.mark.parametrize("assignment", ["a0", "a1", "a2"])
def test_every_solution_and_every_hidden_case_of_ours_would_be_noticed(assignment):
    settings = config.load(ROOT / "autograder.toml")
    made = starter.build(settings, assignment)
    detector = leaks.detector(settings, withheld=made.withheld, released=made.files, public=made.public)
    pieces = []
    for path in made.withheld:
        lines = (ROOT / path).read_text().split("\n")
        for region in markers.regions("\n".join(lines), path):
            pieces.append((f"{path}:{region.begin}", lines[region.begin : region.end - 1]))
    for path in sorted((ROOT / "hidden").glob("a*/*.py")):
        lines = path.read_text().split("\n")
        for node in ast.parse("\n".join(lines)).body:
            if isinstance(node, ast.FunctionDef):
                pieces.append((f"{path}:{node.name}", lines[node.lineno - 1 : node.end_lineno]))
    assert len(pieces) > 50
    unnoticed = [name for name, lines in pieces if not detector.scan(name, "\n".join(lines).encode())]
    assert unnoticed == []


def test_a_compiled_file_is_searched_in_one_piece(staff):
    settings = config.load(staff.config_file)
    made = starter.build(settings, "t")
    detector = leaks.detector(settings, withheld=made.withheld, released=made.files)
    assert not detector.scan_binary("a.so", b"\x7fELF\0double\0Return twice x.")
    (leak,) = detector.scan_binary("a.so", b"\x7fELF\0\0" + SOLUTION.encode() + b"\0")
    assert str(leak).startswith("a.so: a line of the solution in src/work.py")
