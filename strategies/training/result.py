"""`TrainingResult`: a trained model, its history and its test metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.digests import file_digest
from strategies.display.numbers import duration
from strategies.files import make_folder, replacing, write_json
from strategies.plans.plan import Plan
from strategies.training.baseline import HeadBaseline
from strategies.training.embedded import description, embed
from strategies.training.metrics import Evaluation
from strategies.training.novelty import Novelty, save_novelty
from strategies.training.run_files import CLASS_NAMES, CONTINUE, HISTORY, METRICS, MODEL, NOVELTY, PLAN

if TYPE_CHECKING:
    import keras
    import pandas as pd

METRICS_VERSION = 2


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainingResult:
    """A trained model, its history and its test metrics.

    Attributes:
        plan: The plan that was carried out.
        model: The trained Keras model. It takes RGB pixels 0-255 and returns
            probabilities.
        history: One row per evaluation: phase, step, loss and accuracy on training and validation images.
        test: Metrics on the test images, which are used for nothing else.
        predicted: Class index that the model predicts for each test image, in the order of the data, shape
            `(num_images,)`.
        best_phase: Name of the last phase that was kept.
        best_step: The number of its steps.
        head: Accuracy of a new head alone on the same images, and the gain over it. `None` if it was not measured.
        novelty: What says whether an image is probably none of the classes. `None` with too few images to tell.
        num_trainable_by_phase: Number of trainable weights of each phase, by its name.
        seconds: Wall-clock time in seconds from decoding to evaluation, without the time of `head`.
        versions: Versions of the software that computed the result.
    """

    plan: Plan
    model: keras.Model
    history: pd.DataFrame
    test: Evaluation
    predicted: np.ndarray
    best_phase: str
    best_step: int
    head: HeadBaseline | None
    novelty: Novelty | None
    num_trainable_by_phase: Mapping[str, int]
    seconds: float
    versions: Mapping[str, str]

    def __repr__(self) -> str:
        return f"TrainingResult({self.plan.recipe!r}, test accuracy {self.test.accuracy:.3f}, {duration(self.seconds)})"

    def _repr_html_(self) -> str:
        from strategies.display.results import result_html

        return result_html(
            recipe=self.plan.recipe,
            network=str(self.plan.network),
            metrics=self.to_dict(),
            history=self.history.to_dict("records"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `metrics.json`."""
        test = self.test.to_dict()
        baseline: dict[str, Any] = {key: test.pop(key) for key in ("majority_class", "majority_accuracy")}
        baseline["head"] = None if self.head is None else self.head.to_dict()
        return {
            "version": METRICS_VERSION,
            "plan_digest": self.plan.digest(),
            "test": test,
            "baseline": baseline,
            "best_phase": self.best_phase,
            "best_step": self.best_step,
            "num_trainable_by_phase": dict(self.num_trainable_by_phase),
            "seconds": self.seconds,
            "versions": dict(self.versions),
        }

    def save(self, folder: str | Path) -> None:
        """Writes `model.keras`, `plan.json`, `class_names.json`, `history.csv`, `metrics.json` and `novelty.npz`."""
        folder = make_folder(Path(folder))
        with replacing(folder / MODEL, again=CONTINUE) as temporary:
            self.model.save(temporary)
            plan = self.plan
            content = description(plan.class_names, plan.image_size, plan.image_bits, plan.resize, plan.channels)
            embed(temporary, content)
        if self.novelty is not None:
            with replacing(folder / NOVELTY, again=CONTINUE) as temporary:
                save_novelty(self.novelty, temporary, model=file_digest(folder / MODEL))
        with replacing(folder / HISTORY, again=CONTINUE) as temporary:
            self.history.to_csv(temporary, index=False)
        names = {"version": 1, "class_names": list(self.plan.class_names)}
        for name, values in ((PLAN, self.plan.to_dict()), (CLASS_NAMES, names), (METRICS, self.to_dict())):
            write_json(folder / name, values, again=CONTINUE)
