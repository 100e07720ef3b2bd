import os
import struct

os.write(3, struct.pack(">I", 1000) + b"half")
os._exit(0)
