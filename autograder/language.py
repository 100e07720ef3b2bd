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

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

ENGLISH = "en"
CHINESE = "zh-CN"
LANGUAGES = (ENGLISH, CHINESE)
Language = Literal["en", "zh-CN", "both"]
"""The values of the key `language` of `[feedback]`."""

LOCALE = Path(__file__).parent / "locale"
_further: dict[str, dict[str, str]] = {}  # language -> translations of catalogues that were added


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
    """Return a text as it is. Another string becomes a text, which a catalogue may have, such as that of a suite."""
    return (
        sentence
        if isinstance(sentence, Text)
        else Text(sentence, lambda to: _catalogue(to).get(sentence, sentence))
    )


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

    Raises:
        ValueError: the file is not a catalogue.
        OSError: the file cannot be read.
    """
    _further[language] = {**_further.get(language, {}), **read_catalogue(language, file)}
    _catalogue.cache_clear()


def read_catalogue(language: str, file: Path) -> dict[str, str]:
    """Return the translations of a catalogue: English sentence -> sentence. Those that are marked fuzzy are left out.

    The form for one stands for a sentence with several forms: Chinese has one form only.

    Raises:
        ValueError: the file is not a catalogue.
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
            found[key] = translation
    return found


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
    return sentence.format(
        **{name: value.in_(language) if isinstance(value, Text) else value for name, value in values.items()}
    )
