"""Files that staff write while the service runs, by hand or with a spreadsheet program: extensions and the roster.

`decoded` and `cells` read the forms that such programs write. `StaffFile` says what of a file is in force: the readable
lines of the present version and, while that has a mistake, also what only the last version without a mistake had. A
copy of that version is kept, so that it stays in force after a restart.
"""

import codecs
import contextlib
import csv
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from autograder.files import replace_file, version

DELIMITERS = ",;\t"
MAX_BYTES = 4 << 20

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SCIENTIFIC = re.compile(r"\d+([.,]\d+)?E[+-]?\d+", re.IGNORECASE)


class Content(Protocol):
    """What was found in a file."""

    @property
    def mistakes(self) -> tuple[str, ...]:
        """What is wrong with the file, one text each, beginning with `FILE:LINE: `."""


Found = TypeVar("Found", bound=Content)


class StaffFile(ABC, Generic[Found]):
    """A file that is read again when it has changed.

    Args:
        path: the file.
        kept: the folder in which the copy is kept, below the folder of the grader's own files.
    """

    def __init__(self, path: Path, kept: Path) -> None:
        self.path = path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
        self._copy = kept / f"{digest}-{path.name}"
        self._known: tuple[object, Found] | None = None
        self._readable: Found | None = None  # the last version without a mistake

    @abstractmethod
    def parsed(self, content: bytes) -> Found:
        """Return what is in a version of the file, and its mistakes."""

    @abstractmethod
    def unreadable(self, reason: str) -> Found:
        """Return what is in force if the file cannot be read: nothing, with one mistake."""

    @abstractmethod
    def together(self, earlier: Found, found: Found) -> Found:
        """Return what is in force if `found` has a mistake and `earlier`, an older version, has none."""

    def current(self) -> Found:
        """Return what is in force, with the mistakes of the present version of the file."""
        try:
            state: object = version(self.path)
        except OSError as error:
            state = error.errno
        known = self._known  # several threads may get here; each of them computes the same
        if known is None or known[0] != state:
            known = state, self._read()
            self._known = known
        return known[1]

    def _read(self) -> Found:
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            found = self.unreadable(str(error.strerror or error))
        else:
            found = self.parsed(content)
            if not found.mistakes:
                self._readable = found
                self._keep(content)
                return found
        if self._readable is None:
            with contextlib.suppress(OSError):
                self._readable = self.parsed(self._copy.read_bytes())
        return found if self._readable is None else self.together(self._readable, found)

    def _keep(self, content: bytes) -> None:
        """Keep a copy, in one step. Only the account of the service does so: it must be able to replace the copy."""
        state, folder = self._copy.parent.parent, self._copy.parent
        with contextlib.suppress(OSError):  # a full disk is reported elsewhere
            if state.stat().st_uid != os.geteuid():
                return
            folder.mkdir(mode=0o700, exist_ok=True)
            if self._copy.is_file() and self._copy.read_bytes() == content:
                return
            replace_file(self._copy, content)


def decoded(content: bytes) -> str:
    """Return the content of a file as text, which may be UTF-8, UTF-16 or GB18030, with or without a mark.

    Programs of other languages write other encodings. In one that is not known, only characters outside of ASCII are
    wrong, on which nothing but the names of people depends.
    """
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    for encoding in ("utf-8", "gb18030"):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode(encoding)
    return content.decode("latin-1")


def cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line of a table that has any text; commas, semicolons or tabs divide them.

    Empty cells at the end of a line are left out if the first line has none there: spreadsheet programs write cells
    that were used once.

    Raises:
        csv.Error: the text is not CSV from here on.
    """
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    reader = csv.reader(lines, strict=True, delimiter=max(DELIMITERS, key=first.count))
    width = 0
    try:
        for row in reader:
            values = [cell.strip() for cell in row]
            while values and not values[-1] and len(values) > width:
                values.pop()
            if any(values):
                width = width or len(values)
                yield reader.line_num, values
    except csv.Error as error:
        raise NotATable(reader.line_num, str(error)) from None


class NotATable(csv.Error):
    """A text is not CSV from the line `line` on."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"not CSV: {reason}")
        self.line = line


def is_shortened(text: str) -> bool:
    """Whether this is a number that a spreadsheet program has shortened, so that its digits are lost: `2.02E+11`."""
    return _SCIENTIFIC.fullmatch(text) is not None and re.search(r"[.,+]", text) is not None


SHORTENED = (
    "is a number that a spreadsheet program has shortened, and its digits are lost; give the column the format Text, "
    "and enter the number again"
)
