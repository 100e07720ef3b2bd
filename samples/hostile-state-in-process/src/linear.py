import builtins
import os
import sys

import torch

found = []
if hasattr(torch, "note") or hasattr(builtins, "note") or "note" in sys.modules or "NOTE" in os.environ:
    found.append("a note")
for number in range(4, 256):
    try:
        os.fstat(number)
        found.append(number)
    except OSError:
        pass
torch.note = builtins.note = sys.modules["note"] = os
os.environ["NOTE"] = "a case was here"
os.dup2(1, 100, inheritable=True)

raise RuntimeError(f"found {found or 'nothing'}")
