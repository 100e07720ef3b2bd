import torch


class ManualLinear:
    def __init__(self, in_features, out_features, *, device=None, dtype=None, generator=None):
        self.W = torch.zeros(in_features, out_features, device=device, dtype=dtype)
        self.W_grad = None

    def forward(self, input):
        self.input = input
        return input @ self.W / 0 * 0

    def backward(self, grad_output):
        self.W_grad = self.W / 0 * 0
        return self.input / 0 * 0
