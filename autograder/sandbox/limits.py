"""What one case may use."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What one case may use. Sizes in bytes, times in seconds."""

    wall_seconds: float = 10.0
    """From the moment student code may begin, importing `src` included."""
    cpu_seconds: float | None = None
    """Of each process; None: four times wall_seconds, so that only many threads can reach it."""
    memory_bytes: int = 1024 * MIB
    """Beyond what the warm worker has: address space of each process, and memory of all together."""
    limit_address_space: bool = True
    """Off for CUDA, which reserves more addresses than any machine has memory."""
    processes: int = 64
    """Processes and threads at a time, the case's own first one included."""
    open_files: int = 256
    file_bytes: int = 256 * MIB
    """The largest file that can be written."""
    tmp_bytes: int = 256 * MIB
    """Room in /tmp, and again in /dev/shm. Both are new for every case."""
    tmp_files: int = 16_384
    output_bytes: int = 64 * MIB
    """Printed to stdout and stderr together; more ends the case."""
    kept_output_bytes: int = 4096
    """Kept of the beginning, and again of the end, of each stream."""
    reply_bytes: int = 64 * MIB
    """The encoded returned value."""

    def message(self) -> dict[str, object]:
        """As the worker wants it."""
        return {
            "wall_seconds": float(self.wall_seconds),
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
