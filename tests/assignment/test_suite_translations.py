"""Students of a Chinese course can read the suites: what the cases name has a translation in the suite's catalogue."""

import pytest

from autograder.config import load
from autograder.grading.grader import Grader
from tests.support import ROOT


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    """Our course, in Chinese."""
    text = (ROOT / "autograder.toml").read_text(encoding="utf-8")
    text = text.replace('suite = "hidden/', f'suite = "{ROOT}/hidden/')
    text = text.replace('\nreference = "."', f'\nreference = "{ROOT}"')
    file = tmp_path_factory.mktemp("chinese") / "autograder.toml"
    file.write_text(f'{text}\n[feedback]\nlanguage = "zh-CN"\n', encoding="utf-8")
    return file


@pytest.mark.sandbox
@pytest.mark.parametrize("assignment", ["a0", "a1", "a2"])
def test_every_name_in_a_suite_has_its_translation(config_file, assignment):
    with Grader(load(config_file), assignment, config_file=config_file) as grader:
        grader.ready()
        assert grader.untranslated == []
