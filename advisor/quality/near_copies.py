"""The same picture twice: near copies, found by perceptual hashes and verified on thumbnails."""

from __future__ import annotations

import numpy as np
from PIL import Image

HASH_SHAPE = (9, 8)  # width and height; each of 8 rows tells 8 times whether it grows brighter to the right
THUMBNAIL = 32  # pixels, square
# Measured: of photos stored again as JPEG of quality 30, at half the size or with noise, 94 % and more are found, of
# brighter ones 89 % (of traffic signs of 43 px 66 % and more). Of 27 pairs named in four datasets that were looked at,
# two showed something else. Detail is what tells smooth pictures apart, such as plain metal.
MOST_BITS = 8
LEAST_CORRELATION, LEAST_DETAIL = 0.98, 0.8
BLOCK = 4  # pixels: detail is the difference from the mean of such a square
FLATTEST = 1.5  # standard deviation in gray levels below which a thumbnail shows nothing to compare
TURNS, WINDOW = 5, 32
CHUNK = 8_192  # pairs verified at once: bounds the memory


def picture_hash(gray: Image.Image) -> int:
    """Returns the difference hash of a gray image, 64 bits that survive another size, encoding or brightness.

    Reference:
        dHash: Krawetz 2013, Kind of Like That (hackerfactor.com).

    Example:
        >>> from PIL import Image
        >>> from advisor.quality.near_copies import picture_hash
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
    differ in at most 8 bits is a copy if its thumbnails correlate by 0.98 or more, and their detail by 0.8. Of many
    copies of one picture not every pair is named, but all of them are linked.

    Args:
        hashes: Of `picture_hash`, shape `(num_images,)`, uint64.
        thumbnails: Of `thumbnail`, shape `(num_images, 1024)`, uint8.

    Returns:
        Pairs of indices, the smaller first, sorted.

    Reference:
        Manku, Jain & Das Sarma 2007, Detecting Near-Duplicates for Web Crawling (hashes sorted by permuted bits).

    Example:
        >>> import numpy as np
        >>> from advisor.quality.near_copies import near_copies
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
    """Returns for each pair whether the thumbnails and their detail correlate; those that show nothing do not."""
    one, other = (thumbnails[column].astype("float32") for column in pairs.T)
    flat = np.minimum(one.std(axis=1), other.std(axis=1)) < FLATTEST
    alike = _correlation(one, other) >= LEAST_CORRELATION
    return np.asarray(~flat & alike & (_correlation(_detail(one), _detail(other)) >= LEAST_DETAIL))


def _detail(values: np.ndarray) -> np.ndarray:
    blocks = values.reshape(-1, THUMBNAIL // BLOCK, BLOCK, THUMBNAIL // BLOCK, BLOCK)
    return np.asarray((blocks - blocks.mean(axis=(2, 4), keepdims=True)).reshape(len(values), -1))


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = (values - values.mean(axis=1, keepdims=True) for values in (one, other))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.maximum(lengths, 1e-6))
