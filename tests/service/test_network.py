"""Three workers on three machines and one PostgreSQL server; one machine is cut off from the network while it grades.

The machines are unnamed network namespaces, so they end with their processes: one in the middle with a bridge, where
the server listens, and three connected to it by a virtual cable each.
"""

import os
import subprocess
from pathlib import Path

import pytest

from autograder.ledger import JobState
from autograder.ledger.workers import workers
from tests.support import postgres
from tests.support.processes import Processes, accounted, graded, settled, until
from tests.support.university import University, now

MIDDLE = "192.0.2.1"  # an address reserved for documentation


def why_not():
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    found = subprocess.run(
        ["unshare", "-n", "ip", "link", "add", "cable", "type", "veth", "peer", "name", "eth0"],
        capture_output=True,
        check=False,
    )
    if found.returncode:
        return f"virtual cables between network namespaces do not work here: {found.stderr.decode().strip()}"
    return ""


pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "not skipped"),
]


class Network:
    """Network namespaces, each kept by a process that only waits."""

    def __init__(self, machines):
        self._holders = []
        self.middle = self._new()
        self.inside(self.middle, "ip link add bridge type bridge")
        self.inside(self.middle, f"ip address add {MIDDLE}/24 dev bridge")
        self.inside(self.middle, "ip link set bridge up")
        self.machines = [self._connected(number) for number in range(machines)]

    def _new(self):
        holder = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._holders.append(holder)
        until(lambda: Path(f"/proc/{holder.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink())
        self.inside(holder.pid, "ip link set lo up")
        return holder.pid

    def _connected(self, number):
        machine = self._new()
        cable = f"cable{number}"
        self.inside(self.middle, f"ip link add {cable} type veth peer name eth0 netns {machine}")
        self.inside(self.middle, f"ip link set {cable} master bridge up")
        self.inside(machine, f"ip address add 192.0.2.{10 + number}/24 dev eth0")
        self.inside(machine, "ip link set eth0 up")
        return machine

    def inside(self, holder, command):
        subprocess.run(["nsenter", "-t", str(holder), "-n", *command.split()], check=True)

    def cut(self, number):
        self.inside(self.middle, f"ip link set cable{number} down")

    def repair(self, number):
        self.inside(self.middle, f"ip link set cable{number} up")

    def end(self):
        for holder in self._holders:
            holder.stdin.close()
            holder.wait()


@pytest.fixture
def network():
    network = Network(3)
    yield network
    network.end()


def take(parts, push):
    return parts.intake.receive(push, now()).job.id


ENTER = """
with open("/proc/{holder}/ns/net") as namespace:
    libc("setns", namespace.fileno(), 0x40000000)
hold("go{number}")
"""


def test_a_worker_that_is_cut_off_is_replaced_and_does_no_harm_later(folder, network):
    with postgres.running(MIDDLE, network.middle) as server:
        far = f"postgresql://{postgres.USER}@{MIDDLE}/postgres"
        university = University(folder, url=far)
        processes = Processes(university)
        try:
            for number, holder in enumerate(network.machines):
                text = ENTER.format(holder=holder, number=number)
                processes.start("--name", f"machine{number}", command="worker", before=text)
            # The test reaches the same database through a socket file, which needs no cable.
            near = university.config_file.read_text().replace(far, server.url("postgres"))
            university.course.write("autograder.toml", near)
            with university.parts() as parts:
                assert len(workers(parts.ledger.database)) == 3
                job = take(parts, university.push())
                until(lambda: parts.ledger.job(job).state is JobState.RUNNING)
                until(lambda: list(folder.glob("go*.reached")))
                first = parts.ledger.job(job).worker
                lost = int(first[len("machine") : -len(":0")])
                network.cut(lost)
                for number in {0, 1, 2} - {lost}:
                    (folder / f"go{number}").touch()
                assert settled(parts, job) is JobState.FINAL
                assert parts.ledger.job(job).worker != first
                feedback = university.bare().tip("score-feedback")
                (folder / f"go{lost}").touch()  # it finishes grading, and cannot reach the ledger
                until(lambda: len(graded(university)) == 2)
                network.repair(lost)
                until(lambda: first in [row.name for row in workers(parts.ledger.database)])
                # It is one of three workers again: all jobs are graded.
                others = [take(parts, university.push(student=f"s{number}")) for number in range(6)]
                assert {settled(parts, one) for one in others} == {JobState.FINAL}
                until(lambda: not parts.queue.entries())
                assert university.bare().tip("score-feedback") == feedback
                assert accounted(university, parts, ["ann", *(f"s{number}" for number in range(6))]) == []
                assert len(graded(university)) == 2 + len(others)
        finally:
            processes.end()
