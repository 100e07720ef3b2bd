"""Extensions: the file with later deadlines of single students.

`parse_extensions` reports each mistake in the file with its line. `ExtensionsFile` says which extensions are in force:
see `staff_files`.

A mistake in the file must cost no student a point. While there is one, no push may be called late: see `Course.decide`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autograder.config import toml
from autograder.config.times import DeadlineError, instant
from autograder.course.deadline import Deadline, Extension, shown
from autograder.course.staff_files import (
    MAX_BYTES,
    SHORTENED,
    NotATable,
    StaffFile,
    cells,
    decoded,
    is_shortened,
)
from autograder.errors import ConfigError

COLUMNS = ("student", "assignment", "closes")
OPTIONAL = ("reason",)
KEPT_FOLDER = "extensions"

NotAStudent = Callable[[str, str], str]
"""Takes an assignment and a name; returns why no student of the assignment can have that name, or an empty text."""

_TIME = r"[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d\d)(?P<rest>:\d\d)?"
_DATES = (
    re.compile(rf"(?P<year>\d{{4}})([-/.])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}}){_TIME}"),
    re.compile(rf"(?P<year>\d{{4}})年(?P<month>\d{{1,2}})月(?P<day>\d{{1,2}})日{_TIME.replace('[T ]', '')}"),
    re.compile(rf"(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.(?P<year>\d{{4}}){_TIME}"),
)
_AMBIGUOUS = re.compile(r"\d{1,2}[/-]\d{1,2}[/-]\d{2,4}\b.*")
_ALIKE = str.maketrans({"o": "0", "l": "1", "i": "1", "_": "-", ".": "-"})


@dataclass(frozen=True)
class Extensions:
    """The extensions of one file. Upper and lower case in students' names do not matter.

    Attributes:
        by_key: by student and assignment.
        mistakes: what is wrong with the file, one text each, beginning with `FILE:LINE: `.
        notes: what has no effect, in the same form.
    """

    by_key: Mapping[tuple[str, str], Extension]
    mistakes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, student: str, assignment: str) -> Extension | None:
        """Return the extension of one student, or None."""
        return self.by_key.get((student.casefold(), assignment))

    def alike(self, student: str, assignment: str) -> Extension | None:
        """Return an extension under a name that is easily taken for `student`, such as with a letter O for a zero.

        The result is None if `student` has an extension under the right name.
        """
        if self.of(student, assignment) is not None:
            return None
        looks = appearance(student)
        return next(
            (
                extension
                for (name, of), extension in self.by_key.items()
                if of == assignment and appearance(name) == looks
            ),
            None,
        )


class ExtensionsFile(StaffFile[Extensions]):
    """A file of extensions, read again when it has changed.

    Args:
        path: the file.
        state: the folder of the grader's own files; the copy is kept in a folder below it.
        deadlines: the deadlines, by assignment.
        not_a_student: see `NotAStudent`.
    """

    def __init__(
        self, path: Path, state: Path, deadlines: Mapping[str, Deadline], not_a_student: NotAStudent
    ) -> None:
        super().__init__(path, state / KEPT_FOLDER)
        self._deadlines, self._not_a_student = deadlines, not_a_student

    def parsed(self, content: bytes) -> Extensions:
        """Return the extensions in a version of the file."""
        return parse_extensions(content, str(self.path), self._deadlines, self._not_a_student)

    def unreadable(self, reason: str) -> Extensions:
        """Return no extensions."""
        make = "" if self.path.exists() else "; make it, with the line student,assignment,closes,reason"
        return Extensions({}, (f"{self.path}:1: the extensions cannot be read: {reason}{make}",))

    def together(self, earlier: Extensions, found: Extensions) -> Extensions:
        """Return the extensions of two versions; where both have one, that of `found`."""
        return Extensions({**earlier.by_key, **found.by_key}, found.mistakes, found.notes)


@dataclass
class _Rows:
    """What is found in a file while it is read."""

    file: str
    by_key: dict[tuple[str, str], Extension] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def wrong(self, line: int, message: object) -> None:
        self.mistakes.append(f"{self.file}:{line}: {message}")


def parse_extensions(
    content: bytes,
    file: str,
    deadlines: Mapping[str, Deadline],
    not_a_student: NotAStudent = lambda _assignment, _name: "",
) -> Extensions:
    """Return the extensions in a file, and its mistakes. A line with a mistake does not affect the others.

    CSV has the columns student, assignment, closes and, optionally, reason. TOML has tables `[[extension]]` with these
    keys. `closes` is local time in the assignment's zone. An extension that ends before the deadline has no effect.

    A file without any text is a mistake, because a program that failed may have emptied it. A CSV file with nothing
    but the first line, or a TOML file with nothing but a comment, says that there are no extensions.

    Args:
        content: of the file; text in UTF-8, UTF-16 or GB18030.
        file: name of the file, ending in .csv or .toml.
        deadlines: the deadlines, by assignment.
        not_a_student: see `NotAStudent`.
    """
    rows = _Rows(file)
    text = decoded(content)
    if len(content) > MAX_BYTES:
        rows.wrong(1, f"the file is larger than {MAX_BYTES >> 20} MiB")
    elif not text.strip():
        rows.wrong(
            1,
            "the file is empty; if there are no extensions, write the first line of a table, "
            f"{','.join(COLUMNS)}, or in a .toml file a comment",
        )
    elif file.endswith(".csv"):
        _read_rows(_csv_rows(text, rows), rows, deadlines, not_a_student)
    elif file.endswith(".toml"):
        _read_rows(_toml_rows(text, rows), rows, deadlines, not_a_student)
    else:
        rows.wrong(1, "the file of extensions must be a .csv or a .toml file")
    return Extensions(rows.by_key, tuple(rows.mistakes), tuple(rows.notes))


def _read_rows(
    found: Iterator[tuple[int, Mapping[str, object]]],
    rows: _Rows,
    deadlines: Mapping[str, Deadline],
    not_a_student: NotAStudent,
) -> None:
    for line, row in found:
        try:
            extension = _extension(row, line, deadlines, not_a_student)
        except DeadlineError as error:
            rows.wrong(line, error)
            continue
        key = extension.student.casefold(), extension.assignment
        if key in rows.by_key:
            rows.wrong(
                line,
                f"{extension.student} already has an extension of {extension.assignment} in line "
                f"{rows.by_key[key].line}; keep one",
            )
            continue
        rows.by_key[key] = extension
        deadline = deadlines[extension.assignment]
        if deadline.closes is None:
            rows.notes.append(f"{rows.file}:{line}: has no effect: {extension.assignment} has no deadline")
        elif extension.closes <= deadline.closes:
            rows.notes.append(
                f"{rows.file}:{line}: has no effect: {extension.assignment} closes for everybody on "
                f"{shown(deadline.closes, deadline.zone)}"
            )


def _extension(
    row: Mapping[str, object], line: int, deadlines: Mapping[str, Deadline], not_a_student: NotAStudent
) -> Extension:
    student, assignment, reason = row["student"], row["assignment"], row.get("reason", "")
    if not isinstance(reason, str):
        raise DeadlineError(f"reason: must be text, not {reason!r:.100}")
    if not isinstance(assignment, str) or assignment not in deadlines:
        raise DeadlineError(
            f"assignment: {assignment!r:.100} does not exist; there are {', '.join(deadlines)}"
        )
    if not isinstance(student, str) or not re.fullmatch(r"\S{1,200}", student) or not student.isprintable():
        raise DeadlineError(f"student: must be a name without spaces, not {student!r:.100}")
    if is_shortened(student):
        raise DeadlineError(f"student: {student!r:.100} {SHORTENED}")
    if why := not_a_student(assignment, student):
        raise DeadlineError(f"student: {student!r:.100} {why}")
    try:
        written = row["closes"]
        closes = instant(
            _plain(written) if isinstance(written, str) else written, deadlines[assignment].zone, later=True
        )
    except DeadlineError as error:
        raise DeadlineError(f"closes: {error}") from None
    return Extension(student, assignment, closes, reason, line)


def _plain(written: str) -> str:
    """Return a date and time that a spreadsheet program wrote in the form of the configuration.

    Raises:
        DeadlineError: the day and the month cannot be told apart.
    """
    for form in _DATES:
        match = form.fullmatch(written)
        if match:
            part = match.groupdict()
            day = f"{part['year']}-{part['month']:0>2}-{part['day']:0>2}"
            return f"{day} {part['hour']:0>2}:{part['minute']}{part['rest'] or ''}"
    if _AMBIGUOUS.fullmatch(written):
        raise DeadlineError(
            f"{written!r:.100} may mean two days; write the year first, as in 2026-10-12 23:59"
        )
    return written


def appearance(name: str) -> str:
    """Return a text that is equal for names that are easily taken for each other."""
    return unicodedata.normalize("NFKC", name).casefold().translate(_ALIKE)


def _csv_rows(text: str, rows: _Rows) -> Iterator[tuple[int, dict[str, object]]]:
    header: list[str] = []
    try:
        for line, values in cells(text):
            if not header:
                header = [value.casefold() for value in values]
                if not _keys_allowed(header, rows, line):
                    return
                continue
            required = [name for name in header[len(values) :] if name not in OPTIONAL]
            if len(values) > len(header) or required:
                rows.wrong(line, f"{len(values)} columns, but the first line names {len(header)}")
                continue
            values += [""] * (len(header) - len(values))
            yield line, dict(zip(header, values, strict=True))
    except NotATable as error:
        rows.wrong(error.line, error)


def _toml_rows(text: str, rows: _Rows) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        data = toml.loads(text, rows.file)
    except ConfigError as error:  # it has the line
        rows.mistakes.append(str(error))
        return
    tables = data.pop("extension", [])
    if data or not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        rows.wrong(1, "only tables [[extension]] are allowed here")
        return
    headers = [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if re.match(r"\s*\[\[\s*extension\s*\]\]", line)
    ]
    for position, table in enumerate(tables):
        line = headers[position] if position < len(headers) else 1
        if _keys_allowed(list(table), rows, line):
            yield line, table


def _keys_allowed(keys: list[str], rows: _Rows, line: int) -> bool:
    """Report keys that are not allowed, or missing. Return whether all is well."""
    unknown = [key for key in keys if key not in COLUMNS + OPTIONAL]
    if unknown:
        rows.wrong(line, f"{unknown[0]!r:.100} is not allowed; allowed are {', '.join(COLUMNS + OPTIONAL)}")
    elif any(key not in keys for key in COLUMNS) or len(set(keys)) != len(keys):
        rows.wrong(line, f"{', '.join(COLUMNS)} are required, each once")
    else:
        return True
    return False
