"""`autograder collect`: the work of every student at the commit that counts."""

import csv
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.term.collection import inert
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


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_is_a_formula(text):
    assert inert(text) == f"'{text}"
    assert inert("ann") == "ann"
