"""Tables as text: their encoding, what separates their columns, and whether their first line names these."""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from strategies.data.dataset import EXTENSIONS
from strategies.data.sources.paths import ends_in
from strategies.data.sources.pixel_columns import pixel_columns
from strategies.errors import DatasetError, few, in_a_sentence

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_MARKS = (  # at the start of a file, and the encoding that each stands for
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before the shorter mark of UTF-16
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿŠŽŒŸšžœªº\u2019]*")  # the letters of Windows-1252, and its apostrophe
_SAVE = (
    "Save the table as CSV in UTF-8, or name its encoding with encoding=... (--encoding), such as cp1250 or mac_roman"
)


def read_text_table(path: Path, encoding: str | None, notes: list[str]) -> tuple[pd.DataFrame, bool]:
    """Reads a table of text. All cells are text, except those of columns of pixels.

    Args:
        path: The file.
        encoding: Its encoding; `None` finds it.
        notes: What was taken for what is added to them.

    Returns:
        The table, and whether its first line names the columns. If not, they are called "1", "2" and so on.

    Raises:
        DatasetError: If the encoding cannot be told, or is not that of the file.
    """
    import pandas

    text = _decode(path.read_bytes(), encoding, str(path), notes)
    if hint := re.match(r'"?sep=(.)"?\r?\n', text):  # Excel's own way to name the separator
        text = text[hint.end() :]
    separator = hint[1] if hint else _separator(text)
    if separator != ",":
        notes.append(f"The columns of the table are taken as separated by {SEPARATORS.get(separator, separator)}.")
    first = next(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True), [])
    has_header = not _is_data(first)
    columns = [column.strip() for column in first] if has_header else [str(place + 1) for place in range(len(first))]
    with warnings.catch_warnings(record=True) as cut:
        warnings.simplefilter("always", pandas.errors.ParserWarning)
        frame = pandas.read_csv(
            io.StringIO(text),
            sep=r"\s+" if separator == " " else separator,
            dtype=dict.fromkeys(columns, "str") | dict.fromkeys(pixel_columns(columns), "float32"),
            keep_default_na=False,
            na_values=[""],
            skipinitialspace=separator != "\t",
            index_col=False,
            **({} if has_header else {"header": None, "names": columns}),
        )
    if any(issubclass(warning.category, pandas.errors.ParserWarning) for warning in cut):
        raise ValueError("rows with more cells than the first line")
    return frame, has_header


def _decode(content: bytes, encoding: str | None, source: str, notes: list[str]) -> str:
    """Returns the text of a table: in the encoding that is named or marked, else in UTF-8, else in Windows-1252."""
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if not marked and b"\0" in content[:2]:
        marked = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        return content.decode(encoding or marked or "utf-8")
    except (LookupError, ValueError) as error:
        received = in_a_sentence(error)
        if encoding or marked:
            raise _wrong_encoding(f"a table in {encoding or marked}", source, received) from error
    try:
        words = _accented(text := content.decode("cp1252"))
    except UnicodeDecodeError:
        words = []
    if not words or not _look_western(words):
        raise _wrong_encoding("a table in UTF-8", source, received)
    notes.append(
        f"The table is not in UTF-8 and is read as Windows-1252, as in {few(words, 3)}; --encoding names another."
    )
    return text


def _wrong_encoding(expected: str, source: str, received: str) -> DatasetError:
    return DatasetError(f"Expected {expected}. Received: {source!r} ({received}). {_SAVE}.")


def _accented(text: str) -> list[str]:
    """Returns the words that are not ASCII, each once."""
    return sorted({word for word in re.split(r"[\0-@\[-`{-\x7f]+", text) if not word.isascii()})


def _look_western(words: Sequence[str]) -> bool:
    """Returns whether words look like those of a Western European language, and not like another encoding misread.

    Most of their letters are ASCII, no other sign is inside a word, and no accented capital among its small letters.
    """
    inner = [word.strip("".join(char for char in word if not char.isalpha())) for word in words]
    letters = "".join(inner)
    accents = sum(char.isalpha() and not char.isascii() for char in letters)
    capitals = any(re.search(r"\B[À-ÖØ-ÞŠŽŒŸ][a-z]", word) for word in inner)
    return bool(_WESTERN.fullmatch(letters)) and accents <= len(letters) / 2 and not capitals


def _separator(text: str) -> str:
    """Returns the separator of the columns: a comma, unless the first line has none but another separator."""
    header = text.lstrip().partition("\n")[0]
    return next((separator for separator in SEPARATORS if separator in header), ",")


def _is_data(first: Sequence[str]) -> bool:
    """Returns whether the first line is a row of data: it names an image, or has nothing but numbers."""
    numbers = [re.fullmatch(r"\s*\d+(\.\d+)?\s*", cell) for cell in first]
    return any(ends_in(cell.strip(), *EXTENSIONS) for cell in first) or (any(numbers) and all(numbers))
