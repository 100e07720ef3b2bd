"""Sentences that students read, in every language of `LANGUAGES`.

    tell("This push was received on {when}.", when=shown(received, zone))
    tell_count("{n} day", "{n} days", n=days)

A sentence is written in English where it is used. `tell` returns a `Text`: an ordinary `str` with the English
sentence, which can also return its translation. So everything works with English text, and only what renders for
students asks for another language. A value may be a `Text` itself; it is translated with the sentence. Everything else
stays as it is. An f-string or `+` makes a plain `str` of a `Text`, without translations: put it into the sentence as a
value, or use `join`.

The translations are in message catalogues in the form of gettext, `locale/LANGUAGE/LC_MESSAGES/autograder.po`. A suite
may have a catalogue of its own, see `add_catalogue`. A sentence that a catalogue lacks stays English;
`tests/repository/test_translations.py` fails for it. `python -m tests.support.catalogue` adds new sentences to the
catalogue.
"""

import contextlib
import functools
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

ENGLISH = "en"
CHINESE = "zh-CN"
LANGUAGES = (ENGLISH, CHINESE)
Language = Literal["en", "zh-CN", "both"]
"""The values of the key `language` of `[feedback]`."""

LOCALE = Path(__file__).parent / "locale"
MAX_DEPTH = 5  # of templates in values of templates
MAX_LOOKED_UP = 400  # characters of a string that is compared with templates
_FULL_WIDTH = "，。；：、！？（）"
_WORDS = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,}")

_further: dict[str, dict[str, str]] = {}  # language -> translations of catalogues that were added
_missed: tuple[set[str], list[str]] | None = None  # see `missing`


class Text(str):
    """An English sentence that has translations. It is a plain `str` to everybody who does not ask for them."""

    _translate: Callable[[str], str] | None

    def __new__(cls, english: str, translate: Callable[[str], str] | None = None) -> "Text":
        """Return a text; without `translate` it is the same in all languages."""
        text = super().__new__(cls, english)
        text._translate = translate
        return text

    def in_(self, language: str) -> str:
        """Return the sentence in one of `LANGUAGES`; in English if its catalogue lacks it."""
        return str(self) if language == ENGLISH or self._translate is None else self._translate(language)

    def translations(self) -> dict[str, str]:
        """Return the sentence in all languages, as plain data. `restored` makes a text of it again."""
        return {language: self.in_(language) for language in LANGUAGES}


def languages(choice: Language) -> tuple[str, ...]:
    """Return the languages that are shown, the first one first."""
    return LANGUAGES if choice == "both" else (choice,)


def tell(sentence: str, /, **values: object) -> Text:
    """Return a sentence for students.

    Args:
        sentence: in English, with the names of the values in braces, as for `str.format`. It must be a constant, so
            that it is found for the catalogues. Without values, braces stand for themselves.
        values: what stands in place of the names.
    """

    def in_(language: str) -> str:
        return _filled(_catalogue(language).get(sentence) or sentence, values, language)

    return Text(_filled(sentence, values, ENGLISH), in_)


def tell_count(one: str, many: str, /, *, n: int, **values: object) -> Text:
    """Return a sentence about a number: `one` if `n` is 1, otherwise `many`. Both may contain `{n}`."""
    english, values = one if n == 1 else many, {**values, "n": n}

    def in_(language: str) -> str:
        return _filled(_catalogue(language).get(one) or english, values, language)

    return Text(_filled(english, values, ENGLISH), in_)


def restored(translations: Mapping[str, str]) -> Text:
    """Return the text that `Text.translations` gave. A language that is missing gets the English sentence."""
    english = translations.get(ENGLISH, "")
    return Text(english, lambda language: translations.get(language) or english)


def as_text(sentence: str) -> Text:
    """Return a text as it is. Another string becomes a text that is looked up, see `add_catalogue`."""
    if isinstance(sentence, Text):
        return sentence
    if _missed is not None and _WORDS.search(sentence):
        found, wanted = _missed
        found.update(sentence for to in wanted if _looked_up(sentence, to) == sentence)
    return Text(sentence, lambda to: _looked_up(sentence, to))


def _looked_up(sentence: str, language: str, depth: int = 0) -> str:
    """Return the translation of an English string: of the string itself, or of the template that it was made from."""
    found = _catalogue(language).get(sentence)
    if found is not None:
        return found
    if depth < MAX_DEPTH and len(sentence) <= MAX_LOOKED_UP:
        for pattern, translation in _templates(language):
            match = pattern.fullmatch(sentence)
            if match is not None and all(map(_is_balanced, match.groups())):
                inner = {
                    name: _looked_up(value, language, depth + 1) for name, value in match.groupdict().items()
                }
                return _spaced(translation, inner)
    return sentence


def _is_balanced(text: str) -> bool:
    """Whether a text closes the brackets that it opens, so that no template takes a part of a tuple for a value."""
    return sum(text.count(one) for one in "([") == sum(
        text.count(one) for one in ")]"
    )  # [a, b) is an interval


@contextlib.contextmanager
def missing(names: Iterable[str]) -> Iterator[set[str]]:
    """Collect the strings of several words that are looked up in the body, and that have no translation.

    Args:
        names: the languages that are wanted; none is missing in English.
    """
    global _missed
    found = set[str]()
    _missed = found, [language for language in names if language != ENGLISH]
    try:
        yield found
    finally:
        _missed = None


def join(sentences: Iterable[str]) -> Text:
    """Return sentences as one text, with spaces between them where the language has them. Empty ones are left out."""
    return _joined(sentences, {ENGLISH: " ", CHINESE: ""})


def stacked(paragraphs: Iterable[str]) -> Text:
    """Return paragraphs of Markdown as one text. Empty ones are left out."""
    return _joined(paragraphs, dict.fromkeys(LANGUAGES, "\n\n"))


def listed(words: Iterable[str]) -> Text:
    """Return words as one text, with commas between them."""
    return _joined(words, {ENGLISH: ", ", CHINESE: "、"})


def _joined(pieces: Iterable[str], separators: Mapping[str, str]) -> Text:
    kept = [as_text(piece) for piece in pieces if piece]

    def in_(language: str) -> str:
        return separators[language].join(piece.in_(language) for piece in kept)

    return Text(in_(ENGLISH), in_)


def read_catalogues(names: Iterable[str]) -> None:
    """Read the catalogues of languages now, so that processes that are forked later have them."""
    for language in names:
        if language != ENGLISH:
            _catalogue(language)


def add_catalogue(language: str, file: Path) -> None:
    """Use the translations of another catalogue as well, such as that of a suite; they come first.

    Its sentences may be made by f-strings, not only by `tell`: `the gradient of {name}` in the catalogue translates
    "the gradient of W", and the value is looked up in turn; `{n:d}` stands for a whole number only. Of several
    templates that fit, the one with the most fixed characters is taken.

    Raises:
        ValueError: the file is not a catalogue.
        OSError: the file cannot be read.
    """
    _further[language] = {**_further.get(language, {}), **read_catalogue(language, file)}
    _catalogue.cache_clear()
    _templates.cache_clear()


def read_catalogue(language: str, file: Path) -> dict[str, str]:
    """Return the translations of a catalogue: English sentence -> sentence. Those that are marked fuzzy are left out.

    The form for one stands for a sentence with several forms: Chinese has one form only.

    Raises:
        ValueError: the file is not a catalogue, or a translation has a value that its sentence lacks.
        OSError: the file cannot be read.
    """
    from babel.messages.pofile import PoFileError, read_po

    with file.open("rb") as opened:
        try:
            messages = list(read_po(opened, locale=folder_of(language), abort_invalid=True))
        except (PoFileError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is not a message catalogue: {error}") from error
    found: dict[str, str] = {}
    for message in messages:
        key, translation = _first(message.id), _first(message.string)
        if key and translation and not message.fuzzy:
            if not _names(translation) <= _names(key):
                raise ValueError(f"{file}: the values of {translation!r} are not those of {key!r}")
            found[key] = translation
    return found


def _names(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


@functools.cache
def _templates(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Return the sentences with values of catalogues that were added, as patterns: values as short as possible, then
    as long as possible.
    """
    found = []
    for sentence, translation in _further.get(language, {}).items():
        fixed = sum(len(text) for text, _, _, _ in string.Formatter().parse(sentence))
        if fixed and _names(sentence):
            found += [(fixed, lazy, _pattern(sentence, lazy=lazy), translation) for lazy in (True, False)]
    found.sort(key=lambda each: (-each[0], not each[1]))
    return [(pattern, translation) for _, _, pattern, translation in found]


def _pattern(sentence: str, *, lazy: bool) -> re.Pattern[str]:
    """Return the pattern of a sentence; a value written `{n:d}` is a whole number."""
    pattern, seen = "", set[str]()
    for text, name, spec, _ in string.Formatter().parse(sentence):
        pattern += re.escape(text)
        if name is not None:
            value = r"-?\d+" if spec == "d" else ".*?" if lazy else ".*"
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>{value})"
            seen.add(name)
    return re.compile(pattern, re.DOTALL)


def _first(forms: str | Iterable[str] | None) -> str:
    return forms if isinstance(forms, str) else next(iter(forms or ()), "")


def folder_of(language: str) -> str:
    """Return the name of a language's folder of catalogues: gettext writes `zh_CN` for `zh-CN`."""
    return language.replace("-", "_")


def catalogue_file(language: str) -> Path:
    """Return the file of our own catalogue of a language."""
    return LOCALE / folder_of(language) / "LC_MESSAGES" / "autograder.po"


@functools.cache
def _catalogue(language: str) -> dict[str, str]:
    return {**read_catalogue(language, catalogue_file(language)), **_further.get(language, {})}


def _filled(sentence: str, values: Mapping[str, object], language: str) -> str:
    if not values:
        return sentence
    inner = {
        name: value.in_(language) if isinstance(value, Text) else value for name, value in values.items()
    }
    return sentence.format(**inner) if language == ENGLISH else _spaced(sentence, inner)


def _spaced(sentence: str, values: Mapping[str, object]) -> str:
    """Fill a Chinese sentence, with a space where a Chinese character meets a letter or digit of a value."""
    done = ""
    for text, name, spec, _ in string.Formatter().parse(sentence):
        done = _beside(done, text)
        if name is not None:
            done = _beside(done, format(values[name], spec or ""))
    return done


def _beside(left: str, right: str) -> str:
    if not left or not right:
        return left + right
    before, after = left[-1], right[0]
    if before in _FULL_WIDTH or after in _FULL_WIDTH:
        return left.rstrip(" ") + right.lstrip(" ")
    if before == after == " ":
        return left + right.lstrip(" ")
    meet = (_is_chinese(before) and _is_word(after)) or (_is_word(before) and _is_chinese(after))
    return f"{left} {right}" if meet else left + right


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "()[]{}'\"_±%.-")
