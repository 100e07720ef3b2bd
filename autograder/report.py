"""A report: all cases of one submission with totals and provenance, and its renderings.

`Report.to_json` returns the complete report for programs (`score.json`, documented in docs/report-format.md). The other
forms are made from a report: `markdown` (score.md), `gradescope` (results.json), `junit` (XML), `summary_csv`.

Messages are composed when a submission is graded, because their values come from the student's process. A report holds
them as text: in English with the case, in the other languages that the course shows in its provenance.

In Markdown, text that a student can influence appears only inside a code span, on one line. Control and direction
characters are shown as escapes. So the text cannot become markup, a mention or a link.
"""

import csv
import io
import json
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from autograder.language import ENGLISH, Text, as_text, restored, tell
from autograder.verdict import CaseResult, Verdict

SCHEMA = 1
MAX_MESSAGE = 300  # characters of one message in any rendering
SECONDS_DIGITS = 4  # digits after the point of a measured time
ALL_PASSED, NOT_ALL_PASSED = "😊", "🥺"


@dataclass(frozen=True)
class Form:
    """How score.md is written.

    Attributes:
        score: `points`: the column Score has the points that were earned; `of`: also what the case is worth.
        languages: of the sentences, the first one first.
    """

    score: Literal["points", "of"] = "points"
    languages: tuple[str, ...] = (ENGLISH,)


PLAIN = Form()


@dataclass(frozen=True)
class SuiteFault:
    """A draw of a case that the reference failed, so that the case was drawn again."""

    case: str
    draw: int
    reason: str


@dataclass(frozen=True)
class Report:
    """All cases of one submission.

    Attributes:
        assignment: its name in autograder.toml.
        cases: in the suite's order.
        provenance: how the submission was graded: commit, digests, versions, sandbox, times. Plain JSON data.
        suite_faults: what staff must mend. Not part of any rendering: students read those, and a fault may show an
            expected value.
    """

    assignment: str
    cases: tuple[CaseResult, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    suite_faults: tuple["SuiteFault", ...] = ()

    @property
    def points(self) -> int:
        """Points awarded."""
        return sum(case.points for case in self.cases)

    @property
    def max_points(self) -> int:
        """Points that the cases are worth, without extra credit."""
        return sum(case.max_points for case in self.cases)

    @property
    def all_passed(self) -> bool:
        """Whether every case passed that is no extra credit."""
        return all(case.verdict is Verdict.PASSED for case in self.cases if case.name not in self.extra)

    @property
    def extra(self) -> dict[str, int]:
        """What the cases are worth that are extra credit, by name. They add nothing to `max_points`."""
        return dict(self.provenance.get("extra", {}))

    @property
    def titles(self) -> dict[str, dict[str, str]]:
        """The titles of cases that have one: case name -> language -> title."""
        return dict(self.provenance.get("titles", {}))

    @property
    def messages(self) -> dict[str, dict[str, str]]:
        """The messages in other languages than English: case name -> language -> message."""
        return dict(self.provenance.get("messages", {}))

    @property
    def draws(self) -> dict[str, int]:
        """The number of the draw by case name; 0 for a case that is not listed."""
        return dict(self.provenance.get("draws", {}))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data, see docs/report-format.md."""
        return {
            "schema": SCHEMA,
            "assignment": self.assignment,
            "points": self.points,
            "max_points": self.max_points,
            "cases": [_case_to_json(case) for case in self.cases],
            "provenance": dict(self.provenance),
        }


def _case_to_json(case: CaseResult) -> dict[str, Any]:
    """Return every field of a case as plain data; times are rounded."""
    row = {
        name: round(value, SECONDS_DIGITS) if isinstance(value, float) else value
        for name, value in asdict(case).items()
    }
    return row | {"verdict": case.verdict.value, "message": one_line(case.message)}


def from_json(data: Mapping[str, Any]) -> Report:
    """Return the report that `to_json` wrote.

    Raises:
        ValueError: `data` has another schema, or something is missing.
    """
    if data.get("schema") != SCHEMA:
        raise ValueError(f"this is not a report of schema {SCHEMA}: schema is {data.get('schema')!r}")
    try:
        cases = tuple(CaseResult(**(case | {"verdict": Verdict(case["verdict"])})) for case in data["cases"])
        return Report(data["assignment"], cases, data["provenance"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is not a report: {error}") from error


def reports_from_json(data: object) -> list[Report]:
    """Return the reports of a score.json: one, or one for each assignment if several were graded at once.

    Raises:
        ValueError: `data` is not what `combined` returns.
    """
    if not isinstance(data, Mapping):
        raise ValueError("this is not a report: the file must hold a JSON object")
    if "reports" not in data:
        return [from_json(data)]
    several = data["reports"]
    if not isinstance(several, list) or not several or not all(isinstance(one, Mapping) for one in several):
        raise ValueError("this is not a report: reports must be a list of reports")
    return [from_json(one) for one in several]


def combined(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the content of score.json: the report, or a list if there is not exactly one."""
    if len(reports) == 1:
        return reports[0].to_json()
    return {"schema": SCHEMA, "reports": [report.to_json() for report in reports]}


def dumps(data: Mapping[str, Any]) -> str:
    """Return JSON text as it is written to disk: readable, ending in a newline."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def one_line(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return `text` on one line of at most `limit` characters, with unprintable characters as escapes."""
    shown: list[str] = []
    length = 0
    for character in text:
        if character in "\n\r\t":
            piece = " "
        elif unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp"):
            piece = f"\\u{ord(character):04x}"  # control or direction character, surrogate, unassigned
        else:
            piece = character
        length += len(piece)
        if length > limit:
            while shown and sum(map(len, shown)) > limit - 1:
                shown.pop()
            return "".join(shown).strip() + "…"
        shown.append(piece)
    return "".join(shown).strip()


def both_ends(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return `text` on one line like `one_line`, but cut in the middle: the cause often stands at the end."""
    line = one_line(text, max(limit, 8 * len(text)))  # an escape has six characters, or ten
    if len(line) <= limit:
        return line
    return f"{line[: limit // 3].rstrip()} … {line[-(limit - limit // 3 - 3) :].lstrip()}"


def code_span(text: str) -> str:
    """Return Markdown that shows `text` literally in a table cell, or an empty text for an empty text."""
    line = one_line(text).replace("`", "'").replace("|", "¦")
    return f"`{line}`" if line else ""


def _cell(text: str) -> str:
    """Return text of a suite as the content of one table cell. A suite is ours, so it may contain markup."""
    return one_line(text).replace("|", "\\|")


def translated(cases: Iterable[CaseResult], languages: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the messages of cases in languages other than English: case name -> language -> message.

    Args:
        cases: as they come from grading, where a message may still be a `Text`.
        languages: those that the course shows.
    """
    others = [language for language in languages if language != ENGLISH]
    return {
        case.name: {language: one_line(as_text(case.message).in_(language)) for language in others}
        for case in cases
        if case.message and others
    }


def heading(form: Form = PLAIN) -> str:
    """Return the heading of score.md."""
    return f"# {in_all(tell('Score Summary'), form)}\n"


def paragraphs(note: str, form: Form = PLAIN) -> str:
    """Return a note as a paragraph of Markdown for each language; empty for an empty note."""
    return "\n".join(f"{as_text(note).in_(language)}\n" for language in form.languages) if note else ""


def markdown(reports: Iterable[Report], note: str = "", form: Form = PLAIN) -> str:
    """Return the text of score.md for one or more reports.

    The names of the rows are the same in every language, so that a program can read the table in any of them.

    Args:
        reports: the reports; each of them becomes a table.
        note: our own paragraph of Markdown, shown above the first table.
        form: how the table is written, and in which languages.
    """
    parts = [heading(form)]
    if note:
        parts.append(paragraphs(note, form))
    parts += [_table(report, form) for report in reports]
    return "\n".join(parts)


def _table(report: Report, form: Form) -> str:
    columns = (tell("Test Case"), tell("Score"), tell("Status"), tell("Error Message"))
    head = " | ".join(in_all(column, form) for column in columns)
    rows = [
        _row(
            _name(report, case.name, form),
            case.points,
            f"+{report.extra[case.name]}" if case.name in report.extra else f"{case.max_points}",
            case.verdict.traits.icon,
            form,
            _message(report, case, form),
        )
        for case in report.cases
    ]
    face = ALL_PASSED if report.all_passed else NOT_ALL_PASSED
    rows.append(_row("Total", report.points, f"{report.max_points}", face, form))
    return "\n".join([f"| {head} |", "|---|---|---|---|", *rows]) + "\n"


def _name(report: Report, name: str, form: Form) -> str:
    """Return the content of the first column: the name of a case, its title, and whether it is extra credit."""
    titles = report.titles.get(name, {})
    title = in_all(restored(titles), form) if titles else ""
    shown = f"{name}: {title}" if title else name
    return _cell(f"{shown} ({in_all(tell('extra credit'), form)})" if name in report.extra else shown)


def _row(name: str, points: int, worth: str, icon: str, form: Form, message: str = "") -> str:
    score = f"{points} / {worth}" if form.score == "of" else f"{points}"
    return f"| {name} | {score} | {icon} | {message} |" if message else f"| {name} | {score} | {icon} | |"


def _message(report: Report, case: CaseResult, form: Form) -> str:
    """Return the content of the last column: the message in each language. One that is missing is shown in English."""
    kept = report.messages.get(case.name, {})
    texts = [
        case.message if language == ENGLISH else kept.get(language, case.message)
        for language in form.languages
    ]
    return "<br>".join(code_span(text) for text in dict.fromkeys(texts))


def in_all(text: Text, form: Form) -> str:
    """Return a text in all languages that are shown, on one line."""
    return " ".join(dict.fromkeys(text.in_(language) for language in form.languages))


def gradescope(reports: Sequence[Report]) -> dict[str, Any]:
    """Return one or more reports in the form of Gradescope's results.json, which has one score and one list of tests.

    If there are several reports, the name of each test begins with its assignment.
    """
    return {
        "score": sum(report.points for report in reports),
        "execution_time": round(sum(case.seconds for report in reports for case in report.cases), 3),
        "tests": [
            {
                "name": _plain_name(report, case.name, several=len(reports) > 1),
                "score": case.points,
                "max_score": case.max_points,
                "status": case.verdict.traits.gradescope,
                "output": one_line(case.message),
                "output_format": "text",
            }
            for report in reports
            for case in report.cases
        ],
        "extra_data": combined(reports),
    }


def _plain_name(report: Report, name: str, *, several: bool) -> str:
    """Return the name of a case with its title, whether it is extra credit, and its assignment if there are several."""
    title = report.titles.get(name, {}).get(ENGLISH, "")
    shown = f"{name}: {title}" if title else name
    shown += " (extra credit)" if name in report.extra else ""
    return f"{report.assignment}: {shown}" if several else shown


def junit(reports: Sequence[Report]) -> str:
    """Return one or more reports as JUnit XML: a `testsuite` for each, and several of them in `testsuites`.

    The traits of a case's verdict say whether the case is a failure or an error.
    """
    suites = [_junit_suite(report) for report in reports]
    if len(suites) == 1:
        (root,) = suites
    else:
        root = ElementTree.Element("testsuites")
        root.extend(suites)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _junit_suite(report: Report) -> ElementTree.Element:
    kinds = Counter(case.verdict.traits.junit for case in report.cases)
    suite = ElementTree.Element(
        "testsuite",
        name=report.assignment,
        tests=str(len(report.cases)),
        failures=str(kinds["failure"]),
        errors=str(kinds["error"]),
        time=f"{sum(case.seconds for case in report.cases):.3f}",
    )
    for case in report.cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=report.assignment, name=case.name, time=f"{case.seconds:.3f}"
        )
        properties = ElementTree.SubElement(element, "properties")
        for name, value in _properties(report, case).items():
            ElementTree.SubElement(properties, "property", name=name, value=value)
        if kind := case.verdict.traits.junit:
            ElementTree.SubElement(element, kind, type=case.verdict.value, message=one_line(case.message))
    return suite


def _properties(report: Report, case: CaseResult) -> dict[str, str]:
    """Return what JUnit has no attribute for: a case that failed may have points, and may be extra credit."""
    worth = (
        ("extra", report.extra[case.name]) if case.name in report.extra else ("max_points", case.max_points)
    )
    found = {"points": f"{case.points}", worth[0]: f"{worth[1]}"}
    if title := report.titles.get(case.name, {}).get(ENGLISH):
        found["title"] = one_line(title)
    return found


@dataclass(frozen=True)
class Row:
    """One submission and one assignment in grades.csv.

    Attributes:
        submission: name of the submission.
        assignment: name of the assignment.
        report: the report, or None without one.
        reason: why there is no report, or why the submission was refused as a whole; otherwise empty.
    """

    submission: str
    assignment: str
    report: Report | None
    reason: str = ""


def summary_csv(rows: Iterable[Row]) -> str:
    """Return grades.csv: a line for each submission and assignment, with a column for the points of each case.

    A text that a spreadsheet program would read as a formula gets an apostrophe in front.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(case.name for row in rows if row.report for case in row.report.cases))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["submission", "assignment", "points", "max_points", *map(inert, columns), "reason"])
    for row in rows:
        report = row.report
        points = {case.name: case.points for case in report.cases} if report else {}
        writer.writerow(
            [
                inert(row.submission),
                row.assignment,
                report.points if report else "",
                report.max_points if report else "",
                *(points.get(column, "") for column in columns),
                inert(one_line(row.reason)),
            ]
        )
    return text.getvalue()


def inert(text: str) -> str:
    """Return the text of a cell so that no spreadsheet program takes it for a formula."""
    return "'" + text if text[:1] in tuple("=+-@\t\r＝＋－＠") else text
