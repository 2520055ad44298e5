"""The model of a run on images that it has not seen: files in, a table of classes and probabilities out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.data.dataset import EXTENSIONS
from strategies.data.decoding import decode_readable
from strategies.data.sources.folders import list_folder
from strategies.data.sources.paths import as_text
from strategies.errors import DatasetError
from strategies.runs.run_folder import RunFolder, read_run

if TYPE_CHECKING:
    import pandas as pd

PART = 512  # images that are held in memory at once


def predict(
    run: str | Path | RunFolder, images: str | Path | Sequence[str | Path], *, all_classes: bool = False
) -> pd.DataFrame:
    """Says which class the model of a run gives each image.

    Pixels take the same way as in training and evaluation, so the test images of the run give its test accuracy.

    Args:
        run: A run folder, or what `strategies.read_run` returned, whose model is then loaded only once.
        images: A file; a folder, meaning all images below it; a glob pattern such as `"photos/**/*.jpg"`; or a list of
            these. A file that is named is tried whatever it is called, in a folder those that end like an image.
        all_classes: Whether the probability of every class is given.

    Returns:
        A DataFrame with one row per image, in the order given, files of a folder sorted: `path`, `class`,
        `probability` of that class, and `unreadable`: the reason where a file cannot be decoded, whose class and
        probability are missing. With `all_classes` also a column `p(<class>)` for each class.

    Raises:
        DatasetError: If a file or folder does not exist, a pattern or a folder holds no image, or none can be decoded.
        RunError: If `run` is no run folder.

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
        ...     frame = strategies.predict(f"{folder}/run", f"{folder}/*.png", all_classes=True)
        >>> list(frame.columns)
        ['path', 'class', 'probability', 'unreadable', 'p(cat)', 'p(dog)']
    """
    import pandas as pd

    return pd.concat(predict_in_parts(run, images, all_classes=all_classes), ignore_index=True)


def predict_in_parts(
    run: str | Path | RunFolder, images: str | Path | Sequence[str | Path], *, all_classes: bool = False
) -> Iterator[pd.DataFrame]:
    """Like `predict`, for any number of images: yields the same rows in frames of 512 at most, in bounded memory.

    Everything is checked before the first frame, but for what only decoding shows.
    """
    run, paths = read_run(run), find_images(images)
    return _parts(run, paths, all_classes)


def _parts(run: RunFolder, paths: Sequence[Path], all_classes: bool) -> Iterator[pd.DataFrame]:
    first_reason, num_readable = "", 0
    for start in range(0, len(paths), PART):
        part = paths[start : start + PART]
        pixels, unreadable = decode_readable(part, run.image_size)
        num_readable += len(pixels)
        first_reason = first_reason or next(iter(unreadable.values()), "")
        if start + PART >= len(paths) and not num_readable:
            raise DatasetError(
                f"Expected images that can be decoded. Received: {len(paths)}, none of which can, such as "
                f"{as_text(paths[0])!r} ({first_reason}). Mend or replace them."
            )
        shown = f"Images {start + 1:,} to {start + len(part):,} of {len(paths):,}"
        yield _frame(run, part, pixels, unreadable, all_classes, shown)


def _frame(
    run: RunFolder,
    paths: Sequence[Path],
    pixels: np.ndarray,
    unreadable: dict[int, str],
    all_classes: bool,
    description: str,
) -> pd.DataFrame:
    import pandas as pd

    from strategies.features.forward import forward

    probabilities = np.full((len(paths), len(run.class_names)), np.nan)
    readable = [index for index in range(len(paths)) if index not in unreadable]
    if readable:
        (probabilities[readable],) = forward(run.model, pixels, description=description)
    classes = [
        None if index in unreadable else run.class_names[probabilities[index].argmax()] for index in range(len(paths))
    ]
    columns: dict[str, Any] = {
        "path": [as_text(path) for path in paths],
        "class": pd.Series(classes, dtype="object"),
        "probability": probabilities.max(axis=1),
        "unreadable": pd.Series([unreadable.get(index) for index in range(len(paths))], dtype="object"),
    }
    if all_classes:
        columns |= {f"p({name})": column for name, column in zip(run.class_names, probabilities.T, strict=True)}
    return pd.DataFrame(columns)


def find_images(images: str | Path | Sequence[str | Path]) -> list[Path]:
    """Returns the files that files, folders and glob patterns name, in the order given; decodes nothing.

    A name that exists is never read as a pattern, so `"holiday [2019].jpg"` means that file.

    Raises:
        DatasetError: If a name does not exist, or a pattern or a folder holds no image.
    """
    found = []
    for name in [images] if isinstance(images, str | os.PathLike) else images:
        path = Path(name)
        if os.path.isdir(path):  # not Path's methods, which raise on names that are too long
            inside, kind = list(list_folder(path).images.values()), "a folder"
        elif os.path.exists(path):
            inside, kind = [path], "a file"
        elif glob.has_magic(str(name)):
            inside, kind = _matches(str(name)), "a pattern"
        else:
            raise DatasetError(f"Expected images. Received: {as_text(path)!r}, which does not exist. Check the path.")
        if not inside:
            raise DatasetError(
                f"Expected images. Received: {as_text(path)!r}, {kind} with none. Images end in "
                f"{', '.join(EXTENSIONS)}."
            )
        found += inside
    if not found:
        raise DatasetError("Expected images. Received: an empty list. Name a file, a folder or a pattern.")
    return found


def _matches(pattern: str) -> list[Path]:
    """Returns the images that match, and those in folders that match, each once: `**` finds a folder and its files."""
    found: dict[Path, None] = {}
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if path.is_dir():
            found |= dict.fromkeys(list(list_folder(path).images.values()))
        elif path.suffix.lower() in EXTENSIONS:
            found[path] = None
    return list(found)
