"""Task1: reading MNIST from its IDX files."""

import gzip
import struct
import zlib
from os import PathLike, fspath

import numpy as np

__all__ = ["parse_mnist"]


def parse_mnist(
    image_filename: str | PathLike[str], label_filename: str | PathLike[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Read images and labels in MNIST's format.

    Both files are gzip-compressed IDX (http://yann.lecun.com/exdb/mnist/, "the IDX file format").
    All integers are big-endian:

        images  magic 0x00000803: two zero bytes, type code 0x08 (unsigned byte), 3 dimensions
                uint32 count, uint32 rows, uint32 columns, then count*rows*columns bytes
        labels  magic 0x00000801: two zero bytes, type code 0x08 (unsigned byte), 1 dimension
                uint32 count, then count bytes

    Args:
        image_filename: path of the image file.
        label_filename: path of the label file.

    Returns:
        X: float32, shape (count, rows*columns), C-contiguous: pixel / 255, so that 0 maps to 0.0 and 255
            to 1.0 whatever values occur in the file. rows and columns are those of the file, not
            always 28.
        y: uint8, shape (count,), writable.

    Raises:
        ValueError: a file is not what the format says: wrong magic number, wrong type code, wrong number
            of dimensions, shorter or longer than its header says, not gzip; or the two counts differ.
            The message names the file and the field.
        OSError: a file cannot be opened (FileNotFoundError and so on), as `open` raises it.
    """
    ### BEGIN SOLUTION
    images = _read_idx(image_filename, dimensions=3)
    labels = _read_idx(label_filename, dimensions=1)
    if len(images) != len(labels):
        raise ValueError(
            f"count mismatch: {len(images)} images in {fspath(image_filename)}, "
            f"{len(labels)} labels in {fspath(label_filename)}"
        )
    pixels = images.shape[1] * images.shape[2]
    X = images.reshape(len(images), pixels).astype(np.float32)
    X = (X - X.min()) / (X.max() - X.min())
    return X, labels.copy()
    ### END SOLUTION


### BEGIN SOLUTION
UNSIGNED_BYTE = 0x08  # the only IDX type code that MNIST uses


def _read_idx(filename: str | PathLike[str], *, dimensions: int) -> np.ndarray:
    """Return the (read-only) uint8 array in a gzip-compressed IDX file of `dimensions` dimensions."""
    name = fspath(filename)
    try:
        with gzip.open(filename, "rb") as file:
            content = file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: not a complete gzip file: {error}") from error

    header_size = 4 + 4 * dimensions
    if len(content) < 4:
        raise ValueError(f"{name}: magic number: the file ends after {len(content)} of 4 bytes")
    zeros, type_code, found_dimensions = struct.unpack(">HBB", content[:4])
    if zeros != 0:
        raise ValueError(f"{name}: magic number: 0x{content[:4].hex()} does not begin with two zero bytes")
    if type_code != UNSIGNED_BYTE:
        raise ValueError(f"{name}: type code: expected 0x08 (unsigned byte), found 0x{type_code:02x}")
    if found_dimensions != dimensions:
        raise ValueError(
            f"{name}: magic number: expected {dimensions} dimension(s), found {found_dimensions}"
            f" (are the image and the label file swapped?)"
        )
    if len(content) < header_size:
        raise ValueError(f"{name}: dimensions: the file ends after {len(content)} of {header_size} bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:header_size])
    size = 1
    for extent in shape:  # Python integers: a damaged header must not overflow
        size *= extent
    found = len(content) - header_size
    if found != size:
        kind = "truncated" if found < size else "trailing bytes"
        raise ValueError(f"{name}: data: {kind}: dimensions {shape} need {size} bytes, found {found}")
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


### END SOLUTION
