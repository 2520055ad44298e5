"""The stream of batches and its augmentation."""

import numpy as np

from strategies.data import pixels as module
from strategies.data.batches import AugmentedViews, Batches, MirroredViews
from strategies.data.pixels import Pixels


def _stream(seed=(0, 0), count=10, **options):
    images = np.arange(count, dtype="uint8").reshape(-1, 1, 1, 1) * np.ones((1, 8, 8, 3), dtype="uint8")
    return Batches(images, np.arange(count), batch_size=4, seed=seed, **options)


def test_every_image_is_seen_once_per_pass():
    """Five batches of four over ten images are two passes."""
    labels = np.concatenate([_stream().batch(index)[1] for index in range(5)])
    assert sorted(labels[:10]) == sorted(labels[10:]) == list(range(10))
    assert labels[:10].tolist() != list(range(10))


def test_the_same_seed_gives_the_same_stream_and_another_seed_another():
    """Order and augmentation follow from the seed alone."""
    options = {"augmentation": {"horizontal_flip": True, "shift": 0.25}}
    first, again, other = (_stream(seed, **options) for seed in ((1, 0), (1, 0), (2, 0)))
    assert all((first.batch(index)[0] == again.batch(index)[0]).all() for index in range(5))
    assert any((first.batch(index)[1] != other.batch(index)[1]).any() for index in range(5))


def test_the_next_epoch_continues_after_the_last_one():
    """Batches of a second epoch of five are not those of the first."""
    stream = _stream()
    first, second = ([stream.batch(index)[1].tolist() for index in range(start, start + 5)] for start in (0, 5))
    assert first != second


def test_weights_of_images_come_with_their_images():
    """The third part of a batch is the weight of each image in the loss."""
    _, targets, weights = _stream(count=2, sample_weights=np.array([1.0, 3.0])).batch(0)
    assert weights.tolist() == [1.0 if target == 0 else 3.0 for target in targets]


def test_the_parts_of_a_batch_make_up_the_batch():
    """Each process draws the augmentation of the whole batch, and takes its own rows."""
    changes = {"horizontal_flip": True, "shift": 0.25, "color": 0.5, "rand_augment": 1.0}
    options = {"augmentation": changes, "sample_weights": np.arange(10.0)}
    whole, first, second = (_stream(**options, part=part) for part in ((0, 1), (0, 2), (1, 2)))
    for number in range(3):
        for entire, *parts in zip(whole.batch(number), first.batch(number), second.batch(number), strict=True):
            assert len(parts[0]) == 2
            assert (np.concatenate(parts) == entire).all()


def test_views_are_augmented_copies_that_depend_on_their_seed_alone(photos):
    """One copy of each image, equal for equal seeds. Their cache key differs from that of the images."""
    pixels = Pixels(sorted((photos / "china").glob("*.png")), 32)
    augmentation = {"horizontal_flip": True, "shift": 0.2}
    views, again, others = (AugmentedViews(pixels, augmentation, seed=(0, seed)) for seed in (1, 1, 2))
    assert len(views) == len(pixels)
    assert (views[0:8] == again[0:8]).all()
    assert (views[0:8] != others[0:8]).any()
    assert (views[0:8] != pixels[0:8]).any()
    assert views.identity() == again.identity()
    assert len({str(images.identity()) for images in (pixels, views, others)}) == 3


def test_mirrored_views_are_the_images_from_right_to_left(photos):
    """Every image, and their cache key differs from that of the images."""
    pixels = Pixels(sorted((photos / "china").glob("*.png")), 32)
    views = MirroredViews(pixels)
    assert len(views) == len(pixels)
    assert (views[2:8][:, :, ::-1] == pixels[2:8]).all()
    assert (views[2:8] != pixels[2:8]).any()
    assert views.identity() != pixels.identity()


def test_the_identity_of_pixels_is_the_content_of_the_files(photos, tmp_path):
    """A copy in another folder has the same identity; another order or another size has not."""
    files = sorted((photos / "china").glob("*.png"))[:3]
    copies = [tmp_path / f"{index}.png" for index in range(3)]
    for source, copy in zip(files, copies, strict=True):
        copy.write_bytes(source.read_bytes())
    assert Pixels(files, 32).identity() == Pixels(copies, 32).identity()
    assert Pixels(files, 32).identity() != Pixels(files[::-1], 32).identity()
    assert Pixels(files, 32).identity() != Pixels(files, 64).identity()


def test_pixels_are_the_same_whether_they_are_kept_or_decoded_again(monkeypatch):
    """Images beyond the memory limit are decoded each time they are needed."""
    generator = np.random.default_rng(0)
    images = list(generator.integers(0, 256, (5, 20, 30, 3), dtype="uint8"))
    kept = Pixels(images, 16)
    monkeypatch.setattr(module, "MAX_BYTES", 2 * 16 * 16 * 3)
    tight = Pixels(images, 16)
    order = np.array([4, 0, 0, 3, 1, 2])
    for _ in range(2):
        assert (kept[order] == tight[order]).all()
    assert (kept[1:3] == kept[order][[4, 5]]).all()
    assert len(kept) == 5
