"""The commands. Every one is a thin line over the Python API; results go to stdout, everything else to stderr."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from advisor.demo import demo
from advisor.options import (
    AsJson,
    BackboneName,
    Cache,
    Column,
    Data,
    FollowLinks,
    GroupBy,
    ImageSize,
    MaxUnreadable,
    Out,
    Overwrite,
    Pilot,
    Quiet,
    RecipeName,
    Root,
    Seed,
    Weights,
    Without,
    column_names,
    print_json,
    read_images,
    say,
)
from advisor.run_commands import evaluate, export, predict, report, script
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


@app.command()
def recommend(
    data: Data,
    backbone: BackboneName = None,
    weights: Weights = "auto",
    image_size: ImageSize = None,
    without: Without = None,
    pilot: Pilot = False,
    time: Annotated[
        bool,
        typer.Option("--time", help="Tell how long each recipe takes here, by a few steps of each, and its memory."),
    ] = False,
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
    dataset = read_images(data, column, root, follow_links, backbone)
    advice = advise(
        dataset,
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        without=without or (),
        pilot=pilot,
        timed=time,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        cache=cache,
    )
    if out is not None:
        advice.save(out, overwrite=overwrite)
        say(f"Wrote fingerprint.json, plan.json, report.md and report.html to {out}")
    if as_json:
        print_json({"fingerprint": advice.fingerprint(), "plan": advice.plan.to_dict()})
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
        read_images(data, column, root, follow_links, given.get("backbone"), recipe),
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
    say(f"Training {advice.plan.recipe} with {advice.plan.backbone} at {advice.plan.image_size} px")
    callbacks = []
    if tensorboard is not None:
        import keras

        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    result = advice.train(out, overwrite=overwrite, resume=resume, cache=cache, callbacks=callbacks)
    say(f"Wrote model.keras, metrics.json, report.md, report.html and what led to them to {out}")
    if as_json:
        print_json({"fingerprint": advice.fingerprint(), "plan": result.plan.to_dict(), "metrics": result.to_dict()})
    else:
        show(result_parts(result), quiet=quiet)


app.command()(evaluate)
app.command()(report)


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
    dataset = read_images(data, column, root, follow_links, backbone)
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
        say(f"Appended {len(comparison.outcomes)} rows to {out}")
    if report is not None:
        say(f"Wrote {comparison.save_html(report)}")
    if as_json:
        advice = comparison.advice
        print_json(
            {
                "fingerprint": advice.fingerprint(),
                "plan": advice.plan.to_dict(),
                "comparison": comparison.to_dict(),
            }
        )
    else:
        show(comparison_parts(comparison), quiet=quiet)


app.command()(predict)
app.command()(export)
app.command()(script)


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
        **column_names(column),
    )
    if as_json:
        print_json({"profile": found.to_dict()})
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
    found = check_images(read_images(data, column, root, follow_links), group_by=group_by, seed=seed, cache=cache)
    if out is not None:
        save_suspects(found.findings, out)
        say(f"Wrote {sum(len(one['suspects']) for one in found.findings):,} suspects to {out}")
    if as_json:
        print_json({"profile": found.to_dict()})
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
        print_json({"recipes": [asdict(recipe) for recipe in RECIPES.values()]})
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
        print_json({"backbones": rows})
        return
    for row in rows:
        stages = " ".join(row["stages"])
        print(f"{row['name']:<24} {row['image_size']} px  stages {stages}  (cut after {row['default_cut']})")


app.command()(demo)


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
        say(f"advisor: {printable(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr = stderr
        say("advisor: interrupted; a training goes on with --resume")
        sys.exit(130)
    finally:
        sys.stderr = stderr
