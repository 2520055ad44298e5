"""Predicts the classes of new images with the model of a run."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from strategies.cluster import is_on_ray, map_parts, on_ray
from strategies.data.decoding import decode_readable
from strategies.data.encoded import Encoded
from strategies.data.resizing import as_planned
from strategies.data.sources.arrays import check_arrays, encoded_images, is_one_image, numbered
from strategies.data.sources.folders import Listing, list_folder
from strategies.data.sources.paths import as_text, ends_in, is_path
from strategies.data.sources.patterns import list_pattern
from strategies.data.sources.unused import HIDDEN, no_image, reasons_text
from strategies.display.progress import note
from strategies.errors import DatasetError, UserError
from strategies.features.forward import Engine, is_keras
from strategies.runs.run_folder import RunFolder, read_run
from strategies.training.novelty import Novelty

if TYPE_CHECKING:
    import pandas as pd

PART = 512  # images in memory at once
# Probabilities and novelty of the images that can be decoded, and for each of the others, by its number, the reason.
Predicted = tuple[np.ndarray, np.ndarray | None, dict[int, str]]
TABLES = (".csv", ".tsv", ".parquet", ".xlsx", ".xls")


def predict(
    run: str | Path | RunFolder,
    images: Any,
    *,
    top: int = 1,
    all_classes: bool = False,
    unsure: bool = False,
    ray: str | None = None,
) -> pd.DataFrame:
    """Predicts the class of each image with the model of a run.

    Images are decoded and resized as in training and evaluation, so the test images of the run give its test accuracy.

    Args:
        run: The run folder, or a `RunFolder` from `strategies.read_run`, whose model is loaded only once.
        images: A file; a folder, for all images in it and its sub-folders; a glob pattern such as
            `"photos/**/*.jpg"`; or a list of these; or an array, a PIL image, the bytes of an encoded image or a list
            of them, which are called `"image 0"` and so on. In folders and patterns, only images by their name are
            used, and links are not followed out of the folder. A file that is named directly is used whatever its
            extension.
        top: How many classes to return for each image, the most probable first; at most as many as the model has.
        all_classes: Whether to return the probability of every class.
        unsure: Whether to say for each image how new it is to the model: whether it is probably none of the classes.
        ray: The Ray cluster whose workers decode and predict: `"local"`, `"auto"` or an address; see
            `strategies.on_ray`. Default: none.

    Returns:
        A DataFrame with one row per image, in the given order; the files of a folder are sorted. Columns: `path`,
        `class` (the predicted class), `probability` (of that class) and `unreadable` (the reason if the file cannot be
        decoded; then the other values are missing). With `top`, the other classes follow as `class_2`, `probability_2`,
        `class_3` and so on. With `unsure`, also `novelty` (how far the image lies from all classes, where 1 is the
        threshold that 95% of the images of known classes are expected to stay below) and `unsure` (whether it is above
        1). With `all_classes`, also a column `p(<class>)` for each class.

    Raises:
        UserError: If `top` is less than 1, or more than the number of classes.
        DatasetError: If a file or folder does not exist, if a pattern or a folder has no image, or if no image can be
            decoded.
        RunError: If `run` is not a run folder, or with `unsure`, if it has no threshold.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import strategies
        >>> from PIL import Image
        >>> plan = strategies.make_plan("head_only", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=8,
        ...     image_size=32, weights="random")
        >>> pixels = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = strategies.train(plan, (pixels, ["cat", "dog"] * 6), f"{folder}/run", cache=False)
        ...     Image.fromarray(pixels[0]).save(f"{folder}/one.png")
        ...     frame = strategies.predict(f"{folder}/run", f"{folder}/*.png", top=2)
        >>> list(frame.columns)
        ['path', 'class', 'probability', 'unreadable', 'class_2', 'probability_2']
    """
    import pandas as pd

    with on_ray(ray):
        parts = predict_in_parts(run, images, top=top, all_classes=all_classes, unsure=unsure)
        return pd.concat(parts, ignore_index=True)


def predict_in_parts(
    run: str | Path | RunFolder, images: Any, *, top: int = 1, all_classes: bool = False, unsure: bool = False
) -> Iterator[pd.DataFrame]:
    """Like `predict`, but yields the rows in DataFrames of at most 512, so that memory use stays bounded.

    The run and the paths are checked at once. Unreadable files are found while decoding. For a Ray cluster, take all
    parts inside a block `with strategies.on_ray(...)`.
    """
    run, pictures = read_run(run), _in_memory(images)
    _check_top(top, len(run.class_names))
    items: Sequence[Any] = pictures or find_images(images)
    names = numbered(pictures) if pictures else [as_text(path) for path in items]
    _ = run.engine_with_features if unsure else run.engine  # what cannot be loaded is refused before images are decoded
    return _parts(run, items, names, top, all_classes, unsure)


def _check_top(top: int, num_classes: int) -> None:
    if not 1 <= top <= num_classes:
        raise UserError(
            f"Expected --top (top=...) from 1 to {num_classes}, the number of classes of the model. Received: {top}. "
            f"Give a number in this range, or leave it out."
        )


def ranked_columns(top: int) -> list[tuple[str, str]]:
    """Returns the columns that hold class and probability, the most probable first.

    Example:
        >>> from strategies.runs.prediction import ranked_columns
        >>> ranked_columns(2)
        [('class', 'probability'), ('class_2', 'probability_2')]
    """
    return [("class", "probability"), *((f"class_{rank}", f"probability_{rank}") for rank in range(2, top + 1))]


def _in_memory(images: Any) -> Sequence[np.ndarray] | Sequence[Encoded]:
    """Returns arrays, PIL images and encoded bytes, one or several, as items of a dataset; nothing for paths."""
    if encoded := encoded_images(images):
        return encoded
    if isinstance(images, np.ndarray) and images.dtype.kind == "U":
        return []
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and is_one_image(images)):
        images = [images]
    first = (
        images if isinstance(images, np.ndarray) or not isinstance(images, list | tuple) else next(iter(images), None)
    )
    return check_arrays(images) if isinstance(first, np.ndarray | Image.Image) else []


def _parts(
    run: RunFolder, items: Sequence[Any], names: Sequence[str], top: int, all_classes: bool, unsure: bool
) -> Iterator[pd.DataFrame]:
    first_reason, num_readable, start = "", 0, 0
    for values, novelty, unreadable in _computed(run, items, unsure):
        end = start + len(values) + len(unreadable)
        num_readable += len(values)
        first_reason = first_reason or next(iter(unreadable.values()), "")
        if end == len(items) and not num_readable:
            raise DatasetError(
                f"Expected images that can be decoded. Received: {len(items):,} images that cannot, for example "
                f"{names[0]!r} ({first_reason}). Fix or replace them."
            )
        yield _frame(run.class_names, names[start:end], values, novelty, unreadable, top, all_classes)
        start = end


def _computed(run: RunFolder, items: Sequence[Any], unsure: bool) -> Iterator[Predicted]:
    """Yields what is computed of one part of the images after the other, by this process or by a cluster."""
    engine, novelty = (run.engine_with_features, run.novelty) if unsure else (run.engine, None)
    items = as_planned(items, run.image_bits, run.resize, run.channels)
    shape = run.image_size, run.num_channels
    compute = partial(_predict_part, engine, novelty, len(run.class_names), *shape)
    if is_on_ray():
        # The same parts, since an image that cannot be read shifts those behind it to other batches.
        yield from map_parts(compute, items, "Predicting", size=PART, gpu=is_keras(engine))
        return
    for start in range(0, len(items), PART):
        part = items[start : start + PART]
        yield compute(part, description=f"Images {start + 1:,} to {start + len(part):,} of {len(items):,}")


def _predict_part(
    engine: Engine,
    novelty: Novelty | None,
    num_classes: int,
    image_size: int,
    num_channels: int,
    items: Sequence[Any],
    description: str = "",
) -> Predicted:
    pixels, unreadable = decode_readable(items, image_size, num_channels)
    if not len(pixels):
        return np.empty((0, num_classes)), None if novelty is None else np.empty(0), unreadable
    probabilities, *features = engine(pixels, description=description)
    return probabilities, None if novelty is None else novelty.measure(features), unreadable


def _frame(
    class_names: Sequence[str],
    names: Sequence[str],
    values: np.ndarray,
    novelty: np.ndarray | None,
    unreadable: Mapping[int, str],
    top: int,
    all_classes: bool,
) -> pd.DataFrame:
    import pandas as pd

    probabilities = np.full((len(names), len(class_names)), np.nan)
    readable = [index for index in range(len(names)) if index not in unreadable]
    probabilities[readable] = values
    order = np.argsort(-probabilities, axis=1, kind="stable")  # of equal ones, the first class wins, as everywhere
    columns: dict[str, Any] = {"path": list(names)}
    for rank, (name, probability) in enumerate(ranked_columns(top)):
        place = order[:, rank]
        classes = [None if index in unreadable else class_names[place[index]] for index in range(len(names))]
        columns[name] = pd.Series(classes, dtype="object")
        columns[probability] = probabilities[np.arange(len(names)), place]
        if rank == 0:  # before the other classes, so that the first four columns are always the same
            columns["unreadable"] = pd.Series([unreadable.get(row) for row in range(len(names))], dtype="object")
    if novelty is not None:
        found = np.full(len(names), np.nan)
        found[readable] = novelty
        columns |= {"novelty": found, "unsure": pd.Series(found > 1, dtype="object").where(~np.isnan(found), None)}
    if all_classes:
        columns |= {f"p({name})": column for name, column in zip(class_names, probabilities.T, strict=True)}
    return pd.DataFrame(columns)


def find_images(images: str | Path | Sequence[str | Path]) -> list[Path]:
    """Returns the image files that files, folders and glob patterns name, in the given order. Decodes nothing.

    A name that exists is never used as a pattern, so `"holiday [2019].jpg"` means that file.

    Raises:
        DatasetError: If a name does not exist, or if a pattern or a folder has no image.
    """
    found: list[Path] = []
    names: list[Any] = list(images) if isinstance(images, Iterable) and not is_path(images) else [images]
    for name in names:
        if not is_path(name):
            raise DatasetError(
                f"Expected files, folders, patterns, arrays or PIL images. Received: {type(name).__name__}. Give one "
                f"of these kinds, or a list of one kind."
            )
        path = Path(name)
        if os.path.isdir(path):  # the methods of Path raise an error for names that are too long
            found += _used(list_folder(path), as_text(path), "a folder")
        elif os.path.isfile(path) and ends_in(name, *TABLES):
            raise DatasetError(
                f"Expected images. Received: {as_text(path)!r}, a table. Give the folder of the images that it names, "
                f"or in Python a list of their paths."
            )
        elif os.path.exists(path):
            found.append(path)
        elif glob.has_magic(str(name)):
            found += _used(list_pattern(str(name)), as_text(path), "a pattern")
        else:
            raise DatasetError(f"Expected images. Received: {as_text(path)!r}, which does not exist. Check the path.")
    if not found:
        raise DatasetError("Expected images. Received: an empty list. Name a file, a folder or a pattern.")
    return found


def _used(listing: Listing, name: str, kind: str) -> list[Path]:
    """Returns the images of a folder or a pattern. A note says how many other files there are, and why."""
    if not listing.images:
        raise no_image(f"{name!r}, {kind}", listing.ignored)
    if unused := {file: why for file, why in listing.ignored.items() if why != HIDDEN}:
        note(f"advisor: not used in {name!r}, {kind}: {reasons_text(unused)}")
    return list(listing.images.values())
