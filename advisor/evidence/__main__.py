"""python -m advisor.evidence: run the study in slices, and write its tables."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from advisor.evidence.study import METHODS, Setting, read_results, run_study
from advisor.evidence.tables import BATCH_NORM, RATES, compare_methods, methods_table, variants_table
from strategies.errors import UserError


def main() -> None:
    """Runs a command; bad input is one sentence on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m advisor.evidence", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run what is missing, and append a row per finished run")
    run.add_argument("--datasets", type=Path, required=True, help="folder of class folders")
    run.add_argument("--out", type=Path, required=True, help="CSV file that rows are appended to")
    run.add_argument("--sizes", default="100,300,1000,full", help="training and validation images")
    run.add_argument("--seeds", type=int, default=2)
    run.add_argument("--methods", default=",".join(METHODS), help="recipes, also as RECIPE:inference, and baselines")
    run.add_argument("--only", default="", help="names of datasets; default: all")
    run.add_argument("--part", default="1/1", help="K/N: the K-th of N shares, for several processes")
    run.add_argument("--backbone", default="MobileNetV2-0.35")
    run.add_argument("--weights", default="imagenet")
    run.add_argument("--image-size", type=int, default=96)
    run.add_argument("--budget-minutes", type=float)
    table = commands.add_parser("table", help="write the tables of one or more results files, in Markdown")
    table.add_argument("results", type=Path, nargs="+", help="CSV files of one backbone and input size")
    table.add_argument("--batch-norm", action="store_true", help="recipes by BatchNorm policy")
    table.add_argument("--rates", action="store_true", help="recipes by learning rate")
    table.add_argument("--json", action="store_true", help="the numbers behind the table of recipes")
    given = parser.parse_args()
    try:
        _table(given) if given.command == "table" else _run(given)
    except UserError as error:
        print(f"advisor.evidence: {error}", file=sys.stderr)
        sys.exit(2)


def _run(given: argparse.Namespace) -> None:
    try:
        share, shares = (int(number) for number in given.part.split("/"))
    except ValueError:
        share, shares = 0, 0
    if not 1 <= share <= shares:
        raise UserError(f"Expected --part K/N with K from 1 to N. Received: {given.part!r}. Write for example 1/2.")
    count = run_study(
        given.datasets,
        given.out,
        Setting(backbone=given.backbone, image_size=given.image_size, weights=given.weights),
        sizes=given.sizes.split(","),
        seeds=given.seeds,
        methods=given.methods.split(","),
        only=tuple(name for name in given.only.split(",") if name),
        part=(share, shares),
        budget_minutes=given.budget_minutes,
    )
    print(f"{count} runs appended to {given.out}", file=sys.stderr)


def _table(given: argparse.Namespace) -> None:
    rows = [row for path in given.results for row in read_results(path)]
    settings = sorted({(row["backbone"], row["image_size"]) for row in rows})
    if len(settings) != 1:
        raise UserError(f"Expected results of one backbone and input size. Received: {settings}. Give others apart.")
    if given.json:
        print(json.dumps(compare_methods(rows), indent=2))
    else:
        changes = BATCH_NORM if given.batch_norm else RATES if given.rates else None
        print(methods_table(rows) if changes is None else variants_table(rows, changes), end="")


if __name__ == "__main__":
    main()
