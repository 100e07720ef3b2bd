import ctypes
import os

libc = ctypes.CDLL(None)
for option, value in ((4, 0), (1, 0), (36, 1), (15, b"bwrap"), (23, 0), (41, 1)):
    libc.prctl(option, value, 0, 0, 0)
libc.mlockall(3)
for call in (lambda: os.nice(-20), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))):
    try:
        call()
    except OSError:
        pass
