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


def receive(seconds):
    """Return what came within some time, by channel."""
    received = set()
    signal.signal(signal.SIGUSR1, lambda *_: received.add("signal"))
    sockets = []
    for family, address in ((socket.AF_UNIX, f"\0{NAME}"), (socket.AF_INET, ("127.0.0.1", PORT))):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            one = socket.socket(family, kind)
            one.setblocking(False)
            one.bind(address)
            if kind == socket.SOCK_STREAM:
                one.listen()
            sockets.append((one, kind, family.name))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for one, kind, family in sockets:
            try:
                one.accept() if kind == socket.SOCK_STREAM else one.recv(100)
                received.add(f"{family} {kind.name}")
            except OSError:
                pass
        for folder in FOLDERS:
            if glob.glob(f"{folder}/{NAME}*"):
                received.add(folder)
        if libc.shmget(KEY, 4096, 0) >= 0:
            received.add("System V")
        time.sleep(0.01)
    return sorted(received)
