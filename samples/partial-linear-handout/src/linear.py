import torch


class ManualLinear:
    def __init__(self, in_features, out_features, device=None, dtype=None):
        bound = in_features**-0.5
        self.W = torch.empty(in_features, out_features, device=device, dtype=dtype).uniform_(-bound, bound)
        self.W_grad = torch.zeros_like(self.W)

    def forward(self, input):
        self.input = input
        return input @ self.W

    def backward(self, grad_output):
        self.W_grad = torch.einsum("bni,bno->io", self.input, grad_output)
        return grad_output @ self.W.T
