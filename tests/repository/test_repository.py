"""The repository's own rules: commands, solution markers, import directions, documentation."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

BIN = Path(sys.executable).parent
SOURCES = sorted(path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".cpp", ".hpp"))
PYTHON_SOURCES = [path for path in SOURCES if path.suffix == ".py"]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def name(path):
    return str(path.relative_to(ROOT))


def tracked(*patterns):
    """Return the files that git knows, or skip where this is no checkout."""
    result = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in result.stdout.splitlines()]


# the checks of `make check` ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["mypy"], ["lint-imports"]],
    ids=["format", "lint", "types", "layers"],
)
def test_check(command):
    result = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_make_check_runs_the_same_commands():
    makefile = (ROOT / "Makefile").read_text()
    for command in ("ruff format --check .", "ruff check .", "mypy", "lint-imports"):
        assert f"\t$(BIN)/{command}\n" in makefile


def test_the_gate_ends_with_the_readme_s_test_command():
    gate = (ROOT / ".ci" / "run").read_text().splitlines()
    at = gate.index("make test || status=$?")
    assert gate[-1] == 'exit "$status"'
    assert "pytest" not in "".join(gate[at + 1 :])
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_the_hidden_suite_s_place_is_empty():
    assert ast.parse((ROOT / "test_score.py").read_text()).body == []


# solution markers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_solution_markers_open_and_close_in_turn(path):
    markers = re.findall(r"^[ \t]*(?:// )?### (BEGIN|END) SOLUTION$", path.read_text(), re.MULTILINE)
    assert path.read_text().count("SOLUTION") == len(markers) or path.name == "__init__.py"
    assert markers == ["BEGIN", "END"] * (len(markers) // 2)


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("path", PYTHON_SOURCES, ids=name)
def test_a_solution_is_a_whole_body_below_its_docstring(path):
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        if not (line.startswith(" ") and line.strip() == "### BEGIN SOLUTION"):
            continue
        owner = max((f for f in functions(path) if f.lineno < number), key=lambda f: f.lineno)
        assert ast.get_docstring(owner), f"{name(path)}:{number}: {owner.name} has no specification"
        assert owner.body[0].end_lineno == number - 1, f"{name(path)}:{number}: not right below the docstring"
        end = next(i for i in range(number, len(lines)) if lines[i].strip() == "### END SOLUTION")
        assert owner.end_lineno == end, f"{name(path)}:{number}: code of {owner.name} beside the solution"


def test_every_task_has_something_to_write():
    marked = {name(path) for path in SOURCES if "### BEGIN SOLUTION" in path.read_text()}
    assert {
        "src/linear.py",
        "src/mnist.py",
        "src/softmax.py",
        "src/softmax_ext/softmax_regression.cpp",
        "src/needle/ops.py",
        "src/needle/autograd.py",
        "src/needle/training.py",
    } <= marked


# import directions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PYTHON_SOURCES, ids=name)
def test_src_imports_itself_only_relatively(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.split(".")[0] not in ("src", "ref", "autograder")
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & {"src", "ref", "autograder"}


def test_a_task_does_not_import_another():
    program = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted(m for m in sys.modules if m.startswith("src.")), *(m for m in ("torch",) if m in sys.modules))
"""
    for module, expected in {
        "src.linear": {"src.linear", "torch"},
        "src.mnist": {"src.mnist"},
        "src.softmax": {"src.softmax"},
    }.items():
        result = subprocess.run(
            [sys.executable, "-c", program, module], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert set(result.stdout.split()) == expected
    result = subprocess.run(
        [sys.executable, "-c", program, "src.needle"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(module.startswith("src.needle") for module in result.stdout.split())


# documentation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_between_files_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{name(path)} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_make_targets_and_modules_in_documents_exist(path):
    text = path.read_text()
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= set(targets)
    for module in re.findall(r"python -m ((?:src|benchmarks)[\w.]*)", text):
        base = ROOT / module.replace(".", "/")
        assert base.with_suffix(".py").exists() or (base / "__main__.py").exists(), f"{name(path)}: {module}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_files_named_in_documents_exist(path):
    for named in re.findall(r"`((?:autograder|tests|samples|benchmarks|demo)/[\w./*-]*)`", path.read_text()):
        assert any(ROOT.glob(named.rstrip("/"))), f"{name(path)} names {named}"


def test_both_handouts_have_the_same_sections():
    def outline(path):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]

    assert outline(ROOT / "docs" / "assignment.md") == outline(ROOT / "docs" / "assignment.zh-CN.md")


def test_every_test_named_in_the_specification_exists():
    text = (ROOT / "docs" / "specification.md").read_text()
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)::(test_\w+)`", text)
    assert len(named) >= 40
    for file, test in named:
        defined = {f.name for f in functions(ROOT / "tests" / file)}
        assert test in defined, f"docs/specification.md names {file}::{test}"


def test_no_data_results_or_secrets_are_tracked():
    unwanted = (".gz", ".npz", ".so", ".o", ".pem", ".key", ".env", ".pyc")
    assert not [name(path) for path in tracked() if path.name.endswith(unwanted)]
