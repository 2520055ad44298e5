"""Tables of the study in Markdown: recipes compared with baselines, and the score of the advice."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from advisor.evidence.cells import by_size
from advisor.evidence.races import ADVISED
from advisor.evidence.study import BASELINES
from advisor.preferences import PREFERENCES
from strategies.errors import UserError
from strategies.recipes import RECIPES

CellKey = tuple[str, str]
LOOPS = ("keras_guide", "keras_guide_held")
TOLERANCE = 0.01  # the larger of one point and two standard errors counts as a tie


def _grid(rows: Iterable[Mapping[str, str]], column: str) -> dict[CellKey, dict[str, dict[str, float]]]:
    """Returns cell -> method -> seed -> value, in the order of the rows."""
    grid: dict[CellKey, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row[column]:
            grid[row["dataset"], row["size"]][row["recipe"]][row["seed"]] = float(row[column])
    return grid


def compare_methods(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Compares the recipes with the baselines in each cell, on the seeds with results of all methods.

    Args:
        rows: Rows of one backbone and image size, from `read_results`.

    Returns:
        `cells`: for each dataset and size, the mean test accuracy of each method, that of the recipe with the best
        validation accuracy on each seed (`chosen`), and its `gains` over both versions of Keras' loop, each with the
        standard error over seeds. `summary`: the same over all cells. All are fractions.

    Raises:
        UserError: If no cell has all methods.
    """
    accuracy, balanced = _grid(rows, "accuracy"), _grid(rows, "balanced_accuracy")
    chances, losses = _grid(rows, "val_accuracy"), _grid(rows, "val_loss")
    methods = (*RECIPES, *BASELINES)
    cells = []
    for key, found in accuracy.items():
        seeds = sorted(set.intersection(*(set(found.get(method, {})) for method in methods)))
        if not seeds:
            continue
        chosen = []
        for seed in seeds:
            best = max(RECIPES, key=lambda name: (chances[key][name].get(seed, 0), -losses[key][name].get(seed, 0)))
            chosen.append(found[best][seed])
        cells.append(
            {
                "dataset": key[0],
                "size": key[1],
                "num_seeds": len(seeds),
                "accuracy": {method: float(np.mean([found[method][seed] for seed in seeds])) for method in methods},
                "balanced_accuracy": {
                    method: float(np.mean([balanced[key][method][seed] for seed in seeds])) for method in methods
                },
                "chosen": float(np.mean(chosen)),
                "gains": {loop: _gain(chosen, [found[loop][seed] for seed in seeds]) for loop in LOOPS},
            }
        )
    if not cells:
        raise UserError(f"Expected results of all of {', '.join(methods)}. Received: no such cell. Continue the study.")
    return {"cells": cells, "summary": _summary(cells)}


def _gain(accuracy: Sequence[float], baseline: Sequence[float]) -> dict[str, float | None]:
    differences = np.array(accuracy) - np.array(baseline)
    error = float(differences.std(ddof=1) / math.sqrt(len(differences))) if len(differences) > 1 else None
    return {"mean": float(differences.mean()), "standard_error": error}


def _summary(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    heads = [cell["accuracy"]["head_only"] - cell["accuracy"]["logistic_regression"] for cell in cells]
    summary: dict[str, Any] = {
        "num_cells": len(cells),
        "num_datasets": len({cell["dataset"] for cell in cells}),
        "head_only_minus_logistic_regression": float(np.mean(heads)),
        "gains": {},
    }
    for loop in LOOPS:
        gains = {f"{cell['dataset']}, {cell['size']}": cell["gains"][loop] for cell in cells}
        means = [gain["mean"] for gain in gains.values()]
        summary["gains"][loop] = {
            "mean": float(np.mean(means)),
            "worst": float(min(means)),
            "worse_in": [
                name
                for name, gain in gains.items()
                if gain["mean"] < -max(TOLERANCE, 2 * (gain["standard_error"] or 0))
            ],
        }
    return summary


_NAMES = {
    "keras_guide": "Keras' loop",
    "keras_guide_held": "the same, BatchNorm held",
    "logistic_regression": "logistic regression",
}


def methods_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns the result of `compare_methods` as a Markdown table with a summary, in percent."""
    found = compare_methods(rows)
    methods = (*RECIPES, *BASELINES)
    names = [_NAMES.get(method, f"`{method}`") for method in methods]
    header = ["dataset", "images", "seeds", *names, "best on validation", *(f"over {_NAMES[loop]}" for loop in LOOPS)]
    lines = []
    for cell in found["cells"]:
        best = max(cell["accuracy"].values())
        values = [_bold(cell["accuracy"][method], best) for method in methods]
        chosen = f"{100 * cell['chosen']:.1f}"
        gains = [_signed(cell["gains"][loop]) for loop in LOOPS]
        lines.append([cell["dataset"], cell["size"], str(cell["num_seeds"]), *values, chosen, *gains])
    summary = found["summary"]
    text = (
        f"{summary['num_cells']} cells of {summary['num_datasets']} datasets. `head_only` minus logistic regression: "
        f"{100 * summary['head_only_minus_logistic_regression']:+.1f} points on average."
    )
    for loop in LOOPS:
        gain = summary["gains"][loop]
        text += (
            f" The recipe that is best on validation over {_NAMES[loop]}: {100 * gain['mean']:+.1f} points on "
            f"average, {100 * gain['worst']:+.1f} in the worst cell; worse by more than the larger of one point and "
            f"two standard errors in: {'; '.join(gain['worse_in']) or 'no cell'}."
        )
    return f"{_table(header, lines)}\n\n{text}\n"


def _signed(gain: Mapping[str, float | None]) -> str:
    error = "" if gain["standard_error"] is None else f" ± {100 * gain['standard_error']:.1f}"
    return f"{100 * (gain['mean'] or 0):+.1f}{error}"


def _bold(value: float, best: float) -> str:
    text = f"{100 * value:.1f}"
    return f"**{text}**" if value == best else text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


_POLICIES = {
    "advice_accuracy": "the advice, `accuracy`",
    "advice_balanced": "**the advice, `balanced`**",
    "advice_speed": "the advice, `speed`",
    "textbook": "the textbook",
    "always_random": "one of the four at random",
    "always_keras_guide": "Keras' loop",
}
POOLED = "pooled"
LEFT_OUT = {
    "dataset": "the dataset of the cell",
    "network": "the network of the cell",
    "both": "the dataset and the network",
}


def score_tables(found: Mapping[str, Any]) -> str:
    """Returns the result of `score` in Markdown: every table of the evidence that it holds."""
    return "\n".join(
        [
            summary_table(found),
            *(f"{network}\n\n{policies_table(found, network)}" for network in found["policies"]),
            left_out_table(found),
            confidence_table(found),
            expected_table(found),
            likeness_table(found),
            refit_table(found),
            *(f"{network}\n\n{places_table(found, network)}" for network in found["places"]),
            cells_table(found),
        ]
    )


def summary_table(found: Mapping[str, Any]) -> str:
    """Returns mean regret and training time, on each network and on all, of policies that were tried in all cells."""
    networks = [*(name for name in found["policies"] if name != POOLED), POOLED]
    header = ["policy", *networks, "training time"]
    pooled = found["policies"][POOLED]
    lines = []
    for name, row in sorted(pooled.items(), key=lambda pair: pair[1]["mean_regret"]):
        if row["num_cells"] == found["num_cells"]:
            values = [f"{found['policies'][network][name]['mean_regret']:.2f}" for network in networks]
            lines.append([policy_name(name), *values, _seconds(row["mean_seconds"])])
    counts = [str(found["policies"][network]["textbook"]["num_cells"]) for network in networks]
    return f"{_table(header, [*lines, ['cells', *counts, '']])}\n"


def policies_table(found: Mapping[str, Any], network: str = POOLED) -> str:
    """Returns a row for each policy on a network: regret, share within tolerance, worst cell, and training time."""
    header = [
        "policy", "mean regret", "95% interval", "within tolerance", "worst cell", "training time",
        "more than the advice", "cells",
    ]  # fmt: skip
    lines = [
        [
            policy_name(name),
            f"{row['mean_regret']:.2f}",
            _span(row["interval"]),
            f"{row['within']:.0%}",
            f"{row['worst_regret']:.1f} ({row['worst_cell']})",
            _seconds(row["mean_seconds"]),
            f"{row['difference']['mean']:+.2f} ({_span(row['difference']['interval'])})",
            str(row["num_cells"]),
        ]
        for name, row in found["policies"][network].items()
    ]
    return f"{_table(header, lines)}\n"


def left_out_table(found: Mapping[str, Any]) -> str:
    """Returns the mean regret of the balanced advice on each network, by what of the study was left out."""
    networks = list(found["places"])
    lines = [
        [LEFT_OUT[name], *(f"{rows['balanced'][at]:.2f}" if at in rows["balanced"] else "–" for at in networks)]
        for name, rows in found["left_out"].items()
    ]
    return f"{_table(['left out of the study', *networks], lines)}\n"


def confidence_table(found: Mapping[str, Any]) -> str:
    """Returns the share of right advice in each third of the stated confidence, and for each network."""
    header = ["", "stated confidence", "mean", "right", "cells × seeds"]
    names = ["lowest third", "middle third", "highest third"]
    thirds = [{"network": name, **row} for name, row in zip(names, found["confidence"]["thirds"], strict=False)]
    lines = [
        [
            row["network"],
            f"{row['from']:.0%} to {row['to']:.0%}",
            f"{row['stated']:.0%}",
            f"{row['right']:.0%}",
            str(row["count"]),
        ]
        for row in [*thirds, *found["confidence"]["networks"]]
    ]
    return f"{_table(header, lines)}\n"


def expected_table(found: Mapping[str, Any]) -> str:
    """Returns how often the 80% intervals held what training reached, and how far expectations were off."""
    header = [
        "recipe", "within the 80% interval", "mean error of the accuracy", "of the gain", "of the mean gain",
        "cells × seeds",
    ]  # fmt: skip
    lines = [
        [
            f"`{name}`",
            f"{row['held']:.0%}",
            f"{row['error']:.1f}",
            f"{row['gain_error']:.1f}",
            f"{row['gain_error_of_mean']:.1f}",
            str(row["count"]),
        ]
        for name, row in found["expected"].items()
    ]
    return f"{_table(header, lines)}\n"


def likeness_table(found: Mapping[str, Any]) -> str:
    """Returns what each measure of likeness is worth."""
    names = {"all": "all measures", "none": "no measure: the mean of all cells"}
    lines = [
        [names.get(name, f"without `{name}`"), f"{row['gain_error']:.2f}", f"{row['mean_regret']:.2f}"]
        for name, row in found["likeness"].items()
    ]
    return f"{_table(['likeness by', 'mean error of the expected gain', 'mean regret'], lines)}\n"


def refit_table(found: Mapping[str, Any]) -> str:
    """Returns what a refit adds, on each network and size."""
    lines = [
        [
            f"**{row['network']}**" if row["network"] == "all" else row["network"],
            row["size"],
            str(row["pairs"]),
            f"{row['gain']:+.1f}",
            "–" if row["error"] is None else f"{row['error']:.1f}",
        ]
        for row in found["refit"]
    ]
    return f"{_table(['network', 'images', 'pairs', 'gain of the refit', 'standard error'], lines)}\n"


def places_table(found: Mapping[str, Any], network: str) -> str:
    """Returns how often each recipe is best, the cheapest good one, and advised, on a network."""
    header = ["recipe", "best", "cheapest within half a point", *(f"advised, `{name}`" for name in PREFERENCES)]
    lines = [
        [f"`{name}`", *(f"{row[column]:.0%}" for column in ("best", "cheapest", *PREFERENCES))]
        for name, row in found["places"][network].items()
    ]
    return f"{_table(header, lines)}\n"


def cells_table(found: Mapping[str, Any]) -> str:
    """Returns a row for each cell: accuracies, advice and regret."""
    header = ["network", "dataset", "images", "seeds", "similarity", *(f"`{name}`" for name in RECIPES)]
    header += ["advice", "regret", "within tolerance"]
    lines = []
    for cell in found["cells"]:
        best = max(cell["accuracy"].values())
        counts = {name: cell["advice"].count(name) for name in dict.fromkeys(cell["advice"])}
        advice = ", ".join(f"`{name}`" + (f" ({count})" if len(counts) > 1 else "") for name, count in counts.items())
        values = [f"**{value:.1f}**" if value == best else f"{value:.1f}" for value in cell["accuracy"].values()]
        lines.append(
            [
                cell["backbone"],
                cell["dataset"],
                cell["size"],
                str(cell["num_seeds"]),
                f"{cell['measures']['similarity']:.2f}",
                *values,
                advice,
                f"{cell['regret']:+.1f}",
                "yes" if cell["within"] else "no",
            ]
        )
    return f"{_table(header, lines)}\n"


def gains_table(found: Mapping[str, Any]) -> str:
    """Returns what each recipe gained over `head_only` on each network and size: mean over cells, and the worst."""
    trained = [name for name in RECIPES if name != "head_only"]
    header = ["network", "images", "cells", "`head_only`", *(f"`{name}`" for name in trained)]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for cell in found["cells"]:
        groups[cell["backbone"], cell["size"]].append(cell)
    lines = []
    for (network, size), cells in sorted(groups.items(), key=lambda pair: (pair[0][0], by_size(pair[0][1]))):
        gains = {name: [cell["accuracy"][name] - cell["accuracy"]["head_only"] for cell in cells] for name in trained}
        lines.append(
            [
                network,
                size,
                str(len(cells)),
                f"{np.mean([cell['accuracy']['head_only'] for cell in cells]):.1f}",
                *(f"{np.mean(values):+.1f} ({min(values):+.1f})" for values in gains.values()),
            ]
        )
    return f"{_table(header, lines)}\n"


def races_table(races: Sequence[Mapping[str, Any]]) -> str:
    """Returns what each race would have gained over always the default recipe, and their means."""
    header = ["dataset", "images", "winner", "by more than a standard error", f"gain over `{ADVISED}`", "time"]
    lines = [
        [
            row["dataset"],
            row["size"],
            f"`{row['winner']}`",
            "yes" if row["decided"] else "no",
            f"{row['gain']:+.1f}",
            f"{row['share_of_time']:.1f} ×",
        ]
        for row in races
    ]
    gain, times = (float(np.mean([row[name] for row in races])) for name in ("gain", "share_of_time"))
    return f"{_table(header, [*lines, ['**mean**', '', '', '', f'{gain:+.2f}', f'{times:.1f} ×']])}\n"


def policy_name(name: str) -> str:
    """Returns the name of a policy in tables and figures."""
    return _POLICIES.get(name, f"always `{name.removeprefix('always_')}`")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s"


def _span(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"
