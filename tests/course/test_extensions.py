"""Files of extensions: the forms that spreadsheet programs write, mistakes with their line, and what is in force."""

from datetime import datetime, timedelta, timezone

import pytest

from autograder.course.deadline import Deadline, Extension, Timing, sentence
from autograder.course.extensions import ExtensionsFile, parse_extensions

DEADLINES = {
    "a1": Deadline.of("Europe/Berlin", closes="2026-10-12 23:59", grace_minutes=30),
    "a2": Deadline.of("Asia/Tokyo", closes="2026-11-01 12:00"),
    "a0": Deadline.of("UTC"),
}
CSV = "student,assignment,closes,reason\n\nAlice,a1,2026-10-25 02:30,ill\nbob , a2 , 2026-11-02T00:00:30,\n"
TOML = """
# granted in October
[[extension]]
student = "Alice"
assignment = "a1"
closes = 2026-10-25T02:30:00
reason = "ill"

[[extension]]
student = "bob"
assignment = "a2"
closes = "2026-11-02 00:00:30"
"""


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def until(text):
    """Return the end of a minute."""
    return at(text) + timedelta(seconds=59, microseconds=999_999)


def read(text, file="x.csv", **others):
    return parse_extensions(text.encode(), file, DEADLINES, **others)


@pytest.mark.parametrize(
    ("content", "file"),
    [
        (CSV.encode(), "x.csv"),
        (CSV.encode("utf-8-sig"), "x.csv"),
        (CSV.replace(",", ";").encode(), "x.csv"),
        (CSV.replace(",", "\t").encode("utf-16"), "x.csv"),
        (CSV.replace("ill", "生病").encode("gb18030"), "x.csv"),
        (CSV.replace("ill", "kränklich").encode("latin-1"), "x.csv"),
        (CSV.replace("\n", ",,\r\n").encode(), "x.csv"),
        (
            CSV.replace("student,assignment,closes,reason", "Student,Assignment,Closes,Reason").encode(),
            "x.csv",
        ),
        (TOML.encode(), "x.toml"),
        (TOML.encode("utf-8-sig"), "x.toml"),
    ],
    ids=[
        "csv",
        "csv with a mark",
        "semicolons",
        "Unicode text of Excel",
        "GB18030",
        "latin-1",
        "empty cells",
        "capitals",
        "toml",
        "toml with a mark",
    ],
)
def test_each_form_of_file_is_read(content, file):
    extensions = parse_extensions(content, file, DEADLINES)
    assert extensions.mistakes == ()
    alice = extensions.of("aLICE", "a1")
    assert (alice.student, alice.assignment, alice.closes) == ("Alice", "a1", until("2026-10-25 01:30"))
    assert extensions.of("bob", "a2").closes == at("2026-11-01 15:00:30")
    assert extensions.of("alice", "a2") is None


def test_the_reason_is_for_staff_only():
    alice = read(CSV).of("alice", "a1")
    assert alice == Extension("Alice", "a1", until("2026-10-25 01:30"), "ill")
    decision = DEADLINES["a1"].decide(at("2026-10-25 01:45:59"), alice)
    assert decision.timing is Timing.IN_GRACE
    assert "15 minutes 59 seconds after your extended deadline, Sun 25 Oct 2026, 02:30 CET" in sentence(
        decision
    )
    assert "ill" not in sentence(decision).replace("still", "")


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-30 21:00",
        "2026/11/30 21:00",
        "2026/11/30 21:00:00",
        "2026.11.30 21:00",
        "30.11.2026 21:00",
        "2026年11月30日 21:00",
        "2026-11-30T21:00",
    ],
)
def test_dates_as_spreadsheet_programs_write_them(written):
    (found,) = read(f"student,assignment,closes\na,a1,{written}\n").by_key.values()
    assert found.closes == until("2026-11-30 20:00")


def test_single_digits_are_enough():
    (found,) = read("student,assignment,closes\na,a1,2026/12/3 9:05\n").by_key.values()
    assert found.closes == until("2026-12-03 08:05")


def test_an_offset_in_toml_decides():
    text = '[[extension]]\nstudent = "a"\nassignment = "a1"\ncloses = 2026-10-20T12:00:00-04:00\n'
    assert read(text, "x.toml").of("a", "a1").closes == until("2026-10-20 16:00")


def test_the_reason_may_be_left_out_in_a_line():
    assert read("student,assignment,closes,reason\na,a1,2026-10-20 10:00\n").of("a", "a1").reason == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "student|assignment|closes\n",
            "x.csv:1: 'student|assignment|closes' is not allowed; allowed are stu",
        ),
        ("student,assignment\n", "x.csv:1: student, assignment, closes are required"),
        (
            "student,assignment,closes,closes\n",
            "x.csv:1: student, assignment, closes are required, each once",
        ),
        ("student,assignment,closes\na,a1\n", "x.csv:2: 2 columns, but the first line names 3"),
        ("student,assignment,closes\na,a1,2026-10-20 10:00,ill\n", "x.csv:2: 4 columns"),
        (
            "student,assignment,closes\n\na b,a1,2026-10-20 10:00\n",
            "x.csv:3: student: must be a name without spaces",
        ),
        (
            "student,assignment,closes\na,a9,2026-10-20 10:00\n",
            "x.csv:2: assignment: 'a9' does not exist; there are a1, a2, a0",
        ),
        ("student,assignment,closes\na,a1,tomorrow\n", "x.csv:2: closes: not a time: 'tomorrow'"),
        (
            "student,assignment,closes\na,a1,11/12/2026 10:00\n",
            "x.csv:2: closes: '11/12/2026 10:00' may mean two",
        ),
        ("student,assignment,closes\na,a1,2026/10/20\n", "x.csv:2: closes: not a time: '2026/10/20'"),
        ("student,assignment,closes\na,a1,2027-03-28 02:30\n", "does not exist"),
        (
            "student,assignment,closes\na,a1,2026-10-20 10:00\nA,a1,2026-10-21 10:00\n",
            "x.csv:3: A already has an extension of a1 in line 2",
        ),
        (
            "student,assignment,closes\n2.02E+11,a1,2026-10-20 10:00\n",
            "x.csv:2: student: '2.02E+11' is a number that a spreadsheet program has shortened",
        ),
        ('student,assignment,closes\na,a1,"2026', "x.csv:2: not CSV"),
        ("", "x.csv:1: the file is empty; if there are no extensions, write the first line of a table"),
        ("\n \n", "x.csv:1: the file is empty"),
    ],
    ids=[
        "bars",
        "no closes",
        "closes twice",
        "short row",
        "long row",
        "spaces",
        "assignment",
        "form",
        "two days",
        "no clock",
        "skipped time",
        "student twice",
        "a number",
        "no csv",
        "empty",
        "blank",
    ],
)
def test_mistakes_in_csv_are_reported_with_their_line(text, message):
    (mistake,) = read(text).mistakes
    assert message in mistake


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n[[extension]\n", "x.toml:2: not TOML: "),
        ("[[extensions]]\n", "x.toml:1: only tables [[extension]]"),
        ("extension = 3\n", "x.toml:1: only tables"),
        ('\n[[extension]]\nstudent = "a"\n', "x.toml:2: student, assignment, closes are required"),
        (TOML.replace("reason", "resaon"), "x.toml:3: 'resaon' is not allowed"),
        (TOML.replace('"bob"', "7"), "x.toml:9: student: must be a name without spaces, not 7"),
        (TOML.replace("2026-10-25T02:30:00", "2026-10-25"), "x.toml:3: closes: not a time"),
        ("", "x.toml:1: the file is empty"),
    ],
    ids=["syntax", "other table", "no table", "no closes", "other key", "student", "no clock", "empty"],
)
def test_mistakes_in_toml_are_reported_with_their_line(text, message):
    (mistake,) = read(text, "x.toml").mistakes
    assert message in mistake


def test_all_mistakes_are_reported_and_the_other_lines_are_read():
    found = read("student,assignment,closes\na,a1,soon\nb,a1,2026-10-20 10:00\nc,a8,2026-10-20 10:00\n")
    assert [mistake.partition(": ")[0] for mistake in found.mistakes] == ["x.csv:2", "x.csv:4"]
    assert list(found.by_key) == [("b", "a1")]


def test_another_kind_of_file_is_refused():
    (mistake,) = read("x", "x.xlsx").mistakes
    assert mistake.endswith("must be a .csv or a .toml file")


@pytest.mark.parametrize(
    ("text", "file"), [("student,assignment,closes\n", "x.csv"), ("# nobody yet\n", "x.toml")]
)
def test_a_file_may_say_that_there_are_no_extensions(text, file):
    found = read(text, file)
    assert (found.by_key, found.mistakes) == ({}, ())


def test_an_extension_without_effect_is_a_note_and_no_mistake():
    found = read("student,assignment,closes\na,a1,2026-10-02 10:00\na,a0,2026-10-20 10:00\n")
    assert found.mistakes == ()
    assert found.notes == (
        "x.csv:2: has no effect: a1 closes for everybody on Mon 12 Oct 2026, 23:59 CEST (Europe/Berlin)",
        "x.csv:3: has no effect: a0 has no deadline",
    )


def test_a_name_that_is_easily_taken_for_another_one():
    found = read("student,assignment,closes\n2O2300l,a1,2026-10-20 10:00\nx,a2,2026-11-20 10:00\n")
    assert found.alike("2023001", "a1").line == 2
    assert found.alike("2023001", "a2") is None
    assert found.alike("2023002", "a1") is None
    both = read("student,assignment,closes\n2O23001,a1,2026-10-20 10:00\n2023001,a1,2026-10-01 10:00\n")
    assert both.alike("2023001", "a1") is None  # staff have said that these are two students


# what is in force ----------------------------------------------------------------------------------------

GOOD = "student,assignment,closes\nann,a1,2026-10-20 10:00\nbob,a1,2026-10-20 10:00\n"


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


def opened(tmp_path):
    return ExtensionsFile(tmp_path / "x.csv", tmp_path / "state", DEADLINES, lambda _assignment, _name: "")


BROKEN = {
    "a bad line": "student,assignment,closes\nann,a1,soon\nbob,a1,2026-10-20 10:00\n",
    "emptied": "",
    "no header": "ann,a1,2026-10-20 10:00\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_the_last_readable_version_stays_in_force(tmp_path, state, text, restarted):
    file = tmp_path / "x.csv"
    file.write_text(GOOD)
    extensions = opened(tmp_path)
    assert extensions.current().mistakes == ()
    file.write_text(text)
    if restarted:
        extensions = opened(tmp_path)
    found = extensions.current()
    assert len(found.mistakes) == 1
    assert {student for student, _ in found.by_key} == {"ann", "bob"}
    file.unlink()
    (mistake,) = extensions.current().mistakes
    assert (
        f"{file}:1: the extensions cannot be read: No such file or directory; make it, with the line"
        in mistake
    )
    assert extensions.current().of("ann", "a1") is not None
    file.write_text("student,assignment,closes\n")  # on purpose
    assert (extensions.current().by_key, extensions.current().mistakes) == ({}, ())


def test_the_readable_lines_of_a_broken_version_are_in_force_too(tmp_path, state):
    (tmp_path / "x.csv").write_text(GOOD)
    extensions = opened(tmp_path)
    extensions.current()
    (tmp_path / "x.csv").write_text(GOOD.replace("ann", "eve") + "carl,a1,soon\n")
    assert {student for student, _ in extensions.current().by_key} == {"ann", "bob", "eve"}


def test_the_copy_is_private(tmp_path, state):
    (tmp_path / "x.csv").write_text(GOOD)
    opened(tmp_path).current()
    (copy,) = (state / "extensions").iterdir()
    assert copy.stat().st_mode & 0o077 == 0
    assert copy.read_text() == GOOD


def test_nothing_is_kept_where_the_service_has_no_folder(tmp_path):
    (tmp_path / "x.csv").write_text(GOOD)
    assert opened(tmp_path).current().mistakes == ()
    assert not (tmp_path / "state").exists()
