"""Where two submissions that are graded at the same time could meet."""

import ctypes
import glob
import os
import signal
import socket
import time

NAME = "sample-was-here"
FOLDERS = ("/tmp", "/dev/shm", "/var/tmp", "/submission", "/run", os.path.expanduser("~"))
KEY = 0x5A4D504C
PORT = 47_653
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p


def send(seconds, pids):
    """Leave a note everywhere, call on every socket and signal every one of `pids`, for some time."""
    for folder in FOLDERS:
        try:
            with open(f"{folder}/{NAME}", "w") as file:
                file.write(NAME)
        except OSError:
            pass
    segment = libc.shmget(KEY, 4096, 0o1666)
    if segment >= 0:
        ctypes.memmove(libc.shmat(segment, None, 0), NAME.encode(), len(NAME))
    sockets = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for family, address in ((socket.AF_UNIX, f"\0{NAME}"), (socket.AF_INET, ("127.0.0.1", PORT))):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                one = socket.socket(family, kind)
                one.settimeout(0.01)
                sockets.append(one)
                try:
                    one.connect(address)
                    one.send(NAME.encode())
                except OSError:
                    pass
        del sockets[:-8]
        for pid in pids:
            if pid != os.getpid():
                try:
                    os.kill(pid, signal.SIGUSR1)
                except OSError:
                    pass
        time.sleep(0.01)
