import numpy as np
import torch
from torch.nn.functional import cross_entropy

__all__ = ["add", "nn_epoch", "softmax_loss", "softmax_regression_epoch"]


def add(x, y):
    return x + y


def softmax_loss(Z, y):
    logits, labels = torch.tensor(Z), torch.tensor(y.astype(np.int64))
    return cross_entropy(logits, labels).numpy()[()]


def _epoch(X, y, weights, forward, lr, batch):
    for start in range(0, len(X), batch):
        tensors = [torch.tensor(W).requires_grad_() for W in weights]
        logits = forward(torch.tensor(X[start : start + batch]), *tensors)
        cross_entropy(logits, torch.tensor(y[start : start + batch].astype(np.int64))).backward()
        for W, tensor in zip(weights, tensors, strict=True):
            W -= lr * tensor.grad.numpy()


def softmax_regression_epoch(X, y, theta, lr=0.1, batch=100):
    _epoch(X, y, (theta,), lambda X, theta: X @ theta, lr, batch)


def nn_epoch(X, y, W1, W2, lr=0.1, batch=100):
    _epoch(X, y, (W1, W2), lambda X, W1, W2: torch.relu(X @ W1) @ W2, lr, batch)
