"""`autograder adjust`: what staff decide counts at once, is recorded with its reason, and can be taken back."""

import json

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.ledger import Ledger
from tests.support.desk import Desk
from tests.support.ledgers import problems
from tests.support.university import HALF, University, now


@pytest.fixture
def university(folder):
    """A course in which ann has 100 points and a newer push with 40."""
    university = University(folder)
    with university.parts() as parts:
        desk = Desk(university, parts, folder / "work")
        desk.run(desk.push(received=now()))
        university.first = university.bare().tip("main")
        desk.run(desk.push(HALF, received=now()))
        university.second = university.bare().tip("main")
    return university


@pytest.fixture
def adjust(university):
    """Run the command; return its result."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(
            main, ["adjust", "--config", str(university.config_file), *map(str, arguments)]
        )
        assert result.exit_code == code, result.output
        return result

    yield run
    with ledger(university) as opened:
        assert problems(opened) == []


def ledger(university):
    return Ledger.open(university.config().ledger_url(), folder=university.config_file.parent, create=False)


def test_points_are_published_and_undone(university, adjust):
    before = university.text()
    result = adjust("ann", "-a", "t", "--points", "+5", "--why", "the third question", "--who", "okafor")
    assert result.stdout == f"{university.repository()}  40 → 45 of 100 (adjustment 1)\n"
    assert "**Your score is 45 / 100.**" in university.text()
    assert "The course staff added 5 points: the third question." in university.text()
    listed = adjust("--list").stdout
    assert "t git.uni.example/dls/t-ann  +5 points: the third question (okafor)" in listed
    assert "45 → 40" in adjust("ann", "-a", "t", "--undo", 1, "--why", "counted twice").stdout
    assert university.text() == before
    assert "(okafor); undone by 2" in adjust("--list", "ann", "-a", "t").stdout
    with ledger(university) as opened:
        acts = opened.audit_lines(subject=str(university.repository()))
        assert [(act.what, act.details["kind"]) for act in acts] == [("adjust", "undo"), ("adjust", "points")]
        assert acts[1].who == "okafor"


def test_a_commit_is_named_by_its_first_digits(university, adjust):
    assert "40 → 100" in adjust("ann", "-a", "t", "--use", university.first[:7], "--why", "a slip").stdout
    assert f"to commit `{university.first[:10]}`" in university.text()
    result = adjust("ann", "-a", "t", "--use", "ffffff", "--why", "x", code=1)
    assert "no pushed commit begins with 'ffffff'" in result.output


def test_a_dry_run_records_and_publishes_nothing(university, adjust):
    before = university.text()
    assert "40 → 80 of 100; nothing was recorded" in adjust("ann", "-a", "t", "--set", 80, "--dry-run").stdout
    assert "40 → excused" in adjust("ann", "-a", "t", "--excuse", "--dry-run").stdout
    shown = json.loads(adjust("ann", "-a", "t", "--points", -50, "--dry-run", "--json").stdout)
    assert (shown["before"], shown["after"], shown["adjustment"]) == (40, 0, None)
    assert university.text() == before
    assert "no adjustments" in adjust("--list").output
    with ledger(university) as opened:
        assert opened.audit_lines() == []


def test_a_student_without_a_push(university, adjust):
    result = adjust("bob", "-a", "t", "--excuse", "--why", "ill")
    assert "dls/t-bob  none → excused of 100 (adjustment 1)" in result.stdout
    assert "note: no repository of bob has pushed to t yet" in result.stderr
    (row,) = json.loads(adjust("--list", "bob", "--json").stdout)
    assert (row["kind"], row["why"], row["undone_by"]) == ("excuse", "ill", None)


def test_a_student_of_the_roster_is_named_by_id(university, adjust):
    (university.config_file.parent / "roster.csv").write_text("id,login,name\n2023001,ann,安\n")
    text = university.config_file.read_text()
    university.config_file.write_text(f'[course]\nroster = "roster.csv"\n{text}')
    assert "dls/t-ann  40 → 41" in adjust("2023001", "-a", "t", "--points", 1, "--why", "x").stdout
    result = adjust("2023002", "-a", "t", "--points", 1, "--why", "x", code=2)
    assert "nobody in" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ann", "-a", "t", "--why", "x"], "give one of --points, --set, --excuse, --use and --undo"),
        (["ann", "-a", "t", "--points", "1", "--excuse", "--why", "x"], "give one of"),
        (["ann", "-a", "t", "--points", "1"], "give --why, or --dry-run"),
        (["ann", "--points", "1", "--why", "x"], "name the student and the assignment"),
        (["--list", "--points", "1"], "--list changes nothing"),
        (["ann", "-a", "nothing", "--points", "1", "--why", "x"], "there is no assignment 'nothing'"),
        (["ann", "-a", "t", "--set", "-1", "--why", "x"], "Invalid value for '--set'"),
    ],
)
def test_wrong_usage(adjust, arguments, message):
    assert message in adjust(*arguments, code=2).output


def test_what_cannot_be_undone(adjust):
    assert "there is no adjustment 7" in adjust("ann", "-a", "t", "--undo", 7, "--why", "x", code=1).output
    assert "there is no adjustment 7" in adjust("ann", "-a", "t", "--undo", 7, "--dry-run", code=1).output
    adjust("ann", "-a", "t", "--set", 50, "--why", "x")
    adjust("ann", "-a", "t", "--undo", 1, "--why", "x")
    assert "is undone already" in adjust("ann", "-a", "t", "--undo", 1, "--why", "x", code=1).output
