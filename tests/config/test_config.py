"""autograder.toml: what is accepted, and that a mistake is reported with its line."""

import pytest

from autograder.config import find, load, parse
from autograder.errors import ConfigError
from tests.support import ROOT

GOOD = """\
course = "c"

[assignments.a0]
suite = "hidden/a0"
preload = ["numpy", "torch"]

[assignments.a0.limits]
memory_bytes = 1000000

[assignments.a1]
suite = "hidden/a1"
[assignments.a1.build]
probe = "build"
sources = ["src/*"]
"""


def test_the_project_s_own_file():
    config = load(ROOT / "autograder.toml")
    assert list(config.assignments) == ["a0", "a1", "a2"]
    for name in config.assignments:
        assert config.limits(name).wall_seconds > 0


def test_values_and_defaults(tmp_path):
    config = parse(GOOD, tmp_path / "autograder.toml")
    assert config.assignment("a0").preload == ("numpy", "torch")
    assert config.limits("a0").memory_bytes == 1_000_000
    assert config.assignment("a1").build.probe == "build"
    assert config.path("x") == tmp_path / "x"
    assert config.sandbox.kind == "auto"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('course = "c"', "course = 1", 1, "course: Expected `object`, got `int`"),
        (
            'course = "c"',
            'curse = "c"',
            1,
            "curse: this key is not allowed; allowed are assignments, reference",
        ),
        ('suite = "hidden/a1"', 'suit = "x"', 11, "this key is not allowed; allowed are suite, title"),
        ("preload = [", "preload = 3 #", 5, "assignments.a0.preload: Expected `array`"),
        ("memory_bytes", "memory", 8, "limits.memory: this key is not allowed; allowed are wall_seconds"),
        (
            'probe = "build"',
            'prob = "build"',
            13,
            "assignments.a1.build.prob: this key is not allowed; allowed are cpp, probe",
        ),
        ("[assignments.a0]", "[assignments.a0", 3, ""),
        (
            'course = "c"',
            'hosts.git.uni.kind = "gitea"',
            1,
            'put a name with dots in quotes: [hosts."git.uni.example"]',
        ),
        ("preload = [", "timeout = 0\npreload = [", 5, "assignments.a0.timeout: Expected `float` > 0.0"),
        ("preload = [", "timeout = inf\npreload = [", 5, "assignments.a0.timeout: must be a number, got inf"),
        ("memory_bytes = 1000000", "memory_bytes = 0", 8, "limits.memory_bytes: Expected `int` >= 1"),
        ("memory_bytes = 1000000", "processes = true", 8, "limits.processes: Expected `int`, got `bool`"),
        ('probe = "build"', 'probe = "build"\nseconds = 0', 14, "assignments.a1.build.seconds: Expected"),
        (
            'course = "c"',
            '[sandbox]\nwaive = ["landlock", "seccom"]',
            2,
            "sandbox.waive: 'seccom' is not a protection that can be waived; these can: pid-namespace",
        ),
        (
            'course = "c"',
            '[sandbox]\nwaive = ["user-namespace"]',
            2,
            "sandbox.waive: 'user-namespace' is not a protection that can be waived",
        ),
        ('course = "c"', '[sandbox]\nkind = "docker"', 2, "sandbox.kind: the containers need an image"),
        ('course = "c"', 'course = "c', 1, "not TOML: "),
        ('sources = ["src/*"]', 'sources = ["src/*"', 14, "not TOML: "),
        ('course = "c"', 'course = "c"\n[course]', 2, "change the one that is there"),
    ],
    ids=[
        *("type", "key", "table", "array", "limits", "build", "syntax", "dots", "no time", "endless time"),
        *("no memory", "a bool", "no time to build", "waive", "no wall", "no image", "quotes", "end of file"),
        "a table twice",
    ],
)
def test_a_mistake_is_reported_with_its_line_and_what_is_allowed(tmp_path, old, new, line, message):
    assert old in GOOD
    path = tmp_path / "autograder.toml"
    with pytest.raises(ConfigError) as caught:
        parse(GOOD.replace(old, new, 1), path)
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{path}:{line}: ")


def test_a_file_of_windows_is_read(tmp_path):
    file = tmp_path / "autograder.toml"
    file.write_bytes(GOOD.replace("\n", "\r\n").encode("utf-8-sig"))
    assert list(load(file).assignments) == ["a0", "a1"]


def test_another_encoding_is_reported_with_its_line(tmp_path):
    file = tmp_path / "autograder.toml"
    file.write_bytes(GOOD.replace("[assignments.a0]", "# f\u00fcr alle\n[assignments.a0]").encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:3: this is not text in UTF-8; save the file in that encoding"


def test_a_key_is_found_by_its_line(tmp_path):
    path = tmp_path / "autograder.toml"
    config = parse(GOOD, path)
    assert config.where("assignments", "a0", "preload") == f"{path}:5: assignments.a0.preload"
    assert config.where("assignments", "a0", "zone") == f"{path}:3: assignments.a0.zone"


def test_what_is_no_key_of_the_file_is_not_called_allowed(tmp_path):
    with pytest.raises(ConfigError) as caught:
        parse(GOOD.replace('course = "c"', 'curse = "c"'), tmp_path / "autograder.toml")
    assert "folder" not in str(caught.value).partition("allowed are ")[2]


def test_without_assignments_it_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        parse("", tmp_path / "autograder.toml")


def test_an_unknown_assignment_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no assignment 'a9'.*a0, a1"):
        parse(GOOD, tmp_path / "autograder.toml").assignment("a9")


def test_the_file_is_that_of_the_staff_repository_wherever_one_stands(tmp_path, monkeypatch):
    (tmp_path / "autograder.toml").write_text(GOOD)  # a student's
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOGRADER_CONFIG", raising=False)
    assert find() == ROOT / "autograder.toml"


def test_the_file_may_be_named_in_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_CONFIG", str(tmp_path / "other.toml"))
    assert find() == tmp_path / "other.toml"


def test_without_a_staff_repository_the_file_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("AUTOGRADER_CONFIG", raising=False)
    elsewhere = tmp_path / "autograder" / "config" / "reading.py"
    monkeypatch.setattr("autograder.config.reading.__file__", str(elsewhere))
    with pytest.raises(ConfigError, match="--config FILE"):
        find()


def test_the_secret_is_made_once_and_private(tmp_path, monkeypatch):
    monkeypatch.delenv("AUTOGRADER_SECRET", raising=False)
    config = parse(GOOD, tmp_path / "autograder.toml")
    secret = config.secret()
    assert len(secret) == 64
    assert config.secret() == secret
    assert (tmp_path / ".autograder" / "secret").stat().st_mode & 0o077 == 0


def test_the_environment_takes_precedence_over_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_SECRET", "x" * 32)
    config = parse(GOOD, tmp_path / "autograder.toml")
    assert config.secret() == b"x" * 32
    monkeypatch.setenv("AUTOGRADER_SECRET", "short")
    with pytest.raises(ConfigError, match="has 5 bytes, but needs at least 16"):
        config.secret()


BUILD = """[assignments.b]
suite = "hidden/b"
given = ["src/data.py"]
[assignments.b.build]
"""


def test_one_line_stands_for_the_build_of_a_cpp_extension(tmp_path):
    text = BUILD + 'cpp = "src/b_ext"\npackages = ["numpy"]\n'
    assignment = parse(text, tmp_path / "autograder.toml").assignment("b")
    assert assignment.given == ("src/data.py", "src/b_ext/*.py", "src/b_ext/*.hpp", "src/b_ext/binding.cpp")
    assert assignment.build.sources == ("src/b_ext/*.cpp", "src/b_ext/*.hpp", "src/b_ext/*.py")
    assert assignment.build.packages == ("pybind11", "numpy")
    assert (assignment.build.probe, assignment.build.prepare) == ("build_cpp", "prepare_cpp")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "seconds = 5",
            r"toml:4: assignments\.b\.build: add the key cpp, the folder of a C\+\+ extension; or probe",
        ),
        ('probe = "x"', "add the key cpp"),
        ('cpp = "../x"', r"toml:5: assignments\.b\.build\.cpp: must be a folder below src/"),
        ('cpp = "src/x"\nprobe = "x"', "remove probe, prepare and sources: this key replaces them"),
    ],
)
def test_a_build_is_either_of_a_cpp_extension_or_of_the_suite(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message):
        parse(BUILD + lines + "\n", tmp_path / "autograder.toml")
