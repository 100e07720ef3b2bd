"""`autograder similar`: pairs with the starter subtracted, equal files first, both sides offline."""

import json
import random
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.term import similarity
from autograder.term.similarity import Side, compare
from autograder.term.similarity_pages import pages
from tests.term.test_collection import before, collect, desk  # noqa: F401 (a fixture)

STARTER = """import math


def double(x):
    \"\"\"Return twice x.\"\"\"
    raise NotImplementedError
"""
COPIED = """
def spread(values, start):
    total = start
    for index, value in enumerate(sorted(values)):
        total += value * index if value > 3 else -value
        while total > 100:
            total = total // 2 - len(values)
    return {"total": total, "first": values[0]}
"""
RENAMED = """
def dispersion(numbers, origin):   # my own work
    s = origin
    for k, n in enumerate(sorted(numbers)):
        s += n * k if n > 7 else -n

        while s > 250:
            s = s // 3 - len(numbers)
    return {'sum': s, 'one': numbers[0]}
"""


def program(seed, lines=40):
    """Return a program as another student might write it: statements that are drawn at random."""
    draw = random.Random(seed)  # noqa: S311
    names = ["a", "b", "total", "rows", "x"]

    def term():
        one, other = draw.choice(names), draw.choice([*names, "3", "len(rows)", "x[0]", "math.sqrt(a)"])
        return f"{one} {draw.choice(['+', '-', '*', '//', '@', '%', '**'])} {other}"

    body = [f"    {draw.choice(names)} {draw.choice(['=', '+=', '-='])} {term()} {draw.choice(['', 'if x else 0'])}"
            for _ in range(lines)]  # fmt: skip
    return "\n\ndef work(a, b, total, rows, x):\n" + "\n".join(body) + "\n    return total\n"


def side(name, *texts, path="src/work.py", **values):
    return Side(name, {"src/__init__.py": b"", path: "".join(texts).encode()}, **values)


STARTER_FILES = {"src/__init__.py": b"", "src/work.py": STARTER.encode()}


def names(found, positions):
    return {found.sides[position].name for position in positions}


def test_a_renamed_copy_among_the_work_of_others_comes_first():
    others = [side(f"s{number}", STARTER, program(number)) for number in range(12)]
    found = compare(
        [
            *others,
            side("ann", STARTER, program("ann"), COPIED),
            side("bob", program("bob"), RENAMED, STARTER),
        ],
        STARTER_FILES,
    )
    assert names(found, [found.pairs[0].first, found.pairs[0].second]) == {"ann", "bob"}
    assert found.pairs[0].similarity > 2 * max(found.median, *(p.similarity for p in found.pairs[1:]), 0.01)


def test_equal_files_come_first_then_what_differs_in_names_alone():
    found = compare(
        [
            side("ann", STARTER, COPIED),
            side("bob", STARTER, RENAMED),
            side("eve", STARTER, COPIED),
            side("joe", STARTER),
        ],
        STARTER_FILES,
    )
    assert [names(found, group) for group in found.identical] == [{"ann", "eve"}]
    assert [names(found, group) for group in found.alike] == [{"ann", "bob", "eve"}]
    assert names(found, found.untouched) == {"joe"}
    assert [names(found, [pair.first, pair.second]) for pair in found.pairs] == [
        {"ann", "bob"},
        {"bob", "eve"},
    ]
    assert found.pairs[0].similarity > 0.99


def test_what_the_starter_holds_does_not_count():
    starter = {"src/work.py": (STARTER + COPIED).encode()}
    found = compare(
        [
            side("ann", STARTER, COPIED, "\n\ny = {1: [2, 3], 4: (5, 6)}\n"),
            side("bob", STARTER, COPIED, "\nassert not isinstance(7, str), lambda q: q\n"),
        ],
        starter,
    )
    assert found.pairs == []
    assert compare(found.sides, {}).pairs[0].similarity > 0.5


def test_passages_are_where_both_sides_have_them():
    first, second = program("ann") + COPIED, RENAMED + program("bob")
    found = compare([side("ann", STARTER, first), side("bob", STARTER, second)], STARTER_FILES)
    mine, theirs = found.passages(found.pairs[0])
    passage = max(mine["src/work.py"], key=lambda passage: passage.end - passage.start)
    text = (STARTER + first)[passage.start : passage.end]
    assert "def spread(values" in text
    assert text.rstrip().endswith("values[0]}")
    other = max(theirs["src/work.py"], key=lambda passage: passage.end - passage.start)
    assert (STARTER + second)[other.start : other.end].count("def dispersion(numbers")
    assert passage.number == other.number
    assert passage.rare


def test_c_plus_plus_is_compared_and_other_files_are_not():
    code = "int f(float *x, int n) {\n  for (int i = 0; i < n; ++i) { x[i] = x[i] * 2; }\n  return n > 3 ? 1 : 0;\n}\n"
    renamed = code.replace("x", "data")
    found = compare(
        [side("ann", code, path="src/a.cpp"), side("bob", "// mine\n", code.replace("x", "q"), path="src/b.cpp"),
         side("eve", renamed, path="src/notes.bin"), side("joe", renamed, path="src/notes.txt")],
        {},
    )  # fmt: skip
    assert [names(found, [pair.first, pair.second]) for pair in found.pairs] == [{"ann", "bob"}]


def test_what_cannot_be_compared_is_named():
    found = compare(
        [side("ann", "x = 1\n" * 60_000), Side("bob", {"src/work.py": b"\xff = 1\n"}), Side("eve", {})], {}
    )
    assert found.left_out == [
        (0, "src/work.py", "too large to compare"),
        (1, "src/work.py", "not text in UTF-8"),
    ]
    assert found.pairs == []
    assert compare([], {}).pairs == []


def test_text_that_takes_hours_is_left_out(monkeypatch):
    monkeypatch.setattr(similarity, "MAX_SECONDS", 0.5)
    slow = {f"src/{name}.cpp": b"/" * 150_000 for name in "abc"}
    found = compare([Side("eve", slow), side("ann", COPIED), side("bob", COPIED, "x")], {})
    assert found.left_out == [(0, path, "takes too long to read") for path in slow]
    assert len(found.pairs) == 1


def test_text_on_which_a_lexer_fails_is_left_out(monkeypatch):
    def fails(path, text):
        if "evil" in text:
            raise RecursionError
        return iter(())

    monkeypatch.setattr(similarity, "_tokens", fails)
    sides = [side("ann", "evil"), side("bob", "x = 1")]
    assert compare(sides, {}).left_out == [(0, "src/work.py", "cannot be read: RecursionError")]


def test_two_of_an_earlier_term_are_no_pair():
    sides = [
        side("old/ann", COPIED, "\nz = [1]\n", old=True),
        side("old/bob", RENAMED, "\nassert z\n", old=True),
        side("eve", COPIED, "\ndel z, q\n"),
    ]
    found = compare(sides, {})
    assert [names(found, [pair.first, pair.second]) for pair in found.pairs] == [
        {"old/ann", "eve"},
        {"old/bob", "eve"},
    ]


class Reader(HTMLParser):
    """What a browser finds in a page: tags, ids, addresses, the text in <pre>."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.code, self._pre = set(), [], [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[key] for key in ("href", "src") if key in values]
        self._pre = self._pre or tag == "pre"

    def handle_endtag(self, tag):
        self._pre = self._pre and tag != "pre"

    def handle_data(self, data):
        self.code += data if self._pre else ""


def test_the_report_is_offline_and_holds_hostile_text_as_text():
    evil = '\n# </pre><script src="https://evil.example/x.js"></script>\nq = "<img src=x onerror=alert(1)>"\n'
    found = compare(
        [side("ann", STARTER, evil, COPIED), side("<b>eve", STARTER, evil, RENAMED), side("joe", STARTER, COPIED),
         side("jim", STARTER, COPIED)],
        STARTER_FILES,
    )  # fmt: skip
    files = dict(pages(found, found.pairs[:3], assignment="t", starter=True))
    assert sorted(files) == ["1.html", "2.html", "3.html", "4.html", "index.html"]
    for name, text in files.items():
        page = Reader(text)
        assert not page.tags & {"script", "img", "link"}, name
        assert all(re.fullmatch(r"(\d+|index)\.html|#[ab]\d+", link) for link in page.links), name
        assert len(page.ids) == len(set(page.ids)), name
        assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids), name
        assert "default-src 'none'" in text
    assert "&lt;b&gt;eve" in files["index.html"]
    assert 'alert(1)>"' in Reader(files["2.html"]).code


@pytest.fixture
def copied(desk):  # noqa: F811
    for student in ("ann", "bob", "eve"):
        work = STARTER + (COPIED if student != "eve" else program(3))
        desk.take(desk.university.push(work, student, NAME=student.encode()), before(hours=2))
    desk.university.course.write("starter/src/work.py", STARTER)
    desk.university.course.write("starter/src/__init__.py", "")
    return desk


def similar(desk, *arguments):  # noqa: F811
    config = desk.university.config_file
    return CliRunner().invoke(main, ["similar", "-a", "t", "--config", str(config), *map(str, arguments)])


def test_the_command(copied):
    starter, html = copied.university.course.folder / "starter", copied.university.folder / "html"
    result = similar(copied, "--starter", starter, "--html", html)
    assert result.exit_code == 0, result.output
    assert "equal   ann, bob\n" in result.output
    assert "3 submissions" in result.output
    assert "similar code is no proof" in result.output
    assert {path.name for path in html.iterdir()} == {"index.html", "1.html"}
    found = json.loads(similar(copied, "--starter", starter, "--json").stdout)
    assert found["equal"] == [["ann", "bob"]]
    assert (found["submissions"], found["pairs"]) == (3, [])
    assert similar(copied, "--html", html).exit_code == 2
    assert "nothing is subtracted; name the starter" in similar(copied).output


def test_work_of_an_earlier_term(copied):
    collect(copied, to="t-2025")
    copied.take(copied.university.push(STARTER + RENAMED + "z = [z]\n", "joe"), before(hours=1))
    result = similar(
        copied,
        *("--starter", copied.university.course.folder / "starter"),
        *("--with", copied.university.folder / "t-2025"),
        "--repo", "git.uni.example/dls/t-joe",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert re.search(r"\d+ %  joe, t-2025/ann\n", result.output)
    assert "t-2025/ann, t-2025/bob" in result.output.split("equal ")[1]


def test_a_push_out_of_time_is_not_compared(copied):
    copied.take(copied.university.push(COPIED, "joe"), before(hours=-2))
    result = similar(copied)
    assert "not compared: git.uni.example/dls/t-joe: no push counts" in result.output
