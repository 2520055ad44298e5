"""The commands. Every one is a thin line over the Python API; results go to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from strategies.errors import UserError
from strategies.startup import start_keras

app = typer.Typer(
    name="advisor",
    help="Measures your images, tells which transfer-learning recipe to use with a network pretrained on ImageNet, "
    "and carries it out in Keras.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JSON_VERSION = 1
DEMO_IMAGES = 600
DEMO_BUDGET = 0.5

Data = Annotated[
    str,
    typer.Argument(
        help="A folder with one sub-folder per class, a zip or tar of one, a CSV or Parquet file with path,label, or "
        "another form that the README lists."
    ),
]
BackboneName = Annotated[
    str | None, typer.Option(help="Network to transfer; 'advisor backbones' lists them. Default: MobileNetV2.")
]
Weights = Annotated[
    str, typer.Option(help="'auto': from Keras' cache, else its download; 'bundled'; or the path of a weights file.")
]
ImageSize = Annotated[int | None, typer.Option(help="Side of the input in pixels. Default: fitted to the images.")]
RecipeName = Annotated[str | None, typer.Option(help="Overrules the advice; 'advisor recipes' lists them.")]
Without = Annotated[
    list[str] | None, typer.Option(help="Row of evidence to leave out: images_per_class, late_gain or headroom.")
]
Pilot = Annotated[bool, typer.Option("--pilot", help="Let a short head-to-head on your images decide.")]
Seed = Annotated[int, typer.Option(help="The one seed of everything random.")]


def _hush(quiet: bool) -> bool:
    """Sends progress and notes nowhere; `main` still says what went wrong."""
    if quiet:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process runs
    return quiet


Quiet = Annotated[
    bool, typer.Option("--quiet", callback=_hush, help="Print one line, the result; no progress and no notes.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout and nothing else.")]
Out = Annotated[str | None, typer.Option(help="Folder to write to; it must be new or empty.")]
Overwrite = Annotated[bool, typer.Option(help="Allow an output folder that holds files.")]
Cache = Annotated[bool, typer.Option("--cache/--no-cache", help="Keep frozen features on disk, and read them there.")]
MaxUnreadable = Annotated[float, typer.Option(help="Largest share of files that may be unreadable.", min=0, max=1)]
GroupBy = Annotated[
    str | None, typer.Option(help="Regular expression; files with the same match in their path stay in one split.")
]
Column = Annotated[
    list[str] | None,
    typer.Option(help="Tables: another name for a column, as label=species. Known: path, label, split, group."),
]
Root = Annotated[
    str | None, typer.Option(help="Tables: folder that relative paths start from. Default: the table's own.")
]
FollowLinks = Annotated[bool, typer.Option("--follow-links", help="Folders: follow links out of it and to folders.")]


Run = Annotated[str, typer.Argument(help="A run folder, as 'advisor train --out' writes it.")]


@app.command()
def recommend(
    data: Data,
    backbone: BackboneName = None,
    weights: Weights = "auto",
    image_size: ImageSize = None,
    without: Without = None,
    pilot: Pilot = False,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    cache: Cache = True,
    column: Column = None,
    root: Root = None,
    follow_links: FollowLinks = False,
) -> None:
    """Tell which recipe to use, why, and by what margin. Writes nothing without --out."""
    from advisor.recommendation import recommend as advise
    from advisor.report.terminal import show
    from advisor.report.text import advice_parts
    from advisor.rules import evidence_rows
    from strategies.files import check_output

    evidence_rows(without or ())
    if out is not None:
        check_output(out, overwrite=overwrite)
    dataset = _read(data, column, root, follow_links, backbone)
    if pilot:
        start_keras()
    advice = advise(
        dataset,
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        without=without or (),
        pilot=pilot,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        cache=cache,
    )
    if out is not None:
        advice.save(out, overwrite=overwrite)
        _say(f"Wrote fingerprint.json, plan.json, report.md and report.html to {out}")
    if as_json:
        _print_json({"fingerprint": advice.fingerprint(), "plan": advice.plan.to_dict()})
    else:
        show(advice_parts(advice), quiet=quiet)


@app.command()
def train(
    data: Data,
    out: Annotated[str, typer.Option(help="Run folder to write the model and the report to; new or empty.")],
    plan: Annotated[str | None, typer.Option(help="A plan.json to carry out, as it was written or edited.")] = None,
    recipe: RecipeName = None,
    backbone: Annotated[str | None, typer.Option(help="Network; default: the plan's, or MobileNetV2.")] = None,
    weights: Annotated[str | None, typer.Option(help="As for recommend; default: the plan's, or 'auto'.")] = None,
    image_size: ImageSize = None,
    seed: Annotated[int | None, typer.Option(help="The one seed; default: the plan's, or 0.")] = None,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run in that folder was cut off.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    cache: Cache = True,
    tensorboard: Annotated[str | None, typer.Option(help="Folder for TensorBoard's logs.")] = None,
    column: Column = None,
    root: Root = None,
    follow_links: FollowLinks = False,
) -> None:
    """Carry the advice out, or a plan, or a recipe that overrules the advice."""
    from advisor.recommendation import recommend as advise
    from advisor.report.terminal import show
    from advisor.report.text import result_parts
    from strategies.errors import PlanError
    from strategies.files import check_run
    from strategies.plan import read_plan

    check_run(out, overwrite=overwrite, resume=resume)
    if resume and plan is None and (Path(out) / "plan.json").is_file():
        plan = str(Path(out) / "plan.json")
    if tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "Expected TensorBoard for --tensorboard. Received: an environment without it. Install tensorboard."
        )
    options: dict[str, Any] = {"backbone": backbone, "weights": weights, "image_size": image_size, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    wanted = None if plan is None else read_plan(plan)
    if wanted is not None:
        if recipe is not None:
            given["recipe"] = recipe
        for name, value in given.items():
            if value != getattr(wanted, name):
                option = name.replace("_", "-")
                raise PlanError(
                    f"Expected a plan for --{option} {value}. Received: {plan!r}, a plan for {getattr(wanted, name)}. "
                    f"Leave --{option} out, or ask for a new plan with 'advisor recommend'."
                )
        given = {name: getattr(wanted, name) for name in options}
    advice = advise(
        _read(data, column, root, follow_links, given.get("backbone"), recipe),
        **given,
        recipe=recipe,
        max_unreadable=max_unreadable,
        group_by=group_by,
        every_image=True,
        cache=cache,
    )
    if wanted is not None:
        advice = advice.with_plan(wanted)
    start_keras()
    _say(f"Training {advice.plan.recipe} with {advice.plan.backbone} at {advice.plan.image_size} px")
    callbacks = []
    if tensorboard is not None:
        import keras

        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    result = advice.train(out, overwrite=overwrite, resume=resume, cache=cache, callbacks=callbacks)
    _say(f"Wrote model.keras, metrics.json, report.md, report.html and what led to them to {out}")
    if as_json:
        _print_json({"fingerprint": advice.fingerprint(), "plan": result.plan.to_dict(), "metrics": result.to_dict()})
    else:
        show(result_parts(result), quiet=quiet)


@app.command()
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
    dataset = load_dataset(data, root=root, follow_links=follow_links, for_training=False, **_columns(column))
    start_keras()
    found = evaluate_run(folder, dataset, max_unreadable=max_unreadable)
    if found.images == "all" and was_trained_on(run, data):
        _say("advisor: these are the images that the run was trained on; what it reaches here says little")
    if out is not None:
        save_evaluation(found, out, overwrite=overwrite)
        _say(f"Wrote evaluation.json and evaluation.md to {out}")
    if as_json:
        _print_json({"evaluation": found.to_dict()})
    else:
        show(evaluation_parts(found), quiet=quiet)


@app.command()
def report(run: Annotated[str, typer.Argument(help="A run folder or an advice folder.")]) -> None:
    """Write report.md and report.html anew from the other files in a folder; needs neither images nor TensorFlow."""
    from advisor.report.files import write_report

    write_report(run)
    _say(f"Wrote report.md and report.html to {run}")


@app.command()
def compare(
    data: Data,
    backbone: BackboneName = None,
    weights: Weights = "auto",
    image_size: ImageSize = None,
    seed: Seed = 0,
    minutes: Annotated[
        float | None, typer.Option(help="Time for all four trainings; shortens them alike. Default: no limit.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="CSV file to append one row per recipe to.")] = None,
    report: Annotated[str | None, typer.Option(help="New HTML file for the comparison as a page.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    cache: Cache = True,
    column: Column = None,
    root: Root = None,
    follow_links: FollowLinks = False,
) -> None:
    """Carry out all four recipes and say what following the advice costs or gains.

    Writes nothing without --out and --report.
    """
    from advisor.checks import check_new_file
    from advisor.comparison import compare_recipes
    from advisor.evidence.study import check_results
    from advisor.report.terminal import show
    from advisor.report.text import comparison_parts

    if out is not None:
        check_results(Path(out))
    if report is not None:
        check_new_file(report)
    dataset = _read(data, column, root, follow_links, backbone)
    start_keras()
    comparison = compare_recipes(
        dataset,
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        cache=cache,
        minutes=minutes,
        out=out,
    )
    if out is not None:
        _say(f"Appended {len(comparison.outcomes)} rows to {out}")
    if report is not None:
        _say(f"Wrote {comparison.save_html(report)}")
    if as_json:
        advice = comparison.advice
        _print_json(
            {
                "fingerprint": advice.fingerprint(),
                "plan": advice.plan.to_dict(),
                "comparison": comparison.to_dict(),
            }
        )
    else:
        show(comparison_parts(comparison), quiet=quiet)


@app.command()
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
        _say(f"{len(unreadable):,} of {len(paths):,} images cannot be read: {few(unreadable)}")
    if out is not None:
        _say(f"Wrote {len(paths):,} predictions to {out}")


@app.command()
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
        _print_json({"export": result.to_dict()})
        return
    print(
        f"Wrote {result.path} ({result.num_bytes / 1e6:.1f} MB). Run by {result.runtime} in a process of its own, it "
        f"gives the same class as the model for {result.top1_agreement:.2%} of {result.num_images:,} {result.images}; "
        f"no probability differs by more than {result.largest_difference:.1e}."
    )


@app.command()
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
        _say(f"The script takes the weights of this package as its third argument: {BUNDLED_FILE}")


@app.command()
def profile(
    data: Data,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    column: Column = None,
    root: Root = None,
    follow_links: FollowLinks = False,
) -> None:
    """Show size, balance, resolution and health of a dataset."""
    from advisor.profiling import profile_images
    from advisor.report.terminal import show
    from advisor.report.text import profile_parts

    found = profile_images(
        data,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        root=root,
        follow_links=follow_links,
        **_columns(column),
    )
    if as_json:
        _print_json({"profile": found.to_dict()})
    else:
        show(profile_parts(found), quiet=quiet)


@app.command()
def check(
    data: Data,
    group_by: GroupBy = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 where anything is found that may be wrong.")
    ] = False,
    seed: Seed = 0,
    out: Annotated[str | None, typer.Option(help="New CSV file for the suspects: path, finding, detail.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    cache: Cache = True,
    column: Column = None,
    root: Root = None,
    follow_links: FollowLinks = False,
) -> None:
    """Look for what may be wrong with a dataset: unreadable files, copies, leaks, odd images, likely wrong labels.

    Nothing is moved, changed or deleted. Writes nothing without --out.
    """
    from advisor.checks import check_new_file, faults, save_suspects
    from advisor.examination import check_images
    from advisor.report.terminal import show
    from advisor.report.text import health_parts

    if out is not None:
        check_new_file(out)
    found = check_images(_read(data, column, root, follow_links), group_by=group_by, seed=seed, cache=cache)
    if out is not None:
        save_suspects(found.findings, out)
        _say(f"Wrote {sum(len(one['suspects']) for one in found.findings):,} suspects to {out}")
    if as_json:
        _print_json({"profile": found.to_dict()})
    else:
        show(health_parts(found), quiet=quiet)
    if strict and faults(found.findings):
        raise typer.Exit(1)


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the four documented recipes."""
    from dataclasses import asdict

    from strategies.recipes import RECIPES

    if as_json:
        _print_json({"recipes": [asdict(recipe) for recipe in RECIPES.values()]})
        return
    for recipe in RECIPES.values():
        toward = "to" if recipe.domain == "similar" else "from"
        print(f"{recipe.name}: for a {recipe.size} dataset, {recipe.domain} {toward} ImageNet")
        for name in ("title", "removes", "new", "freezes", "trains", "because", "source"):
            print(f"  {name:<8} {getattr(recipe, name)}")
        print()


@app.command()
def backbones(as_json: AsJson = False) -> None:
    """List the pretrained networks."""
    from strategies.backbones import BACKBONES

    rows: list[dict[str, Any]] = [
        {
            "name": row.name,
            "image_size": row.image_size,
            "min_image_size": row.min_image_size,
            "batch_norm": row.has_batch_norm,
            "preprocessing": row.preprocessing,
            "stages": [stage.name for stage in row.stages],
            "default_cut": row.default_cut,
            "source": row.source,
        }
        for row in BACKBONES.values()
    ]
    if as_json:
        _print_json({"backbones": rows})
        return
    for row in rows:
        stages = " ".join(row["stages"])
        print(f"{row['name']:<24} {row['image_size']} px  stages {stages}  (cut after {row['default_cut']})")


@app.command()
def demo(out: Out = None, seed: Seed = 0) -> None:
    """Recommend, train and report on handwritten digits: images of scikit-learn, the network of this package."""
    import tempfile

    import numpy as np
    from sklearn.datasets import load_digits

    from advisor.recommendation import recommend as advise
    from advisor.report.terminal import show
    from advisor.report.text import advice_parts, result_parts
    from strategies.files import check_output
    from strategies.planning import with_budget

    folder = Path(tempfile.mkdtemp(prefix="advisor-demo-")) if out is None else check_output(out)
    start_keras()
    digits = load_digits()
    chosen = np.random.default_rng(seed).permutation(len(digits.target))[:DEMO_IMAGES]
    images = np.round(digits.images[chosen] * (255 / 16)).astype("uint8")
    advice = advise((images, digits.target[chosen].astype(str)), weights="bundled", seed=seed)
    show(advice_parts(advice))
    _say(f"\nTraining a short version of the plan: {DEMO_BUDGET:.0%} of its steps.")
    result = advice.with_plan(with_budget(advice.plan, DEMO_BUDGET)).train(folder)
    print()
    show(result_parts(result))
    print(f"\nThe report is {folder / 'report.html'}. For your own images: advisor recommend FOLDER --out advice/")


def _noting(unreadable: list[str], parts: Iterable[Any]) -> Iterator[Any]:
    """Passes frames of predictions on, and adds the paths that cannot be read to a list."""
    for part in parts:
        unreadable.extend(part.loc[part["unreadable"].notna(), "path"])
        yield part


def _read(
    data: str,
    column: list[str] | None,
    root: str | None,
    follow_links: bool,
    backbone: str | None = None,
    recipe: str | None = None,
) -> Any:
    """Checks names and lists the images: a typing mistake is answered at once."""
    from strategies.backbones import get_backbone
    from strategies.images import load_dataset
    from strategies.recipes import get_recipe

    if backbone is not None:
        get_backbone(backbone)
    if recipe is not None:
        get_recipe(recipe)
    return load_dataset(data, root=root, follow_links=follow_links, **_columns(column))


def _columns(given: list[str] | None) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for text in given or ():
        name, _, column = text.partition("=")
        if name not in ("path", "label", "split", "group") or not column:
            raise UserError(
                f"Expected --column NAME=COLUMN, where NAME is path, label, split or group. Received: {text!r}. "
                f"Write for example --column label=species."
            )
        columns[f"{name}_column"] = column
    return columns


def _print_json(values: Mapping[str, Any]) -> None:
    print(json.dumps({"version": JSON_VERSION, **values}, indent=2, ensure_ascii=False, allow_nan=False))


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> None:
    """Runs a command; what the user can mend is one sentence on stderr and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", module="PIL")  # of odd metadata, where the pixels are whole
    # Each training traces functions of its own; TensorFlow warns of several in one process as of a mistake.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    stderr = sys.stderr
    try:
        app()
    except UserError as error:
        from strategies.pages import printable

        sys.stderr = stderr
        _say(f"advisor: {printable(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr = stderr
        _say("advisor: interrupted; a training goes on with --resume")
        sys.exit(130)
    finally:
        sys.stderr = stderr
