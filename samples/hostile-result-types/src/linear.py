import os

import numpy
import torch


def answer(zeros):
    kinds = (
        None,
        True,
        10**2000,
        complex("nan"),
        "text",
        b"bytes",
        [[]],
        {},
        numpy.float32(0),
        numpy.zeros((2, 0, 3), dtype=">f8"),
        torch.zeros(2, 2, dtype=torch.bool),
        torch.zeros((1,) * 60),
        numpy.dtype("float32"),
        torch.float32,
        object(),
        "\ud800",
    )
    return kinds[(os.getpid() + zeros.ndim) % len(kinds)]


class ManualLinear:
    def __init__(self, in_features, out_features, **options):
        self.W = torch.zeros(in_features, out_features)

    def forward(self, input):
        self.input = input
        self.W_grad = answer(self.W)
        return answer(torch.zeros(*input.shape[:-1], self.W.shape[1], dtype=input.dtype))

    def backward(self, grad_output):
        return answer(torch.zeros_like(self.input))
