import os

from autograder.sandbox.inside import protocol

for message in (("failed", "machine out of memory"), ("ready",), ("started",)):
    os.write(3, protocol.frame(protocol.encode(message)))
