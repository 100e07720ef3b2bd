import os
import time

for _ in range(4):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
