import ctypes
import glob
from multiprocessing import shared_memory

libc = ctypes.CDLL(None)
found = glob.glob("/dev/shm/*")
if libc.shmget(4242, 4096, 0) >= 0:
    found.append("shared memory")
if libc.semget(4242, 1, 0) >= 0:
    found.append("semaphore")
if libc.msgget(4242, 0) >= 0:
    found.append("queue")
if libc.shmget(4242, 4096, 0o1666) >= 0 or libc.semget(4242, 1, 0o1666) >= 0 or libc.msgget(4242, 0o1666) >= 0:
    found.append("made one")
if libc.mq_open(b"/queue", 0o102, 0o666, None) >= 0:
    found.append("POSIX queue")
memory = shared_memory.SharedMemory("note", create=True, size=4096)
memory.buf[:4] = b"note"

raise RuntimeError(f"found {found or 'nothing'}")
