import os
import signal

for pid in {1, (os.getppid() or 1)}:
    for number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGRTMIN):
        try:
            os.kill(pid, number)
        except OSError:
            pass
