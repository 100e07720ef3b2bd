"""Everything that students read exists in every language: the catalogues are complete."""

import ast
import re

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


def test_bold_text_ends_where_markdown_sees_it(language):
    """`**…。**` before a letter is not the end of bold text: the full stop must stand outside."""
    for message in catalogue.read(language):
        text = message.string if isinstance(message.string, str) else "".join(message.string or ())
        assert not re.search(r"[。，；：！？）]\*\*(?=$|[^\s*])", text), text


def literal(node):
    """Whether an expression is an English text without translations."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_no_sentence_for_students_is_without_translations():
    """The errors of students, and everything that `autograder.testing` says of a result."""
    found = []
    for path in sorted((catalogue.ROOT / "autograder").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            for_students = {"SubmissionError"}
            if path.name == "testing.py":
                for_students |= {"AssertionError", "_ensure"}
            if node.func.id in for_students and any(literal(each) for each in node.args):
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert not found, "write tell(...) around these"
