import array
import contextlib
import os
import socket

many = array.array("i", [0] * 253)
pairs = [socket.socketpair() for _ in range(40)]
for _ in range(8):
    if os.fork() == 0:
        while True:
            for pair in pairs:
                with contextlib.suppress(OSError):
                    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, many)], socket.MSG_DONTWAIT)
