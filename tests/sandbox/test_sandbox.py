"""The sandbox at work: values there and back, each limit, each way to end, and whose fault it was."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from autograder.errors import GraderError, SubmissionError
from autograder.sandbox import session as session_module
from autograder.sandbox.bubblewrap import BwrapWall
from autograder.sandbox.inside.protocol import Opaque
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, Output, Status, interpret
from autograder.sandbox.policy import OPTIONAL, PROTECTIONS
from autograder.sandbox.session import StreamSession
from tests.support.walls import (
    PATIENCE,
    PATIENT,
    STOP,
    Stop,
    all_gone,
    below,
    keeper_of,
    new_wall,
    run,
    submission,
    value,
    wait_until,
)

pytestmark = pytest.mark.sandbox
MIB = 2**20


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BwrapWall]:
    """A wall whose fork server has imported neither NumPy nor torch: it starts fast."""
    with new_wall(tmp_path_factory.mktemp("wall")) as wall:
        yield wall


@pytest.fixture(scope="module")
def torch_wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BwrapWall]:
    with new_wall(tmp_path_factory.mktemp("wall"), preload=("numpy", "torch")) as wall:
        yield wall


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_probe_calls_the_submission_and_its_value_comes_back(wall: BwrapWall) -> None:
    assert value(wall, "def go(a, b): return {'sum': a + b, 'parts': (a, [b])}", 1, 2.5) == {
        "sum": 3.5,
        "parts": (1, [2.5]),
    }


def test_arrays_and_tensors_go_in_and_come_out(torch_wall: BwrapWall) -> None:
    torch = pytest.importorskip("torch")
    x, w = np.arange(6, dtype=np.float32).reshape(2, 3), torch.ones(3, requires_grad=True)
    code = """
        def go(x, w):
            import torch
            loss = (torch.from_numpy(x) @ w).sum()
            loss.backward()
            x += 1
            return x, w.grad, loss, x.dtype
    """
    got_x, grad, loss, dtype = value(torch_wall, code, x, w)
    np.testing.assert_array_equal(got_x, x + 1)
    torch.testing.assert_close(grad, torch.tensor([3.0, 5.0, 7.0]))
    assert loss.requires_grad
    assert loss.item() == 15.0
    assert dtype == np.float32


def test_several_megabytes_go_both_ways(torch_wall: BwrapWall) -> None:
    x = np.random.default_rng(0).random((1000, 1000))
    np.testing.assert_array_equal(value(torch_wall, "def go(x): return x.T", x), x.T)


def test_what_is_not_plain_data_comes_back_as_a_description(wall: BwrapWall) -> None:
    got = value(wall, "class Thing: pass\ndef go(): return Thing()")
    assert type(got) is Opaque
    assert got.type_name == "src.code.Thing"
    assert got.summary.startswith("<src.code.Thing object")


def test_output_is_kept_apart_from_the_value(wall: BwrapWall) -> None:
    outcome = run(wall, "import sys\ndef go():\n print('out')\n print('err', file=sys.stderr)\n return 1")
    assert (outcome.value, outcome.stdout.text, outcome.stderr.text) == (1, "out\n", "err\n")


def test_long_output_keeps_its_beginning_and_its_end(wall: BwrapWall) -> None:
    outcome = run(wall, "def go(): print('begin' + 'x' * 1_000_000 + 'end')")
    assert outcome.stdout.total_bytes == 1_000_009
    assert outcome.stdout.text.startswith("beginxx")
    assert outcome.stdout.text.endswith("xxend\n")
    assert "… 991817 bytes …" in outcome.stdout.text
    assert len(outcome.stdout.text) < 10_000


def test_modules_of_the_submission_import_each_other(wall: BwrapWall) -> None:
    files = submission(
        "from .other import one\nfrom src.deep.down import two\ndef go(): return one + two",
        **{"src/other.py": b"one = 1", "src/deep/__init__.py": b"", "src/deep/down.py": b"two = 2"},
    )
    with wall.open(files) as session:
        assert session.run("call", ("go",)).value == 3


def test_each_case_starts_from_the_same_state(wall: BwrapWall) -> None:
    files = submission("import random\nn = 0\ndef go():\n global n\n n += 1\n return n, random.random()")
    with wall.open(files) as session:
        first, second = session.run("call", ("go",)).value, session.run("call", ("go",)).value
    assert first == second
    assert first[0] == 1


def test_seconds_are_those_of_student_code(wall: BwrapWall) -> None:
    """They begin and end with it, and sleeping counts, unlike waiting for a processor."""
    code = (
        "import time\nbegan = time.monotonic()\ndef go():\n time.sleep(0.3)\n return began, time.monotonic()"
    )
    asked = time.monotonic()
    outcome = run(wall, code)
    returned = time.monotonic()
    began, ended = outcome.value
    assert asked < began < ended < returned
    assert 0.3 <= outcome.seconds <= returned - asked
    assert outcome.cpu_seconds < 0.3


def test_peak_memory_is_what_the_case_added(wall: BwrapWall) -> None:
    outcome = run(wall, "def go(): return len(bytearray(b'x') * 200_000_000)")
    assert 180 * MIB < outcome.peak_bytes < 300 * MIB


# ── how a case can end ───────────────────────────────────────────────────────────────────────────────────


def test_an_exception_names_the_line_of_the_submission(wall: BwrapWall) -> None:
    outcome = run(wall, "import json\ndef go():\n return json.loads('{')")
    assert outcome.status is Status.RAISED
    assert outcome.exception == "json.decoder.JSONDecodeError"
    assert outcome.message.startswith("Expecting property name")
    assert (outcome.file, outcome.line) == ("src/code.py", 3)


def test_a_syntax_error_names_the_line(wall: BwrapWall) -> None:
    outcome = run(wall, "x = 1\ndef go(:\n")
    assert (outcome.status, outcome.exception) == (Status.RAISED, "SyntaxError")
    assert (outcome.file, outcome.line) == ("src/code.py", 2)
    assert outcome.message.endswith("[Python {}.{}]".format(*sys.version_info[:2]))


def test_a_file_that_python_cannot_read_is_named(wall: BwrapWall) -> None:
    files = {"src/__init__.py": b"", "src/code.py": "x = 1\n".encode("utf-16")}
    with wall.open(files) as session:
        outcome = session.run("call", ("go",))
    assert (outcome.status, outcome.places[-1]) == (Status.RAISED, ("src/code.py", None))
    assert "null bytes" in outcome.message


@pytest.mark.parametrize("name", ["Code.py", "codes.py", "code .py"])
def test_a_missing_module_names_a_file_with_nearly_the_same_name(wall: BwrapWall, name: str) -> None:
    with wall.open({"src/__init__.py": b"", f"src/{name}": b""}) as session:
        outcome = session.run("call", ("go",))
    assert outcome.message == f"No module named 'src.code'; there is a file {name} in src"


def test_every_line_of_the_submission_in_the_traceback_is_told_up_to_a_bound(wall: BwrapWall) -> None:
    outcome = run(wall, "def deep(n):\n return deep(n - 1) if n else 1 / 0\ndef go(n):\n return deep(n)\n", 3)
    assert outcome.places == (("src/code.py", 4), *[("src/code.py", 2)] * 4)
    assert len(run(wall, "def go():\n return go()\n").places) == 20


def test_a_missing_module_is_the_students_error(wall: BwrapWall) -> None:
    with wall.open({"src/__init__.py": b""}) as session:
        outcome = session.run("call", ("go",))
    assert (outcome.status, outcome.exception) == (Status.RAISED, "ModuleNotFoundError")
    assert outcome.message == "No module named 'src.code'"


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("import sys\ndef go(): sys.exit(3)", Status.RAISED, "SystemExit"),
        ("def go(): raise KeyboardInterrupt", Status.RAISED, "KeyboardInterrupt"),
        ("def go(): raise MemoryError", Status.OUT_OF_MEMORY, "MemoryError"),
        ("import os\ndef go(): os._exit(0)", Status.EXITED, 0),
        ("import os\ndef go(): os._exit(7)", Status.EXITED, 7),
        ("import os\nos._exit(0)\ndef go(): pass", Status.EXITED, 0),
        ("import os\ndef go(): os.kill(os.getpid(), 9)", Status.CRASHED, 9),
        ("import os\ndef go(): os.abort()", Status.CRASHED, 6),
        ("import ctypes\ndef go(): ctypes.string_at(0)", Status.CRASHED, 11),
        ("def go(): raise RecursionError", Status.RAISED, "RecursionError"),
    ],
    ids=[
        *("sys.exit", "KeyboardInterrupt", "MemoryError", "exit 0", "exit 7", "exit at import"),
        *("SIGKILL", "SIGABRT", "SIGSEGV", "RecursionError"),
    ],
)
def test_ways_to_end(wall: BwrapWall, code: str, status: Status, detail: object) -> None:
    outcome = run(wall, code)
    assert outcome.status is status, outcome.describe()
    assert detail in (outcome.exception, outcome.exit_code, outcome.signal)


@pytest.mark.parametrize(
    "code",
    [
        "def go():\n while True: pass",
        "import time\ndef go(): time.sleep(1000)",
        "while True: pass",
        "import time\ndef go():\n while True:\n  try: time.sleep(1000)\n  except BaseException: pass",
        "import signal, time\ndef go():\n signal.pthread_sigmask(0, range(1, 65))\n time.sleep(1000)",
        "import os, signal\ndef go(): os.kill(os.getpid(), signal.SIGSTOP)",
        "import threading as t\ndef go():\n t.Thread(target=t.Event().wait).start()\n t.Event().wait()",
        "class E(Exception):\n def __str__(self):\n  while True: pass\ndef go(): raise E",
        "class R:\n def __repr__(self):\n  while True: pass\ndef go(): return R()",
    ],
    ids=["loop", "sleep", "import", "swallow", "mask", "stop", "thread", "str", "repr"],
)
def test_time_is_up(wall: BwrapWall, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        session_module, "GRACE_SECONDS", 3600.0
    )  # only pid 1 can end the case, not the session
    asked = time.monotonic()
    outcome = run(wall, code, timeout=0.3)
    assert outcome.status is Status.TIMEOUT
    assert 0.3 <= outcome.seconds <= time.monotonic() - asked


def test_cpu_time_is_limited_by_itself(wall: BwrapWall) -> None:
    outcome = run(wall, "def go():\n while True: pass", limits=replace(PATIENT, cpu_seconds=1))
    assert outcome.status is Status.CPU_TIMEOUT


def test_a_thread_left_behind_does_not_delay_the_reply(wall: BwrapWall) -> None:
    code = (
        "import threading as t, time\ndef go():\n t.Thread(target=time.sleep, args=(99,)).start()\n return 1"
    )
    assert value(wall, code) == 1


def test_a_large_allocation_raises_and_is_out_of_memory(wall: BwrapWall) -> None:
    outcome = run(wall, "def go(): bytearray(8 << 30)")
    assert (outcome.status, outcome.exception) == (Status.OUT_OF_MEMORY, "MemoryError")


def test_an_allocation_of_torch_that_fails_is_out_of_memory(torch_wall: BwrapWall) -> None:
    outcome = run(torch_wall, "import torch\ndef go(): return torch.zeros(8 << 30).sum()")
    assert (outcome.status, outcome.exception) == (Status.OUT_OF_MEMORY, "RuntimeError")


def test_memory_below_the_limit_is_there(wall: BwrapWall) -> None:
    assert value(wall, "def go(): return len(bytearray(b'x') * (700 << 20))") == 700 * MIB


def test_printing_without_end_is_stopped(wall: BwrapWall) -> None:
    outcome = run(
        wall, "def go():\n while True: print('x' * 10000)", limits=replace(PATIENT, output_bytes=MIB)
    )
    assert outcome.status is Status.OUTPUT_LIMIT
    assert outcome.stdout.total_bytes < 4 * MIB


@pytest.mark.parametrize(
    "code",
    [
        "def go(): return b'x' * 5_000_000",
        "def go():\n x = []\n x.append(x)\n return x",
        "def go(): return [0] * 2_000_000",
    ],
    ids=["bytes", "loop", "parts"],
)
def test_a_value_beyond_the_limits_is_refused(wall: BwrapWall, code: str) -> None:
    outcome = run(wall, code, limits=replace(PATIENT, reply_bytes=MIB))
    assert outcome.status is Status.REPLY_LIMIT
    assert outcome.message.startswith("the returned value is")


def test_files_are_bounded_in_size_number_and_sum(wall: BwrapWall) -> None:
    code = """
        import errno, os
        def attempt(action):
            try:
                action()
            except OSError as error:
                return errno.errorcode[error.errno]

        def one_file():
            with open("/tmp/a", "wb") as file:
                while True: file.write(b"x" * 65536)

        def all_files():
            for n in range(100):
                with open(f"/tmp/b{n}", "wb") as file: file.write(b"x" * (900 << 10))

        def many():
            for n in range(10_000): open(f"/dev/shm/{n}", "w").close()

        def open_many():
            return [open("/dev/null") for _ in range(10_000)]

        def go():
            return [attempt(action) for action in (one_file, all_files, many, open_many)]
    """
    limits = replace(PATIENT, file_bytes=MIB, tmp_bytes=8 * MIB, tmp_files=500)
    assert value(wall, code, limits=limits) == ["EFBIG", "ENOSPC", "ENOSPC", "EMFILE"]


def test_processes_are_bounded(wall: BwrapWall) -> None:
    code = """
        import os, time
        def go():
            for n in range(1000):
                try:
                    if os.fork() == 0:
                        time.sleep(100)
                except BlockingIOError:
                    return n
    """
    assert value(wall, code, limits=replace(PATIENT, processes=20)) == 19


def test_a_fork_bomb_ends_and_the_next_case_runs(wall: BwrapWall) -> None:
    code = """
        import os
        def go():
            while True:
                try: os.fork()
                except OSError: pass
        def fine(): return 1
    """
    with wall.open(submission(code)) as session:
        assert session.run("call", ("go",), timeout=0.5).status is Status.TIMEOUT
        assert session.run("call", ("fine",)).value == 1


def test_memory_of_many_processes_adds_up(wall: BwrapWall) -> None:
    code = """
        import os, time
        def go():
            for _ in range(8):
                if os.fork() == 0:
                    keep = bytearray(b"x") * (100 << 20)
                    time.sleep(100)
            time.sleep(100)
    """
    outcome = run(wall, code, limits=replace(PATIENT, memory_bytes=300 * MIB))
    assert outcome.status is Status.OUT_OF_MEMORY
    assert outcome.peak_bytes > 300 * MIB


# ── compiling ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_case_compiles_and_later_cases_load_the_result(wall: BwrapWall) -> None:
    files = submission("", **{"src/code.cpp": b'extern "C" int number() { return 42; }'})
    with wall.open(files) as session:
        built = session.run("compile_it", (), timeout=60)
        if not built.returned and "g++" in built.message:
            pytest.skip("no g++ on this machine")
        session.set_build({"code.so": built.value})
        assert session.run("load", ("/build/code.so",), build=True).value == 42
        session.close()  # the session opens the submission again, with its build
        assert session.run("load", ("/build/code.so",), build=True).value == 42


def test_files_of_a_build_have_different_names(wall: BwrapWall) -> None:
    with wall.open(submission("")) as session, pytest.raises(GraderError, match="need different names"):
        session.set_build({"a/x.so": b"", "b/x.so": b""})


# ── whose fault ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("probe", ["missing", "_private", "not_a_function", "__import__"])
def test_a_missing_probe_is_our_fault(wall: BwrapWall, probe: str) -> None:
    with wall.open(submission("")) as session, pytest.raises(GraderError, match=f"no function '{probe}'"):
        session.run(probe)


def test_inputs_that_are_not_plain_data_are_our_fault(wall: BwrapWall) -> None:
    with wall.open(submission("")) as session, pytest.raises(GraderError, match="set is not plain data"):
        session.run("echo", ({1},))


def test_a_probe_called_with_the_wrong_number_of_inputs_blames_no_line_of_the_student(
    wall: BwrapWall,
) -> None:
    with wall.open(submission("")) as session:
        outcome = session.run("nothing", (1,))
    assert (outcome.status, outcome.file) == (Status.RAISED, None)


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../x", "src/../../x", "src", "test_score.py", "src/\ud800", "src/" + "x" * 256),
        *("src/" + "x/" * 1500 + "x", "src/a\0b", "", "."),
    ],
    ids=[
        *("absolute", "parent", "parent below src", "folder", "beside src", "surrogate", "long name"),
        *("long path", "zero byte", "empty", "dot"),
    ],
)
def test_bad_file_names_are_the_submissions_fault(wall: BwrapWall, name: str) -> None:
    with pytest.raises(SubmissionError, match="a file name that cannot be used"):
        wall.open({name: b""})


def test_a_file_and_a_folder_of_one_name_are_refused(wall: BwrapWall) -> None:
    with pytest.raises(SubmissionError, match="a file and a folder of one name"):
        wall.open({"src/a": b"", "src/a/b": b""})


def test_a_fork_server_that_cannot_import_says_so(tmp_path: Path) -> None:
    with (
        new_wall(tmp_path, preload=("no_such_module",)) as wall,
        pytest.raises(GraderError, match="no_such_module"),
    ):
        wall.ready()


def test_probes_that_do_not_load_say_so(tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text("import nothing_like_this")
    with (
        BwrapWall(tmp_path / "probes.py") as wall,
        pytest.raises(GraderError, match="nothing_like_this"),
    ):
        wall.ready()


def test_warm_up_is_called_once_before_the_first_submission(tmp_path: Path) -> None:
    (tmp_path / "probes.py").write_text(
        "calls = []\ndef warm_up(): calls.append(1)\ndef count(): return len(calls)"
    )
    with BwrapWall(tmp_path / "probes.py") as wall, wall.open({"src/__init__.py": b""}) as session:
        assert session.run("count").value == 1
        assert session.run("count").value == 1


def test_the_end_of_the_wall_is_our_fault(tmp_path: Path) -> None:
    stop = Stop()
    with (
        new_wall(tmp_path) as wall,
        wall.open(submission(STOP + "def go(name): stop_at(name)")) as session,
        ThreadPoolExecutor() as pool,
    ):
        running = pool.submit(session.run, "call", ("go", stop.name))
        stop.wait_for()
        assert wall._process is not None
        wall._process.kill()
        with pytest.raises(GraderError, match="the sandbox broke"):
            running.result()


def test_a_closed_wall_opens_nothing(tmp_path: Path) -> None:
    wall = new_wall(tmp_path)
    wall.start()
    wall.ready()
    wall.close()
    with pytest.raises(GraderError, match="closed"):
        wall.open(submission(""))


def test_a_submission_that_vanishes_is_opened_again_and_the_case_repeated(wall: BwrapWall) -> None:
    stop = Stop()
    code = STOP + "def go(name):\n stop_at(name)\n return 5"
    with wall.open(submission(code)) as session, ThreadPoolExecutor() as pool:
        assert session.run("nothing").returned
        running = pool.submit(session.run, "call", ("go", stop.name))
        (first,) = stop.wait_for()
        os.kill(keeper_of(first), signal.SIGKILL)
        stop.release(stop.wait_for(but=[first]))
        assert running.result().value == 5


def test_a_submission_that_vanishes_twice_while_it_runs_is_its_own_fault(
    wall: BwrapWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, messages = Stop(), SimpleQueue[str]()
    receive = StreamSession._receive

    def recorded(session: StreamSession, deadline: float) -> tuple[Any, ...]:
        message = receive(session, deadline)
        messages.put(message[0])
        return message

    monkeypatch.setattr(StreamSession, "_receive", recorded)
    code = STOP + "def go(name): stop_at(name)"
    with wall.open(submission(code)) as session, ThreadPoolExecutor() as pool:
        running = pool.submit(session.run, "call", ("go", stop.name))
        killed: list[int] = []
        for _ in range(2):
            killed += stop.wait_for(but=killed)
            while messages.get(timeout=PATIENCE) != "started":  # else it would not be known that it ran
                pass
            os.kill(keeper_of(killed[-1]), signal.SIGKILL)
        outcome = running.result()
    assert (outcome.status, outcome.signal) == (Status.CRASHED, signal.SIGKILL)


# ── several at once ──────────────────────────────────────────────────────────────────────────────────────


def test_sessions_run_beside_each_other(wall: BwrapWall) -> None:
    """Eight cases wait at one stop: none goes on before all of them have come."""
    stop = Stop()
    code = STOP + "def go(name, n):\n stop_at(name)\n return n"
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(value, wall, code, stop.name, n) for n in range(8)]
        stop.release(stop.wait_for(8))
        assert [one.result() for one in running] == list(range(8))


def test_a_process_that_forked_may_open_sessions_and_does_not_end_the_wall(wall: BwrapWall) -> None:
    wall.ready()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if value(wall, "def go(): return 5") == 5 else 2
            wall.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert value(wall, "def go(): return 6") == 6


def test_closing_a_session_ends_its_processes(wall: BwrapWall) -> None:
    stop = Stop()
    session = wall.open(submission(STOP + "def go(name): stop_at(name)"))
    with ThreadPoolExecutor() as pool:
        running = pool.submit(session.run, "call", ("go", stop.name))
        (case,) = stop.wait_for()
        keeper = keeper_of(case)
        stop.release([case])
        assert running.result().returned
    assert Path(f"/proc/{keeper}").exists()
    session.close()
    assert all_gone({case, keeper})


def test_a_grader_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    stop = Stop()
    pid = os.fork()
    if pid == 0:
        wall = new_wall(tmp_path)
        wall.start()
        session = wall.open(submission(STOP + "def go(name): stop_at(name)"))
        session.run("call", ("go", stop.name))
        os._exit(0)
    (case,) = stop.wait_for()
    # twice bubblewrap, the fork server, pid 1 of the submission, its case, the spare
    assert wait_until(lambda: len(below(pid)) >= 6)
    processes = set(below(pid))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert case in processes
    assert all_gone(processes)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at other users' namespaces")
def test_every_submission_has_namespaces_of_its_own(wall: BwrapWall) -> None:
    """Seen from outside: no namespace of a case is the wall's, or that of another submission."""
    code = "import time\ndef go(): time.sleep(30)"
    kinds = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")

    def namespaces(pids: set[int]) -> set[tuple[str, ...]]:
        found = set()
        for pid in pids:
            with contextlib.suppress(FileNotFoundError):
                found.add(tuple(str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in kinds))
        return found

    assert wall._process is not None
    with wall.open(submission(code)) as one, wall.open(submission(code)) as two:
        one.run("nothing"), two.run("nothing")
        of_all = namespaces({os.getpid(), *below(wall._process.pid)})
    for kind, names in zip(kinds, zip(*of_all, strict=True), strict=True):
        # at least this process's and those of two submissions; what they share with the wall would make two
        assert len(set(names)) >= 3, f"{kind}: {names}"


def test_protections_are_those_seen_from_inside(wall: BwrapWall) -> None:
    required = set(PROTECTIONS) - OPTIONAL - (set() if os.geteuid() == 0 else {"uid-drop"})
    assert required <= set(wall.protections)


# ── from facts to outcomes, without a sandbox ────────────────────────────────────────────────────────────

FACTS = {
    "reason": "replied",
    "status": 0,
    "importing": "",
    "seconds": 1.0,
    "cpu_seconds": 0.5,
    "peak_bytes": 10,
    "stdout": (b"", b"", 0),
    "stderr": (b"", b"", 0),
}


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"reason": "wall"}, Status.TIMEOUT),
        ({"reason": "starved"}, Status.STARVED),
        ({"reason": "memory"}, Status.OUT_OF_MEMORY),
        ({"reason": "output"}, Status.OUTPUT_LIMIT),
        ({"reason": "reply"}, Status.REPLY_LIMIT),
        ({"reason": "ended", "status": 0}, Status.EXITED),
        ({"reason": "ended", "status": 3 << 8}, Status.EXITED),
        ({"reason": "ended", "status": 9}, Status.CRASHED),
        ({"reason": "ended", "status": 9, "cpu_seconds": 41.0}, Status.CPU_TIMEOUT),
        ({"reason": "ended", "status": 24}, Status.CPU_TIMEOUT),
        ({"reason": "ended", "status": 11 | 128}, Status.CRASHED),
        ({"reason": "replied"}, Status.BAD_REPLY),
    ],
)
def test_facts_become_a_status(facts: dict[str, object], status: Status) -> None:
    assert interpret({**FACTS, **facts}, b"", Limits()).status is status


def test_output_that_is_not_text_is_readable() -> None:
    outcome = interpret({**FACTS, "stdout": (b"\xff\x00", b"end", 100)}, b"", Limits())
    assert outcome.stdout == Output("\ufffd\0\n… 95 bytes …\nend", 100)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(Status.RETURNED), "returned"),
        (Outcome(Status.CRASHED, signal=11), "crashed with SIGSEGV"),
        (Outcome(Status.CRASHED, signal=99), "crashed with signal 99"),
        (Outcome(Status.EXITED, exit_code=3), "exited with code 3 before it returned"),
        (
            Outcome(Status.RAISED, exception="ValueError", message="no", file="src/a.py", line=3),
            "raised: ValueError: no (src/a.py, line 3)",
        ),
        (Outcome(Status.BAD_REPLY, message="the reply is odd"), "bad reply: the reply is odd"),
    ],
    ids=["returned", "signal", "unknown signal", "exited", "raised", "bad reply"],
)
def test_an_outcome_describes_itself_in_one_line(outcome: Outcome, words: str) -> None:
    assert outcome.describe() == words


def test_a_case_may_write_to_the_devices_of_its_assignment_only(tmp_path: Path) -> None:
    """A GPU is used by ioctl and by writing. /dev/full stands for one: it can be written to, and is always full."""
    write = "os.write(os.open('/dev/full', os.O_RDWR), b'x')"
    code = f"import os\ndef go():\n try: {write}\n except OSError as e: return e.errno"
    found = []
    for devices in ((), ("/dev/full", "/dev/no-such-device")):
        with new_wall(tmp_path, devices=devices) as wall:
            found.append(value(wall, code))
            landlock = "landlock" in wall.protections
    assert found == [errno.EACCES if landlock else errno.ENOSPC, errno.ENOSPC]
