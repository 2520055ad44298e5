"""The figures of the evidence: the regret of each policy, the best recipes, and the calibration of the confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from advisor.evidence.tables import policy_name
from strategies.errors import UserError

COLORS = {
    "head_only": "#4477aa",
    "fine_tune_all": "#66ccee",
    "keep_early_layers": "#ccbb44",
    "retrain_all": "#ee6677",
}
LEFT_OUT = ("keras_guide",)  # its regret is so large that the other policies would not be told apart


def draw_figures(found: Mapping[str, Any], advice: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws all figures into a folder as SVG; the same score gives the same files.

    Args:
        found: A score, from `advisor.evidence.scoring.score`.
        advice: The thresholds of the advice, from `advisor.thresholds.thresholds`.
        folder: The folder to draw into; it is created if needed, and files of the same name are replaced.

    Raises:
        UserError: If matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError(
            "Expected matplotlib for the figures. Received: an environment without it. Install matplotlib."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    matplotlib.use("Agg")
    style: dict[Any, Any] = {
        "svg.hashsalt": "advisor",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
    }
    style |= {"axes.spines.right": False, "figure.constrained_layout.use": True}
    with matplotlib.rc_context(style):
        drawn = {
            "regret.svg": _regret(found),
            "map.svg": _map(found["cells"], advice),
            "confidence.svg": _confidence(found["confidence"]),
        }
        for name, figure in drawn.items():
            figure.savefig(folder / name, metadata={"Date": None})
    return [folder / name for name in drawn]


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def _regret(found: Mapping[str, Any]) -> Any:
    rows = {"advice": found["advice"], **found["baselines"]}
    named = [(name, row) for name, row in rows.items() if name not in LEFT_OUT]
    named.sort(key=lambda pair: -pair[1]["mean_regret"])
    figure, axes = _figure(7, 3.2)
    for place, (name, row) in enumerate(named):
        low, high = row["interval"]
        color = "#222222" if name == "advice" else "#999999"
        axes.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
        axes.plot(row["mean_regret"], place, "o", color=color)
        axes.annotate(f"{row['mean_regret']:.2f}", (row["mean_regret"], place), (0, 5), textcoords="offset points")
    axes.set_yticks(range(len(named)), [policy_name(name).replace("*", "").replace("`", "") for name, _ in named])
    axes.set_xlim(left=0)
    axes.set_xlabel("mean regret, points of accuracy (95% interval)")
    return figure


def _map(cells: Sequence[Mapping[str, Any]], advice: Mapping[str, Any]) -> Any:
    figure, axes = _figure(7, 4.6)
    for recipe, color in COLORS.items():
        won = [cell for cell in cells if max(cell["accuracy"], key=cell["accuracy"].get) == recipe]
        axes.scatter(
            [cell["similarity"] for cell in won],
            [cell["images_per_class"] for cell in won],
            s=28,
            c=color,
            edgecolors="#333333",
            linewidths=0.4,
            label=f"{recipe} is best ({len(won)} cells)",
            alpha=0.85,
        )
    axes.axvline(advice["similarity"], color="#333333", linewidth=0.8, linestyle=":")
    if advice["images_per_class"] is not None:
        axes.axhline(advice["images_per_class"], color="#333333", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("similarity to ImageNet (each dot is a dataset at one size)")
    axes.set_ylabel("effective images per class")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8)
    return figure


def _confidence(rows: Sequence[Mapping[str, Any]]) -> Any:
    figure, axes = _figure(4.2, 3.6)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    axes.scatter([row["stated"] for row in rows], [row["right"] for row in rows], s=[4 * row["count"] for row in rows])
    for row in rows:
        axes.annotate(str(row["count"]), (row["stated"], row["right"]), (6, -10), textcoords="offset points")
    axes.set_xlim(0.3, 1)
    axes.set_ylim(0.3, 1.02)
    axes.set_xlabel("stated confidence")
    axes.set_ylabel("share of correct advice")
    return figure
