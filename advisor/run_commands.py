"""The commands that take a run folder: evaluated, reported, applied to images, exported; and a plan as a script."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from advisor.options import (
    AsJson,
    Column,
    Data,
    FollowLinks,
    MaxUnreadable,
    Out,
    Overwrite,
    Quiet,
    Root,
    Run,
    column_names,
    print_json,
    say,
)
from strategies.errors import UserError
from strategies.startup import start_keras


def evaluate(
    run: Run,
    data: Data,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    max_unreadable: MaxUnreadable = 0.05,
    column: Column = None,
    root: Root = None,
    follow_links: FollowLinks = False,
) -> None:
    """Evaluate a run on other images of its classes: their test split if they have one, else all of them.

    Writes nothing without --out.
    """
    from advisor.report.files import save_evaluation, was_trained_on
    from advisor.report.terminal import show
    from advisor.report.text import evaluation_parts
    from strategies.files import check_output
    from strategies.images import load_dataset
    from strategies.run_folder import read_run
    from strategies.runs import evaluate_run

    if out is not None:
        check_output(out, overwrite=overwrite)
    folder = read_run(run)
    dataset = load_dataset(data, root=root, follow_links=follow_links, for_training=False, **column_names(column))
    start_keras()
    found = evaluate_run(folder, dataset, max_unreadable=max_unreadable)
    if found.images == "all" and was_trained_on(run, data):
        say("advisor: these are the images that the run was trained on; what it reaches here says little")
    if out is not None:
        save_evaluation(found, out, overwrite=overwrite)
        say(f"Wrote evaluation.json and evaluation.md to {out}")
    if as_json:
        print_json({"evaluation": found.to_dict()})
    else:
        show(evaluation_parts(found), quiet=quiet)


def report(run: Annotated[str, typer.Argument(help="A run folder or an advice folder.")]) -> None:
    """Write report.md and report.html anew from the other files in a folder; needs neither images nor TensorFlow."""
    from advisor.report.files import write_report

    write_report(run)
    say(f"Wrote report.md and report.html to {run}")


def predict(
    run: Run,
    images: Annotated[list[str], typer.Argument(help="Files, folders of images, or glob patterns in quotes.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    all_classes: Annotated[bool, typer.Option("--all", help="Give the probability of every class.")] = False,
    out: Annotated[
        str | None, typer.Option(help="New file to write to instead of stdout; .csv and .json say the format too.")
    ] = None,
) -> None:
    """Say which class a trained model gives each image: a table, CSV or JSON."""
    from advisor.report import predictions
    from strategies.files import new_file
    from strategies.images import few
    from strategies.prediction import find_images, predict_in_parts
    from strategies.run_folder import read_run

    if as_csv and as_json:
        raise UserError("Expected one format. Received: --csv and --json. Leave one of them out.")
    folder = read_run(run)
    paths = find_images(images)
    suffix = "" if out is None else Path(out).suffix.lower()
    with contextlib.ExitStack() as stack:
        stream = sys.stdout if out is None else stack.enter_context(new_file(out))
        start_keras()
        unreadable: list[str] = []
        parts = _noting(unreadable, predict_in_parts(folder, paths, all_classes=all_classes))
        if as_json or (suffix == ".json" and not as_csv):
            lines = predictions.as_json(parts)
        elif as_csv or suffix == ".csv":
            lines = predictions.as_csv(parts)
        else:
            lines = predictions.as_table(parts, folder.class_names)
        stream.writelines(lines)
    if unreadable:
        say(f"{len(unreadable):,} of {len(paths):,} images cannot be read: {few(unreadable)}")
    if out is not None:
        say(f"Wrote {len(paths):,} predictions to {out}")


def export(
    run: Run,
    format: Annotated[str, typer.Option(help="keras, savedmodel, onnx or litert.")],  # noqa: A002 - Keras' word
    out: Annotated[
        str | None, typer.Option(help="Folder to write to. Default: export/FORMAT in the run folder.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="What the run was trained on: its test images are compared on. Default: made-up.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Export a trained model, and check the export in a fresh process against the model."""
    from advisor.report.files import write_report
    from strategies.exporting import check_format
    from strategies.exporting import export as export_run
    from strategies.images import load_dataset
    from strategies.run_folder import read_run

    check_format(format)
    folder = read_run(run)
    dataset = None if data is None else load_dataset(data)
    start_keras()
    result = export_run(folder, format, out, data=dataset, overwrite=overwrite)
    if (folder.path / "report.md").is_file():
        write_report(folder.path)
    if as_json:
        print_json({"export": result.to_dict()})
        return
    print(
        f"Wrote {result.path} ({result.num_bytes / 1e6:.1f} MB). Run by {result.runtime} in a process of its own, it "
        f"gives the same class as the model for {result.top1_agreement:.2%} of {result.num_images:,} {result.images}; "
        f"no probability differs by more than {result.largest_difference:.1e}."
    )


def script(
    plan: Annotated[str, typer.Argument(help="A plan.json, or an advice or run folder that holds one.")],
) -> None:
    """Print a plan as a Keras script of its own, which needs TensorFlow and Keras but not this package."""
    from strategies.plan import read_plan
    from strategies.scripting import write_script
    from strategies.weights import BUNDLED, BUNDLED_FILE

    path = Path(plan)
    wanted = read_plan(path / "plan.json" if path.is_dir() else path)
    sys.stdout.write(write_script(wanted))
    if wanted.weights == BUNDLED:
        say(f"The script takes the weights of this package as its third argument: {BUNDLED_FILE}")


def _noting(unreadable: list[str], parts: Iterable[Any]) -> Iterator[Any]:
    """Passes frames of predictions on, and adds the paths that cannot be read to a list."""
    for part in parts:
        unreadable.extend(part.loc[part["unreadable"].notna(), "path"])
        yield part
