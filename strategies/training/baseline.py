"""What a new head alone reaches, beside every other recipe: the baseline that its gain is counted from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.plans.plan import Plan, class_weights
from strategies.plans.planning import make_plan
from strategies.training.head import fit_head
from strategies.training.metrics import Evaluation, paired_difference, wilson_interval
from strategies.training.model import StagedModel

if TYPE_CHECKING:
    from strategies.data.pixels import Pixels
    from strategies.features.cache import FeatureCache

HEAD_ONLY = "head_only"


@dataclass(frozen=True, kw_only=True)
class HeadBaseline:
    """What logistic regression on the frozen features of the whole network reaches on the same test images.

    Attributes:
        accuracy: Of the head alone, with its 95 % Wilson interval, `low` to `high`.
        gain: Accuracy of the recipe minus that of the head alone; 0 for `head_only`.
        standard_error: Of the gain, image by image.
        seconds: What the head alone took; features that were read from the cache took next to nothing.
        extra_seconds: How much longer the recipe took.
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
    """Fits a head alone on the training images and compares a recipe with it on the test images.

    It is what the recipe `head_only` would have done: the same network, weights, images and class weights. For that
    recipe itself nothing is fitted again.

    Args:
        plan: The plan that was carried out.
        pixels: Images of the splits `train` and `test`; `labels` their class indices.
        labels: See `pixels`.
        test: What the recipe reached.
        predicted: Class index that it gave each test image.
        seconds: What it took.
        cache: Where frozen features are kept; `None` keeps and reads nothing.
        precision: What the frozen network computes in.
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
    started = time.perf_counter()
    alone = make_plan(
        HEAD_ONLY,
        plan.backbone,
        class_names=plan.class_names,
        num_train=len(labels["train"]),
        image_size=plan.image_size,
        weights=plan.weights,
        seed=plan.seed,
    )
    cut = StagedModel.build(alone, precision=precision).cut(alone.phases[0])
    assert cut is not None  # nothing but the classifier trains
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
