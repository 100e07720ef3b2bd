"""Control groups: where they can be made, what they hold, and that none is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autograder.sandbox import control_groups
from autograder.sandbox.bubblewrap import BwrapWall
from autograder.sandbox.control_groups import ControlGroups, Group
from autograder.sandbox.outcome import Status
from tests.support.walls import PATIENT, new_wall, run, submission, wait_until

MIB = 2**20


def first_version(folder: Path) -> tuple[Path, Path]:
    """Make a folder like that of version 1, and a /proc/self/cgroup."""
    for name in ("memory", "pids", "cpu"):
        (folder / "groups" / name / "ours").mkdir(parents=True)
    own = folder / "cgroup"
    own.write_text("3:cpu:/ours\n2:memory:/ours\n1:pids:/ours\n0::/\n")
    return folder / "groups", own


def second_version(folder: Path) -> tuple[Path, Path]:
    """Make a folder like that of version 2, and a /proc/self/cgroup."""
    ours = folder / "groups" / "system.slice" / "autograder.service"
    ours.mkdir(parents=True)
    (ours / "cgroup.procs").write_text("41\n42\n")
    (ours / "cgroup.controllers").write_text("cpu memory pids\n")
    (ours / control_groups.LEAF).mkdir()
    own = folder / "cgroup"
    own.write_text("0::/system.slice/autograder.service\n")
    return folder / "groups", own


def test_with_version_1_each_controller_has_a_folder(tmp_path: Path) -> None:
    root, own = first_version(tmp_path)
    groups = ControlGroups.find(root, own)
    assert groups is not None
    group = groups.make(100 * MIB, 10)
    assert {folder.parent for folder in group.folders} == {
        root / name / "ours" for name in ("memory", "pids", "cpu")
    }
    memory, pids, _ = group.folders
    assert int((memory / "memory.limit_in_bytes").read_text()) > 100 * MIB
    assert (pids / "pids.max").read_text() == "26"


def test_with_version_2_a_delegated_folder_is_used_and_its_processes_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, own = second_version(tmp_path)
    ours = root / "system.slice" / "autograder.service"
    monkeypatch.setattr(os, "getxattr", lambda _path, name: {"user.delegate": b"1"}[name])
    groups = ControlGroups.find(root, own)
    assert groups is not None
    assert (
        ours / control_groups.LEAF / "cgroup.procs"
    ).read_text() == "42"  # the last of those that were written
    group = groups.make(100 * MIB, 10)
    (folder,) = group.folders
    assert folder.parent == ours
    assert int((folder / "memory.max").read_text()) > 100 * MIB
    (folder / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert group.oom_kills() == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user owns the folder, so it counts as delegated")
def test_with_version_2_a_folder_that_is_not_delegated_is_left_alone(tmp_path: Path) -> None:
    root, own = second_version(tmp_path)
    assert ControlGroups.find(root, own) is None
    assert not (root / "system.slice" / "autograder.service" / "cgroup.subtree_control").exists()


def test_where_no_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    assert ControlGroups.find(tmp_path, tmp_path / "missing") is None
    root, own = first_version(tmp_path)
    (root / "memory" / "ours").rmdir()
    assert ControlGroups.find(root, own) is None


def test_groups_of_graders_that_have_ended_are_removed(tmp_path: Path) -> None:
    root, own = first_version(tmp_path)
    old = root / "pids" / "ours" / f"{control_groups.PREFIX}-{os.getpid()}-1-1"  # another process had our pid
    other = root / "pids" / "ours" / "somebody-else"
    for folder in (old, other):
        folder.mkdir()
    groups = ControlGroups.find(root, own)
    assert groups is not None
    assert groups.sweep()
    assert not old.exists()
    assert other.exists()


# ── for real ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def wall(tmp_path: Path) -> Iterator[BwrapWall]:
    if ControlGroups.find() is None:
        pytest.skip("this process can make no control groups")
    with new_wall(tmp_path) as wall:
        yield wall


def _group(session: object) -> Group:
    group: Group = session._group  # type: ignore[attr-defined]
    return group


@pytest.mark.sandbox
def test_all_processes_of_a_submission_are_in_its_group(wall: BwrapWall) -> None:
    assert "control-group" in wall.protections
    with wall.open(submission("import os, time\ndef go(): return os.fork() or time.sleep(100)")) as session:
        assert session.run("call", ("go",)).returned
        group = _group(session)
        for folder in group.folders:
            # pid 1 of the submission, the template, and the anchor of the next case
            assert wait_until(lambda folder=folder: len((folder / "cgroup.procs").read_text().split()) == 3)
    wall.close()
    assert not any(folder.exists() for folder in group.folders)


@pytest.mark.sandbox
def test_two_walls_of_one_process_have_different_groups(wall: BwrapWall, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        new_wall(tmp_path / "other") as other,
        wall.open(submission("")) as first,
        other.open(submission("")) as second,
    ):
        for session in (first, second):
            assert session.run("nothing").returned
        assert not {*_group(first).folders} & {*_group(second).folders}


KEEP_IN_SOCKETS = """
import socket
def go():
    kept = []
    while True:
        pair = socket.socketpair()
        pair[0].setblocking(False)
        try:
            while True: pair[0].send(b"x" * 65536)
        except BlockingIOError: kept.append(pair)
"""


@pytest.mark.sandbox
def test_memory_that_no_process_owns_is_the_submissions(
    wall: BwrapWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_groups, "SPARE_BYTES", 16 * MIB)
    limits = replace(PATIENT, memory_bytes=32 * MIB, tmp_bytes=MIB, reply_bytes=MIB, open_files=100_000)
    outcome = run(wall, KEEP_IN_SOCKETS, limits=limits)
    assert outcome.status in (Status.OUT_OF_MEMORY, Status.RAISED)
    assert outcome.status is Status.OUT_OF_MEMORY, outcome.describe()
