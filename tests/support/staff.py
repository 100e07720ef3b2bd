"""A small staff repository in a folder, for tests of the release: one task, one hidden suite, both handouts."""

from tests.support.course import CourseFolder

WORK = '''"""Task1: numbers."""

import math

__all__ = ["double"]


def double(x):
    """Return twice x."""
    ### BEGIN SOLUTION
    return _scaled_by_a_factor(x, 2 + math.floor(0.5))
    ### END SOLUTION


### BEGIN SOLUTION
def _scaled_by_a_factor(x, factor):
    """Multiply, which is what nobody may know."""
    return x * factor


### END SOLUTION
'''
EARLIER = '''"""Task0: letters."""


def twice(text):
    """Return the text two times."""
    ### BEGIN SOLUTION
    return "".join((text, text, ""))
    ### END SOLUTION
'''
GIVEN = '''"""Given: what everybody gets."""

from .earlier import twice


def shown(x):
    """Return the text of x two times."""
    return twice(str(x))
'''
LATER = '''"""Task2: sorting."""


def descending(numbers):
    """Return the numbers, the largest first."""
    ### BEGIN SOLUTION
    return sorted(numbers, key=lambda number: -number)
    ### END SOLUTION
'''
TOY = '''"""Visible tests."""

import src.work


def test_double():
    assert src.work.double(2) == 4
'''
STARTER = """
[starter]
files = ["test_toy.py", "test_with_ref.py", "test_score.py", "*.sh", "Dockerfile", "requirements.txt"]
folders = ["starter"]
handout = { "README.md" = "docs/assignment.md", "README.zh-CN.md" = "docs/assignment.zh-CN.md" }
tests = ["test_toy.py"]
theirs = ["test_with_ref.py"]
"""
SETTINGS = """
[assignments.t.release]
task = "Task1"
files = ["src/work.py"]
given = ["s"]
score = 0

[assignments.s]
suite = "hidden/s"

[assignments.s.release]
task = "Task0"
files = ["src/earlier.py"]
complete = true
score = 100

[assignments.u]
suite = "hidden/u"

[assignments.u.release]
task = "Task2"
files = ["src/later.py"]
given = ["s", "t"]
score = 0
"""
ENGLISH = """# Handout: Task0, Task1, Task2

[中文版](assignment.zh-CN.md) · [One](#one) · [Two](#two)

| File | Yours |
|---|---|
| [`src/work.py`](../src/work.py) | `double` |
| [`src/later.py`](../src/later.py) | `descending` |

Given, solved: `src/earlier.py`.

## <a id="one"></a>One

Read [`src/work.py`](../src/work.py), not [`src/later.py`](../src/later.py).

## <a id="two"></a>Two

<!-- with src/later.py -->

### Below two

Only with the later file.

## Three

Always.
"""
CHINESE = """# 讲义：Task0、Task1、Task2

[English](assignment.md) · [一](#one)

## <a id="one"></a>一

内容：`src/work.py`、`src/earlier.py`、`src/later.py`。
"""


class Staff(CourseFolder):
    """The folder of a course whose assignment `t` can be released, after `s` and before `u`."""

    def __init__(self, folder, *, settings=SETTINGS, repositories="", **others):
        super().__init__(folder, settings=STARTER + settings, **others)
        if repositories:
            text = self.config_file.read_text()
            first = 'suite = "hidden/t"\n'
            self.config_file.write_text(text.replace(first, f'{first}repositories = ["{repositories}"]\n', 1))
        for path, text in {
            "src/__init__.py": '"""The package."""\n',
            "src/work.py": WORK,
            "src/earlier.py": EARLIER,
            "src/later.py": LATER,
            "src/given.py": GIVEN,
            "test_toy.py": TOY,
            "test_with_ref.py": '"""Compares."""\n',
            "test_score.py": "# empty\n",
            "test_script.sh": "#!/bin/sh\nexit 1\n",
            "run_docker.sh": "#!/bin/sh\nexit 1\n",
            "Dockerfile": "FROM scratch\n",
            "requirements.txt": "numpy\npytest\npytest-timeout\n",
            "docs/assignment.md": ENGLISH,
            "docs/assignment.zh-CN.md": CHINESE,
            "starter/.gitignore": ".venv/\n",
            "starter/.github/workflows/grade.yml": "name: grade\n",
        }.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


_RELEASED = {}


def released(staff, config, ledger):
    """Return the starter of `t`, recorded as ours; the same files make it once for all tests of a process."""
    from autograder.service import handout

    key = tuple((staff.folder / name).read_text() for name in ("Dockerfile", "src/work.py"))
    if key not in _RELEASED:
        _RELEASED[key] = handout.release(config, ledger, "t", lambda *_: None)
    ledger.add_own_commit(_RELEASED[key].commit, "starter of t")
    return _RELEASED[key]
