"""Options that commands share. A command names a group of options as a parameter and gets one option per field."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from strategies.display.progress import silenced
from strategies.errors import UserError

if TYPE_CHECKING:
    from strategies.data.dataset import ImageDataset

Data = Annotated[
    str,
    typer.Argument(
        help="A folder with one sub-folder per class, a zip or tar archive of such a folder, or a CSV or Parquet file "
        "with the columns path and label. The documentation lists more forms."
    ),
]
Run = Annotated[str, typer.Argument(help="A run folder, as written by 'advisor train --out'.")]
RecipeName = Annotated[
    str | None, typer.Option(help="Recipe to train instead of the advised one. 'advisor recipes' lists them.")
]
Prefer = Annotated[
    str,
    typer.Option(
        help="'accuracy': the recipe that is expected to reach the most; 'balanced': the cheapest within half a point "
        "of it; 'speed': the cheapest within two points."
    ),
]
ImageSize = Annotated[
    int | None, typer.Option(help="Side of the square input in pixels. Default: a size that suits images and network.")
]
Seed = Annotated[int, typer.Option(help="Seed of all random choices.")]
Out = Annotated[str | None, typer.Option(help="Folder to write to, new or empty.")]
Overwrite = Annotated[bool, typer.Option(help="Allow an output folder that already holds files.")]
Cache = Annotated[bool, typer.Option("--cache/--no-cache", help="Cache frozen features on disk, and reuse them.")]
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="Regular expression, such as 'patient[0-9]+'. Files with the same match in their path stay in one split."
    ),
]
MaxUnreadable = Annotated[float, typer.Option(help="Largest share of files that may be unreadable.", min=0, max=1)]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Let the workers of a Ray cluster do the work: 'local' for the cores of this machine, 'auto', or the "
        "address of a cluster.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, and nothing else.")]


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Where the images are, and how they are read."""

    data: Data
    column: Annotated[
        list[str] | None,
        typer.Option(help="Tables: the name of a column, such as label=species. Columns: path, label, split, group."),
    ] = None
    root: Annotated[
        str | None,
        typer.Option(help="Tables: folder that relative paths start from. Default: the folder of the table."),
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(help="CSV files: the encoding, such as cp1250. Default: UTF-8 or UTF-16, else Windows-1252."),
    ] = None
    follow_links: Annotated[
        bool,
        typer.Option("--follow-links", help="Folders: follow links to folders, and links that lead out of the folder."),
    ] = False

    def load(self, *, for_training: bool = True) -> ImageDataset:
        """Lists the images; see `strategies.load_dataset`."""
        from strategies.data.loading import load_dataset

        columns = column_names(self.column)
        return load_dataset(
            self.data,
            root=self.root,
            encoding=self.encoding,
            follow_links=self.follow_links,
            for_training=for_training,
            **columns,
        )


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Which pretrained network is transferred."""

    backbone: Annotated[
        str | None, typer.Option(help="Network to transfer. 'advisor backbones' lists the names. Default: MobileNetV2.")
    ] = None
    weights: Annotated[
        str,
        typer.Option(
            help="'auto' (from Keras' cache, or by download), 'bundled' (in this package), or the path of a file."
        ),
    ] = "auto"
    image_size: ImageSize = None

    def check(self) -> None:
        """Refuses an unknown backbone before any image is read."""
        from strategies.networks.backbones import get_backbone

        if self.backbone is not None:
            get_backbone(self.backbone)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is printed."""

    as_json: AsJson = False
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print the result in one line, without progress and notes.")
    ] = False


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces every parameter of a command that is a group of options by one option for each field of the group.

    The command itself is called with the groups. With `--quiet` it shows neither progress nor notes.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = kind
        kinds = get_type_hints(kind, include_extras=True)
        for item in fields(kind):
            default = inspect.Parameter.empty if item.default is MISSING else item.default
            parameters.append(
                inspect.Parameter(
                    item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kinds[item.name]
                )
            )

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{item.name: given.pop(item.name) for item in fields(kind)})
        output = given.get("output")
        with silenced(output is not None and output.quiet):
            command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


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
