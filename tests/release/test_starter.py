"""What is in a starter, for a small course and for ours."""

import ast
import re
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from autograder import config
from autograder.errors import ConfigError, GraderError
from autograder.release import carried, handout, proof, repository, starter
from tests.support import ROOT
from tests.support.staff import CHINESE, EARLIER, ENGLISH, SETTINGS, STARTER, TOY, WORK, Staff

TOP_LEVEL = {
    "src",
    "test_toy.py",
    "test_with_ref.py",
    "test_score.py",
    "test_script.sh",
    "run_docker.sh",
    "Dockerfile",
    "requirements.txt",
    ".github",
    "README.md",
    "README.zh-CN.md",
    ".gitignore",
}
OWN_SETTINGS = ("conftest.py", "pytest.ini", ".gitattributes")  # of our own starters


DOCUMENTS = {"README.md": "docs/assignment.md", "README.zh-CN.md": "docs/assignment.zh-CN.md"}


def readme(text, paths):
    return handout.readme(text, {*paths, *DOCUMENTS}, "docs/assignment.md", DOCUMENTS)


def build(staff, assignment="t"):
    return starter.build(config.load(staff.config_file), assignment)


@pytest.fixture(scope="module", params=["a0", "a1", "a2"])
def ours(request):
    return starter.build(config.load(ROOT / "autograder.toml"), request.param)


# a small course ------------------------------------------------------------------------------------------


def test_a_starter_has_the_top_level_that_students_know(tmp_path):
    assert {path.partition("/")[0] for path in build(Staff(tmp_path)).files} == TOP_LEVEL


def test_its_own_task_is_stripped_earlier_ones_solved_later_ones_absent(tmp_path):
    made = build(Staff(tmp_path))
    assert b'raise NotImplementedError("Task1: double")' in made.files["src/work.py"]
    assert b'return "".join((text, text, ""))' in made.files["src/earlier.py"]
    assert "src/later.py" not in made.files
    assert made.theirs == {"src/work.py", "test_toy.py", "test_with_ref.py"}
    assert set(made.withheld) == {"src/work.py", "src/later.py"}


def test_an_assignment_that_is_given_complete_has_no_stub(tmp_path):
    made = build(Staff(tmp_path), "s")
    assert b"NotImplementedError" not in b"".join(made.files.values())
    assert made.theirs == {"test_toy.py", "test_with_ref.py"}
    assert [path for path in made.files if path.startswith("src/")] == [
        "src/__init__.py",
        "src/earlier.py",
        "src/given.py",
    ]


def test_an_import_that_becomes_unused_vanishes(tmp_path):
    assert build(Staff(tmp_path)).files["src/work.py"].decode() == (
        '"""Task1: numbers."""\n\n__all__ = ["double"]\n\n\n'
        'def double(x):\n    """Return twice x."""\n    raise NotImplementedError("Task1: double")\n'
    )


def test_given_code_that_needs_a_solution_s_helper_is_refused(tmp_path):
    staff = Staff(tmp_path)
    staff.write("src/work.py", WORK + "\n\ndef given(x):\n    return _scaled_by_a_factor(x, 3)\n")
    with pytest.raises(GraderError, match=r"(?s)has mistakes.*_scaled_by_a_factor"):
        build(staff)


def test_a_marker_out_of_order_is_refused(tmp_path):
    staff = Staff(tmp_path)
    staff.write("src/work.py", WORK.replace("    ### END SOLUTION\n", "", 1))
    with pytest.raises(GraderError, match=r"^src/work\.py:14: nested markers"):
        build(staff)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('files = ["src/work.py"]', 'files = ["src/nothing.py"]', "matches no file"),
        (
            'files = ["src/work.py"]',
            'files = ["src/work.py", "src/later.py"]',
            "belongs to two assignments, t and u",
        ),
        ('files = ["src/work.py"]', 'files = ["src/__init__.py"]', "src/work.py has solutions, but belongs"),
        ('given = ["s"]', 'given = ["x"]', "there is no assignment 'x'"),
        ('given = ["s"]', 'given = ["t"]', "t cannot be given with t"),
        ("score = 0", 'score = "none"', "Expected `int`"),
        ("complete = true", "completed = true", "this key is not allowed; allowed are task, files"),
    ],
    ids=["no-file", "two-owners", "unlisted", "unknown", "itself", "type", "key"],
)
def test_a_declaration_that_makes_no_sense_is_refused(tmp_path, old, new, message):
    staff = Staff(tmp_path, settings=SETTINGS.replace(old, new, 1))
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(staff)


def test_an_assignment_without_a_release_says_what_to_add(tmp_path):
    with pytest.raises(ConfigError, match=r"add \[assignments\.t\.release\]"):
        build(Staff(tmp_path, settings=""))


def test_a_file_that_is_not_committed_is_refused(tmp_path):
    staff = Staff(tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    build(staff)
    staff.write("src/notes.py", "x = 1\n")
    with pytest.raises(GraderError, match=r"src/notes\.py is not committed"):
        build(staff)


def test_a_missing_file_is_named(tmp_path):
    staff = Staff(tmp_path)
    (tmp_path / "test_toy.py").unlink()
    with pytest.raises(GraderError, match=r"a starter needs .*test_toy\.py: No such file"):
        build(staff)


# what the configuration says ------------------------------------------------------------------------------


def test_a_course_may_hand_out_less(tmp_path):
    """Neither a Dockerfile nor a workflow, one language, no visible tests, no requirements."""
    few = '\n[starter]\nhandout = { "LIESMICH.md" = "docs/assignment.md" }\n'
    staff = Staff(tmp_path)
    staff.config_file.write_text(staff.config_file.read_text().replace(STARTER, few))
    made = build(staff)
    assert {path for path in made.files if not path.startswith("src/")} == {"LIESMICH.md"}
    assert (made.tests, made.theirs) == ((), {"src/work.py"})


def test_an_assignment_adds_to_what_the_course_hands_out(tmp_path):
    staff = Staff(tmp_path, settings=SETTINGS + '\n[assignments.t.starter]\nfiles = ["data/*.csv"]\n')
    staff.write("data/a.csv", "1\n")
    assert build(staff).files["data/a.csv"] == b"1\n"
    assert "data/a.csv" not in build(staff, "s").files


def test_everything_that_is_missing_is_said_at_once(tmp_path):
    staff = Staff(tmp_path, settings=SETTINGS.replace('files = ["src/work.py"]', 'files = ["src/wrok.py"]'))
    for path in ("Dockerfile", "requirements.txt", "test_with_ref.py"):
        (tmp_path / path).unlink()
    staff.write("docs/assignment.md", "# Nothing\n")
    staff.write("src/later.py", "### BEGIN SOLUTION\n")
    with pytest.raises(GraderError) as error:
        build(staff)
    for line in (
        "assignments.t.release.files: 'src/wrok.py' matches no file",
        "src/work.py has solutions, but belongs to no assignment's release.files",
        "src/later.py:1: this solution is never closed",
        f"a starter needs {tmp_path / 'Dockerfile'}: No such file",
        f"a starter needs {tmp_path / 'requirements.txt'}: No such file",
        f"a starter needs {tmp_path / 'test_with_ref.py'}: No such file",
        "README.md of the starter does not name Task1",
    ):
        assert f"\n  {line}" in str(error.value)
    assert str(error.value).startswith("7 problems:\n")


def test_a_handout_names_the_task_and_the_files_to_write(tmp_path):
    staff = Staff(tmp_path)
    staff.write("docs/assignment.zh-CN.md", "# 讲义 Task1\n")
    with pytest.raises(
        GraderError, match=r"^README\.zh-CN\.md of the starter does not name src/work\.py, so"
    ):
        build(staff)


def test_a_starter_without_a_handout_is_refused(tmp_path):
    staff = Staff(tmp_path)
    staff.config_file.write_text(staff.config_file.read_text().replace("handout =", "# handout ="))
    with pytest.raises(ConfigError, match="the starter has no handout; name one"):
        build(staff)


@pytest.mark.parametrize("pattern", ["hidden/t/*.py", "*.toml", ".autograder/secret", "src/work.py"])
def test_what_is_for_the_staff_cannot_be_handed_out(tmp_path, pattern):
    staff = Staff(tmp_path, settings=SETTINGS + f'\n[assignments.t.starter]\nfiles = ["{pattern}"]\n')
    with pytest.raises(ConfigError, match=r"is for the staff alone|cannot be beside src/"):
        build(staff)


def test_an_assignment_may_stand_alone(tmp_path):
    """In our course: nothing is given, and no file that nobody touched is in the way."""
    for path in ("src", "docs", "starter", "hidden"):
        shutil.copytree(ROOT / path, tmp_path / path, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, tmp_path / path.name)
    (tmp_path / "src" / "conv.py").write_text(
        '"""Task3: conv."""\n\n\ndef conv(x):\n    """Return x."""\n    ### BEGIN SOLUTION\n    return x\n'
        "    ### END SOLUTION\n"
    )
    file = tmp_path / "autograder.toml"
    file.write_text(
        file.read_text()
        + '\n[assignments.b0]\nsuite = "hidden/a0"\n[assignments.b0.release]\ntask = "Task3"\n'
        'files = ["src/conv.py"]\nscore = 0\n[assignments.b0.starter]\nhandout = { "README.md" = "b0.md", '
        '"README.zh-CN.md" = "b0.md" }\n'
    )
    (tmp_path / "b0.md").write_text("# Task3\n\nWrite `src/conv.py`.\n")
    made = starter.build(config.load(file), "b0")
    assert {path for path in made.files if path.startswith("src/")} == {"src/__init__.py", "src/conv.py"}


# solutions of earlier assignments -------------------------------------------------------------------------

OPEN = SETTINGS.replace("complete = true\nscore = 100", "score = 0")
ZONE = '[assignments.s]\nzone = "Europe/Berlin"\ncloses = "2026-09-15 23:59"\n'


def course(tmp_path, more="", *, settings=OPEN):
    return Staff(tmp_path, settings=settings.replace("[assignments.s]\n", ZONE + more))


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def build_at(staff, moment, assignment="t"):
    return starter.build(config.load(staff.config_file), assignment, now=at(moment))


def test_only_what_the_code_needs_is_carried(tmp_path):
    staff = course(tmp_path)
    staff.write("src/more.py", EARLIER.replace("twice", "thrice"))
    text = staff.config_file.read_text()
    staff.config_file.write_text(
        text.replace('files = ["src/earlier.py"]', 'files = ["src/earlier.py", "src/more.py"]')
    )
    made = build_at(staff, "2026-10-01 12:00")
    assert made.carried == {"src/earlier.py": "s"}
    assert "src/more.py" not in made.files
    assert set(made.withheld) == {"src/work.py", "src/later.py", "src/more.py"}


def test_needs_are_followed_through_packages_and_functions():
    sources = {
        "src/__init__.py": b"",
        "src/a.py": b"def f():\n    from .pack import thing\n",
        "src/pack/__init__.py": b"def __getattr__(name):\n    from .build import build\n",
        "src/pack/build.py": b"from ..b import c\n",
        "src/pack/x.cpp": b"",
        "src/b.py": b"import src.d\n",
        "src/d.py": b"import math\n",
        "src/e.py": b"",
    }
    assert carried.needed(sources, ["src/a.py"]) == {*sources} - {"src/e.py"}


def test_a_solution_that_is_still_open_is_not_handed_out(tmp_path):
    staff = course(tmp_path, "grace_minutes = 30\n")
    refusal = r"src/earlier\.py of s, which is open for everybody, until Wed 16 Sep 2026, 00:29"
    with pytest.raises(GraderError, match=refusal):
        build_at(staff, "2026-09-15 22:00")  # 00:00 in Berlin
    assert build_at(staff, "2026-09-15 22:30").carried


def test_an_extension_keeps_a_solution_open(tmp_path):
    staff = course(tmp_path, 'extensions_file = "e.csv"\n')
    staff.write("e.csv", "student,assignment,closes\nann,s,2026-09-20 12:00\nbob,s,2026-09-30 12:00\n")
    with pytest.raises(
        GraderError, match=r"open for ann, until Sun 20 Sep 2026, 12:00 .*; bob, until Wed 30 Sep 2026"
    ):
        build_at(staff, "2026-09-19 12:00")
    with pytest.raises(GraderError, match="open for bob"):
        build_at(staff, "2026-09-25 12:00")
    assert build_at(staff, "2026-10-01 12:00").carried
    staff.write("e.csv", "student,assignment,closes\nann,s,tomorrow\n")
    with pytest.raises(GraderError, match=r"which is open for .*e\.csv:2: closes: not a time"):
        build_at(staff, "2026-10-01 12:00")


def test_late_days_keep_a_solution_open(tmp_path):
    staff = course(tmp_path, 'late_days_allowed = 2\nextensions_file = "e.csv"\n')
    staff.write("e.csv", "student,assignment,closes\nann,s,2026-09-20 12:00\n")
    with pytest.raises(GraderError, match="open for everybody, until Thu 17 Sep 2026, 23:59"):
        build_at(staff, "2026-09-17 21:00")
    with pytest.raises(GraderError, match="open for ann, until Tue 22 Sep 2026, 12:00"):
        build_at(staff, "2026-09-20 12:00")
    assert build_at(staff, "2026-09-22 10:01").carried


def test_without_a_deadline_a_solution_is_never_handed_out(tmp_path):
    with pytest.raises(
        GraderError, match=r"src/earlier\.py of s, which is open for everybody: it has no deadline"
    ):
        build(Staff(tmp_path, settings=OPEN))


def test_what_is_handed_out_solved_anyway_may_be_carried(tmp_path):
    assert build(Staff(tmp_path)).carried == {"src/earlier.py": "s"}


# the files themselves ------------------------------------------------------------------------------------

DIRECTIVE = re.compile(
    r"\b(ruff|mypy|pyright|pylint|flake8|isort|codespell): *\w|\bnoqa\b|\btype: *ignore|\bfmt: *(on|off|skip)\b"
    r"|\bnosec\b|\bpragma: *no|\bNOLINT|\bclang-format o|\bGCC diagnostic"
    r"|\b(shellcheck|hadolint|zizmor)\W+(disable|enable|ignore)"
)


def test_no_file_that_students_see_holds_a_directive_for_a_linter(ours):
    files = {path: content.decode() for path, content in ours.files.items()}
    files |= {
        str(path): path.read_text()
        for path in (ROOT / "src").rglob("*")
        if path.suffix in (".py", ".cpp", ".hpp")
    }
    for path, content in files.items():
        assert not (found := DIRECTIVE.search(content)), f"{path}: {found[0]}"


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # noqa",
        "x = 1  # noqa: E501",
        "# ruff: noqa: ARG002",
        "import a  # type: ignore[import]",
        "# pylint: disable=invalid-name",
        "# fmt: off",
        "# shellcheck disable=SC2086",
        "# hadolint ignore=DL3008",
        "int x;  // NOLINT",
        "# pragma: no cover",
    ],
)
def test_such_a_directive_is_found(line):
    assert DIRECTIVE.search(line)


# the handout ---------------------------------------------------------------------------------------------


def test_a_readme_holds_one_language_and_only_what_is_released():
    text = readme(ENGLISH, {"src/work.py"})
    assert "[中文版](README.zh-CN.md)" in text
    assert "| [`src/work.py`](src/work.py) | `double` |" in text
    assert "`descending`" not in text
    assert "Read [`src/work.py`](src/work.py), not `src/later.py`." in text
    assert "Only with the later file" not in text
    assert "[One](#one) · Two" in text
    assert "Always." in text
    assert "内容" not in text
    text = readme(CHINESE, {"src/work.py"})
    assert "[English](README.md)" in text
    assert "[一](#one)" in text
    assert "Always." not in text


def test_a_section_is_there_with_its_file():
    text = readme(ENGLISH, {"src/work.py", "src/later.py"})
    assert "Only with the later file" in text
    assert "[Two](#two)" in text
    assert "<!-- with" not in text


def test_a_section_may_be_for_starters_without_a_file():
    text = ENGLISH.replace("<!-- with src/later.py -->", "<!-- without src/later.py -->")
    assert "Only with the later file" in readme(text, {"src/work.py"})
    assert "Only with the later file" not in readme(text, {"src/work.py", "src/later.py"})
    assert "<!-- without" not in readme(text, {"src/work.py"})


# ours ----------------------------------------------------------------------------------------------------


def test_our_starters_have_the_top_level_that_students_know(ours):
    assert {path.partition("/")[0] for path in ours.files} == {*TOP_LEVEL, *OWN_SETTINGS}
    assert ours.files["test_score.py"] == (ROOT / "test_score.py").read_bytes()


def test_each_starter_holds_its_own_tasks(ours):
    tasks = {path.split("/")[1] for path in ours.files if path.startswith("src/")}
    expected = {
        "a0": {"__init__.py", "linear.py"},
        "a1": {"__init__.py", "mnist.py", "softmax.py", "softmax_ext", "train.py"},
        "a2": {"__init__.py", "needle", "train.py"},
    }
    assert tasks == expected[ours.assignment]
    stubs = set(re.findall(rb'(?:Error\(|NotImplemented\{)"(Task\d): ', b"".join(ours.files.values())))
    examples = {b"Task1"}  # in the handout
    assert stubs - examples == {"a0": set(), "a1": set(), "a2": {b"Task2"}}[ours.assignment]


def docstrings(text):
    """Return owner and name of each function -> its docstring; the setter of a property has its getter's name."""
    tree = ast.parse(text)
    owners = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    return {
        (getattr(owner, "name", ""), node.name, number): ast.get_docstring(node)
        for owner in owners
        for number, node in enumerate(
            n for n in owner.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"
        )
    }


def test_docstrings_are_kept(ours):
    for path, content in ours.files.items():
        if path.startswith("src/") and path.endswith(".py"):
            wanted, released = docstrings((ROOT / path).read_text()), docstrings(content)
            assert released == {place: wanted[place] for place in released}, path


def test_an_assignment_that_comes_solved_begins_with_a_push(ours):
    for name in DOCUMENTS:
        first, _, _ = ours.files[name].decode().partition('## <a id="what-you-build">')
        commands = 'git commit --allow-empty -m "try the submission"\ngit push origin main\n'
        assert (commands in first) == (ours.assignment == "a0")


def test_there_is_a_readme_for_each_language_that_links_to_the_other(ours):
    english, chinese = (ours.files[name].decode() for name in ("README.md", "README.zh-CN.md"))
    assert english.startswith("# Your assignment\n\n[中文版](README.zh-CN.md)\n")
    assert chinese.startswith("# 你的作业\n\n[English](README.md)\n")
    assert re.findall(r"[\u4e00-\u9fff]+", english) == ["中文版"]
    assert "Only `src/` is graded" in english
    assert "Only `src/` is graded" not in chinese
    assert re.findall(r'<a id="([^"]+)">', english) == re.findall(r'<a id="([^"]+)">', chinese)


@pytest.mark.parametrize("readme", DOCUMENTS)
def test_every_link_of_the_readme_leads_somewhere(ours, readme):
    text = ours.files[readme].decode()
    anchors = re.findall(r'<a id="([^"]+)">', text)
    assert len(anchors) == len(set(anchors))
    folders = {str(Path(path).parent) for path in ours.files}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("http"):
            assert target in ours.files or target in folders, target


# requirements and packages -------------------------------------------------------------------------------

REQUIREMENTS = """# What students need
torch==2.0    # a0
numpy>=2      # arrays
# tests
pytest>=8
Pytest_Timeout>=2
# training
# and plots
scikit-learn
matplotlib
"""


@pytest.mark.parametrize(
    ("needed", "kept"),
    [
        (["numpy"], "# What students need\nnumpy>=2      # arrays\n"),
        (
            ["pytest-timeout", "numpy"],
            "# What students need\nnumpy>=2      # arrays\n# tests\nPytest_Timeout>=2\n",
        ),
        (["sklearn"], "# What students need\n# training\n# and plots\nscikit-learn\n"),
        (["torch", "pytest"], "# What students need\ntorch==2.0    # a0\n# tests\npytest>=8\n"),
    ],
)
def test_requirements_are_those_of_the_assignment(needed, kept):
    assert starter.requirements(REQUIREMENTS, needed) == kept


def test_a_package_without_a_line_in_requirements_is_refused(tmp_path):
    staff = Staff(tmp_path)
    staff.write("requirements.txt", "pytest\npytest-timeout\n")
    with pytest.raises(GraderError, match=r"requirements\.txt has no line for numpy"):
        build(staff)


def test_each_starter_installs_and_imports_what_its_assignment_allows(ours):
    names = {
        re.match(r"[\w-]+", line)[0]
        for line in ours.files["requirements.txt"].decode().splitlines()
        if not line.startswith("#")
    }
    tests = {"numpy", "pytest", "pytest-timeout"}
    training = {"matplotlib", "tqdm", "scikit-learn"}
    of_assignment = {"a0": {"torch"}, "a1": {*training, "pybind11"}, "a2": training}
    assert names == tests | of_assignment[ours.assignment]
    allowed = ast.literal_eval(
        re.search(rb"^PACKAGES = (\(.*?\))", ours.files["test_toy.py"], re.MULTILINE)[1].decode()
    )
    assert allowed == (("torch", "numpy") if ours.assignment == "a0" else ("numpy", "matplotlib", "tqdm"))


def test_the_visible_tests_of_the_staff_repository_allow_what_some_assignment_allows():
    settings = config.load(ROOT / "autograder.toml")
    allowed = {name for one in settings.assignments.values() for name in one.importable()}
    line = re.search(r"^PACKAGES = (\(.*?\))", (ROOT / "test_toy.py").read_text("utf-8"), re.MULTILINE)
    assert {*ast.literal_eval(line[1])} == allowed


def test_a_part_of_the_tests_is_there_with_its_file(tmp_path):
    part = "\n\n# Later -----------\n# with src/later.py\n\nimport bisect\n\n\ndef test_later():\n    assert bisect\n"
    staff = Staff(tmp_path)
    staff.write("test_toy.py", f"{TOY}{part}")
    assert build(staff).files["test_toy.py"].decode() == TOY
    assert b"def test_later" in build(staff, "u").files["test_toy.py"]
    assert b"# with" not in build(staff, "u").files["test_toy.py"]


def test_our_visible_tests_are_those_of_the_assignment(ours):
    for path in ("test_toy.py", "test_with_ref.py"):
        named = {*re.findall(rb"^# (Task\d)", ours.files[path], re.MULTILINE)}
        assert named == {ours.assignment.replace("a", "Task").encode()}, path


def test_our_starters_are_cloned_with_the_same_line_ends_everywhere(ours, tmp_path):
    """Also where git is told to write \\r\\n, because bash and Docker refuse \\r."""
    folder, clone = tmp_path / "made", tmp_path / "clone"
    folder.mkdir()
    repository.create(folder, ours)
    command = ["git", "-c", "core.autocrlf=true", "clone", "--quiet", str(folder), str(clone)]
    subprocess.run(command, check=True)
    for path, content in ours.files.items():
        assert (clone / path).read_bytes() == content, path


def test_the_c_file_to_write_has_the_headers_of_what_it_tells_to_use():
    made = starter.build(config.load(ROOT / "autograder.toml"), "a1")
    text = made.files["src/softmax_ext/softmax_regression.cpp"].decode()
    for name, header in {"std::vector": "vector", "exp": "cmath"}.items():
        assert name in text
        assert f"#include <{header}>" in text
    assert "#include <algorithm>" in text  # std::min, in the handout


def test_nothing_leaks_from_our_starters(ours):
    assert proof.nothing_leaks(config.load(ROOT / "autograder.toml"), ours, {}) > 1000
