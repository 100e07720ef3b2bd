"""`python -m src.train`: the table, the data, the curves, and how it ends."""

import gzip
import os
import shutil
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

from src import softmax, train
from tests.support import ROOT

RATES = [["nn", "--lr", rate] for rate in ("-0.1", "0", "nan", "inf", "fast")]
HEADER = "| Epoch | Train Loss | Train Err | Test Loss | Test Err |"


def table(text):
    """Return the rows of the printed table as a float array of shape (epochs, 5)."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| Epoch")]
    return np.array([[float(cell) for cell in line.strip("|").split("|")] for line in lines])


@pytest.fixture
def mnist_folder(tmp_path):
    """A folder with the four files, of 8x8 digits."""
    data = train.load_digits()
    arrays = [data.X_train[:300], data.y_train[:300], data.X_test[:100], data.y_test[:100]]
    for name, array in zip(train.MNIST_FILES, arrays, strict=True):
        if array.ndim == 2:
            array = np.rint(array * 255).astype(np.uint8).reshape(-1, 8, 8)
        train.write_idx(tmp_path / name, array)
    return tmp_path


def test_table_and_falling_loss(capsys):
    assert train.main(["softmax", "--epochs", "3"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == HEADER
    rows = table(shown)
    assert rows[:, 0].tolist() == [1, 2, 3]
    assert (np.diff(rows[:, 1]) < 0).all()
    assert rows[-1, 4] < 0.2


@pytest.mark.parametrize(("first", "second"), [("softmax", "softmax-cpp"), ("nn", "needle")])
def test_models_of_the_same_mathematics_print_the_same_rows(capsys, first, second):
    tables = []
    for model in (first, second):
        assert train.main([model, "--epochs", "2", "--hidden", "16"]) == 0
        tables.append(table(capsys.readouterr().out))
    # float32 sums in another order, over thirty steps; one example in 360 is 0.003 of the error
    np.testing.assert_allclose(*tables, rtol=1e-3, atol=3e-3)
    assert tables[0].shape == (2, 5)


def test_training_in_chunks_is_the_same_as_one_call_for_the_whole_epoch():
    data = train.load_digits()
    theta = np.zeros((64, 10), np.float32)
    softmax.softmax_regression_epoch(data.X_train, data.y_train, theta, lr=0.2, batch=7)
    model = train.build_model("softmax", data, hidden=1, lr=0.2, batch=7)
    list(train.train(model, data, epochs=1, batch=7))
    assert np.array_equal(model.logits(data.X_test), data.X_test @ theta)


def test_digits_are_real_and_split_without_overlap():
    data = train.load_digits()
    assert data.X_train.shape == (1437, 64)
    assert data.X_test.shape == (360, 64)
    assert data.X_train.min() == 0
    assert data.X_train.max() == 1
    assert set(data.y_test) == set(range(10))


def test_idx_files_are_big_endian_with_the_standard_header(tmp_path):
    train.write_idx(tmp_path / "x.gz", np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    content = gzip.decompress((tmp_path / "x.gz").read_bytes())
    assert content == struct.pack(">IIII", 0x803, 1, 2, 3) + bytes(range(6))


def test_mnist_files_are_read_from_the_folder(capsys, mnist_folder):
    assert train.main(["softmax", "--epochs", "1", "--data", str(mnist_folder)]) == 0
    assert table(capsys.readouterr().out).shape == (1, 5)


def test_a_missing_file_is_named_with_where_it_is_had(capsys, mnist_folder):
    (mnist_folder / train.MNIST_FILES[1]).unlink()
    assert train.main(["softmax", "--data", str(mnist_folder)]) == 1
    shown = capsys.readouterr()
    assert train.MNIST_FILES[1] in shown.err
    assert train.MNIST_FILES[0] not in shown.err
    assert train.MNIST_PAGE in shown.err
    assert shown.out == ""


def test_unpacked_files_are_to_be_compressed(capsys, mnist_folder):
    packed = mnist_folder / train.MNIST_FILES[0]
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert train.main(["softmax", "--data", str(mnist_folder)]) == 1
    assert f"gzip {packed.with_suffix('')}" in capsys.readouterr().err


def test_a_damaged_file_is_reported_in_one_line(capsys, mnist_folder):
    (mnist_folder / train.MNIST_FILES[2]).write_bytes(b"not gzip")
    assert train.main(["softmax", "--data", str(mnist_folder)]) == 1
    error = capsys.readouterr().err
    assert train.MNIST_FILES[2] in error
    assert len(error.splitlines()) == 1


def test_a_task_still_to_be_written_is_named(capsys, monkeypatch):
    def stub(*args, **kwargs):
        raise NotImplementedError("Task1: softmax_regression_epoch")

    monkeypatch.setattr(softmax, "softmax_regression_epoch", stub)
    assert train.main(["softmax", "--epochs", "1"]) == 1
    assert "Task1: softmax_regression_epoch is still to be written" in capsys.readouterr().err


def test_curves_are_drawn(tmp_path, capsys):
    picture = tmp_path / "curves.png"
    assert train.main(["softmax", "--epochs", "2", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["curves.txt", "nowhere/curves.png"])
def test_a_plot_that_cannot_be_written_is_refused_before_training(tmp_path, capsys, name):
    assert train.main(["softmax", "--plot", str(tmp_path / name)]) == 1
    shown = capsys.readouterr()
    assert "--plot" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["nn", "--epochs", "0"], ["nn", "--batch", "x"], *RATES]
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m src.train" in capsys.readouterr().err


def test_ctrl_c_ends_it_cleanly(tmp_path):
    command = [sys.executable, "-m", "src.train", "softmax", "--epochs", "1000000"]
    command += ["--plot", str(tmp_path / "curves.png")]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background has SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        lines = [process.stdout.readline() for _ in range(3)]  # the first epoch is over
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert lines[0].strip() == HEADER
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("stopped after ")
    assert (tmp_path / "curves.png").exists()
    assert len(table("".join(lines) + out)) >= 1


# what a starter offers -----------------------------------------------------------------------------------


@pytest.fixture
def starter(tmp_path):
    """A function that makes a folder with some modules of src, and runs the training there."""

    def run(modules, *arguments):
        for name in ("__init__.py", "train.py", *modules):
            path, copied = ROOT / "src" / name, tmp_path / "src" / name
            copied.parent.mkdir(exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, copied, ignore=shutil.ignore_patterns("_build", "__pycache__"))
            else:
                shutil.copy(path, copied)
        command = [sys.executable, "-m", "src.train", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)

    return run


@pytest.mark.parametrize(
    ("modules", "offered", "data"),
    [
        (["mnist.py", "softmax.py", "softmax_ext"], "{softmax,nn,softmax-cpp}", True),
        (["needle"], "{needle}", False),
        (["needle", "mnist.py"], "{needle}", True),
    ],
)
def test_only_what_the_starter_has_is_offered(starter, modules, offered, data):
    shown = starter(modules, "--help").stdout
    assert f" {offered}\n" in shown
    assert ("--data" in shown.partition("The data are")[0]) == data


def test_needle_alone_prints_the_rows_that_it_prints_with_the_other_tasks(starter, capsys):
    alone = starter(["needle"], "needle", "--epochs", "2", "--hidden", "16")
    assert alone.returncode == 0, alone.stderr
    train.main(["needle", "--epochs", "2", "--hidden", "16"])
    np.testing.assert_allclose(table(alone.stdout), table(capsys.readouterr().out), atol=2e-5)


def test_a_model_of_another_assignment_is_refused(starter):
    refused = starter(["needle"], "softmax")
    assert refused.returncode == 2
    assert "invalid choice: 'softmax'" in refused.stderr
