"""Whole runs in the sandbox, with few draws: a weak suite and a mended one, a0, Ctrl-C, the gate, and the cache."""

import contextlib
import dataclasses
import json
import re
import shutil

import pytest
from click.testing import CliRunner

from autograder import config
from autograder.cli.root import main
from autograder.ledger import Ledger
from autograder.report import Report
from autograder.suite_check import cheats, plan, run, terminal
from autograder.suite_check.findings import CAUGHT, ESCAPED, FAULT, advice
from autograder.verdict import CaseResult, Verdict
from tests.support import ROOT
from tests.support.ledgers import Clock, Semester
from tests.support.weak_conv2d import GOOD_SCORE, WEAK_SCORE, course

pytestmark = pytest.mark.sandbox

FEW = plan.Form("short", draws=6, seconds=15.0, sandboxed=4, mutant_draws=2, cheat_draws=1, sample_draws=1)


@contextlib.contextmanager
def silent(_name, _total):
    yield lambda: None


def check(config_file, assignment="t", *, form=FEW, progress=silent, **options):
    settings = config.load(config_file)
    chosen = run.Options(form=form, jobs=2, **options)
    return run.check(settings, config_file, assignment, chosen, progress)


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    return check(course(tmp_path_factory.mktemp("weak"), WEAK_SCORE).config_file)


def test_a_weak_suite_is_found_out(weak):
    said = "\n".join(advice(weak))
    assert weak.complete
    assert weak.kill_rate < 0.8
    assert "Task3 - Case1: the same in every draw: forward 1[0]" in said
    assert "Task3 - Case2: overlooks" in said
    assert {m.kind for m in weak.of(*ESCAPED)} >= {"check", "raise"}
    assert not weak.of(FAULT)


def test_the_mended_suite_is_good(weak, tmp_path):
    mended = check(course(tmp_path, GOOD_SCORE).config_file)
    assert [m.id for m in mended.mutants] == [m.id for m in weak.mutants]
    assert mended.kill_rate >= 0.9
    assert len(mended.of(*ESCAPED)) < len(weak.of(*ESCAPED)) / 2
    said = "\n".join(advice(mended))
    assert "overlooks" not in said
    assert "the same in every draw" not in said
    assert all(case.draws == 11 and case.failed == 0 for case in mended.cases)


SOMETIMES_WRONG = """
import probes

from autograder.testing import assert_close, case


@case(task=3, points=100)
def test_forward(student, ref, rng):
    '''A check that is wrong in 2 % of the draws.'''
    x, w = rng.standard_normal((2, 4, 5)), rng.standard_normal((2, 3))
    wrong = rng.random() > 0.98
    assert_close(student(probes.forward, x, w, 1), ref(probes.forward, x, w, 1) + wrong, what="y")
"""


def test_a_case_that_its_reference_fails_in_2_percent_of_the_draws_is_found(tmp_path):
    file = course(tmp_path, SOMETIMES_WRONG).config_file
    form = plan.Form(
        "short", draws=200, seconds=15.0, sandboxed=4, mutant_draws=1, cheat_draws=1, sample_draws=1
    )
    found = check(file, form=form, only="conv2d:raise")
    (case,) = found.cases
    assert 1 <= case.failed <= 12
    assert f"the reference fails {case.failed} of {case.draws} draws" in advice(found)[0]


def test_a_second_run_after_a_change_of_one_case_repeats_only_that_case(tmp_path, monkeypatch):
    ran, stopped = set(), set()  # a mutant that a time limit stopped is tried in each run
    real = run.Grader.try_many

    def noting(self, trials, *, jobs):
        for key, tried in real(self, trials, jobs=jobs):
            if key and key[0].subject != "loaded":  # times under load are measured in each run
                ran.update((key[0].subject, row.draw, row.name) for row in tried.rows)
                stopped.update(key[0].subject for row in tried.rows if row.verdict in ("timeout", FAULT))
            yield key, tried

    monkeypatch.setattr(run.Grader, "try_many", noting)
    folder = course(tmp_path, GOOD_SCORE)
    first = check(folder.config_file, only="conv2d:")
    before, ran = ran, set()
    score = GOOD_SCORE.replace("higher or wider.", "higher, or wider.")
    folder.write("hidden/t/test_score.py", score.replace("(3, 5)", "(3, 6)"))
    second = check(folder.config_file, only="conv2d:")
    assert {name for _, _, name in before} == {"Task3 - Case1", "Task3 - Case2", "Task3 - Case3"}
    assert {name for subject, _, name in before & ran if subject not in stopped} == {"Task3 - Case3"}
    assert second.complete
    assert [mutant.id for mutant in second.mutants] == [mutant.id for mutant in first.mutants]


def stopped_once(monkeypatch, subject):
    """Let the first run of one subject report that a time limit stopped its first case."""
    real = run.Grader.try_many
    left = [subject]

    def stopping(self, trials, *, jobs):
        for key, tried in real(self, trials, jobs=jobs):
            if key and key[0].subject in left:
                left.remove(key[0].subject)
                first = dataclasses.replace(tried.rows[0], verdict="timeout", message="time limit")
                tried = dataclasses.replace(tried, rows=(first,))
            yield key, tried

    monkeypatch.setattr(run.Grader, "try_many", stopping)
    return left


def test_a_mutant_that_load_stopped_is_judged_by_a_second_run_alone(weak, tmp_path, monkeypatch):
    survivor = weak.of(*ESCAPED)[0]
    left = stopped_once(monkeypatch, survivor.id)
    again = check(course(tmp_path, WEAK_SCORE).config_file, only=survivor.id)
    assert not left
    (mutant,) = again.mutants
    assert mutant.status == survivor.status
    assert [cell.verdict for cell in mutant.cells.values()] == ["passed"] * len(mutant.cells)


def interrupted_at(step, parts):
    @contextlib.contextmanager
    def progress(name, _total):
        left = iter(range(parts))

        def advance():
            if name == step and next(left, None) is None:
                raise KeyboardInterrupt

        yield advance

    return progress


def test_ctrl_c_keeps_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr("autograder.cli.suite._step", interrupted_at("mutants", 4))
    monkeypatch.setattr(plan, "SHORT", FEW)
    folder = course(tmp_path, GOOD_SCORE)
    result = CliRunner().invoke(main, ["suite", "check", "t", "--config", str(folder.config_file)])
    report = json.loads((tmp_path / ".autograder/suite-check/t/report.json").read_text())
    known = [mutant for mutant in report["mutants"] if mutant["status"] != "not tried"]
    assert "interrupted: what follows is what is known" in result.output
    assert report["complete"] is False
    assert 4 <= len(known) < len(report["mutants"])
    assert report["cases"][0]["draws"] == 11


def test_the_report_as_json_and_as_html(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "SHORT", FEW)
    folder = course(tmp_path, WEAK_SCORE)
    command = ["suite", "check", "t", "--config", str(folder.config_file), "--only", "conv2d:raise", "--json"]
    page, out = tmp_path / "page.html", tmp_path / "out"
    result = CliRunner().invoke(main, [*command, "--html", str(page), "--out", str(out)])
    report = json.loads(result.stdout)
    assert report == json.loads((out / "report.json").read_text())
    assert {mutant["kind"] for mutant in report["mutants"]} == {"raise"}
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert re.search(r"^mutants: \d+ in [\d.]+ s$", result.stderr, re.MULTILINE)


@pytest.mark.parametrize("option", ["--out", "--html"])
def test_a_folder_that_cannot_be_made_is_named_before_anything_is_tried(tmp_path, monkeypatch, option):
    monkeypatch.setattr(run, "check", lambda *_: pytest.fail("the run started"))
    folder = course(tmp_path, WEAK_SCORE)
    (tmp_path / "file").write_text("")
    command = ["suite", "check", "t", "--config", str(folder.config_file)]
    result = CliRunner().invoke(main, [*command, option, str(tmp_path / "file/x/y")])
    assert result.exit_code == 1
    assert "cannot make" in result.output
    assert "name another with --out" in result.output


def test_the_history_of_real_pushes_stands_beside_a_case(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "SHORT", FEW)
    folder = course(tmp_path, WEAK_SCORE)
    settings = config.load(folder.config_file)
    with Ledger.open(settings.ledger_url(), folder=tmp_path) as ledger:
        semester = Semester(ledger, Clock())
        semester.push("one")
        job = semester.run("one", assignment="t")
        case = CaseResult("Task3 - Case1", Verdict.PASSED, 30, 30, seconds=0.25)
        ledger.add_report(job.id, Report("t", (case,), {}))
    command = ["suite", "check", "t", "--config", str(folder.config_file), "--only", "Task3 - Case1"]
    result = CliRunner().invoke(main, command)
    assert "Task3 - Case1: 1 of 1 submissions passed, slowest 0.25 s" in result.output


@pytest.mark.parametrize(("least", "status"), [("0.0", 0), ("1.0", 1)])
def test_min_kill_is_a_gate(tmp_path, monkeypatch, least, status):
    monkeypatch.setattr(plan, "SHORT", FEW)
    folder = course(tmp_path, WEAK_SCORE)
    command = ["suite", "check", "t", "--config", str(folder.config_file), "--min-kill", least]
    result = CliRunner().invoke(main, [*command, "--only", "conv2d:raise"])
    assert result.exit_code == status, result.output
    assert ("is not good enough" in result.output) == bool(status)


def test_an_unknown_name_is_refused(tmp_path):
    folder = course(tmp_path, WEAK_SCORE)
    command = ["suite", "check", "t", "--config", str(folder.config_file), "--only", "nothing"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "no mutant and no case is called 'nothing'" in result.output


def test_samples_are_tried_and_one_that_is_refused_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "chosen", lambda *_, **__: [])
    monkeypatch.setattr(cheats, "cheats", lambda *_: [])
    folder = course(tmp_path, GOOD_SCORE)
    right = folder.submission("right", (folder.folder / "src/conv.py").read_text())
    (right / "src/work.py").rename(right / "src/conv.py")
    broken = folder.submission("broken", "")
    (broken / "src/link.py").symlink_to("work.py")
    result = run.check(
        config.load(folder.config_file), folder.config_file, "t",
        run.Options(form=FEW, jobs=2, samples=right.parent), silent,
    )  # fmt: skip
    by_name = {sample.name: sample for sample in result.samples}
    assert by_name["right"].points == 100
    assert by_name["broken"].points == 0
    assert "symbolic link" in by_name["broken"].note
    assert "broken: 0 points in 0 draws; src/link.py is a symbolic link" in terminal.render(result)


def test_a_folder_without_samples_is_refused(tmp_path):
    folder = course(tmp_path, WEAK_SCORE)
    command = [
        "suite",
        "check",
        "t",
        "--config",
        str(folder.config_file),
        "--samples",
        str(tmp_path / "hidden"),
    ]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "contains a folder src/" in result.output


@pytest.fixture(scope="module")
def a0(tmp_path_factory):
    """A course with a0 alone, and the findings of a first run."""
    folder = tmp_path_factory.mktemp("a0")
    shutil.copytree(ROOT / "hidden/a0", folder / "hidden/a0", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "src").mkdir()
    for name in ("__init__.py", "linear.py"):
        shutil.copy(ROOT / "src" / name, folder / "src")
    settings = '[assignments.a0]\nsuite = "hidden/a0"\npreload = ["numpy", "torch"]\n\n'
    (folder / "autograder.toml").write_text(
        settings + '[assignments.a0.release]\ntask = "Task0"\nscore = 0\nfiles = ["src/linear.py"]\n'
    )
    first = check(folder / "autograder.toml", "a0")
    run.with_earlier(folder / ".autograder", first, keep=True)
    return folder, first


def test_a0_is_checked_in_the_sandbox(a0):
    _, first = a0
    assert first.complete
    assert len(first.mutants) > 20
    assert first.kill_rate > 0.7
    assert all(case.failed == 0 for case in first.cases)
    assert "'zero'" not in "\n".join(advice(first))
    imports = [cheat for cheat in first.cheats if cheat.name.startswith("import ")]
    assert all(cheat.draws == 1 and len(cheat.passed) <= 1 for cheat in imports)


CHANGES = {
    "a tolerance times 1000": [("torch.float32: 1e-5", "torch.float32: 1e-2")],
    "a constant input": [("rng.standard_normal(shape)", "__import__('numpy').ones(shape)")],
    "a case deleted": [
        ("@case(task=0, points=8)\ndef test_memory_layout", "def _test_memory_layout"),
        ("points=10)\ndef test_output", "points=18)\ndef test_output"),
    ],
}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("a tolerance times 1000", "the smallest error noticed in float32"),
        ("a constant input", "the same in every draw"),
        ("a case deleted", "test_memory_layout is gone"),
    ],
)
def test_a_weaker_a0_is_noticed(a0, change, named):
    folder, first = a0
    score = folder / "hidden/a0/test_score.py"
    good = text = score.read_text()
    for old, new in CHANGES[change]:
        assert text.count(old) == 1
        text = text.replace(old, new)
    score.write_text(text)
    try:
        found = check(folder / "autograder.toml", "a0", only="backward:")
        weaker = run.with_earlier(folder / ".autograder", found, keep=False)
    finally:
        score.write_text(good)
    assert named in "\n".join(weaker.since)
    caught = {mutant.id for mutant in first.of(CAUGHT)}
    assert len(weaker.mutants) > 10
    assert caught.issuperset(mutant.id for mutant in weaker.of(CAUGHT))
