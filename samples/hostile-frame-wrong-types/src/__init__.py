import os

from autograder.sandbox.inside import protocol

answers = (
    ("passed",),
    ("returned", 1, 2),
    ["returned", 1],
    {"returned": 1},
    ("raised", "exception", 1, 2, 3),
    ("raised", "GraderError", "x", "x", ()),
    ("raised", "exception", "x", "x", (("x", True),)),
    ("raised", "exception", "x", "x", (None, 1)),
    ("started",),
    ("failed", "the sandbox is broken, please do not count this"),
    None,
)
os.write(3, protocol.frame(protocol.encode(answers[os.getpid() % len(answers)])))
