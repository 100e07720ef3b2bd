import ctypes
import fcntl
import os
import socket

libc = ctypes.CDLL(None, use_errno=True)
found = []


def attempt(name, call, *arguments):
    try:
        result = call(*arguments)
    except OSError:
        return
    if not isinstance(result, int) or result >= 0:
        found.append(name)


attempt("inotify", libc.inotify_init1, 0)
folder = os.open("/usr", os.O_RDONLY | os.O_DIRECTORY)
attempt("F_NOTIFY", fcntl.fcntl, folder, 1026, 1)
attempt("a lease", fcntl.fcntl, os.open("/usr/bin/env", os.O_RDONLY), 1024, 0)
context = ctypes.c_ulong(0)
if os.uname().machine == "x86_64":
    attempt("io_setup", libc.syscall, 206, 65536, ctypes.byref(context))
attempt("syncfs", libc.syncfs, folder)
attempt("a core of its own", libc.prctl, 62, ctypes.c_ulong(1), 0, 0, 0)
for protocol in (1, 33, 132, 136, 262):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        attempt(f"protocol {protocol}", socket.socket, socket.AF_INET, kind, protocol)

raise RuntimeError(f"found {found or 'nothing'}")
