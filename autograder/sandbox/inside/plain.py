"""A case without a wall: one ordinary process for each probe call, for development on systems that have no wall.

The argument is a folder with `request`, `probes.py`, `submission/src/` and `build/`. The process writes its reply
to the file `reply` there, in the format that a case inside a wall writes to its reply pipe. Student code is not
confined, and each process imports all modules again. Only Python is needed: no `fork`, and no system call that only
Linux has.
"""

from __future__ import annotations

import importlib
import os

from . import protocol
from .reply import (
    BUILD_VARIABLE,
    FAILED_STATUS,
    call_and_reply,
    decode_inputs,
    failure,
    find_probe,
    load_probes,
)


def main(folder: str) -> None:
    """Run the request in `folder`, and end the process."""
    with open(f"{folder}/request", "rb") as file:  # noqa: PTH123
        data = file.read()
    request = protocol.decode(data, protocol.DecodeLimits(total_bytes=len(data)))
    with open(f"{folder}/reply", "wb", buffering=0) as reply:  # noqa: PTH123
        try:
            for name in request["preload"]:
                importlib.import_module(name)
            call = find_probe(load_probes(f"{folder}/probes.py"), request["probe"])
            inputs = decode_inputs(request["inputs"])
        except BaseException as error:  # noqa: BLE001  # our fault, which the other side raises as a GraderError
            reply.write(failure(error))
            os._exit(FAILED_STATUS)
        if request["build"]:
            os.environ[BUILD_VARIABLE] = os.path.join(folder, "build")  # noqa: PTH118
        root = os.path.join(folder, "submission")  # noqa: PTH118
        call_and_reply(call, inputs, request["limits"], root, reply.write)
    os._exit(0)
