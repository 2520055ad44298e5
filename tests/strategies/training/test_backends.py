"""Training and feature extraction with the other backends of Keras, without TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import pytest
from support import needs_openvino

SCRIPT = '''
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec


class NoTensorFlow:
    """TensorFlow fails to import, as where it is not installed: Keras' set_random_seed would import it."""

    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, NoTensorFlow) if name == "tensorflow" else None

    def create_module(spec):
        raise ModuleNotFoundError(spec.name)

    def exec_module(module):
        pass


sys.meta_path.insert(0, NoTensorFlow)
import networks
import numpy as np
import strategies


def lower_rates_below(plan):
    def change(phase):
        return replace(phase, learning_rate={
            name: rate * 0.5 ** index for index, (name, rate) in enumerate(reversed(phase.learning_rate.items()))
        })
    return replace(plan, phases=tuple(change(phase) for phase in plan.phases))

generator = np.random.default_rng(0)
images, labels = generator.integers(0, 256, (24, 32, 32, 3), dtype="uint8"), ["cat", "dog"] * 12
strategies.add_backbone("small", networks.small(), stages=networks.STAGES)
for recipe in strategies.RECIPES:
    plan = strategies.make_plan(recipe, "small", class_names=["cat", "dog"], num_train=16, budget=0.05)
    runs = [strategies.train(lower_rates_below(plan), (images, labels)) for _ in range(2)]
    pairs = zip(*(run.model.get_weights() for run in runs))
    assert all(np.array_equal(first, second) for first, second in pairs)
features = strategies.extract_features(images, "MobileNet-0.25", image_size=32, weights="random")
assert next(iter(features.values())).shape == (24, 256)
assert "tensorflow" not in sys.modules
print("trained")
'''


def _run(script, backend, folder):
    """Runs a script with a backend in a new process, and returns what it prints."""
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # steps are few, and compiling them takes longer
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_recipes_train_on_another_backend_and_twice_the_same(backend, tmp_path):
    """Arrays in; the same seed gives the same weights; TensorFlow cannot be imported."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    assert "trained" in _run(SCRIPT, backend, tmp_path)


EXPORTS = """
import numpy as np, networks, strategies

generator = np.random.default_rng(0)
images, labels = generator.integers(0, 256, (24, 32, 32, 3), dtype="uint8"), ["cat", "dog"] * 12
strategies.add_backbone("small", networks.small(), stages=networks.STAGES)
plan = strategies.make_plan("fine_tune_all", "small", class_names=["cat", "dog"], num_train=16, budget=0.05)
strategies.train(plan, (images, labels), "run")
for name in ("onnx", "openvino"):
    result = strategies.export("run", name, data=(images, labels))
    assert result.top1_agreement == 1 and result.largest_difference < 1e-5, result
"""


@needs_openvino
def test_torch_exports_to_onnx_and_openvino(tmp_path):
    """Each export is that of any number of images, and gives the probabilities of the model."""
    for package in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(package)
    _run(EXPORTS, "torch", tmp_path)


PREDICTS = """
import sys

class WithoutTensorFlow:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *arguments):
        return None if name.partition(".")[0] == "tensorflow" else self.finder.find_spec(name, *arguments)

sys.meta_path[:] = map(WithoutTensorFlow, sys.meta_path)
import numpy as np, networks, strategies
from strategies.errors import UserError

generator = np.random.default_rng(0)
images, labels = generator.integers(0, 256, (24, 32, 32, 3), dtype="uint8"), ["cat", "dog"] * 12
strategies.add_backbone("small", networks.small(), stages=networks.STAGES)
plans = {
    recipe: strategies.make_plan(recipe, "small", class_names=["cat", "dog"], num_train=16)
    for recipe in ("head_only", "fine_tune_all")
}
trained = strategies.train(plans["head_only"], (images, labels), "run")
same = strategies.predict("run", list(images), all_classes=True)[["p(cat)", "p(dog)"]].to_numpy()
assert np.allclose(same, trained.model.predict(images.astype("float32"), verbose=0), atol=1e-5)
assert strategies.export("run", "openvino").top1_agreement == 1
for refused in (
    lambda: strategies.train(plans["fine_tune_all"], (images, labels)),
    lambda: strategies.gradcam(trained.model, images),
):
    try:
        refused()
    except UserError as error:
        print(error)
"""


@needs_openvino
def test_a_backend_without_gradients_solves_a_head_and_predicts(tmp_path):
    """What needs gradients is refused in one sentence; TensorFlow cannot be imported."""
    refused = _run(PREDICTS, "openvino", tmp_path).strip().splitlines()
    assert len(refused) == 2
    assert all(" as Keras' backend " in line and "which computes no gradients." in line for line in refused)
