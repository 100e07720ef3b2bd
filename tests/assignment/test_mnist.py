"""parse_mnist (Task1): the IDX format, and a clear refusal of everything that is not it."""

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.mnist import parse_mnist

IMAGES, LABELS = 0x0803, 0x0801


def idx(magic, shape, content):
    return struct.pack(f">I{len(shape)}I", magic, *shape) + bytes(content)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes two gzip files and returns their paths."""

    def write(images, labels):
        paths = tmp_path / "some-images.gz", tmp_path / "some-labels.gz"
        for path, content in zip(paths, (images, labels), strict=True):
            path.write_bytes(gzip.compress(content))
        return paths

    return write


GOOD_IMAGES = idx(IMAGES, (2, 2, 3), range(12))
GOOD_LABELS = idx(LABELS, (2,), [3, 9])


@given(
    count=st.integers(0, 4), rows=st.integers(1, 5), columns=st.integers(1, 5), seed=st.integers(0, 2**32 - 1)
)
def test_any_rows_and_columns(tmp_path_factory, count, rows, columns, seed):
    folder = tmp_path_factory.mktemp("idx")
    generator = np.random.default_rng(seed)
    pixels = generator.integers(256, size=(count, rows, columns), dtype=np.uint8)
    labels = generator.integers(10, size=count, dtype=np.uint8)
    (folder / "i.gz").write_bytes(gzip.compress(idx(IMAGES, pixels.shape, pixels.tobytes())))
    (folder / "l.gz").write_bytes(gzip.compress(idx(LABELS, labels.shape, labels.tobytes())))
    X, y = parse_mnist(folder / "i.gz", str(folder / "l.gz"))
    assert X.shape == (count, rows * columns)
    assert np.array_equal(X, pixels.reshape(count, rows * columns).astype(np.float32) / 255)
    assert np.array_equal(y, labels)


def test_dtypes_and_memory(write):
    X, y = parse_mnist(*write(GOOD_IMAGES, GOOD_LABELS))
    assert X.dtype == np.float32
    assert y.dtype == np.uint8
    assert X.flags.c_contiguous
    assert X.flags.writeable
    assert y.flags.writeable


def test_scale_is_that_of_the_type_not_of_the_values_that_occur(write):
    X, _ = parse_mnist(*write(idx(IMAGES, (2, 1, 2), [51, 51, 51, 102]), GOOD_LABELS))
    np.testing.assert_allclose(X, [[0.2, 0.2], [0.2, 0.4]], rtol=1e-6)


def test_byte_order_is_big_endian(write):
    rows = 258  # 0x0102: other bytes when read the wrong way round
    X, _ = parse_mnist(*write(idx(IMAGES, (1, rows, 1), [7] * rows), idx(LABELS, (1,), [0])))
    assert X.shape == (1, rows)


@pytest.mark.parametrize(
    ("images", "labels", "file", "numbers"),
    [
        (GOOD_LABELS, GOOD_LABELS, "some-images", "some-images"),
        (
            idx(LABELS, (9,), range(9)),
            GOOD_LABELS,
            "some-images",
            "magic number 0x00000801, expected 0x00000803",
        ),
        (GOOD_IMAGES, GOOD_IMAGES, "some-labels", "magic number 0x00000803, expected 0x00000801"),
        (
            idx(0x01000803, (2, 2, 3), range(12)),
            GOOD_LABELS,
            "some-images",
            "0x01000803, expected 0x00000803",
        ),
        (idx(0x0D03, (2, 2, 3), range(48)), GOOD_LABELS, "some-images", "0x00000d03, expected 0x00000803"),
        (GOOD_IMAGES, idx(0x0901, (2,), [3, 9]), "some-labels", "0x00000901, expected 0x00000801"),
        (GOOD_IMAGES[:-1], GOOD_LABELS, "some-images", "11 bytes of data, but the header calls for 12"),
        (GOOD_IMAGES, GOOD_LABELS[:-1], "some-labels", "1 bytes of data, but the header calls for 2"),
        (GOOD_IMAGES + b"\0", GOOD_LABELS, "some-images", "13 bytes of data, but the header calls for 12"),
        (GOOD_IMAGES, GOOD_LABELS + b"\0", "some-labels", "3 bytes of data, but the header calls for 2"),
        (GOOD_IMAGES[:13], GOOD_LABELS, "some-images", "ends after 13 bytes"),
        (GOOD_IMAGES[:3], GOOD_LABELS, "some-images", "ends after 3 bytes"),
        (b"", GOOD_LABELS, "some-images", "ends after 0 bytes"),
        (idx(IMAGES, (2**32 - 1,) * 3, []), GOOD_LABELS, "some-images", f"calls for {(2**32 - 1) ** 3}"),
        (GOOD_IMAGES, idx(LABELS, (3,), [3, 9, 1]), "some-images", "2 images .* 3 labels in .*some-labels"),
    ],
)
def test_refused_with_the_file_and_the_numbers(write, images, labels, file, numbers):
    with pytest.raises(ValueError, match=numbers) as caught:
        parse_mnist(*write(images, labels))
    assert file in str(caught.value)
    assert len(re.findall("some-(images|labels)", str(caught.value))) == (2 if "3 labels" in numbers else 1)


def test_a_file_that_is_not_gzip(tmp_path, write):
    _, labels = write(GOOD_IMAGES, GOOD_LABELS)
    plain = tmp_path / "plain.gz"
    plain.write_bytes(GOOD_IMAGES)
    with pytest.raises(ValueError, match=r"plain\.gz: not a complete gzip file"):
        parse_mnist(plain, labels)


def test_a_gzip_file_cut_short_or_damaged(tmp_path, write):
    _, labels = write(GOOD_IMAGES, GOOD_LABELS)
    whole = gzip.compress(idx(IMAGES, (2, 20, 20), np.random.default_rng(0).bytes(800)))
    damaged = bytearray(whole)
    damaged[400] ^= 0xFF
    for content in (whole[:-20], bytes(damaged)):
        path = tmp_path / "hurt.gz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"hurt\.gz: "):
            parse_mnist(path, labels)


def test_a_missing_file_is_reported_as_open_does(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.gz"):
        parse_mnist(tmp_path / "nowhere.gz", tmp_path / "nowhere.gz")


@pytest.mark.parametrize("kind", [str, Path])
def test_any_path(tmp_path, write, kind):
    images, labels = write(GOOD_IMAGES, GOOD_LABELS)
    for path, name in ((images, "my pixels"), (labels, "labels.idx")):
        path.rename(tmp_path / name)
    X, y = parse_mnist(kind(tmp_path / "my pixels"), kind(tmp_path / "labels.idx"))
    assert (X.shape, y.tolist()) == ((2, 6), [3, 9])
