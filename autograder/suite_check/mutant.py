"""A mutant: the reference with one small mistake in one solution. Pure data; `python_mutants` and `cpp_mutants` make
them from source text."""

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MODULE = "<module>"


@dataclass(frozen=True)
class Edit:
    """One replacement in the bytes of a source file: `source[start:end]` becomes `text`."""

    kind: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Place:
    """A function: its qualified name, its first and its last line."""

    function: str
    first: int
    last: int


@dataclass(frozen=True)
class Mutant:
    """One wrong solution.

    Attributes:
        id: stable while the changed lines stay as they are, whatever else changes in the file.
        path: the changed file, `src/linear.py`.
        function: the qualified name of the innermost function around the change, or `<module>`.
        kind: which mistake it stands for: `transpose`, `last minibatch`, ...
        line: the first changed line of the original, from 1.
        span: the first and last line of the function, or of the file.
        text: the whole changed file.
        diff: the changed lines as a unified diff, with one line around them.
    """

    id: str
    path: str
    function: str
    kind: str
    line: int
    span: tuple[int, int]
    text: str
    diff: str

    @property
    def group(self) -> tuple[str, str, str]:
        """Path, function and kind: the short form takes one mutant of each group."""
        return self.path, self.function, self.kind


def apply(source: bytes, edit: Edit) -> bytes:
    """Return the source with one edit."""
    return source[: edit.start] + edit.text.encode() + source[edit.end :]


def mutants(path: str, source: bytes, edits: Iterable[tuple[Place, Edit]]) -> Iterator[Mutant]:
    """Yield a mutant for each (place, edit) that changes the text, each text once."""
    seen = {source}
    counts: dict[str, int] = {}
    before = source.decode()
    for place, edit in edits:
        changed = apply(source, edit)
        if changed in seen:
            continue
        seen.add(changed)
        after = changed.decode()
        removed, added, diff = _compared(before, after)
        key = "\0".join([path, place.function, edit.kind, *removed, "", *added])
        name = hashlib.sha256(key.encode()).hexdigest()[:8]
        counts[name] = counts.get(name, 0) + 1
        number = f"-{counts[name]}" if counts[name] > 1 else ""  # equal lines of one function
        line = source.count(b"\n", 0, edit.start) + 1
        yield Mutant(
            id=f"{path}:{place.function}:{edit.kind.replace(' ', '-')}:{name}{number}",
            path=path,
            function=place.function,
            kind=edit.kind,
            line=line,
            span=(place.first, place.last),
            text=after,
            diff=diff,
        )


def _compared(before: str, after: str) -> tuple[Sequence[str], Sequence[str], str]:
    """Return the removed lines, the added lines, and the diff."""
    lines = list(difflib.unified_diff(before.split("\n"), after.split("\n"), n=1, lineterm=""))[2:]
    removed = [line[1:].strip() for line in lines if line.startswith("-")]
    added = [line[1:].strip() for line in lines if line.startswith("+")]
    return removed, added, "\n".join(lines)
