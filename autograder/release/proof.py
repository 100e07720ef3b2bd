"""Tries everything that must hold before a starter is handed out: scores, visible tests, no leaks."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from autograder.config import Config
from autograder.errors import GraderError
from autograder.grading.grader import Grader
from autograder.release import handout, leaks
from autograder.release.starter import Starter, belongs, release_config
from autograder.report import Report
from autograder.submission import PACKAGE

SHOWN = 12  # leaks in one message
TEST_SECONDS = 600.0


class NotReady(GraderError):
    """A proof failed, so nothing was handed out."""


def scores(settings: Config, config_file: Path, starter: Starter, checkout: Path, *, sandbox: str) -> Report:
    """Grade the reference and the starter in `checkout`; return the starter's report.

    Raises:
        NotReady: the reference does not get all points, the starter does not get its declared score, or the table of
            cases in a handout is not that of the suite.
        GraderError: grading fails.
    """
    declared = release_config(settings, starter.assignment).score
    root = settings.path(settings.reference)
    with Grader(settings, starter.assignment, config_file=config_file, sandbox=sandbox) as grader:
        reference, report = grader.grade(root), grader.grade(checkout)
    most = reference.max_points + sum(reference.extra.values())
    if reference.points != most:
        raise NotReady(
            f"the reference scores {reference.points} of {most} on {starter.assignment}; "
            f"to see why, run: autograder grade {root} -a {starter.assignment}"
        )
    if report.points != declared:
        passed = [case.name for case in report.cases if case.points]
        raise NotReady(
            f"the starter scores {report.points} of {report.max_points}, but declares {declared} (it passes "
            f"{', '.join(passed) or 'nothing'}); correct it, or assignments.{starter.assignment}.release.score"
        )
    points = {case.name: case.max_points for case in report.cases}
    for name, document in settings.starter_of(starter.assignment).handout.items():
        if wrong := handout.wrong_points(starter.files[name].decode(), points):
            raise NotReady(f"the table of cases in {document} is not that of the suite: {'; '.join(wrong)}")
    return report


def visible_tests(settings: Config, starter: Starter, checkout: Path) -> Counter[str]:
    """Run the visible tests in `checkout`; return how many passed, were skipped, and failed for a missing solution.

    Compiled files are kept in the grader's state folder, so that the given files are compiled only once.

    Raises:
        NotReady: the tests cannot be collected, or one fails with anything but NotImplementedError.
    """
    seen: Counter[str] = Counter()
    for tests in starter.tests:
        seen += _visible_tests(settings, starter, checkout, tests)
    stubs = [path for path in starter.theirs if path.startswith(f"{PACKAGE}/")]
    shown = ", ".join(starter.tests)
    if starter.tests and stubs and not seen["to write"]:
        raise NotReady(f"{shown} of the starter passes, although {', '.join(sorted(stubs))} have stubs")
    if starter.tests and not stubs and not seen["passed"]:
        raise NotReady(f"{shown} of the starter tests nothing")
    return seen


def extension_caches(settings: Config) -> dict[str, str]:
    """Return the environment variables by which C++ extensions are compiled in the grader's state folder, once."""
    builds = [assignment.build for assignment in settings.assignments.values()]
    return {
        f"{Path(build.cpp).name.upper()}_CACHE": str(settings.state / "release" / Path(build.cpp).name)
        for build in builds
        if build and build.cpp
    }


def _visible_tests(settings: Config, starter: Starter, checkout: Path, tests: str) -> Counter[str]:
    with tempfile.TemporaryDirectory(prefix="autograder-release-") as name:
        result = Path(name) / "result.xml"
        variables = {
            key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "CXX") if key in os.environ
        } | {"PYTHONDONTWRITEBYTECODE": "1", **extension_caches(settings)}
        arguments = ("-q", "-p", "no:cacheprovider", f"--junitxml={result}", tests)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments],
                cwd=checkout, env=variables, capture_output=True, text=True, timeout=TEST_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotReady(f"{tests} of the starter did not end within {TEST_SECONDS:.0f} s") from None
        if not result.exists():
            raise NotReady(
                f"{tests} of the starter cannot be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        task = release_config(settings, starter.assignment).task
        return _counted(ET.parse(result).getroot(), tests, task)  # noqa: S314 (our own pytest wrote it)


def _counted(root: ET.Element, tests: str, task: str) -> Counter[str]:
    seen: Counter[str] = Counter()
    for test in root.iter("testcase"):
        name = test.get("name", "")
        if (error := test.find("error")) is not None:
            last = (error.text or "").strip().rpartition("\n")[2]
            raise NotReady(f"{tests} of the starter: {name}: {error.get('message', '')[:300]}: {last[:300]}")
        if (failure := test.find("failure")) is not None:
            message = failure.get("message", "")
            if not message.startswith(f"NotImplementedError: {task}"):
                raise NotReady(
                    f"{tests} of the starter: {name} fails, but not for a missing solution: {message[:300]}"
                )
            seen["to write"] += 1
        else:
            seen["skipped" if test.find("skipped") is not None else "passed"] += 1
    return seen


def nothing_leaks(settings: Config, starter: Starter, objects: Mapping[str, bytes]) -> int:
    """Look for leaks in the files of a starter and in `objects`, which is everything in its repository.

    Returns:
        The number of lines that were looked for.

    Raises:
        NotReady: something leaks, or the configuration does not name a file.
    """
    for path in starter.files:
        if not belongs(settings, starter.assignment, path):
            raise NotReady(f"{path} does not belong in a starter")
    detector = leaks.detector(
        settings, withheld=starter.withheld, released=starter.files, public=starter.public
    )
    found = [leak for path, content in starter.files.items() for leak in detector.scan(path, content)]
    if not found:  # otherwise the objects would repeat the same leaks
        found = [leak for name, content in objects.items() for leak in detector.scan(name, content)]
    if found:
        shown = "\n  ".join(map(str, found[:SHOWN]))
        more = f"\n  and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise NotReady(
            f"{len(found)} leaks; remove them, or declare a line in assignments.{starter.assignment}.release.public:"
            f"\n  {shown}{more}"
        )
    return len(detector.lines)
