"""The comparison of an assignment's work as HTML files, without scripts and without anything from elsewhere. Pure.

`index.html` lists the pairs, and each listed pair has a page with both sides. All text is a stranger's: the templates
escape it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from autograder.term.similarity import Comparison, Pair, Passage, Source

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A part of a file: text, and the passage that it is, if the other side has it too."""

    text: str
    passage: Passage | None = None
    lines: str = ""
    first: bool = False


def pages(
    found: Comparison, shown: Sequence[Pair], *, assignment: str, starter: bool
) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file of the report.

    Args:
        found: the comparison.
        shown: the pairs that get a page, the most similar first.
        assignment: its name.
        starter: whether a starter was subtracted.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    equal = [
        Pair(group[0], other, 1.0) for group in found.identical for other in group[1:]
    ]  # each with the first of its group
    numbered = list(enumerate([*equal, *shown], start=1))
    files = {(pair.first, pair.second): f"{number}.html" for number, pair in numbered}
    values = {"found": found, "assignment": assignment}
    yield (
        "index.html",
        environment.get_template("similar.html").render(values, shown=shown, files=files, starter=starter),
    )
    for number, pair in numbered:
        sides = [
            (letter, other, found.sides[position], list(_marked(found.sources[position], passages)))
            for letter, other, position, passages in zip(
                "ab", "ba", (pair.first, pair.second), found.passages(pair), strict=True
            )
        ]
        yield (
            f"{number}.html",
            environment.get_template("similar_pair.html").render(
                values, pair=pair, sides=sides, equal=number <= len(equal)
            ),
        )


def _marked(
    sources: Sequence[Source], passages: dict[str, list[Passage]]
) -> Iterator[tuple[str, list[Part]]]:
    """Yield path and parts of each file that has a passage which the other side has too."""
    seen: set[int] = set()
    for source in sources:
        own = passages[source.path]
        if own:
            yield source.path, list(_parts(source.text, own, seen))


def _parts(text: str, passages: Sequence[Passage], seen: set[int]) -> Iterator[Part]:
    """Yield the parts of a file; the first passage of each number can be linked to."""
    done = 0
    for passage in passages:
        if passage.start > done:
            yield Part(text[done : passage.start])
        start = max(passage.start, done)
        top, bottom = text.count("\n", 0, start) + 1, text.count("\n", 0, passage.end) + 1
        yield Part(
            text[start : passage.end], passage, f"lines {top} to {bottom}", first=passage.number not in seen
        )
        seen.add(passage.number)
        done = passage.end
    yield Part(text[done:])
