"""What the templates of a comparison speak of: the four recipes, and accuracy against cost."""

from __future__ import annotations

from typing import Any

from advisor.outcomes import Outcomes
from advisor.report.evaluation import interval
from advisor.report.text import comparison_cautions, verdict
from strategies.display.charts import Axis, Chart, Series, share_axis, steps_of


def comparison_values(comparison: Outcomes) -> dict[str, Any]:
    """Returns what the templates of a comparison speak of."""
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
                "recipe": one.recipe,
                "advised": one is comparison.advised,
                "best": one.recipe == comparison.best,
                "accuracy": one.test.accuracy,
                "low": one.test.low,
                "high": one.test.high,
                "interval": interval({"low": one.test.low, "high": one.test.high}),
                "balanced": one.test.balanced_accuracy,
                "validation": one.val_accuracy,
                "seconds": f"{one.seconds:,.1f} s",
                "share": f"{one.share:.0%}",
            }
            for one in comparison.ranking
        ],
    }


def _cost_chart(comparison: Outcomes) -> Chart:
    """Returns test accuracy against seconds of all four recipes."""
    seconds = [one.seconds for one in comparison.outcomes]
    low, high = 0.7 * min(seconds), 1.5 * max(seconds)
    bounds = [bound for one in comparison.outcomes for bound in (one.test.low, one.test.high)]
    ticks = [one * 10**power for power in range(-2, 7) for one in (1, 2, 5) if low <= one * 10**power <= high]
    if len(ticks) < 2:
        ticks = steps_of(low, high, most=4)
    return Chart(
        title="Test accuracy by training time",
        text="; ".join(f"{one.recipe} {one.test.accuracy:.1%} in {one.seconds:.1f} s" for one in comparison.ranking),
        x=Axis(
            label="seconds of training (logarithmic)",
            low=low,
            high=high,
            ticks=[(one, f"{one:g}") for one in ticks],
            log=True,
        ),
        y=share_axis("test accuracy, 95 % interval", bounds),
        series=[
            Series(
                name=one.recipe + (" (advised)" if one is comparison.advised else ""),
                points=[(one.seconds, one.test.accuracy)],
                bars=[(one.test.low, one.test.high)],
                style=number,
                line=False,
            )
            for number, one in enumerate(comparison.outcomes, start=1)
        ],
    )
