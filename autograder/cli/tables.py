"""Tables for a terminal."""

import unicodedata


def aligned(rows: list[list[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Return a table as lines. Characters of East Asian scripts are two columns wide; empty columns are left out.

    Args:
        rows: the cells; the first row has the titles.
        right: the columns that are aligned to the right.
    """
    kept = [place for place in range(len(rows[0])) if any(row[place] for row in rows[1:])]
    widths = {place: max(width(row[place]) for row in rows) for place in kept}
    lines = []
    for row in rows:
        parts = []
        for place in kept:
            space = " " * (widths[place] - width(row[place]))
            parts.append(space + row[place] if place in right else row[place] + space)
        lines.append("  ".join(parts).rstrip())
    return lines


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )
