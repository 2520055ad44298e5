"""The commands `recipes` and `backbones`, which list what is available."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from advisor.cli.options import OutputOptions, with_options
from advisor.cli.output import print_json


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


@with_options
def backbones(*, output: OutputOptions) -> None:
    """List the pretrained networks: input size, stages, default cut."""
    from strategies.networks.backbones import BACKBONES

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
    if output.as_json:
        print_json({"backbones": rows})
        return
    if output.quiet:
        print(*BACKBONES, sep="\n")
        return
    print(f"{'name':<22} {'input':>6}  stages (|: where keep_early_layers cuts by default)")
    for row in rows:
        cut = f" {row['default_cut']} "
        stages = f" {' '.join(row['stages'])} ".replace(cut, f"{cut}| ").strip()
        print(f"{row['name']:<22} {row['image_size']} px  {stages}")
