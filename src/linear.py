"""Task0: a linear layer whose gradients you write by hand.

`python -m src.linear` compares them with autograd's.

The two formulas
----------------
For one matrix X of shape (m, n) and weights W of shape (n, k), the layer computes

    Y = X W                 Y[i, c] = sum_j X[i, j] * W[j, c]

A scalar loss L depends on X and W only through Y, and G = dL/dY is given. By the chain rule

    dL/dW[j, c] = sum_i  G[i, c] * dY[i, c]/dW[j, c] = sum_i X[i, j] * G[i, c]    =>   dL/dW = X^T G
    dL/dX[i, j] = sum_c  G[i, c] * dY[i, c]/dX[i, j] = sum_c G[i, c] * W[j, c]    =>   dL/dX = G W^T

Why a gradient has the shape of its variable
--------------------------------------------
We put dL/dW[j, c] at position [j, c]: the "denominator layout". Then the update W -= lr * dL/dW is an
elementwise subtraction, and shapes alone nearly determine the formulas: of the products of X (m, n) and
G (m, k), only X^T G has the shape (n, k) of W.

Leading dimensions
------------------
An input of shape (..., n) is a stack of rows. Every row meets the same W, so the sum over i above runs
over all rows of all leading dimensions.
"""

import torch

__all__ = ["ManualLinear"]


class ManualLinear:
    """The layer Y = X W, without bias, with gradients written by hand.

    Attributes:
        W: weights, shape (in_features, out_features). May be replaced by another tensor of that shape.
        W_grad: gradient of the loss with respect to W, of the shape, dtype and device of W, once
            `backward` has run.

    Autograd has no part in it. No tensor that a layer makes requires grad, whatever the layer is given: neither the W
    that it draws, nor W_grad, nor what it returns. The layer works in every mode of autograd (`torch.no_grad`,
    `torch.inference_mode`), and leaves the mode as it is.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Draw W uniformly from [-1/sqrt(in_features), 1/sqrt(in_features)).

        Args:
            in_features: n, the size of the last dimension of the input; at least 1.
            out_features: k, the size of the last dimension of the output; at least 1.
            device, dtype: of W; PyTorch's defaults when None.
            generator: where the random numbers come from; PyTorch's global one when None.

        Raises:
            ValueError: in_features or out_features is less than 1.
        """
        if in_features < 1 or out_features < 1:
            raise ValueError(
                f"ManualLinear needs at least one feature on each side, got {in_features} and {out_features}"
            )
        bound = in_features**-0.5
        W = torch.empty(in_features, out_features, device=device, dtype=dtype)
        self.W: torch.Tensor = W.uniform_(-bound, bound, generator=generator)
        self.W_grad: torch.Tensor | None = None
        self._input: torch.Tensor | None = None

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        """Return the same as `forward`."""
        return self.forward(input)

    @torch.no_grad()
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Compute Y = input W and keep what `backward` needs.

        Args:
            input: shape (..., in_features), any number of leading dimensions (none, too), contiguous
                or not, of W's dtype and on W's device. Not changed.

        Returns:
            Y of shape (..., out_features), with the dtype and device of W; does not require grad.

        Raises:
            ValueError: the last dimension of `input` is not in_features.
        """
        ### BEGIN SOLUTION
        if input.shape[-1:] != self.W.shape[:1]:
            raise ValueError(
                f"forward: the last dimension of the input must be in_features = {self.W.shape[0]}, "
                f"got an input of shape {tuple(input.shape)}"
            )
        self._input = input.detach()
        return self._input @ self.W
        ### END SOLUTION

    @torch.no_grad()
    def backward(self, grad_output: torch.Tensor) -> torch.Tensor:
        """Compute both gradients of the latest `forward`, for a loss L with dL/dY = grad_output.

        Stores dL/dW in `self.W_grad`, replacing what was there: gradients do not accumulate. May be
        called several times after one `forward`.

        Args:
            grad_output: shape (..., out_features), that of the latest output; contiguous or not.
                Not changed.

        Returns:
            grad_input = dL/d(input), of exactly the shape of that input; does not require grad.

        Raises:
            RuntimeError: `forward` has not run yet.
            ValueError: `grad_output` does not have the shape of the latest output.
        """
        ### BEGIN SOLUTION
        if self._input is None:
            raise RuntimeError("backward: call forward first, its input is needed for the gradients")
        X, W, G = self._input, self.W, grad_output
        if G.shape != (*X.shape[:-1], W.shape[1]):
            raise ValueError(
                f"backward: grad_output must have the shape of the output, "
                f"{(*X.shape[:-1], W.shape[1])}, got {tuple(G.shape)}"
            )
        # One row per example, whatever the leading dimensions were.
        self.W_grad = X.reshape(-1, W.shape[0]).T @ G.reshape(-1, W.shape[1])
        return G @ W.T
        ### END SOLUTION


def _demo(device: str) -> float:
    """Print both gradients beside autograd's on `device`; return the largest difference."""
    generator = torch.Generator().manual_seed(0)
    layer = ManualLinear(4, 3, generator=generator)
    layer.W = layer.W.to(device)
    X = torch.randn(5, 4, generator=generator).to(device)

    Y = layer.forward(X)
    grad_input = layer.backward(2 * Y)  # loss = (Y**2).sum(), so dL/dY = 2 Y
    assert layer.W_grad is not None  # backward has just stored it

    X_auto, W_auto = X.clone().requires_grad_(), layer.W.clone().requires_grad_()
    loss = ((X_auto @ W_auto) ** 2).sum()
    W_grad, X_grad = torch.autograd.grad(loss, (W_auto, X_auto))

    print(f"loss = (Y**2).sum() on {device}: X {tuple(X.shape)}, W {tuple(layer.W.shape)}")
    largest = 0.0
    for name, manual, auto in (
        ("dL/dW", layer.W_grad, W_grad),
        ("dL/dX", grad_input, X_grad),
    ):
        difference = (manual - auto).abs().max().item()
        largest = max(largest, difference)
        print(f"\n{name}, manual {tuple(manual.shape)}\n{manual}\n{name}, autograd\n{auto}")
        print(f"largest difference: {difference:.1e}")
    return largest


def main() -> None:
    """Show the manual gradients beside autograd's, on the CPU and on CUDA when there is one."""
    _demo("cpu")
    if torch.cuda.is_available():
        print()
        _demo("cuda")
    else:
        print("\n(no CUDA device here: only the CPU was shown)")


if __name__ == "__main__":
    main()
