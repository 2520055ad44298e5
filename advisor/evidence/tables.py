"""Tables of the study in Markdown: recipes compared with baselines and variants, and the score of the advice."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from advisor.evidence.study import BASELINES
from advisor.results import VARIANT
from advisor.rules import EVIDENCE, MEASURES
from strategies.errors import UserError
from strategies.recipes import RECIPES

BATCH_NORM = ("inference", "train")
# What the recipes did in release 0.5.0, which the results are from.
DEFAULT_MODES = {"fine_tune_all": "inference", "keep_early_layers": "train", "retrain_all": "train"}
RATES = ("x0.3", "x1", "x3")
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


def variants_table(rows: Sequence[Mapping[str, str]], changes: Sequence[str]) -> str:
    """Returns the test accuracy of recipe variants as a table, in percent: a column for each recipe and change.

    Args:
        rows: Rows of one backbone and image size; cells and seeds without all of the changes are left out.
        changes: `BATCH_NORM` or `RATES`; an unchanged recipe counts as the variant with its default value.
    """
    named = [{**row, "recipe": _variant(row["recipe"], changes)} for row in rows]
    accuracy = _grid([row for row in named if row["recipe"].partition(VARIANT)[2] in changes], "accuracy")
    found = {method for methods in accuracy.values() for method in methods}
    recipes = [name for name in RECIPES if all(f"{name}{VARIANT}{change}" in found for change in changes)]
    if not recipes:
        raise UserError(f"Expected results of recipes with {', '.join(changes)}. Received: none. Run them first.")
    names = [f"{recipe}{VARIANT}{change}" for recipe in recipes for change in changes]
    lines, columns = [], defaultdict(list)
    for (dataset, size), methods in accuracy.items():
        seeds = set.intersection(*(set(methods.get(name, {})) for name in names))
        if not seeds:
            continue
        means = {name: float(np.mean([methods[name][seed] for seed in seeds])) for name in names}
        for name, value in means.items():
            columns[name].append(value)
        best = {recipe: max(means[f"{recipe}{VARIANT}{change}"] for change in changes) for recipe in recipes}
        lines.append([dataset, size, *(_bold(means[name], best[name.partition(VARIANT)[0]]) for name in names)])
    lines.append(["**mean**", "", *(f"{100 * np.mean(columns[name]):.1f}" for name in names)])
    return _table(["dataset", "images", *(f"`{name}`" for name in names)], lines) + "\n"


def _variant(method: str, changes: Sequence[str]) -> str:
    """Returns the name of an unchanged recipe with its default value, so that both are one column."""
    mode = DEFAULT_MODES.get(method)
    default = {BATCH_NORM: mode, RATES: "x1"}[tuple(changes)] if mode else ""
    return f"{method}{VARIANT}{default}" if default else method


def _bold(value: float, best: float) -> str:
    text = f"{100 * value:.1f}"
    return f"**{text}**" if value == best else text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


_POLICIES = {
    "advice": "**the advice**",
    "two_by_two": "2 × 2 of size and similarity, fitted",
    "textbook": "textbook, large from 20,000 images on",
    "random": "one of the four at random",
    "keras_guide": "Keras' loop",
}


def score_tables(found: Mapping[str, Any]) -> str:
    """Returns the result of `score` in Markdown: policies, groups, evidence, confidence and cells."""
    parts = [policies_table(found), groups_table(found), evidence_table(found), confidence_table(found)]
    return "\n".join([*parts, cells_table(found)])


def policies_table(found: Mapping[str, Any]) -> str:
    """Returns a row for the advice and for each baseline: regret, shares, worst cell and training time."""
    header = [
        "policy", "mean regret", "95% interval", "within tolerance", "within 1 point", "worst cell", "training time",
        "advice better by", "cells",
    ]  # fmt: skip
    lines = []
    for name, row in {"advice": found["advice"], **found["baselines"]}.items():
        difference = row.get("difference")
        better = "" if difference is None else f"{difference['mean']:.2f} ({_span(difference['interval'])})"
        lines.append(
            [
                policy_name(name),
                f"{row['mean_regret']:.2f}",
                _span(row["interval"]),
                f"{row['share_within_1pt']:.0%}",
                f"{row['share_within_1pt_strictly']:.0%}",
                f"{row['worst_regret']:.1f} ({row['worst_cell']})",
                f"{row['mean_seconds']:.0f} s",
                better,
                str(row["num_cells"]),
            ]
        )
    judged = []
    if found["held_out"]:
        judged.append(f"{len(found['held_out'])} judged by numbers fitted without them")
    if found["unseen"]:
        judged.append(f"{len(found['unseen'])} never part of the fit ({', '.join(found['unseen'])})")
    text = (
        f"{found['num_cells']} cells of {found['num_datasets']} datasets: {', '.join(judged)}. Training all four "
        f"recipes takes {found['all_four']['mean_seconds']:.0f} s on average."
    )
    if found["cells_with_one_seed"]:
        text += f" {found['cells_with_one_seed']} cells have only one seed: it also chooses the best recipe."
    return f"{_table(header, lines)}\n\n{text}\n"


def summary_table(found: Mapping[str, Any]) -> str:
    """Returns the policies in a few columns, best first."""
    rows = {"advice": found["advice"], **found["baselines"]}
    lines = [
        [
            policy_name(name),
            f"{row['mean_regret']:.2f}",
            f"{row['share_within_1pt']:.0%}",
            f"{row['worst_regret']:.1f}",
            f"{row['mean_seconds']:.0f} s",
        ]
        for name, row in sorted(rows.items(), key=lambda pair: pair[1]["mean_regret"])
    ]
    header = ["policy", "mean regret", "within tolerance", "worst cell", "training time"]
    return f"{_table(header, lines)}\n"


def numbers_table(fit: Mapping[str, Any]) -> str:
    """Returns the fitted numbers: on all datasets, and their range without one of them."""
    header = ["number", "fitted on all", "without one dataset"]
    lines, when = [], {row.name: row.when for row in EVIDENCE}
    for name, value in fit["all"]["advice"].items():
        others = [part["advice"][name] for part in fit["held_out"].values()]
        if name in MEASURES.values():
            lines.append([f"threshold of `{name}`", f"{value:g}", f"{min(others):g} to {max(others):g}"])
        elif value is None:
            used = sum(number is not None for number in others)
            lines.append([f"`{name}`", "off", f"on in {used} of {len(others)}"])
        else:
            known = [number for number in others if number is not None]
            shown = f"{min(known):g} to {max(known):g}" if known else "off"
            off = len(others) - len(known)
            shown += f", off in {off} of {len(others)}" if known and off else ""
            lines.append([f"`{name}`, {when[name]}", f"{value:g}", shown])
    rates = [part["rates"] for part in fit["held_out"].values()]
    changed = sum(rate["factor"] != 1 for rate in rates)
    own = fit["all"]["rates"]
    text = "1" if own["factor"] == 1 else f"{own['factor']:g} below similarity {own['similarity']:g}"
    lines.append(
        ["factor on the learning rates of `fine_tune_all`", text, f"other than 1 in {changed} of {len(rates)}"]
    )
    return f"{_table(header, lines)}\n"


def groups_table(found: Mapping[str, Any]) -> str:
    """Returns the mean regret of each policy by size and by domain."""
    groups = {**found["by_size"], **found["by_domain"]}
    names = ["advice", *found["baselines"]]
    header = ["mean regret", *groups]
    lines = [["cells", *(str(group["num_cells"]) for group in groups.values())]]
    for name in names:
        lines.append(
            [policy_name(name), *(f"{group[name]:.2f}" if name in group else "–" for group in groups.values())]
        )
    return f"{_table(header, lines)}\n"


def evidence_table(found: Mapping[str, Any]) -> str:
    """Returns what each row of evidence is worth."""
    header = ["evidence", "used", "cells changed", "mean regret without it", "worth", "95% interval"]
    lines = [
        [
            f"`{name}`",
            "yes" if row["used"] else "no",
            str(row["cells_moved"]),
            f"{row['regret_without_it']:.2f}",
            f"{row['worth']:+.2f}",
            _span(row["interval"]),
        ]
        for name, row in found["evidence"].items()
    ]
    return f"{_table(header, lines)}\n"


def confidence_table(found: Mapping[str, Any]) -> str:
    """Returns the share of correct advice by stated confidence."""
    header = ["stated confidence", "mean", "share correct", "cells × seeds"]
    lines = [
        [f"{row['from']:.0%} to {row['to']:.0%}", f"{row['stated']:.0%}", f"{row['right']:.0%}", str(row["count"])]
        for row in found["confidence"]
    ]
    return f"{_table(header, lines)}\n"


def cells_table(found: Mapping[str, Any]) -> str:
    """Returns a row for each cell: accuracies, advice and regret."""
    header = [
        "dataset",
        "images",
        "seeds",
        "similarity",
        *(f"`{name}`" for name in RECIPES),
        "advice",
        "regret",
        "within tolerance",
    ]
    lines = []
    for cell in found["cells"]:
        best = max(cell["accuracy"].values())
        counts = {name: cell["advice"].count(name) for name in dict.fromkeys(cell["advice"])}
        advice = ", ".join(f"`{name}`" + (f" ({count})" if len(counts) > 1 else "") for name, count in counts.items())
        values = [f"**{value:.1f}**" if value == best else f"{value:.1f}" for value in cell["accuracy"].values()]
        lines.append(
            [
                cell["dataset"],
                cell["size"],
                str(cell["num_seeds"]),
                f"{cell['similarity']:.2f}",
                *values,
                advice,
                f"{cell['regret']:+.1f}",
                "yes" if cell["within"] else "no",
            ]
        )
    return f"{_table(header, lines)}\n"


def policy_name(name: str) -> str:
    """Returns the name of a policy in tables and figures."""
    return _POLICIES.get(name, f"always `{name.removeprefix('always_')}`")


def _span(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"
