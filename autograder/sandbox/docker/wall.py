"""The wall of containers: each submission gets its own container, from a small pool of warm containers.

Theory of operation
-------------------
The container isolates a submission from the host and from other submissions. No process in it has a privilege, not even
our own first process. So this wall does not need user namespaces for ordinary users, which some machines refuse. It can
also show a GPU. The cost is a start of Python and an import of torch for every submission. The pool does this work
ahead of time, as long as it keeps up with the submissions.

The image contains Python, NumPy, torch and the compiler, but no part of the grader: the package `inside` and the probes
are sent through standard input. So both sides always have the same version, and the engine never needs our files.
`engine` makes the command line, `pool` is the process that runs the containers, `inside.container` is their pid 1.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder.errors import GraderError
from autograder.own_process import own_process
from autograder.sandbox import policy
from autograder.sandbox.docker import engine, pool
from autograder.sandbox.inside import protocol
from autograder.sandbox.limits import Limits
from autograder.sandbox.wall import (
    ControlledWall,
    anonymous_file,
    configuration,
    inside_files,
    protections_wanted,
    refuse_to_show,
)

POOL_SIZE = 2
OPEN_SECONDS = 300.0
"""The time that a submission may wait for a container while many submissions are opened."""
END_SECONDS = 20.0

REFUSED_PACKAGES = ("ref", "reference", "autograder", "hidden")
"""An image that contains one of these is refused. Student code could not import them, if the kernel has Landlock."""

MISSING = frozenset({"user-namespace", "case-pid-namespace"})
"""The protections that a container lacks: student code runs as an ordinary user of the host, with its own uid, and all
cases of a submission share the container's process ids."""


class DockerWall(ControlledWall):
    """A wall that opens each submission in a new container of one image."""

    def __init__(
        self,
        probes: Path,
        *,
        image: str,
        preload: Sequence[str] = (),
        importable: Sequence[str] = (),
        limits: Limits | None = None,
        devices: Sequence[str] = (),
        volumes: Sequence[str] = (),
        waive: Sequence[str] = (),
        size: int = POOL_SIZE,
    ) -> None:
        """
        probes      the probes file; the constructor reads its content
        image       the image of the containers; it must be on this machine
        preload     modules that a container imports before it gets a submission, such as ("numpy", "torch")
        importable  packages that student code can import besides the standard library and `preload`
        limits      limits of sessions; they set the size of the containers, so no session may have higher limits
        devices     device nodes to show; /dev/nvidia0 becomes `--gpus device=0`
        volumes     folders of the host to show, read-only, as "/host/folder:/inside"
        waive       protections that need not be in force
        size        the number of containers that are kept warm
        """
        if not image:
            raise GraderError(
                "the container wall needs an image: --image NAME, or image in [sandbox] of autograder.toml"
            )
        features = protections_wanted(frozenset(waive)) - MISSING
        super().__init__(limits, features - policy.OPTIONAL)
        refuse_to_show(probes, [volume.partition(":")[0] for volume in volumes])
        self.image = image
        settings = configuration(
            features,
            preload,
            importable,
            shown=[
                *policy.DEVICES,
                *([] if "hidden-proc" in features else ["/proc"]),
                *(volume.partition(":")[2] for volume in volumes),
            ],
            devices=devices,
            refused=list(REFUSED_PACKAGES),
        )
        self._pool_settings = {
            "image": image,
            "limits": dataclasses.asdict(self._limits),
            "devices": list(devices),
            "volumes": list(volumes),
            "files": pool.payload(inside_files(probes.read_bytes(), settings)),
            "size": size,
        }

    @property
    def provenance(self) -> Mapping[str, Any]:
        facts = self._ready_message()[2]
        return {"image": {"name": self.image, "id": engine.image_id(self.image), **facts}}

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        settings = anonymous_file(protocol.encode(self._pool_settings, opaque=False))
        descriptors = (control.fileno(), settings)
        try:
            command = own_process(pool.__name__, *map(str, descriptors))
            return self._popen(command, engine.environment(os.environ), descriptors)
        finally:
            os.close(settings)

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
            raise GraderError(f"no container could be started: {protocol.decode(data)[1]}")
        raise GraderError(f"the sandbox is gone: {self._explain()}")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            super()._end(process)
