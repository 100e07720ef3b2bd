"""Whose memory a process used: figures of /proc, and who ran out of memory when the kernel kills."""

from __future__ import annotations

import pytest

from autograder.sandbox.inside import processes
from autograder.sandbox.inside.processes import NEW_FILES, CaseProcesses, MemoryWatch

MIB = 2**20


class Table:
    """Stands for /proc: the template is 1, the anchor 2, the case 3 and its fork 4. Figures are in MiB."""

    def __init__(self) -> None:
        self.own = {"3": 30}
        self.shares: dict[str, int] = {}
        self.files = {"3": 10}
        self.kills = 0

    def own_pid(self) -> str:
        return "0"

    def children(self, pid: str) -> list[str]:
        return {"1": ["2", "3"]}[pid]

    def descendants(self, pid: str) -> list[str]:
        return ["2", *self.own] if pid == "1" else []

    def stack_start(self, pid: str) -> int:
        return {"0": 77, "3": 77, "4": 77, "5": 88}[pid]

    def own_bytes(self, pid: str) -> int:
        return self.own[pid] * MIB

    def proportional_bytes(self, pid: str) -> int:
        return self.shares[pid] * MIB

    def file_bytes(self, pid: str) -> int:
        if pid not in self.files:
            raise OSError("it ended")
        return self.files[pid] * MIB

    def machine_oom_kills(self) -> int:
        return self.kills


@pytest.fixture
def table() -> Table:
    return Table()


def watch(table: Table, limit: int = 100) -> MemoryWatch:
    made = MemoryWatch(CaseProcesses(table, "1", anchor="2"), limit * MIB)  # type: ignore[arg-type]
    made.baseline, made.files = 20 * MIB, 10 * MIB
    return made


def test_one_process_counts_without_what_it_began_with(table: Table) -> None:
    assert watch(table).total() == 10 * MIB


def test_a_program_that_was_executed_counts_whole(table: Table) -> None:
    table.own["5"] = 7
    assert watch(table).total() == (10 + 7) * MIB


def test_the_exact_figure_decides_if_the_sum_is_above_the_limit(table: Table) -> None:
    table.own = {"3": 80, "4": 80}
    table.shares = {"3": 40, "4": 45}
    assert watch(table, limit=100).total() == 85 * MIB
    assert watch(table, limit=160).total() == (60 + 60) * MIB  # no exact figure is needed


def test_files_that_are_mapped_do_not_count_but_hide_little(table: Table) -> None:
    made = watch(table)
    table.files["3"] = 12
    assert made.files_now() == 12 * MIB
    table.files["3"] = 4000
    assert made.files_now() == 10 * MIB + NEW_FILES
    del table.files["3"]
    assert made.files_now() == 10 * MIB


def test_a_kill_by_a_machine_without_memory_is_not_the_case_s(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = [0]
    monkeypatch.setattr(processes, "oom_kills", lambda: group[0])
    made = watch(table)
    assert made.who_ran_out() == ""  # somebody else sent the signal
    table.kills = 1
    assert made.who_ran_out() == "no memory"
    made.peak = 200 * MIB
    assert made.who_ran_out() == ""
    group[0] = 1
    assert made.who_ran_out() == "memory"
