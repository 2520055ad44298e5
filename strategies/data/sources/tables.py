"""Tables with a row for each image: CSV files, Parquet files and DataFrames."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.data.dataset import EXTENSIONS, SPLITS, ImageDataset
from strategies.data.sources.labels import (
    cell_text,
    check_filled,
    encode_labels,
    several_labels,
    stripped_note,
    whole_text,
)
from strategies.data.sources.paths import SPLIT_NAMES, existing_file
from strategies.errors import DatasetError, few, in_a_sentence

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SPELLINGS = {  # of the columns, without spaces, punctuation and capitals
    "path": ("path", "filepath", "filename", "file", "image", "imagepath", "imagename", "imagefile", "imageid", "img"),
    "label": ("label", "class", "classname", "category", "target"),
    "split": ("split", "subset", "partition"),
    "group": ("group",),
}
FLAGS = {"0": False, "0.0": False, "False": False, "1": True, "1.0": True, "True": True}


def is_frame(source: Any) -> bool:
    """Returns whether `source` is a pandas DataFrame, without importing pandas."""
    return type(source).__module__.startswith("pandas") and hasattr(source, "columns")


def read_frame(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a DataFrame. Paths are relative to `root`; default: the working folder."""
    return _from_table(source, "DataFrame", Path() if root is None else Path(root), columns)


def read_csv(source: Any, *, root: str | Path | None = None, **columns: str) -> ImageDataset:
    """Reads a CSV file in UTF-8 or UTF-16, separated by commas, semicolons, tabs or bars.

    All cells are text: '01' stays '01', and a class may be called 'NA'.
    """

    notes: list[str] = []

    def read(path: Path, pandas: Any) -> pd.DataFrame:
        encoding, separator = _dialect(path)
        if separator != ",":
            notes.append(f"The columns of the table are taken as separated by {SEPARATORS[separator]}.")
        return pandas.read_csv(
            path,
            sep=separator,
            encoding=encoding,
            dtype=str,
            keep_default_na=False,
            na_values=[""],
            skipinitialspace=separator != "\t",
        )

    return _from_file(source, "a CSV file in UTF-8", read, root, columns, notes)


def _dialect(path: Path) -> tuple[str, str]:
    """Returns the encoding and the separator of a table: a comma, unless the header has none but another separator."""
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    with path.open(encoding=encoding, errors="replace") as text:
        header = text.readline(10_000)
    return encoding, next((separator for separator in SEPARATORS if separator in header), ",")


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
    notes: Sequence[str] = (),
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
    return _from_table(frame, str(source), path.parent if root is None else Path(root), columns, notes)


def _from_table(
    frame: pd.DataFrame, source: str, root: Path, named: Mapping[str, str], read_notes: Sequence[str] = ()
) -> ImageDataset:
    there = list(frame.columns)
    notes = list(read_notes)
    columns = {name: _find_column(name, named.get(f"{name}_column"), there, source, notes) for name in SPELLINGS}
    raw = {name: frame[column].tolist() for name, column in columns.items() if column is not None}
    if "label" not in raw and "path" in raw:
        others = [column for column in there if column not in columns.values()]
        raw |= _one_hot({column: [cell_text(cell) for cell in frame[column].tolist()] for column in others}, notes)
    missing = [name for name in ("path", "label") if name not in raw]
    if missing:
        raise _no_column(missing[0], repr(missing[0]), there, source)
    texts = {}
    for name, values in raw.items():
        cells = list(map(whole_text if name == "path" else cell_text, values))
        if any(cells) or name in ("path", "label"):
            check_filled(cells, str(columns[name] or name), source)
            texts[name] = cells
    names = _find_files(texts["path"], root, notes)
    items = [root / path for path in names]
    check_any_exists(items, source)
    _check_one_label(items, texts["label"])
    class_names, labels = encode_labels(texts["label"])
    return ImageDataset(
        class_names=class_names,
        labels=labels,
        items=items,
        names=tuple(names),
        source=source,
        split=tuple(_split_name(cell, source) for cell in texts["split"]) if "split" in texts else None,
        group=tuple(texts["group"]) if "group" in texts else None,
        notes=(*notes, *stripped_note(raw["label"])),
    )


def _find_column(name: str, named: str | None, there: Sequence[Any], source: str, notes: list[str]) -> Any:
    """Returns the column that the user named, or that bears the name, or the only one with a known spelling of it."""
    if named is not None or name in there:
        if (named or name) not in there:
            raise _no_column(name, repr(named), there, source)
        return named or name
    known = [column for column in there if re.sub(r"[\W_]", "", str(column)).lower() in SPELLINGS[name]]
    if len(known) > 1:
        raise _no_column(name, f"{name!r}, or one column with another word for it", there, source)
    if known:
        notes.append(f"The column {str(known[0])!r} is taken as the {name}; --column {name}=... names another.")
    return known[0] if known else None


def _no_column(name: str, expected: str, there: Sequence[Any], source: str) -> DatasetError:
    return DatasetError(
        f"Expected a column {expected}. Received: {source!r} with the columns {few(there, 20)}. "
        f"Name the right column with {name}_column=... (--column {name}=...)."
    )


def _one_hot(columns: Mapping[Any, Sequence[str]], notes: list[str]) -> dict[str, list[Any]]:
    """Returns labels from columns of zeros and ones, one for each class; nothing if there are no such columns."""
    flags = {name: [FLAGS[cell] for cell in cells] for name, cells in columns.items() if set(cells) <= FLAGS.keys()}
    if len(flags) < 2:
        return {}
    labels = []
    for row in zip(*flags.values(), strict=True):
        chosen = [str(name) for name, flag in zip(flags, row, strict=True) if flag]
        if len(chosen) != 1:
            raise several_labels(
                f"the columns {few(list(map(str, flags)))} of zeros and ones, with {len(chosen)} ones in a row"
            )
        labels += chosen
    notes.append(
        f"The columns {few(list(map(str, flags)))} of zeros and ones are taken as the classes; --column label=... "
        f"names one column of labels."
    )
    return {"label": labels}


# What people's paths have, and how they are read if no file exists under the paths as they are.
_REPAIRS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Spaces around the paths were dropped.", str.strip),
    ("Backslashes in the paths are taken as slashes.", lambda path: path.strip().replace("\\", "/")),
)


def _find_files(paths: list[str], root: Path, notes: list[str]) -> list[str]:
    """Returns the paths; if no such file exists, paths that are repaired, of another computer, or without extension."""
    if any((root / path).exists() for path in paths):
        return paths
    for note, repair in _REPAIRS:
        repaired = [repair(path) for path in paths]
        if any((root / path).exists() for path in repaired):
            notes.append(note)
            return repaired
    slashed = [path.lstrip("/") for path in repaired]
    for start in range(1, max(path.count("/") for path in slashed) + 1):
        inner = ["/".join(path.split("/")[start:]) or path for path in slashed]
        if any((root / path).is_file() for path in inner):
            outer = repaired[0].removesuffix(inner[0])
            notes.append(f"Paths begin with {outer!r}, which is not here: the rest is looked up in {str(root)!r}.")
            return inner
    extensions = [*EXTENSIONS, *map(str.upper, EXTENSIONS)]
    found = {
        path: [f"{path}{extension}" for extension in extensions if (root / f"{path}{extension}").exists()]
        for path in slashed
    }
    if not any(found.values()):
        return paths
    several = next((names for names in found.values() if len(names) > 1), None)
    if several and not os.path.samefile(root / several[0], root / several[1]):
        raise DatasetError(
            f"Expected one file for each path of the table. Received: a path without extension and the files "
            f"{few(several)}. Add the extensions to the paths."
        )
    first = next(names[0] for names in found.values() if names)
    notes.append(f"Paths without extension are taken as the files of that name, such as {first!r}.")
    return [found[path][0] if found[path] else path for path in slashed]


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
