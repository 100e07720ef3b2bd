"""Turns the handouts into the READMEs of a starter: one file per language, without what is not released.

Comments in a handout say what a starter has. `<!-- with PATH -->` keeps what follows only in a starter that contains
PATH, `<!-- without PATH -->` only in one that does not:

- below a heading, with an empty line after it: the whole section,
- with text in the next line: this paragraph, list, table or block of code,
- at the beginning of a table row: this row.

A table row that begins with a link to a file is kept only in a starter that contains that file. Other links to
something that is not in the starter become plain text. The course's contact replaces the words
between `<!-- contact -->` and `<!-- /contact -->`.
"""

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping

_HEADING = re.compile(r"(#+) ")
_PART = re.compile(r"# \S.* -{8,}")  # the heading of a part of a Python file, such as `# Task1 ------------`
_PART_CONDITION = re.compile(r"# with (\S+)")
_CONDITION = re.compile(r"<!-- (with|without) (\S+) -->")
_ROW_CONDITION = re.compile(rf"\| {_CONDITION.pattern} ")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_CONTACT = re.compile(r"<!-- contact -->(.*?)<!-- /contact -->")
_ROW = re.compile(r"\| \[[^\]]*\]\(\.\./([^)]+)\)")


def readme(
    text: str, paths: Collection[str], document: str, documents: Mapping[str, str], *, contact: str = ""
) -> str:
    """Return the text of a handout as a file of a starter.

    Args:
        text: the handout.
        paths: the files of the starter.
        document: the path of the handout in the course.
        documents: name in the starter -> path in the course, of each handout.
        contact: whom students ask; without it, the words of the handout stay.
    """
    text = "\n".join(_lines(text, paths)).strip()
    text = _CONTACT.sub(lambda match: contact or match[1], text)
    anchors = set(re.findall(r'<a id="([^"]+)">', text))
    folders = {path.rpartition("/")[0] for path in paths}
    released_as = {path: name for name, path in documents.items()}
    folder = posixpath.dirname(document)

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        if target.startswith("#"):
            return match[0] if target[1:] in anchors else words
        path = posixpath.normpath(posixpath.join(folder, target))
        path = released_as.get(path, path)
        if path in paths or path in folders:
            return f"[{words}]({path})"
        return words if target.startswith("../") else match[0]

    return _LINK.sub(link, text) + "\n"


def own_sections(text: str, paths: Collection[str]) -> str:
    """Return a Python file of tests without the parts that need a file which is not among `paths`.

    A part begins with a heading `# NAME --------`. If the next line is `# with PATH`, the part needs that file.
    """
    kept: list[str] = []
    skipped = False
    before = ""
    for line in text.splitlines():
        condition = _PART_CONDITION.fullmatch(line) if _PART.fullmatch(before) else None
        if _PART.fullmatch(line):
            skipped = False
        if condition and condition[1] not in paths:
            skipped = True
            kept.pop()  # the heading
        if not skipped and not condition:
            kept.append(line)
        before = line
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(kept)).rstrip("\n") + "\n"


def wrong_points(text: str, points: Mapping[str, int]) -> list[str]:
    """Return what is wrong in a handout's table of cases, a sentence each.

    Args:
        text: the handout.
        points: name of each case -> its points. A handout that names no case at the beginning of a row has no such
            table, and nothing is wrong.
    """
    found: dict[str, str] = {}
    wrong = []
    for line in _outside_code(text):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if len(cells) > 1 and (cells[0] in points or re.fullmatch(r"Task\d+ - Case\d+", cells[0])):
            if cells[0] in found:
                wrong.append(f"{cells[0]} is there twice")
            found[cells[0]] = cells[1]
    if not found:
        return []
    wrong += [f"{name} is missing" for name in points if name not in found]
    wrong += [f"there is no {name}" for name in found if name not in points]
    wrong += [
        f"{name} gives {points[name]} points, not {shown}"
        for name, shown in found.items()
        if name in points and shown != str(points[name])
    ]
    return wrong


def _outside_code(text: str) -> Iterator[str]:
    code = False
    for line in text.splitlines():
        code ^= line.startswith("```")
        if not code:
            yield line


def _lines(text: str, paths: Collection[str]) -> list[str]:
    """Return the lines of the sections, blocks and rows that are released."""

    def holds(condition: re.Match[str]) -> bool:
        return (condition[2] in paths) == (condition[1] == "with")

    lines = text.splitlines()
    kept: list[str] = []
    skipped = 0  # the level of the section that is left out
    block = False  # whether a block is left out
    code = False
    for number, line in enumerate(lines):
        code ^= line.startswith("```")
        following = lines[number + 1] if number + 1 < len(lines) else ""
        heading = None if code else _HEADING.match(line)
        if heading and (not skipped or len(heading[1]) <= skipped):
            condition = _condition_of_section(lines, number)
            skipped = 0 if condition is None or holds(condition) else len(heading[1])
        if not line and not code:
            block = False
        if condition := None if code else _CONDITION.fullmatch(line):
            block = bool(following) and not holds(condition)
            continue
        row = _ROW.match(line)
        if row and row[1] not in paths and not any(path.startswith(f"{row[1]}/") for path in paths):
            continue
        if condition := _ROW_CONDITION.match(line):
            if not holds(condition):
                continue
            line = f"| {line[condition.end() :]}"
        empty_twice = not code and not line and kept[-1:] == [""]
        if not skipped and not block and not empty_twice:
            kept.append(line)
    return kept


def _condition_of_section(lines: list[str], heading: int) -> re.Match[str] | None:
    """Return the condition below a heading, if it is one of the section: then an empty line follows it."""
    below = next((number for number in range(heading + 1, len(lines)) if lines[number]), None)
    if below is None or (below + 1 < len(lines) and lines[below + 1]):
        return None
    return _CONDITION.fullmatch(lines[below])
