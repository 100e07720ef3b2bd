"""Drives ManualLinear: knows inputs, never answers. Runs beside the student's code."""

from contextlib import contextmanager, suppress

import torch

MODES = {"enabled": torch.enable_grad, "disabled": torch.no_grad, "inference": torch.inference_mode}
WITHOUT_AUTOGRAD = "Task0 is without autograd: compute W_grad and the gradient of the input by hand"
COPIED_ELEMENTS = 1 << 20
MAX_MESSAGE = 1000  # of an exception that is expected


def warm_up():
    """Load, once and before any submission, what every case would otherwise load for its first product of a dtype."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        torch.ones(2, 3, dtype=dtype) @ torch.ones(3, 2, dtype=dtype)


class AutogradUsed(Exception):
    """Student code has asked autograd for a gradient. This is no error that a case expects."""

    __module__ = "builtins"  # messages show the name of such a class without its module


def _refuse(*_arguments, **_keywords):
    raise AutogradUsed(WITHOUT_AUTOGRAD)


class _NoEngine:
    """Takes the place of autograd's engine. `backward`, `torch.autograd.grad` and `torch.func` all end there."""

    queue_callback = run_backward = _refuse


@contextmanager
def _without_autograd():
    variable, forward = torch.autograd.Variable, torch.autograd.forward_ad
    engine, enter = variable._execution_engine, forward.enter_dual_level
    variable._execution_engine, forward.enter_dual_level = _NoEngine(), _refuse
    try:
        yield
    finally:
        variable._execution_engine, forward.enter_dual_level = engine, enter


@_without_autograd()
def run(layers, calls, matrices=True, look=False):
    """Build `layers`, make `calls` one after the other, and return what each call gave.

    Args:
        layers: of each its W, autograd's mode around its calls, and the device.
        calls: (number of a layer, what to do, tensor, the tensor for matrices, form). "forward" and "backward" call the
            layer, "call" calls it as a function, "refused forward" and "refused backward" expect an exception, and
            "replace" gives the layer another W. The tensor is passed in a form: "contiguous", or "scattered": neither
            contiguous nor dense.
        matrices: whether to give the same numbers as matrices to a layer that fails for stacks of matrices. The result
            says whether that was done.
        look: whether to look at devices, at requires_grad and at autograd's mode, and to return all tensors as they are
            after the calls.
    """
    try:
        return _run(layers, calls, look) | {"matrices": False}
    except Exception as error:
        if not matrices or isinstance(error, AutogradUsed) or _knows_stacks(layers, calls):
            raise
        about_stacks = error
    with suppress(Exception):
        return _run(layers, [_as_matrices(*call) for call in calls], look) | {"matrices": True}
    raise about_stacks


@_without_autograd()
def ordinary(steps):
    """Return Y, W_grad and grad_input of each (W, X, G), each in a new layer; None where something is raised."""
    results = []
    for W, X, G in steps:
        try:
            layer = _layer(W)
            Y, grad_input = layer.forward(X), layer.backward(G)
        except Exception:  # noqa: BLE001 (the case that asks for this says which it was)
            return None
        results.append([_copy(Y), _copy(layer.W_grad), _copy(grad_input)])
    return results


def _run(layers, calls, look):
    built = [(_layer(W.to(device)), MODES[mode], device) for W, mode, device in layers]
    given = [_in_form(tensor.to(built[number][2]), form) for number, _, tensor, _, form in calls]
    results, facts = [], []
    for (number, action, *_), tensor in zip(calls, given, strict=True):
        layer, mode, _ = built[number]
        with mode():
            before = torch.is_grad_enabled()
            result = _act(layer, action, tensor)
            facts.append([(before, torch.is_grad_enabled()), *map(_facts, result)] if look else None)
        results.append([_copy(value) for value in result] if isinstance(result, tuple) else result)
    found = {"results": results}
    if look:
        found["facts"] = facts
        found["tensors"] = [_copy(tensor) for tensor in given]
        found["weights"] = [_copy(layer.W) for layer, _, _ in built]
    return found


def _knows_stacks(layers, calls):
    """Return whether an ordinary forward and backward of the first input succeed, as it is."""
    number, X = next(
        (number, tensor) for number, action, tensor, *_ in calls if action in ("forward", "call")
    )
    W = layers[number][0].detach().float()
    return ordinary([(W, X.detach().float(), torch.ones(*X.shape[:-1], W.shape[1]))]) is not None


def _as_matrices(number, action, tensor, matrix, form):
    if matrix is None:
        matrix = tensor if action == "replace" else tensor.flatten(0, -2)
    return number, action, matrix, matrix, form


def _act(layer, action, tensor):
    """Make one call; return a tuple of its results, or what was raised if an exception is expected."""
    if action.startswith("refused"):
        return _raised(
            lambda: layer.forward(tensor) if action == "refused forward" else layer.backward(tensor)
        )
    if action == "replace":
        layer.W = tensor
        return ()
    if action == "backward":
        grad_input = layer.backward(tensor)
        return layer.W_grad, grad_input
    return (layer(tensor) if action == "call" else layer.forward(tensor),)


def _facts(value):
    """Return the device and whether the value requires grad; None of what is no tensor."""
    return (value.device.type, value.requires_grad) if isinstance(value, torch.Tensor) else None


@_without_autograd()
def construct(sizes, dtypes, device, seeds, layers, calls):
    """Construct layers; return what is raised, facts about each W that was drawn, and what further layers compute.

    Args:
        sizes: (in_features, out_features, whether an exception is expected) of layers with no other argument.
        dtypes, device: of further layers, which have the first of the right sizes.
        seeds: two, of generators and of PyTorch's global one.
        layers, calls: see `run`.
    """
    from src.linear import ManualLinear

    n, k = next((n, k) for n, k, refused in sizes if not refused)
    return {
        "sizes": [
            _raised(lambda n=n, k=k: ManualLinear(n, k)) if refused else _described(ManualLinear(n, k).W)
            for n, k, refused in sizes
        ],
        "dtypes": [ManualLinear(n, k, dtype=dtype).W.dtype for dtype in dtypes],
        "device": ManualLinear(n, k, device=device).W.device.type,
        "generators": _same_and_other(lambda seed: ManualLinear(n, k, generator=_generator(seed)), seeds),
        "global seeds": _same_and_other(lambda seed: torch.manual_seed(seed) and ManualLinear(n, k), seeds),
        "run": run(layers, calls),
    }


def _described(W):
    """Describe W; of its distribution, the share in each eighth of the documented interval and the share outside."""
    bound = W.shape[0] ** -0.5
    inside = W[W.abs() <= bound]
    shares = torch.histc(inside, bins=8, min=-bound, max=bound) / W.numel()
    return {
        "shape": tuple(W.shape),
        "dtype": W.dtype,
        "requires_grad": W.requires_grad,
        "outside": W.numel() - inside.numel(),
        "shares": shares,
    }


def _same_and_other(layer, seeds):
    """Return whether the layers of one seed have the same W, and whether those of two seeds have."""
    first, second = seeds
    W = layer(first).W
    return torch.equal(W, layer(first).W), torch.equal(W, layer(second).W)


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def _layer(W):
    from src.linear import ManualLinear

    layer = ManualLinear(*W.shape, device=W.device, dtype=W.dtype)
    layer.W = W
    return layer


def _raised(call):
    """Return what a call raises: the names of the exception's classes, and its message."""
    try:
        call()
    except AutogradUsed:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, the check judges it)
        return {
            "raised": [kind.__name__ for kind in type(error).__mro__],
            "message": str(error)[:MAX_MESSAGE],
        }
    return {"raised": [], "message": ""}


def _in_form(tensor, form):
    """Return the tensor, or an equal one with its axes reversed in memory and a gap after each element."""
    if form == "contiguous":
        return tensor
    rows, *rest = tensor.shape
    memory = torch.zeros(*reversed(rest), 2 * rows, dtype=tensor.dtype, device=tensor.device)
    view = memory.permute(*reversed(range(tensor.ndim)))[::2]
    return view.copy_(tensor)


def _copy(value):
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    return value.clone() if value.numel() <= COPIED_ELEMENTS else value
