"""The seam to DBOS: jobs go in once, come out in order, end when they are cancelled, and outlive their workers."""

import contextlib
import threading
from datetime import datetime, timedelta, timezone

import pytest

from autograder.ledger import Job, JobState
from autograder.service.jobs.queue import Consumer, Queue, QueueError, prepare, workflow_id
from tests.support.ledgers import NOON, commit, repository
from tests.support.processes import PATIENCE, until


def job(word="one", student="ann", *, moved=timedelta(0)):
    sha = commit(word)
    return Job(
        f"grade:{repository(student)}:{sha}:a0",
        repository(student),
        sha,
        "a0",
        1,
        False,
        JobState.QUEUED,
        "",
        "",
        0,
        NOON,
        NOON + moved,
        None,
        None,
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, folder):
    if request.param == "sqlite":
        found = f"sqlite:///{folder / 'jobs.sqlite'}"
    else:
        found = request.getfixturevalue("postgresql_server").new_database()
        found = found.replace("postgresql://", "postgresql+psycopg://")
    prepare(found)
    return found


@pytest.fixture
def queue(url):
    queue = Queue(url)
    yield queue
    queue.close()


class Steps:
    """Work of two steps; records the calls, and waits in the steps in `hold`."""

    def __init__(self):
        self.done, self.interrupted, self.repeated = [], [], []
        self.hold, self.held = set(), threading.Event()
        self.go = threading.Event()
        self.last = {"next": "end", "reason": "graded"}

    def begin(self, job_id):
        return {"next": "one", "job": job_id}

    def step(self, name, job_id, facts):
        if name in self.hold:
            self.held.set()
            self.go.wait(PATIENCE)
        self.done.append((name, job_id, facts.get("from")))
        return {"next": "two", "from": "one"} if name == "one" else self.last

    def interrupt(self, job_id):
        self.interrupted.append(job_id)
        self.go.set()

    def queue_again(self, job_id):
        self.repeated.append(job_id)


@contextlib.contextmanager
def consumer(url, work, worker="host:0", queues=("cpu",), drain=5):
    running = Consumer(url, worker, queues, work, steps=["one", "two"], preemptible=["two"])
    running.start()
    try:
        yield running
    finally:
        work.go.set()
        running.stop(drain)


def test_a_job_goes_in_once_however_often_it_is_asked(queue):
    with contextlib.ExitStack() as stack:
        results = []
        threads = [
            threading.Thread(target=lambda: results.append(queue.enqueue(job(), "cpu", priority=1)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
    assert sorted(results) == [False] * 7 + [True]
    (entry,) = queue.entries()
    assert (entry.job, entry.queue, entry.running, entry.worker) == (job().id, "cpu", False, "")


def test_a_queue_that_nobody_serves_is_refused(queue, url):
    with pytest.raises(QueueError, match="there is no queue 'cup', only cpu and gpu"):
        queue.enqueue(job(), "cup", priority=1)
    with pytest.raises(QueueError, match="there is no queue tpu"):
        Consumer(url, "host:0", ["cpu", "tpu"], Steps(), steps=["one"], preemptible=[])


def test_the_steps_are_taken_in_turn_with_what_the_one_before_returned(queue, url):
    work = Steps()
    queue.enqueue(job(), "cpu", priority=1)
    with consumer(url, work):
        until(lambda: not queue.entries())
    assert work.done == [("one", job().id, None), ("two", job().id, "one")]


def test_jobs_come_out_by_priority_and_only_of_the_queues_served(queue, url):
    work = Steps()
    for priority, word in ((3, "c"), (1, "a"), (2, "b")):
        queue.enqueue(job(word), "cpu", priority=priority)
    queue.enqueue(job("g"), "gpu", priority=1)
    with consumer(url, work):
        until(lambda: len(queue.entries()) == 1)
    assert [name for step, name, _ in work.done if step == "one"] == [job(word).id for word in "abc"]
    assert [entry.queue for entry in queue.entries()] == ["gpu"]


def test_a_cancelled_job_does_not_begin(queue, url):
    work = Steps()
    queue.enqueue(job("one"), "cpu", priority=1)
    queue.enqueue(job("two"), "cpu", priority=2)
    queue.cancel(job("one").id)
    with consumer(url, work):
        until(lambda: not queue.entries())
    assert {name for _, name, _ in work.done} == {job("two").id}


def test_a_running_job_that_is_cancelled_is_interrupted(queue, url):
    work = Steps()
    work.hold = {"two"}
    queue.enqueue(job(), "cpu", priority=1)
    with consumer(url, work):
        until(work.held.is_set)
        queue.cancel(job().id)
        until(lambda: work.interrupted == [job().id])
        until(lambda: not queue.entries())


def test_a_failed_job_is_handed_back_to_be_queued_again(queue, url):
    work = Steps()
    work.last = {"next": "retry"}
    queue.enqueue(job(), "cpu", priority=1)
    with consumer(url, work):
        until(lambda: work.repeated == [job().id])
        work.last = {"next": "end"}
        again = job(moved=timedelta(seconds=1))
        assert workflow_id(again) != workflow_id(job())
        assert queue.enqueue(again, "cpu", priority=1, delay=timedelta(seconds=0.2))
        assert queue.entries()[0].job == job().id
        until(lambda: not queue.entries())
    assert [name for name, *_ in work.done] == ["one", "two"] * 2


def test_a_workflow_that_ended_starts_again_when_its_job_is_still_open_in_the_ledger(queue, url):
    work = Steps()
    queue.enqueue(job(), "cpu", priority=1)
    queue.cancel(job().id)
    assert queue.entries() == []
    assert queue.enqueue(job(), "cpu", priority=1)
    with consumer(url, work):
        until(lambda: not queue.entries())
    assert len(work.done) == 2


def test_a_job_that_is_cut_off_goes_on_after_its_last_step_at_the_next_start(queue, url):
    work = Steps()
    work.hold = {"two"}
    queue.enqueue(job(), "cpu", priority=1)
    with consumer(url, work, drain=0):
        until(work.held.is_set)
        work.go.clear()
    # the thread of the first try may still end its step; nothing of it is recorded
    second = Steps()
    with consumer(url, second):
        until(lambda: not queue.entries())
    assert second.done == [("two", job().id, "one")]


def test_a_consumer_that_stops_in_order_finishes_its_job(queue, url):
    work = Steps()
    work.hold = {"two"}
    queue.enqueue(job(), "cpu", priority=1)
    with consumer(url, work):
        until(work.held.is_set)
    assert queue.entries() == []


def test_the_job_of_a_dead_worker_is_given_to_another_and_only_once(queue, url):
    work = Steps()
    work.hold = {"two"}
    queue.enqueue(job(), "cpu", priority=1)
    with consumer(url, work, worker="dead:0", drain=0):
        until(work.held.is_set)
        work.go.clear()
    entries = queue.entries()
    assert [(entry.running, entry.worker) for entry in entries] == [(True, "dead:0")]
    assert queue.recover("somebody:0", entries) == 0
    assert (queue.recover("dead:0", entries), queue.recover("dead:0", entries)) == (1, 0)
    second = Steps()
    with consumer(url, second, worker="other:0"):
        until(lambda: not queue.entries())
    assert second.done == [("two", job().id, "one")]


def test_what_ended_long_ago_is_deleted(queue, url):
    work = Steps()
    queue.enqueue(job("old"), "cpu", priority=1)
    with consumer(url, work):
        until(lambda: not queue.entries())
    queue.enqueue(job("new"), "cpu", priority=1)
    now = datetime.now(timezone.utc)
    assert queue.delete_ended(now - timedelta(hours=1)) == 0
    assert queue.delete_ended(now + timedelta(hours=1)) == 1
    assert [entry.job for entry in queue.entries()] == [job("new").id]


def test_a_database_that_is_away_is_a_queue_error_without_the_password():
    with pytest.raises(QueueError) as caught:
        Queue("postgresql+psycopg://grader:Zq7secret@127.0.0.1:1/jobs")
    assert "Zq7" not in str(caught.value)
