"""What a run folder holds after training."""

import json

import keras
import numpy as np

from strategies.data.loading import load_dataset
from strategies.plans.planning import make_plan
from strategies.training.trainer import train


def test_the_run_folder_holds_a_model_that_reloads_to_the_same_answers(photos, tmp_path):
    """The model loads without anything of ours, and its classes stand beside it."""
    dataset = load_dataset(photos)
    plan = make_plan(
        "keep_early_layers",
        "MobileNet-0.25",
        class_names=dataset.class_names,
        num_train=100,
        image_size=32,
        weights="random",
        budget=0.002,
    )
    result = train(plan, dataset, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    written = {"model.keras", "plan.json", "class_names.json", "history.csv", "images.csv", "metrics.json"}
    assert names == written | {"novelty.npz"}
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("float32")
    reloaded = keras.models.load_model(tmp_path / "run" / "model.keras", safe_mode=True)
    assert np.array_equal(reloaded.predict_on_batch(images), result.model.predict_on_batch(images))
    assert json.loads((tmp_path / "run" / "class_names.json").read_text())["class_names"] == list(plan.class_names)
