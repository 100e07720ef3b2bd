import numpy as np


def add(x, y):
    return x + y


def softmax_loss(Z, y):
    Z = Z - Z.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(Z).sum(axis=1)) - Z[np.arange(Z.shape[0]), y])


def softmax_regression_epoch(X, y, theta, lr=0.1, batch=100):
    raise NotImplementedError()


def nn_epoch(X, y, W1, W2, lr=0.1, batch=100):
    raise NotImplementedError()
