import os
import struct

os.write(3, b"F" + b"OSError: no space left on device")
os._exit(71)
