"""The wheel `ref`: what it contains and reveals, that it works, and that student code never finds it."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from autograder import config
from autograder.errors import GraderError
from autograder.release import reference, starter
from autograder.release.proof import NotReady
from autograder.sandbox import policy
from autograder.sandbox.kinds import WallSettings, find
from autograder.submission import read_tree
from tests.support import ROOT
from tests.support.walls import PROBES, submission

SETTINGS = ROOT / "autograder.toml"
LINE = "theta -= lr * (Xb.T @ _logit_gradient(Xb @ theta, yb))"

STUDENT = "b0-student"

pytestmark = pytest.mark.timeout(900)  # the first test waits for the compiler, ten times


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built and proven once."""
    return reference.build(config.load(SETTINGS), tmp_path_factory.mktemp("dist"), STUDENT)


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The Python of a new virtual environment with the wheel in it, which sees the packages of this one."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = next(folder.glob("lib/python3*/site-packages"))
    (site / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*command, wheel.path], check=True)
    return python


def ask(python, program):
    result = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_it_holds_compiled_modules_and_no_source(wheel):
    with zipfile.ZipFile(wheel.path) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        stubs = {name: archive.read(name).decode() for name in names if name.endswith(".py")}
    modules = {name.partition(".")[0] for name in names}
    sources = {
        path.removeprefix("src/").partition(".")[0] for path in read_tree(ROOT) if path.endswith(".py")
    }
    expected = {f"ref/{name}" for name in sources - {"softmax_ext/build"}}
    assert modules == {*expected, "ref/softmax_ext/_softmax_regression"}
    assert set(stubs) == {"ref/__init__.py", "ref/needle/__init__.py", "ref/softmax_ext/__init__.py"}
    assert not any("def " in text or "#" in text for text in stubs.values())
    assert all(name.endswith((".so", ".pyd")) for name in names if name not in stubs)


def test_every_python_file_says_whom_the_wheel_is_for(wheel):
    with zipfile.ZipFile(wheel.path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    native = {name for name in contents if "_softmax_regression" in name}
    assert {name for name, content in contents.items() if STUDENT.encode() not in content} == native


@pytest.mark.parametrize("name", ["two\nlines", "x" * 101])
def test_an_odd_name_is_refused(name):
    with pytest.raises(GraderError, match="cannot be a name"):
        reference.project({}, name)


def test_it_is_named_for_this_python_and_for_its_sources(wheel):
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{tag}-{tag}-" in wheel.path.name
    assert reference.project(read_tree(ROOT))["setup.py"].partition('version="')[2][:5] in wheel.path.name


@pytest.mark.parametrize("assignment", ["reference", "a1"])
def test_the_tests_with_it_run_in_a_new_environment(python, tmp_path, assignment):
    if assignment == "reference":
        names = ("test_with_ref.py", "conftest.py", "starter/pytest.ini")
        files = read_tree(ROOT) | {Path(name).name: (ROOT / name).read_bytes() for name in names}
    else:
        files = starter.build(config.load(SETTINGS), assignment).files
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_with_ref.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if assignment == "reference":
        assert result.returncode == 0, result.stdout
        assert " passed in " in result.stdout
        assert "skipped" not in result.stdout
    else:  # Task1 is to be written, Task0 and Task2 are absent
        assert " passed" not in result.stdout
        assert "failed" in result.stdout
        words = result.stdout.split()
        assert {word for word in words if word.endswith("Error:")} == {"NotImplementedError:"}


def test_help_shows_signatures_and_the_docstrings_that_students_have(python):
    text = ask(
        python,
        "import pydoc, ref.softmax, ref.linear, ref.needle.ops, ref.softmax_ext\n"
        "for thing in (ref.softmax, ref.linear.ManualLinear, ref.needle.ops.MatMul, "
        "ref.softmax_ext.softmax_regression_epoch_cpp):\n"
        "    print(pydoc.plain(pydoc.render_doc(thing)))",
    )
    for signature in (
        "softmax_loss(Z: 'np.ndarray', y: 'np.ndarray') -> 'np.floating'",
        "lr: 'float' = 0.1, batch: 'int' = 100) -> 'None'",
        "forward(self, input: 'torch.Tensor') -> 'torch.Tensor'",
        "gradient(self, out_grad: 'Tensor', node: 'Tensor')",
        "softmax_regression_epoch_cpp(X: object, y: object, theta: object, lr: object = 0.1, batch: object = 100)",
    ):
        assert signature in text
    assert "Return the softmax (cross-entropy) loss, averaged over the batch." in text
    assert "Tell nobody" not in text


def test_helpers_of_solutions_have_no_docstring(python):
    assert ask(python, "import ref.mnist; print(ref.mnist._read_idx.__doc__)") == "None\n"


def test_there_is_no_source_to_show(python):
    program = (
        "import inspect, ref.softmax\n"
        "try: print(inspect.getsource(ref.softmax.softmax_loss))\n"
        "except (OSError, TypeError): print('none')"
    )
    assert ask(python, program) == "none\n"


def planted(wheel, folder, name, content):
    path = folder / wheel.path.name
    path.write_bytes(wheel.path.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ref/softmax.py", "", "ref/softmax.py: does not belong in the wheel"),
        ("ref/softmax.c", "", "ref/softmax.c: does not belong in the wheel"),
        ("ref/x/__init__.py", f"# {LINE}", "ref/x/__init__.py:1: a line of the solution"),
        ("ref/x.so", f"\0\1{LINE}\0", "ref/x.so: a line of the solution"),
        ("ref/x.so", f"\0{ROOT}/src\0", "ref/x.so: a path of the staff"),
    ],
    ids=["python", "c", "stub", "strings", "path"],
)
def test_a_planted_leak_is_found(wheel, tmp_path, name, content, message):
    path = planted(wheel, tmp_path, name, content)
    with pytest.raises(NotReady, match=message):
        reference.nothing_leaks(config.load(SETTINGS), read_tree(ROOT), path)


def test_what_cython_stores_can_be_read_by_the_check(wheel):
    with zipfile.ZipFile(wheel.path) as archive:
        (module,) = (name for name in archive.namelist() if name.startswith("ref/linear."))
        assert b"call forward first" in archive.read(module)


# never where student code is graded ----------------------------------------------------------------------


@pytest.mark.sandbox
def test_the_wall_hides_an_installed_reference(wheel, tmp_path, monkeypatch):
    site = tmp_path / "lib" / "site-packages"
    with zipfile.ZipFile(wheel.path) as archive:
        archive.extractall(site)
    here = policy.Interpreter.current()
    known = policy.Interpreter(here.executable, here.prefixes, (*here.site_packages, str(site)))
    monkeypatch.setattr(policy.Interpreter, "current", classmethod(lambda _cls: known))
    (tmp_path / "probes.py").write_text(PROBES)
    code = """
        import importlib, os, sys

        def go():
            seen = [folder for folder in sys.path if os.path.isdir(folder + "/numpy") or "site-packages" in folder]
            try:
                import ref.softmax
                return "found"
            except ImportError as error:
                return [str(error), len(seen) > 0]
    """
    with (
        find("auto").make(WallSettings(tmp_path / "probes.py")) as wall,
        wall.open(submission(code)) as session,
    ):
        outcome = session.run("call", ("go",))
    assert outcome.value == ["No module named 'ref'", True]


def test_without_a_wall_an_installed_reference_is_refused(tmp_path, monkeypatch):
    (tmp_path / "ref").mkdir()
    known = policy.Interpreter("/py", (), (str(tmp_path),))
    monkeypatch.setattr(policy.Interpreter, "current", classmethod(lambda _cls: known))
    with pytest.raises(GraderError, match=r"the reference is installed here .* -m pip uninstall ref"):
        find("none").make(WallSettings(tmp_path / "probes.py"))
