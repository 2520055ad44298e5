"""Near copies: the same picture twice, found by perceptual hashes and verified on thumbnails."""

from __future__ import annotations

import numpy as np
from PIL import Image

HASH_SHAPE = (9, 8)  # width and height; each of 8 rows gives 8 bits: is the next pixel to the right brighter?
THUMBNAIL = 32  # pixels, square
# Measured on photos: at least 94% are found again as JPEG of quality 30, at half their size or with noise, and 89% when
# brightened (at least 66% of traffic signs of 43 px). Of 27 pairs found in four datasets and inspected, two were wrong.
# Comparing the detail is what distinguishes smooth images, such as plain metal.
MOST_BITS = 8
LEAST_CORRELATION, LEAST_DETAIL = 0.98, 0.8
BLOCK = 4  # pixels: detail is the difference from the mean of a square of this side
FLATTEST = 1.5  # standard deviation of gray levels below which a thumbnail shows nothing to compare
TURNS, WINDOW = 5, 32
CHUNK = 1_024  # pairs verified at once, to limit memory


def picture_hash(gray: Image.Image) -> int:
    """Returns the difference hash of a gray image: 64 bits that hardly change with size, encoding or brightness.

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
    """Returns a gray image at 32 px as flat uint8 of shape `(1024,)`, to verify pairs with."""
    return np.asarray(gray.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)).ravel()


def near_copies(hashes: np.ndarray, thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """Finds pairs of images that show the same picture: re-encoded, resized, brightened, or slightly noisy.

    Crops, rotations and mirror images are not found. The hashes are sorted five times, each time by other leading bits,
    and each hash is compared with the 32 that follow it. So time grows with n log n, and memory with n. Two images
    whose hashes differ in at most 8 bits are near copies if their thumbnails have a correlation of at least 0.98, and
    of at least 0.8 in their detail. Of many copies of one picture not every pair is returned, but the pairs link all
    of them.

    Args:
        hashes: From `picture_hash`, shape `(num_images,)`, uint64.
        thumbnails: From `thumbnail`, shape `(num_images, 1024)`, uint8.

    Returns:
        Sorted pairs of indices, the smaller index first.

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
    return [(int(first), int(second)) for pairs in found for first, second in pairs]


def _candidates(hashes: np.ndarray) -> np.ndarray:
    """Returns the pairs of indices whose hashes differ in few bits: sorted and distinct, shape `(num_pairs, 2)`."""
    pairs = [np.zeros((0, 2), dtype="int64")]
    for turn in range(TURNS):
        by = np.uint64(turn * 64 // TURNS)
        turned = (hashes << by) | (hashes >> (np.uint64(64) - by)) if turn else hashes
        order = np.argsort(turned, kind="stable")
        for step in range(1, min(WINDOW, len(hashes) - 1) + 1):
            first, second = order[:-step], order[step:]
            close = np.bitwise_count(hashes[first] ^ hashes[second]) <= MOST_BITS
            pairs.append(np.sort(np.stack([first[close], second[close]], axis=1), axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _same(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns for each pair whether its thumbnails and their detail correlate; flat thumbnails never do."""
    first, second = (thumbnails[column].astype("float32") for column in pairs.T)
    flat = np.minimum(first.std(axis=1), second.std(axis=1)) < FLATTEST
    alike = _correlation(first, second) >= LEAST_CORRELATION
    return np.asarray(~flat & alike & (_correlation(_detail(first), _detail(second)) >= LEAST_DETAIL))


def _detail(values: np.ndarray) -> np.ndarray:
    blocks = values.reshape(-1, THUMBNAIL // BLOCK, BLOCK, THUMBNAIL // BLOCK, BLOCK)
    return np.asarray((blocks - blocks.mean(axis=(2, 4), keepdims=True)).reshape(len(values), -1))


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = (values - values.mean(axis=1, keepdims=True) for values in (first, second))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / np.maximum(lengths, 1e-6))
