"""Finds solutions, hidden cases, secrets and staff paths that must not be handed out, in files and in git objects.

A hidden line is a leak wherever it is: also in a comment, with other spaces, or within a longer line. Short lines and
lines that reveal nothing (`return`, imports) occur everywhere, so they are not looked for. If students may see a line
of a solution, it is declared in `assignments.X.release.public`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from autograder.config import Config

WHOLE, PART = 12, 22  # characters of the shortest line to look for as a whole line, and within longer lines
HIDDEN_SUFFIXES = (".py", ".toml", ".json", ".md")
MIN_SECRET = 8

_SILENT = re.compile(
    r"(from \S+ )?import .*|#include .*|@dataclass\b.*|raise \w+\(|(return|yield|del|if|for|while|with) ?\w*:?|"
    r"\W*(namespace|pass|continue|break|else|try|finally)\b.{0,12}|[\W\d_]*|def \w+\([\w, ]*\):"
)
_COMMENT = re.compile(r"^(#+|//+|\*|>|-) ?")
_KEYS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{40}|"
    rb"\bglpat-[A-Za-z0-9_-]{20}|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[A-Za-z0-9-]{10}"
)
_MARKERS = re.compile(r"(BEGIN|END) SOLUTION")
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD")


@dataclass(frozen=True)
class Leak:
    """One leak: where it is, and what leaks. It never contains the secret itself."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}" if self.line else f"{self.path}: {self.what}"


@dataclass
class Detector:
    """Knows what must not be seen, and looks for it.

    Attributes:
        lines: a line with its spaces collapsed -> where it comes from.
        secrets: the bytes of a secret -> what it is.
        places: folders of the staff repository that students do not have, and absolute paths on this machine.
    """

    lines: dict[str, str] = field(default_factory=dict)
    secrets: dict[bytes, str] = field(default_factory=dict)
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._parts = {_compact(line): where for line, where in self.lines.items() if len(line) >= PART}
        folders = [re.escape(place) for place in self.places if not place.startswith("/")]
        self._folders = re.compile(rf"(?<![\w./-])(?:{'|'.join(folders)})/[\w.]") if folders else None

    def scan(self, path: str, content: bytes) -> list[Leak]:
        """Return the leaks in one file. `path` is the file's name in the result."""
        found = [
            Leak(path, content.count(b"\n", 0, content.find(secret)) + 1, what)
            for secret, what in self.secrets.items()
            if secret in content
        ]
        if match := _KEYS.search(content):
            found.append(Leak(path, content.count(b"\n", 0, match.start()) + 1, "a key or token"))
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
            found += [Leak(path, number, what) for what in self._of_line(line)]
        return found

    def _of_line(self, line: str) -> Iterable[str]:
        if _MARKERS.search(line):
            yield "a solution marker"
        for place in self.places:
            if place.startswith("/") and place in line:
                yield f"a path of the staff: {place}"
        if self._folders and (match := self._folders.search(line)):
            yield f"a path of the staff repository: {match[0]}…"
        plain = _plain(line)
        whole = _bare(plain)
        if whole in self.lines:
            yield f"a line of {self.lines[whole]}: {whole!r:.60}"
            return
        compact = _compact(line)
        if len(compact) >= PART // 2:
            for part, where in self._parts.items():
                if part in compact:
                    yield f"a line of {where}: {plain!r:.60}"
                    return

    def scan_binary(self, path: str, content: bytes) -> list[Leak]:
        """Return the leaks in a compiled file: lines of at least PART characters, secrets, and our absolute paths."""
        found = [Leak(path, 0, what) for secret, what in self.secrets.items() if secret in content]
        found += [
            Leak(path, 0, f"a path of the staff: {place}")
            for place in self.places
            if place.startswith("/") and place.encode() in content
        ]
        compact = re.sub(rb"[ \t]+", b"", content)
        found += [
            Leak(path, 0, f"a line of {where}: {part!r:.60}")
            for part, where in self._parts.items()
            if part.encode() in compact
        ]
        return found


def detector(
    settings: Config,
    *,
    withheld: Mapping[str, Iterable[str]],
    released: Iterable[str],
    public: Iterable[str] = (),
) -> Detector:
    """Return a detector of everything in this staff repository that students must not see.

    Args:
        settings: the course's configuration.
        withheld: source file -> the lines of its solutions that must not be seen.
        released: the paths that students have.
        public: lines that students may see although they are in `withheld` or in a hidden suite.
    """
    lines: dict[str, str] = {}
    for path, solution in withheld.items():
        lines |= _revealing(solution, f"the solution in {path}")
    for name, assignment in settings.assignments.items():
        suite = settings.path(assignment.suite)
        for file in sorted(suite.rglob("*")):
            if file.suffix in HIDDEN_SUFFIXES and file.is_file():
                text = file.read_text(encoding="utf-8-sig", errors="replace")
                lines |= _revealing(text.splitlines(), f"the hidden suite of {name}", PART)
    for line in public:
        lines.pop(_bare(line), None)
    return Detector(lines, _secrets(settings), _places(settings, released))


def _revealing(lines: Iterable[str], where: str, shortest: int = WHOLE) -> dict[str, str]:
    """Return the lines that reveal something, without the signs of a comment and the quotes of a docstring."""
    return {
        bare: where
        for line in lines
        if len(bare := _bare(line)) >= shortest
        and not _SILENT.fullmatch(_plain(line))
        and not _SILENT.fullmatch(bare)
    }


def _plain(line: str) -> str:
    return " ".join(line.split())


def _bare(line: str) -> str:
    return _COMMENT.sub("", _plain(line)).strip("\"' ")


def _compact(line: str) -> str:
    return "".join(line.split())


def _secrets(settings: Config) -> dict[bytes, str]:
    """Return every secret in the environment and in the files that the configuration names."""
    found: dict[bytes, str] = {}
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and name.startswith("AUTOGRADER_") and len(value) >= MIN_SECRET:
            found[value.encode("utf-8", "surrogateescape")] = f"the secret in {name}"
    for key, file in _files_named(msgspec.to_builtins(settings)):
        path = settings.path(file)
        content = path.read_bytes().strip() if path.is_file() else b""
        if len(content) >= MIN_SECRET:
            found[content] = f"the secret in {key}"
    return found


def _files_named(table: object) -> Iterable[tuple[str, str]]:
    """Yield key and value of every `secret_file`, `token_file` and the like, at any depth."""
    if isinstance(table, dict):
        for key, value in table.items():
            if isinstance(value, str) and re.search(r"(secret|token|key)_file$", str(key)) and value:
                yield str(key), value
            else:
                yield from _files_named(value)


def _places(settings: Config, released: Iterable[str]) -> tuple[str, ...]:
    """Return the names of folders that only the staff repository has, and then its absolute paths."""
    root = settings.path(settings.reference)
    theirs = {path.partition("/")[0] for path in released}
    folders = [path.name for path in sorted(root.iterdir()) if path.is_dir() and path.name not in theirs]
    ours = [name for name in folders if not name.startswith(".") and name.isidentifier()]
    absolute = {str(root), str(Path(settings.folder).resolve())}
    return (*ours, *sorted(path for path in absolute if len(path) > 3))
