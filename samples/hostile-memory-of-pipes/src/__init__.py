import ctypes
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
found = []


class Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


memory = mmap.mmap(-1, 2 << 20)
read, write = os.pipe()
piece = Piece(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1)
if libc.vmsplice(write, ctypes.byref(piece), ctypes.c_ulong(1), 0) >= 0:
    found.append("vmsplice")
os.write(write, b"some data")
other_read, other_write = os.pipe()
if libc.tee(read, other_write, ctypes.c_size_t(4), 0) >= 0:
    found.append("tee")
if libc.splice(read, None, other_write, None, ctypes.c_size_t(4), 0) >= 0:
    found.append("splice")

raise RuntimeError(f"found {found or 'nothing'}")
