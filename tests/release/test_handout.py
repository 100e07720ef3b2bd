"""What a handout says to the students of one assignment, and that it is true of the hidden suite."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import config
from autograder.release import handout, starter
from autograder.submission import TreeLimits
from tests.support import ROOT

SETTINGS = config.load(ROOT / "autograder.toml")
READMES = SETTINGS.starter_of("a0").handout
TASKS = {"a0": "Task0", "a1": "Task1", "a2": "Task2"}
TEXT = """# Handout

<!-- with src/a.py -->
For a.

<!-- without src/a.py -->
```bash
echo without

echo a
```

| Sign | Remedy |
|---|---|
| <!-- with src/a.py --> of a | one |
| <!-- without src/a.py --> of others | two |

## Section

<!-- with src/a.py -->
A block at the beginning of a section.

The section goes on. Ask <!-- contact -->the staff<!-- /contact -->.

## Whole section

<!-- with src/a.py -->

Only with a.

```python
x = 1


y = 2
```

## Last
"""


def readme(text, paths, **options):
    return handout.readme(text, paths, "docs/assignment.md", {"README.md": "docs/assignment.md"}, **options)


def released(assignment, name):
    return starter.build(SETTINGS, assignment).files[name].decode()


@pytest.fixture(scope="module", params=[(a, name) for a in TASKS for name in READMES], ids="-".join)
def ours(request):
    """An assignment, and a README of its starter."""
    return request.param[0], released(*request.param)


# comments in a handout -----------------------------------------------------------------------------------


def test_blocks_rows_and_sections_are_there_with_their_file():
    text = readme(TEXT, {"src/a.py"})
    for kept in ("For a.\n", "| of a | one |\n", "A block at", "Only with a.", "x = 1\n\n\ny = 2"):
        assert kept in text
    for left_out in ("echo", "of others", "<!--"):
        assert left_out not in text


def test_what_is_for_other_starters_is_there_without_the_file():
    text = readme(TEXT, {"src/b.py"})
    for kept in (
        "```bash\necho without\n\necho a\n```\n",
        "| of others | two |\n",
        "The section goes on",
        "## Last",
    ):
        assert kept in text
    for left_out in ("For a.", "of a |", "A block at", "Whole section", "y = 2", "<!--"):
        assert left_out not in text
    assert "\n\n\n" not in text


def test_the_contact_of_the_course_is_named():
    assert "Ask the staff.\n" in readme(TEXT, ())
    assert "Ask help@course.example.\n" in readme(TEXT, (), contact="help@course.example")
    assert "Ask a\\1b.\n" in readme(TEXT, (), contact="a\\1b")


# the table of cases --------------------------------------------------------------------------------------

TABLE = """| Case | Points |
|---|--:|
| Task1 - Case1 | 20 |
| Task1 - Case2 | 80 |

```text
| Task1 - Case1 | 0 | ❌ | |
```
"""


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("20", "20", []),
        ("20", "30", ["Task1 - Case1 gives 20 points, not 30"]),
        ("| Task1 - Case2 | 80 |\n", "", ["Task1 - Case2 is missing"]),
        ("Case2", "Case3", ["Task1 - Case2 is missing", "there is no Task1 - Case3"]),
        ("Case2", "Case1", ["Task1 - Case1 is there twice"]),
        (TABLE, "No table.", []),
    ],
)
def test_a_table_that_is_not_that_of_the_suite_is_found(old, new, wrong):
    found = handout.wrong_points(TABLE.replace(old, new, 1), {"Task1 - Case1": 20, "Task1 - Case2": 80})
    assert set(wrong) <= set(found)
    assert bool(found) == bool(wrong)


def cases(assignment):
    """Return name -> (points, its own time limit or None) of the cases of a hidden suite, from its text."""
    tree = ast.parse(Path(SETTINGS.path(SETTINGS.assignment(assignment).suite), "test_score.py").read_text())
    found = {}
    for function in tree.body:
        marks = [ast.unparse(mark) for mark in getattr(function, "decorator_list", ())]
        for mark in marks:
            if match := re.fullmatch(r"case\(task=(\d+), points=(\d+).*\)", mark):
                limits = [
                    limit[1]
                    for other in marks
                    if (limit := re.fullmatch(r"pytest.mark.timeout\((\d+)\)", other))
                ]
                found[f"Task{match[1]} - Case{len(found) + 1}"] = int(match[2]), next(iter(limits), None)
    return found


def test_our_table_is_that_of_the_hidden_suite(ours):
    assignment, text = ours
    expected = cases(assignment)
    assert sum(points for points, _ in expected.values()) == 100
    assert handout.wrong_points(text, {name: points for name, (points, _) in expected.items()}) == []
    rows = {name: line for line in text.splitlines() for name in expected if line.startswith(f"| {name} | ")}
    assert set(rows) == set(expected)
    for name, (_, limit) in expected.items():
        assert re.findall(r"[（(](\d+) s[)）]", rows[name]) == ([limit] if limit else []), name


# what our handouts say -----------------------------------------------------------------------------------


def test_the_sizes_are_those_that_are_enforced(ours):
    assignment, text = ours
    limits, case = TreeLimits(), SETTINGS.limits(assignment)
    rules = text.partition('<a id="rules">')[2].partition("\n## ")[0]
    sizes = re.findall(r"(\d+) (?:files|folders|levels|个文件，|个文件|个文件夹|层)", rules)
    assert {int(size) for size in sizes} == {limits.files, limits.folders, limits.depth}
    assert [int(size) << 20 for size in re.findall(r"(\d+) MiB", rules)] == [
        limits.file_bytes,
        limits.total_bytes,
    ]
    assert [int(size) << 30 for size in re.findall(r"(\d+) GiB", rules)] == [case.memory_bytes]
    assert f"{SETTINGS.assignment(assignment).timeout:.0f} " in rules
    assert SETTINGS.assignment(assignment).timeout == case.wall_seconds


def test_only_the_tasks_of_the_starter_are_named(ours):
    assignment, text = ours
    named = {*re.findall(r"Task\d", text)} - {TASKS[assignment]}
    assert named <= ({"Task1"} if assignment == "a2" else set())  # "your own src/mnist.py of Task1"
    assert TASKS[assignment] in text


def test_what_a_student_needs_first_comes_first(ours):
    assignment, text = ours
    first, _, later = text.partition("\n## ")[2].partition("\n## ")
    for command in ("pip install -r requirements.txt", "pytest test_toy.py", "git push origin main"):
        assert command in first
    assert "score.md" in first
    assert ("whl/cpu" in first) == (assignment == "a0")
    assert ("g++" in first) == (assignment == "a1")
    ids = re.findall(r'<a id="([\w-]+)">', later)
    assert ids.index("cases") < ids.index("tasks") < ids.index("docker")


@pytest.mark.parametrize("assignment", ["a1", "a2"])
@pytest.mark.parametrize("name", READMES)
def test_the_gradient_check_of_the_handout_finds_no_difference(assignment, name):
    text = released(assignment, name)
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if "def numeric_gradient" in block
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    differences = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert differences
    assert max(differences) < 1e-7


@pytest.mark.parametrize("name", READMES)
def test_the_example_of_a_handout_is_a_table_as_score_md_has_it(name):
    for assignment in TASKS:
        (example,) = re.findall(r"```text\n(# Score Summary\n.*?)```", released(assignment, name), re.DOTALL)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in example.splitlines()[4:]]
        points = {case: str(given) for case, (given, _) in cases(assignment).items()}
        for case, score, icon, message in rows[:-2]:
            assert score == (points[case] if icon == "✅" else "0")
            assert (message == "") == (icon == "✅")
        assert rows[-1][0] == "Total"
