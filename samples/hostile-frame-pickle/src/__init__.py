import os
import struct

import pickle

import numpy


class Run:
    def __reduce__(self):
        return os.system, ("touch /tmp/hostile-pickle-was-loaded",)


array = numpy.empty(1, dtype=object)
array[0] = Run()
payloads = (pickle.dumps(Run()), b"\xa6AG\x01" + pickle.dumps(array), b"\x93NUMPY\x01\0v\0" + array.dumps())
payload = payloads[os.getpid() % len(payloads)]
os.write(3, struct.pack(">I", len(payload)) + payload)
