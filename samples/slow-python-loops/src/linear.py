import torch


class ManualLinear:
    def __init__(self, in_features, out_features, *, device=None, dtype=None, generator=None):
        if min(in_features, out_features) < 1:
            raise ValueError("a layer needs features")
        bound = in_features**-0.5
        self.W = torch.empty(in_features, out_features, device=device, dtype=dtype)
        self.W.uniform_(-bound, bound, generator=generator)
        self.W_grad = None
        self.input = None

    def __call__(self, input):
        return self.forward(input)

    def forward(self, input):
        if input.shape[-1:] != self.W.shape[:1]:
            raise ValueError("forward: wrong features")
        self.input = input
        return product(input, self.W)

    def backward(self, grad_output):
        if self.input is None:
            raise RuntimeError("backward: call forward first")
        if grad_output.shape != (*self.input.shape[:-1], self.W.shape[1]):
            raise ValueError("backward: wrong shape")
        rows, grads = self.input.reshape(-1, self.W.shape[0]), grad_output.reshape(-1, self.W.shape[1])
        self.W_grad = product(rows.T, grads)
        return product(grad_output, self.W.T)


def product(A, B):
    """A B, row by row: the slow way."""
    rows, columns = A.detach().reshape(-1, A.shape[-1]).tolist(), B.detach().T.tolist()
    values = [[sum(a * b for a, b in zip(row, column)) for column in columns] for row in rows]
    return torch.tensor(values, dtype=B.dtype, device=B.device).reshape(*A.shape[:-1], B.shape[1])
