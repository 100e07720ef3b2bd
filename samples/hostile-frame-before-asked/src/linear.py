import torch


class ManualLinear:
    """Computes nothing."""

    def __init__(self, in_features, out_features, **options):
        self.W = torch.zeros(in_features, out_features)

    def forward(self, input):
        self.shape = input.shape
        return torch.zeros(*input.shape[:-1], self.W.shape[1], dtype=input.dtype)

    def backward(self, grad_output):
        self.W_grad = torch.zeros_like(self.W)
        return torch.zeros(self.shape, dtype=grad_output.dtype)
