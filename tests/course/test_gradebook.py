"""The gradebook: a row for each student, what counts and how it came about, totals; and the files it is written to."""

import csv
import io
import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import openpyxl
import pytest
import sqlalchemy as sa

from autograder import config
from autograder.cli.tables import width
from autograder.course import gradebook_files as files
from autograder.course.course import Course
from autograder.course.gradebook import State, gradebook
from autograder.course.standing import standings
from autograder.ledger import AdjustmentKind, RepositoryName
from autograder.service.handout import recipients
from tests.support.classroom import HOST, Class
from tests.support.ledgers import MAIN, commit

FILE = """\
[course]
roster = "roster.csv"
[hosts."git.uni.example"]
kind = "folder"
base = "host"
[assignments.a0]
title = "Linear layer"
suite = "hidden/a0"
repositories = ["dls/a0-*"]
zone = "Asia/Shanghai"
closes = "2026-09-12 20:00"
late_days_allowed = 2
late_points_per_day = 10
extensions_file = "extensions.csv"
[assignments.a1]
suite = "hidden/a1"
repositories = ["dls/a1-*"]
zone = "Asia/Shanghai"
closes = "2026-10-12 20:00"
weight = 3
[assignments.folders]
suite = "hidden/folders"
"""
ROSTER = """\
id,name,login,email,section,team:a1,role
2026001,王小明,ann,ann@uni.example,1班,,
2026002,李雷,bob,bob@uni.example,1班,red,
2026003,韩梅梅,cat,cat@uni.example,2班,red,
2026004,=1+1,dan,,2班,,
t1,Ada,ada,,,,staff
"""
CLOSES = datetime(2026, 9, 12, 12, 1, tzinfo=timezone.utc)


@pytest.fixture
def dls(folder):
    (folder / "extensions.csv").write_text("student,assignment,closes\n")
    made = Class(folder, FILE, ROSTER)
    yield made
    made.ledger.close()


def book(dls, *, roster=True, **values):
    if not roster:
        text = FILE.replace('[course]\nroster = "roster.csv"\n', "")
        (dls.folder / "autograder.toml").write_text(text)
    course = Course.of(config.load(dls.folder / "autograder.toml"))
    return gradebook(dls.ledger, course, dls.clock.now, **values)


def adjust(dls, student, kind, points=None, commit="", why="a reason", assignment="a0"):
    dls.ledger.add_adjustment(
        RepositoryName(HOST, "dls", f"{assignment}-{student}"),
        assignment,
        AdjustmentKind(kind),
        points=points,
        commit=commit,
        who="okafor",
        why=why,
    )


def shown(book, assignment="a0"):
    return {
        row.id: (row.entries[assignment].state.value, row.entries[assignment].points) for row in book.rows
    }


# rows ----------------------------------------------------------------------------------------------------


def test_each_student_has_a_row_also_without_a_push(dls):
    dls.graded("a0-ann", "work", points=80)
    dls.graded("a0-ada", "try", points=100)
    made = book(dls)
    assert made.assignments == ("a0", "a1")  # folders has no repositories
    assert [(row.id, row.name) for row in made.rows] == [
        ("2026001", "王小明"),
        ("2026002", "李雷"),
        ("2026003", "韩梅梅"),
        ("2026004", "=1+1"),
    ]
    assert shown(made) == {
        "2026001": ("counts", 80),
        "2026002": ("no push", None),
        "2026003": ("no push", None),
        "2026004": ("no push", None),
    }


def test_an_entry_has_what_the_standing_says(dls):
    dls.clock.now = CLOSES + timedelta(hours=25)
    dls.graded("a0-ann", "late", points=80)
    adjust(dls, "ann", "points", 5, why="a typo in the suite")
    course = Course.of(config.load(dls.folder / "autograder.toml"))
    stands = standings(dls.ledger, course, "a0")[RepositoryName(HOST, "dls", "a0-ann")]
    entry = book(dls).rows[0].entries["a0"]
    assert entry.stands == stands
    assert entry.result == stands.result
    assert (entry.points, entry.result.graded, entry.result.penalty, entry.result.late_days) == (
        65,
        80,
        20,
        2,
    )
    assert entry.push.push.commit == commit("late")
    assert (entry.attempt, entry.policy.value) == (1, "last")


def test_a_team_shares_its_score_and_a_repository_of_one_member_does_not_count(dls):
    dls.graded("a1-red", "together", points=70)
    dls.graded("a1-bob", "alone", points=100)
    made = book(dls)
    assert [row.entries["a1"].points for row in made.rows] == [None, 70, 70, None]
    assert [row.id for row in made.of(RepositoryName(HOST, "dls", "a1-red"))] == ["2026002", "2026003"]


def test_an_adjustment_of_a_member_is_one_of_the_team_and_says_so(dls):
    dls.graded("a1-red", "together", points=70)
    result = dls.run("adjust", "bob", "-a", "a1", "--points", "5", "--dry-run")
    assert "dls/a1-red  70 → 75 of 100" in result.output
    assert "note: red is a team, so this is for all of its members: 李雷, 韩梅梅" in result.output


def test_who_is_not_in_the_roster_has_a_row_at_the_end(dls):
    dls.graded("a0-zoe", "x", points=10)
    dls.graded("a1-zoe", "y", points=20)
    dls.graded("a0-Eve", "z", points=30)
    rows = book(dls).rows[4:]
    assert [(row.id, row.note) for row in rows] == [
        ("Eve", "not in the roster"),
        ("zoe", "not in the roster"),
    ]
    assert [rows[1].entries[name].points for name in ("a0", "a1")] == [10, 20]


def test_a_student_with_two_repositories_gets_the_one_with_the_right_name(dls):
    dls.graded("a0-2026001", "other", points=100)
    dls.graded("a0-ann", "work", points=50)
    made = book(dls)
    assert shown(made)["2026001"] == ("counts", 50)
    assert len(made.rows) == 4


def test_the_repository_to_which_the_student_pushed_comes_before_the_one_with_the_right_name(dls):
    dls.ledger.add_own_commit(commit("starter"), "starter of a0")
    dls.ledger.record_push(RepositoryName(HOST, "dls", "a0-ann"), commit=commit("starter"), ref=MAIN)
    dls.graded("a0-2026001", "work", points=50)
    assert shown(book(dls))["2026001"] == ("counts", 50)
    result = dls.run("adjust", "2026001", "-a", "a0", "--points", "5", "--dry-run")
    assert "dls/a0-2026001  50 → 55 of 100; nothing was recorded" in result.output
    dls.graded("a0-ann", "other work", points=40)
    assert shown(book(dls))["2026001"] == ("counts", 40)


def test_a_student_whose_login_changed_keeps_the_repository(dls):
    dls.graded("a0-ann", "work", points=50)
    text = ROSTER.replace("login,", "login,earlier,").replace(",ann,", ",anna,ann,", 1)
    for login in ("bob", "cat", "dan", "ada"):
        text = text.replace(f",{login},", f",{login},,", 1)
    (dls.folder / "roster.csv").write_text(text)
    (dls.folder / "extensions.csv").write_text("student,assignment,closes\nann,a0,2026-09-20 20:00\n")
    (row, *_) = book(dls).rows
    assert (row.id, row.person.logins[HOST], row.person.earlier) == ("2026001", "anna", ("ann",))
    assert (row.entries["a0"].points, row.entries["a0"].extension.student) == (50, "ann")
    for name in ("anna", "ann", "2026001"):
        result = dls.run("adjust", name, "-a", "a0", "--points", "5", "--dry-run")
        assert "dls/a0-ann  50 → 55 of 100" in result.output
    course = Course.of(config.load(dls.folder / "autograder.toml"))
    known = dls.ledger.repositories()
    for assignment, name in (("a0", "a0-ann"), ("a1", "a1-anna")):  # no second repository is made
        (recipient,) = recipients(course, assignment, ["2026001"], known=known)
        assert (recipient.repository.name, recipient.logins) == (name, ("anna",))
    shown = json.loads(dls.run("roster", "show", "ann", "--json").output)
    assert [person["id"] for person in shown] == ["2026001"]
    (dls.folder / "roster.csv").write_text(text.replace(",bob,", ",ANN,"))
    assert "ann at git.uni.example is also in line 2" in dls.run("roster", "show").output


def test_without_a_roster_the_rows_are_the_names_in_repositories(dls):
    dls.graded("a0-bob", "x", points=10)
    dls.graded("a1-BOB", "y", points=20)
    dls.graded("a0-ann", "z", points=30)
    made = book(dls, roster=False)
    assert [(row.id, row.name, row.note) for row in made.rows] == [("ann", "", ""), ("bob", "", "")]
    assert made.rows[1].entries["a1"].points == 20


def test_the_states_of_an_entry(dls):
    dls.clock.now = CLOSES - timedelta(days=2)
    adjust(dls, "ann", "excuse", why="ill")
    bob = RepositoryName(HOST, "dls", "a0-bob")
    dls.ledger.record_push(bob, commit=commit("waits"), ref=MAIN)
    dls.ledger.add_own_commit(commit("starter"), "starter of a0")
    dls.ledger.record_push(RepositoryName(HOST, "dls", "a0-cat"), commit=commit("starter"), ref=MAIN)
    dls.clock.now = CLOSES + timedelta(days=3)
    dls.graded("a0-dan", "too late", points=100)
    made = book(dls)
    assert shown(made) == {
        "2026001": ("excused", None),
        "2026002": ("waiting", None),
        "2026003": ("no push", None),
        "2026004": ("late", None),
    }
    entries = [row.entries["a0"] for row in made.rows]
    assert [entry.in_total for entry in entries] == [None, None, 0, 0]  # nobody can push any more
    (dls.folder / "extensions.csv").write_text("student,assignment,closes\n2026004,a0,someday\n")
    assert shown(book(dls))["2026004"] == ("undecided", None)


def test_points_of_staff_need_no_push(dls):
    adjust(dls, "ann", "set", 80)
    assert shown(book(dls))["2026001"] == ("counts", 80)


def test_a_newer_push_that_waits_is_noted(dls):
    dls.graded("a0-ann", "first", points=50)
    dls.ledger.record_push(RepositoryName(HOST, "dls", "a0-ann"), commit=commit("second"), ref=MAIN)
    entry = book(dls).rows[0].entries["a0"]
    assert (entry.points, entry.note) == (50, "a newer push is not graded yet")


def test_a_push_that_a_mistake_in_the_extensions_keeps_waiting_is_not_late(dls):
    dls.graded("a0-ann", "first", points=50)
    dls.clock.now = CLOSES + timedelta(hours=1)
    for student in ("ann", "bob"):
        repository = RepositoryName(HOST, "dls", f"a0-{student}")
        dls.ledger.record_push(repository, commit=commit("late"), ref=MAIN)
    extensions = dls.folder / "extensions.csv"
    extensions.write_text("student,assignment,closes\n2026004,a0,someday\n")
    dls.clock.now = CLOSES + timedelta(days=3)
    made = book(dls)
    assert shown(made)["2026001"] == ("counts", 50)
    assert shown(made)["2026002"] == ("undecided", None)
    assert shown(made)["2026004"] == ("no push", None)
    ann, bob = (made.rows[index].entries["a0"] for index in (0, 1))
    assert f"{extensions}:2: " in ann.note
    assert f"{extensions}:2: " in bob.note
    assert bob.in_total is None
    extensions.write_text("student,assignment,closes\n")
    assert shown(book(dls))["2026002"] == ("waiting", None)


# totals --------------------------------------------------------------------------------------------------


def test_the_total_is_a_weighted_mean_of_what_is_decided(dls):
    dls.graded("a0-ann", "x", points=50)
    dls.graded("a1-ann", "y", points=100)
    dls.graded("a0-bob", "z", points=50)
    totals = [row.total for row in book(dls).rows]
    assert totals == [Decimal("87.50"), Decimal("50.00"), None, None]  # (50 + 3 * 100) / 4
    dls.clock.now = CLOSES + timedelta(days=3)  # a0 is closed: no push is 0 points; a1 is open
    assert [row.total for row in book(dls).rows] == [Decimal("87.50"), Decimal("50.00"), 0, 0]
    dls.clock.now += timedelta(days=60)
    assert [row.total for row in book(dls).rows] == [Decimal("87.50"), Decimal("12.50"), 0, 0]
    assert [row.total for row in book(dls, assignments=["a0"]).rows][:2] == [Decimal("50.00")] * 2


def test_an_excused_assignment_is_left_out_of_the_total(dls):
    dls.graded("a0-ann", "x", points=50)
    dls.graded("a1-ann", "y", points=100)
    adjust(dls, "ann", "excuse")
    assert book(dls).rows[0].total == Decimal("100.00")


def test_an_extension_keeps_an_assignment_open(dls):
    (dls.folder / "extensions.csv").write_text("student,assignment,closes\nbob,a0,2026-09-30 12:00\n")
    dls.graded("a0-ann", "x", points=50)
    dls.clock.now = CLOSES + timedelta(days=3)
    rows = book(dls).rows
    assert [row.entries["a0"].closed for row in rows] == [True, False, True, True]
    assert rows[1].entries["a0"].extension is not None
    assert rows[1].total is None


def test_the_gradebook_of_a_moment_leaves_later_pushes_out(dls):
    dls.graded("a0-ann", "first", points=50)
    then = dls.clock.now
    dls.graded("a0-ann", "second", points=90)
    dls.graded("a0-bob", "other", points=70)
    dls.clock.now = CLOSES + timedelta(days=3)
    assert shown(book(dls))["2026001"] == ("counts", 90)
    made = book(dls, at=then)
    assert shown(made)["2026001"] == ("counts", 50)
    assert shown(made)["2026002"] == ("no push", None)
    assert not made.rows[1].entries["a0"].closed


def test_the_number_of_queries_is_constant(dls):
    def queries():
        seen = []

        def count(_connection, _cursor, statement, *_):
            seen.extend([statement] if statement.startswith("SELECT") else [])

        sa.event.listen(sa.Engine, "before_cursor_execute", count)
        try:
            book(dls, cases=True)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", count)
        return seen

    dls.graded("a0-ann", "one")
    dls.graded("a1-red", "two")
    few = queries()
    for number in range(5):
        dls.graded(f"a0-s{number}", f"x{number}")
        dls.graded(f"a1-s{number}", f"y{number}")
        dls.graded("a0-bob", f"z{number}")
    assert len(queries()) == len(few)
    assert len(few) < 20


# files ---------------------------------------------------------------------------------------------------


@pytest.fixture
def graded(dls):
    dls.clock.now = CLOSES + timedelta(hours=2)
    dls.graded("a0-ann", "late", points=80)
    adjust(dls, "ann", "points", 5, why="=HYPERLINK(1)")
    dls.graded("a0-dan", "also", points=100)
    adjust(dls, "cat", "excuse")
    dls.graded("a0-zoe", "stranger", points=10)
    dls.clock.now = CLOSES + timedelta(days=3)
    return dls


def test_csv_has_everything_and_no_formula(graded):
    text = files.csv_text(book(graded, cases=True))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == ["2026001", "2026002", "2026003", "2026004", "zoe"]
    assert {name: value for name, value in rows[0].items() if not name.startswith("a1")} == {
        "id": "2026001",
        "name": "王小明",
        "login": "ann",
        "email": "ann@uni.example",
        "section": "1班",
        "team": "",
        "a0 points": "75",
        "a0 max_points": "100",
        "a0 in_total": "75",
        "a0 state": "counts",
        "a0 graded": "80",
        "a0 late": "2 hours 2 minutes",
        "a0 late_days": "1",
        "a0 penalty": "10",
        "a0 adjustments": "added 5 (=HYPERLINK(1))",
        "a0 extension": "",
        "a0 commit": commit("late"),
        "a0 received": "2026-09-12T22:02:00+08:00",
        "a0 receive_time_from": "hook",
        "a0 attempt": "1",
        "a0 policy": "last",
        "a0 repository": f"{HOST}/dls/a0-ann",
        "a0 note": "",
        "a0 Task0 - Case1": "80",
        "a0 Task0 - Case2": "0",
        "a0 Task0 - Case3": "0",
        "total_percent": "75.00",
        "note": "",
    }
    assert rows[3]["name"] == "'=1+1"
    assert [rows[1][f"a0 {name}"] for name in ("points", "in_total", "state")] == ["", "0", "no push"]
    assert (rows[4]["note"], rows[2]["a0 state"]) == ("not in the roster", "excused")
    assert "a0 Task0 - Case1" not in files.csv_text(book(graded))


def test_xlsx_opens_and_its_text_is_text(graded):
    workbook = openpyxl.load_workbook(io.BytesIO(files.xlsx(book(graded, cases=True))))
    assert workbook.sheetnames == ["Grades", "a0", "a1"]
    grades = list(workbook["Grades"].iter_rows(values_only=True))
    assert grades[0][-4:] == ("a0", "a1", "total %", "note")
    assert grades[1][:2] == ("2026001", "王小明")
    assert grades[1][-4:] == (75, "-", 75, None)
    name = workbook["Grades"]["B5"]
    assert (name.value, name.data_type) == ("=1+1", "s")
    detail = list(workbook["a0"].iter_rows(values_only=True))
    assert dict(zip(detail[0], detail[1], strict=True))["Task0 - Case1"] == 80


def test_json_has_everything(graded):
    data = json.loads(files.json_text(book(graded, cases=True)))
    assert data["assignments"]["a1"] == {"max_points": 0, "weight": 3.0}
    first = data["students"][0]
    assert (first["id"], first["logins"], first["total_percent"]) == ("2026001", {HOST: "ann"}, 75.0)
    entry = first["assignments"]["a0"]
    assert (entry["points"], entry["graded"], entry["penalty"], entry["late_seconds"]) == (75, 80, 10, 7320)
    assert entry["cases"]["Task0 - Case1"] == {"points": 80, "max_points": 80, "verdict": "passed"}
    (adjustment,) = entry["adjustments"]
    assert (adjustment["kind"], adjustment["points"], adjustment["who"]) == ("points", 5, "okafor")
    assert len(entry["why"]) == 2
    assert data["students"][1]["assignments"]["a0"]["points"] is None
    assert data["students"][1]["assignments"]["a0"]["in_total"] == 0


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def test_canvas_gets_a_line_for_each_student_of_the_roster(graded):
    rows = rows_of(files.canvas(book(graded), {"a0": "Linear layer", "a1": ""}))
    assert rows == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Linear layer", "a1"],
        ["    Points Possible", "", "", "", "", "100", ""],
        ["王小明", "", "2026001", "ann", "1班", "75", ""],
        ["李雷", "", "2026002", "bob", "1班", "0", ""],
        ["韩梅梅", "", "2026003", "cat", "2班", "EX", ""],
        ["'=1+1", "", "2026004", "dan", "2班", "90", ""],
    ]
    assert files.left_out(book(graded)) == ["zoe"]


def test_an_export_of_canvas_comes_back_with_its_own_columns(graded):
    (graded.folder / "roster.csv").write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,LINEAR LAYER (17),Quiz (18)\n"
        "    Points Possible,,,,,100.00,5\n"
        '"Wang, Xiaoming",901,2026001,ann,Sec 1,,4\n'
        '"Test Student",902,,,Sec 1,,\n'
    )
    rows = rows_of(files.canvas(book(graded, assignments=["a0"]), {"a0": "Linear layer"}))
    assert rows == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "LINEAR LAYER (17)"],
        ["    Points Possible", "", "", "", "", "100"],
        ["Wang, Xiaoming", "901", "2026001", "ann", "Sec 1", "75"],
    ]


def test_moodle_gets_ids_and_mail(graded):
    rows = rows_of(files.moodle(book(graded), {"a0": "Linear layer"}))
    assert rows[0] == ["ID number", "Name", "Email address", "Linear layer", "a1"]
    assert rows[1] == ["2026001", "王小明", "ann@uni.example", "75", ""]
    (graded.folder / "roster.csv").write_text(
        "First name,Last name,ID number,Institution,Email address,Course total (Real)\n小明,王,ann,U,a@b.c,-\n"
    )
    rows = rows_of(files.moodle(book(graded, assignments=["a0"]), {}))
    assert rows == [
        ["First name", "Last name", "ID number", "Email address", "a0"],
        ["小明", "王", "ann", "a@b.c", "75"],
    ]


# the command ---------------------------------------------------------------------------------------------


def test_the_table_of_all_assignments(graded):
    result = graded.run("grades")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["id", "name", "section", "team", "a0", "a1", "total", "%", "note"]
    assert lines[1].split() == ["2026001", "王小明", "1班", "75*", "-", "75.00"]
    assert lines[3].split() == ["2026003", "韩梅梅", "2班", "red", "exc", "-"]
    assert lines[5].split() == ["zoe", "0*", "-", "0.00", "not", "in", "the", "roster"]
    assert "5 students, a0, a1" in result.stderr


def test_the_table_of_one_assignment_says_how_it_came_about(graded):
    lines = graded.run("grades", "-a", "a0", "--cases").stdout.splitlines()
    assert "receive time from" in lines[0]
    for text in ("75", "2 hours 2 minutes", "added 5 (=HYPERLINK(1))", commit("late")[:10], "hook"):
        assert text in lines[1]
    assert lines[0].endswith("Task0 - Case1  Task0 - Case2  Task0 - Case3")
    assert lines[1].split()[-3:] == ["80", "0", "0"]
    assert width(lines[1]) == width(lines[0])  # aligned to the right


@pytest.mark.parametrize("name", ["grades.csv", "grades.xlsx", "grades.json", "grades.txt"])
def test_the_name_of_the_file_says_the_format(graded, tmp_path, name):
    file = tmp_path / name
    result = graded.run("grades", "--to", file)
    assert result.exit_code == 0, result.output
    begins = {"csv": b"\xef\xbb\xbfid,", "xlsx": b"PK", "json": b"{", "txt": b"id "}[name.partition(".")[2]]
    assert file.read_bytes().startswith(begins)
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--format", "xlsx"], 2, "the format xlsx needs --to FILE"),
        (["-a", "a9"], 2, "there is no assignment 'a9'"),
        (["--at", "yesterday"], 1, "not a time"),
        (["--to", "/nowhere/grades.csv"], 1, "cannot write /nowhere/grades.csv"),
    ],
)
def test_what_cannot_be_done_is_refused(graded, arguments, status, message):
    result = graded.run("grades", *arguments)
    assert result.exit_code == status
    assert message in result.stderr


def test_a_time_without_an_offset_is_in_the_zone_of_the_course(graded):
    data = json.loads(graded.run("grades", "--at", "2026-09-12 20:00", "--format", "json").stdout)
    assert data["at"] == "2026-09-12T12:00:59+00:00"
    assert data["students"][3]["assignments"]["a0"]["state"] == State.NO_PUSH.value


def test_canvas_and_moodle_need_a_roster_and_name_whom_they_leave_out(graded):
    result = graded.run("grades", "--format", "canvas")
    assert "left out, since they are not in the roster: zoe" in result.stderr
    text = FILE.replace('[course]\nroster = "roster.csv"\n', "")
    (graded.folder / "autograder.toml").write_text(text)
    for form in ("canvas", "moodle"):
        result = graded.run("grades", "--format", form)
        assert result.exit_code == 1
        assert f"the format {form} needs a roster" in result.stderr
