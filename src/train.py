"""Train a model with the functions that you wrote, and watch its loss and error fall.

    python -m src.train --help

It offers the models whose files are in src/. This file is given: nothing here is to be filled in.
"""

import argparse
import gzip
import math
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, SupportsFloat

import numpy as np
from tqdm import tqdm

HERE = Path(__file__).parent
NEEDS = {"softmax": "softmax.py", "nn": "softmax.py", "softmax-cpp": "softmax_ext", "needle": "needle"}
MODELS = tuple(name for name, needed in NEEDS.items() if (HERE / needed).exists())
READER = HERE / "mnist.py"  # has parse_mnist
MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
MNIST_PAGE = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # PyTorch's copy; the original page is gone
INTERRUPTED = 130  # the exit status that a shell expects of a program ended by Ctrl-C
PLOT_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
STEPS_PER_TICK = 10  # minibatches between two moves of the progress bar


class Data(NamedTuple):
    """Training and test examples: X float32 (m, n) in [0, 1], y uint8 (m,)."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


class Row(NamedTuple):
    """One line of the table: mean softmax loss and share of wrong answers after an epoch."""

    epoch: int
    train_loss: float
    train_err: float
    test_loss: float
    test_err: float


class Model(NamedTuple):
    """What training needs of a model."""

    run_epoch: Callable[[np.ndarray, np.ndarray], None]  # (X, y): one pass of SGD over these examples
    logits: Callable[[np.ndarray], np.ndarray]  # X (m, n) -> (m, k)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parse(arguments)
    if options.plot is not None:  # found out now, not after the training
        if options.plot.suffix not in PLOT_SUFFIXES:
            return _fail(f"--plot: the name must end in {', '.join(PLOT_SUFFIXES)}, got {options.plot}")
        if not options.plot.absolute().parent.is_dir():
            return _fail(f"--plot: the folder of {options.plot} does not exist")
    try:
        data = load_digits() if options.data is None else load_mnist(options.data)
        model = build_model(options.model, data, hidden=options.hidden, lr=options.lr, batch=options.batch)
    except (OSError, ValueError, ImportError) as error:
        return _fail(str(error))
    except NotImplementedError as error:
        return _fail(f"{error} is still to be written")

    rows: list[Row] = []
    status = 0
    print("| Epoch | Train Loss | Train Err | Test Loss | Test Err |")
    print("|------:|-----------:|----------:|----------:|---------:|", flush=True)
    try:
        for row in train(model, data, epochs=options.epochs, batch=options.batch):
            rows.append(row)
            # One write: Ctrl-C must not come between a line and its end.
            sys.stdout.write(
                f"| {row.epoch:5d} | {row.train_loss:10.5f} | {row.train_err:9.5f} "
                f"| {row.test_loss:9.5f} | {row.test_err:8.5f} |\n"
            )
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"stopped after {len(rows)} of {options.epochs} epochs", file=sys.stderr)
        status = INTERRUPTED
    except NotImplementedError as error:
        return _fail(f"{error} is still to be written")
    if options.plot is not None and rows:
        plot(rows, options.plot, title=options.model)
        print(f"curves: {options.plot}")
    return status


def train(model: Model, data: Data, *, epochs: int, batch: int) -> Iterator[Row]:
    """Yield one row of the table after each epoch, with a progress bar on a terminal."""
    m, loss = len(data.X_train), find_loss()
    # Whole minibatches at a time: the same steps as one call for the whole epoch, with a bar that moves.
    chunk = batch * STEPS_PER_TICK
    for epoch in range(1, epochs + 1):
        with tqdm(total=m, desc=f"epoch {epoch}", unit="ex", leave=False, disable=None) as bar:
            for start in range(0, m, chunk):
                X, y = data.X_train[start : start + chunk], data.y_train[start : start + chunk]
                model.run_epoch(X, y)
                bar.update(len(X))
        yield Row(
            epoch,
            *_loss_and_error(loss, model.logits(data.X_train), data.y_train),
            *_loss_and_error(loss, model.logits(data.X_test), data.y_test),
        )


def build_model(name: str, data: Data, *, hidden: int, lr: float, batch: int) -> Model:
    """Return the model called `name` with fresh weights.

    softmax and softmax-cpp start from the same weights, and so do nn and needle: their rows agree up to
    rounding.
    """
    n, k = data.X_train.shape[1], int(data.y_train.max()) + 1
    if name in ("softmax", "softmax-cpp"):
        theta = np.zeros((n, k), np.float32)
        if name == "softmax":
            from .softmax import softmax_regression_epoch as epoch
        else:
            from .softmax_ext import softmax_regression_epoch_cpp as epoch  # builds on first import
        return Model(lambda X, y: epoch(X, y, theta, lr=lr, batch=batch), lambda X: X @ theta)

    generator = np.random.default_rng(0)
    W1 = generator.standard_normal((n, hidden), np.float32) * np.float32((2 / n) ** 0.5)
    W2 = generator.standard_normal((hidden, k), np.float32) * np.float32((2 / hidden) ** 0.5)
    if name == "nn":
        from .softmax import nn_epoch

        return Model(
            lambda X, y: nn_epoch(X, y, W1, W2, lr=lr, batch=batch),
            lambda X: np.maximum(X @ W1, 0) @ W2,
        )

    from . import needle as ndl

    weights = [ndl.Tensor(W1), ndl.Tensor(W2)]

    def run_epoch(X: np.ndarray, y: np.ndarray) -> None:
        weights[:] = ndl.nn_epoch(X, y, weights[0], weights[1], lr=lr, batch=batch)

    def logits(X: np.ndarray) -> np.ndarray:
        first, second = (weight.numpy() for weight in weights)
        return np.maximum(X @ first, 0) @ second

    return Model(run_epoch, logits)


def find_loss() -> Callable[[np.ndarray, np.ndarray], SupportsFloat]:
    """Return your mean softmax loss of logits (m, k) and labels (m,): that of softmax.py, or else that of needle."""
    if (HERE / "softmax.py").exists():
        from .softmax import softmax_loss

        return softmax_loss
    from . import needle as ndl

    def loss(logits: np.ndarray, y: np.ndarray) -> float:
        one_hot = np.eye(logits.shape[1], dtype=logits.dtype)[y]
        return float(ndl.softmax_loss(ndl.Tensor(logits), ndl.Tensor(one_hot)).numpy())

    return loss


def load_mnist(folder: Path) -> Data:
    """Read MNIST's four files in `folder` with your `parse_mnist`.

    Raises:
        FileNotFoundError: one is missing; the message says which, and where it is usually had.
        ValueError: one is not what the format says.
    """
    missing = [name for name in MNIST_FILES if not (folder / name).is_file()]
    if missing:
        unpacked = [name for name in missing if (folder / name).with_suffix("").is_file()]
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}. "
            + (
                f"Compress what is there: gzip {' '.join(str(folder / n[:-3]) for n in unpacked)}"
                if unpacked
                else f"Download them: curl -O {MNIST_PAGE}{missing[0]}, and so on; "
                "without --data a small set of digits that scikit-learn ships is used"
            )
        )
    from .mnist import parse_mnist

    paths = [folder / name for name in MNIST_FILES]
    return Data(*parse_mnist(*paths[:2]), *parse_mnist(*paths[2:]))


def load_digits() -> Data:
    """Return the 1,797 handwritten digits of 8x8 pixels that scikit-learn ships, 1,437 for training.

    If there is a `parse_mnist`, they are written as IDX files first, so that it reads them like MNIST.
    """
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # pixels come as 0..16
    labels = digits.target.astype(np.uint8)
    split = len(images) * 4 // 5
    if not READER.exists():
        pixels = np.divide(images, 255, dtype=np.float32).reshape(len(images), -1)
        return Data(pixels[:split], labels[:split], pixels[split:], labels[split:])
    with tempfile.TemporaryDirectory() as folder:
        for name, array in zip(
            MNIST_FILES, (images[:split], labels[:split], images[split:], labels[split:]), strict=True
        ):
            write_idx(Path(folder, name), array)
        return load_mnist(Path(folder))


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array as a gzip-compressed IDX file, the format that `parse_mnist` reads."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header + array.tobytes())


def plot(rows: list[Row], path: Path, *, title: str) -> None:
    """Draw loss and error over the epochs into `path`; its suffix says the format."""
    import matplotlib

    matplotlib.use("Agg")  # files only: works without a screen
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    epochs = [row.epoch for row in rows]
    for axis, quantity, train_values, test_values in (
        (axes[0], "softmax loss", [r.train_loss for r in rows], [r.test_loss for r in rows]),
        (axes[1], "error", [r.train_err for r in rows], [r.test_err for r in rows]),
    ):
        axis.plot(epochs, train_values, marker="o", label="train")
        axis.plot(epochs, test_values, marker="s", label="test")
        axis.set(xlabel="epoch", ylabel=quantity, ylim=(0, None))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _loss_and_error(
    loss: Callable[[np.ndarray, np.ndarray], SupportsFloat], logits: np.ndarray, y: np.ndarray
) -> tuple[float, float]:
    return float(loss(logits, y)), float(np.mean(logits.argmax(axis=1) != y))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    def positive_int(text: str) -> int:
        value = int(text)
        if value < 1:
            raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
        return value

    def positive_number(text: str) -> float:
        value = float(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
        return value

    parser = argparse.ArgumentParser(prog="python -m src.train", description="Train a model that you wrote.")
    parser.add_argument("model", choices=MODELS)
    if READER.exists():
        parser.add_argument("--data", type=Path, metavar="DIR", help="folder with MNIST's four .gz files")
    else:
        parser.set_defaults(data=None)
        parser.epilog = (
            "The data are the digits that scikit-learn ships. With your own src/mnist.py, --data reads MNIST."
        )
    parser.add_argument("--epochs", type=positive_int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--lr", type=positive_number, default=0.2, help="step size, default: %(default)s")
    parser.add_argument("--batch", type=positive_int, default=100, help="minibatch, default: %(default)s")
    parser.add_argument("--hidden", type=positive_int, default=100, help="hidden units, default: %(default)s")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curves into this file")
    return parser.parse_args(arguments)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the first epoch began
        sys.exit(INTERRUPTED)
