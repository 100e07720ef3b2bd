"""The gradebook as text and as files: a table for a terminal, CSV, JSON, Excel, and what Canvas and Moodle import.

The rows come from `gradebook`; nothing is computed here. Text of students and hosts is never a formula: a cell that a
spreadsheet program would read as one gets an apostrophe in front, and a cell in Excel's format is written as text.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from autograder.course.deadline import duration
from autograder.course.gradebook import Entry, Gradebook, Row, State
from autograder.course.roster import Person
from autograder.errors import GraderError
from autograder.ledger import Adjustment, AdjustmentKind
from autograder.report import inert, one_line

Cell: TypeAlias = "str | int | None"
SHORT = {
    State.EXCUSED: "exc",
    State.WAITING: "wait",
    State.UNDECIDED: "?",
    State.LATE: "late",
    State.NO_PUSH: "-",
}
"""What stands in place of points in the short table."""
MARKED = "*"
SHEET = 31  # characters of a sheet's name
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE = ("First name", "Last name", "Surname", "名", "姓", "姓氏", "ID number", "学号", "Username", "用户名")
MOODLE_MAIL = ("Email address", "电子邮件地址")


def _adjusted(adjustment: Adjustment) -> str:
    """Return an adjustment in a few words: `added 5 (a typo in the suite)`."""
    points = adjustment.points or 0
    what = {
        AdjustmentKind.POINTS: f"{'took off' if points < 0 else 'added'} {abs(points)}",
        AdjustmentKind.SET: f"set to {points}",
        AdjustmentKind.EXCUSE: "excused",
        AdjustmentKind.USE: f"chose {adjustment.commit[:10]}",
    }.get(adjustment.kind, adjustment.kind.value)
    return f"{what} ({one_line(adjustment.why)})" if adjustment.why else what


def adjustments(entry: Entry) -> str:
    """Return the adjustments of an entry in a few words; empty without any."""
    return "; ".join(_adjusted(each) for each in entry.result.adjustments)


def _late(entry: Entry) -> str:
    return duration_of(entry.result.late)


def duration_of(late: timedelta) -> str:
    """Return how late something was; empty if it was in time."""
    return str(duration(late)) if late > timedelta(0) else ""


def _extension(book: Gradebook, entry: Entry) -> str:
    extension = entry.extension
    return "" if extension is None else f"{extension.closes.astimezone(book.zone):%Y-%m-%d %H:%M}"


def _received(book: Gradebook, entry: Entry) -> str:
    push = entry.push
    return "" if push is None else push.push.received.astimezone(book.zone).isoformat(timespec="seconds")


DETAILS: dict[str, Callable[[Gradebook, Entry], Cell]] = {
    "points": lambda _, entry: entry.points,
    "max_points": lambda book, entry: entry.result.max_points or book.max_points[entry.assignment] or None,
    "in_total": lambda _, entry: entry.in_total,
    "state": lambda _, entry: entry.state.value,
    "graded": lambda _, entry: entry.result.graded,
    "late": lambda _, entry: _late(entry),
    "late_days": lambda _, entry: entry.result.late_days or None,
    "penalty": lambda _, entry: entry.result.penalty or None,
    "adjustments": lambda _, entry: adjustments(entry),
    "extension": _extension,
    "commit": lambda _, entry: entry.push.push.commit if entry.push else "",
    "received": _received,
    "receive_time_from": lambda _, entry: entry.push.push.source.value if entry.push else "",
    "attempt": lambda _, entry: entry.attempt,
    "policy": lambda _, entry: entry.policy.value,
    "repository": lambda _, entry: str(entry.repository) if entry.repository else "",
    "note": lambda _, entry: one_line(entry.note),
}
"""The columns of one assignment, as docs/gradebook.md describes them."""


def _person(row: Row) -> dict[str, str]:
    """Return the columns of one student."""
    person = row.person or Person(row.id)
    teams = dict.fromkeys(filter(None, (person.team_of(name) for name in row.entries)))
    return {
        "id": row.id,
        "name": person.name,
        "login": ", ".join(dict.fromkeys(person.logins.values())),
        "email": person.email,
        "section": person.section,
        "team": ", ".join(teams),
    }


def _percent(row: Row) -> str:
    return "" if row.total is None else str(row.total)


# tables ------------------------------------------------------------------------------------------------------


def short_rows(book: Gradebook) -> list[list[str]]:
    """Return a table with the points of all assignments; the first row has the titles."""
    rows = [["id", "name", "section", "team", *book.assignments, "total %", "note"]]
    for row in book.rows:
        who = _person(row)
        points = [short(row.entries[name]) for name in book.assignments]
        rows.append([row.id, who["name"], who["section"], who["team"], *points, _percent(row), row.note])
    return rows


def short(entry: Entry) -> str:
    """Return the points in a few characters; with a star if lateness or staff changed what grading gave."""
    if entry.points is None:
        return SHORT[entry.state]
    return f"{entry.points}{'' if entry.result.plain else MARKED}"


def long_rows(book: Gradebook, assignment: str) -> list[list[str]]:
    """Return a table with everything about one assignment; the first row has the titles."""
    shown = [name for name in DETAILS if name not in ("in_total", "repository", "policy")]
    cases = book.cases.get(assignment, ())
    rows = [["id", "name", "section", "team", *(name.replace("_", " ") for name in shown), *cases]]
    for row in book.rows:
        who, entry = _person(row), row.entries[assignment]
        cells = [_text(DETAILS[name](book, entry)) for name in shown]
        cells[shown.index("commit")] = cells[shown.index("commit")][:10]
        cells[shown.index("note")] = "; ".join(filter(None, (cells[shown.index("note")], row.note)))
        points = [str(entry.cases[name].points) if name in entry.cases else "" for name in cases]
        rows.append([row.id, who["name"], who["section"], who["team"], *cells, *points])
    return rows


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell)


def csv_text(book: Gradebook) -> str:
    """Return CSV with one line for each student: all columns of each assignment, then the total."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_inert(_wide_header(book)))
    writer.writerows(_inert(_wide(book, row)) for row in book.rows)
    return text.getvalue()


def _wide_header(book: Gradebook) -> Iterator[str]:
    yield from ("id", "name", "login", "email", "section", "team")
    for name in book.assignments:
        yield from (f"{name} {column}" for column in (*DETAILS, *book.cases.get(name, ())))
    yield from ("total_percent", "note")


def _wide(book: Gradebook, row: Row) -> Iterator[Cell]:
    yield from _person(row).values()
    for name in book.assignments:
        yield from _details(book, row.entries[name])
    yield from (_percent(row), row.note)


def _details(book: Gradebook, entry: Entry) -> Iterator[Cell]:
    for of in DETAILS.values():
        yield of(book, entry)
    for case in book.cases.get(entry.assignment, ()):
        yield entry.cases[case].points if case in entry.cases else None


def _inert(cells: Iterable[Cell]) -> list[Cell]:
    return [inert(cell) if isinstance(cell, str) else cell for cell in cells]


# JSON --------------------------------------------------------------------------------------------------------


def to_json(book: Gradebook) -> dict[str, Any]:
    """Return the gradebook as plain data, as docs/gradebook.md describes it."""
    return {
        "made": book.made.isoformat(timespec="seconds"),
        "at": book.at.isoformat(timespec="seconds") if book.at else None,
        "assignments": {
            name: {"max_points": book.max_points[name], "weight": float(book.weights[name])}
            for name in book.assignments
        },
        "students": [
            {
                **_person(row),
                "logins": dict(row.person.logins) if row.person else {},
                "total_percent": None if row.total is None else float(row.total),
                "note": row.note,
                "assignments": {name: _entry(book, entry) for name, entry in row.entries.items()},
            }
            for row in book.rows
        ],
    }


def _entry(book: Gradebook, entry: Entry) -> dict[str, Any]:
    result, extension = entry.result, entry.extension
    data: dict[str, Any] = {name: of(book, entry) for name, of in DETAILS.items()}
    data |= {
        "late_seconds": int(result.late.total_seconds()),
        "late_days": result.late_days,
        "penalty": result.penalty,
        "extension": extension.closes.astimezone(book.zone).isoformat() if extension else None,
        "why": [str(sentence) for sentence in result.why],
        "adjustments": [
            {
                "id": each.id,
                "kind": each.kind.value,
                "points": each.points,
                "commit": each.commit,
                "who": each.who,
                "why": each.why,
                "at": each.at.isoformat(timespec="seconds"),
            }
            for each in result.adjustments
        ],
    }
    if book.cases:
        data["cases"] = {
            name: {"points": case.points, "max_points": case.max_points, "verdict": case.verdict}
            for name, case in entry.cases.items()
        }
    return data


def json_text(book: Gradebook) -> str:
    """Return the gradebook as JSON."""
    return json.dumps(to_json(book), indent=2, ensure_ascii=False) + "\n"


# Excel -------------------------------------------------------------------------------------------------------


def xlsx(book: Gradebook) -> bytes:
    """Return an Excel workbook: a sheet with the points of all assignments, and one for each assignment.

    Raises:
        GraderError: the package XlsxWriter is not installed.
    """
    try:
        from xlsxwriter import Workbook
    except ImportError as error:
        raise GraderError(
            "the format xlsx needs the package XlsxWriter; run pip install 'autograder[xlsx]', or take --format csv"
        ) from error
    file = io.BytesIO()
    with Workbook(file, {"in_memory": True}) as workbook:
        bold = workbook.add_format({"bold": True})

        def sheet(name: str, rows: Sequence[Sequence[Cell]]) -> None:
            page = workbook.add_worksheet(name)
            for line, cells in enumerate(rows):
                for column, cell in enumerate(cells):
                    style = bold if line == 0 else None
                    if isinstance(cell, str) and cell:
                        page.write_string(line, column, cell, style)
                    elif isinstance(cell, (int, float)):
                        page.write_number(line, column, cell, style)
            page.freeze_panes(1, 2)
            page.autofilter(0, 0, len(rows) - 1, len(rows[0]) - 1)
            page.autofit(300)

        points: list[list[Any]] = [[*_person(Row("", None, {})), *book.assignments, "total %", "note"]]
        for row in book.rows:
            counted = [
                entry.points if entry.points is not None else SHORT[entry.state]
                for entry in row.entries.values()
            ]
            total = None if row.total is None else float(row.total)
            points.append([*_person(row).values(), *counted, total, row.note])
        taken = {"grades"}
        sheet("Grades", points)
        for name in book.assignments:
            rows: list[list[Cell]] = [["id", "name", *DETAILS, *book.cases.get(name, ())]]
            rows += [[row.id, row.name, *_details(book, row.entries[name])] for row in book.rows]
            sheet(_sheet_name(name, taken), rows)
    return file.getvalue()


def _sheet_name(name: str, taken: set[str]) -> str:
    """Return a name that Excel accepts, which no other sheet has."""
    number, found = 1, name[:SHEET]
    while found.casefold() in taken or found.casefold() == "history":
        number += 1
        found = f"{name[: SHEET - 4]}-{number}"
    taken.add(found.casefold())
    return found


# systems of universities -------------------------------------------------------------------------------------


def canvas(book: Gradebook, titles: dict[str, str]) -> str:
    """Return the points as Canvas imports them. Those who are not in the roster are left out.

    If the roster is an export of Canvas's gradebook, its lines are repeated, and an assignment that has the name or
    title of one of its columns goes into that column. Otherwise Canvas asks what a column is.

    Args:
        book: with a roster.
        titles: the title of each assignment.

    Raises:
        GraderError: the course has no roster.
    """
    people = _people(book, "canvas")
    columns = [_canvas_column(book, name, titles.get(name, "")) for name in book.assignments]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_inert([*CANVAS, *columns]))
    blank = [""] * (len(CANVAS) - 1)
    writer.writerow(
        ["    Points Possible", *blank, *(book.max_points[name] or "" for name in book.assignments)]
    )
    for person, row in people:
        if _form(book) == "canvas":
            who = [_given(person, column) for column in CANVAS]
        else:
            who = [
                person.name or person.id,
                "",
                person.id,
                next(iter(person.logins.values()), ""),
                person.section,
            ]
        points = ["EX" if each.state is State.EXCUSED else _points(each) for each in row.entries.values()]
        writer.writerow([*_inert(who), *points])
    return text.getvalue()


def moodle(book: Gradebook, titles: dict[str, str]) -> str:
    """Return the points as Moodle imports them: choose the id number, or the e-mail address, to map the users.

    Those who are not in the roster are left out.

    Args:
        book: with a roster.
        titles: the title of each assignment.

    Raises:
        GraderError: the course has no roster.
    """
    people = _people(book, "moodle")
    given = (
        [column for column in book.roster.columns if column in (*MOODLE, *MOODLE_MAIL)] if book.roster else []
    )
    own = _form(book) == "moodle" and bool(given)
    columns = given if own else ["ID number", "Name", "Email address"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_inert([*columns, *(titles.get(name) or name for name in book.assignments)]))
    for person, row in people:
        who = (
            [_given(person, column) for column in columns] if own else [person.id, person.name, person.email]
        )
        writer.writerow([*_inert(who), *(_points(each) for each in row.entries.values())])
    return text.getvalue()


def left_out(book: Gradebook) -> list[str]:
    """Return the ids of the rows that the exports for Canvas and Moodle leave out."""
    return [row.id for row in book.rows if row.person is None]


def _people(book: Gradebook, form: str) -> list[tuple[Person, Row]]:
    if book.roster is None:
        raise GraderError(
            f'the format {form} needs a roster: add roster = "roster.csv" to [course]; see docs/gradebook.md'
        )
    return [(row.person, row) for row in book.rows if row.person is not None]


def _form(book: Gradebook) -> str:
    return book.roster.form if book.roster is not None else ""


def _given(person: Person, column: str) -> str:
    """Return a cell of the roster's file; the case of the column's name does not matter."""
    found = (value for name, value in person.given.items() if name.casefold() == column.casefold())
    return next(found, "")


def _canvas_column(book: Gradebook, assignment: str, title: str) -> str:
    """Return the roster's column of an assignment, `Homework 1 (17)`; or its title."""
    wanted = {assignment.casefold(), title.casefold()} - {""}
    for column in book.roster.columns if book.roster is not None and _form(book) == "canvas" else ():
        match = re.fullmatch(r"(.*\S)\s*\(\d+\)", column)
        if match and match[1].casefold() in wanted:
            return column
    return title or assignment


def _points(entry: Entry) -> Cell:
    return "" if entry.in_total is None else entry.in_total
