"""No wall: probe calls as ordinary processes, for development on systems that have no wall.

Student code can do here whatever the user can: read the hidden suite, the network, the credentials. So this
has to be asked for by name, `isolated` is False, and a report made with it says so. What holds is only what
keeps a development machine usable: the time limit, the output limit, the size of a reply. It costs a fresh
interpreter and the import of everything per case, and needs nothing but Python: it is meant for macOS and
Windows.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import autograder
from autograder.errors import GraderError
from autograder.sandbox import policy
from autograder.sandbox.inside import protocol
from autograder.sandbox.limits import Limits
from autograder.sandbox.outcome import Outcome, interpret
from autograder.sandbox.session import checked_files

STARTED = struct.Struct(">cd")
PREPARATION_SECONDS = 120.0
TICK = 0.02
BOOT = (
    "import sys; sys.path[0] = sys.argv[1]; from autograder.sandbox.inside import plain; "
    "del sys.path[0]; plain.main(sys.argv[2])"  # the staff's own `src` lies beside the autograder
)
INHERITED = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class NoWall:
    """A `Wall` that protects from nothing."""

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
        """Nothing to start."""

    def ready(self, timeout: float = 120.0) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to end."""

    def open(self, files: Mapping[str, bytes], limits: Limits | None = None) -> PlainSession:
        return PlainSession(self._probes, self._preload, files, limits or self._limits)


class PlainSession:
    """A `Session` of ordinary processes in a temporary folder."""

    def __init__(
        self, probes: bytes, preload: tuple[str, ...], files: Mapping[str, bytes], limits: Limits
    ) -> None:
        self._preload = preload
        self._limits = limits
        # A case that is killed may leave something open, which Windows then does not remove.
        self._temporary = tempfile.TemporaryDirectory(prefix="no-wall-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        (self._folder / "probes.py").write_bytes(probes)
        self.add_files(files)

    def __enter__(self) -> PlainSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._temporary.cleanup()

    def add_files(self, files: Mapping[str, bytes]) -> None:
        for name, content in checked_files(files).items():
            path = self._folder / "submission" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(
        self,
        probe: str,
        inputs: Sequence[object] = (),
        *,
        timeout: float | None = None,
        limits: Limits | None = None,
    ) -> Outcome:
        limits = limits or self._limits
        if timeout is not None:
            limits = replace(limits, wall_seconds=timeout)
        self._write_request(probe, inputs, limits)
        began = time.monotonic()
        with (
            (self._folder / "stdout").open("wb") as stdout,
            (self._folder / "stderr").open("wb") as stderr,
        ):
            process = subprocess.Popen(
                [sys.executable, "-B", "-c", BOOT, _package_parent(), str(self._folder)],
                env=_environment(self._folder),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                reason, started = self._follow(process, limits, began)
            finally:
                _kill(process)
        ended = time.monotonic()
        reply = self._reply()
        if started is None:
            text = reply[1:].decode("utf-8", "replace") or self._excerpt("stderr", 2000)[1].decode(
                "utf-8", "replace"
            )
            raise GraderError(f"a case did not get as far as student code: {text}")
        facts = {
            "reason": "reply" if len(reply) > STARTED.size + 4 + limits.reply_bytes else reason,
            "status": _wait_status(process.returncode),
            "seconds": ended - started,
            "cpu_seconds": 0.0,
            "peak_bytes": 0,
            "stdout": self._excerpt("stdout", limits.kept_output_bytes),
            "stderr": self._excerpt("stderr", limits.kept_output_bytes),
        }
        return interpret(facts, reply[STARTED.size + 4 :], limits)

    def _write_request(self, probe: str, inputs: Sequence[object], limits: Limits) -> None:
        bounds = protocol.DecodeLimits(total_bytes=2**31, items=10**8, arrays=10**7, guessable_keys=10**7)
        try:
            encoded = protocol.encode(tuple(inputs), bounds, opaque=False)
            request = {
                "preload": list(self._preload),
                "probe": probe,
                "inputs": encoded,
                "limits": limits.message(),
            }
            (self._folder / "request").write_bytes(protocol.encode(request, bounds))
        except protocol.ProtocolError as error:
            raise GraderError(f"inputs of probe {probe!r} cannot be sent: {error}") from error
        (self._folder / "reply").write_bytes(b"")

    def _follow(
        self, process: subprocess.Popen[bytes], limits: Limits, began: float
    ) -> tuple[str, float | None]:
        """Why the case is over, and when student code began if it did."""
        while True:
            ended = process.poll() is not None
            reply = self._reply()
            started = (
                STARTED.unpack_from(reply)[1] if reply[:1] == b"S" and len(reply) >= STARTED.size else None
            )
            body = reply[STARTED.size :]
            if started is not None and len(body) >= 4 and len(body) >= 4 + int.from_bytes(body[:4], "big"):
                return "replied", started
            if ended:
                return "ended", started
            deadline = began + PREPARATION_SECONDS if started is None else started + limits.wall_seconds
            if time.monotonic() >= deadline:
                return "wall", started
            if (
                sum((self._folder / name).stat().st_size for name in ("stdout", "stderr"))
                > limits.output_bytes
            ):
                return "output", started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK)

    def _reply(self) -> bytes:
        with (self._folder / "reply").open("rb") as file:
            return file.read(2**30)

    def _excerpt(self, name: str, keep: int) -> tuple[bytes, bytes, int]:
        path = self._folder / name
        total = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(keep)
            file.seek(max(len(head), total - keep))
            return head, file.read(keep), total


def _package_parent() -> str:
    return str(Path(autograder.__file__).parents[1])


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
    """The status that `waitpid` would have given."""
    return -returncode if returncode < 0 else returncode << 8
