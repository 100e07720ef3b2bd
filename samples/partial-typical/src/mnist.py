import gzip
import struct

import numpy as np


def parse_mnist(image_filename, label_filename):
    with gzip.open(image_filename, "rb") as f:
        magic, num_img, row, col = struct.unpack(">4I", f.read(16))
        assert magic == 2051
        tot_pixels = row * col
        X = np.vstack(
            [np.array(struct.unpack(f"{tot_pixels}B", f.read(tot_pixels)), dtype=np.float32) for _ in range(num_img)]
        )
        X -= np.min(X)
        X /= np.max(X)
    with gzip.open(label_filename, "rb") as f:
        magic, label_num = struct.unpack(">2I", f.read(8))
        assert magic == 2049
        y = np.array(struct.unpack(f"{label_num}B", f.read()), dtype=np.uint8)
    return X, y
