"""A small course in a folder, for tests of the grader: one function to write, a suite, a configuration."""

from pathlib import Path
from textwrap import dedent

PROBES = """
def double(x):
    from src.work import double
    return double(x)
"""

SCORE = """
import numpy as np
import probes
import pytest

from autograder.testing import assert_close, case


@case(task=1, points=60)
def test_double(student, ref, rng):
    '''double works on arrays.'''
    x = rng.standard_normal(5)
    assert_close(student(probes.double, x), ref(probes.double, x))


@case(task=1, points=40)
@pytest.mark.timeout(1)
def test_double_of_a_number(student):
    '''double works on numbers.'''
    assert_close(student(probes.double, 3.0), 6.0)
"""

RIGHT = "def double(x):\n    return 2 * x\n"


class CourseFolder:
    """The folder of a course with the assignment `t`."""

    def __init__(self, folder: Path, *, score: str = SCORE, probes: str = PROBES, settings: str = "") -> None:
        self.folder = folder
        self.write("autograder.toml", f'[assignments.t]\nsuite = "hidden/t"\n{settings}')
        self.write("src/__init__.py", "")
        self.write("src/work.py", RIGHT)
        self.write("hidden/t/probes.py", probes)
        self.write("hidden/t/test_score.py", score)

    @property
    def config_file(self) -> Path:
        return self.folder / "autograder.toml"

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def submission(self, name: str, work: str = RIGHT, **others: str) -> Path:
        """Make a checkout with src/work.py and other files; return its folder."""
        root = f"submissions/{name}"
        self.write(f"{root}/src/__init__.py", "")
        self.write(f"{root}/src/work.py", work)
        for path, text in others.items():
            self.write(f"{root}/{path}", text)
        return self.folder / root
