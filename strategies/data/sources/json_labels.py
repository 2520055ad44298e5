"""Labels in JSON files: COCO, the exports of Label Studio, and lists of records. Each becomes the rows of a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from strategies.data.sources.labels import several_labels
from strategies.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class LabeledRows:
    """What a file of labels says.

    Attributes:
        rows: A dictionary for each labeled image, from the name of a column to its value.
        unlabeled: Paths of images without a label.
    """

    rows: Sequence[Mapping[str, Any]]
    unlabeled: Sequence[str] = ()


@dataclass(frozen=True)
class _Form:
    """A form that JSON of labels may have: how to recognize and read it."""

    recognizes: Callable[[Any], bool]
    read: Callable[[Any], LabeledRows]


def read_labels(text: str) -> LabeledRows:
    """Reads the text of a JSON file, or of one with a JSON record in each line.

    Raises:
        ValueError: If it is no JSON.
        DatasetError: If it has another form, or an image of several classes.

    Example:
        >>> from strategies.data.sources.json_labels import read_labels
        >>> read_labels('{"path": "a.jpg", "label": "cat"}\\n{"path": "b.jpg", "label": "dog"}').rows[1]["label"]
        'dog'
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = [json.loads(line) for line in text.splitlines() if line.strip()]
    content = [content] if _is_record(content) else content
    for form in _FORMS:
        if form.recognizes(content):
            return form.read(content)
    raise DatasetError(
        "Expected JSON of COCO (images, annotations, categories), of Label Studio, or a list of records with path and "
        f"label. Received: {_kind(content)}. Write the labels as CSV, with the columns path and label."
    )


def _kind(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"an object with {', '.join(map(str, list(content)[:5])) or 'nothing in it'}"
    return "an empty list" if content == [] else f"a {type(content).__name__}"


def _is_record(content: Any) -> bool:
    return isinstance(content, Mapping) and not any(isinstance(value, Mapping | list) for value in content.values())


def _are_objects(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and all(isinstance(row, Mapping) for row in content)


def _is_coco(content: Any) -> bool:
    parts = ("images", "annotations", "categories")
    return isinstance(content, Mapping) and all(_are_objects(content.get(part)) for part in parts)


def _read_coco(content: Mapping[str, Any]) -> LabeledRows:
    names = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[Any, set[str]] = {}
    for annotation in content["annotations"]:
        found.setdefault(annotation["image_id"], set()).add(names[annotation["category_id"]])
    paths = {image["id"]: image["file_name"] for image in content["images"]}
    return _labeled((path, found.get(number, ())) for number, path in paths.items())


def _is_label_studio(content: Any) -> bool:
    return _are_objects(content) and all(isinstance(task.get("data"), Mapping) for task in content)


def _read_label_studio(content: Sequence[Mapping[str, Any]]) -> LabeledRows:
    return _labeled((_image_of(task["data"]), _choices_of(task)) for task in content)


def _choices_of(task: Mapping[str, Any]) -> set[str]:
    """Returns what all annotators chose."""
    annotations = [one for one in task.get("annotations", ()) if not one.get("was_cancelled")]
    results = [result for one in annotations for result in one["result"] if result.get("type") == "choices"]
    return {choice for result in results for choice in result["value"]["choices"]}


def _image_of(data: Mapping[str, Any]) -> str:
    """Returns the path of the image of a task: the only text that is a path or URL."""
    paths = [value for value in data.values() if isinstance(value, str) and ("/" in value or "." in value)]
    if len(paths) != 1:
        raise DatasetError(
            f"Expected one image for each task of Label Studio. Received: a task with {', '.join(map(str, data))}. "
            f"Export tasks with one image, or write the labels as CSV, with the columns path and label."
        )
    return without_server(paths[0])


def without_server(path: str) -> str:
    """Returns the path within the storage of an image that Label Studio serves.

    Example:
        >>> from strategies.data.sources.json_labels import without_server
        >>> without_server("/data/local-files/?d=photos/a%20cat.jpg"), without_server("/data/upload/1/cat.jpg")
        ('photos/a cat.jpg', '/data/upload/1/cat.jpg')
    """
    given = parse_qs(urlsplit(path).query).get("d") if "/data/local-files/" in path else None
    return given[0] if given else path


def _labeled(images: Any) -> LabeledRows:
    rows, unlabeled = [], []
    for path, classes in images:
        if len(classes) > 1:
            raise several_labels(f"{path!r} with {', '.join(map(repr, sorted(classes)))}")
        if classes:
            rows.append({"path": path, "label": next(iter(classes))})
        else:
            unlabeled.append(path)
    return LabeledRows(rows=rows, unlabeled=unlabeled)


# The first form that recognizes the content reads it.
_FORMS = (
    _Form(_is_coco, _read_coco),
    _Form(_is_label_studio, _read_label_studio),
    _Form(_are_objects, lambda content: LabeledRows(rows=content)),
)
