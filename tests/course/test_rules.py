"""Which changes of autograder.toml a running service takes."""

import msgspec
import pytest

from autograder.config import Config, load
from autograder.config.schema import AssignmentConfig
from autograder.course import rules
from autograder.course.course import Course

TEXT = """\
reference = "."

[hosts."git.uni.example"]
kind = "gitea"
base = "https://git.uni.example"

[assignments.a0]
suite = "hidden/a0"
repositories = ["cs/a0-*"]
zone = "UTC"
closes = "2026-09-15 23:59"
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "autograder.toml"
    file.write_text(TEXT)
    return file


def change(file, before, after):
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_a_deadline_is_taken(file):
    course = Course.of(load(file))
    change(file, "2026-09-15", "2026-09-20")
    assert course.deadline("a0").closes.day == 15
    course.refresh()
    assert course.deadline("a0").closes.day == 20
    assert course.not_in_force() == []


def test_a_course_without_a_file_has_nothing_to_take():
    course = Course.of(Config())
    course.refresh()
    assert course.not_in_force() == []


def test_what_decides_how_the_process_was_set_up_is_named_and_not_taken(file):
    course = Course.of(load(file))
    change(file, 'suite = "hidden/a0"', 'suite = "hidden/new"\nlate_days_allowed = 2')
    change(file, "https://git.uni.example", "https://git2.uni.example")
    course.refresh()
    assert course.config.assignment("a0").suite == "hidden/a0"
    assert course.config.assignment("a0").late_days_allowed == 2
    assert course.not_in_force() == [
        f"{file}:8: assignments.a0.suite has changed since the service started; start it again",
        f"{file}:5: hosts.git.uni.example.base has changed since the service started; start it again",
    ]
    file.write_text(TEXT)
    course.refresh()
    assert course.not_in_force() == []
    assert course.config.assignment("a0").late_days_allowed == 0


def test_an_assignment_more_or_less_needs_a_start(file):
    course = Course.of(load(file))
    change(file, "assignments.a0", "assignments.a9")
    course.refresh()
    assert list(course.config.assignments) == ["a0"]
    found = course.not_in_force()
    assert [line.split(": ")[1].split()[0] for line in found] == ["assignments.a0", "assignments.a9"]


def test_while_the_file_has_a_mistake_the_rules_of_before_hold(file):
    course = Course.of(load(file))
    change(file, "2026-09-15", "2026-09-35")
    course.refresh()
    assert course.deadline("a0").closes.day == 15
    (line,) = course.not_in_force()
    assert line.startswith(f"{file}:11: assignments.a0.closes")
    assert line.endswith("until this is corrected, the configuration of before holds")
    file.write_text(TEXT)
    course.refresh()
    assert course.not_in_force() == []


def test_every_key_of_an_assignment_is_taken_or_named(file):
    running = load(file)
    other = {str: "2026", int: 3, float: 2.5, bool: True}
    for field in msgspec.structs.fields(AssignmentConfig):
        before = getattr(running.assignments["a0"], field.name)
        after = other.get(type(before), ("other",))
        changed = msgspec.structs.replace(running.assignments["a0"], **{field.name: after})
        written = msgspec.structs.replace(running, assignments={"a0": changed})
        taken = rules.merged(running, written)
        named = list(rules.not_in_force(taken, written))
        assert (taken == written) is (field.name in rules.OF_ASSIGNMENT)
        assert named == ([] if field.name in rules.OF_ASSIGNMENT else [f"assignments.a0.{field.name}"])
