"""Turns the handouts into the READMEs of a starter: one file per language, without what is not released.

If the line `<!-- with PATH -->` follows a heading, the section is kept only in a starter that contains PATH;
`<!-- without PATH -->` is the opposite. A table
row that begins with a link to a file is kept only in a starter that contains that file. Other links to something that
is not in the starter become plain text.
"""

import posixpath
import re
from collections.abc import Collection, Mapping

_HEADING = re.compile(r"(#+) ")
_PART = re.compile(r"# \S.* -{8,}")  # the heading of a part of a Python file, such as `# Task1 ------------`
_PART_CONDITION = re.compile(r"# with (\S+)")
_CONDITION = re.compile(r"<!-- (with|without) (\S+) -->")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_ROW = re.compile(r"\| \[[^\]]*\]\(\.\./([^)]+)\)")


def readme(text: str, paths: Collection[str], document: str, documents: Mapping[str, str]) -> str:
    """Return the text of a handout as a file of a starter.

    Args:
        text: the handout.
        paths: the files of the starter.
        document: the path of the handout in the course.
        documents: name in the starter -> path in the course, of each handout.
    """
    text = "\n".join(_lines(text, paths)).strip()
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

    return re.sub(r"\n{3,}", "\n\n", _LINK.sub(link, text)) + "\n"


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


def _lines(text: str, paths: Collection[str]) -> list[str]:
    """Return the lines of the sections and rows that are released."""
    lines = text.splitlines()
    kept: list[str] = []
    skipped = 0  # the level of the section that is left out
    code = False
    for number, line in enumerate(lines):
        code ^= line.startswith("```")
        heading = None if code else _HEADING.match(line)
        if heading and (not skipped or len(heading[1]) <= skipped):
            below = next((other for other in lines[number + 1 :] if other), "")
            condition = _CONDITION.fullmatch(below)
            kept_here = condition is None or (condition[2] in paths) == (condition[1] == "with")
            skipped = 0 if kept_here else len(heading[1])
        row = _ROW.match(line)
        absent = row and row[1] not in paths and not any(path.startswith(f"{row[1]}/") for path in paths)
        if not skipped and not absent and not _CONDITION.fullmatch(line):
            kept.append(line)
    return kept
