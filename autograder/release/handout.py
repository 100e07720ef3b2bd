"""The handout as a starter's README: both languages in one file, without what is not released.

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
CHINESE = "zh-"


def readme(english: str, chinese: str, paths: Collection[str]) -> str:
    """Return one README made of both handouts, which are in docs/, for a starter that contains `paths`."""
    first = _released(english, paths, "").replace("](assignment.zh-CN.md)", f"](#{CHINESE}handout)")
    second = _released(chinese, paths, CHINESE).replace("](assignment.md)", "](#handout)")
    return f'<a id="handout"></a>\n\n{first}\n\n---\n\n<a id="{CHINESE}handout"></a>\n\n{second}\n'


def _released(text: str, paths: Collection[str], prefix: str) -> str:
    text = "\n".join(_lines(text, paths)).strip()
    text = re.sub(r'<a id="([^"]+)">', rf'<a id="{prefix}\1">', text)
    anchors = set(re.findall(r'<a id="([^"]+)">', text))
    folders = {path.rpartition("/")[0] for path in paths}

    def link(match: re.Match[str]) -> str:
        words, address = match.groups()
        if address.startswith("#"):
            return f"[{words}](#{prefix}{address[1:]})" if prefix + address[1:] in anchors else words
        if address.startswith("../"):
            path = address.removeprefix("../")
            return f"[{words}]({path})" if path in paths or path in folders else words
        return match[0]

    return re.sub(r"\n{3,}", "\n\n", _LINK.sub(link, text))


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
