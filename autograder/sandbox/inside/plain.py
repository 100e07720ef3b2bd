"""A case without a wall: one ordinary process per probe call, for development where no wall can be had.

The folder that is given as its argument holds `request`, `probes.py` and `submission/src/`; the reply goes to
the file `reply` there, in the same form as from a case behind a wall. Nothing here confines anything, and
everything is imported anew in each process. It needs neither `fork` nor any call of Linux's.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import struct
import sys
import time

from . import protocol
from .reply import reply_of_call


def main(folder: str) -> None:
    """Run the one request of `folder`, and end the process."""
    with open(f"{folder}/request", "rb") as file:  # noqa: PTH123
        data = file.read()
    request = protocol.decode(data, protocol.DecodeLimits(total_bytes=len(data)))
    with open(f"{folder}/reply", "wb", buffering=0) as reply:  # noqa: PTH123
        try:
            for name in request["preload"]:
                importlib.import_module(name)
            specification = importlib.util.spec_from_file_location("_probes", f"{folder}/probes.py")
            if specification is None or specification.loader is None:
                raise ImportError(f"cannot load {folder}/probes.py")
            probes = importlib.util.module_from_spec(specification)
            sys.modules["_probes"] = probes
            specification.loader.exec_module(probes)
            call = getattr(probes, request["probe"], None)
            if request["probe"].startswith("_") or not callable(call):
                raise LookupError(f"the probes file has no function {request['probe']!r}")
            limits = protocol.DecodeLimits(total_bytes=len(data), items=2**31, arrays=2**31)
            inputs = protocol.decode(request["inputs"], limits, load=True)
        except BaseException as error:  # noqa: BLE001  # ours, and told to the other side
            reply.write(b"F" + f"{type(error).__name__}: {error}".encode()[:2000])
            os._exit(71)
        root = os.path.join(folder, "submission")  # noqa: PTH118
        sys.path.insert(0, root)
        reply.write(struct.pack(">cd", b"S", time.monotonic()))
        reply.write(protocol.frame(reply_of_call(call, inputs, request["limits"], root)))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
