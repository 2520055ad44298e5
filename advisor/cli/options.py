"""Options that commands share. A command names a group of options as a parameter and gets one option per field."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from advisor.cli.help import COMPUTATION, IMAGES, NETWORK, OUTPUT
from advisor.preferences import PREFERENCES
from strategies.display.progress import silenced
from strategies.errors import UserError
from strategies.recipes import RECIPES

if TYPE_CHECKING:
    from strategies.data.dataset import ImageDataset


def starting_with(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Returns what completes a word in a shell: the names that begin like it. They are not listed before that."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def _backbones() -> Iterable[str]:
    from strategies.networks.backbones import BACKBONES

    return BACKBONES


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise UserError(
            f"Expected a share from 0 to 1 for --max-unreadable. Received: {value:g}. Write for example "
            f"--max-unreadable 0.1 for a tenth of the files."
        )
    return value


def _augmentation(value: str | None) -> str | None:
    from strategies.plans.planning import get_augmentation

    if value is not None:
        get_augmentation(value)
    return value


def _resize(value: str | None) -> str | None:
    from strategies.data.resizing import check_resize

    if value is not None:
        check_resize(value)
    return value


def _budget(value: float) -> float:
    from strategies.plans.planning import check_budget

    check_budget(value)
    return value


def _batch_size(value: int | None) -> int | None:
    if value is not None:
        from strategies.plans.planning import check_batch_size

        check_batch_size(value)
    return value


complete_backbone = starting_with(_backbones)
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder with one sub-folder per class, a zip or tar archive of such a folder, or a CSV or Parquet file "
        "with the columns path and label. The documentation lists more forms.",
    ),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, as written by 'advisor train --out'.")]
RecipeName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=starting_with(lambda: RECIPES),
        help="Recipe to use instead of the advised one. 'advisor recipes' lists them.",
    ),
]
Prefer = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        autocompletion=starting_with(lambda: PREFERENCES),
        help="'accuracy': the recipe that is expected to reach the most; 'balanced': the cheapest within half a point "
        "of it; 'speed': the cheapest within two points, without a refit.",
    ),
]
RaceFirst = Annotated[
    bool,
    typer.Option("--race", help="Train the recipes that may be best briefly on your images, and let that decide."),
]
Augment = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        callback=_augmentation,
        help="How training images are changed at random: 'flip', 'shift', 'color', 'randaugment', several of them, or "
        "'none'. Default: shifted, and flipped unless they are recognized less well mirrored.",
    ),
]
Resize = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=_resize,
        help="How images become squares: 'squeeze', 'crop' to the center, or 'pad' with black. Default: squeezed if "
        "nearly square, else squeezed or cropped, whichever a new head recognizes better.",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="MINUTES",
        help="Time for all that the command does. Steps are left out where needed, then recipes. Default: no limit.",
    ),
]
Budget = Annotated[
    float, typer.Option(metavar="SHARE", callback=_budget, help="Share of the training steps: 0.5 is half of them.")
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=_batch_size,
        help="Images per training step; the number of steps changes with it. Default: that of the plan.",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Side of the square input in pixels. Default: a size that suits images and network.",
        rich_help_panel=NETWORK,
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of all random choices.")]
Out = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Folder to write to, new or empty.", rich_help_panel=OUTPUT)
]
OutRun = Annotated[
    str,
    typer.Option(
        metavar="FOLDER", help="Run folder for the model and the report, new or empty.", rich_help_panel=OUTPUT
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run in the run folder.")]
Overwrite = Annotated[
    bool, typer.Option(help="Allow an output folder that already holds files.", rich_help_panel=OUTPUT)
]
Cache = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache",
        help="Frozen features are cached on disk and reused; --no-cache turns this off.",
        rich_help_panel=COMPUTATION,
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Regular expression, such as 'patient[0-9]+'. Files with the same match in their path stay in one split.",
        rich_help_panel=IMAGES,
    ),
]
MaxUnreadable = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        callback=_share,
        help="Largest share of files that may be unreadable, 0 to 1.",
        rich_help_panel=IMAGES,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Let the workers of a Ray cluster do the work: 'local' for the cores of this machine, 'auto', or the "
        "address of a cluster.",
        rich_help_panel=COMPUTATION,
    ),
]


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Where the images are, and how they are read."""

    data: Data
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMN",
            help="Tables: the name of a column, such as label=species. Columns: path, label, split, group.",
            rich_help_panel=IMAGES,
        ),
    ] = None
    root: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Tables: folder that relative paths start from. Default: the folder of the table.",
            rich_help_panel=IMAGES,
        ),
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="CSV files: the encoding, such as cp1250. Default: UTF-8 or UTF-16, else Windows-1252.",
            rich_help_panel=IMAGES,
        ),
    ] = None
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links",
            help="Folders: follow links to folders, and links that lead out of the folder.",
            rich_help_panel=IMAGES,
        ),
    ] = False

    def load(self, *, for_training: bool = True, channels: Sequence[int] | None = None) -> ImageDataset:
        """Lists the images; see `strategies.load_dataset`."""
        from strategies.data.loading import load_dataset

        columns = column_names(self.column)
        return load_dataset(
            self.data,
            root=self.root,
            encoding=self.encoding,
            follow_links=self.follow_links,
            channels=channels,
            for_training=for_training,
            **columns,
        )


@dataclass(frozen=True, kw_only=True)
class ChannelOptions(ImageOptions):
    """Where the images are, how they are read, and which of their channels are used."""

    channels: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="Numbers of the bands that are used, from 1, such as 4,3,2; three are taken as red, green and blue. "
            "Default: RGB, or all bands of arrays and TIFF files with others.",
            rich_help_panel=IMAGES,
        ),
    ] = None

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The channels as numbers; `None` if they are not named."""
        if self.channels is None:
            return None
        from strategies.data.channels import check_channels

        parts = self.channels.split(",")
        return check_channels([int(part) if part.strip().isdecimal() else part for part in parts])  # type: ignore[misc]

    def load(self, *, for_training: bool = True, channels: Sequence[int] | None = None) -> ImageDataset:
        """Lists the images; see `strategies.load_dataset`. The option names the channels unless the caller does."""
        return super().load(for_training=for_training, channels=self.numbers if channels is None else channels)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How a network from a `.keras` file is used."""

    stages: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="A .keras file as backbone: the layers that end its stages. Default: they are found.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    preprocessing: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A .keras file as backbone: how it expects pixels, 'none' (0-255), '-1..1', 'torch' or 'caffe'.",
            rich_help_panel=NETWORK,
        ),
    ] = None

    @property
    def layers(self) -> list[str] | None:
        """The layers that end the stages, if they are named."""
        return None if self.stages is None else [layer.strip() for layer in self.stages.split(",")]

    def check_backbone(self, name: str | None) -> None:
        """Refuses an unknown backbone before any image is read. Adds that of a file."""
        from strategies.networks.backbones import get_backbone
        from strategies.networks.origins import add_file

        if self.stages is not None or self.preprocessing is not None:
            add_file(name or "", self.layers, self.preprocessing)
        elif name is not None:
            get_backbone(name)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(FileOptions):
    """Which pretrained network is transferred."""

    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_backbone,
            help="Network to transfer: a name of 'advisor backbones', or a .keras file. Default: MobileNetV2.",
            rich_help_panel=NETWORK,
        ),
    ] = None
    weights: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS",
            help="'auto' (from Keras' cache, or by download), 'bundled' (in this package), or the path of a file.",
            rich_help_panel=NETWORK,
        ),
    ] = "auto"
    image_size: ImageSize = None

    def check(self) -> None:
        """Refuses an unknown backbone before any image is read."""
        self.check_backbone(self.backbone)


@dataclass(frozen=True, kw_only=True)
class QuietOption:
    """Whether progress and notes are shown."""

    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="Print only the result, without progress and notes.", rich_help_panel=OUTPUT),
    ] = False


@dataclass(frozen=True, kw_only=True)
class OutputOptions(QuietOption):
    """What is printed."""

    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON to stdout, and nothing else.", rich_help_panel=OUTPUT)
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
