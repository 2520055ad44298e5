"""Tables with a row for each image: CSV, Parquet and JSON files, and DataFrames."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.data.dataset import SPLITS, ImageDataset
from strategies.data.sources.arrays import numbered
from strategies.data.sources.json_labels import read_labels
from strategies.data.sources.labels import (
    cell_text,
    check_filled,
    encode_labels,
    several_labels,
    stripped_note,
    whole_text,
)
from strategies.data.sources.paths import existing_file
from strategies.data.sources.pixel_columns import read_pixels
from strategies.data.sources.table_columns import (
    SPELLINGS,
    SPLIT_WORDS,
    Table,
    columns_of_data,
    find_column,
    flagged_split,
    no_column,
    one_hot,
    split_flags,
)
from strategies.data.sources.table_files import check_any_exists, find_files
from strategies.data.sources.text_tables import read_text_table
from strategies.data.sources.unused import NO_LABEL
from strategies.errors import DatasetError, in_a_sentence

if TYPE_CHECKING:
    import pandas as pd


def is_frame(source: Any) -> bool:
    """Returns whether `source` is a pandas DataFrame, without importing pandas."""
    return type(source).__module__.startswith("pandas") and hasattr(source, "columns")


def read_frame(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a DataFrame. Paths are relative to `root`; default: the working folder."""
    return _from_table(Table(frame=source, source="DataFrame", root=Path() if root is None else Path(root)), columns)


def is_other_frame(source: Any) -> bool:
    """Returns whether `source` is a DataFrame of polars or a table of pyarrow, without importing either."""
    return type(source).__module__.split(".")[0] in ("polars", "pyarrow") and hasattr(source, "to_pandas")


def read_other_frame(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a DataFrame of polars or a table of pyarrow, like one of pandas."""
    import pandas

    # Not by their own conversion, for which polars needs pyarrow.
    cells = source.to_pydict() if hasattr(source, "to_pydict") else source.to_dict(as_series=False)
    return read_frame(pandas.DataFrame(cells), root=root, **columns)


def read_csv(
    source: Any, *, root: str | Path | None = None, encoding: str | None = None, **columns: str
) -> ImageDataset:
    """Reads a table of text, separated by commas, semicolons, tabs, bars or spaces; see `read_text_table`.

    All cells are text: '01' stays '01', and a class may be called 'NA'.
    """

    def read(path: Path, notes: list[str]) -> tuple[pd.DataFrame, bool]:
        return read_text_table(path, encoding, notes)

    return _from_file(source, "a table as CSV", read, root, columns)


def read_json(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a JSON file of labels; see `read_labels`. Images without a label are not used, and listed."""
    unlabeled: dict[str, str] = {}

    def read(path: Path, _: list[str]) -> tuple[pd.DataFrame, bool]:
        import pandas

        found = read_labels(path.read_text(encoding="utf-8-sig"))
        unlabeled.update(dict.fromkeys(found.unlabeled, NO_LABEL))
        return pandas.DataFrame(found.rows), True

    return replace(_from_file(source, "a JSON file of labels", read, root, columns), ignored=unlabeled)


def read_parquet(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a Parquet file; needs pyarrow."""

    def read(path: Path, _: list[str]) -> tuple[pd.DataFrame, bool]:
        import pandas

        try:
            return pandas.read_parquet(path, engine="pyarrow"), True
        except ImportError as error:
            raise DatasetError(
                f"Expected pyarrow, to read Parquet files. Received: {str(path)!r} and an environment without it "
                f"({in_a_sentence(error)}). Run: pip install pyarrow."
            ) from error

    return _from_file(source, "a Parquet file", read, root, columns)


def _from_file(
    source: str | os.PathLike[str],
    expected: str,
    read: Callable[[Path, list[str]], tuple[pd.DataFrame, bool]],
    root: str | Path | None,
    columns: Mapping[str, str],
) -> ImageDataset:
    path, notes = existing_file(source, expected), list[str]()
    try:
        frame, has_header = read(path, notes)
    except DatasetError:
        raise
    except Exception as error:  # pandas and pyarrow raise different errors for different faults
        raise DatasetError(
            f"Expected {expected}. Received: {str(path)!r} ({in_a_sentence(error)}). Fix the file."
        ) from error
    folder = path.parent if root is None else Path(root)
    return _from_table(Table(frame=frame, source=str(source), root=folder, notes=notes, has_header=has_header), columns)


def _from_table(table: Table, named: Mapping[str, str]) -> ImageDataset:
    frame, source, notes = table.frame, table.source, table.notes
    guessed = {} if table.has_header else columns_of_data(table)
    columns = {name: find_column(name, named.get(f"{name}_column") or guessed.get(name), table) for name in SPELLINGS}
    raw = {name: frame[column].tolist() for name, column in columns.items() if column is not None}
    flags = {} if "split" in raw else split_flags(table, bare="label" in raw)
    if flags:
        raw["split"] = flagged_split(table, flags)
    if "label" not in raw and "path" in raw:
        raw |= one_hot(table, [column for column in frame.columns if column not in (*columns.values(), *flags)])
    images = None if "path" in raw else read_pixels(frame, columns["label"], source, notes)
    missing = [name for name in ("path", "label") if name not in raw and (name != "path" or images is None)]
    if missing:
        raise no_column(missing[0], repr(missing[0]), table)
    texts = {}
    for name, values in raw.items():
        cells = list(map(whole_text if name == "path" else cell_text, values))
        if any(cells) or name in ("path", "label"):
            check_filled(cells, str(columns[name] or name), source)
            texts[name] = cells
    items: Sequence[Any] = images or []
    if "path" in texts:
        names = find_files(texts["path"], table.root, notes)
        items = [table.root / path for path in names]
        check_any_exists(items, source)
        _check_one_label(items, texts["label"])
    class_names, labels = encode_labels(texts["label"])
    return ImageDataset(
        class_names=class_names,
        labels=labels,
        items=items,
        names=tuple(names if "path" in texts else numbered(items)),
        source=source,
        split=tuple(_split_name(cell, source) for cell in texts["split"]) if "split" in texts else None,
        group=tuple(texts["group"]) if "group" in texts else None,
        notes=(*notes, *stripped_note(raw["label"])),
    )


def _check_one_label(items: Sequence[Path], labels: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for path, label in zip(items, labels, strict=True):
        first = known.setdefault(os.path.normpath(path), label)
        if first != label:
            raise several_labels(f"{str(path)!r} with {first!r} and {label!r}")


def _split_name(cell: str, source: str) -> str:
    name = SPLIT_WORDS.get(cell.strip().lower())
    if name is None:
        raise DatasetError(
            f"Expected a split of {', '.join(SPLITS)}. Received: {cell!r} in {source!r}. Correct it, or leave "
            f"the column out."
        )
    return name
