"""Everything that students read exists in every language: the catalogues are complete."""

import ast

import pytest

from autograder.language import ENGLISH, LANGUAGES, catalogue_file
from tests.support import catalogue

HOW = "run `python -m tests.support.catalogue`, then write the translation into the file"


@pytest.fixture(scope="module", params=[each for each in LANGUAGES if each != ENGLISH])
def language(request):
    return request.param


def test_every_sentence_has_its_translation(language):
    has = {
        message.id if isinstance(message.id, str) else tuple(message.id)
        for message in catalogue.read(language)
        if message.id
        and not message.fuzzy
        and all([message.string] if isinstance(message.string, str) else message.string)
    }
    lacking = catalogue.sentences() - has
    assert not lacking, f"{catalogue_file(language)} lacks these: {HOW}"


def test_the_catalogue_holds_nothing_else(language):
    assert catalogue_file(language).read_text(encoding="utf-8") == catalogue.updated(language), HOW


def test_a_translation_has_the_values_of_its_sentence(language):
    for message in catalogue.read(language):
        originals = [message.id] if isinstance(message.id, str) else message.id
        translations = [message.string] if isinstance(message.string, str) else message.string
        for translation in filter(None, translations):
            assert catalogue.names(translation) == catalogue.names(originals[-1]), originals


def test_sentences_are_constants():
    """An f-string would not be found for the catalogues."""
    for place, arguments in catalogue.calls():
        assert all(isinstance(each, ast.Constant) for each in arguments), place
