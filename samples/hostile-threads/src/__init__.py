import threading
import time

files, threads = [], []
try:
    while True:
        files.append(open("/dev/null"))
except OSError:
    del files[-50:]
try:
    while True:
        threads.append(threading.Thread(target=time.sleep, args=(3600,), daemon=True))
        threads[-1].start()
except RuntimeError:
    pass
