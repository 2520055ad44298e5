"""The commands `train` and `extend`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advisor.cli.help import COMPUTATION, IMAGES, NETWORK, OUTPUT
from advisor.cli.options import (
    Augment,
    BatchSize,
    Budget,
    Cache,
    ChannelOptions,
    FileOptions,
    GroupBy,
    ImageOptions,
    ImageSize,
    MaxUnreadable,
    Minutes,
    OutputOptions,
    OutRun,
    Overwrite,
    Prefer,
    RaceFirst,
    RecipeName,
    Resize,
    Resume,
    Run,
    complete_backbone,
    with_options,
)
from advisor.cli.output import print_json, typed_command
from advisor.preferences import BALANCED, get_preference
from strategies.display.progress import note, silenced
from strategies.errors import PlanError, UserError

if TYPE_CHECKING:
    from strategies.plans.plan import Plan


@with_options
def train(
    images: ChannelOptions,
    *,
    plan: Annotated[
        str | None, typer.Option(metavar="FILE", help="A plan.json to carry out. You may have edited it.")
    ] = None,
    recipe: RecipeName = None,
    prefer: Prefer = BALANCED,
    race: RaceFirst = False,
    augment: Augment = None,
    resize: Resize = None,
    minutes: Minutes = None,
    budget: Budget = 1.0,
    batch_size: BatchSize = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_backbone,
            help="Network to transfer. Default: that of the plan, or MobileNetV2.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="As for 'advisor recommend'. Default: those of the plan, or 'auto'.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    file: FileOptions,
    image_size: ImageSize = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed of all random choices. Default: that of the plan, or 0."),
    ] = None,
    resume: Resume = False,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    cache: Cache = True,
    data_parallel: Annotated[
        bool,
        typer.Option(
            "--data-parallel",
            help="Train on all devices together, in all processes that KERAS_DISTRIBUTION_... name. Needs the JAX "
            "backend.",
            rich_help_panel=COMPUTATION,
        ),
    ] = False,
    out: OutRun,
    overwrite: Overwrite = False,
    tensorboard: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Folder for logs that TensorBoard can show.", rich_help_panel=OUTPUT),
    ] = None,
    mlflow: Annotated[
        bool,
        typer.Option(
            "--mlflow",
            help="Log the finished run to MLflow: its plan, metrics, report and model.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    output: OutputOptions,
) -> None:
    """Train the advised recipe, a plan, or a recipe of your choice."""
    from advisor.recommendation import recommend as advise
    from advisor.report.terminal import show
    from advisor.report.text import result_parts
    from advisor.time_limit import begin
    from strategies.networks.backend import start_keras
    from strategies.plans.plan import read_plan
    from strategies.recipes import get_recipe
    from strategies.runs.tracking import check_mlflow, log_to_mlflow
    from strategies.training.distribution import ONE_DEVICE, find_devices
    from strategies.training.run_files import PLAN, can_continue, check_run

    limit = None if minutes is None else begin(minutes)
    get_preference(prefer)
    if minutes is not None and (race or data_parallel):
        other = "--race" if race else "--data-parallel"
        raise UserError(
            f"Expected --minutes without {other}. Received: both. Leave out one of them; --budget shortens a training "
            f"too."
        )
    if race and (plan is not None or data_parallel):
        other = "--data-parallel" if plan is None else "--plan"
        raise UserError(
            f"Expected --race without {other}. Received: both. Leave out one of them: 'advisor recommend --race --out "
            f"FOLDER' writes the plan that wins, which --plan takes."
        )
    devices = find_devices() if data_parallel else ONE_DEVICE  # before Keras computes anything
    check_run(out, overwrite=overwrite, resume=resume)
    if resume and plan is None and can_continue(Path(out)):
        plan = str(Path(out) / PLAN)
    if tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "Expected TensorBoard for --tensorboard. Received: an environment without it. Install it: pip install "
            "tensorboard."
        )
    if mlflow:
        check_mlflow()
    options: dict[str, Any] = {
        "backbone": backbone,
        "weights": weights,
        "image_size": image_size,
        "resize": resize,
        "seed": seed,
        "channels": images.numbers,
    }
    given = {name: value for name, value in options.items() if value is not None}
    wanted = None if plan is None else read_plan(plan)
    if wanted is not None:
        if recipe is not None:
            given["recipe"] = recipe
        _check_plan_is_for(wanted, str(plan), given, augment, file)
        given = {name: getattr(wanted, name) for name in options}
    else:
        file.check_backbone(backbone)
    channels = given.pop("channels", None)
    if recipe is not None:
        get_recipe(recipe)
    with silenced(not devices.is_first):
        advice = advise(
            images.load(channels=channels),
            **given,
            recipe=recipe,
            prefer=prefer,
            race=race and wanted is None,  # not again in a run that is continued
            augment=augment,
            max_unreadable=max_unreadable,
            group_by=group_by,
            every_image=True,
            cache=cache,
        )
        if wanted is not None:
            advice = advice.with_plan(wanted)
        start_keras()
        note(f"Training {advice.plan.recipe} with {advice.plan.network}")
        callbacks = []
        if tensorboard is not None and devices.is_first:
            from strategies.networks.backend import keras

            callbacks.append(keras.callbacks.TensorBoard(tensorboard))
        result = advice.train(
            out,
            minutes=limit,
            budget=budget,
            batch_size=batch_size,
            command=typed_command(),
            overwrite=overwrite,
            resume=resume,
            cache=cache,
            callbacks=callbacks,
            data_parallel=data_parallel,
        )
        note(f"Wrote the model, its plan, its metrics and report.html to {out}")
    if not devices.is_first:
        return
    if mlflow:
        note(f"Logged the run to MLflow: {log_to_mlflow(out)}")
    if output.as_json:
        print_json({"fingerprint": advice.fingerprint(), "plan": result.plan.to_dict(), "metrics": result.to_dict()})
    else:
        show(result_parts(result), quiet=output.quiet)


@with_options
def extend(
    run: Run,
    images: ImageOptions,
    *,
    old_data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Where the images of the run are now. Default: where they were, if they were files.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    head: Annotated[
        bool,
        typer.Option(
            "--head", help="Keep the network as the run has trained it, and solve only a new head. Takes seconds."
        ),
    ] = False,
    resume: Resume = False,
    max_unreadable: MaxUnreadable = 0.05,
    cache: Cache = True,
    out: OutRun,
    overwrite: Overwrite = False,
    output: OutputOptions,
) -> None:
    """Add new classes, or new images, to a finished run.

    DATA are the new images; those of the run are read again. The plan of the run is carried out on all of them, from
    the network as the run has trained it. Images of the run keep their split, and classes their numbers.
    """
    from advisor.extension import extend as extend_run
    from advisor.report.terminal import show
    from advisor.report.text import extension_parts

    extension = extend_run(
        run,
        images.load(for_training=False),
        out,
        old_data=old_data,
        head=head,
        max_unreadable=max_unreadable,
        overwrite=overwrite,
        resume=resume,
        cache=cache,
    )
    note(f"Wrote the model, its plan, its metrics and report.html to {out}")
    if output.as_json:
        metrics = extension.result.to_dict() | {"extension": extension.to_dict()}
        print_json({"plan": extension.result.plan.to_dict(), "metrics": metrics})
    else:
        show(extension_parts(extension.result, extension.to_dict()), quiet=output.quiet)


def _check_plan_is_for(plan: Plan, path: str, given: Mapping[str, Any], augment: str | None, file: FileOptions) -> None:
    """Checks that a plan is for what the options of the command name."""
    from strategies.plans.planning import get_augmentation

    rows = [(name, value, getattr(plan, name)) for name, value in given.items()]
    if augment is not None and get_augmentation(augment) != plan.augmentation:
        rows.append(("augment", augment, dict(plan.augmentation)))
    row = plan.network.row
    if file.stages is not None:
        rows.append(("stages", file.layers, [stage.last_layer for stage in row.stages]))
    if file.preprocessing is not None:
        rows.append(("preprocessing", file.preprocessing, row.preprocessing))
    for name, value, planned in rows:
        if value != planned:
            option = name.replace("_", "-")
            raise PlanError(
                f"Expected a plan for --{option} {value}. Received: {path!r}, a plan for {planned}. "
                f"Leave out --{option}, or create a new plan with 'advisor recommend'."
            )
