"""Declared equivalents, the choice of mutants, cache keys, cheats, promises, and the observer of replies."""

import ast

import numpy as np
import pytest

from autograder.errors import ConfigError
from autograder.grading.observation import Observer, scaled
from autograder.grading.trial import CaseFacts, Trial
from autograder.suite_check import cache, cheats, dependencies, equivalents, plan, promises
from autograder.suite_check.python_mutants import python_mutants

SOURCE = '''\
def mean(x):
    """Return the mean.

    Args:
        x: an array that is not changed.

    Raises:
        ValueError: x is empty.
    """
    ### BEGIN SOLUTION
    if x.size == 0:
        raise ValueError("empty")
    return x.sum() / x.size
    ### END SOLUTION


def total(x):
    """Return the sum."""
    ### BEGIN SOLUTION
    return x.sum()
    ### END SOLUTION
'''
MUTANTS = python_mutants("src/a.py", SOURCE)
CASES = [
    CaseFacts("one", "test_one", "", 50, 10.0, False),
    CaseFacts("two", "test_two", "", 50, 10.0, False),
]
LINES = {"one": {"src/a.py": [11, 13]}, "two": {"src/a.py": [20]}}


def write(folder, text):
    (folder / equivalents.FILE).write_text(text)
    return folder


def test_a_declared_mutant_has_a_reason(tmp_path):
    assert equivalents.read(tmp_path) == {}
    assert equivalents.read(write(tmp_path, '[[mutant]]\nid = "a"\nreason = "why"\n')) == {"a": "why"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[mutant]]\nid = "a"\nreason = " "\n', "equivalent.toml:1: a needs a reason"),
        ('\n[[mutant]]\nid = "a"\n', "equivalent.toml:2: .*reason"),
        ('[[mutant]]\nid = "a"\nreason = "x"\n' * 2, "equivalent.toml:4: a is declared twice"),
        ('[[mutants]]\nid = "a"\n', "equivalent.toml:1: .*mutants"),
        ("\n[[", "equivalent.toml:2: not TOML"),
    ],
)
def test_a_file_of_equivalents_with_a_mistake_is_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        equivalents.read(write(tmp_path, text))


def test_the_short_form_takes_one_mutant_of_each_kind_and_function():
    picked = plan.chosen(MUTANTS, plan.SHORT, seed="0", only="", without=())
    assert {m.group for m in picked} == {m.group for m in MUTANTS}
    assert len(picked) == len({m.group for m in MUTANTS}) < len(MUTANTS)
    assert plan.chosen(MUTANTS, plan.LONG, seed="0", only="", without=()) == MUTANTS


def test_the_choice_depends_on_the_seed_alone_and_leaves_out_what_is_declared():
    ids = {seed: [m.id for m in plan.chosen(MUTANTS, plan.SHORT, seed=seed, only="", without=())]
           for seed in "0123"}  # fmt: skip
    assert len({tuple(chosen) for chosen in ids.values()}) > 1
    assert ids["0"] == [m.id for m in plan.chosen(MUTANTS, plan.SHORT, seed="0", only="", without=())]
    first = ids["0"][0]
    assert first not in [m.id for m in plan.chosen(MUTANTS, plan.SHORT, seed="0", only="", without=[first])]


def test_only_chooses_by_a_part_of_the_id():
    picked = plan.chosen(MUTANTS, plan.LONG, seed="0", only=":total:", without=())
    assert picked
    assert {m.function for m in picked} == {"total"}


def test_the_short_form_tries_a_mutant_on_the_cases_that_enter_its_function():
    (one, *_) = [m for m in MUTANTS if m.function == "total"]
    assert plan.concerned(one, CASES, LINES, {}, plan.SHORT) == ("two",)
    assert plan.concerned(one, CASES, LINES, {"one": 2.0, "two": 1.0}, plan.LONG) == ("two", "one")


def test_a_mutant_gets_ten_times_the_time_of_the_reference_within_the_limit_of_the_case():
    slowest = {"one": 0.2, "two": 0.01}
    assert plan.time_limits(CASES, slowest) == {"one": 2.0, "two": plan.LEAST_SECONDS}
    assert plan.time_limits(CASES, {"one": 5.0})["one"] == 10.0


SCORE = """
import probes
SIZE = 3

def helper():
    return SIZE

def test_one(student):
    student(probes.one, helper())

def test_two(student):
    student(probes.two)
"""
PROBES = "def one(x):\n    return shared()\n\ndef two():\n    return 2\n\ndef shared():\n    return 1\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("test_score.py", "student(probes.two)", "student(probes.two, 1)", {"test_two"}),
        ("test_score.py", "SIZE = 3", "SIZE = 4", {"test_one"}),
        ("probes.py", "return 1", "return 9", {"test_one"}),
        ("probes.py", "return 2", "return 9", {"test_two"}),
        ("test_score.py", "import probes\n", "import probes  # comment\n", set()),
        ("extra.py", "x", "y", {"test_one", "test_two"}),
    ],
)
def test_a_change_of_the_suite_changes_the_keys_of_the_cases_that_depend_on_it(file, old, new, changed):
    files = {"test_score.py": SCORE, "probes.py": PROBES, "extra.py": "x = 1\n"}
    before = dependencies.case_digests(files, ["test_one", "test_two"])
    after = dependencies.case_digests(files | {file: files[file].replace(old, new)}, ["test_one", "test_two"])
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_cache_keeps_results_and_does_without_a_folder(tmp_path):
    with cache.Cache(tmp_path) as kept:
        kept.put({"k": {"verdict": "wrong"}})
    with cache.Cache(tmp_path) as kept:
        assert kept.get(["k", "other"]) == {"k": {"verdict": "wrong"}}
    (tmp_path / "file").write_text("")
    with cache.Cache(tmp_path / "file") as kept:
        kept.put({"k": {}})
        assert kept.get(["k"]) == {}
    assert cache.key("a", "bc") != cache.key("ab", "c")


def test_every_cheat_is_a_program():
    found = {cheat.name: cheat for cheat in cheats.cheats({"src/a.py": SOURCE}, ("scipy",))}
    assert {"zero", "first input", "equal to everything", "first call only", "import scipy"} <= set(found)
    for cheat in found.values():
        for text in cheat.files.values():
            ast.parse(text)
    space = {}
    exec(found["first call only"].files["src/a.py"], space)  # noqa: S102 (the program is the subject)
    assert [space["total"](np.ones(size)) for size in (2, 3)] == [2.0, 2.0]


def test_a_mutant_points_to_the_sentence_that_it_breaks():
    known = promises.sentences("src/a.py", SOURCE)
    (check,) = [m for m in MUTANTS if m.kind == "check"]
    broken = promises.promise_of(check, known)
    assert broken is not None
    assert "ValueError: x is empty" in broken.text
    assert promises.nearest_case(check, broken, {"a": "The sum.", "b": "An empty array; ValueError."}) == "b"


def test_a_sentence_that_nothing_touches_is_listed():
    known = promises.sentences("src/a.py", SOURCE)
    left = promises.untouched(known, [], {"a": "An empty x, ValueError."})
    assert [s.text for s in left if "ValueError" in s.text] == []
    assert any("Return the sum" in s.text for s in left)


def test_the_observer_makes_every_value_of_a_dtype_wrong_and_leaves_the_others():
    reply = {"a": np.ones(2), "b": [np.ones(2, np.float32), 3, "text"], "c": 2.0}
    wrong = scaled(reply, "float64", 0.5)
    assert wrong["a"].tolist() == [1.5, 1.5]
    assert wrong["c"] == 3.0
    assert wrong["b"][0].tolist() == [1, 1]
    assert wrong["b"][1:] == [3, "text"]


def test_the_observer_notes_inputs_and_dtypes():
    observer = Observer(None)
    reply = observer("probe", (np.ones(3), 7), {"y": np.ones(2, np.float32)})
    assert list(observer.inputs) == ["probe 1[0]"]
    assert observer.dtypes == {"float32"}
    assert reply["y"].dtype == np.float32


def test_a_trial_survives_its_way_through_json():
    trial = Trial(draws=("a",), cases=("b",), stop=True, seconds={"b": 2.0}, scale=("float64", 0.1))
    assert Trial.from_json(trial.to_json()) == trial


def test_arrays_full_of_one_number_are_the_same_input_whatever_their_sizes():
    digests = []
    for array in (np.ones(3), np.ones((2, 4)), np.zeros(3), np.arange(3.0)):
        observer = Observer(None)
        observer("probe", (array,), None)
        digests.append(observer.inputs["probe 1[0]"])
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(("before", "names"), [(0, ["fast", "slow"]), (49, ["fast", "slow"]), (50, ["fast"])])
def test_a_case_that_takes_long_gets_fewer_draws_in_the_short_form(before, names):
    seconds = {"fast": 0.01, "slow": 2.0}
    assert list(plan.with_draws_left(seconds, plan.SHORT, before)) == names
    assert list(plan.with_draws_left(seconds, plan.LONG, before)) == ["fast", "slow"]
