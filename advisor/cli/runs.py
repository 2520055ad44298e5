"""The commands for a finished run: `evaluate`, `report`, `predict`, `export`; and `script` for a plan."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from advisor.cli.help import OUTPUT
from advisor.cli.options import (
    ImageOptions,
    MaxUnreadable,
    Out,
    OutputOptions,
    Overwrite,
    QuietOption,
    RayAddress,
    Run,
    starting_with,
    with_options,
)
from advisor.cli.output import print_json, takes_unicode
from strategies.display.progress import note
from strategies.errors import UserError, few
from strategies.networks.backend import start_keras


@with_options
def evaluate(
    run: Run,
    images: ImageOptions,
    out: Out = None,
    overwrite: Overwrite = False,
    max_unreadable: MaxUnreadable = 0.05,
    *,
    output: OutputOptions,
) -> None:
    """Evaluate a trained model on other images of its classes.

    If the images have a test split of their own, only that is used; otherwise all images are.

    No file is written without --out.
    """
    from advisor.report.files import save_evaluation, was_trained_on
    from advisor.report.terminal import show
    from advisor.report.text import evaluation_parts
    from strategies.files import check_output
    from strategies.runs.evaluation import evaluate_run
    from strategies.runs.run_folder import read_run

    if out is not None:
        check_output(out, overwrite=overwrite)
    folder = read_run(run)
    dataset = images.load(for_training=False)
    found = evaluate_run(folder, dataset, max_unreadable=max_unreadable)
    if found.images == "all" and was_trained_on(run, images.data):
        note("advisor: the run was trained on these images, so this accuracy says little about new images")
    if out is not None:
        save_evaluation(found, out, overwrite=overwrite)
        note(f"Wrote evaluation.json and evaluation.md to {out}")
    if output.as_json:
        print_json({"evaluation": found.to_dict()})
    else:
        show(evaluation_parts(found), quiet=output.quiet)


@with_options
def report(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A run folder or an advice folder.")],
    *,
    output: OutputOptions,
) -> None:
    """Write report.md and report.html of a folder again.

    They are made from the other files of the folder. Neither the images nor TensorFlow is needed.
    """
    from advisor.report.files import write_report

    written = write_report(folder)
    note(f"Wrote report.md and report.html to {folder}")
    if output.as_json:
        print_json({"report": {"markdown": str(written), "html": str(written.with_suffix(".html"))}})


@with_options
def predict(
    run: Run,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Image files, folders of images, or glob patterns in quotes."),
    ],
    top: Annotated[
        int, typer.Option(metavar="N", help="Print the N most probable classes of each image, the best first.")
    ] = 1,
    all_classes: Annotated[bool, typer.Option("--all", help="Print the probability of every class.")] = False,
    unsure: Annotated[
        bool,
        typer.Option("--unsure", help="Print whether each image is probably none of the classes, and its novelty."),
    ] = False,
    ray: RayAddress = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="New file to write to instead of stdout. Its suffix, .csv or .json, sets the format.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", rich_help_panel=OUTPUT)] = False,
    *,
    output: OutputOptions,
) -> None:
    """Predict the classes of images, as a table, CSV or JSON."""
    from advisor.report import predictions
    from strategies.cluster import on_ray
    from strategies.files import new_file
    from strategies.runs.prediction import find_images, predict_in_parts
    from strategies.runs.run_folder import read_run

    if as_csv and output.as_json:
        raise UserError("Expected one format. Received: --csv and --json. Leave out one of them.")
    folder = read_run(run)
    paths = find_images(images)
    suffix = "" if out is None else Path(out).suffix.lower()
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_ray(ray))
        stream = sys.stdout if out is None else stack.enter_context(new_file(out))
        unreadable: list[str] = []
        table = predict_in_parts(folder, paths, top=top, all_classes=all_classes, unsure=unsure)
        parts = _noting(unreadable, table)
        if output.as_json or (suffix == ".json" and not as_csv):
            lines = predictions.as_json(parts, ascii_only=not takes_unicode(stream))
        elif as_csv or suffix == ".csv":
            lines = predictions.as_csv(parts)
        else:
            lines = predictions.as_table(parts, folder.class_names)
        stream.writelines(lines)
    if unreadable:
        note(f"{len(unreadable):,} of {len(paths):,} images cannot be read: {few(unreadable)}")
    if out is not None:
        note(f"Wrote {len(paths):,} predictions to {out}")


def _formats() -> Iterable[str]:
    from strategies.runs.formats import FORMATS

    return FORMATS


@with_options
def export(
    run: Run,
    format: Annotated[  # noqa: A002 - Keras' word
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=starting_with(_formats),
            help="Format: keras, hf (Hugging Face Hub), savedmodel, onnx, openvino, litert or litert-int8.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images for the check: what the run was trained on, whose test images are used. Default: synthetic "
            "images. litert-int8 needs it, since it is calibrated on the training images.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder to write to. Default: export/NAME in the run folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    *,
    output: OutputOptions,
) -> None:
    """Export a trained model, and check the export.

    The check runs the export in a new process and compares its predictions with those of the model.
    """
    from advisor.report.files import write_report
    from advisor.report.text import comparison_text
    from strategies.data.loading import load_dataset
    from strategies.runs.exporting import export as export_run
    from strategies.runs.formats import check_format
    from strategies.runs.run_folder import read_run

    check_format(format, data)
    folder = read_run(run)
    dataset = None if data is None else load_dataset(data)
    start_keras()

    def update_report(_: object) -> None:
        if (folder.path / "report.md").is_file():
            write_report(folder.path)

    result = export_run(folder, format, out, data=dataset, overwrite=overwrite, on_end=update_report)
    if output.as_json:
        print_json({"export": result.to_dict()})
        return
    print(
        f"Wrote {result.path} ({result.num_bytes / 1e6:.1f} MB). Checked with {result.runtime} in a separate process: "
        f"the same class as the model for {result.top1_agreement:.2%} of {result.num_images:,} {result.images}; "
        f"{comparison_text(result)}."
    )


@with_options
def script(
    plan: Annotated[
        str,
        typer.Argument(metavar="PLAN", help="A plan.json, or an advice folder or run folder with a plan.json in it."),
    ],
    network: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="New .keras file for a network that is not part of Keras.", rich_help_panel=OUTPUT
        ),
    ] = None,
    *,
    output: QuietOption,
) -> None:
    """Print a plan as a Keras script.

    The script needs TensorFlow and Keras, but not this package. EfficientNet-Lite is not part of Keras. With --network,
    it is written to a file, which the script takes as its third argument.
    """
    from strategies.networks.weights import BUNDLED, BUNDLED_FILE
    from strategies.plans.plan import read_plan
    from strategies.plans.script import needs_network, save_network, write_script

    path = Path(plan)
    wanted = read_plan(path / "plan.json" if path.is_dir() else path)
    text = write_script(wanted)
    is_read = needs_network(wanted)
    if is_read and network is None:
        why = "is not part of Keras" if wanted.network.row.package else "has the weights of a run"
        raise UserError(
            f"Expected --network FILE.keras: {wanted.backbone} {why}, so the script reads it from that file. "
            f"Received: no file. Name one."
        )
    if not is_read and network is not None:
        raise UserError(
            f"Expected --network only for a network that is not part of Keras, or has the weights of a run. Received: "
            f"it, for {wanted.backbone} with weights {wanted.weights!r}. Leave it out."
        )
    if network is not None:
        save_network(wanted, network)
        note(f"Pass the network to the script as its third argument: {network}")
    sys.stdout.write(text)
    if wanted.weights == BUNDLED:
        note(f"Pass the weights of this package to the script as its third argument: {BUNDLED_FILE}")


def _noting(unreadable: list[str], parts: Iterable[Any]) -> Iterator[Any]:
    """Yields frames of predictions, and adds the paths of unreadable images to a list."""
    for part in parts:
        unreadable.extend(part.loc[part["unreadable"].notna(), "path"])
        yield part
