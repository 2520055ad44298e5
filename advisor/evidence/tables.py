"""Tables of a study in Markdown: the four recipes beside what they are compared with, and recipes with changes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from advisor.evidence.study import BASELINES, VARIANT
from strategies.errors import UserError
from strategies.recipes import RECIPES

BATCH_NORM = ("inference", "train")
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
    """Compares the recipes with the baselines, cell by cell, on the seeds that all of them were run with.

    Args:
        rows: Of one backbone and input size, from `read_results`.

    Returns:
        `cells`: for each dataset and size the mean test accuracy of every method, that of the recipe with the best
        validation accuracy seed by seed (`chosen`), and its `gains` over both versions of Keras' loop, each with the
        standard error over seeds; `summary`: the same over all cells. All in fractions.

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
        raise UserError(f"Expected results of all of {', '.join(methods)}. Received: no such cell. Run the study on.")
    return {"cells": cells, "summary": _summary(cells)}


def _gain(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float | None]:
    differences = np.array(ours) - np.array(theirs)
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
    """Returns `compare_methods` as a Markdown table with its summary, in per cent."""
    found = compare_methods(rows)
    methods = (*RECIPES, *BASELINES)
    names = [_NAMES.get(one, f"`{one}`") for one in methods]
    header = ["dataset", "images", "seeds", *names, "best on validation", *(f"over {_NAMES[loop]}" for loop in LOOPS)]
    lines = []
    for cell in found["cells"]:
        best = max(cell["accuracy"].values())
        values = [_bold(cell["accuracy"][one], best) for one in methods]
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
    """Returns, for each recipe that was run with changes to its plan, test accuracy by change, in per cent.

    Args:
        rows: Of one backbone and input size; cells and seeds without all of the changes are left out.
        changes: `BATCH_NORM` or `RATES`; a recipe as it is counts as the one of them that it has by default.
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
    """Returns a recipe with the change that it has by default, so that both are one column."""
    phases = [phase for phase in RECIPES[method].phases if phase.solver != "logistic"] if method in RECIPES else []
    modes = [phase.batch_norm for phase in phases if not phase.optional and set(phase.trains) & {"kept", "rebuilt"}]
    default = {BATCH_NORM: modes[0], RATES: "x1"}[tuple(changes)] if modes else ""
    return f"{method}{VARIANT}{default}" if default else method


def _bold(value: float, best: float) -> str:
    text = f"{100 * value:.1f}"
    return f"**{text}**" if value == best else text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))
