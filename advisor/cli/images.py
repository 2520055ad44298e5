"""The commands `profile`, `check` and `learning-curve`, which measure a dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from advisor.cli.help import OUTPUT
from advisor.cli.options import (
    Cache,
    ChannelOptions,
    GroupBy,
    MaxUnreadable,
    NetworkOptions,
    OutputOptions,
    RayAddress,
    Seed,
    with_options,
)
from advisor.cli.output import print_json
from strategies.display.progress import note


@with_options
def profile(
    images: ChannelOptions,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    ray: RayAddress = None,
    *,
    output: OutputOptions,
) -> None:
    """Show the size, balance, resolution and quality of a dataset."""
    from advisor.measure.profile import profile_images
    from advisor.report.terminal import show
    from advisor.report.text import profile_parts

    found = profile_images(images.load(), seed=seed, max_unreadable=max_unreadable, group_by=group_by, ray=ray)
    if output.as_json:
        print_json({"profile": found.to_dict()})
    else:
        show(profile_parts(found), quiet=output.quiet)


@with_options
def check(
    images: ChannelOptions,
    group_by: GroupBy = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if a check finds something that may be wrong.")
    ] = False,
    seed: Seed = 0,
    cache: Cache = True,
    ray: RayAddress = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="New CSV file for the suspects, with the columns path, finding and detail.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    *,
    output: OutputOptions,
) -> None:
    """Find unreadable files, copies, leaks and likely wrong labels.

    It also finds unusual images. Your files are not moved, changed or deleted.

    No file is written without --out.
    """
    from advisor.measure.examination import check_images
    from advisor.quality.checks import faults, save_suspects
    from advisor.report.terminal import show
    from advisor.report.text import health_parts
    from strategies.files import check_new_file

    if out is not None:
        check_new_file(out)
    found = check_images(images.load(), group_by=group_by, seed=seed, cache=cache, ray=ray)
    if out is not None:
        save_suspects(found.findings, out)
        note(f"Wrote {sum(len(finding.suspects) for finding in found.findings):,} suspects to {out}")
    if output.as_json:
        print_json({"profile": found.to_dict()})
    else:
        show(health_parts(found), quiet=output.quiet)
    if strict and faults(found.findings):
        raise typer.Exit(1)


@with_options
def learning_curve(
    images: ChannelOptions,
    network: NetworkOptions,
    seed: Seed = 0,
    max_unreadable: MaxUnreadable = 0.05,
    group_by: GroupBy = None,
    cache: Cache = True,
    ray: RayAddress = None,
    *,
    output: OutputOptions,
) -> None:
    """Tell what 2, 4 and 10 times as many images would be worth, and which classes would gain most.

    A new head on the frozen network is cross-validated with a quarter, half and all of the images.
    """
    from advisor.measure.learning_curve import measure_learning_curve
    from advisor.report.terminal import show
    from advisor.report.text import learning_curve_parts

    network.check()
    dataset = images.load()
    curve = measure_learning_curve(
        dataset,
        backbone=network.backbone,
        weights=network.weights,
        image_size=network.image_size,
        seed=seed,
        max_unreadable=max_unreadable,
        group_by=group_by,
        cache=cache,
        ray=ray,
    )
    if output.as_json:
        print_json({"learning_curve": curve.to_dict()})
    else:
        show(learning_curve_parts(curve, dataset.source), quiet=output.quiet)
