"""ManualLinear (Task0): gradients for every shape, layout and dtype, and no trace of autograd."""

import pytest
import torch

from src.linear import ManualLinear, main

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]

# Sums in another order than autograd's: a few units in the last place of each dtype.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}


def autograd_gradients(X, W, G):
    X, W = X.detach().clone().requires_grad_(), W.detach().clone().requires_grad_()
    (X @ W).backward(G)
    return X.grad, W.grad


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.device == expected.device
    assert actual.shape == expected.shape
    tol = TOLERANCE[expected.dtype]
    assert torch.allclose(actual, expected, rtol=tol, atol=tol)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 3, 4), (0,)], ids=str)
def test_output_and_gradients_agree_with_autograd(leading, dtype, device):
    generator = torch.Generator().manual_seed(len(leading))
    layer = ManualLinear(6, 4, dtype=dtype, device=device)
    X = torch.randn(*leading, 6, generator=generator).to(device, dtype)
    G = torch.randn(*leading, 4, generator=generator).to(device, dtype)
    grad_X, grad_W = autograd_gradients(X, layer.W, G)
    assert_same(layer.forward(X), X @ layer.W)
    assert_same(layer.backward(G), grad_X)
    assert_same(layer.W_grad, grad_W)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6, 2), (3, 6, 5)], ids=str)
def test_non_contiguous_input_and_grad_output(shape):
    X = torch.randn(shape).transpose(-1, -2) if shape[-2] == 6 else torch.randn(shape)
    X = X if X.shape[-1] == 6 else X.movedim(1, -1)
    assert not X.is_contiguous()
    layer = ManualLinear(6, 4)
    G = torch.randn(4, *X.shape[:-1]).movedim(0, -1)
    assert not G.is_contiguous()
    grad_X, grad_W = autograd_gradients(X, layer.W, G)
    layer.forward(X)
    assert_same(layer.backward(G).contiguous(), grad_X)
    assert_same(layer.W_grad, grad_W)


def test_expanded_grad_output():
    layer, X = ManualLinear(3, 2), torch.randn(4, 3)
    layer.forward(X)
    layer.backward(torch.ones(1, 1).expand(4, 2))  # what (Y.sum()).backward() hands down
    assert_same(layer.W_grad, X.T @ torch.ones(4, 2))


def test_nothing_requires_grad_even_when_everything_given_does():
    layer = ManualLinear(3, 2)
    layer.W = layer.W.requires_grad_()
    X = torch.randn(4, 3, requires_grad=True)
    Y = layer.forward(X)
    grad_input = layer.backward(torch.ones(4, 2, requires_grad=True))
    assert not Y.requires_grad
    assert not grad_input.requires_grad
    assert not layer.W_grad.requires_grad
    assert not ManualLinear(3, 2).W.requires_grad


@pytest.mark.parametrize(
    "mode", [torch.enable_grad, torch.no_grad, torch.inference_mode], ids=lambda mode: mode.__name__
)
def test_every_mode_of_autograd_is_left_as_it_is(mode):
    layer, X = ManualLinear(3, 2), torch.randn(4, 3)
    with mode():
        enabled = torch.is_grad_enabled()
        layer.forward(X)
        grad_input = layer.backward(torch.ones(4, 2))
        assert torch.is_grad_enabled() == enabled
    assert_same(layer.W_grad, X.T @ torch.ones(4, 2))
    assert not grad_input.requires_grad


def test_second_backward_does_not_accumulate():
    layer = ManualLinear(3, 2)
    layer.forward(torch.randn(4, 3))
    layer.backward(torch.ones(4, 2))
    first = layer.W_grad.clone()
    layer.backward(torch.ones(4, 2))
    assert torch.equal(layer.W_grad, first)


def test_second_backward_returns_the_same_shape():
    layer, X = ManualLinear(3, 2), torch.randn(5, 4, 3)
    layer.forward(X)
    layer.backward(torch.ones(5, 4, 2))
    assert layer.backward(torch.ones(5, 4, 2)).shape == X.shape


def test_layers_keep_their_own_inputs():
    (one, other), X = (ManualLinear(3, 2), ManualLinear(3, 2)), torch.randn(4, 3)
    one.forward(X)
    other.forward(torch.randn(4, 3))
    one.backward(torch.ones(4, 2))
    assert_same(one.W_grad, X.T @ torch.ones(4, 2))


def test_weights_may_be_replaced_between_steps():
    layer, X, G = ManualLinear(3, 2), torch.randn(4, 3), torch.ones(4, 2)
    layer.forward(X)
    layer.backward(G)
    layer.W = torch.randn(3, 2)
    assert_same(layer.forward(X), X @ layer.W)
    assert_same(layer.backward(G), G @ layer.W.T)


def test_second_forward_replaces_the_first():
    layer, X = ManualLinear(3, 2), torch.randn(5, 3)
    layer.forward(torch.randn(4, 3))
    layer.forward(X)
    assert layer.backward(torch.ones(5, 2)).shape == X.shape


def test_inputs_are_not_changed():
    layer = ManualLinear(3, 2)
    X, G = torch.randn(4, 3), torch.randn(4, 2)
    before = [tensor.clone() for tensor in (X, G, layer.W)]
    layer.forward(X)
    layer.backward(G)
    for tensor, copy in zip((X, G, layer.W), before, strict=True):
        assert torch.equal(tensor, copy)


def test_calling_the_layer_is_forward():
    layer, X = ManualLinear(3, 2), torch.randn(4, 3)
    assert torch.equal(layer(X), layer.forward(X))


def test_backward_before_forward_says_so():
    layer = ManualLinear(3, 2)
    with pytest.raises(RuntimeError, match="call forward first"):
        layer.backward(torch.ones(4, 2))


def test_another_layer_is_not_a_forward():
    ManualLinear(3, 2).forward(torch.randn(4, 3))
    with pytest.raises(RuntimeError):
        ManualLinear(3, 2).backward(torch.ones(4, 2))


@pytest.mark.parametrize("shape", [(4, 2), (3, 4), ()], ids=str)
def test_forward_refuses_a_wrong_last_dimension(shape):
    with pytest.raises(ValueError, match="in_features = 3"):
        ManualLinear(3, 2).forward(torch.ones(shape))


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 6, 2), (4, 5, 2), (20, 2), (5, 1, 2), (2,)], ids=str)
def test_backward_refuses_a_grad_output_of_another_shape(shape):
    layer = ManualLinear(3, 2)
    layer.forward(torch.ones(5, 4, 3))
    with pytest.raises(ValueError, match=r"\(5, 4, 2\)"):
        layer.backward(torch.ones(shape))


def test_weights_come_from_the_generator_and_stay_within_the_bound():
    first, second = (ManualLinear(16, 8, generator=torch.Generator().manual_seed(1)).W for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (16, 8)
    assert first.abs().max() <= 0.25
    assert first.std() > 0.1


def test_device_and_dtype_may_be_given_by_position():
    W = ManualLinear(3, 2, "cpu", torch.float64).W
    assert W.dtype == torch.float64
    assert W.shape == (3, 2)


@pytest.mark.parametrize("features", [(0, 2), (2, 0), (-1, 2)], ids=str)
def test_a_layer_without_features_is_refused(features):
    with pytest.raises(ValueError, match="at least one feature"):
        ManualLinear(*features)


def test_demo_shows_both_gradients_and_a_small_difference(capsys):
    main()
    shown = capsys.readouterr().out
    for part in ("dL/dW, manual (4, 3)", "dL/dX, manual (5, 4)", "autograd"):
        assert part in shown
    differences = [float(line.split(":")[1]) for line in shown.splitlines() if line.startswith("largest")]
    assert len(differences) >= 2
    assert max(differences) < 1e-4
