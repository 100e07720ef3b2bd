"""What one case may use."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What one case may use. Sizes are in bytes, times in seconds."""

    wall_seconds: float = 10.0
    """Time from the moment when student code begins; it includes the import of `src`.

    Time in which the case was ready and had no processor does not count, see `autograder.sandbox.inside.clock`.
    """
    starved_seconds: float | None = None
    """Wall-clock time after which a case is given up that has not used its time. None: 10 * wall_seconds + 60."""
    cpu_seconds: float | None = None
    """CPU time of each process. None means 4 * wall_seconds + 1, which only a process with many threads can reach."""
    memory_bytes: int = 1024 * MIB
    """Two limits of this size: the address space of each process, and the memory of all processes together.

    Neither counts what the fork server has already.
    """
    limit_address_space: bool = True
    """Whether the address space is limited. Switch this off for CUDA, which reserves a very large address space."""
    processes: int = 64
    """The number of processes and threads at a time, including the first process of the case."""
    open_files: int = 256
    file_bytes: int = 256 * MIB
    """The largest file that can be written."""
    tmp_bytes: int = 256 * MIB
    """The size of /tmp, and of /dev/shm. Both are new for every case."""
    tmp_files: int = 16_384
    output_bytes: int = 64 * MIB
    """The size of stdout and stderr together. A case that prints more is ended."""
    kept_output_bytes: int = 4096
    """The number of bytes that are kept of the beginning of each stream, and as many of its end."""
    reply_bytes: int = 64 * MIB
    """The size of the returned value, encoded."""

    def bound(self) -> float:
        """Return the wall-clock time after which every case ends, in seconds."""
        return float(10 * self.wall_seconds + 60 if self.starved_seconds is None else self.starved_seconds)

    def message(self) -> dict[str, object]:
        """Return the limits by name, in the form that the processes inside the wall read."""
        return {
            "wall_seconds": float(self.wall_seconds),
            "starved_seconds": self.bound(),
            "cpu_seconds": float(4 * self.wall_seconds + 1 if self.cpu_seconds is None else self.cpu_seconds),
            "memory_bytes": self.memory_bytes,
            "address_space": self.limit_address_space,
            "processes": self.processes,
            "open_files": self.open_files,
            "file_bytes": self.file_bytes,
            "tmp_bytes": self.tmp_bytes,
            "tmp_files": self.tmp_files,
            "output_bytes": self.output_bytes,
            "kept_output_bytes": self.kept_output_bytes,
            "reply_bytes": self.reply_bytes,
        }
