"""The spool: files that hooks leave there are taken once, in order, and never lost."""

import json
import os
import time
from datetime import datetime, timezone

import pytest

from autograder.ledger import Conflict, LedgerBusy
from autograder.service.intake import spool as spools
from autograder.service.intake.spool import Drained, Spool, SpoolError

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40
MAIN = "refs/heads/main"
WHEN = datetime(2026, 9, 10, 12, tzinfo=timezone.utc)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


class Taken(list):
    """Takes pushes and keeps them."""

    def __call__(self, push, received):
        self.append((push, received))


def put(spool, *pushes, **values):
    return spool.put("files", "cs", "a0-ann", list(pushes) or [(ZERO, A, MAIN)], **values)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_push_comes_out_as_it_went_in(spool):
    put(spool, (ZERO, A, MAIN), (A, B, "refs/heads/other"), pusher="ann", received=WHEN)
    taken = Taken()
    assert spool.waiting() == 1
    assert spool.drain(taken) == Drained(1)
    (first, received), (second, _) = taken
    assert (first.host, first.owner, first.name, first.sender) == ("files", "cs", "a0-ann", "ann")
    assert (first.commit, first.before, first.ref, first.branch) == (A, ZERO, MAIN, "main")
    assert (second.commit, second.branch) == (B, "other")
    assert first.delivery_id != second.delivery_id
    assert received == WHEN
    assert spool.waiting() == 0


def test_what_was_taken_stays_two_weeks_and_can_be_given_back(spool):
    path = put(spool, (ZERO, A, MAIN), received=WHEN)
    assert spool.drain(Taken()) == Drained(1)
    assert names(spool.folder / "taken") == [path.name]
    assert spool.give_back() == 1
    taken = Taken()
    assert spool.drain(taken) == Drained(1)
    ((push, received),) = taken
    assert (push.commit, received) == (A, WHEN)
    written = (spool.folder / "taken" / path.name).stat().st_mtime
    assert spool.forget(written + 13 * 86400) == 0
    assert spool.forget(written + 15 * 86400) == 1
    assert spool.give_back() == 0


def test_the_oldest_comes_first(spool):
    for number, commit in enumerate("cab"):
        path = put(spool, (ZERO, commit * 40, MAIN))
        os.utime(path, (number, number))
    taken = Taken()
    spool.drain(taken)
    assert [push.commit[0] for push, _ in taken] == ["c", "a", "b"]


def test_what_was_not_recorded_stays_and_is_taken_again_under_the_same_delivery(spool):
    first, second = put(spool, received=WHEN), put(spool, (A, B, MAIN))
    os.utime(first, (1, 1))
    tried = Taken()

    def busy(push, received):
        tried(push, received)
        raise LedgerBusy("later")

    with pytest.raises(LedgerBusy):
        spool.drain(busy)
    assert len(tried) == 1
    assert names(spool.folder) == sorted([first.name, second.name])
    taken = Taken()
    spool.drain(taken)
    assert taken[0] == tried[0]
    assert len(taken) == 2


def test_a_push_that_contradicts_the_ledger_does_not_keep_others_waiting(spool):
    os.utime(put(spool), (1, 1))
    put(spool, (A, B, MAIN))
    taken = Taken()

    def take(push, received):
        if push.commit == A:
            raise Conflict("known for another repository")
        taken(push, received)

    drained = spool.drain(take)
    assert (drained.taken, len(taken)) == (1, 1)
    ((name, reason),) = drained.rejected
    assert reason == "known for another repository"
    assert names(spool.folder / "rejected") == [name]


ENTRY = {
    "format": 1,
    "host": "files",
    "owner": "cs",
    "name": "a0-ann",
    "pusher": "ann",
    "received": 1_790_000_000,
    "pushes": [[ZERO, A, MAIN]],
}


@pytest.fixture
def now(monkeypatch):
    """The clock stands a minute after the entry's time."""
    monkeypatch.setattr(spools.time, "time", lambda: ENTRY["received"] + 60.0)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not what a hook writes"),
        (b'{"format":1', "not what a hook writes"),
        (b"\xff\xfe", "not what a hook writes"),
        (b"[" * 100_000, "not what a hook writes"),
        (b" " * (spools.MAX_BYTES + 1), "more than 524288 bytes"),
        (ENTRY | {"format": 2}, "of format 2"),
        (ENTRY | {"why": "x"}, "unknown field"),
        (ENTRY | {"host": "Files"}, "no repository"),
        (ENTRY | {"name": ".."}, "no repository"),
        (ENTRY | {"owner": "../../etc"}, "no repository"),
        (ENTRY | {"received": -1}, "before 1970"),
        (ENTRY | {"received": "now"}, "not what a hook writes"),
        (ENTRY | {"pushes": [[ZERO, A]]}, "not what a hook writes"),
        (ENTRY | {"pushes": [[ZERO, "main", MAIN]]}, "full commit ids"),
        (ENTRY | {"pushes": [["x", A, MAIN]]}, "full commit ids"),
        (ENTRY | {"pushes": [[ZERO, A, MAIN]] * 1001}, "more than 1000 pushes"),
    ],
)
def test_what_no_hook_writes_is_set_aside(spool, content, reason):
    spool.make()
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    (spool.folder / "1.json").write_bytes(content)
    taken = Taken()
    drained = spool.drain(taken)
    assert taken == []
    ((name, why),) = drained.rejected
    assert name == "1.json"
    assert reason in why
    assert (spool.folder / "rejected" / "1.json").read_bytes() == content
    assert spool.waiting() == 0


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(("ahead", "logged"), [(0, False), (64, False), (360, True), (10**9, True)])
def test_a_push_by_a_hook_whose_clock_is_ahead_was_received_now(spool, caplog, ahead, logged):
    """It is not rejected, and not late because of a wrong clock: it cannot have come later than we read it."""
    spool.make()
    (spool.folder / "1.json").write_text(json.dumps(ENTRY | {"received": ENTRY["received"] + ahead}))
    taken = Taken()
    assert spool.drain(taken) == Drained(1)
    ((_, received),) = taken
    assert received.timestamp() == ENTRY["received"] + min(ahead, 60)
    assert ("the clock of a machine with a hook is ahead" in caplog.messages) is logged


def test_nothing_that_was_set_aside_is_overwritten(spool):
    spool.make()
    for content in ("x", "y", "z"):
        (spool.folder / "1.json").write_text(content)
        spool.drain(Taken())
    assert names(spool.folder / "rejected") == ["1.json", "1.json.2", "1.json.3"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_no_odd_file_is_followed_or_waited_for(spool, tmp_path, kind):
    spool.make()
    path = spool.folder / "1.json"
    if kind == "link":
        (tmp_path / "target").write_text(json.dumps(ENTRY))
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    taken = Taken()
    drained = spool.drain(taken)
    assert taken == []
    assert "not a regular file" in drained.rejected[0][1]


@pytest.mark.parametrize(
    "pushed",
    [
        (A, ZERO, MAIN),  # the branch was deleted
        (ZERO, A, "refs/tags/v1"),
        (ZERO, A, "main"),
        (ZERO, A, "refs/heads/" + "x" * 300),
    ],
)
def test_what_is_no_push_to_a_branch_leaves_the_others(spool, pushed):
    put(spool, pushed, (ZERO, B, MAIN))
    taken = Taken()
    assert spool.drain(taken) == Drained(1)
    assert [push.commit for push, _ in taken] == [B]


def test_a_file_that_is_being_written_is_left_alone_until_it_is_abandoned(spool):
    path = put(spool)
    draft = path.rename(spool.folder / ".new-1")
    taken = Taken()
    assert spool.drain(taken) == Drained(0)
    past = time.time() - 2 * spools.ABANDONED_SECONDS
    os.utime(draft, (past, past))
    assert spool.drain(taken) == Drained(1)
    assert len(taken) == 1


def test_other_files_are_left_alone(spool):
    spool.make()
    (spool.folder / "README").write_text("x")
    (spool.folder / ".hidden.json").write_text("x")
    assert spool.drain(Taken()) == Drained(0)
    assert names(spool.folder) == [".hidden.json", "README"]


def test_a_round_ends(spool, monkeypatch):
    monkeypatch.setattr(spools, "BATCH", 2)
    for _ in range(3):
        put(spool)
    assert spool.drain(Taken()) == Drained(2)
    assert spool.drain(Taken()) == Drained(1)


def test_without_a_folder_nothing_waits(spool):
    assert spool.waiting() == 0
    assert spool.drain(Taken()) == Drained(0)


def test_a_folder_that_cannot_be_written_is_a_spool_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot create the spool"):
        put(Spool(tmp_path / "file" / "spool"))


def test_the_folder_is_closed_to_others(spool):
    put(spool)
    assert spool.folder.stat().st_mode & 0o007 == 0


def test_a_spool_that_is_gone_is_a_problem_that_staff_see(spool):
    assert [str(spool.folder) in problem for problem in spool.problems()] == [True]
    spool.make()
    assert spool.problems() == []
