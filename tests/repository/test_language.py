"""The words and idioms that this repository does not use; docs/architecture.md has the words that it does.

Read are comments, docstrings, messages and help of everything that staff and maintainers see, and all documents for
them. Sentences for students are not in question here.
"""

import io
import re
import tokenize

import pytest

from tests.repository.test_repository import ROOT, tracked

STRUCK = {
    # words with another name in docs/architecture.md
    r"warm workers?": "fork server",
    r"worker slots?|slots? of (?:a|this|the) (?:machine|worker)": "worker",
    r"upkeep": "maintenance",
    r"wording": "messages",
    # idioms that have to be read twice
    r"(?:is|are|was|were) (?-i:none)": "is not a …, there is no …",
    r"(?:of|than) ours": "our …",
    r"anew": "again, new",
    r"for ever": "forever, indefinitely",
    r"go(?:es)? before (?!it|they|the end)": "takes precedence over",
    r"told again|told of": "repeated, reported",
    r"heard of": "seen",
    r"make room": "free disk space",
    r"likewise": "also",
    r"rightly": "correctly",
    r"in hand": "in progress",
    r"what became of": "the result of",
    r"com(?:es?|ing) to (?:its|their|an|the) end": "ends",
    r"first first": "oldest first",
    r"beats all": "takes precedence over all",
    r"says it": "inferred from",
    r"one's like": "its own kind",
    r"room or rights": "space or permissions",
    r"is of (?:--|the|a)": "belongs to",
    r"(?:are|is) to be (?:had|seen)": "can be",
    r"behind (?:that|this|it|them|our|its|their)": "after",
}
PATTERN = {re.compile(rf"\b(?:{old})\b", re.IGNORECASE): new for old, new in STRUCK.items()}

FOR_STUDENTS = ("docs/assignment.md", "docs/assignment.zh-CN.md", "autograder/grading/messages.py")
SENTENCES_FOR_STUDENTS = ("clone it anew and push again", "was not told of it")
ELSEWHERE = (
    "tests/repository/test_language.py",
    "docs/architecture.md",
)  # they name the words that are struck
READ = (
    *(
        "*.md",
        "docs/*.md",
        "autograder/*.py",
        "autograder/*.html",
        "autograder/*.sh",
        "demo/*.py",
        "benchmarks/*.py",
    ),
    *(
        "tests/*.py",
        "Makefile",
        "autograder.toml",
        "pyproject.toml",
        ".ci/run",
        "test_script.sh",
        "starter/*",
    ),
)


def prose(path):
    """Yield (line number, text) of what people read: comments and strings of Python, everything of other files."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield from enumerate(token.string.splitlines(), token.start[0])


def files():
    return [
        path
        for path in tracked(*READ)
        if str(path.relative_to(ROOT)) not in (*FOR_STUDENTS, *ELSEWHERE) and path.is_file()
    ]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_struck_word_or_idiom(path):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r}; write: {instead}"
        for number, line in prose(path)
        if not any(sentence in line for sentence in SENTENCES_FOR_STUDENTS)
        for pattern, instead in PATTERN.items()
        for match in pattern.finditer(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "idiom", ["there is none, and it is none", "a folder of ours", "read anew", "waits for ever"]
)
def test_the_patterns_find_what_they_are_for(idiom):
    assert any(pattern.search(idiom) for pattern in PATTERN)
