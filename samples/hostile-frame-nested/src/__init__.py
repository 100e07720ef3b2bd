import os
import struct

payload = b"\xa6AG\x01" + b"l\0\0\0\1" * 100_000 + b"N"
os.write(3, struct.pack(">I", len(payload)) + payload)
