"""The roster: the forms in which it is exported, mistakes with their line, names, teams, and what follows from it."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.config import parse
from autograder.config.times import DeadlineError
from autograder.course.course import Course
from autograder.course.deadline import Timing
from autograder.course.roster import RosterFile, parse_roster
from autograder.errors import ConfigError
from autograder.ledger import RepositoryName

KINDS = {"git.uni.example": "gitea", "github.com": "github"}
HOSTS = {"a0": "git.uni.example", "a1": "github.com", "a2": "git.uni.example"}
OWN = """\
id,name,login,login:github.com,email,section,team:a2,role
2026001,王小明,wxm,wang-xm,wxm@uni.example,1班,red,student
2026002,李雷,,lilei,ll@uni.example,2班,red,
2026003,Zoë Müller,zoe,,,1班,,
t1,Ada,ada,,,,,staff
"""
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Homework 1 (17)
    Points Possible,,,,,100.00
"Wang, Xiaoming",901,2026001,wxm,Section 1,
"Li, Lei",902,2026002,lilei,Section 1,80
"Student, Test",999,,f00baa,Section 1,
"""
MOODLE = """\
First name,Last name,ID number,Institution,Department,Email address,Groups,Last downloaded from this course
小明,王,2026001,,,wxm@uni.example,A,1790000000
Zoë,Müller,,,,zoe@uni.example,B,1790000000
"""
CLASSROOM = """\
"identifier","github_username","github_id","name"
"2026001","wang-xm","1234","王小明"
"ll@uni.example","","",""
"""


def read(text, **values):
    content = text if isinstance(text, bytes) else text.encode()
    return parse_roster(content, "roster.csv", KINDS, HOSTS)


# forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        OWN.encode(),
        OWN.encode("utf-8-sig"),
        OWN.replace(",", ";").encode(),
        OWN.replace(",", "\t").encode("utf-16"),
        OWN.replace("Zoë Müller", "Zoe").encode("gb18030"),
        OWN.replace("\n", ",,\r\n").encode(),
        OWN.replace("id,name,login,login:", "学号,姓名,用户名,Login:", 1).encode(),
    ],
    ids=["csv", "mark", "semicolons", "Unicode text of Excel", "GB18030", "empty cells", "Chinese columns"],
)
def test_each_form_of_our_own_columns_is_read(content):
    roster = read(content)
    assert roster.mistakes == ()
    assert [person.id for person in roster.people] == ["2026001", "2026002", "2026003", "t1"]
    assert [person.id for person in roster.students] == ["2026001", "2026002", "2026003"]
    wang = roster.find("2026001")
    assert (wang.name, wang.email, wang.section) == ("王小明", "wxm@uni.example", "1班")
    assert wang.logins == {"git.uni.example": "wxm", "github.com": "wang-xm"}
    assert (wang.team_of("a2"), wang.team_of("a0"), wang.line) == ("red", "", 2)


def test_the_export_of_canvas_is_read():
    roster = read(CANVAS)
    assert (roster.form, roster.mistakes, roster.notes) == ("canvas", (), ())
    assert [(person.id, person.name) for person in roster.people] == [
        ("2026001", "Wang, Xiaoming"),
        ("2026002", "Li, Lei"),
    ]
    wang = roster.find("wxm")
    assert wang.logins == {"git.uni.example": "wxm"}  # GitHub does not know the university's account
    assert wang.given["ID"] == "901"


def test_the_export_of_moodle_is_read():
    roster = read(MOODLE)
    assert (roster.form, roster.mistakes) == ("moodle", ())
    assert [(person.id, person.name, person.section) for person in roster.people] == [
        ("2026001", "王小明", "A"),
        ("zoe@uni.example", "Zoë Müller", "B"),
    ]


def test_the_export_of_github_classroom_is_read():
    roster = read(CLASSROOM)
    assert (roster.form, roster.mistakes) == ("classroom", ())
    assert roster.find("wang-xm").logins == {"github.com": "wang-xm"}
    (note,) = roster.notes
    assert note.startswith("roster.csv:3: 'll@uni.example' cannot be a part of a repository's name")


# mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",Nobody", "2: this person has no id"),
        ("2.02E+11,Wang", "2: id: '2.02E+11' is a number that a spreadsheet program has shortened"),
        ("5,a\u202eb", "2: name: 'a\\u202eb' has characters that cannot be shown"),
        ("5,Wang,a/b", "2: login: 'a/b' cannot be a part of a repository's name"),
        ("5,Wang,../x", "2: login: '../x' cannot be a part"),
        ("5,Wang,w,red team", "2: team: 'red team' cannot be a part"),
        ("5,Wang,w,,boss", "2: role: 'boss' is not student or staff"),
        ("5,Wang,w,,,,more", "2: 7 columns, but the first line names 5"),
        ('5,"Wang', "not CSV"),
        ("1,Again", "3: id 1 is also in line 2; correct one of them"),
        ("5,Wang,ANN", "3: ann at git.uni.example is also in line 2"),
        ("ann,Wang", "3: ann at git.uni.example is also in line 2"),
        ("x" * 101, "2: id: has more than 100 characters"),
    ],
)
def test_a_mistake_has_its_line_and_costs_nobody_else_anything(line, message):
    first = "1,Ann,ann\n" if "is also in line" in message else ""
    roster = read(f"id,name,login,team,role\n{first}{line}\n")
    assert any(message in mistake for mistake in roster.mistakes), roster.mistakes
    assert [person.id for person in roster.people] == (["1"] if first else [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: the file is empty"),
        ("\n \n", "1: the file is empty"),
        ("name,email\nann,a@b\n", "1: no column has the students' ids; name one of them id"),
        ("id,login:nowhere\n", "there is no host of this name; there are git.uni.example, github.com"),
        ("id,team:a9\n", "there is no assignment of this name; there are a0, a1, a2"),
        ("id,login,Login\n", "'Login': two columns have this meaning; keep one"),
        ("id," + "x" * (4 << 20), "the file is larger than 4 MiB"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(text, message):
    roster = read(text)
    assert roster.people == ()
    assert any(message in mistake for mistake in roster.mistakes)


CELLS = st.sampled_from(
    ["", "1", "ann", "Ann", "red", "a/b", "=1", "staff", "\x00", "\u202e", '"', "2E+9", "ID", "Student"]
)


@given(
    st.lists(st.lists(st.one_of(CELLS, st.text(max_size=5)), max_size=6), max_size=6), st.sampled_from(",;\t")
)
def test_any_table_is_read_or_has_mistakes(rows, delimiter):
    text = "\n".join(delimiter.join(row) for row in [["id", "name", "login", "team"], *rows])
    roster = read(text.encode("utf-8", "surrogatepass"))
    ids = [person.id.casefold() for person in roster.people]
    assert len(set(ids)) == len(ids)
    logins = [login.casefold() for person in roster.people for login in (person.alone_at("github.com"),)]
    assert len(set(logins)) == len(logins)
    for person in roster.students:
        assert person in roster.of(person.team_of("a0") or person.alone_at(HOSTS["a0"]), "a0")


@given(st.binary(max_size=200))
def test_any_file_is_read_or_has_mistakes(content):
    roster = parse_roster(content, "roster.csv", KINDS, HOSTS)
    assert roster.people == () or roster.columns


def test_a_column_that_is_not_read_is_named():
    (note,) = read("id,name,sectoin\n1,Ann,A\n").notes
    assert note.startswith("roster.csv:1: the column 'sectoin' is not read")


def test_the_name_of_a_team_is_nobody_else_s():
    roster = read("id,team\nann,ann\nbob,ann\n")  # named for its first member
    assert roster.mistakes == ()
    (mistake,) = read("id,team\nann,\nbob,ann\n").mistakes
    assert mistake.startswith("roster.csv:3: team: ann is also a name of line 2, who is not in the team")


def test_the_last_version_without_a_mistake_stays_in_force(tmp_path):
    path, state = tmp_path / "roster.csv", tmp_path / "state"
    state.mkdir()
    path.write_text("id,login\n1,ann\n2,bob\n")

    def file():
        return RosterFile(path, state, KINDS, HOSTS)

    first = file()
    assert [person.id for person in first.current().people] == ["1", "2"]
    path.write_text("id,login\n1,anna\n2,b/b\n3,bob\n\n")
    for each in (first, file()):  # after a restart too
        roster = each.current()
        assert len(roster.mistakes) == 1
        assert {person.id: person.logins["github.com"] for person in roster.people} == {
            "1": "anna",
            "3": "bob",
        }
    path.unlink()
    roster = first.current()
    assert roster.mistakes == (
        f"{path}:1: the roster cannot be read: No such file or directory; make it, with a first line that names the "
        "columns: id,name,login",
    )
    assert [person.id for person in roster.people] == ["1", "2"]
    (copy,) = (state / "roster").iterdir()
    assert copy.stat().st_mode & 0o077 == 0


# names --------------------------------------------------------------------------------------------------


def test_a_repository_is_named_for_the_team_the_login_or_the_id():
    roster = read(OWN)
    wang, li = roster.find("wang-xm"), roster.find("lilei")
    assert [roster.repository_name(wang, name) for name in HOSTS] == ["wxm", "wang-xm", "red"]
    assert [roster.repository_name(li, name) for name in HOSTS] == ["2026002", "lilei", "red"]
    with pytest.raises(ConfigError, match=r"roster\.csv:3: 'll@uni\.example' cannot be a part"):
        roster.repository_name(read(CLASSROOM).find("ll@uni.example"), "a1")


def test_a_repository_belongs_to_one_person_or_a_team():
    roster = read(OWN)

    def of(student, assignment):
        return [person.id for person in roster.of(student, assignment)]

    assert of("WXM", "a0") == ["2026001"]
    assert of("2026001", "a0") == ["2026001"]  # under the id, although there is a login
    assert of("wang-xm", "a1") == ["2026001"]
    assert of("red", "a2") == ["2026001", "2026002"]
    assert of("red", "a0") == []
    assert of("wxm", "a2") == ["2026001"]  # a member with a repository of his own
    assert of("nobody", "a0") == []
    assert of("ada", "a0") == ["t1"]


# the course ---------------------------------------------------------------------------------------------

FILE = """\
[course]
roster = "roster.csv"
[hosts."git.uni.example"]
kind = "gitea"
base = "https://git.uni.example"
[hosts."github.com"]
kind = "github"
base = "https://github.com"
[assignments.a0]
suite = "hidden/a0"
host = "git.uni.example"
repositories = ["cs/a0-*"]
zone = "UTC"
closes = "2026-09-15 23:59"
extensions_file = "extensions.csv"
[assignments.a1]
suite = "hidden/a1"
host = "github.com"
repositories = ["cs/a1-*"]
[assignments.a2]
suite = "hidden/a2"
host = "git.uni.example"
repositories = ["cs/a2-*"]
zone = "UTC"
closes = "2026-09-15 23:59"
extensions_file = "extensions.csv"
"""
LATE = datetime(2026, 9, 16, 9, tzinfo=timezone.utc)


@pytest.fixture
def course(tmp_path):
    (tmp_path / "roster.csv").write_text(OWN)
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\n")
    return Course.of(parse(FILE, tmp_path / "autograder.toml"))


def target(course, path, host="git.uni.example"):
    return course.target(RepositoryName.parse(f"{host}/{path}"), "main")


def test_a_repository_is_related_to_its_people(course):
    assert course.person(target(course, "cs/a0-wxm")).name == "王小明"
    assert course.person(target(course, "cs/a2-red")) is None
    assert [person.name for person in course.people(target(course, "cs/a2-red"))] == ["王小明", "李雷"]
    assert course.person(target(course, "cs/a0-eve")) is None


def test_staff_name_a_student_by_id_or_login(course):
    for text in ("2026001", "wxm", "WANG-XM"):
        assert course.student(text, "a0") == "wxm"
        assert course.student(text, "a1") == "wang-xm"
        assert course.student(text, "a2") == "red"
    assert course.student("Red", "a2") == "red"
    assert course.student("2026003", "a2") == "zoe"


@pytest.mark.parametrize(
    ("text", "assignment", "message"),
    [
        ("2O26001", "a0", r"nobody in .*roster\.csv has the id, login or team '2O26001'; is it 2026001\?"),
        ("eve", "a0", "nobody in .*; autograder roster show lists the students"),
        ("red", "a0", "nobody in"),
        ("wxm", "", "wxm has several names in repositories: red, wang-xm, wxm; name the assignment"),
        ("wxm", "a9", "there is no assignment 'a9'"),
    ],
)
def test_a_name_of_nobody_is_refused(course, text, assignment, message):
    with pytest.raises(ConfigError, match=message):
        course.student(text, assignment)


def test_without_a_roster_the_name_is_the_student_s(tmp_path):
    course = Course.of(parse(FILE.replace('roster = "roster.csv"', ""), tmp_path / "autograder.toml"))
    assert course.roster() is None
    assert course.student("eve", "a0") == "eve"
    assert course.people(target(course, "cs/a0-eve")) == ()


@pytest.mark.parametrize("name", ["2026001", "wxm", "WXM", "wang-xm"])
def test_an_extension_may_name_the_id_or_a_login(course, tmp_path, name):
    (tmp_path / "extensions.csv").write_text(f"student,assignment,closes\n{name},a0,2026-09-20 12:00\n")
    wang = target(course, "cs/a0-wxm")
    assert course.extension(wang) is not None
    assert course.decide(wang, LATE).timing is Timing.ON_TIME
    assert wang.repository in course.cutoffs("a0", [wang.repository]).extensions
    assert course.decide(target(course, "cs/a0-zoe"), LATE).timing is Timing.LATE
    assert course.not_seen([wang.repository]) == []
    assert course.misnamed([wang.repository]) == []


def test_who_takes_the_id_of_another_student_as_a_login_gets_nothing_of_theirs(course, tmp_path):
    roster = OWN + "2026004,Eve,2026001,eve-2026,,,\n2026005,Mallory,mallory,wxm,,,\n"
    (tmp_path / "roster.csv").write_text(roster)
    (tmp_path / "extensions.csv").write_text(
        "student,assignment,closes\n2026001,a0,2026-09-20 12:00\nwxm,a0,2026-09-21 12:00\n"
    )
    assert course.decide(target(course, "cs/a0-wxm"), LATE).timing is Timing.ON_TIME
    assert course.extension(target(course, "cs/a0-2026001")) is None
    assert course.extension(target(course, "cs/a0-mallory")) is None
    eve = target(course, "cs/a0-2026001").repository
    assert eve not in course.cutoffs("a0", [eve]).extensions
    assert any("roster.csv:6: '2026001' is the id of line 2" in text for text in course.notes())
    (tmp_path / "roster.csv").write_text("id,login,team:a2\n2026001,wxm,\n2026004,eve,2026001\n")
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\n2026001,a2,2026-09-20 12:00\n")
    assert course.extension(target(course, "cs/a2-2026001")) is None
    assert course.extension(target(course, "cs/a2-wxm")) is not None


def test_an_extension_of_one_member_is_the_team_s(course, tmp_path):
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\n2026002,a2,2026-09-20 12:00\n")
    assert course.decide(target(course, "cs/a2-red"), LATE).timing is Timing.ON_TIME


def test_while_an_extension_is_nobody_s_no_push_is_called_late(course, tmp_path):
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\nwmx,a0,2026-09-20 12:00\n")
    (extensions,) = course.extensions()
    (mistake,) = extensions.mistakes
    assert mistake.startswith(
        f"{tmp_path}/extensions.csv:2: student: nobody in {tmp_path}/roster.csv has the id, login or team 'wmx'"
    )
    with pytest.raises(DeadlineError, match=r"nobody in .*waits until the file is corrected"):
        course.decide(target(course, "cs/a0-wxm"), LATE)
    (tmp_path / "roster.csv").write_text(OWN + "2026004,New,wmx\n")
    assert course.decide(target(course, "cs/a0-wxm"), LATE).timing is Timing.LATE
    assert course.decide(target(course, "cs/a0-wmx"), LATE).timing is Timing.ON_TIME


def test_two_students_with_similar_names_are_two(course, tmp_path):
    (tmp_path / "roster.csv").write_text("id\nbob-1\nbob.1\n")
    (tmp_path / "extensions.csv").write_text("student,assignment,closes\nbob-1,a0,2026-09-20 12:00\n")
    assert course.decide(target(course, "cs/a0-bob.1"), LATE).timing is Timing.LATE
    (tmp_path / "roster.csv").write_text("id\nbob-1\n")
    with pytest.raises(DeadlineError, match=r"the name bob-1 is nearly bob\.1"):
        course.decide(target(course, "cs/a0-bob.1"), LATE)


def test_config_check_has_the_mistakes_and_notes_of_the_roster(course, tmp_path):
    (tmp_path / "roster.csv").write_text("id,nick\n1,x\n1,y\n")
    assert any("roster.csv:3: id 1 is also in line 2" in text for text in course.problems())
    assert any("the column 'nick' is not read" in text for text in course.notes())


def test_a_roster_is_a_csv_file(tmp_path):
    with pytest.raises(ConfigError, match=r"autograder\.toml:2: course\.roster: must be a \.csv file"):
        parse(FILE.replace("roster.csv", "roster.xlsx"), tmp_path / "autograder.toml")
