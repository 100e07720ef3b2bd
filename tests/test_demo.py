"""The university of `make demo`, from nothing to four answers."""

import re
import subprocess
import sys

from demo.university import FOLDER, REPOSITORY
from tests.walls import needs_wall


@needs_wall
def test_four_students_push_and_each_gets_an_answer():
    done = subprocess.run(
        [sys.executable, "-m", "demo.university"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = dict(
        zip(*[iter(re.split(r"^--- (\w+): .*$", done.stdout, flags=re.MULTILINE)[1:])] * 2, strict=True)
    )
    assert list(answers) == ["ann", "bo", "cy", "dora"]
    assert "| Total | 100 / 100 | 😊 |" in answers["ann"]
    assert "| Total | 40 / 100 | 🥺 |" in answers["bo"]
    assert "| Total | 0 / 100 | 🥺 |" in answers["cy"]
    assert "does not change your score" in answers["dora"]
    assert len(re.findall(r"feedback +[0-9.]+ s after the push began", done.stdout)) == 4
    assert not FOLDER.exists()
