"""The figures of the evidence: the regret of each policy, the best recipes, and the calibration of the confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from advisor.evidence.tables import POOLED, policy_name
from strategies.errors import UserError

COLORS = {
    "head_only": "#4477aa",
    "fine_tune_all": "#66ccee",
    "keep_early_layers": "#ccbb44",
    "retrain_all": "#ee6677",
}
LEFT_OUT = ("always_keras_guide",)  # its regret is so large that the other policies would not be told apart


def draw_figures(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draws all figures into a folder as SVG; the same score gives the same files.

    Args:
        found: A score, from `advisor.evidence.scoring.score`.
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
            "gains.svg": _gains(found["cells"]),
            "confidence.svg": _confidence(found["confidence"]["thirds"]),
        }
        for name, figure in drawn.items():
            figure.savefig(folder / name, metadata={"Date": None})
    return [folder / name for name in drawn]


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def _regret(found: Mapping[str, Any]) -> Any:
    named = [(name, row) for name, row in found["policies"][POOLED].items() if name not in LEFT_OUT]
    named.sort(key=lambda pair: -pair[1]["mean_regret"])
    figure, axes = _figure(7, 3.2)
    for place, (name, row) in enumerate(named):
        low, high = row["interval"]
        color = "#222222" if name.startswith("advice") else "#999999"
        axes.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="butt")
        axes.plot(row["mean_regret"], place, "o", color=color)
        axes.annotate(f"{row['mean_regret']:.2f}", (row["mean_regret"], place), (0, 5), textcoords="offset points")
    axes.set_yticks(range(len(named)), [policy_name(name).replace("*", "").replace("`", "") for name, _ in named])
    axes.set_xlim(left=0)
    axes.set_xlabel("mean regret, points of accuracy (95% interval)")
    return figure


def _gains(cells: Sequence[Mapping[str, Any]]) -> Any:
    """Draws the gain of each recipe over a new head alone, by similarity; a panel for each network."""
    from matplotlib.figure import Figure

    networks = sorted({cell["backbone"] for cell in cells})
    figure = Figure(figsize=(8, 3.4))
    panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axes, network in zip(panels, networks, strict=True):
        there = [cell for cell in cells if cell["backbone"] == network]
        for recipe, color in COLORS.items():
            if recipe != "head_only":
                axes.scatter(
                    [cell["measures"]["similarity"] for cell in there],
                    [cell["accuracy"][recipe] - cell["accuracy"]["head_only"] for cell in there],
                    s=16,
                    c=color,
                    edgecolors="#333333",
                    linewidths=0.3,
                    label=recipe,
                )
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.set_title(network, fontsize=9)
        axes.set_xlabel("similarity to ImageNet")
    panels[0].set_ylabel("points over a new head alone")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
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
