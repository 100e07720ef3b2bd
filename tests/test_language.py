"""Sentences in several languages: values, nesting, catalogues that lack something, catalogues of suites."""

import copy
import json

import pytest

from autograder import language
from autograder.language import (
    CHINESE,
    ENGLISH,
    LANGUAGES,
    Text,
    add_catalogue,
    as_text,
    join,
    languages,
    listed,
    read_catalogue,
    restored,
    tell,
    tell_count,
)


def test_a_text_is_its_english_sentence_to_everybody_else():
    text = tell("{n} of {m} {what}", n=1, m=2, what="things")
    assert text == "1 of 2 things"
    assert json.dumps([text]) == '["1 of 2 things"]'
    assert copy.deepcopy(text).in_(ENGLISH) == "1 of 2 things"
    assert type(str(text)) is str


def test_a_value_that_is_a_text_is_translated_with_the_sentence():
    closes = tell("the deadline, {closes}", closes=tell_count("{n} day", "{n} days", n=3))
    assert closes == "the deadline, 3 days"
    assert closes.in_(CHINESE) == "截止时间 3 天"


def test_one_is_one_in_english():
    assert [tell_count("{n} day", "{n} days", n=n) for n in (0, 1, 2)] == ["0 days", "1 day", "2 days"]


def test_what_no_catalogue_has_stays_english():
    assert tell("nobody has translated {this}", this="it").in_(CHINESE) == "nobody has translated it"
    assert tell_count("one {it}", "{n} {it}", n=2, it="cat").in_(CHINESE) == "2 cat"


def test_values_are_never_templates():
    hostile = "{0.__class__} {n} %s {"
    assert tell("the deadline, {closes}", closes=hostile).in_(CHINESE) == f"截止时间 {hostile}"
    assert tell(hostile) == hostile
    assert tell(hostile).in_(CHINESE) == hostile


def test_a_text_survives_as_plain_data():
    text = tell("less than a second")
    again = restored(json.loads(json.dumps(text.translations())))
    assert [again.in_(each) for each in LANGUAGES] == ["less than a second", "不到 1 秒"]
    assert restored({ENGLISH: "old"}).in_(CHINESE) == "old"


def test_sentences_are_joined_as_their_language_does_it():
    two = [tell("less than a second"), "", as_text("x")]
    assert join(two) == "less than a second x"
    assert join(two).in_(CHINESE) == "不到 1 秒x"
    assert listed(["a", "b"]).in_(CHINESE) == "a、b"
    assert isinstance(join([]), Text)


def test_the_choice_of_languages():
    assert [languages(choice) for choice in ("en", "zh-CN", "both")] == [("en",), ("zh-CN",), ("en", "zh-CN")]


@pytest.fixture
def no_further_catalogue(monkeypatch):
    monkeypatch.setattr(language, "_further", {})
    yield
    language._catalogue.cache_clear()


def test_a_suite_brings_its_own_catalogue(tmp_path, no_further_catalogue):
    file = tmp_path / "zh_CN.po"
    file.write_text(
        'msgid "the gradient of {name}"\nmsgstr "{name} 的梯度"\n\n'
        '#, fuzzy\nmsgid "guessed"\nmsgstr "猜的"\n\nmsgid "empty"\nmsgstr ""\n',
        encoding="utf-8",
    )
    assert read_catalogue(CHINESE, file) == {"the gradient of {name}": "{name} 的梯度"}
    add_catalogue(CHINESE, file)
    assert tell("the gradient of {name}", name="W").in_(CHINESE) == "W 的梯度"
    assert tell("less than a second").in_(CHINESE) == "不到 1 秒"


@pytest.mark.parametrize("content", [b"nonsense\n", b'msgid "\xff"\nmsgstr ""\n'])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, content):
    file = tmp_path / "zh_CN.po"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"zh_CN\.po is not a message catalogue"):
        read_catalogue(CHINESE, file)
