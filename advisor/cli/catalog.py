"""The commands `recipes` and `backbones`, which list what is available."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from advisor.cli.options import Cache, ChannelOptions, OutputOptions, Seed, with_options
from advisor.cli.output import print_json
from strategies.errors import UserError


@with_options
def recipes(*, output: OutputOptions) -> None:
    """List the four recipes: what each removes, freezes and trains."""
    from advisor.report.terminal import KeyValues, Line, show
    from strategies.recipes import RECIPES

    if output.as_json:
        print_json({"recipes": [asdict(recipe) for recipe in RECIPES.values()]})
        return
    if output.quiet:
        print(*RECIPES, sep="\n")
        return
    for recipe in RECIPES.values():
        toward = "to" if recipe.domain == "similar" else "from"
        title = f"{recipe.name}: for a {recipe.size} dataset, {recipe.domain} {toward} ImageNet"
        names = ("title", "removes", "new", "freezes", "trains", "because", "source")
        rows = [(name, str(getattr(recipe, name))) for name in names]
        show([Line(text=title, style="title"), KeyValues(rows=rows), Line(text="")])


@dataclass(frozen=True, kw_only=True)
class ImagesToTryOn(ChannelOptions):
    """The images that networks are measured on, if any."""

    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Images to measure networks on, in any form that 'recommend' takes."),
    ] = None  # type: ignore[assignment]


@with_options
def backbones(
    images: ImagesToTryOn,
    names: Annotated[
        str | None,
        typer.Option(
            "--try", metavar="NAME,...", help="Networks to measure. Default: all whose weights are on this machine."
        ),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS,...", help="Input sizes to measure each network at. Default: what 'recommend' takes."
        ),
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option(metavar="MS", help="Longest time per image that is allowed, in milliseconds.")
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(metavar="MB", help="Largest size of the weights that is allowed, in megabytes.")
    ] = None,
    seed: Seed = 0,
    cache: Cache = True,
    *,
    output: OutputOptions,
) -> None:
    """List the pretrained networks, or find which suits your images.

    With images, each network whose weights are on this machine is measured: accuracy of a new head, time per image and
    size. Nothing is downloaded unless --try names it.
    """
    if images.data is None:
        options = {"--try": names, "--sizes": sizes, "--max-ms": max_ms, "--max-mb": max_mb}
        if given := [option for option, value in options.items() if value is not None]:
            raise UserError(
                f"Expected images to measure networks on. Received: {' and '.join(given)} without images. Name a "
                f"folder of images."
            )
        _list(output)
        return
    from advisor.measure.backbones import compare_backbones
    from advisor.report.backbones import compared_parts
    from advisor.report.terminal import show

    found = compare_backbones(
        images.load(),
        None if names is None else names.split(","),
        image_sizes=None if sizes is None else _numbers(sizes),
        max_ms=max_ms,
        max_mb=max_mb,
        seed=seed,
        cache=cache,
    )
    if output.as_json:
        print_json({"comparison": found.to_dict()})
    else:
        show(compared_parts(found), quiet=output.quiet)


def _list(output: OutputOptions) -> None:
    from advisor.report.backbones import list_parts
    from advisor.report.terminal import show
    from strategies.networks.backbones import BACKBONES
    from strategies.networks.weights import is_cached

    if output.quiet and not output.as_json:
        print(*BACKBONES, sep="\n")
        return
    if not output.as_json:
        show(list_parts(list(BACKBONES.values())))
        return
    rows: list[dict[str, Any]] = [
        {
            "name": row.name,
            "image_size": row.image_size,
            "min_image_size": row.min_image_size,
            "parameters": row.parameters,
            "megabytes": row.megabytes,
            "imagenet_top1": row.top1,
            "weights_here": is_cached(row),
            "batch_norm": row.has_batch_norm,
            "preprocessing": str(row.preprocessing),
            "stages": [stage.name for stage in row.stages],
            "default_cut": row.default_cut,
            "source": row.source,
        }
        for row in BACKBONES.values()
    ]
    print_json({"backbones": rows})


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"Expected --sizes as whole numbers of pixels, such as 96,160. Received: {text!r}. Correct it."
        ) from None
