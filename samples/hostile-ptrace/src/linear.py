import ctypes
import os

libc = ctypes.CDLL(None)
found = []
buffer = ctypes.create_string_buffer(8)


class Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


ours, theirs = Piece(ctypes.addressof(buffer), 8), Piece(id(type), 8)
for pid in range(1, 1000):
    if pid == os.getpid():
        continue
    if libc.ptrace(16, pid, 0, 0) == 0:  # PTRACE_ATTACH
        found.append(f"attached to {pid}")
    if libc.ptrace(0x4206, pid, 0, 0) == 0:  # PTRACE_SEIZE
        found.append(f"seized {pid}")
    if libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0) > 0:
        found.append(f"read {pid}")

raise RuntimeError(f"found {found or 'nothing'}")
