"""The commands of docs/a-course-of-your-own.md, with the wheel installed in a new environment."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.sandbox, pytest.mark.service, pytest.mark.release, pytest.mark.timeout(600)]

DOCUMENT = (ROOT / "docs" / "a-course-of-your-own.md").read_text("utf-8")
BUILD = "import setuptools.build_meta as build; print(build.build_wheel('dist'))"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home directory with an environment ~/grader that has the wheel, and sees the other packages of this one."""
    home = tmp_path_factory.mktemp("home")
    project = home / "project"
    shutil.copytree(ROOT / "autograder", project / "autograder", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):  # links to files outside of autograder/ became their content
        shutil.copy(ROOT / name, project / name)
    subprocess.run([sys.executable, "-c", BUILD], cwd=project, check=True, capture_output=True)
    wheel = next((project / "dist").glob("*.whl"))
    venv.create(home / "grader", with_pip=False)
    python = home / "grader" / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True)
    site = next((home / "grader").glob("lib/python3*/site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.rmtree(project)
    return home


def commands(title):
    """Return the commands of one section of the document."""
    section = DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))


def run(home, script):
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "AUTOGRADER_SERVICE_LISTEN": "127.0.0.1:0",
        **{f"GIT_{role}_NAME": "ann" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "ann@uni.example" for role in ("AUTHOR", "COMMITTER")},
    }
    environment |= {key: os.environ[key] for key in ("TMPDIR", "CXX") if key in os.environ}
    # set -m: the service is a group of its own, which ends with the script whatever happens
    text = f"set -euxm\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}"
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_from_an_empty_folder_to_a_graded_push(home):
    script = commands("A course and its first assignment") + commands("A graded push")
    shown = run(home, script + 'python -c "import autograder; print(autograder.__file__)"\n')
    assert f"{home}/grader/lib/" in shown.splitlines()[-1] or f"{home}/grader/lib/" in shown
    assert "ok    a0: the sandbox starts, and the reference passes the suite" in shown
    assert "Nothing to do: no finding." in shown
    assert "scores: reference 100 / 100, starter 0 / 100" in shown
    assert re.search(r"wrong-touching +a0 +75 / 100", shown)
    assert "| Total | 100 | 😊 | |" in shown
    more = run(home, "export PATH=~/grader/bin:$PATH AUTOGRADER_CONFIG=~/compilers/autograder.toml\n"
               + commands("The next assignments"))  # fmt: skip
    assert "ok    a2: the sandbox starts, and the reference passes the suite" in more
    settings = (home / "compilers" / "autograder.toml").read_text()
    assert 'task = "Task7"' in settings
    assert 'repositories = ["course/a2-*"]' in settings
    assert (home / "starter2" / "src" / "a2_ext" / "build.py").is_file()
