"""Task2: the softmax loss and one epoch of SGD for a two-layer network, by automatic differentiation."""

import numpy as np

from . import ops
from .autograd import Tensor

__all__ = ["nn_epoch", "softmax_loss"]


def softmax_loss(Z: Tensor, y_one_hot: Tensor) -> Tensor:
    """Return the softmax (cross-entropy) loss, averaged over the batch.

    Args:
        Z: logits, shape (m, k), m at least 1.
        y_one_hot: shape (m, k), in each row 1 for the true class and 0 for the others; of the dtype of Z.

    Returns:
        the mean over i of logsumexp(Z[i]) - Z[i, y_i], a Tensor of shape () and of the dtype of Z. Value and
        gradient are finite and right for logits as large as ±1e4, also where the true class has by far
        the smallest logit.

    exp overflows float32 above 88, but logsumexp(z) = c + logsumexp(z - c) for every c. Take the largest
    logit of each row as a constant c (`Z.constant(array)`): the loss does not depend on c, so that the
    gradients stay exact, those of higher order too.

    Raises:
        ValueError: the shapes are not (m, k), or differ.
    """
    ### BEGIN SOLUTION
    if Z.ndim != 2 or Z.shape != y_one_hot.shape:
        raise ValueError(
            f"softmax_loss needs logits and one-hot labels of one shape (m, k), "
            f"got {Z.shape} and {y_one_hot.shape}"
        )
    m = Z.shape[0]
    shifted = Z + Z.constant(-Z.numpy().max(axis=1, keepdims=True))
    logsumexp = ops.log(ops.exp(shifted).sum(1))
    return (logsumexp.sum() - (shifted * y_one_hot).sum()) / m
    ### END SOLUTION


def nn_epoch(
    X: np.ndarray, y: np.ndarray, W1: Tensor, W2: Tensor, lr: float = 0.1, batch: int = 100
) -> tuple[Tensor, Tensor]:
    """Run one epoch of SGD for the network with logits relu(X W1) W2.

    Takes the examples in the order given, without shuffling: minibatch i is rows i*batch to (i+1)*batch.
    Where `batch` does not divide m, the last minibatch is smaller, and its loss is the mean over the
    examples that it has. `batch` may exceed m. Both gradients of a step belong to the weights before it.

    Args:
        X: float32, shape (m, n). Not changed.
        y: uint8, shape (m,), each in 0..k-1; the larger ones need not occur. Not changed.
        W1: shape (n, d), float32 or float64. Not changed, its `grad` neither.
        W2: shape (d, k), of the dtype of W1. Not changed, its `grad` neither.
        lr: step size.
        batch: examples in a minibatch; at least 1.

    Returns:
        the new (W1, W2): leaves that require a gradient, with the dtype of W1 and W2, without a `grad`.
        Memory does not grow from step to step: a Tensor that was computed by ops keeps the graph of all
        steps before it alive.
    """
    ### BEGIN SOLUTION
    W1, W2 = Tensor(W1), Tensor(W2)
    classes = np.eye(W2.shape[1], dtype=W2.dtype)
    for start in range(0, X.shape[0], batch):
        Xb = X[start : start + batch].astype(W1.dtype, copy=False)
        y_one_hot = W2.constant(classes[y[start : start + batch]])
        softmax_loss(ops.relu(Xb @ W1) @ W2, y_one_hot).backward()
        for W in (W1, W2):
            step = W.grad.cached_data  # in place: a new array of this size for each step costs a third more
            step *= lr
            W.cached_data -= step
            W.grad = None  # it holds the graph, and the graph holds W: do not leave the cycle to gc
    return W1, W2
    ### END SOLUTION
