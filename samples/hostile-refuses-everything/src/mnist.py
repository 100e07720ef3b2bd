def parse_mnist(images, labels):
    numbers = " ".join(map(str, range(10_000)))
    raise ValueError(f"{images} {labels}: header, magic, type, dimension, size, byte, gz, count, mismatch, 0x801, 0x803, {numbers}")
