"""Shards: TFRecord files, and WebDataset's tar files; images stay where they are and are read when asked for."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from strategies.data.dataset import EXTENSIONS, ImageDataset
from strategies.data.encoded import Encoded, open_encoded
from strategies.data.sources.archives import Member, list_tar, read_part
from strategies.data.sources.labels import cell_text, check_filled, encode_labels
from strategies.data.sources.paths import is_path, shard_paths
from strategies.errors import DatasetError, few, in_a_sentence
from strategies.files import open_regular

IMAGE = "image/encoded"
LABELS = ("image/class/text", "image/class/label")  # names say more than numbers
LABEL_FILES = (".cls", ".json", ".txt")  # the first one that there is
JSON_KEYS = ("label", "cls", "class")
MAX_LABEL_BYTES = 2**20
_HEADER, _FOOTER = 12, 4  # around each record: its length and the checksum of that, and its own checksum


def is_tfrecord(source: Any) -> bool:
    """Returns whether `source` is a path, a pattern or a list of paths of TFRecord files."""
    return _all_match(source, r"\.tfrecords?([-.*?\[].*)?$")


def read_tfrecord(source: Any) -> ImageDataset:
    """Reads `tf.train.Example` records with `image/encoded`, and `image/class/text` or `image/class/label`.

    Raises:
        DatasetError: If a file is damaged or compressed, or a record lacks one of them.
    """
    import tensorflow as tf

    paths, text = shard_paths(source), _text(source)
    items, labels, names = [], [], []
    for path in paths:
        file, lock, offset = open_regular(path), threading.Lock(), 0
        try:
            # TensorFlow verifies the checksums; where a record begins follows from the lengths of those before it.
            for index, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
                name = f"{path.name}: record {index}"
                encoded, label = _parse(tf.train.Example.FromString(record), text, name)
                start = offset + _HEADER + record.find(encoded)
                items.append(Encoded(f"{path}: record {index}", partial(read_part, file, lock, start, len(encoded))))
                labels.append(label)
                names.append(name)
                offset += _HEADER + len(record) + _FOOTER
            if offset != file.seek(0, 2):  # TensorFlow takes a header that is cut off for the end
                raise ValueError(f"cut off after {offset:,} bytes")
        except DatasetError:
            raise
        except Exception as error:  # TensorFlow's and protobuf's errors have no base of their own
            raise DatasetError(
                f"Expected TFRecord files of tf.train.Example, not compressed. Received: {str(path)!r} "
                f"({in_a_sentence(error)}). Write the file anew."
            ) from error
    return _labelled(items, labels, names, (), text)


def _parse(example: Any, source: str, name: str) -> tuple[bytes, dict[str, Any]]:
    features = example.features.feature
    values = {key: [*features[key].bytes_list.value, *features[key].int64_list.value] for key in (IMAGE, *LABELS)}
    labels = {key: values[key][0] for key in LABELS if len(values[key]) == 1}
    if len(values[IMAGE]) != 1 or not isinstance(values[IMAGE][0], bytes) or not labels:
        raise DatasetError(
            f"Expected records with one {IMAGE} and one {' or '.join(LABELS)}. Received: {name} of {source!r} with "
            f"{few(sorted(key for key in features if features[key].ByteSize()), 20) or 'nothing'}. Write it with these "
            f"features."
        )
    return values[IMAGE][0], labels


def is_webdataset(source: Any) -> bool:
    """Returns whether `source` is tar shards: a pattern or list of them, or one whose images lie beside label files."""
    if not _all_match(source, r"\.tar$"):
        return False
    if not is_path(source) or not Path(source).is_file():
        return True
    names = {member.name for member in list_tar(Path(source), str(source)) if member.item is not None}
    images = [name for name in names if name.lower().endswith(EXTENSIONS)]
    flat = bool(images) and not any("/" in name for name in images)
    return flat or any(f"{_key(name)}.cls" in names for name in images)


def read_webdataset(source: Any) -> ImageDataset:
    """Reads tar files in which `key.jpg` lies beside `key.cls`, `key.json` or `key.txt` with the class.

    A `.cls` or `.txt` file holds the class alone, as text or a number; a `.json` file under `label`, `cls` or `class`.
    Images without a class, and all other files, are ignored, by name.

    Raises:
        DatasetError: If an archive is damaged, or a label cannot be read.
    """
    paths, text = shard_paths(source), _text(source)
    items, labels, names, ignored = [], [], [], []
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
            ignored += [before + member.name for member in members if member not in used]
    return _labelled(items, labels, names, ignored, text)


def _key(name: str) -> str:
    """Returns the name up to the first point of its last part, as WebDataset groups files."""
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
            f"Expected a class in {member.item.name!r}. Received: {in_a_sentence(error)}. Write the class alone, or "
            f'in JSON {{"label": ...}}.'
        ) from error
    return found[0]


def _labelled(
    items: Sequence[Any], found: Sequence[dict[str, Any]], names: Sequence[str], ignored: Sequence[str], source: str
) -> ImageDataset:
    """Takes the first kind of label that every image has; whole numbers keep their order, however they are written."""
    kinds = [kind for kind in (*LABELS, "label") if all(kind in label for label in found)]
    if not kinds:
        raise DatasetError(
            f"Expected the same kind of label for every image. Received: {source!r} with {' and '.join(LABELS)} in "
            f"turn. Write one of them into every record."
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
        ignored=tuple(sorted(ignored)),
    )


def _all_match(source: Any, pattern: str) -> bool:
    paths = list(source) if isinstance(source, list | tuple) else [source]
    return bool(paths) and all(is_path(path) and re.search(pattern, str(path), re.IGNORECASE) for path in paths)


def _text(source: Any) -> str:
    return str(source) if is_path(source) else ", ".join(str(path) for path in source)
