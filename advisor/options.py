"""What several commands take and print: their options, the images that they name, JSON, notes on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from strategies.errors import UserError

JSON_VERSION = 1

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


def read_images(
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
    return load_dataset(data, root=root, follow_links=follow_links, **column_names(column))


def column_names(given: list[str] | None) -> dict[str, Any]:
    """Returns `--column label=species` as the argument `label_column="species"`."""
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


def print_json(values: Mapping[str, Any]) -> None:
    """Prints a result, and the version of its form, to stdout."""
    print(json.dumps({"version": JSON_VERSION, **values}, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str) -> None:
    """Prints a note to stderr."""
    print(text, file=sys.stderr)
