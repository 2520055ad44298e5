"""Similarity to ImageNet, on ImageNet's own photos and on what lies far from them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from advisor.calibration import calibration
from advisor.measure.similarity import compare, default_ruler, measure_moments, measure_similarity
from strategies.data.decoding import decode_images
from strategies.data.loading import load_images
from strategies.errors import DatasetError, UserError


@pytest.fixture(scope="module")
def imagenet(test_data, imagenet_weights):
    """ImageNet's photos, one per class, as the files they are."""
    return load_images(test_data / "imagenet_samples")


def _pixels(dataset, change=lambda image: image, count=256):
    chosen = np.random.default_rng(0).permutation(len(dataset))[:count]
    images = (Image.open(dataset.items[index]).convert("RGB") for index in chosen)
    return [np.asarray(change(image)) for image in images]


def test_imagenet_itself_scores_above_nine_tenths_and_above_other_sets(imagenet, test_data):
    """The score is 1 where the images are ImageNet's own, and flowers are nearer than skin lesions."""
    scores = {name: measure_similarity(test_data / name).score for name in ("flowers5", "skin7")}
    own = measure_similarity(imagenet, max_images=1000)
    assert own.calibrated
    assert own.score > 0.9
    assert own.score > scores["flowers5"] > scores["skin7"] + 0.3
    assert own.low <= own.score <= own.high


def test_uniform_noise_scores_below_a_tenth(imagenet_weights):
    """Noise is as far away as images get."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 128, 3), dtype="uint8")
    assert measure_similarity(noise).score < 0.1


def test_64_images_tell_what_1000_tell(imagenet):
    """The score at 64 images is within 0.05 of the score at 1,000."""
    whole = measure_similarity(imagenet, max_images=1000).score
    for seed in range(5):
        assert measure_similarity(imagenet, max_images=64, seed=seed).score == pytest.approx(whole, abs=0.05)


def _see(datasets, ruler, count):
    """What the ruler sees of `count` images of each dataset, by one pass over all of them."""
    orders = [np.random.default_rng(0).permutation(len(dataset))[:count] for dataset in datasets]
    items = [dataset.items[index] for dataset, order in zip(datasets, orders, strict=True) for index in order]
    seen = measure_moments(decode_images(items, ruler.image_size), ruler)
    return [_rows(seen, slice(start, start + count)) for start in range(0, len(items), count)]


def _rows(seen, rows):
    return replace(seen, mean=seen.mean[rows], square=seen.square[rows])


@pytest.fixture(scope="module")
def near_to_far(imagenet, test_data):
    """ImageNet's photos, flowers and skin lesions."""
    return imagenet, load_images(test_data / "flowers5"), load_images(test_data / "skin7")


def test_200_images_are_enough_for_a_stable_score(near_to_far):
    """Over disjoint parts of 200 images the score deviates by 0.03 at most; so does their mean from the whole."""
    ruler = default_ruler()
    for seen in _see(near_to_far, ruler, 600):
        parts = [compare(_rows(seen, slice(start, start + 200)), ruler).score for start in range(0, 600, 200)]
        assert np.std(parts, ddof=1) <= 0.03
        assert np.mean(parts) == pytest.approx(compare(seen, ruler).score, abs=0.03)


@pytest.mark.parametrize("size", [96, 128, 160, 224])
def test_flowers_lie_between_imagenet_and_skin_at_every_calibrated_input_size(near_to_far, size):
    """The order of datasets that lie far apart does not depend on the ruler's input size."""
    ruler = replace(default_ruler(), image_size=size)
    own, flowers, skin = (compare(seen, ruler).score for seen in _see(near_to_far, ruler, 64))
    assert own > flowers > skin


def test_enlarged_photos_score_lower(imagenet):
    """At 224 px the ruler sees that photos were reduced to 128 px before."""
    reduced = _pixels(imagenet, lambda image: image.resize((128, 128), Image.Resampling.LANCZOS), count=128)
    whole, enlarged = (measure_similarity(photos, image_size=224) for photos in (_pixels(imagenet, count=128), reduced))
    assert enlarged.score < whole.score - 0.06


def test_blur_and_noise_lower_the_score_step_by_step(imagenet):
    """Gaussian blur of radius 1, 2, 4, 8 and noise of deviation 10, 25, 50, 100 on the same photos."""
    generator = np.random.default_rng(0)

    def noisy(deviation):
        return lambda image: Image.fromarray(
            np.clip(np.asarray(image) + generator.normal(0, deviation, (*image.size[::-1], 3)), 0, 255).astype("uint8")
        )

    plain = measure_similarity(_pixels(imagenet)).score
    for changes in (
        [lambda image, radius=radius: image.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 2, 4, 8)],
        [noisy(deviation) for deviation in (10, 25, 50, 100)],
    ):
        scores = [plain, *(measure_similarity(_pixels(imagenet, change)).score for change in changes)]
        assert all(before > after for before, after in itertools.pairwise(scores)), scores


def test_the_same_seed_gives_the_same_similarity(imagenet):
    """Sample and bootstrap follow from the seed."""
    first, again = (measure_similarity(imagenet, max_images=50, seed=3) for _ in range(2))
    assert first == again


def test_depths_are_reported_beside_the_whole(imagenet):
    """Early, middle and late thirds average to the whole, nearly: thirds differ by a layer."""
    similarity = measure_similarity(imagenet, max_images=64)
    distances = [row["distance"] for row in similarity.by_depth.values()]
    assert list(similarity.by_depth) == ["early", "middle", "late"]
    assert np.mean(distances) == pytest.approx(similarity.distance, rel=0.05)


def test_an_uncalibrated_ruler_measures_but_does_not_score():
    """Distances of another ruler are shown and decide nothing."""
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype="uint8")
    similarity = measure_similarity(images, ruler="MobileNetV2-0.35", weights="random")
    assert similarity.score is None
    assert not similarity.calibrated
    assert 0 < similarity.distance < 1


def test_a_network_without_batch_norm_is_no_ruler():
    """Its weights hold no statistics to compare with."""
    with pytest.raises(UserError, match="BatchNormalization"):
        measure_similarity(np.zeros((4, 32, 32, 3), "uint8"), ruler="VGG16", weights="random", image_size=32)


def test_one_image_is_not_a_dataset():
    """A mean over one image has no sampling error to correct for."""
    with pytest.raises(DatasetError, match="Received: 1"):
        measure_similarity(np.zeros((1, 32, 32, 3), "uint8"), weights="random")


def test_the_default_ruler_is_calibrated():
    """What decides has a floor and a scale, and says what they were fitted on."""
    rows = [row for row in calibration()["rulers"] if row["ruler"]["image_size"] == default_ruler().image_size]
    assert len(rows) == 1
    assert rows[0]["scale"] > 0
    assert rows[0]["fitted_on"]
