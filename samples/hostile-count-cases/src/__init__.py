import os
import threading

numbers, found = [], []
thread = threading.Thread(target=lambda: numbers.append(threading.get_native_id()))
thread.start()
thread.join()
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
if (os.getpid(), *numbers, child) != (2, 3, 4):
    found.append((os.getpid(), *numbers, child))
for folder in ("/tmp", "/dev/shm"):
    with open(f"{folder}/first", "w") as file:
        number = os.fstat(file.fileno()).st_ino
    if os.stat(folder).st_ino != 1 or number != 2:
        found.append((folder, os.stat(folder).st_ino, number))
times = {os.stat(path).st_mtime for path in ("/submission", "/submission/src", __file__)}
if times != {946_684_800}:
    found.append(sorted(times))

raise RuntimeError(f"found {found or 'nothing'}")
