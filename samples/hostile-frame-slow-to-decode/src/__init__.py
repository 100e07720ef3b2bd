import os

import numpy

from autograder.sandbox.inside import protocol

many = [None] * 600_000
arrays = [numpy.zeros(0, dtype="float32") for _ in range(6_000)]
keys = {number: number for number in range(4_000)}
os.write(3, b"")
payload = protocol.frame(protocol.encode(("returned", {"values": {"Y": (many, arrays, keys)}})))
while payload:
    payload = payload[os.write(3, payload) :]
