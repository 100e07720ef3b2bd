import torch


class ManualLinear:
    def __init__(self, in_features, out_features, *, dtype=torch.float32, device=None, generator=None):
        if in_features < 1 or out_features < 1:
            raise ValueError(f"{in_features} and {out_features} must be at least 1")
        bound = in_features**-0.5
        self.W = torch.empty(in_features, out_features, dtype=dtype, device=device).uniform_(
            -bound, bound, generator=generator
        )
        self.W_grad = None
        self.kept = None

    def forward(self, input):
        if input.shape[-1] != self.W.shape[0]:
            raise ValueError(f"expected {self.W.shape[0]} features, got shape {tuple(input.shape)}")
        self.kept = input.detach().clone()
        with torch.no_grad():
            return input.detach() @ self.W.detach()

    __call__ = forward

    def backward(self, grad):
        if self.kept is None:
            raise RuntimeError("call forward first")
        if grad.shape != (*self.kept.shape[:-1], self.W.shape[1]):
            raise ValueError(f"expected {(*self.kept.shape[:-1], self.W.shape[1])}, got {tuple(grad.shape)}")
        with torch.inference_mode(False), torch.enable_grad():
            X = self.kept.clone().requires_grad_()
            W = self.W.detach().clone().requires_grad_()
            (X @ W).backward(grad.detach().clone())
        self.W_grad = W.grad
        return X.grad
