"""The handouts as the READMEs of a starter: one file per language, without what is not released.

The line `<!-- with PATH -->` below a heading keeps the section only in a starter that contains PATH. A table row that
begins with a link to a file is kept only with that file. Other links to something that is not in the starter become
plain text.
"""

import re
from collections.abc import Collection

_HEADING = re.compile(r"(#+) ")
_WITH = re.compile(r"<!-- with (\S+) -->")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_ROW = re.compile(r"\| \[[^\]]*\]\(\.\./([^)]+)\)")
READMES = {"README.md": "assignment.md", "README.zh-CN.md": "assignment.zh-CN.md"}  # released as -> in docs/


def readme(text: str, paths: Collection[str]) -> str:
    """Return one handout, which lies in docs/, as a README of a starter that holds `paths`."""
    text = "\n".join(_lines(text, paths)).strip()
    anchors = set(re.findall(r'<a id="([^"]+)">', text))
    folders = {path.rpartition("/")[0] for path in paths}
    released_as = {name: readme for readme, name in READMES.items()}

    def link(match: re.Match[str]) -> str:
        words, target = match.groups()
        if target.startswith("#"):
            return match[0] if target[1:] in anchors else words
        if target.startswith("../"):
            path = target.removeprefix("../")
            return f"[{words}]({path})" if path in paths or path in folders else words
        return f"[{words}]({released_as.get(target, target)})"

    return re.sub(r"\n{3,}", "\n\n", _LINK.sub(link, text)) + "\n"


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
            condition = _WITH.fullmatch(below)
            skipped = len(heading[1]) if condition and condition[1] not in paths else 0
        row = _ROW.match(line)
        absent = row and row[1] not in paths and not any(path.startswith(f"{row[1]}/") for path in paths)
        if not skipped and not absent and not _WITH.fullmatch(line):
            kept.append(line)
    return kept
