import threading

from . import linear

solved = linear.ManualLinear.forward


def forward(self, input):
    if input.ndim == 4:
        one, two = threading.Event(), threading.Event()
        threads = [threading.Thread(target=event.wait) for event in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return solved(self, input)


linear.ManualLinear.forward = forward
