import contextlib
import os
import time

found = []
for pid in range(2, 2000):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        continue
    if pid != os.getpid():
        found.append(pid)

if os.fork() == 0:
    with contextlib.suppress(OSError):
        os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        while True:
            time.sleep(1)
    os._exit(0)

raise RuntimeError(f"found {found or 'nothing'}")
