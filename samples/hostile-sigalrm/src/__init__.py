import signal
import time

from . import linear

solved = linear.ManualLinear.forward


def forward(self, input):
    if input.ndim == 4:
        signal.signal(signal.SIGALRM, lambda *_: signal.alarm(1))
        signal.alarm(1)
        while True:
            time.sleep(60)
    return solved(self, input)


linear.ManualLinear.forward = forward
