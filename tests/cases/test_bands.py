"""Images of several bands, from the advice to predictions and exports."""

import json

import numpy as np
import pytest

import advisor
import strategies
from strategies.data.channels import channels_of
from strategies.data.decoding import decode_image
from strategies.data.loading import load_dataset
from strategies.data.pixels import Pixels
from strategies.features.forward import forward

NUM_BANDS = 5


@pytest.fixture(scope="module")
def fields(photos, tmp_path_factory):
    """The photos as arrays of five bands, each a mixture of red, green and blue."""
    root = tmp_path_factory.mktemp("bands") / "fields"
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], NUM_BANDS)
    for path in sorted(photos.rglob("*.png")):
        folder = root / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / path.with_suffix(".npy").name, np.rint(decode_image(path) @ shares.T).astype("uint8"))
    return root


@pytest.fixture(scope="module")
def run(fields, small_network, tmp_path_factory):
    """A run of `fine_tune_all` on all bands: `(folder, dataset, result)`."""
    dataset = strategies.split_dataset(load_dataset(fields), seed=0)
    plan = strategies.make_plan(
        "fine_tune_all",
        small_network["backbone"],
        class_names=dataset.class_names,
        num_train=24,
        image_size=32,
        budget=0.02,
        channels=channels_of(dataset.items),
    )
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, dataset, strategies.train(plan, dataset, folder, cache=False)


def test_predictions_and_evaluations_see_the_bands_of_training(run, fields):
    """To the last digit, from files and from arrays."""
    folder, dataset, result = run
    test = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    (expected,) = forward(result.model, Pixels(test.items, 32, num_channels=NUM_BANDS), description="")
    paths = [fields / name for name in test.names]
    for images in (paths, np.stack([np.load(path) for path in paths])):
        frame = strategies.predict(folder, images, all_classes=True)
        assert np.array_equal(frame[["p(china)", "p(flower)"]].to_numpy().astype("float32"), expected)
    found = strategies.evaluate_run(folder, fields)
    assert found.evaluation.num_images == len(dataset)
    assert not found.unreadable
    assert strategies.gradcam(result.model, paths[:2]).shape == (2, 32, 32)
    start = np.reshape(strategies.build_model(result.plan).get_layer("mixing").get_weights()[0], -1)
    assert not np.allclose(result.model.get_layer("mixing").get_weights()[0].ravel(), start)


def test_an_export_takes_the_bands(run, fields):
    """As the model does."""
    folder, _, _ = run
    found = strategies.export(folder, "keras", data=fields)
    assert found.top1_agreement == 1
    assert found.largest_difference < 1e-4


def test_the_advice_names_the_bands(fields, small_network, advisor, tmp_path):
    """All of them or those that were named, in the plan; the report says which are used, and what its pictures show."""
    out = tmp_path / "advice"
    code, _, err = advisor("recommend", fields, "--backbone", "small", "--weights", "own", "--out", out)
    assert code == 0, err
    plan = json.loads((out / "plan.json").read_text())
    assert plan["channels"] == [1, 2, 3, 4, 5]
    assert np.shape(plan["mixing"]) == (3, NUM_BANDS)
    report = (out / "report.md").read_text()
    assert "have 5 bands, and all of them are used" in report
    assert "see the images in false color" in report
    for wrong, sentence in (("3,x", "up to 16 numbers"), ("9", "5 bands, so none has the number 9")):
        code, _, err = advisor("profile", fields, "--channels", wrong)
        assert code == 2
        assert sentence in err


def test_features_are_those_of_the_bands(fields, small_network):
    """By default of all of them."""
    options = {"backbone": "small", "image_size": 32, "cache": False}
    every = strategies.extract_features(fields, **options)
    some = strategies.extract_features(fields, channels=(1, 2), **options)
    assert every["end"].shape == some["end"].shape
    assert not np.array_equal(every["end"], some["end"])
    assert advisor.profile_images(fields, channels=(2, 1)).num_images == 40
