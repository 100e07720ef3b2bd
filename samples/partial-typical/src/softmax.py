import numpy as np


def add(x, y):
    return x + y


def softmax_loss(Z, y):
    # log-sum-exp minus the true logit
    return np.mean(np.log(np.sum(np.exp(Z), axis=1)) - Z[np.arange(y.size), y])


def softmax_regression_epoch(X, y, theta, lr=0.1, batch=100):
    iterations = (y.size + batch - 1) // batch
    for i in range(iterations):
        x = X[i * batch : (i + 1) * batch, :]
        yy = y[i * batch : (i + 1) * batch]
        z = np.exp(x @ theta)
        z = z / np.sum(z, axis=1, keepdims=True)
        Y = np.zeros((batch, theta.shape[1]), np.float32)
        Y[np.arange(batch), yy] = 1
        grad = x.T @ (z - Y) / batch
        assert grad.shape == theta.shape
        theta -= lr * grad


def nn_epoch(X, y, W1, W2, lr=0.1, batch=100):
    num_examples = X.shape[0]
    for i in range(0, num_examples, batch):
        x, yy = X[i : i + batch], y[i : i + batch]
        z1 = x @ W1
        z1[z1 < 0] = 0
        g2 = np.exp(z1 @ W2)
        g2 = g2 / np.sum(g2, axis=1, keepdims=True)
        Y = np.zeros((len(yy), W2.shape[1]))
        Y[np.arange(len(yy)), yy] = 1
        g2 -= Y
        g1 = (z1 > 0).astype(np.float32) * (g2 @ W2.T)
        W1 -= lr / batch * (x.T @ g1)
        W2 -= lr / batch * (z1.T @ g2)
