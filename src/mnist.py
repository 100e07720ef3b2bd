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

    Both files are gzip-compressed IDX, a format of one array in one file.
    All integers are big-endian:

        images  magic 0x00000803: two zero bytes, type code 0x08 (unsigned byte), 3 dimensions
                uint32 count, uint32 rows, uint32 columns, then count*rows*columns bytes
        labels  magic 0x00000801: two zero bytes, type code 0x08 (unsigned byte), 1 dimension
                uint32 count, then count bytes

    Args:
        image_filename: path of the image file, a str or a Path; the name may be any.
        label_filename: path of the label file, a str or a Path; the name may be any.

    Returns:
        X: float32, shape (count, rows*columns), C-contiguous, writable: pixel / 255, so that 0 maps to 0.0 and
            255 to 1.0 whatever values occur in the file. rows and columns are those of the file, not
            always 28.
        y: uint8, shape (count,), writable.

    Raises:
        ValueError: a file is not what the format says, or the two counts differ. The message may be in any
            language. It names the file at fault and not the other one, and it gives the two numbers of the row
            that applies, and of no other row:

            magic number  the one found and the one expected, in decimal or in hexadecimal
            size          the number of bytes found and the number that the header calls for; both of the data
                          after the header, or both of the whole content
            counts        the number of images and the number of labels; here the message names both files

            If a file is not gzip, is damaged or cut off, or ends within its header, its name is enough.
        OSError: a file cannot be opened (FileNotFoundError and so on), as `open` raises it.
    """
    ### BEGIN SOLUTION
    images = _read_idx(image_filename, dimensions=3)
    labels = _read_idx(label_filename, dimensions=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{len(images)} images in {fspath(image_filename)}, "
            f"but {len(labels)} labels in {fspath(label_filename)}"
        )
    pixels = images.shape[1] * images.shape[2]
    X = images.reshape(len(images), pixels).astype(np.float32)
    X /= 255
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

    header = struct.Struct(f">{1 + dimensions}I")
    if len(content) < header.size:
        raise ValueError(f"{name}: the file ends after {len(content)} bytes, within its header")
    magic, *shape = header.unpack_from(content)
    expected = UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        raise ValueError(f"{name}: magic number 0x{magic:08x}, expected 0x{expected:08x}")
    size = 1
    for extent in shape:  # Python integers: a damaged header must not overflow
        size *= extent
    found = len(content) - header.size
    if found != size:
        raise ValueError(f"{name}: {found} bytes of data, but the header calls for {size}")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)


### END SOLUTION
