"""Compares the work of all students of an assignment, two at a time, after the starter is subtracted. Pure.

A file becomes tokens (Pygments): comments, docstrings and layout are dropped, every number, text and name counts as
the same, except the names that the starter uses, which all students share. So a copy is found after its names were
changed. A gram is a run of `GRAM` tokens. Winnowing (Schleimer, Wilkerson, Aiken: Winnowing, SIGMOD 2003) chooses some
of the grams, such that of every `GRAM + WINDOW - 1` tokens that two files share, one gram is chosen in both.

Grams of the starter do not count. A gram that few students have weighs more than one that many have: log((n + 1) / d),
where d of n students have it. The similarity of two students is the weight of the grams that both have, divided by the
weight of all grams of the one who has less. It says where to look, and decides nothing.
"""

import hashlib
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_for_filename
from pygments.lexers.special import TextLexer
from pygments.token import Comment, Name, Number, String, Text
from pygments.util import ClassNotFound

GRAM = 12  # tokens; a line of Python has about ten
WINDOW = 8
LEAST_GRAMS = 10  # who has fewer is compared as if it were so many: a few lines are no evidence
MAX_FILE_BYTES = 200_000
MAX_BYTES = 1_000_000  # of the sources of one submission
MAX_SECONDS = 20.0  # of a processor, for reading one submission; 1 MB of usual code takes 4
COLUMNS = 8192  # grams that are multiplied at a time
_NAME, _NUMBER, _TEXT = "name", "0", "text"
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Grams = NDArray[np.uint64]


@dataclass(frozen=True)
class Source:
    """The tokens of one file.

    Attributes:
        path: under the repository's root.
        text: the content, with line breaks as `\\n`.
        places: first and last character of each token.
        grams: the gram that begins at each token but the last ones.
    """

    path: str
    text: str
    places: Sequence[tuple[int, int]]
    grams: Grams


@dataclass(frozen=True)
class Side:
    """The work of one student.

    Attributes:
        name: of the student, for people.
        files: path -> content.
        about: facts for the report, such as the commit and when it was received.
        old: whether it is the work of an earlier term, which is only compared with that of this one.
    """

    name: str
    files: Mapping[str, bytes]
    about: str = ""
    old: bool = False


@dataclass(frozen=True)
class Pair:
    """Two students whose work has something in common. `first` and `second` are positions in the list of sides."""

    first: int
    second: int
    similarity: float


@dataclass(frozen=True)
class Passage:
    """A part of a file that the other side has too.

    Attributes:
        start, end: characters in the file.
        number: the same for the passages of both sides that begin alike.
        rare: whether few students have it.
    """

    start: int
    end: int
    number: int
    rare: bool


@dataclass
class Comparison:
    """The result for one assignment.

    Attributes:
        sides: what was compared.
        identical: sides with equal files, in groups.
        alike: sides that are equal except for names, numbers, texts, comments and layout, in groups.
        untouched: sides that hold nothing but the starter.
        pairs: all pairs that share a gram, the most similar first; without pairs of equal files.
        median: of the similarity of all pairs of this term.
        left_out: for each file that is not compared, whose it is, its path, and why.
    """

    sides: Sequence[Side]
    identical: list[list[int]] = field(default_factory=list)
    alike: list[list[int]] = field(default_factory=list)
    untouched: list[int] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    median: float = 0.0
    left_out: list[tuple[int, str, str]] = field(default_factory=list)
    sources: list[list[Source]] = field(default_factory=list)
    starter: Grams = field(default_factory=lambda: np.empty(0, np.uint64))
    common: Grams = field(default_factory=lambda: np.empty(0, np.uint64))

    def passages(self, pair: Pair) -> tuple[dict[str, list[Passage]], dict[str, list[Passage]]]:
        """Return the passages that both sides of a pair have: path -> passages in order, for each side."""
        first, second = self.sources[pair.first], self.sources[pair.second]
        shared = np.setdiff1d(np.intersect1d(_all(first), _all(second)), self.starter)
        numbers: dict[int, int] = {}
        mine = {
            source.path: list(_marked(source, shared, self.starter, self.common, numbers)) for source in first
        }
        theirs = {
            source.path: list(_marked(source, shared, self.starter, self.common, numbers))
            for source in second
        }
        return mine, theirs


def compare(
    sides: Sequence[Side], starter: Mapping[str, bytes], step: Callable[[], object] = lambda: None
) -> Comparison:
    """Compare the sides, two at a time. Reading the tokens of 40 kB takes about a tenth of a second.

    Args:
        sides: the work of the students.
        starter: what all of them received, path -> content; empty if nothing is known of it.
        step: is called after each side was read.
    """
    found = Comparison(sides)
    vocabulary = frozenset(_names(starter))
    given = [
        source
        for path, content in starter.items()
        if (source := _source(path, content, vocabulary)) is not None
    ]
    found.starter = _all(given)
    for position, side in enumerate(sides):
        own, left_out = _read(side, starter, vocabulary)
        found.sources.append(own)
        found.left_out += [(position, path, why) for path, why in left_out]
        step()
    chosen = [np.setdiff1d(_winnowed(own), found.starter) for own in found.sources]
    found.identical = _groups(_files(side, starter) for side in sides)
    found.untouched = [
        position for position, side in enumerate(sides) if not side.old and not _files(side, starter)
    ]
    together = {frozenset(group) for group in found.identical}
    own_grams = (b"".join(_own(sources, found.starter)) for sources in found.sources)
    found.alike = [group for group in _groups(own_grams) if frozenset(group) not in together]
    found.common = _common(found.sources, len(sides))
    _pair(found, chosen)
    return found


def _read(
    side: Side, starter: Mapping[str, bytes], vocabulary: frozenset[str]
) -> tuple[list[Source], list[tuple[str, str]]]:
    """Return the sources of a side that differ from the starter, and which files are left out, with the reason."""
    sources, left_out, total = [], [], 0
    ends = time.process_time() + MAX_SECONDS
    for path, content in sorted(side.files.items()):
        if starter.get(path) == content or _lexer(path) is None:
            continue
        total += len(content)
        if len(content) > MAX_FILE_BYTES or total > MAX_BYTES:
            left_out.append((path, "too large to compare"))
            continue
        try:
            with _bounded(ends - time.process_time()):
                source = _source(path, content, vocabulary)
        except _TooSlow:
            left_out.append((path, "takes too long to read"))
            continue
        except Exception as error:  # noqa: BLE001 (Pygments has hundreds of lexers, and this is a stranger's text)
            left_out.append((path, f"cannot be read: {type(error).__name__}"))
            continue
        if source is None:
            left_out.append((path, "not text in UTF-8"))
        else:
            sources.append(source)
    return sources, left_out


class _TooSlow(Exception):
    """The time is over."""


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """Raise `_TooSlow` after some seconds of a processor: there is text for which the tokens take hours.

    Only the main thread of a program can be interrupted; in another one there is no bound.
    """
    if seconds <= 0:
        raise _TooSlow
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _files(side: Side, starter: Mapping[str, bytes]) -> bytes:
    """Return a digest of what a side holds besides the starter; empty if there is nothing."""
    own = {path: content for path, content in side.files.items() if starter.get(path) != content}
    whole = hashlib.sha256()
    for path, content in sorted(own.items()):
        whole.update(b"%d %b %d %b" % (len(path), path.encode(), len(content), content))
    return whole.digest() if own else b""


def _groups(keys: Iterator[bytes]) -> list[list[int]]:
    """Return the positions with equal keys, in groups of two and more; an empty key is equal to no other."""
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        if key:
            by_key[key].append(position)
    return [group for group in by_key.values() if len(group) > 1]


def _pair(found: Comparison, chosen: list[Grams]) -> None:
    """Find the pairs and the median of their similarity."""
    equal = {(a, b) for group in found.identical for a in group for b in group}
    alike = {(a, b) for group in found.alike for a in group for b in group}
    total = len(chosen)
    names, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *chosen]), return_counts=True)
    weights = np.log((total + 1) / np.maximum(counts, 1))
    places = [np.searchsorted(names, own) for own in chosen]
    shared = np.zeros((total, total))
    for start in range(0, len(names), COLUMNS):
        weight = weights[start : start + COLUMNS]
        has = np.zeros((total, len(weight)))
        for position, place in enumerate(places):
            has[position, place[(place >= start) & (place < start + COLUMNS)] - start] = 1
        shared += (has * weight) @ has.T
    own = shared.diagonal()
    least = LEAST_GRAMS * np.log((total + 1) / 2)
    values = []
    for first in range(total):
        for second in range(first + 1, total):
            if found.sides[first].old and found.sides[second].old:
                continue
            similarity = shared[first, second] / max(min(own[first], own[second]), least)
            if (first, second) in alike or (first, second) in equal:
                similarity = 1.0
            values.append(similarity)
            if similarity > 0 and (first, second) not in equal:
                found.pairs.append(Pair(first, second, float(similarity)))
    found.median = float(np.median(values)) if values else 0.0
    found.pairs.sort(key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _common(sources: list[list[Source]], total: int) -> Grams:
    """Return the grams that many students have: more than two, and more than a tenth."""
    names, counts = np.unique(
        np.concatenate([np.empty(0, np.uint64), *(_all(own) for own in sources)]), return_counts=True
    )
    often: Grams = names[counts > max(2, total // 10)]
    return often


# tokens ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _lexer_of(ending: str) -> Lexer | None:
    try:
        lexer = get_lexer_for_filename(f"x{ending}")
    except ClassNotFound:
        return None
    return None if isinstance(lexer, TextLexer) else lexer


def _lexer(path: str) -> Lexer | None:
    """Return what reads a file of this name; None if it is not a source file."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    return _lexer_of(name[dot:].lower()) if dot > 0 else None


def _tokens(path: str, text: str) -> Iterator[tuple[int, Any, str]]:
    """Yield position, kind and text of the tokens of a file that count."""
    lexer = _lexer(path)
    for start, kind, value in lexer.get_tokens_unprocessed(text) if lexer else ():
        if value.strip() and not (kind in Comment or kind in Text or kind in String.Doc):
            yield start, kind, value


def _names(files: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the names in source files."""
    for path, content in files.items():
        text = _text(content)
        if text is not None:
            yield from (value for _, kind, value in _tokens(path, text) if kind in Name)


def _text(content: bytes) -> str | None:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        return None


def _source(path: str, content: bytes, vocabulary: frozenset[str]) -> Source | None:
    """Return the tokens of a file, or None if it is not text. Several texts in a row are one token."""
    text = _text(content)
    if text is None:
        return None
    words: list[str] = []
    places: list[tuple[int, int]] = []
    for start, kind, value in _tokens(path, text):
        end = start + len(value)
        if kind in String:
            if words and words[-1] == _TEXT:
                places[-1] = places[-1][0], end
                continue
            word = _TEXT
        elif kind in Number:
            word = _NUMBER
        elif kind in Name and kind not in Name.Builtin and value not in vocabulary:
            word = _NAME
        else:
            word = value
        words.append(word)
        places.append((start, end))
    return Source(path, text, places, _grams(words))


def _grams(words: list[str]) -> Grams:
    """Return a hash of the `GRAM` words that begin at each position."""
    count = len(words) - GRAM + 1
    if count < 1:
        return np.empty(0, np.uint64)
    numbers = np.fromiter((_number(word) for word in words), np.uint64, len(words))
    grams: Grams = np.zeros(count, np.uint64)
    for offset in range(GRAM):
        grams = grams * _FACTOR + numbers[offset : offset + count]
    grams ^= grams >> np.uint64(29)
    return grams


@lru_cache(maxsize=1 << 16)
def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _all(sources: Sequence[Source]) -> Grams:
    """Return all grams of some files, each once."""
    grams: Grams = np.unique(np.concatenate([np.empty(0, np.uint64), *(source.grams for source in sources)]))
    return grams


def _own(sources: Sequence[Source], starter: Grams) -> Iterator[bytes]:
    """Yield what tells whether files are alike: path and grams of those that hold more than the starter."""
    for source in sources:
        grams = source.grams[~np.isin(source.grams, starter)]
        if len(grams):
            yield source.path.encode() + grams.tobytes()


def _winnowed(sources: Sequence[Source]) -> Grams:
    """Return the smallest gram of each window, each once."""
    chosen = [np.empty(0, np.uint64)]
    for source in sources:
        if len(source.grams) <= WINDOW:
            chosen.append(source.grams[:1] if not len(source.grams) else source.grams.min(keepdims=True))
        else:
            chosen.append(np.lib.stride_tricks.sliding_window_view(source.grams, WINDOW).min(axis=1))
    return np.unique(np.concatenate(chosen))


def _marked(
    source: Source, shared: Grams, starter: Grams, common: Grams, numbers: dict[int, int]
) -> Iterator[Passage]:
    """Yield the passages of a file that consist of shared grams, without what the starter holds.

    `numbers` has the number of the passage in which each gram was seen first.
    """
    hits = np.flatnonzero(np.isin(source.grams, shared))
    marked = _covered(source, hits) & ~_covered(source, np.flatnonzero(np.isin(source.grams, starter)))
    rare = ~np.isin(source.grams, common)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]])))
    for first, end in edges.reshape(-1, 2).tolist():
        within = hits[(hits > first - GRAM) & (hits < end)]
        grams = [int(gram) for gram in source.grams[within]]
        known = Counter(numbers[gram] for gram in grams if gram in numbers).most_common(1)
        number = known[0][0] if known else max(numbers.values(), default=0) + 1
        for gram in grams:
            numbers.setdefault(gram, number)
        yield Passage(source.places[first][0], source.places[end - 1][1], number, bool(rare[within].any()))


def _covered(source: Source, grams: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return for each token whether one of the grams that begin at these positions has it."""
    covered = np.zeros(len(source.places), np.bool_)
    for offset in range(GRAM):
        covered[grams + offset] = True
    return covered
