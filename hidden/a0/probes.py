"""Drives ManualLinear: knows inputs, never answers. Runs beside the student's code."""

import torch


def warm_up():
    """Load, once and before any submission, what every case would otherwise load for its first product of a dtype."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        torch.ones(2, 3, dtype=dtype) @ torch.ones(3, 2, dtype=dtype)


def train_steps(*steps):
    """Run one forward and one backward for each of `steps`, each in a new layer.

    A step is X, W, G, whether the tensors are to be `scattered` (neither contiguous nor dense), and the device.
    """
    return [_train_step(*step) for step in steps]


def _train_step(X, W, G, scattered, device):
    X, W, G = (tensor.to(device) for tensor in (X, W, G))
    if scattered:
        X, G = _scattered(X), _scattered(G)
    layer = _layer(W)
    Y = layer.forward(X)
    grad_input = layer.backward(G)
    results = {"Y": Y, "W_grad": layer.W_grad, "grad_input": grad_input}
    return {
        "values": {name: _on_cpu(value) for name, value in results.items()},
        "devices": {name: _of_tensor(value, lambda t: t.device.type) for name, value in results.items()},
        "requires_grad": {
            name: _of_tensor(value, lambda t: t.requires_grad) for name, value in results.items()
        },
        "inputs": {"X": _on_cpu(X), "W": _on_cpu(layer.W), "grad_output": _on_cpu(G)},
    }


def order_of_calls(X1, G1, X2, G2, W):
    """Call backward before any forward; then, in another layer, forward, backward twice, and a second step."""
    return {"without forward": _backward_without_forward(W, G1), "steps": _two_steps(X1, G1, X2, G2, W)}


def _two_steps(X1, G1, X2, G2, W):
    layer = _layer(W)
    layer.forward(X1)
    layer.backward(G1)
    layer.backward(G1)
    again = layer.W_grad.clone()
    layer.forward(X2)
    grad_input = layer.backward(G2)
    return {
        "W_grad after a second backward": again,
        "W_grad after another forward and backward": layer.W_grad,
        "grad_input after another forward": grad_input,
    }


def _backward_without_forward(W, G):
    """Return what backward raises in a new layer: the names of the exception's classes, and its message."""
    layer = _layer(W)
    try:
        layer.backward(G)
    except Exception as error:  # noqa: BLE001 (whatever it is, the check judges it)
        return {"raised": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
    return {"raised": [], "message": ""}


def _layer(W):
    from src.linear import ManualLinear

    layer = ManualLinear(*W.shape, device=W.device, dtype=W.dtype)
    layer.W = W
    return layer


def _scattered(tensor):
    """Return an equal tensor with its axes reversed in memory and a gap after each element."""
    rows, *rest = tensor.shape
    memory = torch.zeros(*reversed(rest), 2 * rows, dtype=tensor.dtype, device=tensor.device)
    view = memory.permute(*reversed(range(tensor.ndim)))[::2]
    return view.copy_(tensor)


def _on_cpu(value):
    return value.cpu() if isinstance(value, torch.Tensor) else value


def _of_tensor(value, attribute):
    return attribute(value) if isinstance(value, torch.Tensor) else None
