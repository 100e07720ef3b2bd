import os
import struct

big = b"\xff" * 8
payloads = (
    b"l\xff\xff\xff\xff",
    b"d\xff\xff\xff\xff",
    b"i\xff\xff\xff\xff",
    b"a\x03<f4\x40" + big * 64,
    b"a\x03<f4\x02" + big + b"\0" * 8 + b"\0\1",
    b"r\x07float32\x03cpu\0\x02" + b"\x40" + b"\0" * 7 + b"\x40" + b"\0" * 7 + b"\0\1",
    b"a\x03|O8\1" + b"\0" * 7 + b"\1\0" + b"\0" * 8,
    b"t\0\0\0\2" + b"s\0\0\0\x08returned" + b"r\x06object\x03cpu\0\0",
)
payload = b"\xa6AG\x01" + payloads[os.getpid() % len(payloads)]
os.write(3, struct.pack(">I", len(payload)) + payload)
