"""The clock of a case: wall time, less the time in which the case was ready to run and had no processor.

Theory of operation
-------------------
The same code gets the same verdict on a quiet machine and on a busy one. So a time limit counts what the case did, not
what other programs did. Sleeping counts, and so does waiting for a disk.

For one thread the kernel knows the difference exactly: its run delay is the time that it spent ready in a queue, see
`ProcessTable.run_delays`. For several threads and processes, only the time in which one of them was ready and none of
them ran is to be left out. The kernel does not tell that, but three figures are each at least as large:

    the sum of their run delays
    wall time less CPU time / processors     at least so long, one of them ran
    the CPU time of all other programs       while one of them waits, another program has a processor

The smallest of the three is left out. So a case with several threads may get more time than it should, up to the bound
for wall time, but never less. It cannot make an excuse with processes of its own on a quiet machine, because of the
third figure.

A hypervisor may take time from this machine. Of this, the share is left out that the case ran or was ready, because a
case that sleeps loses nothing.

Threads are read every tick. A thread that lives less than a tick may be missed; its CPU time is not.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .processes import CaseProcesses

NANOSECOND = 1e-9


@dataclass
class CaseClock:
    """Measures the processes of a case; `begin` starts the clock, `seconds` reads it."""

    processes: CaseProcesses
    began: float = 0.0
    machine: tuple[int, int] = (0, 0)
    """What `machine_ticks` was at the beginning."""
    delays: dict[str, int] = field(default_factory=dict)
    """The last run delay of each thread that was seen, in nanoseconds."""
    first: dict[str, int] = field(default_factory=dict)
    """The run delay of each thread at the beginning."""
    ended: int = 0
    """The run delays of threads whose number has been given to another thread since."""
    cpu_ticks: int = 0
    first_cpu_ticks: int = 0

    def begin(self, moment: float) -> None:
        """Start the clock at a moment of `time.monotonic()`, which may be a little earlier than now."""
        self.began = moment
        with contextlib.suppress(OSError, ValueError):  # no Linux, or a kernel that does not say
            self.machine = self.processes.table.machine_ticks()
        self.look()
        self.first, self.first_cpu_ticks = dict(self.delays), self.cpu_ticks

    def seconds(self, now: Callable[[], float] = time.monotonic) -> float:
        """Return the time that counts, up to now.

        The time is read after the threads, so that no run delay is left out that came after it.
        """
        self.look()
        wall = now() - self.began
        return min(wall, max(0.0, wall - self._without_processor(wall)))

    def look(self) -> None:
        """Read every thread: what is seen of it now counts also after it has ended."""
        cpu = 0
        for pid in self.processes.pids():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it ended meanwhile
                cpu += self.processes.table.cpu_ticks(pid)
                for thread, delay in self.processes.table.run_delays(pid).items():
                    if delay < self.delays.get(thread, 0):
                        self.ended += self.delays[thread] - self.first.pop(thread, 0)
                    self.delays[thread] = delay
        self.cpu_ticks = max(self.cpu_ticks, cpu)

    def _without_processor(self, wall: float) -> float:
        waited = NANOSECOND * (
            self.ended + sum(delay - self.first.get(thread, 0) for thread, delay in self.delays.items())
        )
        try:
            used, stolen = self.processes.table.machine_ticks()
        except (OSError, ValueError):
            return waited if len(self.delays) < 2 else 0.0
        tick = os.sysconf("SC_CLK_TCK")
        own = (self.cpu_ticks - self.first_cpu_ticks) / tick
        if len(self.delays) > 1 or self.ended:
            others = (used - self.machine[0]) / tick - own
            processors = len(os.sched_getaffinity(0))
            waited = max(0.0, min(waited, wall - own / processors, others))
        taken = (stolen - self.machine[1]) / tick
        active = min(1.0, (own + waited) / max(wall - taken, 1 / tick))
        return waited + taken * active
