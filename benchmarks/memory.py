"""Measures the memory that the largest images need while they are decoded: python benchmarks/memory.py

Decodes images of nearly 179 megapixels, the most that are accepted, in as many threads as there are images. Prints the
peak memory of the process for each kind of image. Linux only.
"""

import argparse
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

SIDE = 13_377  # pixels; 178,944,129 in all
KINDS = {"RGBA, 16 bits": (16, 6, 8), "RGB, 16 bits": (16, 2, 6), "gray, 16 bits": (16, 0, 2), "RGB, 8 bits": (8, 2, 3)}


def _png(depth, color, num_bytes):
    """Returns a black PNG; only its compressed rows are ever in memory."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + SIDE * num_bytes)) for _ in range(SIDE)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, depth, color, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def _decode(kind, images, bits):
    from strategies.data.decoding import decode_image
    from strategies.data.encoded import Encoded

    warnings.simplefilter("ignore")  # Pillow's, of decompression bombs
    content = _png(*KINDS[kind])
    items = [Encoded(kind, lambda: content, bits)] * images
    with ThreadPoolExecutor(images) as pool:
        list(pool.map(lambda item: decode_image(item, 224), items))
    with open("/proc/self/status", encoding="ascii") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    print(f"{kind:15} {images} images, {bits} bits: peak {peak / 1e6:.2f} GB")


def main():
    """Measures each kind in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2, help="images that are decoded at the same time")
    parser.add_argument("--bits", type=int, default=16, help="bits of the values in 16-bit images")
    parser.add_argument("--kind", choices=KINDS, help="only this kind, in this process")
    given = parser.parse_args()
    if given.kind:
        _decode(given.kind, given.images, given.bits)
        return
    for kind in KINDS:
        options = ["--kind", kind, "--images", str(given.images), "--bits", str(given.bits)]
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
