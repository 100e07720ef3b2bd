import os

for folder in ("/tmp", "/dev/shm", "/submission/src", "/"):
    try:
        with open(os.path.join(folder, "ballast"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 1 << 40)
    except OSError:
        pass
    try:
        with open(os.path.join(folder, "more"), "wb") as file:
            for _ in range(100):
                file.write(bytes(1 << 20))
    except OSError:
        pass
