"""Shards: TFRecord files and WebDataset tar files. Images stay in the shards and are read when they are needed."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from strategies.data.dataset import EXTENSIONS, ImageDataset
from strategies.data.encoded import Encoded, open_encoded
from strategies.data.sources.archives import Member, OpenFile, list_tar
from strategies.data.sources.labels import cell_text, check_filled, encode_labels
from strategies.data.sources.paths import is_path
from strategies.data.sources.patterns import shard_paths
from strategies.data.sources.tfrecords import read_example, read_records
from strategies.data.sources.unused import NO_IMAGE, NO_LABEL
from strategies.errors import DatasetError, few, in_a_sentence
from strategies.files import open_regular

IMAGE = "image/encoded"
LABELS = ("image/class/text", "image/class/label")  # names first: they say more than numbers
LABEL_FILES = (".cls", ".json", ".txt")  # in this order
JSON_KEYS = ("label", "cls", "class")
MAX_LABEL_BYTES = 2**20


def is_tfrecord(source: Any) -> bool:
    """Returns whether `source` names TFRecord files: a path, a pattern or a list of paths."""
    return _all_match(source, r"\.tfrec(ords?)?([-.*?\[].*)?$")


def read_tfrecord(source: Any) -> ImageDataset:
    """Reads `tf.train.Example` records with `image/encoded`, and `image/class/text` or `image/class/label`.

    Raises:
        DatasetError: If a file is damaged or compressed, or a record lacks these features.
    """
    paths, text = shard_paths(source), _text(source)
    items, labels, names = [], [], []
    for path in paths:
        try:
            file = open_regular(path)
            shared = OpenFile(file)
            for index, (start, record) in enumerate(read_records(file)):
                name = f"{path.name}: record {index}"
                image, label = _parse(record, text, name)
                read = partial(shared.read, start + image.start, image.stop - image.start)
                items.append(Encoded(f"{path}: record {index}", read))
                labels.append(label)
                names.append(name)
        except (OSError, ValueError) as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(
                f"Expected TFRecord files of tf.train.Example, not compressed. Received: {str(path)!r} "
                f"({in_a_sentence(error)}). Write the file again."
            ) from error
    return _labelled(items, labels, names, {}, text)


def _parse(record: bytes, source: str, name: str) -> tuple[slice, dict[str, Any]]:
    """Returns where the image is in a record, and the labels by the names of their features."""
    features = read_example(record)
    labels = {
        key: record[value] if isinstance(value, slice) else value
        for key in LABELS
        for value in features.get(key, ())[:1]
        if len(features[key]) == 1
    }
    image = features.get(IMAGE, [])
    if len(image) != 1 or not isinstance(image[0], slice) or not labels:
        raise DatasetError(
            f"Expected records with one {IMAGE} and one {' or '.join(LABELS)}. Received: {name} of {source!r} with "
            f"{few(sorted(features), 20) or 'nothing'}. Write it with these features."
        )
    return image[0], labels


def is_webdataset(source: Any) -> bool:
    """Returns whether `source` names WebDataset shards: a pattern, a list, or a tar file of images with label files."""
    if not _all_match(source, r"\.tar$"):
        return False
    if not is_path(source) or not Path(source).is_file():
        return True
    names = {member.name for member in list_tar(Path(source), str(source)) if member.item is not None}
    images = [name for name in names if name.lower().endswith(EXTENSIONS)]
    flat = bool(images) and not any("/" in name for name in images)
    return flat or any(f"{_key(name)}.cls" in names for name in images)


def read_webdataset(source: Any) -> ImageDataset:
    """Reads tar files in which the class of `key.jpg` is in `key.cls`, `key.json` or `key.txt`.

    A `.cls` or `.txt` file holds only the class, as text or a number. A `.json` file holds it under `label`, `cls` or
    `class`. Images without a class, and all other files, are listed as ignored.

    Raises:
        DatasetError: If an archive is damaged, or a label cannot be read.
    """
    paths, text = shard_paths(source), _text(source)
    items, labels, names = [], [], []
    ignored: dict[str, str] = {}
    for path in paths:
        before = f"{path.name}/" if len(paths) > 1 else ""
        samples: dict[str, list[Member]] = defaultdict(list)
        for member in list_tar(path, str(path)):
            if member.item is not None:
                samples[_key(member.name)].append(member)
        for key, members in samples.items():
            files = {member.name[len(key) :].lower(): member for member in members}
            images = [suffix for suffix in files if suffix in EXTENSIONS]
            label = next((suffix for suffix in LABEL_FILES if suffix in files), None)
            used = []
            if len(images) == 1 and label is not None:
                image = files[images[0]]
                items.append(image.item)
                names.append(before + image.name)
                labels.append({"label": _label(files[label])})
                used = [image, files[label]]
            for member in members:
                if member not in used:
                    ignored[before + member.name] = NO_LABEL if member.name[len(key) :].lower() in images else NO_IMAGE
    return _labelled(items, labels, names, ignored, text)


def _key(name: str) -> str:
    """Returns a name up to the first dot after the last `/`: files with the same key belong together in WebDataset."""
    path = PurePosixPath(name)
    return name[: len(name) - len(path.name)] + path.name.split(".")[0]


def _label(member: Member) -> Any:
    assert member.item is not None
    try:
        if member.size > MAX_LABEL_BYTES:
            raise ValueError(f"{member.size:,} bytes")
        with open_encoded(member.item) as file:
            text = file.read().decode("utf-8").strip()
        if not member.name.lower().endswith(".json"):
            return text
        values = json.loads(text)
        found = [values[key] for key in JSON_KEYS if key in values]
        if len(found) != 1:
            raise ValueError(f"{len(found)} of the keys {', '.join(JSON_KEYS)}")
    except (ValueError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"Expected a class in {member.item.name!r}. Received: {in_a_sentence(error)}. Write only the class, or "
            f'JSON {{"label": ...}}.'
        ) from error
    return found[0]


def _labelled(
    items: Sequence[Any], found: Sequence[dict[str, Any]], names: Sequence[str], ignored: Mapping[str, str], source: str
) -> ImageDataset:
    """Uses the first kind of label that every image has. Whole numbers are sorted as numbers, even if they are text."""
    kinds = [kind for kind in (*LABELS, "label") if all(kind in label for label in found)]
    if not kinds:
        raise DatasetError(
            f"Expected the same kind of label for every image. Received: {source!r} with {' and '.join(LABELS)}, "
            f"but neither in every record. Write one of them into every record."
        )
    labels: list[Any] = [cell_text(label[kinds[0]]) for label in found]
    check_filled(labels, "label", source)
    if all(re.fullmatch("-?(0|[1-9][0-9]{0,17})", label) for label in labels):
        labels = [int(label) for label in labels]
    class_names, indices = encode_labels(labels)
    return ImageDataset(
        class_names=class_names,
        labels=indices,
        items=items,
        names=tuple(names),
        source=source,
        ignored=dict(sorted(ignored.items())),
    )


def _all_match(source: Any, pattern: str) -> bool:
    paths = list(source) if isinstance(source, list | tuple) else [source]
    return bool(paths) and all(is_path(path) and re.search(pattern, str(path), re.IGNORECASE) for path in paths)


def _text(source: Any) -> str:
    return str(source) if is_path(source) else ", ".join(str(path) for path in source)
