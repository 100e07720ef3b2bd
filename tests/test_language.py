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


def add(tmp_path, messages):
    file = tmp_path / "zh_CN.po"
    file.write_text("".join(f'msgid "{key}"\nmsgstr "{text}"\n\n' for key, text in messages.items()), "utf-8")
    add_catalogue(CHINESE, file)


TEMPLATES = {
    "the gradient of {name}": "{name}的梯度",
    "{what}, {dtype} on {device}": "{what}（{dtype}，在{device}上）",
    "W after {label}": "{label}之后的 W",
    "{m:d} examples of {k:d} classes, and more": "{m} 个样本，{k} 个类别",
    "the loss": "损失",
}


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("the gradient of the loss", "损失的梯度"),
        ("the gradient of W (2, 3), float32 on cpu", "W (2, 3)（float32，在 cpu 上）的梯度"),
        ("W after 6 examples of 200 classes, and more", "6 个样本，200 个类别之后的 W"),
        ("many examples of 2 classes, and more", "many examples of 2 classes, and more"),
        ("the gradient of {name} {", "{name} { 的梯度"),
        ("the gradient of " + "x" * 1000, "the gradient of " + "x" * 1000),
    ],
)
def test_what_an_f_string_made_is_found_by_its_template(tmp_path, no_further_catalogue, english, chinese):
    add(tmp_path, TEMPLATES)
    assert as_text(english).in_(CHINESE) == chinese
    assert tell("{what}", what=as_text(english)).in_(CHINESE) == chinese


def test_strings_without_a_translation_are_collected(tmp_path, no_further_catalogue):
    add(tmp_path, TEMPLATES)
    with language.missing([ENGLISH, CHINESE]) as found:
        for each in ("the loss", "W", "the gradient of the sum", "another sentence"):
            as_text(each)
    assert found == {"another sentence"}
    with language.missing([ENGLISH]) as found:
        as_text("another sentence")
    assert found == set()


def test_a_translation_with_a_value_of_its_own_is_refused(tmp_path, no_further_catalogue):
    with pytest.raises(ValueError, match=r"the values of '{other}' are not those of 'a {name}'"):
        add(tmp_path, {"a {name}": "{other}"})


def test_chinese_and_latin_letters_have_a_space_between_them():
    for value, text in (("3", "截止时间 3"), ("（三）", "截止时间（三）"), ("三", "截止时间 三")):
        assert tell("the deadline, {closes}", closes=value).in_(CHINESE) == text


@pytest.mark.parametrize("content", [b"nonsense\n", b'msgid "\xff"\nmsgstr ""\n'])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, content):
    file = tmp_path / "zh_CN.po"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"zh_CN\.po is not a message catalogue"):
        read_catalogue(CHINESE, file)
