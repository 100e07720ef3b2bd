import os
import struct

os.write(3, struct.pack(">I", 2**32 - 1))
for _ in range(1000):
    os.write(3, bytes(2**20))
