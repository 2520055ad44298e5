"""Tables with a row for each image: CSV files, Parquet files and DataFrames."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.data.dataset import SPLITS, ImageDataset
from strategies.data.sources.labels import cell_text, check_filled, encode_labels, several_labels
from strategies.data.sources.paths import SPLIT_NAMES, existing_file
from strategies.errors import DatasetError, few, in_a_sentence

if TYPE_CHECKING:
    import pandas as pd


def is_frame(source: Any) -> bool:
    """Returns whether `source` is a pandas DataFrame, without importing pandas."""
    return type(source).__module__.startswith("pandas") and hasattr(source, "columns")


def read_frame(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a DataFrame. Paths are relative to `root`; default: the working folder."""
    return _from_table(source, "DataFrame", Path() if root is None else Path(root), columns)


def read_csv(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a CSV file in UTF-8. All cells are text: '01' stays '01', and a class may be called 'NA'."""

    def read(path: Path, pandas: Any) -> pd.DataFrame:
        return pandas.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], skipinitialspace=True)

    return _from_file(source, "a CSV file in UTF-8", read, root, columns)


def read_parquet(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a Parquet file; needs pyarrow."""

    def read(path: Path, pandas: Any) -> pd.DataFrame:
        try:
            return pandas.read_parquet(path, engine="pyarrow")
        except ImportError as error:
            raise DatasetError(
                f"Expected pyarrow, to read Parquet files. Received: {str(path)!r} and an environment without it "
                f"({in_a_sentence(error)}). Run: pip install pyarrow."
            ) from error

    return _from_file(source, "a Parquet file", read, root, columns)


def _from_file(
    source: str | os.PathLike[str],
    expected: str,
    read: Callable[[Path, Any], pd.DataFrame],
    root: str | Path | None,
    columns: Mapping[str, str],
) -> ImageDataset:
    import pandas

    path = existing_file(source, expected)
    try:
        frame = read(path, pandas)
    except DatasetError:
        raise
    except Exception as error:  # pandas and pyarrow raise different errors for different faults
        raise DatasetError(
            f"Expected {expected}. Received: {str(path)!r} ({in_a_sentence(error)}). Fix the file."
        ) from error
    return _from_table(frame, str(source), path.parent if root is None else Path(root), columns)


def _from_table(frame: pd.DataFrame, source: str, root: Path, named: Mapping[str, str]) -> ImageDataset:
    columns = {name: named.get(f"{name}_column", name) for name in ("path", "label", "split", "group")}
    there = list(frame.columns)
    for name, column in columns.items():
        if column not in there and (name in ("path", "label") or column != name):
            raise DatasetError(
                f"Expected a column {column!r}. Received: {source!r} with the columns {few(there, 20)}. "
                f"Name the right column with {name}_column=... (--column {name}=...)."
            )
    texts = {}
    for name, column in columns.items():
        cells = [cell_text(cell) for cell in frame[column].tolist()] if column in there else []
        if any(cells) or name in ("path", "label"):
            check_filled(cells, column, source)
            texts[name] = cells
    items = [root / path for path in texts["path"]]
    check_any_exists(items, source)
    _check_one_label(items, texts["label"])
    class_names, labels = encode_labels(texts["label"])
    return ImageDataset(
        class_names=class_names,
        labels=labels,
        items=items,
        names=tuple(texts["path"]),
        source=source,
        split=tuple(_split_name(cell, source) for cell in texts["split"]) if "split" in texts else None,
        group=tuple(texts["group"]) if "group" in texts else None,
    )


def check_any_exists(items: Sequence[Path], source: str) -> None:
    """Raises a `DatasetError` if none of the files exists, since the root is then wrong."""
    if items and not any(path.exists() for path in items):
        raise DatasetError(
            f"Expected paths of image files. Received: {source!r} with {len(items)} paths, none of which exists, such "
            f"as {str(items[0])!r}. Check the paths, or give the folder that they are relative to as root=... (--root)."
        )


def _check_one_label(items: Sequence[Path], labels: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for path, label in zip(items, labels, strict=True):
        first = known.setdefault(os.path.normpath(path), label)
        if first != label:
            raise several_labels(f"{str(path)!r} with {first!r} and {label!r}")


def _split_name(cell: str, source: str) -> str:
    name = SPLIT_NAMES.get(cell.strip().lower())
    if name is None:
        raise DatasetError(
            f"Expected a split of {', '.join(SPLITS)}. Received: {cell!r} in {source!r}. Correct it, or leave "
            f"the column out."
        )
    return name
