"""Which workers are alive, and what the reconciler repairs: on real databases, with clocks that a test moves."""

from datetime import timedelta, timezone

import pytest

from autograder.errors import GraderError
from autograder.ledger import JobState
from autograder.ledger import workers as rows
from autograder.ledger.database import Database
from autograder.service import status
from autograder.service.intake.reconciler import Reconciler
from autograder.service.jobs import worker_names
from autograder.service.jobs.lease import Lease, Watch
from autograder.service.jobs.queue import Entry
from autograder.service.metrics import Depth
from autograder.service.service import Service, depths
from tests.support.ledgers import NOON
from tests.support.university import University, now

# Watch ---------------------------------------------------------------------------------------------------


def test_who_does_not_change_for_long_enough_is_dead():
    watch = Watch(30, gap=20)
    seen = [watch.look(at, {"a": 1, "b": at}) for at in (0, 10, 20, 30)]
    assert seen == [[], [], [], ["a"]]


def test_who_changes_lives():
    watch = Watch(30, gap=20)
    assert [watch.look(at, {"a": at // 20}) for at in range(0, 200, 10)] == [[]] * 20


def test_a_watcher_that_was_away_itself_starts_again():
    watch = Watch(30, gap=20)
    watch.look(0, {"a": 1})
    assert watch.look(45, {"a": 1}) == []  # the database was locked: nobody could renew anything
    assert watch.look(60, {"a": 1}) == []
    assert watch.look(75, {"a": 1}) == ["a"]


def test_who_went_away_and_came_back_is_watched_from_the_start():
    watch = Watch(30, gap=20)
    for at, values in ((0, {"a": 1}), (10, {}), (20, {"a": 1}), (30, {"a": 1}), (40, {"a": 1})):
        assert watch.look(at, values) == []


# Lease ---------------------------------------------------------------------------------------------------


class Time:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class PretendedQueue:
    """Has entries; records what is put back."""

    def __init__(self, *entries):
        self.all, self.recovered = list(entries), []

    def entries(self):
        return self.all

    def recover(self, worker, entries):
        mine = [entry for entry in entries if entry.worker == worker]
        self.recovered += [(worker, entry.job) for entry in mine]
        self.all = [entry for entry in self.all if entry not in mine]
        return len(mine)


def entry(job, worker):
    return Entry(job, job, "cpu", True, worker, NOON, None)


def lease(ledger, queue, clock, worker="me:0", running=frozenset, origin="here"):
    return Lease(
        ledger,
        queue,
        worker,
        origin=origin,
        queues=["cpu"],
        seconds=30,
        running=running,
        clock=lambda: NOON,
        monotonic=clock,
    )


def turns(lease, clock, number, others=()):
    for _ in range(number):
        clock.seconds += 10
        for other in others:
            other()
        lease.turn()


def test_the_jobs_of_a_silent_worker_are_put_back(ledger):
    clock, queue = Time(), PretendedQueue(entry("one", "dead:0"), entry("two", "alive:0"))
    mine = lease(ledger, queue, clock)
    mine.claim()
    for other in ("dead:0", "alive:0"):
        rows.start(ledger.database, other, origin="there", queues=["cpu"], version="1", now=NOON)

    def alive():
        rows.beat(ledger.database, "alive:0", now=NOON)

    turns(mine, clock, 3, [alive])
    assert queue.recovered == []
    turns(mine, clock, 1, [alive])
    assert queue.recovered == [("dead:0", "one")]
    turns(mine, clock, 5, [alive])
    assert queue.recovered == [("dead:0", "one")]
    assert [row.name for row in rows.workers(ledger.database)] == ["alive:0", "me:0"]


def test_jobs_of_a_worker_without_a_row_are_put_back(ledger):
    clock, queue = Time(), PretendedQueue(entry("one", "gone:0"))
    mine = lease(ledger, queue, clock)
    mine.claim()
    turns(mine, clock, 4)
    assert queue.recovered == [("gone:0", "one")]


def test_a_job_that_the_queue_believes_to_run_here_is_put_back(ledger):
    clock = Time()
    queue = PretendedQueue(entry("stuck", "me:0"), entry("runs", "me:0"))
    mine = lease(ledger, queue, clock, running=lambda: frozenset({"runs"}))
    mine.claim()
    turns(mine, clock, 4)
    assert queue.recovered == [("me:0", "stuck")]


def test_a_name_that_a_living_worker_elsewhere_has_is_refused(ledger):
    other = lease(ledger, PretendedQueue(), Time(), origin="there")
    other.claim()
    mine = lease(ledger, PretendedQueue(), Time())
    with pytest.raises(GraderError, match=r"another living worker is called me:0.*--name"):
        mine.claim(wait=lambda _: other.turn())
    mine.claim(wait=lambda _: None)  # it is not alive
    assert [row.origin for row in rows.workers(ledger.database)] == ["here"]


def test_a_worker_that_was_taken_for_dead_comes_back(ledger):
    mine = lease(ledger, PretendedQueue(), Time())
    mine.claim()
    rows.end(ledger.database, "me:0")
    mine.turn()
    assert [row.name for row in rows.workers(ledger.database)] == ["me:0"]


def test_a_row_goes_only_while_it_is_the_one_that_was_seen(ledger):
    rows.start(ledger.database, "a:0", origin="", queues=["cpu", "gpu"], version="1", now=NOON)
    assert rows.beat(ledger.database, "a:0", now=NOON)
    assert not rows.end(ledger.database, "a:0", beats=0)
    assert rows.workers(ledger.database)[0].queues == ("cpu", "gpu")
    assert rows.end(ledger.database, "a:0", beats=1)
    assert not rows.beat(ledger.database, "a:0", now=NOON)


# worker names ----------------------------------------------------------------------------------------------


def test_the_lowest_free_number_is_taken_and_its_folder_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_names.tempfile, "tempdir", str(tmp_path))
    one, two = worker_names.take(tmp_path / "state", "host"), worker_names.take(tmp_path / "state", "host")
    assert (one.name, two.name) == ("host:0", "host:1")
    assert one.folder != two.folder
    (one.folder / "left").mkdir()
    (one.folder / "left" / "file").touch()
    one.lock.close()  # as when the process is killed
    again = worker_names.take(tmp_path / "state", "host")
    assert (again.name, list(again.folder.iterdir())) == ("host:0", [])
    for identity in (again, two):
        identity.release()
    assert not two.folder.exists()


def test_a_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_names.tempfile, "tempdir", str(tmp_path))
    identity = worker_names.take(tmp_path / "state", "host")
    identity.release()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    identity.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GraderError, match="not a private folder of this user"):
        worker_names.take(tmp_path / "state", "host")


@pytest.mark.parametrize("name", ["a b", "-x", "a/b", "a:1", "ä"])
def test_odd_names_of_machines_are_refused(tmp_path, name):
    with pytest.raises(GraderError, match="--name"):
        worker_names.take(tmp_path, name)


# reconciler ----------------------------------------------------------------------------------------------


@pytest.fixture
def service(folder):
    university = University(folder, lease_seconds=1000)  # no worker dies while a test looks
    with university.parts() as parts:
        yield university, parts


def reconciler(parts, **settings):
    return Reconciler(parts.ledger, parts.queue, parts.intake, **settings)


def test_a_push_without_a_job_gets_one(service):
    university, parts = service
    push = university.push()
    parts.ledger.record_push(university.repository(), commit=push.commit, ref=push.ref)
    reconciler(parts).repair()
    (job,) = parts.ledger.jobs()
    assert [entry.job for entry in parts.queue.entries()] == [job.id]


def test_what_is_in_the_queue_is_not_queued_again(service):
    university, parts = service
    parts.intake.receive(university.push(), now())
    assert reconciler(parts).repair() == 0
    assert len(parts.queue.entries()) == 1


def test_an_open_job_that_is_in_no_queue_is_queued_under_its_id(service):
    university, parts = service
    job = parts.intake.receive(university.push(), now()).job
    parts.queue.cancel(job.id)
    assert reconciler(parts).repair() == 1
    assert [entry.workflow for entry in parts.queue.entries()] == [job.id]


def test_a_running_job_that_no_worker_has_is_tried_again(service):
    university, parts = service
    job = parts.intake.receive(university.push(), now()).job
    parts.queue.cancel(job.id)
    parts.ledger.move(job.id, JobState.RUNNING, worker="gone:0")
    assert reconciler(parts).repair() == 0  # it may just have started
    assert reconciler(parts, patience=timedelta(0)).repair() == 1
    job = parts.ledger.job(job.id)
    assert (job.state, job.reason) == (JobState.FAILED, "its worker was lost")
    assert [entry.job for entry in parts.queue.entries()] == [job.id]


def test_a_try_that_was_planned_by_a_wrong_clock_is_not_waited_for(service):
    """The worker's clock was an hour ahead when the try failed, and is corrected now."""
    university, parts = service
    job = parts.intake.receive(university.push(), now()).job
    parts.queue.cancel(job.id)
    parts.ledger.move(job.id, JobState.RUNNING, worker="host:0")
    failed = parts.ledger.move(job.id, JobState.FAILED, reason="the host is away")
    parts.queue.enqueue(failed, "cpu", priority=1, delay=timedelta(hours=1))
    reconciler(parts).repair()
    (entry,) = parts.queue.entries()
    assert entry.due is None or entry.due < now() + timedelta(minutes=1)


def test_a_running_job_that_was_recorded_by_a_clock_that_was_ahead_is_tried_again(service):
    university, parts = service
    job = parts.intake.receive(university.push(), now()).job
    parts.queue.cancel(job.id)
    parts.ledger.move(job.id, JobState.RUNNING, worker="gone:0")
    corrected = reconciler(parts, clock=lambda: now() - timedelta(hours=1))
    assert corrected.repair() == 1


def test_what_no_assignment_wants_any_more_stays_as_it_is(service, monkeypatch):
    university, parts = service
    job = parts.intake.receive(university.push(), now()).job
    parts.queue.cancel(job.id)
    monkeypatch.setattr(parts.course, "target", lambda *_: None)
    assert reconciler(parts).repair() == 0
    assert parts.ledger.job(job.id).state is JobState.QUEUED


def test_a_branch_at_a_commit_without_a_push_is_taken_as_one(service):
    university, parts = service
    parts.intake.receive(university.push(student="bob"), now())
    parts.intake.receive(university.push(), now())
    lost = university.push("# lost\n")
    repairs = reconciler(
        parts, tips=lambda target: (university.bare(target.student).tip(target.branch), None)
    )
    assert sorted(repairs.look() for _ in range(2)) == [False, True]
    assert sorted(repairs.look() for _ in range(2)) == [False, False]
    (push,) = parts.ledger.pushes(university.repository(), commit=lost.commit)
    assert parts.ledger.job(f"grade:{push.repository}:{lost.commit}:t").state is JobState.QUEUED


def test_a_disk_that_is_nearly_full_is_a_problem(service, tmp_path, monkeypatch):
    _, parts = service
    assert reconciler(parts, folders=[tmp_path]).problems() == []
    monkeypatch.setattr("autograder.service.intake.reconciler.MIN_FREE_BYTES", 1 << 60)
    (problem,) = reconciler(parts, folders=[tmp_path]).problems()
    assert f"MiB are free for {tmp_path}" in problem


# service -------------------------------------------------------------------------------------------------


def test_depths_count_what_waits_and_since_when():
    later = NOON + timedelta(seconds=60)
    entries = [
        Entry("a", "a", "cpu", True, "x:0", NOON, None),
        Entry("b", "b", "cpu", False, "", NOON + timedelta(seconds=20), None),
        Entry("c", "c", "cpu", False, "", NOON, NOON + timedelta(seconds=90)),  # waits for its next try
    ]
    assert depths(entries, later) == {"cpu": Depth(2, 1, 40.0), "gpu": Depth()}


def test_a_worker_whose_clock_is_wrong_is_alive_while_it_renews_its_row(service):
    _, parts = service
    passed = [0.0]
    whole = Service(
        parts.ledger, parts.course, parts.queue, parts.intake, lease_seconds=30, monotonic=lambda: passed[0]
    )
    for name, minutes in (("behind:0", -5), ("ahead:0", 5)):
        rows.start(
            parts.ledger.database,
            name,
            origin="",
            queues=["cpu"],
            version="1",
            now=now() + timedelta(minutes=minutes),
        )
    whole.workers()
    for _ in range(4):
        passed[0] += 20
        for name, minutes in (("behind:0", -5), ("ahead:0", 5)):
            rows.beat(parts.ledger.database, name, now=now() + timedelta(minutes=minutes))
        assert (whole.workers(), whole.problems()) == (2, [])
    passed[0] += 61  # both are silent now, whatever their clocks said
    assert whole.workers() == 0


def test_a_row_has_the_time_of_the_database_and_not_that_of_its_machine(service, monkeypatch):
    university, parts = service
    ahead = timedelta(minutes=7)  # the clock of the database; this machine's is behind
    monkeypatch.setattr(Database, "now", lambda self: now() + ahead)
    mine = Lease(parts.ledger, parts.queue, "me:0", origin="", queues=["cpu"], seconds=30, running=frozenset)
    mine.claim()
    mine.turn()
    (row,) = rows.workers(parts.ledger.database)
    assert abs(row.seen - (now() + ahead)) < timedelta(minutes=1)
    assert [worker["alive"] for worker in status.look(university.config_file)["workers"]] == [True]


def test_what_keeps_the_machine_of_a_worker_from_grading_is_seen_elsewhere(service):
    university, parts = service
    found = ["autograder.toml:9: assignments.t: there is no suite here"]
    far = Lease(
        parts.ledger,
        parts.queue,
        "far:0",
        origin="there",
        queues=["cpu"],
        seconds=30,
        running=frozenset,
        problems=lambda: found,
    )
    far.claim()
    far.turn()
    said = f"worker far:0: {found[0]}"
    whole = Service(parts.ledger, parts.course, parts.queue, parts.intake)
    assert whole.problems() == [said]  # which is what /readyz asks
    assert f"problem  {said}" in status.lines(status.look(university.config_file))
    here = Service(parts.ledger, parts.course, parts.queue, parts.intake, checks=[lambda: found])
    assert here.problems() == found  # said once
    found.clear()
    far.turn()
    assert whole.problems() == []


def test_the_clock_of_the_database(ledger):
    assert abs(ledger.database.now() - now()) < timedelta(minutes=1)
    assert ledger.database.now().tzinfo is timezone.utc


def test_a_service_without_a_worker_is_not_ready(service):
    _, parts = service
    whole = Service(parts.ledger, parts.course, parts.queue, parts.intake)
    assert whole.problems() == ["no worker is alive; start one: autograder worker"]
    rows.start(parts.ledger.database, "a:0", origin="", queues=["cpu"], version="1", now=now())
    assert (whole.problems(), whole.workers()) == ([], 1)
