"""The sandbox without a wall: probe calls run as ordinary processes.

It is for development on systems that have no wall, such as macOS and Windows.

Student code can do everything that the user can do: read the hidden suite, use the network, read credentials. So staff
must choose this sandbox by name, and every report made with it says that student code was not isolated. Only three
limits are enforced, to keep a development machine usable: the time limit, the output limit and the size of a reply.
Each case starts a new interpreter and imports all modules again. Only Python is needed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any

from autograder.errors import GraderError
from autograder.own_process import PACKAGE_PARENT
from autograder.sandbox import policy
from autograder.sandbox.inside import protocol
from autograder.sandbox.inside.reply import Reply
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, interpret
from autograder.sandbox.session import INPUTS, case_limits, checked_files, checked_names, encoded_inputs

PREPARATION_SECONDS = 120.0
TICK = 0.02
START_PLAIN_CASE = (
    "import sys; sys.path[0] = sys.argv[1]; from autograder.sandbox.inside import plain; "
    "del sys.path[0]; plain.main(sys.argv[2])"  # `import src` must not find the staff's own `src` there
)
INHERITED = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")


class NoWall:
    """A `Wall` without any protection."""

    protections: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, probes: Path, *, preload: Sequence[str] = (), limits: Limits | None = None) -> None:
        self._probes = probes.read_bytes()
        self._preload = tuple(preload)
        self._limits = limits or Limits()

    def __enter__(self) -> NoWall:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Do nothing: each case starts its own process."""

    def ready(self, timeout: float = 120.0) -> None:
        """Do nothing: the wall is always ready."""

    def close(self) -> None:
        """Do nothing: no process runs between cases."""

    def open(self, files: Mapping[str, bytes], limits: Limits | None = None) -> PlainSession:
        return PlainSession(self._probes, self._preload, files, limits or self._limits)


class PlainSession:
    """A `Session` that runs each case as an ordinary process in a temporary folder."""

    def __init__(
        self, probes: bytes, preload: tuple[str, ...], files: Mapping[str, bytes], limits: Limits
    ) -> None:
        self._preload = preload
        self._limits = limits
        # A killed case may leave a file open, and Windows does not remove open files.
        self._temporary = tempfile.TemporaryDirectory(prefix="no-wall-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        (self._folder / "probes.py").write_bytes(probes)
        self._write("submission", checked_files(files))
        (self._folder / "build").mkdir()

    def __enter__(self) -> PlainSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._temporary.cleanup()

    def set_build(self, files: Mapping[str, bytes]) -> None:
        self._write("build", checked_names(files))

    def _write(self, folder: str, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            path = self._folder / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(
        self,
        probe: str,
        inputs: Sequence[object] = (),
        *,
        timeout: float | None = None,
        limits: Limits | None = None,
        build: bool = False,
    ) -> Outcome:
        limits = case_limits(limits or self._limits, timeout)
        request = {
            "preload": list(self._preload),
            "probe": probe,
            "inputs": encoded_inputs(probe, inputs),
            "limits": limits.message(),
            "build": build,
        }
        (self._folder / "request").write_bytes(protocol.encode(request, INPUTS))
        (self._folder / "reply").write_bytes(b"")
        reply = Reply(limits.reply_bytes)
        with (
            (self._folder / "stdout").open("wb") as stdout,
            (self._folder / "stderr").open("wb") as stderr,
            (self._folder / "reply").open("rb") as replies,
        ):
            process = self._start(stdout, stderr)
            try:
                reason = self._follow(process, reply, replies, limits)
            finally:
                _kill(process)
        ended = time.monotonic()
        if reply.began is None:
            text = reply.failure() or self._excerpt("stderr", 2000)[1].decode("utf-8", "replace")
            raise GraderError(f"a case did not get as far as student code: {text}")
        facts = {
            "reason": reason,
            "status": _wait_status(process.returncode),
            "importing": reply.importing,
            "seconds": ended - reply.began,
            "cpu_seconds": 0.0,
            "peak_bytes": 0,
            "stdout": self._excerpt("stdout", limits.kept_output_bytes),
            "stderr": self._excerpt("stderr", limits.kept_output_bytes),
        }
        return interpret(facts, reply.payload(), limits)

    def _start(self, stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-B", "-c", START_PLAIN_CASE, PACKAGE_PARENT, str(self._folder)],
            env=_environment(self._folder),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def _follow(
        self, process: subprocess.Popen[bytes], reply: Reply, replies: IO[bytes], limits: Limits
    ) -> str:
        """Read the reply until the case is over. Return the reason: replied, ended, wall, output or reply."""
        started = time.monotonic()
        while True:
            ended = process.poll() is not None
            reply.add(replies.read())
            if reply.too_large:
                return "reply"
            if reply.complete:
                return "replied"
            if ended:
                return "ended"
            if time.monotonic() >= (
                started + PREPARATION_SECONDS if reply.began is None else reply.began + limits.wall_seconds
            ):
                return "wall"
            printed = sum((self._folder / name).stat().st_size for name in ("stdout", "stderr"))
            if printed > limits.output_bytes:
                return "output"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK)

    def _excerpt(self, name: str, keep: int) -> tuple[bytes, bytes, int]:
        path = self._folder / name
        total = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(keep)
            file.seek(max(len(head), total - keep))
            return head, file.read(keep), total


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**policy.ENVIRONMENT, **kept, "HOME": str(folder), "TMPDIR": str(folder), "TEMP": str(folder)}


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_status(returncode: int) -> Any:
    """Return the status that `waitpid` would have returned."""
    return -returncode if returncode < 0 else returncode << 8
