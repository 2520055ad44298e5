"""Streams of images and labels: `tf.data.Dataset`, `keras.utils.PyDataset` and TFDS. They are read into memory once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from strategies.data.dataset import ImageDataset
from strategies.data.sources.arrays import from_arrays
from strategies.data.sources.parts import read_parts
from strategies.display.progress import track
from strategies.errors import DatasetError, few


def is_tf_data(source: Any) -> bool:
    """Returns whether `source` is a `tf.data.Dataset`, without importing TensorFlow."""
    return hasattr(source, "element_spec") and hasattr(source, "as_numpy_iterator")


def is_py_dataset(source: Any) -> bool:
    """Returns whether `source` is a `keras.utils.PyDataset`, without importing Keras."""
    return any(base.__name__ == "PyDataset" and base.__module__.startswith("keras") for base in type(source).__mro__)


def is_with_info(source: Any) -> bool:
    """Returns whether `source` comes from `tfds.load(..., with_info=True)`: one or all splits, and their info."""
    is_theirs = isinstance(source, tuple) and len(source) == 2 and hasattr(source[1], "features")
    return is_theirs and (is_tf_data(source[0]) or isinstance(source[0], Mapping))


def is_builder(source: Any) -> bool:
    """Returns whether `source` is a `tfds.core.DatasetBuilder`, without importing tensorflow_datasets."""
    return callable(getattr(source, "as_dataset", None)) and hasattr(getattr(source, "info", None), "features")


def read_tf_data(source: Any) -> ImageDataset:
    """Reads a `tf.data.Dataset` of pairs, or of dictionaries with `image` and `label`."""
    dataset = from_arrays(*stream_tf_data(source, labeled=True), "tf.data.Dataset")
    own, kept = getattr(source, "class_names", None), _names_before(source)
    if own or not kept or not all(name.isdecimal() and int(name) < len(kept) for name in dataset.class_names):
        return _named(dataset, own)
    note = f"The names of the classes, {few(kept)}, are those of the dataset that this tf.data.Dataset was made from"
    return replace(_named(dataset, kept), notes=(*dataset.notes, f"{note}; its attribute class_names names others."))


def _names_before(source: Any) -> Sequence[str] | None:
    """Returns the class names that Keras set on a `tf.data.Dataset`, also after `.batch()`, `.map()` and so on."""
    while source is not None and not hasattr(source, "class_names"):
        source = getattr(source, "_input_dataset", None)
    return getattr(source, "class_names", None)


def read_with_info(source: Any) -> ImageDataset:
    """Reads a TFDS dataset or a dictionary of its splits. Class names come from `info.features["label"].names`."""
    dataset, info = source
    if isinstance(dataset, Mapping):
        parts = {name: (part, info) for name, part in dataset.items()}
        return replace(read_parts(parts, read=read_with_info), source="TFDS dataset")
    return replace(_with_names(read_tf_data(dataset), info), source="TFDS dataset")


def read_builder(source: Any) -> ImageDataset:
    """Reads all splits of a TFDS builder that has prepared its data; their names must be train, val or test."""
    return replace(read_with_info((source.as_dataset(), source.info)), source="TFDS builder")


def read_py_dataset(source: Any) -> ImageDataset:
    """Reads all batches `(images, labels)` of a `keras.utils.PyDataset`."""
    if source.num_batches is None:
        raise DatasetError(
            "Expected a keras.utils.PyDataset that ends. Received: one whose num_batches is None. Give it a length."
        )
    batches = track((source[index] for index in range(source.num_batches)), "Reading", total=source.num_batches)
    return from_arrays(*_collect(batches, "keras.utils.PyDataset", labeled=True, batched=True), "keras.utils.PyDataset")


def stream_tf_data(source: Any, *, labeled: bool) -> tuple[list[np.ndarray], Any]:
    """Reads the images of a `tf.data.Dataset`, batched or not.

    Args:
        source: The dataset.
        labeled: Whether labels are needed.

    Returns:
        `(images, labels)`; the labels are `[]` if they are not needed.

    Raises:
        DatasetError: If it never ends, or has no labels although they are needed.
    """
    cardinality = int(source.cardinality())
    if cardinality == -1:  # tf.data.INFINITE_CARDINALITY
        raise DatasetError(
            "Expected a tf.data.Dataset that ends. Received: a dataset that repeats forever. Leave out .repeat() or "
            "add .take()."
        )
    total = cardinality if cardinality >= 0 else None
    elements = track(source.as_numpy_iterator(), "Reading the tf.data.Dataset", total=total)
    return _collect(elements, "tf.data.Dataset", labeled=labeled)


def _collect(
    elements: Iterable[Any], kind: str, *, labeled: bool, batched: bool | None = None
) -> tuple[list[np.ndarray], Any]:
    """Collects pairs, dictionaries or images. Unless `batched` is given, an element with four dimensions is a batch."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for element in elements:
        image, label = _image_and_label(element)
        if image is None or (labeled and label is None):
            raise DatasetError(
                f"Expected a {kind} of pairs (image, label). Received: {_describe(element)}. Give pairs, or "
                f'dictionaries with "image" and "label".'
            )
        several = image.ndim == 4 if batched is None else batched
        images += list(image) if several else [image]
        if labeled:
            labels.append(np.asarray(label) if several else np.asarray(label)[np.newaxis])
    return images, np.concatenate(labels) if labels else []


def _image_and_label(element: Any) -> tuple[np.ndarray | None, Any]:
    image, label = element, None
    if isinstance(element, dict):
        image, label = element.get("image"), element.get("label")
    elif isinstance(element, tuple | list) and len(element) == 2:
        image, label = element
    if image is None or isinstance(image, dict | tuple | list):
        return None, None
    return np.asarray(image), label


def _describe(element: Any) -> str:
    if isinstance(element, dict):
        return f"dictionaries with {', '.join(map(repr, element))}"
    if isinstance(element, tuple | list):
        return f"tuples of {len(element)}"
    return f"elements of type {type(element).__name__}"


def _with_names(dataset: ImageDataset, info: Any) -> ImageDataset:
    """Replaces the numbers of the classes of a TFDS dataset by their names. Classes without an image are left out."""
    return _named(dataset, getattr(info.features.get("label"), "names", None))


def _named(dataset: ImageDataset, names: Sequence[str] | None) -> ImageDataset:
    """Replaces the numbers of classes by their names, where names are known."""
    if not names:
        return dataset
    indices = [int(name) for name in dataset.class_names]
    if not all(0 <= index < len(names) for index in indices):
        raise DatasetError(
            f"Expected labels from 0 to {len(names) - 1}, as many as the dataset names classes. Received: labels from "
            f"{min(indices)} to {max(indices)}. Choose a split whose labels are known."
        )
    return replace(dataset, class_names=tuple(names[index] for index in indices))
