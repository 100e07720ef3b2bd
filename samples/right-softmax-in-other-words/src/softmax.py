import numpy as np


def add(x, y):
    return np.add(x, y) if isinstance(x, np.ndarray) else y + x


def softmax_loss(Z, y):
    shifted = Z - np.max(Z, axis=-1, keepdims=True)
    log_probabilities = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    right = np.take_along_axis(log_probabilities, y.astype(np.int64)[:, None], axis=1)
    return -right.sum(dtype=Z.dtype) / Z.dtype.type(len(y))


def softmax(Z):
    e = np.exp(Z - Z.max(1)[:, None])
    return e / e.sum(1)[:, None]


def minibatches(X, y, batch):
    for i in range(-(-len(y) // batch)):
        yield X[i * batch : (i + 1) * batch], y[i * batch : (i + 1) * batch]


def softmax_regression_epoch(X, y, theta, lr=0.1, batch=100):
    for x, labels in minibatches(X, y, batch):
        errors = softmax(x @ theta) - np.eye(theta.shape[1])[labels]
        theta[:] = theta - lr * x.T.dot(errors) / len(labels)


def nn_epoch(X, y, W1, W2, lr=0.1, batch=100):
    for x, labels in minibatches(X, y, batch):
        hidden = x @ W1
        hidden[hidden < 0] = 0
        one_hot = np.zeros((len(labels), W2.shape[1]))
        one_hot[range(len(labels)), labels] = 1
        G2 = (softmax(hidden @ W2) - one_hot) / x.shape[0]
        G1 = np.where(hidden > 0, G2 @ W2.T, 0)
        gradients = x.T @ G1, hidden.T @ G2
        np.subtract(W1, lr * gradients[0], out=W1, casting="unsafe")
        np.subtract(W2, lr * gradients[1], out=W2, casting="unsafe")
