"""The budget of memory that decoding threads share."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from strategies.data import decoding
from strategies.data.encoded import UnreadableImage
from strategies.data.memory import MemoryBudget


@pytest.mark.parametrize(("size", "most"), [(30, 3), (60, 1), (100, 1), (1_000, 1)])
def test_threads_work_together_as_long_as_they_fit(size, most):
    """And one that exceeds the whole budget works alone."""
    budget, lock, working, seen = MemoryBudget(100), threading.Lock(), [0], []
    full = threading.Barrier(most)

    def work(number):
        with budget.reserve(size):
            with lock:
                working[0] += 1
                seen.append(working[0])
            full.wait(timeout=60)  # returns only if `most` threads are here at the same time
            with lock:
                working[0] -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert max(seen) == most
    assert budget.free == 100


def test_room_is_given_back_after_an_error():
    """Otherwise, damaged files would stop all threads in the end."""
    budget = MemoryBudget(100)
    with pytest.raises(ZeroDivisionError), budget.reserve(80):
        raise ZeroDivisionError
    assert budget.free == 100


def test_decoding_takes_its_room_from_the_budget(tmp_path, monkeypatch):
    """A whole image counts by its pixels, a JPEG by the smaller scale at which it is decoded."""

    class Recorder(MemoryBudget):
        def reserve(self, num_bytes):
            taken.append(num_bytes)
            return super().reserve(num_bytes)

    taken = []
    monkeypatch.setattr(decoding, "MEMORY", Recorder(1_000))  # less than any of them needs
    image = Image.fromarray(np.zeros((400, 800, 3), dtype="uint8"))
    for name in ("a.png", "a.jpg"):
        image.save(tmp_path / name)
        decoding.decode_image(tmp_path / name, 32)
        decoding.decode_sizes((tmp_path / name).read_bytes(), (16, 32))
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-40])
    with pytest.raises(UnreadableImage, match="truncated"):
        decoding.decode_image(tmp_path / "cut.png", 32)
    whole, small = 800 * 400 * decoding.BYTES_PER_PIXEL, 200 * 100 * decoding.BYTES_PER_PIXEL
    assert taken == [whole, whole, small, small, whole, whole]
    assert decoding.MEMORY.free == 1_000


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA"])
def test_an_image_in_strips_equals_the_image_as_a_whole(mode, tmp_path, monkeypatch):
    """Large images are put on white strip by strip, to save memory."""
    values = np.random.default_rng(0).integers(0, 256, (50, 40, 4), dtype="uint8")
    image = Image.fromarray(values)
    (image.quantize(32) if mode == "P" else image.convert(mode)).save(tmp_path / "a.png")
    whole = decoding.decode_image(tmp_path / "a.png")
    monkeypatch.setattr("strategies.data.upright.STRIP_PIXELS", 300)
    assert np.array_equal(decoding.decode_image(tmp_path / "a.png"), whole)
