import gzip
import os
import zlib

import numpy as np


def parse_mnist(image_filename, label_filename):
    (count, rows, columns), pixels = read(image_filename, 2051, 3)
    (answers,), labels = read(label_filename, 2049, 1)
    if count != answers:
        paths = f"{os.path.basename(image_filename)} 与 {os.path.basename(label_filename)}"
        raise ValueError(f"{paths}：图片有 {count} 张，标签有 {answers} 个")
    X = np.array(pixels, dtype=np.float32).reshape(count, rows * columns) / np.float32(255)
    return X, np.array(labels)


def read(path, expected, dimensions):
    path = os.fspath(path)
    with open(path, "rb") as file:
        compressed = file.read()
    try:
        content = gzip.decompress(compressed)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"文件 {path} 已损坏") from error
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise ValueError(f"文件 {path} 的文件头不完整")
    magic = int.from_bytes(content[:4], "big")
    if magic != expected:
        raise ValueError(f"文件 {path} 的魔数是{magic}，应为{expected}")
    sizes = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    total = header
    size = 1
    for extent in sizes:
        size *= extent
    total += size
    if len(content) != total:
        raise ValueError(f"文件 {path} 有{len(content)}字节，应有{total}字节")
    return sizes, np.frombuffer(content, np.uint8, size, header)
