"""The forms that a dataset may have, as rows: how to recognize and read each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from strategies.data.dataset import EXTENSIONS, ImageDataset
from strategies.data.sources.archives import is_archive, read_archive
from strategies.data.sources.arrays import are_pairs, is_pair, read_arrays, read_pairs
from strategies.data.sources.folders import read_folder
from strategies.data.sources.hub import is_hub_dataset, read_hub_dataset
from strategies.data.sources.map_style import is_map_style, read_map_style
from strategies.data.sources.npz import read_npz
from strategies.data.sources.parts import is_parts, read_parts
from strategies.data.sources.paths import ends_in, is_path
from strategies.data.sources.remote import is_url, read_url
from strategies.data.sources.shards import is_tfrecord, is_webdataset, read_tfrecord, read_webdataset
from strategies.data.sources.streams import (
    is_builder,
    is_py_dataset,
    is_tf_data,
    is_with_info,
    read_builder,
    read_py_dataset,
    read_tf_data,
    read_with_info,
)
from strategies.data.sources.tables import (
    is_frame,
    is_other_frame,
    read_csv,
    read_frame,
    read_json,
    read_other_frame,
    read_parquet,
)
from strategies.errors import DatasetError

TEXT_TABLES = (".csv", ".tsv", ".tab", ".txt")
JSON_FILES = (".json", ".jsonl", ".ndjson")
TABLE_OPTIONS = ("path_column", "label_column", "split_column", "group_column", "root")


@dataclass(frozen=True)
class Source:
    """A form that a dataset may have.

    Attributes:
        form: What it is, in words.
        recognizes: Returns whether a source has this form. It opens no file except tar files and imports nothing heavy.
        read: Reads a source of this form as an `ImageDataset`.
        options: Keyword arguments that `read` takes.
    """

    form: str
    recognizes: Callable[[Any], bool]
    read: Callable[..., ImageDataset]
    options: tuple[str, ...] = ()


# The first row that recognizes a source reads it. Any other path is taken as a class folder, even a missing one.
SOURCES = (
    Source("an ImageDataset", lambda source: isinstance(source, ImageDataset), lambda source: source),
    Source("a pandas DataFrame", is_frame, read_frame, TABLE_OPTIONS),
    Source("a polars DataFrame or pyarrow table", is_other_frame, read_other_frame, TABLE_OPTIONS),
    Source("a class folder", lambda source: is_path(source) and os.path.isdir(source), read_folder, ("follow_links",)),
    Source("a URL of a class folder in object storage", is_url, read_url),
    Source("a CSV file", lambda source: ends_in(source, *TEXT_TABLES), read_csv, (*TABLE_OPTIONS, "encoding")),
    Source("a Parquet file", lambda source: ends_in(source, ".parquet"), read_parquet, TABLE_OPTIONS),
    Source("a JSON file of labels", lambda source: ends_in(source, *JSON_FILES), read_json, TABLE_OPTIONS),
    Source("an .npz file with x and y", lambda source: ends_in(source, ".npz"), read_npz),
    Source("TFRecord files", is_tfrecord, read_tfrecord),
    Source("WebDataset tar shards", is_webdataset, read_webdataset),
    Source("a zip, tar, tar.gz or tar.bz2 of a class folder", is_archive, read_archive),
    Source("a datasets.Dataset", is_hub_dataset, read_hub_dataset),
    Source("a TFDS dataset with its info", is_with_info, read_with_info),
    Source("a TFDS builder", is_builder, read_builder),
    Source("a tf.data.Dataset of images and labels", is_tf_data, read_tf_data),
    Source("a keras.utils.PyDataset", is_py_dataset, read_py_dataset),
    Source("a dictionary of train, val and test", is_parts, lambda source: read_parts(source, read=_read_any)),
    Source("arrays (x, y)", is_pair, read_arrays),
    Source("a list of pairs (image, label)", are_pairs, read_pairs),
    Source("a PyTorch dataset of pairs (image, label)", is_map_style, read_map_style),
    Source(
        "the path of one of these", is_path, lambda source, **options: _read_other(source, **options), ("follow_links",)
    ),
)

# Files of other kinds: how their names end, what they are, and what to do.
UNREAD = (
    ((".xlsx", ".xls", ".ods", ".numbers"), "a spreadsheet", "Save it as CSV, with the columns path and label"),
    ((".feather", ".arrow", ".sqlite", ".db"), "a table of another format", "Write it as CSV or Parquet"),
    (
        (".pkl", ".pickle", ".joblib", ".pt", ".pth"),
        "a file that may hold code",
        "Save arrays with np.savez(path, x=images, y=labels)",
    ),
    ((".npy",), "an array without its labels", "Save both in one file: np.savez(path, x=images, y=labels)"),
    (
        (".h5", ".hdf5", ".mat"),
        "a file of arrays of another format",
        "Save arrays with np.savez(path, x=images, y=labels)",
    ),
    (
        (".xz", ".txz", ".7z", ".rar", ".zst", ".lz4", ".bz2", ".gz"),
        "an archive of another format",
        "Unpack it, and give what was in it",
    ),
    (EXTENSIONS, "an image", "Give the folder that holds the class folders"),
)


def find_source(source: Any) -> Source:
    """Returns the row of `SOURCES` that reads a source.

    Raises:
        DatasetError: If no row recognizes the source.

    Example:
        >>> from strategies.data.sources.forms import find_source
        >>> find_source("photos.zip").form
        'a zip, tar, tar.gz or tar.bz2 of a class folder'
    """
    for row in SOURCES:
        if row.recognizes(source):
            return row
    forms = ", ".join(row.form for row in SOURCES[1:-1])
    raise DatasetError(
        f"Expected one of {forms}. Received: {type(source).__name__}. Give the images in one of these forms."
    )


def _read_other(source: Any, **options: Any) -> ImageDataset:
    """Reads a path that no other row recognizes as a class folder. A file is refused."""
    if not os.path.isfile(source):
        return read_folder(source, **options)
    what, advice = next(
        ((what, advice) for suffixes, what, advice in UNREAD if ends_in(source, *suffixes)),
        ("a file of an unknown kind", "Give the images in one of these forms"),
    )
    raise DatasetError(
        f"Expected a class folder, a table, an archive, or a file of arrays or records. Received: {str(source)!r}, "
        f"{what}. {advice}."
    )


def _read_any(source: Any) -> ImageDataset:
    return find_source(source).read(source)
