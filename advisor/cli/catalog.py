"""The commands `recipes` and `backbones`, which list what is available."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from advisor.cli.options import AsJson
from advisor.cli.output import print_json


def recipes(as_json: AsJson = False) -> None:
    """List the four recipes: what each of them removes, freezes and trains."""
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


def backbones(as_json: AsJson = False) -> None:
    """List the pretrained networks with their input size, stages and default cut."""
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
    if as_json:
        print_json({"backbones": rows})
        return
    for row in rows:
        stages = " ".join(row["stages"])
        print(f"{row['name']:<24} {row['image_size']} px  stages {stages}  (cut after {row['default_cut']})")
