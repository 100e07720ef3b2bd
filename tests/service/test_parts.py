"""Small parts of the service: logs, warm suite servers, what a student gets."""

import contextlib
import io
import json
import logging
import threading
from pathlib import Path

import pytest

from autograder.config import load
from autograder.errors import GraderError, SubmissionError
from autograder.report import from_json
from autograder.service import logs
from autograder.service.jobs import feedback_files
from autograder.service.jobs.graders import Graders
from autograder.service.logs import LOG, JsonLines, Repeats, about
from tests.support.course import RIGHT, CourseFolder
from tests.support.ledgers import commit, report
from tests.support.processes import until

# logs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def lines():
    """Send logs to a list of lines during the test."""
    root, own = logging.getLogger(), logging.getLogger("autograder")
    before = root.handlers[:], root.level, own.level, logs.threading.excepthook
    stream = io.StringIO()
    logs.set_up(stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])
    logs.threading.excepthook = before[3]
    logging.captureWarnings(capture=False)


def test_a_line_says_what_it_is_about(lines):
    with about(push=7):
        with about(job="grade:x"):
            LOG.info("fetched", extra={"files": 3})
        LOG.warning("still %s", "here")
    LOG.info("outside")
    first, second, third = lines()
    assert {**first, "time": ""} == {
        "time": "",
        "level": "info",
        "event": "fetched",
        "push": 7,
        "job": "grade:x",
        "files": 3,
    }
    assert (second["event"], second["push"], "job" in second) == ("still here", 7, False)
    assert "push" not in third


def test_a_line_stays_one_line_whatever_is_in_it(lines):
    LOG.info("odd", extra={"sender": "a\nb\u2028\u202ec\x1b[31m"})
    (line,) = lines()
    assert line["sender"] == "a\nb\u2028\u202ec\x1b[31m"


def test_an_error_comes_with_its_trace(lines):
    try:
        raise ValueError("no")
    except ValueError:
        LOG.exception("it failed")
    assert lines()[0]["trace"].endswith("ValueError: no")


def test_a_warning_that_repeats_is_logged_once_a_minute_with_the_number(lines):
    passed = [0.0]
    handler = next(each for each in logging.getLogger().handlers if isinstance(each.formatter, JsonLines))
    handler.filters[:] = [Repeats(monotonic=lambda: passed[0])]
    engine = logging.getLogger("dbos")
    for second in range(90):
        passed[0] = float(second)
        engine.warning("Exception listing queues: connection refused\nand a trace, number %s", second)
        LOG.warning("the lease could not be renewed", extra={"reason": "away"})
    LOG.warning("the lease could not be renewed", extra={"reason": "another reason"})
    LOG.info("step")
    LOG.info("step")
    found = [(line["event"].partition("\n")[0], line.get("repeated")) for line in lines()]
    assert found == [
        ("Exception listing queues: connection refused", None),
        ("the lease could not be renewed", None),
        ("Exception listing queues: connection refused", 59),
        ("the lease could not be renewed", 59),
        ("the lease could not be renewed", None),
        ("step", None),
        ("step", None),
    ]


# graders -------------------------------------------------------------------------------------------------


@pytest.fixture
def graders(tmp_path):
    course = CourseFolder(tmp_path)
    graders = Graders(load(course.config_file), course.config_file)
    graders.course = course
    yield graders
    graders.close()


@pytest.mark.sandbox
def test_a_server_that_died_is_started_again(graders):
    folder = graders.course.submission("one")
    assert graders.grade("t", folder, commit("one")).points == 100
    started = []
    make = graders._make
    graders._make = lambda *arguments, **values: started.append(make(*arguments, **values)) or started[-1]
    graders.interrupt("t")
    until(lambda: not graders._graders["t"][0].alive)
    assert graders.grade("t", folder, commit("one")).points == 100
    assert len(started) == 1


def runs_a_case(server):
    """Whether a case runs in the sandbox of a suite server: it is not the first process of its submission."""
    waiting = [server]
    while waiting:
        with contextlib.suppress(OSError):  # the process has ended
            process = Path(f"/proc/{waiting.pop()}")
            *outside, number = (
                (process / "status").read_text().partition("NSpid:")[2].partition("\n")[0].split()
            )
            if len(outside) == 2 and number != "1":
                return True
            for task in (process / "task").iterdir():
                waiting += (task / "children").read_text().split()
    return False


@pytest.mark.sandbox
def test_an_interrupted_submission_ends_at_once_without_a_verdict(graders):
    forever = graders.course.submission("one", "import time\n\ndef double(x):\n    time.sleep(1000)\n")
    graders.warm(["t"])
    grader = graders._graders["t"][0]
    grader.ready()

    def interrupt():
        until(lambda: runs_a_case(grader._server.pid))
        graders.interrupt("t")

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(GraderError, match="the suite server ended"):
        graders.grade("t", forever, commit("one"))
    thread.join()


@pytest.mark.sandbox
def test_what_cannot_be_graded_has_the_same_verdict_in_every_case(graders):
    found = graders.refused("t", SubmissionError("src is a file"), commit("one"))
    assert [(case.verdict.value, case.points, case.max_points, case.message) for case in found.cases] == [
        ("error", 0, 60, "src is a file"),
        ("error", 0, 40, "src is a file"),
    ]
    graded = graders.grade("t", graders.course.submission("one", RIGHT), commit("one"))
    assert found.provenance.keys() == graded.provenance.keys()
    assert from_json(found.to_json()) == found


def test_a_suite_that_cannot_start_is_a_fault_of_the_grader(graders):
    graders.course.write("hidden/t/test_score.py", "import nothing_of_that_name\n")
    with pytest.raises(GraderError, match="nothing_of_that_name"):
        graders.grade("t", graders.course.submission("one"), commit("one"))


# feedback files ---------------------------------------------------------------------------------------------


def test_the_feedback_is_the_report_below_the_note():
    files = feedback_files.graded(report(80), "Commit `1`: in time.")
    assert files["score.md"].decode().startswith("# Score Summary\n\nCommit `1`: in time.\n\n| Test Case |")
    assert json.loads(files["score.json"])["points"] == 80


def test_a_push_that_is_not_graded_shows_the_score_that_counts():
    standing = feedback_files.Standing(commit("old"), report(40))
    files = feedback_files.not_graded("a0", commit("new"), "Too late.", standing)
    text = files["score.md"].decode()
    assert f"Too late. Your score is 40 / 100, from commit `{commit('old')[:10]}`." in text
    assert json.loads(files["score.json"])["points"] == 40


def test_a_push_that_is_not_graded_and_no_score_yet():
    files = feedback_files.not_graded("a0", commit("new"), "Too early.", None)
    assert files["score.md"].decode() == "# Score Summary\n\nToo early. There is no score yet.\n"
    data = json.loads(files["score.json"])
    assert (data["cases"], data["points"], data["provenance"]) == ([], 0, {"commit": commit("new")})
    from_json(data)
