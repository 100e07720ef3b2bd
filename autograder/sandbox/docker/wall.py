"""Containers as the wall: one for each submission, out of a small pool of warmed ones.

Theory of operation
-------------------
The container is what keeps a submission in, from the host and from others. Nothing in it has a privilege, not
even our worker, so it needs no namespaces for ordinary users, which some machines refuse; and it can show a GPU.
What it costs is a start of Python and an import of torch for every submission, ahead of time if the pool keeps up.

The image brings Python, NumPy, torch and the compiler, nothing of ours: the worker and the probes are sent
through standard input, so grader and worker are always of the same version, and no engine needs to see our files.
`engine` makes the command line, `pool` is the process that runs the containers, `worker.container` is their pid 1.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder.errors import GraderError
from autograder.sandbox import policy
from autograder.sandbox.docker import engine, pool
from autograder.sandbox.inside import protocol
from autograder.sandbox.limits import Limits
from autograder.sandbox.wall import (
    ControlledWall,
    anonymous_file,
    protections_wanted,
    refuse_to_show,
    seccomp_program,
    worker_files,
)

POOL_SIZE = 2
OPEN_SECONDS = 300.0
"""For a container to become free, when many submissions ask at once."""
END_SECONDS = 20.0

NOT_THERE = frozenset({"user-namespace"})
"""Of the protections, what a container has not: student code is an ordinary user of the host, of nobody else's uid."""

BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from autograder.sandbox.docker import pool; sys.exit(pool.start(sys.argv[2:]))"
)


class DockerWall(ControlledWall):
    """Containers of one image, a new one for each submission."""

    def __init__(
        self,
        probes: Path,
        *,
        image: str,
        preload: Sequence[str] = (),
        limits: Limits | None = None,
        devices: Sequence[str] = (),
        volumes: Sequence[str] = (),
        waive: Sequence[str] = (),
        masked_packages: Sequence[str] = policy.MASKED_PACKAGES,
        size: int = POOL_SIZE,
    ) -> None:
        """
        probes           the probes file; its content is read now
        image            what the containers are made of; it must be on this machine
        preload          modules that the worker imports, such as ("numpy", "torch")
        limits           of sessions; a container's size is made for them, so no session may ask for more
        devices          device nodes to show; /dev/nvidia0 becomes `--gpus device=0`
        volumes          folders of the host to show, read-only, as "/host/folder:/inside"
        waive            protections to do without
        masked_packages  packages that must not be importable: an image with one of them is refused
        size             containers to keep warm
        """
        if not image:
            raise GraderError(
                "the container wall needs an image: --image NAME, or image in [sandbox] of autograder.toml"
            )
        features = protections_wanted(frozenset(waive)) - NOT_THERE
        super().__init__(limits, features - policy.OPTIONAL)
        refuse_to_show(probes, [volume.partition(":")[0] for volume in volumes])
        self.image = image
        configuration = {
            "features": sorted(features),
            "preload": list(preload),
            "site_packages": [],
            "seccomp": seccomp_program(features),
            "shown": [
                *policy.DEVICES,
                *([] if "hidden-proc" in features else ["/proc"]),
                *(volume.partition(":")[2] for volume in volumes),
            ],
            "hidden": [],
            "devices": list(devices),
            "folder": policy.GRADER_DIRECTORY,
            "masked": list(masked_packages),
            "limits": Limits().message(),
        }
        self._job = {
            "image": image,
            "limits": dataclasses.asdict(self._limits),
            "devices": list(devices),
            "volumes": list(volumes),
            "files": pool.payload(worker_files(probes.read_bytes(), configuration)),
            "size": size,
        }

    @property
    def provenance(self) -> Mapping[str, Any]:
        return {"image": {"name": self.image, "id": engine.image_id(self.image), **self._answer()[2]}}

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        job = anonymous_file(protocol.encode(self._job, opaque=False))
        package = str(Path(__file__).resolve().parents[3])
        try:
            return subprocess.Popen(
                # -I: neither the current folder nor the environment chooses what is imported
                [sys.executable, "-I", "-c", BOOT, package, str(control.fileno()), str(job)],
                env=engine.environment(os.environ),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(control.fileno(), job),
                start_new_session=True,  # Ctrl-C is for whoever uses the wall
            )
        finally:
            os.close(job)

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                self._send_descriptor(theirs.fileno())
            ours.settimeout(OPEN_SECONDS)
            try:
                data, descriptors, _, _ = socket.recv_fds(ours, 65536, 1)
            except TimeoutError:
                raise GraderError(
                    f"no container was free for {OPEN_SECONDS:.0f} s; grade fewer submissions at a time: --jobs"
                ) from None
            except OSError:
                data, descriptors = b"", []
        if descriptors:
            return socket.socket(fileno=descriptors[0])
        if data:
            raise GraderError(f"no container could be had: {protocol.decode(data)[1]}")
        raise GraderError(f"the sandbox is gone: {self._explain()}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            super()._end(process)
