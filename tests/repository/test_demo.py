"""The university of `make demo`, from nothing to the feedback of four students."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT


@pytest.mark.sandbox
def test_four_students_push_and_each_gets_an_answer():
    done = subprocess.run(
        [sys.executable, "-m", "demo.university"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^--- (\w+) .*$", done.stdout, flags=re.MULTILINE)
    found = dict(zip(*[iter(parts[1:])] * 2, strict=True))
    assert list(found) == ["ann", "bo", "cy", "dora"]
    assert "| Total | 100 | 😊 |" in found["ann"]
    assert "| Total | 67 | 🥺 |" in found["bo"]
    assert "| Total | 0 | 🥺 |" in found["cy"]
    assert "does not change your score" in found["dora"]
    assert len(re.findall(r"feedback is there, [0-9.]+ s after the push$", done.stdout, re.MULTILINE)) == 4
    (folder,) = re.findall(r"^autograder \S+, (.*)/autograder\.toml$", done.stdout, re.MULTILINE)
    assert not Path(folder).exists()
