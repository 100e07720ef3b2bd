"""The clock of a case: what other programs do costs no time, and nothing that the case does itself is an excuse."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from autograder.sandbox.inside import clock as clock_module
from autograder.sandbox.inside.clock import CaseClock
from autograder.sandbox.inside.processes import CaseProcesses
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Status
from tests.support.walls import PATIENCE, busy_loops, new_wall, submission

TICK = os.sysconf("SC_CLK_TCK")
PROCESSORS = 2


class Machine:
    """Stands for /proc: a case with threads, the CPU time of all programs, and a hypervisor. Times are in seconds."""

    def __init__(self) -> None:
        self.delays: dict[str, dict[str, float]] = {}
        self.own = self.others = self.stolen = 0.0
        self.lost = False

    def descendants(self, pid: str) -> list[str]:
        assert pid == "1"
        return ["2", *self.delays]

    def run_delays(self, pid: str) -> dict[str, int]:
        return {thread: round(delay * 1e9) for thread, delay in self.delays[pid].items()}

    def cpu_ticks(self, pid: str) -> int:
        return round(self.own * TICK) if pid == next(iter(self.delays)) else 0

    def machine_ticks(self) -> tuple[int, int]:
        if self.lost:
            raise OSError("no /proc/stat")
        return round((self.own + self.others) * TICK), round(self.stolen * TICK)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(clock_module.os, "sched_getaffinity", lambda _pid: set(range(PROCESSORS)))
    return Machine()


def started(machine: Machine, **delays: dict[str, float]) -> CaseClock:
    machine.delays = delays
    clock = CaseClock(CaseProcesses(machine, "1", anchor="2"))  # type: ignore[arg-type]
    clock.begin(100.0)
    return clock


def test_one_thread_is_not_charged_for_its_run_delay(machine: Machine) -> None:
    clock = started(machine, p={"p": 3.0})  # before student code began
    machine.delays["p"]["p"] = 3.0 + 13.7
    machine.own, machine.others = 1.3, 28.7
    assert clock.seconds(lambda: 115.0) == pytest.approx(1.3)


def test_sleeping_counts_also_on_a_busy_machine(machine: Machine) -> None:
    clock = started(machine, p={"p": 0.0})
    machine.others = 20.0
    assert clock.seconds(lambda: 110.0) == pytest.approx(10.0)


def test_several_threads_that_wait_at_the_same_time_wait_once(machine: Machine) -> None:
    clock = started(machine, p={"p": 0.0, "q": 0.0})
    machine.delays["p"] = {"p": 8.0, "q": 8.0}
    machine.own, machine.others = 4.0, 16.0
    assert clock.seconds(lambda: 110.0) == pytest.approx(2.0), "4 s of CPU are 2 s on two processors"


def test_one_of_several_threads_may_wait_while_another_sleeps(machine: Machine) -> None:
    clock = started(machine, p={"p": 0.0, "q": 0.0})
    machine.delays["p"] = {"p": 3.0, "q": 0.0}
    machine.own, machine.others = 0.5, 19.0
    assert clock.seconds(lambda: 110.0) == pytest.approx(7.0)


def test_processes_of_its_own_are_no_excuse_on_a_quiet_machine(machine: Machine) -> None:
    clock = started(machine, p={"p": 0.0}, **{f"p{number}": {f"p{number}": 0.0} for number in range(63)})
    for pid in machine.delays:
        machine.delays[pid] = dict.fromkeys(machine.delays[pid], 9.0)
    machine.own, machine.others = 5.0, 0.2  # bursts, with pauses between them
    assert clock.seconds(lambda: 110.0) == pytest.approx(9.8)


def test_the_delays_of_threads_that_ended_are_kept(machine: Machine) -> None:
    clock = started(machine, p={"p": 0.0, "q": 1.0})
    machine.delays["p"] = {"p": 0.0, "q": 4.0}
    machine.others = 8.0
    assert clock.seconds(lambda: 104.0) == pytest.approx(1.0)
    machine.delays["p"] = {"p": 0.0}
    assert clock.seconds(lambda: 104.0) == pytest.approx(1.0)
    machine.delays["p"] = {"p": 0.0, "q": 2.0}  # the number belongs to another thread now
    machine.others = 12.0
    assert clock.seconds(lambda: 106.0) == pytest.approx(1.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_time_that_a_hypervisor_took_does_not_count(machine: Machine, threads: int) -> None:
    clock = started(machine, p={str(thread): 0.0 for thread in range(threads)})
    machine.own, machine.stolen = 1.0, 2.0
    assert clock.seconds(lambda: 105.0) == pytest.approx(5.0 - 2.0 / 3), "it slept for two of three seconds"
    machine.own = 3.0
    assert clock.seconds(lambda: 105.0) == pytest.approx(3.0)
    machine.stolen = 50.0
    assert clock.seconds(lambda: 105.0) == 0.0


def test_a_case_that_sleeps_loses_nothing_to_a_hypervisor(machine: Machine) -> None:
    clock = started(machine, p={"p": 0.0})
    machine.stolen = 2.0
    assert clock.seconds(lambda: 105.0) == pytest.approx(5.0)


def test_a_run_delay_that_is_left_out_lies_before_the_time_that_is_read(machine: Machine) -> None:
    clock = started(machine, p={"p": 0.0})

    def now() -> float:
        machine.delays["p"]["p"] = 4.0  # it waits on while the clock is read
        return 105.0

    assert clock.seconds(now) == pytest.approx(5.0)


@pytest.mark.parametrize(("threads", "seconds"), [(1, 2.0), (2, 5.0)])
def test_without_the_machine_s_figures_one_thread_is_still_measured(
    machine: Machine, threads: int, seconds: float
) -> None:
    machine.lost = True
    clock = started(machine, p={str(thread): 0.0 for thread in range(threads)})
    machine.delays["p"] = dict.fromkeys(machine.delays["p"], 3.0)
    assert clock.seconds(lambda: 105.0) == pytest.approx(seconds)


# ── real cases ───────────────────────────────────────────────────────────────────────────────────────────

CODE = """
import hashlib, os, threading, time

def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def sleep(seconds):
    time.sleep(seconds)

def read_slowly(seconds):
    reading, writing = os.pipe()
    if os.fork() == 0:
        time.sleep(seconds)
        os.write(writing, b"x")
        os._exit(0)
    os.read(reading, 1)

def fork(count):
    for _ in range(count):
        if os.fork() == 0:
            while True:
                pass
    time.sleep(600)

def threads(count, seconds):
    data = bytes(10**6)
    def work():
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            hashlib.sha256(data).digest()
    running = [threading.Thread(target=work) for _ in range(count)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
"""
LIMIT = Limits(wall_seconds=1.0, starved_seconds=2 * PATIENCE)
PROGRAMS = {
    ("compute", 0.6): Status.RETURNED,
    ("compute", 60.0): Status.TIMEOUT,
    ("sleep", 0.5): Status.RETURNED,
    ("sleep", 60.0): Status.TIMEOUT,
    ("read_slowly", 60.0): Status.TIMEOUT,
    ("fork", 50): Status.TIMEOUT,
    ("threads", 4, 0.2): Status.RETURNED,
    ("threads", 4, 60.0): Status.TIMEOUT,
}
"""What a case calls, with seconds of CPU time or sleep, and how it ends whatever else runs."""


@pytest.mark.sandbox
@pytest.mark.parametrize("loops", [0, 6])
def test_cases_end_in_the_same_way_alone_and_beside_busy_loops(tmp_path: Path, loops: int) -> None:
    with new_wall(tmp_path, limits=LIMIT) as wall:

        def status(call: tuple[object, ...]) -> Status:
            with wall.open(submission(CODE)) as session:
                return session.run("call", call).status

        status(("sleep", 0.0))
        with busy_loops(loops), ThreadPoolExecutor(len(PROGRAMS) if loops else 1) as pool:
            found = dict(zip(PROGRAMS, pool.map(status, PROGRAMS), strict=True))
    assert found == PROGRAMS


@pytest.mark.sandbox
def test_a_case_that_reaches_the_bound_before_its_limit_has_not_shown_that_it_is_slow(tmp_path: Path) -> None:
    limits = replace(LIMIT, wall_seconds=600.0, starved_seconds=0.3)
    with new_wall(tmp_path, limits=limits) as wall, wall.open(submission(CODE)) as session:
        assert session.run("call", ("sleep", 600.0)).status is Status.STARVED
