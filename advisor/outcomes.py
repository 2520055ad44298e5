"""The results of the four recipes on one split, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.advice import Advice
from strategies.display.numbers import duration
from strategies.plans.plan import Plan
from strategies.recipes import get_recipe
from strategies.training.metrics import Evaluation, paired_difference


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Outcome:
    """The result of one recipe.

    Attributes:
        recipe: Name of the recipe.
        plan: The plan that was carried out.
        share: Share of the recipe's own training steps; 1 where there are no steps to shorten.
        metrics: The columns of a results file: `accuracy`, `val_accuracy`, `val_loss`, `seconds`, ...
        test: Metrics on the test images, with the 95% interval of the accuracy.
        correct: Whether each test image was predicted correctly, shape `(num_test,)`.
    """

    recipe: str
    plan: Plan
    share: float
    metrics: Mapping[str, Any]
    test: Evaluation
    correct: np.ndarray

    def __repr__(self) -> str:
        return f"Outcome({self.recipe!r}, test accuracy {self.test.accuracy:.3f}, {duration(self.seconds)})"

    @property
    def val_accuracy(self) -> float | None:
        """Accuracy on the validation images; `None` where there are none."""
        return self.metrics["val_accuracy"]

    @property
    def seconds(self) -> float:
        """Wall-clock time of the training, from decoding to evaluation."""
        return self.metrics["seconds"]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "recipe": self.recipe,
            "share": self.share,
            **self.metrics,
            "low": self.test.low,
            "high": self.test.high,
        }


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Outcomes:
    """The results of recipes on the same split, with the advice. It holds facts alone.

    Attributes:
        advice: The advice, which was given before any training.
        outcomes: One result for each recipe, in the order of `RECIPES`. With too little time, some are left out.
    """

    advice: Advice
    outcomes: tuple[Outcome, ...]

    def __getitem__(self, recipe: str) -> Outcome:
        return next(outcome for outcome in self.outcomes if outcome.recipe == get_recipe(recipe).name)

    @property
    def ranking(self) -> tuple[Outcome, ...]:
        """The outcomes by test accuracy, best first. Ties go to the advised recipe, then to the fastest."""
        return tuple(
            sorted(self.outcomes, key=lambda row: (-row.test.accuracy, row.recipe != self._advised, row.seconds))
        )

    @property
    def advised(self) -> Outcome:
        """The outcome of the advised recipe."""
        return self[self._advised]

    @property
    def rival(self) -> Outcome:
        """The best outcome among the other three recipes."""
        return next(outcome for outcome in self.ranking if outcome.recipe != self._advised)

    @property
    def best(self) -> str:
        """The recipe with the highest test accuracy, which is known only in hindsight."""
        return self.ranking[0].recipe

    @property
    def chosen_on_validation(self) -> str | None:
        """The recipe with the highest validation accuracy; `None` without validation images.

        Ties go to the lowest validation loss.
        """
        judged = [outcome for outcome in self.outcomes if outcome.val_accuracy is not None]
        if not judged:
            return None
        return max(judged, key=lambda outcome: (outcome.val_accuracy, -outcome.metrics["val_loss"])).recipe

    @property
    def regret(self) -> float:
        """Test accuracy of the best recipe minus that of the advised one, a fraction."""
        return self[self.best].test.accuracy - self.advised.test.accuracy

    @property
    def extra_seconds(self) -> float:
        """Training time of the advised recipe minus that of the best one, in seconds."""
        return self.advised.seconds - self[self.best].seconds

    @property
    def lead(self) -> tuple[float, float]:
        """Test accuracy of the advised recipe minus that of the best other one, and its paired standard error."""
        return paired_difference(self.advised.correct, self.rival.correct)

    @property
    def _advised(self) -> str:
        return self.advice.plan.recipe

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; accuracies are fractions, times are in seconds."""
        difference, error = self.lead
        return {
            "advised": self._advised,
            "best": self.best,
            "chosen_on_validation": self.chosen_on_validation,
            "regret": self.regret,
            "extra_seconds": self.extra_seconds,
            "rival": self.rival.recipe,
            "lead": {"difference": difference, "standard_error": error},
            "recipes": [outcome.to_dict() for outcome in self.ranking],
        }
