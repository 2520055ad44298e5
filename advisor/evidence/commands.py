"""The command `advisor-evidence`: runs the study and the races, fits the advice, scores it, and writes the tables."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from advisor.evidence.study import DEFAULT_METHODS, run_study
from advisor.evidence.tables import compare_methods, methods_table, score_tables
from advisor.results import read_results
from strategies.cluster import on_ray
from strategies.errors import UserError
from strategies.files import write_text
from strategies.networks.network import PretrainedNetwork

DESCRIPTION = "Runs the study in parts, fits the advice to it, scores the advice, and writes the tables."


def main() -> None:
    """Runs a command. Errors that a user can fix are printed as one sentence on stderr, with exit code 2."""
    parser = argparse.ArgumentParser(prog="advisor-evidence", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    cells = argparse.ArgumentParser(add_help=False)
    cells.add_argument("--datasets", type=Path, required=True, help="folder of datasets, each a class folder")
    cells.add_argument("--out", type=Path, required=True, help="CSV file that rows are appended to")
    cells.add_argument("--sizes", default="100,300,1000,full", help="numbers of training and validation images")
    cells.add_argument("--backbone", default="MobileNetV2-0.35")
    cells.add_argument("--weights", default="imagenet")
    cells.add_argument("--image-size", type=int, default=96)
    cells.add_argument("--budget-minutes", type=float)
    cells.add_argument("--ray", metavar="ADDRESS", help="run on the workers of a Ray cluster: 'local' for this machine")
    run = commands.add_parser(
        "run", parents=[cells], help="run what is missing, and append a row for each finished run"
    )
    run.add_argument("--seeds", type=int, default=2)
    run.add_argument(
        "--methods", default=",".join(DEFAULT_METHODS), help="recipes, variants such as RECIPE:inference, and baselines"
    )
    run.add_argument("--only", default="", help="names of datasets; default: all")
    run.add_argument("--part", default="1/1", help="K/N: run the K-th of N parts, for several processes")
    race = commands.add_parser(
        "race", parents=[cells], help="race all recipes briefly on what is missing, and append a row for each"
    )
    race.add_argument("--results", type=Path, help="CSV file of the study: race only what it holds; default: all")
    race.add_argument("--seeds", type=int, default=1)
    race.add_argument("--only", default="", help="names of datasets, in the order of the races; default: all")
    race.add_argument("--limit", type=float, default=0.5, help="part of the steps of retrain_all that a race takes")
    table = commands.add_parser("table", help="print the tables of one or more results files, in Markdown")
    table.add_argument("results", type=Path, nargs="+", help="CSV files of one backbone and image size")
    table.add_argument("--json", action="store_true", help="print the numbers of the table of recipes as JSON")
    fit = commands.add_parser("fit", help="take what the study found into the calibration of the advice")
    fit.add_argument("results", type=Path, nargs="+", help="CSV files of the study")
    fit.add_argument("--out", type=Path, help="calibration file to update; default: the one of the advice")
    fit.add_argument("--metric", default="accuracy", choices=("accuracy", "balanced_accuracy"))
    score = commands.add_parser("score", help="print the regret of the advice and of simpler policies")
    score.add_argument("results", type=Path, nargs="+", help="CSV files of the study")
    score.add_argument("--calibration", type=Path, help="calibration file; default: the one of the advice")
    score.add_argument("--metric", default="accuracy", choices=("accuracy", "balanced_accuracy"))
    score.add_argument("--json", action="store_true", help="print JSON instead of tables")
    plot = commands.add_parser("plot", help="draw the figures of the evidence as SVG")
    plot.add_argument("results", type=Path, nargs="+", help="CSV files of the study")
    plot.add_argument("--out", type=Path, required=True, help="folder to draw into")
    page = commands.add_parser("page", help="write the tables and figures of the evidence into a clone of the project")
    page.add_argument("root", type=Path, nargs="?", default=Path(), help="root of the clone; default: this folder")
    ruler = commands.add_parser("ruler", help="fit the floor and scale of the similarity ruler, and print its row")
    ruler.add_argument("datasets", type=Path, help="folder that holds the three folders named below")
    ruler.add_argument("--imagenet", default="imagenet_samples")
    ruler.add_argument("--near", default="rsscn7")
    ruler.add_argument("--far", default="gtsrb43")
    ruler.add_argument("--backbone", default="MobileNetV2-0.35")
    ruler.add_argument("--weights", default="imagenet")
    ruler.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    try:
        with on_ray(getattr(given, "ray", None)):
            COMMANDS[given.command](given)
    except UserError as error:
        print(f"advisor-evidence: {error}", file=sys.stderr)
        sys.exit(2)


def _run(given: argparse.Namespace) -> None:
    try:
        part, num_parts = (int(number) for number in given.part.split("/"))
    except ValueError:
        part, num_parts = 0, 0
    if not 1 <= part <= num_parts:
        raise UserError(f"Expected --part K/N with K from 1 to N. Received: {given.part!r}. Write 1/2, for example.")
    count = run_study(
        given.datasets,
        given.out,
        PretrainedNetwork(backbone=given.backbone, image_size=given.image_size, weights=given.weights),
        sizes=given.sizes.split(","),
        seeds=given.seeds,
        methods=given.methods.split(","),
        only=tuple(name for name in given.only.split(",") if name),
        part=(part, num_parts),
        budget_minutes=given.budget_minutes,
    )
    print(f"Appended {count} runs to {given.out}", file=sys.stderr)


def _race(given: argparse.Namespace) -> None:
    from advisor.evidence.races import run_races

    count = run_races(
        given.datasets,
        given.out,
        PretrainedNetwork(backbone=given.backbone, image_size=given.image_size, weights=given.weights),
        rows=None if given.results is None else _read([given.results]),
        sizes=given.sizes.split(","),
        seeds=given.seeds,
        only=tuple(name for name in given.only.split(",") if name),
        limit=given.limit,
        budget_minutes=given.budget_minutes,
    )
    print(f"Appended {count} races to {given.out}", file=sys.stderr)


def _read(paths: list[Path]) -> list[dict[str, str]]:
    for path in paths:
        if not path.is_file():
            raise UserError(f"Expected a CSV file of the study. Received: {str(path)!r}. Correct the path.")
    return [row for path in paths for row in read_results(path)]


def _fit(given: argparse.Namespace) -> None:
    from advisor.evidence.cells import read_cells
    from advisor.evidence.studied import make_study

    own = Path(str(files("advisor").joinpath("calibration.json")))
    out = given.out or own
    values: dict[str, Any] = json.loads((out if out.is_file() else own).read_text(encoding="utf-8"))
    cells = read_cells(_read(given.results), metric=given.metric)
    values["study"] = make_study(cells)
    write_text(out, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print(json.dumps(values["study"]["provenance"], indent=1))
    print(f"Wrote {len(cells)} cells to {out}", file=sys.stderr)


def _score(given: argparse.Namespace) -> None:
    from advisor.calibration import read_studied_cells
    from advisor.evidence.cells import read_cells
    from advisor.evidence.scoring import score

    study = None
    if given.calibration is not None:
        if not given.calibration.is_file():
            raise UserError(
                f"Expected a calibration file. Received: {str(given.calibration)!r}. Create one with fit --out."
            )
        study = read_studied_cells(json.loads(given.calibration.read_text(encoding="utf-8"))["study"]["cells"])
    found = score(read_cells(_read(given.results), metric=given.metric), study=study)
    print(json.dumps(found, indent=2, allow_nan=False) if given.json else score_tables(found), end="\n" * given.json)


def _page(given: argparse.Namespace) -> None:
    from advisor.evidence.page import write_page

    for path in write_page(given.root):
        print(path)


def _ruler(given: argparse.Namespace) -> None:
    from advisor.evidence.ruler import fit_ruler

    network = PretrainedNetwork(backbone=given.backbone, weights=given.weights, image_size=given.image_size)
    folders = [given.datasets / name for name in (given.imagenet, given.near, given.far)]
    print(json.dumps(fit_ruler(network, *folders), indent=2))


def _plot(given: argparse.Namespace) -> None:
    from advisor.evidence.cells import read_cells
    from advisor.evidence.plots import draw_figures
    from advisor.evidence.scoring import score

    for path in draw_figures(score(read_cells(_read(given.results))), given.out):
        print(path)


def _table(given: argparse.Namespace) -> None:
    rows = _read(given.results)
    settings = sorted({(row["backbone"], row["image_size"]) for row in rows})
    if len(settings) != 1:
        raise UserError(
            f"Expected results of one backbone and image size. Received: {settings}. Give each in a command of its own."
        )
    if given.json:
        print(json.dumps(compare_methods(rows), indent=2))
    else:
        print(methods_table(rows), end="")


COMMANDS = {
    "run": _run,
    "race": _race,
    "table": _table,
    "fit": _fit,
    "score": _score,
    "plot": _plot,
    "page": _page,
    "ruler": _ruler,
}
