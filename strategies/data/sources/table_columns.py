"""What the columns of a table are: by their names, by other words for these, by flags, or by what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.data.dataset import EXTENSIONS
from strategies.data.sources.labels import cell_text, several_labels
from strategies.data.sources.paths import SPLIT_NAMES, ends_in
from strategies.errors import DatasetError, few, listed

if TYPE_CHECKING:
    import pandas as pd

SPELLINGS = {  # of the columns, without spaces, punctuation and capitals
    "path": ("path", "filepath", "filename", "file", "image", "imagepath", "imagename", "imagefile", "imageid", "img"),
    "label": ("label", "labels", "class", "classname", "category", "target", "emotion", "choice"),
    "split": ("split", "subset", "partition", "usage"),
    "group": ("group",),
}
SPLIT_WORDS = SPLIT_NAMES | {"publictest": "val", "privatetest": "test"}
SPLIT_FLAGS = {f"{start}{word}": split for start in ("is", "") for word, split in SPLIT_NAMES.items()}  # is_valid
FLAGS = {"0": False, "0.0": False, "false": False, "no": False, "1": True, "1.0": True, "true": True, "yes": True}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that is being read.

    Attributes:
        frame: Its rows and columns.
        source: Where it comes from, in a few words.
        root: Folder that its paths are relative to.
        notes: What was taken for what, so far.
        has_header: Whether its first line names the columns. Otherwise, they are called "1", "2" and so on.
    """

    frame: pd.DataFrame
    source: str
    root: Path
    notes: list[str] = field(default_factory=list)
    has_header: bool = True

    def texts(self, column: Any) -> list[str]:
        """Returns the cells of a column as text."""
        return list(map(cell_text, self.frame[column].tolist()))


def find_column(name: str, named: str | None, table: Table) -> Any:
    """Returns the column that the user named, or that bears the name, or the only one with a known spelling of it."""
    there = list(table.frame.columns)
    if named is not None or name in there:
        if (named or name) not in there:
            raise no_column(name, repr(named), table)
        return named or name
    known = [column for column in there if _spelled(column) in SPELLINGS[name]]
    if len(known) > 1:
        raise no_column(name, f"{name!r}, or one column with another word for it", table)
    if known:
        table.notes.append(f"The column {str(known[0])!r} is taken as the {name}; --column {name}=... names another.")
    return known[0] if known else None


def _spelled(column: Any) -> str:
    return re.sub(r"[\W_]", "", str(column)).lower()


def columns_of_data(table: Table) -> dict[str, Any]:
    """Returns what the columns of a table without a header are, as far as their cells tell."""
    columns = list(table.frame.columns)
    path = next((name for name in columns if ends_in(str(table.frame[name].iloc[0]).strip(), *EXTENSIONS)), None)
    if path is None:
        found = {"label": columns[0]}  # and pixels in the others
    else:
        found, others = {"path": path}, [name for name in columns if name != path]
        splits = [name for name in others if {text.lower() for text in table.texts(name)} <= SPLIT_WORDS.keys()]
        found |= {"split": splits[0]} if len(splits) == 1 and len(others) > 1 else {}
        rest = [name for name in others if name not in found.values()]
        found |= {"label": rest[0]} if len(rest) == 1 else {}
    taken = listed([f"column {column} as the {name}" for name, column in found.items()], len(found))
    table.notes.append(
        f"The first line of the table names no columns. By what is in them, {taken} "
        f"{'is' if len(found) == 1 else 'are'} taken; --column label=... names another."
    )
    return found


def no_column(name: str, expected: str, table: Table) -> DatasetError:
    """Returns the error for a column that is not there: it names those that are."""
    there = f"the columns {few(list(map(str, table.frame.columns)), 20)}"
    if not table.has_header:
        cells = [f"{column} ({str(cell)!r})" for column, cell in table.frame.iloc[0].items()]
        there = f"no names in the first line, but the columns {listed(cells, 20)}"
    return DatasetError(
        f"Expected a column {expected}. Received: {table.source!r} with {there}. "
        f"Name the right column with {name}_column=... (--column {name}=...)."
    )


def split_flags(table: Table, *, bare: bool) -> dict[Any, list[str]]:
    """Returns the columns of flags that tell a split, such as `is_valid`: for each row the split, or `""`.

    Args:
        table: The table.
        bare: Whether a column may be called `valid`, without `is`. If there are no labels, it may be a class.
    """
    found = {}
    for column in table.frame.columns:
        split = SPLIT_FLAGS.get(_spelled(column)) if bare or _spelled(column).startswith("is") else None
        cells = [text.lower() for text in table.texts(column)] if split else []
        if split and set(cells) <= FLAGS.keys() and len({FLAGS[cell] for cell in cells}) == 2:
            found[column] = [split if FLAGS[cell] else "" for cell in cells]
    return found


def flagged_split(table: Table, flags: Mapping[Any, Sequence[str]]) -> list[str]:
    """Returns the split of each row; without a flag, the first of train, test and val that no column stands for."""
    used = {part for parts in flags.values() for part in parts}
    rest = next((part for part in ("train", "test", "val") if part not in used), "")
    chosen = [set(parts) - {""} or {rest} for parts in zip(*flags.values(), strict=True)]
    names = few(list(map(str, flags)))
    if any(len(parts) > 1 or "" in parts for parts in chosen):
        raise DatasetError(
            f"Expected one split for each image. Received: {table.source!r}, whose columns {names} give one image none "
            f"or several. Correct them, or leave the columns out."
        )
    others = f", and the other images are {rest}" if rest else ""
    table.notes.append(f"The split is taken from {names}{others}; --column split=... names another column.")
    return [part for parts in chosen for part in parts]


def one_hot(table: Table, others: Sequence[Any]) -> dict[str, list[Any]]:
    """Returns labels from columns of zeros and ones, one for each class; nothing if there are no such columns."""
    columns = {name: [text.lower() for text in table.texts(name)] for name in others}
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
    table.notes.append(
        f"The columns {few(list(map(str, flags)))} of zeros and ones are taken as the classes; --column label=... "
        f"names one column of labels."
    )
    return {"label": labels}
