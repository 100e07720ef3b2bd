import os
import struct

garbage = os.urandom(1000)
os.write(3, struct.pack(">I", len(garbage)) + garbage)
