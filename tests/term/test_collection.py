"""`autograder collect`: the work of every student at the commit that counts."""

import csv
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from autograder.cli import main
from tests.support.desk import Desk
from tests.support.university import HALF, RIGHT, University

CLOSES = datetime(2026, 9, 15, 23, 59, 59, tzinfo=timezone.utc)
DEADLINE = 'zone = "UTC"\ncloses = "2026-09-15 23:59"'


@pytest.fixture
def desk(folder):
    university = University(folder, assignment=DEADLINE)
    with university.parts() as parts:
        yield Desk(university, parts, folder / "work")


def collect(desk, *arguments, to="collected"):
    """Run the command; return its result, the rows of the index by student, and the folder."""
    folder = desk.university.folder / to
    result = CliRunner().invoke(
        main,
        [
            *("collect", "-a", "t", "--to", str(folder)),
            *("--config", str(desk.university.config_file), *map(str, arguments)),
        ],
    )
    rows = {}
    if (folder / "index.csv").is_file():
        with (folder / "index.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = {row["student"]: row for row in csv.DictReader(file)}
    return result, rows, folder


def before(**delta):
    return CLOSES - timedelta(**delta)


def test_work_is_that_of_the_commit_that_counts(desk):
    first = desk.university.push(RIGHT)
    desk.run(desk.take(first, before(hours=2)))
    desk.push(HALF, received=CLOSES + timedelta(hours=2))  # late
    desk.run(desk.push(HALF, "bob", received=before(hours=1)))
    result, rows, folder = collect(desk)
    assert result.exit_code == 0, result.output
    assert list(rows) == ["ann", "bob"]
    assert (folder / "ann" / "src" / "work.py").read_text() == RIGHT
    assert (folder / "bob" / "src" / "work.py").read_text() == HALF
    assert not (folder / "ann" / "NAME").exists()  # the grader reads src/ alone
    ann = rows["ann"]
    assert ann["commit"] == first.commit
    assert ann["repository"] == "git.uni.example/dls/t-ann"
    assert ann["received"] == "2026-09-15T21:59:59+00:00"
    assert (ann["points"], ann["max_points"], ann["folder"], ann["note"]) == ("100", "100", "ann", "")


def test_a_push_that_is_not_graded_yet_is_collected_without_points(desk):
    push = desk.university.push(RIGHT)
    desk.take(push, before(hours=1))
    result, rows, folder = collect(desk)
    assert result.exit_code == 0, result.output
    assert (rows["ann"]["commit"], rows["ann"]["points"]) == (push.commit, "")
    assert (folder / "ann" / "src" / "work.py").is_file()


def test_a_student_without_work_has_a_row_that_says_so(desk):
    desk.push(RIGHT, received=CLOSES + timedelta(days=1))
    result, rows, folder = collect(desk)
    assert result.exit_code == 0, result.output
    assert (rows["ann"]["commit"], rows["ann"]["folder"]) == ("", "")
    assert rows["ann"]["note"] == "no push counts"
    assert sorted(path.name for path in folder.iterdir()) == ["index.csv"]


def test_what_cannot_be_fetched_is_named_and_the_others_are_collected(desk):
    desk.run(desk.push(RIGHT, received=before(hours=3)))
    desk.run(desk.push(RIGHT, "bob", received=before(hours=3)))
    bare = desk.university.bare("ann")
    bare.git("update-ref", "-d", "refs/heads/main")
    bare.git("update-ref", "-d", "refs/heads/score-feedback")
    bare.git("reflog", "expire", "--expire=now", "--all")
    bare.git("gc", "--quiet", "--prune=now")
    result, rows, folder = collect(desk)
    assert result.exit_code == 1
    assert "t-ann: the repository does not hold this commit any more" in result.output
    assert "1 repositories could not be fetched" in result.output
    assert rows["ann"]["note"] == "the repository does not hold this commit any more"
    assert (folder / "bob" / "src" / "work.py").is_file()


def test_hostile_files_stay_in_the_folder(desk):
    bare = desk.university.bare("ann")
    commit = bare.odd(("120000", b"link", bare.blob(b"/etc/passwd")))
    desk.take(desk.university.reported(commit), before(hours=1))
    result, rows, folder = collect(desk)
    assert result.exit_code == 0, result.output
    assert "cannot be read: " in rows["ann"]["note"]
    assert sorted(path.name for path in folder.iterdir()) == ["index.csv"]


def test_the_folder_must_be_empty_and_the_repository_known(desk):
    desk.run(desk.push(RIGHT, received=before(hours=1)))
    assert collect(desk)[0].exit_code == 0
    result, _, _ = collect(desk)
    assert result.exit_code == 1
    assert "is not empty; name a new folder" in result.output
    result, _, _ = collect(desk, "--repo", "git.uni.example/dls/other", to="second")
    assert result.exit_code == 1
    assert "git.uni.example/dls/other did not push to t" in result.output
    result, rows, _ = collect(desk, "--repo", "git.uni.example/dls/t-ann", to="third")
    assert (result.exit_code, list(rows)) == (0, ["ann"])


def test_what_counted_at_the_deadline_or_at_a_time(folder):
    university = University(
        folder, assignment=f'{DEADLINE}\nlate_days_allowed = 3\nextensions_file = "extensions.csv"'
    )
    university.course.write("extensions.csv", "student,assignment,closes\nbob,t,2026-09-17 23:59\n")
    with university.parts() as parts:
        desk = Desk(university, parts, folder / "work")
        in_time = {}
        for student in ("ann", "bob"):
            push = university.push(RIGHT, student)
            in_time[student] = push.commit
            desk.run(desk.take(push, before(hours=5)))
        late = {student: university.push(HALF, student) for student in ("ann", "bob")}
        for push in late.values():
            desk.run(desk.take(push, before(hours=-30)))
        _, now, _ = collect(desk, to="now")
        result, then, folder = collect(desk, "--at", "deadline", to="then")
        _, earlier, _ = collect(desk, "--at", "2026-09-15 19:00", to="earlier")
        _, nothing, _ = collect(desk, "--at", "2026-09-15T10:00+00:00", to="nothing")
        refused, _, _ = collect(desk, "--at", "yesterday", to="refused")
    assert result.exit_code == 0, result.output
    assert {name: row["commit"] for name, row in now.items()} == {
        name: push.commit for name, push in late.items()
    }
    assert (then["ann"]["commit"], then["bob"]["commit"]) == (in_time["ann"], late["bob"].commit)
    assert (folder / "ann" / "src" / "work.py").read_text() == RIGHT
    assert {name: row["commit"] for name, row in earlier.items()} == in_time
    assert {row["note"] for row in nothing.values()} == {"no push counts"}
    assert refused.exit_code != 0
    assert "not a time" in refused.output


def test_without_a_deadline_there_is_nothing_at_the_deadline(folder):
    university = University(folder)
    with university.parts() as parts:
        desk = Desk(university, parts, folder / "work")
        desk.push(RIGHT)
        result, _, _ = collect(desk, "--at", "deadline")
    assert result.exit_code == 1
    assert "t has no deadline" in result.output


def test_the_roster_names_people_and_those_without_a_push_have_a_row(desk):
    course = desk.university.course
    course.write("roster.csv", "id,name,login\n7,张伟,ann\n8,=1+1,bob\n9,Eve,eve\n")
    course.write(
        "autograder.toml", '[course]\nroster = "roster.csv"\n' + desk.university.config_file.read_text()
    )
    for student in ("ann", "bob"):
        desk.run(desk.push(RIGHT, student, received=before(hours=1)))
    result, rows, _ = collect(desk)
    assert result.exit_code == 0, result.output
    assert "3 rows, work of 2" in result.output
    assert (rows["ann"]["id"], rows["ann"]["name"]) == ("7", "张伟")
    assert rows["bob"]["name"] == "'=1+1"
    assert (rows[""]["id"], rows[""]["note"]) == ("9", "no repository has pushed")
