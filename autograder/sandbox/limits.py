"""What one case may use."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What one case may use. Sizes in bytes, times in seconds."""

    wall_seconds: float = 10.0
    """From the moment when student code begins; the import of `src` is included."""
    cpu_seconds: float | None = None
    """Of each process. None: four times wall_seconds and one second, so that only many threads can reach it."""
    memory_bytes: int = 1024 * MIB
    """Beyond what the fork server has: the address space of each process, and the memory of all processes together."""
    limit_address_space: bool = True
    """Switch this off for CUDA, which reserves more addresses than any machine has memory."""
    processes: int = 64
    """Processes and threads at a time, including the first process of the case."""
    open_files: int = 256
    file_bytes: int = 256 * MIB
    """The largest file that can be written."""
    tmp_bytes: int = 256 * MIB
    """The size of /tmp, and of /dev/shm. Both are new for every case."""
    tmp_files: int = 16_384
    output_bytes: int = 64 * MIB
    """Printed to stdout and stderr together; a case that prints more is ended."""
    kept_output_bytes: int = 4096
    """How much is kept of the beginning of each stream, and of its end."""
    reply_bytes: int = 64 * MIB
    """The encoded returned value."""

    def message(self) -> dict[str, object]:
        """Return the limits by name, as the processes inside read them."""
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
