"""Task1: the softmax loss, and one epoch of SGD for two models, in NumPy.

With logits Z of shape (m, k) and labels y, the loss of example i is

    l_i = logsumexp(Z[i]) - Z[i, y_i],     logsumexp(z) = log(sum_c exp(z_c))

and its gradient with respect to Z[i] is softmax(Z[i]) - e_(y_i), where e_c is the c-th unit vector. For
the mean over a minibatch of b examples with Z = X theta, the chain rule gives

    gradient with respect to theta = 1/b * X^T (softmax(Z) - I_y)

where row i of I_y is e_(y_i). exp overflows float32 above 88, so subtract the largest logit of each row
first: logsumexp(z) = c + logsumexp(z - c) for every c, and softmax(z) = softmax(z - c).
"""

import numpy as np

__all__ = ["add", "nn_epoch", "softmax_loss", "softmax_regression_epoch"]


def add(x, y):
    """Return x + y. A first function, to see that everything works.

    Args:
        x, y: numbers, or NumPy arrays whose shapes can be broadcast together. Not changed.

    Returns:
        the sum, with the shape and dtype that `+` gives it.
    """
    ### BEGIN SOLUTION
    return x + y
    ### END SOLUTION


def softmax_loss(Z: np.ndarray, y: np.ndarray) -> np.floating:
    """Return the softmax (cross-entropy) loss, averaged over the batch.

    Args:
        Z: logits, float32 or float64, shape (m, k) with m at least 1 and any number k of classes. Not changed.
        y: labels, uint8, int32 or int64, shape (m,), each in 0..k-1; the larger ones need not occur. Not changed.

    Returns:
        the mean over i of logsumexp(Z[i]) - Z[i, y_i], a NumPy scalar of the dtype of Z. Finite and right
        for logits as large as ±1e4, also where the right class has by far the smallest logit.
    """
    ### BEGIN SOLUTION
    largest = Z.max(axis=1)
    logsumexp = largest + np.log(np.exp(Z - largest[:, None]).sum(axis=1))
    return np.mean(logsumexp - Z[np.arange(len(y)), y])
    ### END SOLUTION


def softmax_regression_epoch(
    X: np.ndarray, y: np.ndarray, theta: np.ndarray, lr: float = 0.1, batch: int = 100
) -> None:
    """Run one epoch of SGD for softmax regression (logits X theta), changing `theta` in place.

    Takes the examples in the order given, without shuffling: minibatch i is rows i*batch to (i+1)*batch.
    Where `batch` does not divide m, the last minibatch is smaller, and its gradient is the mean over the
    examples that it has. `batch` may exceed m, by any amount. Returns None. The new theta is finite and right
    for logits as large as ±1e4.

    Args:
        X: float32, shape (m, n). Not changed.
        y: uint8, shape (m,), each in 0..k-1; the larger ones need not occur. Not changed.
        theta: float32, shape (n, k), may be a view. Updated in place, dtype kept.
        lr: step size, a Python or NumPy number.
        batch: examples in a minibatch; at least 1.
    """
    ### BEGIN SOLUTION
    for start in range(0, len(X), batch):
        Xb, yb = X[start : start + batch], y[start : start + batch]
        theta -= lr * (Xb.T @ _logit_gradient(Xb @ theta, yb))
    ### END SOLUTION


def nn_epoch(
    X: np.ndarray, y: np.ndarray, W1: np.ndarray, W2: np.ndarray, lr: float = 0.1, batch: int = 100
) -> None:
    """Run one epoch of SGD for the network with logits relu(X W1) W2, changing `W1` and `W2` in place.

    Minibatches and large logits as in `softmax_regression_epoch`. With Z1 = relu(X W1) and, for a batch of b examples,

        G2 = softmax(Z1 W2) - I_y          gradient of W2 = 1/b * Z1^T G2
        G1 = 1{Z1 > 0} * (G2 W2^T)         gradient of W1 = 1/b * X^T G1

    Both gradients belong to the weights before the step.

    Args:
        X: float32, shape (m, n). Not changed.
        y: uint8, shape (m,), each in 0..k-1; the larger ones need not occur. Not changed.
        W1: float32, shape (n, d), may be a view. Updated in place, dtype kept.
        W2: float32, shape (d, k), may be a view. Updated in place, dtype kept.
        lr: step size, a Python or NumPy number.
        batch: examples in a minibatch; at least 1.
    """
    ### BEGIN SOLUTION
    for start in range(0, len(X), batch):
        Xb, yb = X[start : start + batch], y[start : start + batch]
        Z1 = np.maximum(Xb @ W1, 0)
        G2 = _logit_gradient(Z1 @ W2, yb)
        G1 = (Z1 > 0) * (G2 @ W2.T)
        W1 -= lr * (Xb.T @ G1)
        W2 -= lr * (Z1.T @ G2)
    ### END SOLUTION


### BEGIN SOLUTION
def _logit_gradient(Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of the mean softmax loss with respect to the logits, overwriting Z (m, k)."""
    Z -= Z.max(axis=1, keepdims=True)
    np.exp(Z, out=Z)
    Z /= Z.sum(axis=1, keepdims=True)
    Z[np.arange(len(y)), y] -= 1
    Z /= len(y)
    return Z


### END SOLUTION
