"""Task0, 100 points: ManualLinear, a linear layer with gradients written by hand.

Every result is compared with an answer on which the reference and formulas in float64 agree, so that a mistake in
either of them is noticed. Sizes and numbers are new for each submission. Features in, features out and rows always
differ, so that a transposed gradient cannot have the right shape.
"""

from dataclasses import dataclass

import probes
import pytest
import torch

from autograder.testing import agreed, assert_close, assert_equal, case

# Sums of up to 60 products of numbers near 1, added in any order: a few units in the last place.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}


@case(task=0, points=20)
def test_matrix(student, ref, rng):
    """Y = X W and both gradients of a matrix; rejects swapped or transposed factors, a mean over rows."""
    check_steps(student, ref, Step("", *draw(rng, leading=1)))


@case(task=0, points=20)
def test_leading_dimensions(student, ref, rng):
    """Gradients for 3-D and 4-D input; rejects X.T, which reverses all axes, and one W_grad per matrix."""
    steps = (Step(f" ({leading + 1}-D input)", *draw(rng, leading=leading)) for leading in (2, 3))
    check_steps(student, ref, *steps)


@case(task=0, points=20)
def test_memory_layout(student, ref, rng):
    """Non-contiguous, gapped and 1-D tensors, left as they are; rejects view() and changes in place."""
    scattered = Step(" (non-contiguous input)", *draw(rng, leading=2), scattered=True)
    actual, _ = check_steps(student, ref, scattered, Step(" (1-D input)", *draw(rng, leading=0)))
    inputs = {"X": scattered.X, "W": scattered.W, "grad_output": scattered.G}
    for name, before in inputs.items():
        # Compared exactly: nothing may be written to them.
        assert_close(
            actual["inputs"][name], before, rtol=0, atol=0, what=f"{name} after forward and backward"
        )


@case(task=0, points=20)
@pytest.mark.timeout(60)  # the first use of CUDA takes seconds
def test_dtype_device_and_autograd(student, ref, rng):
    """float64, bfloat16, CUDA, inputs that require grad; rejects float(), zeros() on the CPU, autograd."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    steps = [
        Step(f" ({str(dtype)[6:]} on {device})", *draw(rng, leading=1, dtype=dtype), device=device)
        for dtype in TOLERANCE
    ]
    X, W, G = draw(rng, leading=1)
    steps.append(Step(" (X and W that require grad)", X.requires_grad_(), W.requires_grad_(), G))
    for step, actual in zip(steps, check_steps(student, ref, *steps), strict=True):
        for name in ("Y", "W_grad", "grad_input"):
            assert_equal(actual["devices"][name], step.device, what=f"the device of {name}{step.label}")
            what = f"requires_grad of {name}{step.label}"
            assert_equal(actual["requires_grad"][name], False, what=what)


@case(task=0, points=20)
def test_order_of_calls(student, ref, rng):
    """backward twice, after a new forward, and before any; rejects +=, a stale input, an accidental error."""
    X1, W, G1 = draw(rng, leading=1)
    rows = X1.shape[0] + 1
    X2, G2 = (normal(rng, rows, size, dtype=torch.float32) for size in W.shape)
    inputs = (X1, G1, X2, G2, W)
    expected = {
        "W_grad after a second backward": formulas(X1, W, G1)["W_grad"],
        "W_grad after another forward and backward": formulas(X2, W, G2)["W_grad"],
        "grad_input after another forward": formulas(X2, W, G2)["grad_input"],
    }
    tol = TOLERANCE[torch.float32]
    expected = agreed(ref(probes.order_of_calls, *inputs)["steps"], expected, rtol=tol, atol=tol)
    actual = student(probes.order_of_calls, *inputs)
    assert_close(actual["steps"], expected, rtol=tol, atol=tol)

    error = actual["without forward"]
    if "RuntimeError" not in error["raised"] or "forward" not in error["message"]:
        pytest.fail(
            "backward before forward must raise a RuntimeError whose message says to call forward first"
        )


@dataclass(frozen=True)
class Step:
    """One forward and backward: its inputs, and what messages call it."""

    label: str
    X: torch.Tensor
    W: torch.Tensor
    G: torch.Tensor
    scattered: bool = False
    device: str = "cpu"

    def on(self, device):
        """Return what the probe gets."""
        return (self.X, self.W, self.G, self.scattered, device)


def check_steps(student, ref, *steps):
    """Compare steps, in one call of the probe, with formulas and reference; return the student's results."""
    given = student(probes.train_steps, *(step.on(step.device) for step in steps))
    # on the CPU: this process is a fork, in which CUDA does not work
    references = ref(probes.train_steps, *(step.on("cpu") for step in steps))
    for step, actual, expected in zip(steps, given, references, strict=True):
        tol = TOLERANCE[step.X.dtype]
        answers = formulas(step.X.detach(), step.W.detach(), step.G)
        for name, value in agreed(expected["values"], answers, rtol=tol, atol=tol).items():
            assert_close(actual["values"][name], value, rtol=tol, atol=tol, what=name + step.label)
    return given


def formulas(X, W, G):
    """Return Y, W_grad and grad_input, computed in float64 by other means than the reference."""
    x, w, g = (tensor.double() for tensor in (X, W, G))
    answers = {
        "Y": torch.einsum("...j,jc->...c", x, w),
        "W_grad": torch.einsum("...j,...c->jc", x, g),
        "grad_input": torch.einsum("...c,jc->...j", g, w),
    }
    return {name: answer.to(X.dtype) for name, answer in answers.items()}


def draw(rng, *, leading, dtype=torch.float32):
    """Return X (..., n), W (n, k) and G (..., k), all sizes different, with `leading` leading dimensions."""
    n, k, *rows = (int(size) for size in rng.permutation([2, 3, 4, 5, 6])[: 2 + leading])
    return (
        normal(rng, *rows, n, dtype=dtype),
        normal(rng, n, k, dtype=dtype),
        normal(rng, *rows, k, dtype=dtype),
    )


def normal(rng, *shape, dtype):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)
