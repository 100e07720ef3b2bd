"""docs/specification.md: each requirement has samples that lack it, and so a hidden case that fails without it.

The lines are read from the document. A sample says which cases reject it, and `tests/grading/test_samples.py` shows
that they do, and that each case rejects a sample. So a requirement without a case fails here. So does a wrong sample
that lacks nothing that is required, because then a case asks for more than the document says.
"""

import fnmatch
import re
from dataclasses import dataclass

import pytest

from autograder.config import load
from autograder.release import markers
from autograder.submission import read_tree
from tests.support import ROOT
from tests.support.samples import ALL

CONFIG = load(ROOT / "autograder.toml")
REFERENCE = read_tree(ROOT)
HEADING = re.compile(r"^## Task(\d): ", re.MULTILINE)
GIVEN = re.compile(r"given: `([^`]+)`")
NAME = re.compile(r"`((?:wrong|slow)-[a-z0-9-]+)`")
TEST = re.compile(r"`assignment/test_\w+\.py::test_\w+`")


@dataclass(frozen=True)
class Line:
    """One line of a table of the document."""

    assignment: str
    requirement: str
    tests: str
    without: str


def lines() -> list[Line]:
    """Return the lines of the document; a section is headed by its task's number."""
    text = (ROOT / "docs" / "specification.md").read_text("utf-8")
    found = []
    _, *parts = HEADING.split(text)
    for number, section in zip(parts[::2], parts[1::2], strict=True):
        rows = [row for row in section.split("\n") if row.startswith("|")]
        assert rows[0] == "| the solution must | test | samples without it |"
        for row in rows[2:]:
            _, requirement, tests, without, _ = re.split(r" ?(?<!\\)\| ?", row)
            found.append(Line(f"a{number}", requirement, tests, without))
    return found


LINES = lines()
OF_LINES = {name for line in LINES for name in NAME.findall(line.without)}
# The slow samples with files of their own lack nothing in particular: they sleep, or take too long at import.
MISTAKES = sorted(
    name
    for name, sample in ALL.items()
    if name.startswith("wrong-") or (name.startswith("slow-") and sample.expected.change)
)


def test_lines_are_found() -> None:
    """Otherwise a change of the document's form would switch off the tests below."""
    assert len(LINES) > 60
    assert {line.assignment for line in LINES} == {*CONFIG.assignments}
    assert all(TEST.search(line.tests) for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.assignment}-{line.requirement[:60]}")
def test_a_case_fails_without_what_a_line_requires(line: Line) -> None:
    given = GIVEN.fullmatch(line.without)
    if given is not None:
        assert any(fnmatch.fnmatchcase(given[1], one) for one in CONFIG.assignment(line.assignment).given)
        assert not markers.regions(REFERENCE[given[1]].decode(), given[1]), "students write a part of it"
        return
    assert re.sub(r", |$", "", NAME.sub("", line.without)) == "", "the column names samples and nothing else"
    names = NAME.findall(line.without)
    assert names
    for name in names:
        expected = ALL[name].expected
        assert expected.assignment == line.assignment
        assert expected.verdicts.wrong or expected.verdicts.error or expected.verdicts.timeout, name


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_wrong_sample_lacks_is_required(name: str) -> None:
    assert name in OF_LINES, (
        "name the sample in the line of docs/specification.md whose requirement it does not meet"
    )
