"""Every sample in samples/ is graded by the hidden suites and comes to what its expect.toml says.

All samples of one assignment are graded by one grader, several at a time, so hostile ones have neighbours to
disturb: the harmless ones among them notice. `tests.samples` makes checkouts of them.

After that nothing of them may be left: no process, no mount, no file.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from autograder.batch import head_commit, write_single
from autograder.config import SECRET_VARIABLE, STATE_FOLDER, load
from autograder.grade import Graded, Grader
from autograder.report import MAX_MESSAGE, Report, markdown
from autograder.submission import digest
from tests import engine
from tests.samples import (
    ALL,
    REPOSITORY,
    SAMPLES,
    STUBS,
    Expectation,
    Sample,
    build,
    without_solution,
)
from tests.walls import needs_wall, why_no_wall

THREAT_MODEL = REPOSITORY / "docs" / "threat-model.md"
FAMILIES = ("reference", "starter", "partial", "broken", "slow", "wrong", "hostile")
SECONDS = {"a0": 2, "a2": 4}
"""Time limit of every case here: some samples use it up on purpose. In a1 it is what it always is."""
LIMITS = {"memory_bytes": 384 << 20, "tmp_bytes": 32 << 20, "tmp_files": 1000, "output_bytes": 16 << 20}
"""For a0: half or less of what is usual, so that it is reached sooner."""
IN_FLIGHT = {"a0": 6, "a1": 3, "a2": 3}
"""Those who use up their time in a0 mostly sleep, so more of them than processors are graded at a time."""
IN_CONTAINERS = (
    *("reference-a0", "reference-a2", "hostile-proc", "hostile-network", "hostile-sockets"),
    *("hostile-read-host", "hostile-fork-outlives", "hostile-state-in-files", "hostile-memory"),
)
"""Graded in containers too, where each costs a start of Python and of torch. With SAMPLES_IN_CONTAINERS=all in the
environment all of them are."""
CONTAINED = [s for s in ALL if s.name in IN_CONTAINERS or os.environ.get("SAMPLES_IN_CONTAINERS") == "all"]
CASES = [
    *(pytest.param("bwrap", sample, marks=needs_wall, id=sample.name) for sample in ALL),
    *(pytest.param("docker", s, marks=engine.needs_engine, id=f"docker-{s.name}") for s in CONTAINED),
]


# ── grading ──────────────────────────────────────────────────────────────────────────────────────────────


def short_course(folder: Path, sandbox: str = "") -> Path:
    """Copy the staff repository's course, with short time limits; return its configuration file.

    `sandbox` is added to the configuration, such as a table [sandbox].
    """
    for part in ("src", "hidden"):
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    settings = (REPOSITORY / "autograder.toml").read_text("utf-8")
    for name, seconds in SECONDS.items():
        suite = folder / "hidden" / name / "test_score.py"
        text = suite.read_text("utf-8")
        suite.write_text(re.sub(r"mark\.timeout\(\d+\)", f"mark.timeout({seconds})", text), "utf-8")
        settings = settings.replace(f"[assignments.{name}]", f"[assignments.{name}]\ntimeout = {seconds}")
    settings += f"\n{sandbox}\n[assignments.a0.limits]\n" + "".join(
        f"{key} = {value}\n" for key, value in LIMITS.items()
    )
    (folder / "autograder.toml").write_text(settings, "utf-8")
    builds = REPOSITORY / STATE_FOLDER / "builds"  # what was compiled in an earlier run is used again
    builds.mkdir(parents=True, exist_ok=True)
    (folder / STATE_FOLDER).mkdir()
    (folder / STATE_FOLDER / "builds").symlink_to(builds)
    return folder / "autograder.toml"


@dataclass
class Course:
    """Grades samples, each once, and remembers what was left behind."""

    folder: Path
    config_file: Path
    left_behind: list[str]

    def grade(self, samples: list[Sample]) -> dict[str, Graded]:
        """Grade samples of one assignment: first those that bear company, then one by one those that do not."""
        checkouts = {build(sample, self.folder / "checkouts" / sample.name): sample for sample in samples}
        before = {
            path: fingerprint(path) for path in (*checkouts, self.folder / "hidden", self.folder / "src")
        }
        config, name = load(self.config_file), samples[0].expected.assignment
        results: dict[str, Graded] = {}
        others = set(descendants())  # of tests before: a server that forks for them stays until the end
        with Grader(config, name, config_file=self.config_file, sandbox=config.sandbox.kind) as grader:
            grader.ready()
            processes = len(descendants())
            for alone, jobs in ((False, IN_FLIGHT[name]), (True, 1)):
                work = [(path, None) for path, sample in checkouts.items() if sample.expected.alone is alone]
                for graded in grader.grade_many(work, jobs=jobs):
                    results[graded.path.name] = graded
            if (more := settled(lambda: len(descendants()), processes)) != processes:
                self.left_behind.append(f"{name}: {more} processes behind the grader, {processes} before")
        if settled(lambda: len(set(descendants()) - others), 0):
            left = set(descendants()) - others
            self.left_behind.append(f"{name}: processes {left} after the grader was closed")
        self.left_behind += [f"{path} was changed" for path in before if fingerprint(path) != before[path]]
        return results


def fingerprint(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Every entry of a folder with its kind, and of a file its size and time; links are not followed."""
    entries = {}
    for path in folder.rglob("*"):
        if not {"__pycache__", "_build"} & {*path.parts}:  # made where the reference is imported
            facts = path.lstat()
            is_folder = stat.S_ISDIR(facts.st_mode)
            entries[path] = (facts.st_mode, *(() if is_folder else (facts.st_size, facts.st_mtime_ns)))
    return entries


def descendants() -> list[int]:
    """Every process below this one. It adopts orphans, so none of its grader's can get out of sight."""
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        for task in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            try:
                children = [int(pid) for pid in task.read_text().split()]
            except OSError:
                continue  # ended meanwhile
            alive = [pid for pid in children if not is_zombie(pid)]
            found += alive
            queue += alive
    return found


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def settled(measure: Callable[[], int], expected: int) -> int:
    """Measure until it is as expected, for some seconds: processes take a moment to end."""
    deadline = time.monotonic() + 5
    while (got := measure()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return got


def mounts() -> list[str]:
    """What is mounted here, but for what an engine mounts for containers, ours or others'."""
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if "/docker/" not in line]


PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Course]]:
    """A course for each wall, made when it is asked for."""
    temporary = tmp_path_factory.mktemp("temporary")
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    mounted = mounts()
    left_behind: list[str] = []
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as images:
        patch.setenv("TMPDIR", str(temporary))  # the grader's
        patch.setenv(SECRET_VARIABLE, "the inputs of the samples are the same in every run")

        @functools.cache
        def course(wall: str) -> Course:
            sandbox = f'[sandbox]\nkind = "{wall}"\n'
            if wall == "docker":
                image = images.enter_context(engine.host_image())
                sandbox += f'image = "{image}"\nvolumes = {engine.volumes()}'
            folder = tmp_path_factory.mktemp(wall)
            return Course(folder, short_course(folder, sandbox), left_behind)

        yield course
        if not engine.why_no_engine():
            left_behind += [f"container {name} is left" for name in engine.containers()]
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    left_behind += [f"{path} is left" for path in temporary.rglob("*")]
    if mounts() != mounted:
        left_behind.append("a mount is left")
    assert left_behind == []


Results = Mapping[tuple[str, str], Graded]


@pytest.fixture(scope="module")
def results(courses: Callable[[str], Course], request: pytest.FixtureRequest) -> Results:
    """All samples that were asked for, graded, by wall and name."""
    tests = [
        item for item in request.session.items if item.path == Path(__file__) and hasattr(item, "callspec")
    ]
    wanted = [test.callspec.params for test in tests if "sample" in test.callspec.params]
    missing = {"bwrap": why_no_wall(), "docker": engine.why_no_engine()}
    graded: dict[tuple[str, str], Graded] = {}
    for wall in [wall for wall, reason in missing.items() if not reason]:
        for assignment in ("a0", "a1", "a2"):
            of_wall = [params["sample"] for params in wanted if params["wall"] == wall]
            samples = [sample for sample in of_wall if sample.expected.assignment == assignment]
            if samples:
                found = courses(wall).grade(samples)
                graded |= {(wall, name): result for name, result in found.items()}
    return graded


# ── the tests ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("wall", "sample"), CASES)
def test_a_sample_comes_to_what_it_expects(wall: str, sample: Sample, results: Results) -> None:
    graded, expected = results[wall, sample.name], sample.expected
    assert graded.fault is None, "a submission must not be able to stop its grading"
    report = graded.report
    table = "\n" + markdown([report])
    assert verdicts_of(report) == expected_verdicts(expected, report), table
    assert expected.points in (None, report.points), table
    message = expected.in_container or expected.message if wall == "docker" else expected.message
    assert [m for m in messages_of(report) if message not in m] == [], table
    assert_messages_are_harmless(report)


@needs_wall
def test_two_submissions_in_flight_cannot_meet(results: Results) -> None:
    """The pair of samples that try, were graded at the same time; unwalled, their code does meet."""
    sender, receiver = (SAMPLES / f"hostile-pair-{role}" / "src" for role in ("sender", "receiver"))
    if not {("bwrap", sender.parent.name), ("bwrap", receiver.parent.name)} <= results.keys():
        pytest.skip("the pair was not asked for")
    spans = [span_of(results["bwrap", folder.parent.name].report) for folder in (sender, receiver)]
    assert max(began for began, _ in spans) <= min(ended for _, ended in spans)


def test_without_a_wall_the_pair_does_meet(tmp_path: Path) -> None:
    """So the samples fail to meet because of the wall. Names are this test's own, and nobody is signalled."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    waiting = meeting("receiver", "print(meeting.receive(3.0))", port, tmp_path)
    calling = meeting("sender", "meeting.send(2.5, pids=())", port, tmp_path)
    try:
        received = waiting.communicate(timeout=60)[0].decode()
        calling.wait(60)
    finally:
        waiting.kill()
        calling.kill()
    kinds = [
        f"{family} {kind}" for family in ("AF_UNIX", "AF_INET") for kind in ("SOCK_STREAM", "SOCK_DGRAM")
    ]
    for channel in (*kinds, str(tmp_path)):
        assert repr(channel) in received


def meeting(role: str, statement: str, port: int, folder: Path) -> subprocess.Popen[bytes]:
    """Run the pair's module in a process of this machine, without any wall, less what would stay behind."""
    own = f"meeting.NAME, meeting.PORT, meeting.FOLDERS = 'meet-{port}', {port}, [{str(folder)!r}]"
    code = f"import meeting; {own}; meeting.libc.shmget = lambda *_: -1; {statement}"
    environment = {"PYTHONPATH": str(SAMPLES / f"hostile-pair-{role}" / "src"), "PATH": os.environ["PATH"]}
    return subprocess.Popen([sys.executable, "-B", "-c", code], env=environment, stdout=subprocess.PIPE)


def span_of(report: Report) -> tuple[float, float]:
    """When the grading of a submission began and ended, to the second."""
    began = datetime.fromisoformat(report.provenance["started"]).timestamp()
    return began, began + 1 + report.provenance["seconds"]


# ── attacks on the command, which no folder in a repository can hold ─────────────────────────────────────


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository with a commit of the starter, as a student might hand it in, .git and all."""
    sample = next(sample for sample in ALL if sample.name == "starter-a0")
    root = build(sample, tmp_path / "checkout")
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    return root


def test_the_configuration_of_a_checkout_runs_nothing(checkout: Path, tmp_path: Path) -> None:
    """Filters, monitors, hooks and the configuration of a submodule: git status would run each of them."""
    ran = tmp_path / "ran"
    settings = (
        ("filter.x.clean", f"touch {ran}; cat"),
        ("core.fsmonitor", f"touch {ran}"),
        ("core.pager", f"touch {ran}"),
    )
    for name, value in settings:
        subprocess.run(["git", "-C", str(checkout), "config", name, value], check=True)
    (checkout / ".git" / "info" / "attributes").write_text("* filter=x\n")
    os.utime(checkout / "src" / "linear.py", (0, 0))
    head_commit(checkout)
    assert not ran.exists()


def test_a_link_called_score_md_does_not_lead_the_grader_to_other_files(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("score.md", "score.json"):
        (checkout / name).symlink_to(precious)
    write_single([Report("a0", ())], checkout)
    assert precious.read_text() == "precious"


def verdicts_of(report: Report) -> dict[str, str]:
    return {case.name: case.verdict.value for case in report.cases}


def expected_verdicts(expected: Expectation, report: Report) -> dict[str, str]:
    """The verdict of each case; where the sample does not say, whatever it came to."""
    actual = verdicts_of(report)
    unknown = set(expected.verdicts) - {"*", *actual}
    assert not unknown, f"expect.toml names cases that do not exist: {unknown}"
    return {name: expected.verdicts.get(name, expected.verdicts.get("*", actual[name])) for name in actual}


def messages_of(report: Report) -> list[str]:
    return [case.message for case in report.cases if case.verdict.value != "passed"]


def assert_messages_are_harmless(report: Report) -> None:
    """Each is one short line that says something, without control characters or paths of the grader's."""
    for message in messages_of(report):
        assert 0 < len(message) <= MAX_MESSAGE + 1
        assert not [c for c in message if unicodedata.category(c)[0] == "C"]
        assert str(REPOSITORY) not in message
    rows = markdown([report]).splitlines()
    assert len(rows) == len(report.cases) + 5  # title, blank, two of the table's head, the total
    assert all(row.count("|") == 5 and row.count("`") in (0, 2) for row in rows[2:])


def test_the_starter_has_no_solution_left() -> None:
    for file in (REPOSITORY / "src").rglob("*.*"):
        if file.suffix in STUBS:
            text = without_solution(file.read_text("utf-8"), file.suffix)
            assert "SOLUTION" not in text, file
            if file.suffix == ".py":
                compile(text, str(file), "exec")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('why = "x"\nbase = "starter"\npoints = 0', "assignment"),
        ('assignment = "a0"\nwhy = "x"\nbase = "starter"', "needs points"),
        ('assignment = "a0"\nwhy = "x"\nbase = "starter"\npoint = 0', "unknown field `point`"),
        ('assignment = "a9"\nwhy = "x"\nbase = "starter"\npoints = 0', "Invalid enum value 'a9'"),
        ('assignment = "a0"\nwhy = ""\nbase = "starter"\npoints = 0', "why must be one line"),
        (
            'assignment = "a0"\nwhy = "x"\nbase = "starter"\n[verdicts]\n"*" = "pass"',
            "Invalid enum value 'pass'",
        ),
    ],
)
def test_a_mistake_in_an_expectation_is_found(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "expect.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        Sample.read(tmp_path)


def test_a_change_of_what_is_not_there_is_found(tmp_path: Path) -> None:
    text = 'assignment = "a0"\nwhy = "x"\nbase = "reference"\npoints = 0\n'
    text += '[change]\n"src/linear.py" = [["nowhere", ""]]\n'
    (tmp_path / "expect.toml").write_text(text)
    with pytest.raises(ValueError, match=r"src/linear.py: there is no 'nowhere' any more"):
        build(Sample.read(tmp_path), tmp_path / "checkout")


def test_every_sample_belongs_to_a_family_and_no_two_have_the_same_files() -> None:
    assert [sample.name for sample in ALL if not sample.name.startswith(FAMILIES)] == []
    contents: dict[object, str] = {}
    for sample in ALL:
        files = {
            str(p.relative_to(sample.folder)): p.read_bytes() for p in sample.folder.rglob("*") if p.is_file()
        }
        files.pop("expect.toml")
        said = sample.expected
        key = (digest(files), said.base, said.assignment, said.delete, said.solved)
        tables = (tuple(said.links.items()), tuple(said.change.items()))
        assert contents.setdefault((key, tables), sample.name) == sample.name


def test_the_threat_model_names_every_hostile_sample_and_no_other() -> None:
    tables = [line for line in THREAT_MODEL.read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {name for line in tables for name in re.findall(r"`([a-z0-9-]+)`", line.split("|")[1])}
    assert named == {
        sample.name.removeprefix("hostile-") for sample in ALL if sample.name.startswith("hostile-")
    }
