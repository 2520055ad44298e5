"""The commands `recommend`, which gives advice, and `compare`, which checks it by training all four recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from advisor.cli.help import OUTPUT
from advisor.cli.options import (
    Augment,
    Cache,
    ChannelOptions,
    GroupBy,
    MaxUnreadable,
    Minutes,
    NetworkOptions,
    Out,
    OutputOptions,
    Overwrite,
    Prefer,
    RaceFirst,
    RayAddress,
    RecipeName,
    Resize,
    Seed,
    with_options,
)
from advisor.cli.output import print_json, typed_command
from advisor.preferences import BALANCED, get_preference
from strategies.display.progress import note
from strategies.errors import UserError
from strategies.recipes import get_recipe


@with_options
def recommend(
    images: ChannelOptions,
    network: NetworkOptions,
    prefer: Prefer = BALANCED,
    recipe: RecipeName = None,
    race: RaceFirst = False,
    time: Annotated[
        bool, typer.Option("--time", help="Run a few steps of each recipe to measure its time and memory here.")
    ] = False,
    augment: Augment = None,
    resize: Resize = None,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    every_image: Annotated[
        bool, typer.Option("--every-image", help="Check all images, also where there are more than 20,000.")
    ] = False,
    cache: Cache = True,
    ray: RayAddress = None,
    out: Out = None,
    overwrite: Overwrite = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Print all numbers, the freeze map and all cautions.", rich_help_panel=OUTPUT),
    ] = False,
    *,
    output: OutputOptions,
) -> None:
    """Recommend a recipe, and explain why and what to expect.

    No file is written without --out.
    """
    from advisor.recommendation import recommend as advise
    from advisor.report.files import check_advice_folder
    from advisor.report.next_step import next_command
    from advisor.report.terminal import show
    from advisor.report.text import advice_parts

    get_preference(prefer)
    if recipe is not None:  # refused before any image is read, as all that follows
        get_recipe(recipe)
    network.check()
    if out is not None:
        check_advice_folder(out, overwrite=overwrite)
    advice = advise(
        images.load(),
        backbone=network.backbone,
        weights=network.weights,
        image_size=network.image_size,
        recipe=recipe,
        prefer=prefer,
        race=race,
        timed=time,
        augment=augment,
        resize=resize,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        every_image=every_image,
        cache=cache,
        ray=ray,
    )
    if out is not None:
        advice.save(out, overwrite=overwrite, command=typed_command())
        note(f"Wrote fingerprint.json, plan.json, report.md and report.html to {out}")
    if output.as_json:
        print_json({"fingerprint": advice.fingerprint(), "plan": advice.plan.to_dict()})
    else:
        step = next_command(advice, typed_command())
        show(advice_parts(advice, next_step=step, verbose=verbose), quiet=output.quiet)
        if not (verbose or output.quiet):
            note("All numbers, and the freeze map: --verbose")


@with_options
def compare(
    images: ChannelOptions,
    network: NetworkOptions,
    resize: Resize = None,
    seed: Seed = 0,
    minutes: Minutes = None,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    cache: Cache = True,
    ray: RayAddress = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV file to which one row per recipe is appended.", rich_help_panel=OUTPUT),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="New HTML file for a report of the comparison.", rich_help_panel=OUTPUT),
    ] = None,
    *,
    output: OutputOptions,
) -> None:
    """Train all four recipes, and compare them with the advice.

    No file is written without --out or --report.
    """
    from advisor.comparison import compare_recipes
    from advisor.report.terminal import show
    from advisor.report.text import comparison_parts
    from advisor.results import check_results
    from advisor.time_limit import begin
    from strategies.files import check_new_file
    from strategies.networks.backend import start_keras

    limit = None if minutes is None else begin(minutes)
    network.check()
    if out is not None:
        check_results(Path(out))
    if report is not None:
        check_new_file(report)
    if out is not None and report is not None and Path(out).resolve() == Path(report).resolve():
        raise UserError(f"Expected two files, for --out and for --report. Received: {out!r} for both. Name another.")
    dataset = images.load()
    start_keras()
    comparison = compare_recipes(
        dataset,
        backbone=network.backbone,
        weights=network.weights,
        image_size=network.image_size,
        resize=resize,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        cache=cache,
        ray=ray,
        minutes=limit,
        out=out,
    )
    if output.as_json:
        advice = comparison.advice
        print_json(
            {
                "fingerprint": advice.fingerprint(),
                "plan": advice.plan.to_dict(),
                "comparison": comparison.to_dict(),
            }
        )
    else:
        show(comparison_parts(comparison), quiet=output.quiet)
    if out is not None:
        note(f"Appended {len(comparison.outcomes)} rows to {out}")
    if report is not None:  # last, so that the results are shown even if it cannot be written
        note(f"Wrote {comparison.save_html(report, command=typed_command())}")
