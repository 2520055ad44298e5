"""Training and feature extraction with the other backends of Keras, without TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_recipes_train_on_another_backend_and_twice_the_same(backend, tmp_path):
    """Arrays in; the same seed gives the same weights; TensorFlow cannot be imported."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ
        | {
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "XLA_FLAGS": "--xla_backend_optimization_level=0",  # steps are few, and compiling them takes longer
        },
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "trained" in done.stdout
