"""The baseline of a recipe: the accuracy of a new head alone, on the same images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.plans.plan import Plan, class_weights
from strategies.plans.planning import make_plan
from strategies.recipes import HEAD_ONLY
from strategies.training.head import fit_head
from strategies.training.metrics import Evaluation, paired_difference, wilson_interval
from strategies.training.model import StagedModel

if TYPE_CHECKING:
    from strategies.data.pixels import Pixels
    from strategies.features.cache import FeatureCache


@dataclass(frozen=True, kw_only=True)
class HeadBaseline:
    """A new head alone (logistic regression on frozen features of the network) on the same test images.

    Attributes:
        accuracy: Accuracy of the head alone. Its 95% Wilson interval is `low` to `high`.
        low: Lower bound of the interval.
        high: Upper bound of the interval.
        gain: Accuracy of the recipe minus accuracy of the head alone; 0 for `head_only`.
        standard_error: Standard error of the gain, from the paired differences of the images.
        seconds: Time that the head alone took. Features that are read from the cache take almost no time.
        extra_seconds: How much longer the recipe took than the head alone.
    """

    accuracy: float
    low: float
    high: float
    gain: float
    standard_error: float
    seconds: float
    extra_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def measure_baseline(
    plan: Plan,
    pixels: Mapping[str, Pixels],
    labels: Mapping[str, np.ndarray],
    *,
    test: Evaluation,
    predicted: np.ndarray,
    seconds: float,
    cache: FeatureCache | None,
    precision: str = "float32",
) -> HeadBaseline:
    """Fits a head alone on the training images, and compares the trained model with it on the test images.

    The head is the result of the recipe `head_only` with the same network, images and class weights. If the plan is
    `head_only` itself, nothing is fitted again.

    Args:
        plan: The plan that was carried out.
        pixels: Images of the splits `train` and `test`.
        labels: Class indices of the same splits.
        test: Metrics of the trained model on the test images.
        predicted: Class index that the trained model predicts for each test image, shape `(num_images,)`.
        seconds: How long the training took.
        cache: Where frozen features are kept. `None` neither reads nor writes any.
        precision: Keras dtype policy of the frozen network.
    """
    if plan.recipe == HEAD_ONLY:
        return HeadBaseline(
            accuracy=test.accuracy,
            low=test.low,
            high=test.high,
            gain=0.0,
            standard_error=0.0,
            seconds=seconds,
            extra_seconds=0.0,
        )
    from strategies.networks.backend import keras

    started = time.perf_counter()
    alone = make_plan(
        HEAD_ONLY,
        plan.backbone,
        class_names=plan.class_names,
        num_train=len(labels["train"]),
        image_size=plan.image_size,
        weights=plan.weights,
        seed=plan.seed,
        channels=plan.channels,
        mixing=plan.mixing,
    )
    keras.utils.set_random_seed(plan.seed)  # a backbone with random weights must be the one that was trained
    cut = StagedModel.build(alone, precision=precision).cut(alone.phases[0])
    assert cut is not None  # only the classifier is trained
    features = {
        name: cut.features(pixels[name], cache=cache, precision=precision, description=f"Head alone ({name})")
        for name in ("train", "test")
    }
    kernel, bias = fit_head(
        features["train"], labels["train"], len(plan.class_names), seed=plan.seed, class_weights=class_weights(plan)
    )
    correct = (features["test"] @ kernel + bias).argmax(axis=1) == labels["test"]
    low, high = wilson_interval(int(correct.sum()), len(correct))
    gain, error = paired_difference(predicted == labels["test"], correct)
    took = time.perf_counter() - started
    return HeadBaseline(
        accuracy=float(correct.mean()),
        low=low,
        high=high,
        gain=gain,
        standard_error=error,
        seconds=took,
        extra_seconds=seconds - took,
    )
