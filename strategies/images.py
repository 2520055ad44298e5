"""Folder, CSV, DataFrame, arrays or tf.data -> `ImageDataset`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strategies.errors import DatasetError, in_a_sentence
from strategies.progress import track

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SIDECARS = ("thumbs.db", "desktop.ini")
_COLUMNS = {name: name for name in ("path", "label", "split", "group")}
_SOURCES = "a class folder, a CSV file, a DataFrame, arrays (x, y) or a tf.data.Dataset of images and labels"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageDataset:
    """Images, each with its class.

    Attributes:
        class_names: Names in the order of the class indices; `()` when unlabelled.
        labels: Class index of each image, shape `(num_images,)`, int64; -1 when unlabelled.
        items: Files, or arrays of shape `(height, width)` or `(height, width, 1 | 3 | 4)` and values 0-255.
        names: What a report calls each image: the path relative to the root, or `"image 17"`.
        source: What the images come from, in a few words, such as the folder as the user gave it.
        split: `"train"`, `"val"` or `"test"` for each image; before `split_dataset` only where the user gave it.
        group: Images of one group (a patient, a video) stay on one side of the split.
        ignored: Files that lie among the images but are not used, by name.
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    items: Sequence[Path] | Sequence[np.ndarray]
    names: tuple[str, ...]
    source: str
    split: tuple[str | None, ...] | None = None
    group: tuple[str, ...] | None = None
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns: dict[str, Sized | None] = {
            "labels": self.labels,
            "names": self.names,
            "split": self.split,
            "group": self.group,
        }
        for name, column in columns.items():
            if column is not None and len(column) != len(self.items):
                raise DatasetError(
                    f"Expected one entry per image. Received: {len(self.items)} images, {len(column)} {name}. "
                    f"Give as many {name} as images."
                )

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"ImageDataset({len(self)} images, {len(self.class_names)} classes, from {self.source!r})"

    def subset(self, indices: Iterable[int]) -> ImageDataset:
        """Returns the images at `indices`, in that order; the classes stay the same."""
        chosen = [int(index) for index in indices]
        items: list[Any] = [self.items[index] for index in chosen]
        return replace(
            self,
            labels=self.labels[np.array(chosen, dtype="int64")],
            items=items,
            names=tuple(self.names[index] for index in chosen),
            split=self.split and tuple(self.split[index] for index in chosen),
            group=self.group and tuple(self.group[index] for index in chosen),
        )


def load_dataset(
    source: Any,
    *,
    path_column: str = "path",
    label_column: str = "label",
    split_column: str = "split",
    group_column: str = "group",
    root: str | Path | None = None,
    for_training: bool = True,
) -> ImageDataset:
    """Lists labelled images without decoding files.

    Args:
        source: A class folder (`root/<class>/*`, or `root/{train,val,test}/<class>/*`, which is respected), a pandas
            DataFrame or the path of a CSV file (columns `path,label[,split,group]`), arrays `(x, y)` of values 0-255
            and shape `(num_images, height, width[, channels])`, a `tf.data.Dataset` of images and labels, batched or
            not, which is read into memory once, or an `ImageDataset`, which is returned as it is.
        path_column: Column of a table with the files; `label_column`, `split_column` and `group_column` likewise.
        root: Folder that a table's paths are relative to; default: the CSV file's, or the working folder.
        for_training: Whether there must be two classes with two images each; `False` takes what there is.

    Returns:
        An `ImageDataset`. Classes are sorted as text; whole numbers in arrays keep the order of the numbers, so labels
        0 to n - 1 are the class indices.

    Raises:
        DatasetError: If there are not two classes with two images each, or one image has several labels.

    Example:
        >>> import numpy as np
        >>> from strategies.images import load_dataset
        >>> dataset = load_dataset((np.zeros((4, 32, 32, 3), dtype="uint8"), ["dog", "cat", "cat", "dog"]))
        >>> dataset.class_names, dataset.labels.tolist()
        (('cat', 'dog'), [1, 0, 0, 1])
    """
    columns = {"path": path_column, "label": label_column, "split": split_column, "group": group_column}
    is_path = isinstance(source, str | os.PathLike)
    is_csv = is_path and Path(source).suffix.lower() == ".csv"
    is_frame = type(source).__module__.startswith("pandas") and hasattr(source, "columns")
    if not (is_csv or is_frame) and (root is not None or columns != _COLUMNS):
        raise DatasetError(
            "Expected a CSV file or a DataFrame together with a root or column names. Received: another source, for "
            "which they have no effect. Leave them out."
        )
    if isinstance(source, ImageDataset):
        return source
    if is_csv:
        path = _existing(source)
        dataset = _from_table(_read_csv(path), str(source), path.parent if root is None else Path(root), columns)
    elif is_frame:
        dataset = _from_table(source, "DataFrame", Path() if root is None else Path(root), columns)
    elif is_path:
        dataset = _from_class_folder(_existing_folder(source, _SOURCES), str(source))
    elif hasattr(source, "element_spec"):
        images, labels = _read_tf_data(source, labelled=True)
        dataset = _from_arrays(images, labels, "tf.data.Dataset")
    elif isinstance(source, tuple) and len(source) == 2:
        dataset = _from_arrays(source[0], source[1], "arrays")
    else:
        raise DatasetError(f"Expected {_SOURCES}. Received: {type(source).__name__}. Give one of these.")
    if for_training:
        check_classes(dataset)
    return dataset


def load_images(source: Any) -> ImageDataset:
    """Lists images whose labels are not needed.

    Args:
        source: A folder (all images below it), a list of files, an array of shape `(num_images, height, width[,
            channels])` and values 0-255, a list of arrays, a `tf.data.Dataset` of images or of images and labels, or
            an `ImageDataset`; labels are dropped.

    Raises:
        DatasetError: If there is no image.
    """
    if isinstance(source, ImageDataset):
        return replace(source, class_names=(), labels=np.full(len(source), -1, dtype="int64"))
    ignored: list[str] = []
    items: Sequence[Any]
    if isinstance(source, str | os.PathLike):
        root = _existing_folder(source, "a folder of images or a list of files")
        items, ignored = list_files(root)
        names, text = [_name(path, root) for path in items], str(source)
    elif isinstance(source, list | tuple) and source and all(isinstance(item, str | os.PathLike) for item in source):
        items, names, text = [Path(item) for item in source], [str(item) for item in source], "list of files"
        _check_any_exists(items, text)
    else:
        is_tf = hasattr(source, "element_spec")
        items = _check_arrays(_read_tf_data(source, labelled=False)[0] if is_tf else source)
        names, text = _numbered(items), "tf.data.Dataset" if is_tf else "arrays"
    if not items:
        raise DatasetError(f"Expected images. Received: {text!r} with none. Images end in {', '.join(EXTENSIONS)}.")
    return ImageDataset(
        class_names=(),
        labels=np.full(len(items), -1, dtype="int64"),
        items=items,
        names=tuple(names),
        source=text,
        ignored=tuple(ignored),
    )


def check_classes(dataset: ImageDataset) -> None:
    """Checks that there are two classes or more, each with two images or more, and each in the training split.

    Raises:
        DatasetError: If not; the text names the classes.
    """
    expected = "Expected two or more classes with at least two images each."
    source, names = dataset.source, dataset.class_names
    if not len(dataset):
        raise DatasetError(f"{expected} Received: {source!r} with no image. Images end in {', '.join(EXTENSIONS)}.")
    if (dataset.labels < 0).any():
        raise DatasetError(f"{expected} Received: {source!r} without labels. Put each class into a folder of its own.")
    counts = np.bincount(dataset.labels, minlength=len(names))
    for number, received, mend in (
        (0, "no image of", "Add images or remove the empty folders."),
        (1, "only one image of", "Add images or remove the class: one image cannot both train and test."),
    ):
        short = [name for name, count in zip(names, counts, strict=True) if count == number]
        if short:
            raise DatasetError(f"{expected} Received: {source!r} with {received} {few(short)}. {mend}")
    if len(names) < 2:
        raise DatasetError(f"{expected} Received: {source!r} with one class, {few(names)}. Add another class.")
    if dataset.split is None:
        return
    trained = {int(label) for label, part in zip(dataset.labels, dataset.split, strict=True) if part in ("train", None)}
    absent = [name for index, name in enumerate(names) if index not in trained]
    if absent:
        raise DatasetError(
            f"Expected training images of every class. Received: {source!r} with none of {few(absent)} in the train "
            f"split. Move some there or remove the class."
        )


def few(names: Sequence[str], most: int = 5) -> str:
    """Returns the first few names for a sentence, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def _existing(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if not path.exists():
        raise DatasetError(f"Expected {_SOURCES}. Received: {str(source)!r}, which does not exist. Check the path.")
    return path


def _existing_folder(source: str | os.PathLike[str], expected: str) -> Path:
    path = _existing(source)
    if not path.is_dir():
        raise DatasetError(f"Expected {expected}. Received: {str(source)!r}, another kind of file. Give its folder.")
    return path


def _from_class_folder(root: Path, source: str) -> ImageDataset:
    folders = _folders(root)
    kinds = {_SPLIT_NAMES[folder.name.lower()] for folder in folders if folder.name.lower() in _SPLIT_NAMES}
    has_splits = "train" in kinds and all(folder.name.lower() in _SPLIT_NAMES for folder in folders)
    if len(kinds) > 1 and "train" in kinds and not has_splits:
        raise DatasetError(
            f"Expected either class folders or train, val and test folders. Received: {source!r} with both, "
            f"{few([folder.name for folder in folders])}. Move the others away."
        )
    class_folders = [inner for folder in folders for inner in _folders(folder)] if has_splits else folders
    class_names = tuple(sorted({_name(folder, folder.parent) for folder in class_folders}))
    images, ignored = list_files(root)
    if not class_names:
        raise DatasetError(
            f"Expected one sub-folder per class. Received: {source!r} with none, and {len(images)} images outside of "
            f"class folders. Make a folder for each class and put its images there."
        )
    index_of = {name: index for index, name in enumerate(class_names)}
    depth = 1 if has_splits else 0
    items, labels, split = [], [], []
    for path in images:
        parts = _name(path, root).split("/")
        if len(parts) < depth + 2:  # lies above the class folders, so it has no class
            ignored.append("/".join(parts))
            continue
        items.append(path)
        labels.append(index_of[parts[depth]])
        split.append(_SPLIT_NAMES[parts[0].lower()] if has_splits else None)
    return ImageDataset(
        class_names=class_names,
        labels=np.array(labels, dtype="int64"),
        items=items,
        names=tuple(_name(path, root) for path in items),
        source=source,
        split=tuple(split) if has_splits else None,
        ignored=tuple(sorted(ignored)),
    )


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [root / name for name in sorted(names) if not name.startswith(".")]


def list_files(root: Path) -> tuple[list[Path], list[str]]:
    """Returns the images below `root` and the names of what else lies there; hidden files and folders do not count.

    Links to folders are not followed: they may lead out of the dataset or round in a circle.
    """
    images, ignored = [], []
    for parent, folders, files in os.walk(root, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        ignored += [_name(Path(parent, name), root) for name in links]
        for name in sorted(files):
            if name.startswith(".") or name.lower() in _SIDECARS:
                continue
            path = Path(parent, name)
            if path.suffix.lower() in EXTENSIONS:
                images.append(path)
            else:
                ignored.append(_name(path, root))
    return images, ignored


def _refuse_folder(error: OSError) -> None:
    raise DatasetError(
        f"Expected folders that can be read. Received: {error.filename!r} ({error.strerror}). Grant access to it or "
        f"remove it."
    )


def _name(path: Path, root: Path) -> str:
    return as_text(path.relative_to(root))


def as_text(path: Path) -> str:
    """Returns a path as text that can be written as UTF-8, whatever bytes the name holds."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# Tables


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        # As text, so that '01' stays '01' and a class may be called 'NA'.
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""], skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"Expected a CSV file in UTF-8. Received: {str(path)!r} ({in_a_sentence(error)}). Mend the file."
        ) from error


def _from_table(frame: pd.DataFrame, source: str, root: Path, columns: Mapping[str, str]) -> ImageDataset:
    there = list(frame.columns)
    for name, column in columns.items():
        if column not in there and (name in ("path", "label") or column != name):
            raise DatasetError(
                f"Expected a column {column!r}. Received: {source!r} with the columns {few(there, 20)}. "
                f"Name the right one with {name}_column=... (--column {name}=...)."
            )
    texts = {}
    for name, column in columns.items():
        cells = [_cell_text(cell) for cell in frame[column].tolist()] if column in there else []
        if any(cells) or name in ("path", "label"):
            _check_filled(cells, column, source)
            texts[name] = cells
    items = [root / path for path in texts["path"]]
    _check_any_exists(items, source)
    _check_one_label(items, texts["label"])
    class_names, labels = _encode(texts["label"])
    return ImageDataset(
        class_names=class_names,
        labels=labels,
        items=items,
        names=tuple(texts["path"]),
        source=source,
        split=tuple(_split_name(cell, source) for cell in texts["split"]) if "split" in texts else None,
        group=tuple(texts["group"]) if "group" in texts else None,
    )


def _cell_text(cell: Any) -> str:
    """Returns a cell as text; `""` if it is empty."""
    if isinstance(cell, list | tuple | set | frozenset | dict | np.ndarray):
        raise _several_labels(repr(cell))
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace")
    missing = cell is None or (not isinstance(cell, str) and str(cell) in ("nan", "<NA>", "NaT"))
    return "" if missing or not str(cell).strip() else str(cell)


def _check_filled(cells: Sequence[str], column: str, source: str) -> None:
    empty = [row for row, cell in enumerate(cells, start=1) if not cell]
    if empty:
        raise DatasetError(
            f"Expected a value in every row of the column {column!r}. Received: {source!r} with none in "
            f"{len(empty)} of {len(cells)} rows, first in row {empty[0]}. Fill them in or remove these rows."
        )


def _check_any_exists(items: Sequence[Path], source: str) -> None:
    if items and not any(path.exists() for path in items):
        raise DatasetError(
            f"Expected paths of image files. Received: {source!r}, none of whose {len(items)} files exist, such as "
            f"{str(items[0])!r}. Check the paths, or name the folder that they are relative to with root=... (--root)."
        )


def _check_one_label(items: Sequence[Path], labels: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for path, label in zip(items, labels, strict=True):
        first = known.setdefault(os.path.normpath(path), label)
        if first != label:
            raise _several_labels(f"{str(path)!r} with {first!r} and {label!r}")


def _split_name(cell: str, source: str) -> str:
    name = _SPLIT_NAMES.get(cell.strip().lower())
    if name is None:
        raise DatasetError(
            f"Expected a split of {', '.join(SPLITS)}. Received: {cell!r} in {source!r}. Correct it or leave the "
            f"column out."
        )
    return name


def _several_labels(received: str) -> DatasetError:
    return DatasetError(
        f"Expected one label per image: multi-label classification is not supported. Received: {received}. "
        f"Keep one label of each image."
    )


# Arrays and tf.data


def _from_arrays(images: Any, labels: Any, source: str) -> ImageDataset:
    items = _check_arrays(images)
    class_names, indices = _encode(labels)
    return ImageDataset(
        class_names=class_names, labels=indices, items=items, names=tuple(_numbered(items)), source=source
    )


def _numbered(items: Sequence[Any]) -> list[str]:
    return [f"image {index}" for index in range(len(items))]


def _encode(labels: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns class names and indices of labels: numbers, text, or one-hot rows."""
    try:
        values = np.asarray(labels)
    except ValueError:  # rows of different length
        raise _several_labels("rows of several labels") from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        if values.dtype.kind not in "uifb" or ((values != 0) & (values != 1)).any() or (values.sum(axis=1) != 1).any():
            raise _several_labels(f"labels of shape {values.shape} whose rows are not one-hot")
        values = values.argmax(axis=1)
    if values.dtype.kind in "SUO":
        texts = [_cell_text(value) for value in values.tolist()]
        _check_filled(texts, "labels", "arrays")
        values = np.array(texts, dtype=object)
    elif values.ndim != 1 or values.dtype.kind not in "uifb" or (values != np.floor(values)).any():
        raise DatasetError(
            f"Expected one class per image, as text or a whole number. Received: labels of shape {values.shape} and "
            f"type {values.dtype}. Give classes, not measurements."
        )
    elif values.dtype.kind == "f":
        values = values.astype("int64")
    names, indices = np.unique(values, return_inverse=True)
    return tuple(str(name) for name in names.tolist()), indices.astype("int64")


def _check_arrays(images: Any) -> list[np.ndarray]:
    """Returns images as a list of arrays after checking shapes and values."""
    if not isinstance(images, list | tuple):
        images = np.asarray(images)
        if images.ndim not in (3, 4) or (images.ndim == 3 and images.shape[-1] in (1, 3, 4)):
            raise _wrong_arrays(f"one array of shape {images.shape}", "Put the images first: (num_images, ...)")
    arrays = [np.asarray(image) for image in images]
    largest = 0.0
    for index, array in enumerate(arrays):
        is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
        if not is_image or not array.size or array.dtype.kind not in "uif":
            raise _wrong_arrays(f"image {index} of shape {array.shape} and type {array.dtype}", "Convert it")
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 255):  # NaN is neither
            raise _wrong_arrays(f"image {index} with values from {low:g} to {high:g}", "Scale the images to 0-255")
        largest = max(largest, high)
    if largest <= 1 and any(array.dtype.kind == "f" for array in arrays):
        raise _wrong_arrays(f"floats that are nowhere above {largest:g}", "Multiply the images by 255")
    return arrays


def _wrong_arrays(received: str, mend: str) -> DatasetError:
    return DatasetError(
        f"Expected images of shape (height, width) or (height, width, 1, 3 or 4 channels) with values 0-255. "
        f"Received: {received}. {mend}."
    )


def _read_tf_data(source: Any, *, labelled: bool) -> tuple[list[np.ndarray], Any]:
    """Reads a `tf.data.Dataset` once, image by image."""
    cardinality = int(source.cardinality())
    if cardinality == -1:  # tf.data.INFINITE_CARDINALITY
        raise DatasetError(
            "Expected a tf.data.Dataset that ends. Received: one that repeats forever. Leave out .repeat() or add "
            ".take()."
        )
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    total = cardinality if cardinality >= 0 else None
    for element in track(source.as_numpy_iterator(), "Reading the tf.data.Dataset", total=total):
        is_pair = isinstance(element, tuple) and len(element) == 2
        image = element[0] if is_pair else element
        if not isinstance(image, np.ndarray) or (labelled and not is_pair):
            raise DatasetError(
                f"Expected a tf.data.Dataset of pairs (image, label). Received: {source.element_spec}. Use .map() to "
                f"make pairs."
            )
        batched = image.ndim == 4
        images += list(image) if batched else [image]
        if labelled:
            labels.append(np.asarray(element[1]) if batched else np.asarray(element[1])[np.newaxis])
    return images, np.concatenate(labels) if labels else []
