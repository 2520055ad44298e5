"""Reads a user's images, in any supported form, as an `ImageDataset`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from strategies.data.channels import MAX_CHANNELS, RGB, channels_of, check_channels, num_channels, with_channels
from strategies.data.dataset import ImageDataset, check_classes
from strategies.data.decoding import peek_counts
from strategies.data.dicom import patients
from strategies.data.mixing import find_mixing
from strategies.data.sources.arrays import are_pairs, check_arrays, encoded_images, numbered
from strategies.data.sources.folders import check_folders, list_folder
from strategies.data.sources.forms import find_source
from strategies.data.sources.labels import check_names, spelling_notes
from strategies.data.sources.paths import is_path
from strategies.data.sources.shards import is_tfrecord, is_webdataset
from strategies.data.sources.streams import is_tf_data, stream_tf_data
from strategies.data.sources.table_files import check_any_exists
from strategies.data.sources.unused import no_image
from strategies.errors import DatasetError, few


def load_dataset(
    source: Any,
    *,
    path_column: str = "path",
    label_column: str = "label",
    split_column: str = "split",
    group_column: str = "group",
    root: str | Path | None = None,
    encoding: str | None = None,
    follow_links: bool = False,
    channels: Sequence[int] | None = None,
    for_training: bool = True,
) -> ImageDataset:
    """Reads a dataset of labeled images in any supported form. Files are listed, not decoded.

    Args:
        source: The images and labels. `SOURCES` in `data/sources/forms.py` lists all forms:

            - a class folder: `root/<class>/*`, or `root/{train,val,test}/<class>/*`, whose split is kept; also in a
              zip or tar archive, or in object storage by a URL. `training`, `dev`, `eval` and others mean a split too;
            - a table with the columns `path,label[,split,group]`: a CSV or Parquet file, or a DataFrame of pandas or
              polars, or a table of pyarrow; a JSON file of COCO, of Label Studio or of such records;
            - a list of pairs `(image, label)`, or a PyTorch dataset of them;
            - arrays `(x, y)`, where `x` has the shape `(num_images, height, width[, channels])` and values 0-255, or an
              `.npz` file of them, all together or for each split (`x_train`, `y_train` and so on);
            - TFRecord files or WebDataset tar shards, by path, pattern or list;
            - a `datasets.Dataset`, a stream of it, or a TFDS builder;
            - a `tf.data.Dataset` or `keras.utils.PyDataset` of images and labels, which is read into memory once;
            - a dictionary from `"train"`, `"val"` and `"test"` to any of these;
            - an `ImageDataset`, which is returned as it is.
        path_column: Column of a table with the paths of the files.
        label_column: Column of a table with the classes.
        split_column: Column of a table with the split of each image.
        group_column: Column of a table with the group of each image.
        root: Folder that the paths of a table are relative to. Default: the folder of the table's file; for a
            DataFrame, the working folder.
        encoding: Encoding of a CSV file, such as `"cp1250"`. Default: UTF-8 or UTF-16, else Windows-1252, which the
            notes then say.
        follow_links: Whether to follow links in a class folder that lead to folders or out of the class folder.
            Otherwise such links are listed as ignored, with the reason.
        channels: Numbers of the bands of images that are used, from 1, such as `(4, 3, 2)`. Three bands are taken as
            red, green and blue; for any other number, a network takes them all, and whatever shows an image mixes them
            into red, green and blue. `()`: images are RGB. Default: all bands of arrays, `.npy` files and TIFF files
            that are neither gray nor RGB, which the notes then say; of all other images, red, green and blue.
        for_training: Whether at least two classes with two images each are required. `False` accepts any labels.

    Returns:
        An `ImageDataset`. Classes are sorted as text. Whole numbers in arrays are sorted as numbers, so labels 0 to
        n - 1 are the class indices.

    Raises:
        DatasetError: If the dataset cannot be read, does not have two classes with two images each, or has an image
            with several labels.

    Example:
        >>> import numpy as np
        >>> from strategies.data.loading import load_dataset
        >>> dataset = load_dataset((np.zeros((4, 32, 32, 3), dtype="uint8"), ["dog", "cat", "cat", "dog"]))
        >>> dataset.class_names, dataset.labels.tolist()
        (('cat', 'dog'), [1, 0, 0, 1])
    """
    options: dict[str, tuple[Any, Any]] = {  # each with its default
        "path_column": (path_column, "path"),
        "label_column": (label_column, "label"),
        "split_column": (split_column, "split"),
        "group_column": (group_column, "group"),
        "root": (root, None),
        "encoding": (encoding, None),
        "follow_links": (follow_links, False),
    }
    given = {name: value for name, (value, default) in options.items() if value != default}
    row = find_source(source)
    without_effect = [name for name in given if name not in row.options]
    if without_effect:
        raise DatasetError(
            f"Expected options that apply to the source: root, encoding and column names for a table, follow_links for "
            f"a folder. Received: {few(without_effect)} for {row.form}, where they have no effect. Leave them out."
        )
    if isinstance(source, ImageDataset):
        return _with_channels(source, channels)
    dataset = _with_channels(_with_patients(row.read(source, **given)), channels)
    check_names(dataset.class_names)
    if for_training:
        check_folders(dataset)
        check_classes(dataset)
    return replace(dataset, notes=(*dataset.notes, *spelling_notes(dataset.class_names)))


def _with_patients(dataset: ImageDataset) -> ImageDataset:
    """Returns a dataset of DICOM images with a group for each patient, unless it has groups."""
    groups = None if dataset.group is not None else patients(dataset.items, dataset.names)
    if groups is None:
        return dataset
    note = "DICOM images of the same patient stay in one split, by the PatientID in their headers."
    return replace(dataset, group=groups, notes=(*dataset.notes, note))


def load_images(source: Any, *, channels: Sequence[int] | None = None) -> ImageDataset:
    """Reads images whose labels are not needed. Files are listed, not decoded.

    Args:
        source: A folder (all images below it), a list of files, an array of shape `(num_images, height, width[,
            channels])` and values 0-255, a list of arrays or of images of Pillow, the bytes of an encoded image or a
            list of them, an image of Pillow, a `tf.data.Dataset` of images or of images and labels, or any other
            source of `load_dataset`. Labels are dropped.
        channels: As in `load_dataset`.

    Returns:
        An `ImageDataset` without classes; every label is -1.

    Raises:
        DatasetError: If there is no image.
    """
    ignored: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    items: Sequence[Any]
    if isinstance(source, Image.Image):
        source = [source]
    if is_path(source) and os.path.isdir(source):
        listing = list_folder(Path(source))
        items, names, text = list(listing.images.values()), list(listing.images), str(source)
        ignored = listing.ignored
    elif is_tf_data(source):
        items = check_arrays(stream_tf_data(source, labeled=False)[0])
        names, text = numbered(items), "tf.data.Dataset"
    elif _is_list_of_files(source):
        items, names, text = [Path(item) for item in source], [str(item) for item in source], "list of files"
        check_any_exists(items, text)
    elif encoded := encoded_images(source):
        items, names, text = encoded, numbered(encoded), "encoded images"
    elif _are_arrays(source):
        items = check_arrays(source)
        names, text = numbered(items), "arrays"
    else:
        dataset = find_source(source).read(source)
        items, names, text = dataset.items, list(dataset.names), dataset.source
        ignored, notes = dataset.ignored, dataset.notes
    if not items:
        raise no_image(repr(text), ignored)
    dataset = ImageDataset(
        class_names=(),
        labels=np.full(len(items), -1, dtype="int64"),
        items=items,
        names=tuple(names),
        source=text,
        ignored=ignored,
        notes=notes,
    )
    return _with_channels(dataset, channels)


def _with_channels(dataset: ImageDataset, channels: Sequence[int] | None) -> ImageDataset:
    """Returns a dataset whose items say which of their channels are used: as given, or as found."""
    notes: tuple[str, ...] = ()
    if channels is None:
        channels = channels_of(dataset.items) or _all_bands(dataset)
        if not channels or channels == channels_of(dataset.items):
            return dataset
        notes = (
            f"Images have {len(channels)} bands, and all of them are used; --channels 4,3,2 (channels=...) names some.",
        )
    elif tuple(channels) == channels_of(dataset.items):
        return dataset
    elif channels:
        peek_counts(dataset.items)  # refuses images that nothing here can read
    numbers = check_channels(channels)
    is_rgb = num_channels(numbers) == RGB
    if not is_rgb:
        seen = "as gray" if len(numbers) == 1 else "in false color, mixed from the bands without regard to the classes"
        notes += (f"Pictures, quality checks and the similarity to ImageNet see the images {seen}.",)
    mixing = () if is_rgb else find_mixing(with_channels(dataset.items, numbers), numbers)
    return replace(dataset, items=with_channels(dataset.items, numbers, mixing), notes=(*dataset.notes, *notes))


def _all_bands(dataset: ImageDataset) -> tuple[int, ...]:
    """Returns the numbers of all bands of a dataset's images; `()` if they are gray, RGB or RGBA."""
    found = peek_counts(dataset.items)
    if not found - {0}:
        return ()
    if len(found) > 1 or max(found) > MAX_CHANNELS:
        counts = ", ".join("1, 3 or 4" if count == 0 else str(count) for count in sorted(found))
        raise DatasetError(
            f"Expected images with the same number of bands, up to {MAX_CHANNELS}. Received: {dataset.source!r} with "
            f"{counts} bands. Name the bands to use with --channels 4,3,2 (channels=...)."
        )
    return tuple(range(1, max(found) + 1))


def _is_list_of_files(source: Any) -> bool:
    is_list = isinstance(source, list | tuple) and bool(source) and all(map(is_path, source))
    return is_list and not is_tfrecord(source) and not is_webdataset(source)


def _are_arrays(source: Any) -> bool:
    """Returns whether a source is images, and neither paths nor pairs with a label."""
    if isinstance(source, list) and source:
        return not all(map(is_path, source)) and not are_pairs(source)
    return isinstance(source, np.ndarray | list)
