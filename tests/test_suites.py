"""The hidden suites: the solved assignment passes every case, and every case rejects wrong submissions.

The wrong submissions are in tests/wrong_submissions: one file per suite, each submission a small change to
the solved assignment, and the numbers of the cases that it fails. Most mistakes were seen in public solutions
of this homework. Some are right, in another way than ours: they fail nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.samples import changed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
TABLES = REPOSITORY / "tests" / "wrong_submissions"
SUITES = ("a0", "a1", "a2")

pytestmark = pytest.mark.timeout(900)  # the first test grades all submissions: a minute on two idle cores


@dataclass(frozen=True)
class Submission:
    """A change to one file of the solved assignment.

    Attributes:
        name: what is wrong with it.
        fails: numbers of the cases that reject it; all others do not.
        file: the file that is changed.
        change: pairs (text as it is, text instead); every occurrence is replaced.
    """

    suite: str
    name: str
    fails: frozenset[int]
    file: str
    change: tuple[tuple[str, str], ...] = ()

    def write(self, root):
        """Put the solved `src` with this change below `root`."""
        unneeded = ("__pycache__", "_build", *(() if self.suite == "a1" else ("softmax_ext",)))
        shutil.copytree(REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns(*unneeded))
        path = root / self.file
        try:
            path.write_text(changed(path.read_text(), self.change))
        except ValueError as error:
            pytest.fail(f"{self.suite}, {self.name}: {self.file}: {error}")


def read(suite):
    table = tomllib.loads((TABLES / f"{suite}.toml").read_text())["submission"]
    return [Submission(**{"suite": suite, **entry, "fails": frozenset(entry["fails"])}) for entry in table]


SUBMISSIONS = [submission for suite in SUITES for submission in read(suite)]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Return {(suite, submission): {case: None or why it failed}}."""
    folder = tmp_path_factory.mktemp("submissions")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SOFTMAX_EXT_CACHE": str(folder / "cache")}
    jobs = []
    for suite in SUITES:
        roots = {str(REPOSITORY): (suite, "solved")}
        for number, submission in enumerate(SUBMISSIONS):
            if submission.suite == suite:
                submission.write(folder / str(number))
                roots[str(folder / str(number))] = (suite, submission.name)
        share = -(-len(roots) // os.cpu_count())
        jobs += [(suite, dict(list(roots.items())[i : i + share])) for i in range(0, len(roots), share)]

    def grade(job):
        suite, roots = job
        command = [sys.executable, "-m", "tests.suite_harness", suite, *roots]
        run = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, check=True)
        return {roots[root]: cases for root, cases in json.loads(run.stdout).items()}

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {key: cases for part in pool.map(grade, jobs) for key, cases in part.items()}


@pytest.mark.parametrize("suite", SUITES)
def test_the_solved_assignment_passes_every_case(verdicts, suite):
    assert verdicts[suite, "solved"] == dict.fromkeys(verdicts[suite, "solved"])


@pytest.mark.parametrize("submission", SUBMISSIONS, ids=lambda s: f"{s.suite}: {s.name}")
def test_a_submission_fails_the_cases_that_are_there_for_its_mistake(verdicts, submission):
    failed = {case: why for case, why in verdicts[submission.suite, submission.name].items() if why}
    numbers = {int(case.rpartition("Case")[2]) for case in failed}
    assert numbers == submission.fails, "\n".join(f"{case}: {why}" for case, why in failed.items())


@pytest.mark.parametrize("suite", SUITES)
def test_every_case_rejects_a_wrong_submission(verdicts, suite):
    rejecting = set().union(*(s.fails for s in SUBMISSIONS if s.suite == suite))
    assert rejecting == set(range(1, len(verdicts[suite, "solved"]) + 1))
