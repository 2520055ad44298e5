"""Values for the templates of a comparison: the four recipes, and their accuracy by training time."""

from __future__ import annotations

from typing import Any

from advisor.outcomes import Outcomes
from advisor.report.evaluation import interval
from advisor.report.words import comparison_cautions, verdict
from strategies.display.charts import Axis, Chart, Series, share_axis, steps_of
from strategies.display.numbers import duration, share


def comparison_values(comparison: Outcomes) -> dict[str, Any]:
    """Returns the values that the templates of a comparison fill in."""
    plan = comparison.advice.plan
    return {
        "verdict": verdict(comparison),
        "regret": f"{100 * comparison.regret:.1f}",
        "advised": comparison.advised.recipe,
        "best": comparison.best,
        "compared_cautions": comparison_cautions(comparison),
        "cost_chart": _cost_chart(comparison),
        "setting": f"{plan.backbone} at {plan.image_size} px, seed {plan.seed}, "
        f"{comparison.advised.test.num_images:,} test images",
        "outcomes": [
            {
                "recipe": outcome.recipe,
                "advised": outcome is comparison.advised,
                "best": outcome.recipe == comparison.best,
                "accuracy": outcome.test.accuracy,
                "low": outcome.test.low,
                "high": outcome.test.high,
                "interval": interval(outcome.test.low, outcome.test.high),
                "balanced": outcome.test.balanced_accuracy,
                "validation": outcome.val_accuracy,
                "seconds": duration(outcome.seconds),
                "share": f"{outcome.share:.0%}",
            }
            for outcome in comparison.ranking
        ],
    }


def _cost_chart(comparison: Outcomes) -> Chart:
    """Returns a chart of test accuracy by seconds of training, with a point for each recipe."""
    seconds = [outcome.seconds for outcome in comparison.outcomes]
    low, high = 0.7 * min(seconds), 1.5 * max(seconds)
    bounds = [bound for outcome in comparison.outcomes for bound in (outcome.test.low, outcome.test.high)]
    ticks = [digit * 10**power for power in range(-2, 7) for digit in (1, 2, 5) if low <= digit * 10**power <= high]
    if len(ticks) < 2:
        ticks = steps_of(low, high, most=4)
    return Chart(
        title="Test accuracy by training time",
        text="; ".join(
            f"{outcome.recipe} {share(outcome.test.accuracy)} in {duration(outcome.seconds)}"
            for outcome in comparison.ranking
        ),
        x=Axis(
            label="seconds of training (logarithmic)",
            low=low,
            high=high,
            ticks=[(tick, f"{tick:g}") for tick in ticks],
            log=True,
        ),
        y=share_axis("test accuracy, 95% interval", bounds),
        series=[
            Series(
                name=outcome.recipe + (" (advised)" if outcome is comparison.advised else ""),
                points=[(outcome.seconds, outcome.test.accuracy)],
                bars=[(outcome.test.low, outcome.test.high)],
                style=number,
                line=False,
            )
            for number, outcome in enumerate(comparison.outcomes, start=1)
        ],
    )
