"""How pytest runs the tests here. Given: nothing in this file is to be filled in.

A test with `@pytest.mark.own_process` runs in a process of its own. C++ that crashes or never ends then costs that test
alone, and Ctrl-C ends it. A test that takes `rng` has random inputs: new at every run, or those of `--seed N`.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent
REPORTS = "TEST_REPORTS"  # variable: the file to which a process of its own writes its reports
STYLE = "TEST_TRACEBACK"  # variable: how long its tracebacks are
SETUP_SECONDS = 300.0  # until the test itself begins, which may have to compile first
SECONDS = 20.0  # for the test itself; an argument of the marker takes precedence
KEPT = 20_000  # characters that are shown of the end of each output
POLL_SECONDS = 0.02


def pytest_addoption(parser):
    group = parser.getgroup("course")
    group.addoption("--seed", type=int, help="random inputs as in a run that printed this seed")
    group.addoption("--device", default="cpu", help="where PyTorch computes, such as cuda (default: cpu)")


def pytest_configure(config):
    config.addinivalue_line("markers", "own_process(seconds): run the test in a process of its own")
    if config.getoption("seed") is None:
        config.option.seed = secrets.randbelow(1 << 31)
    if os.environ.get(REPORTS):
        config.option.tbstyle = os.environ[STYLE]
        config.pluginmanager.register(_Reporter(Path(os.environ[REPORTS]), config))


def pytest_report_header(config):
    return f"random inputs: --seed {config.getoption('seed')} repeats them"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("own_process"):  # such a test is timed by this file alone
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.fixture
def rng(request):
    """A random generator. It depends on the seed and on the test, so one test alone gets the same inputs again."""
    import numpy as np

    name = request.node.nodeid.encode()
    return np.random.default_rng([request.config.getoption("seed"), *name])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """The summary shows the first line of a message, which is the hint, and the seed of random inputs is beside it."""
    report = yield
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            crash.message = crash.message.partition("\n")[0]
        if "rng" in getattr(item, "fixturenames", ()):
            seed = f"--seed {item.config.getoption('seed')} repeats these inputs"
            report.sections.append(("Random inputs", seed))
    return report


# A process for one test ----------------------------------------------------------------------------------


class _Reporter:
    """In a process of its own: writes each report to a file, a line each."""

    def __init__(self, path, config):
        self._path, self._config = path, config

    def pytest_runtest_logreport(self, report):
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with self._path.open("a") as file:
            file.write(f"{json.dumps(data)}\n")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    marker = item.get_closest_marker("own_process")
    if marker is None or os.environ.get(REPORTS) or item.config.getoption("usepdb"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _run(item, *marker.args, **marker.kwargs):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run(item, seconds=SECONDS):
    """Run a test in a process of its own; return its reports."""
    config = item.config
    options = [f"--{name}={config.getoption(name)}" for name in ("seed", "device")]
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:terminal", "-p", "no:cacheprovider"]
    command += ["--rootdir", str(config.rootpath), *options, item.nodeid]
    with tempfile.TemporaryDirectory() as name:
        reports, out, err = (Path(name, part) for part in ("reports", "out", "err"))
        reports.touch()
        environment = os.environ | {REPORTS: str(reports), STYLE: config.getoption("tbstyle")}
        environment["PYTEST_ADDOPTS"] = "-o addopts="
        streams = {}
        if config.getoption("capture") != "no":
            streams = {"stdout": out.open("wb"), "stderr": err.open("wb")}
        begun = time.monotonic()
        process = subprocess.Popen(command, cwd=config.rootpath, env=environment, **streams)
        try:
            ended, limit, setup = None, begun + SETUP_SECONDS, True
            while ended is None and time.monotonic() < limit:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    ended = process.wait(POLL_SECONDS)
                if setup and reports.stat().st_size:  # the report of the setup: now the test itself runs
                    setup, limit = False, time.monotonic() + seconds
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in streams.values():
                stream.close()
        lines = reports.read_text().splitlines()
        found = [
            config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
            for line in lines
        ]
        sections = [
            (f"Captured {path.name} of the process", text)
            for path in (out, err)
            if path.exists() and (text := _shown(path.read_bytes().decode(errors="replace")))
        ]
        if ended is None or ended < 0 or not any(report.when == "teardown" for report in found):
            kept = [report for report in found if report.when == "setup"]
            found = [
                *kept,
                *_lost(item, ended, SETUP_SECONDS if setup else seconds, time.monotonic() - begun),
            ]
        for report in found:
            if report.failed:
                report.sections.extend(sections)
        return found


def _shown(output):
    """Return the end of an output, without the lines of a stack that are pytest's own."""
    lines = output[-KEPT:].strip().splitlines()
    ours = ("site-packages", "<frozen ", "dist-packages")
    return "\n".join(
        line for line in lines if not (line.startswith("  File ") and any(part in line for part in ours))
    )


class _Message:
    """What pytest shows of a failure: here one line, which the summary repeats."""

    def __init__(self, text):
        self.reprcrash = SimpleNamespace(message=text)

    def __str__(self):
        return self.reprcrash.message

    def toterminal(self, tw):
        tw.line(str(self), red=True)


def _lost(item, ended, seconds, duration):
    """Return the reports of a test whose process ended before the test did, or had to be ended."""
    if ended is None:
        message = (
            f"no end after {seconds:.0f} s: look for an endless loop in your C++ "
            "(a std::size_t is never negative, so `i >= 0` always holds)"
        )
    elif ended < 0:
        name = signal.Signals(-ended).name if -ended in {*signal.Signals} else f"signal {-ended}"
        message = f"your C++ crashed ({name}): it reads or writes outside an array, or frees one twice"
        message += "; AddressSanitizer names the line, see README.md"
    else:
        message = (
            f"the process of this test ended with status {ended} before the test did: see what it printed"
        )
    for when, outcome, text in (("call", "failed", _Message(message)), ("teardown", "passed", None)):
        yield pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={item.name: 1},
            outcome=outcome,
            longrepr=text,
            when=when,
            duration=duration if when == "call" else 0.0,
        )
