"""The same four images in every form that a dataset may have, for tests."""

import io
import json
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

LABELS = ["cat", "cat", "dog", "dog"]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), dtype="uint8")


def png(pixels):
    """Encodes pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


PNGS = [png(pixels) for pixels in PIXELS]
FILES = {f"{label}/{index}.png": png for index, (label, png) in enumerate(zip(LABELS, PNGS, strict=True))}


def folder(root):
    """A class folder; its path."""
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def table(root):
    """A class folder, and a table of its paths and labels."""
    folder(root)
    return pd.DataFrame({"path": list(FILES), "label": LABELS})


def csv_file(root):
    """The table as a CSV file."""
    table(root).to_csv(root / "table.csv", index=False)
    return root / "table.csv"


def parquet_file(root):
    """The table as a Parquet file."""
    pytest.importorskip("pyarrow")
    table(root).to_parquet(root / "table.parquet")
    return root / "table.parquet"


def npz_file(root):
    """Arrays of images and labels in one file."""
    np.savez(root / "data.npz", x=PIXELS, y=np.array(LABELS))
    return root / "data.npz"


def zip_file(root, files=FILES, name="data.zip"):
    """Files in a zip."""
    with zipfile.ZipFile(root / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    return root / name


def tar_file(root, files=FILES, name="data.tar.gz"):
    """Files in a tar, compressed if its name says so."""
    with tarfile.open(root / name, "w:gz" if name.endswith("gz") else "w") as archive:
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return root / name


def wrapped(root):
    """A zip with one folder around the classes, and what macOS adds."""
    return zip_file(
        root, {f"photos/{name}": content for name, content in FILES.items()} | {"__MACOSX/photos/._0": b"mac"}
    )


def shards(root):
    """Two shards of WebDataset; their pattern."""
    for shard in range(2):
        files = {}
        for index in (2 * shard, 2 * shard + 1):
            files |= {f"{index:04}.png": PNGS[index], f"{index:04}.cls": LABELS[index].encode()}
        tar_file(root, files, f"shard-{shard}.tar")
    return str(root / "shard-*.tar")


def json_shard(root):
    """A shard with labels in JSON."""
    files = {}
    for index, label in enumerate(LABELS):
        files |= {f"{index}.png": PNGS[index], f"{index}.json": json.dumps({"label": label}).encode()}
    return tar_file(root, files, "data.tar")


def tfrecords(root, label=lambda tf, text: {"image/class/text": tf.train.BytesList(value=[text.encode()])}):
    """Two TFRecord files, as TensorFlow writes them."""
    import tensorflow as tf

    for part in range(2):
        with tf.io.TFRecordWriter(str(root / f"data.tfrecord-0000{part}-of-00002")) as writer:
            for index in (2 * part, 2 * part + 1):
                features = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[PNGS[index]]))}
                for name, value in label(tf, LABELS[index]).items():
                    kind = "bytes_list" if isinstance(value, tf.train.BytesList) else "int64_list"
                    features[name] = tf.train.Feature(**{kind: value})
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
    return sorted(root.glob("*.tfrecord*"))


def in_storage(root):
    """A class folder in object storage; its URL."""
    fsspec = pytest.importorskip("fsspec")
    storage = fsspec.filesystem("memory")
    for name, content in FILES.items():
        storage.pipe(f"/{root.name}/photos/{name}", content)
    return f"memory://{root.name}/photos"


def tf_data(root):
    """Batches of `tf.data`, of unknown length."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((PIXELS, LABELS)).filter(lambda image, label: True).batch(3)


def py_dataset(root):
    """Batches of Keras' `PyDataset`."""
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            part = slice(2 * index, 2 * index + 2)
            return PIXELS[part], np.array(LABELS[part])

    return Batches()


def hub_dataset(root):
    """A dataset of the Hugging Face Hub."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["dog", "cat", "elk"])})
    rows = {"image": [{"bytes": png, "path": None} for png in PNGS], "label": LABELS}
    return datasets.Dataset.from_dict(rows, features=features)


class Info:
    """A stand-in for the info of TensorFlow Datasets."""

    features = {"label": types.SimpleNamespace(names=["dog", "cat"])}  # noqa: RUF012 (a stand-in)


def tfds(root):
    """What TensorFlow Datasets reads, without names of its classes."""
    import tensorflow as tf

    numbers = [["dog", "cat"].index(label) for label in LABELS]
    return tf.data.Dataset.from_tensor_slices({"image": PIXELS, "label": numbers, "id": numbers})


def tfds_with_info(root):
    """The same with its info."""
    return tfds(root), Info()


class Builder:
    """A stand-in for a builder of TensorFlow Datasets."""

    info = Info()

    def as_dataset(self):
        """Returns its only split."""
        return {"train": tfds(None)}


def absolute(root):
    """The table with absolute paths."""
    return table(root).assign(path=[str(root / name) for name in FILES])


def polars_table(root):
    """The same table of polars."""
    polars = pytest.importorskip("polars")
    return polars.DataFrame(absolute(root).to_dict("list"))


def arrow_table(root):
    """The same table of pyarrow."""
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.Table.from_pandas(absolute(root))


def json_file(root, content, name="labels.json"):
    """A JSON file."""
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return root / name


def json_records(root):
    """The table as a list of objects."""
    return table(root).to_dict("records")


def coco(root):
    """As annotation tools write it for classification, with an image that nobody has annotated."""
    folder(root)
    names = [*FILES, "cat/unseen.png"]
    content = {
        "info": {},
        "images": [{"id": 10 + index, "file_name": name, "width": 10} for index, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 3, "name": "dog"}],
        "annotations": [
            {"id": index, "image_id": 10 + index, "category_id": 1 if label == "cat" else 3, "bbox": []}
            for index, label in enumerate(LABELS)
        ],
    }
    return json_file(root, content)


def label_studio(root):
    """As Label Studio exports it: paths of its server, two annotators who agree, and a task that was skipped."""
    folder(root)

    def annotation(label, **more):
        result = [{"type": "choices", "from_name": "choice", "to_name": "image", "value": {"choices": [label]}}]
        return {"id": 1, "result": result, **more}

    names = [f"/data/local-files/?d=photos/{name}" for name in FILES]
    tasks = [
        {"id": index, "data": {"image": name, "id": 7}, "annotations": [annotation(label), annotation(label)]}
        for index, (name, label) in enumerate(zip(names, LABELS, strict=True))
    ]
    skipped = {"data": {"image": "x.png"}, "annotations": [annotation("cat", was_cancelled=True)]}
    return json_file(root, [*tasks, skipped])


def label_studio_csv(root):
    """As Label Studio exports a table."""
    table(root).rename(columns={"path": "image", "label": "choice"}).assign(id=range(4), annotator=1).to_csv(
        root / "export.csv", index=False
    )
    return root / "export.csv"


class MapStyle:
    """A dataset as PyTorch's: no list, but with a length and items."""

    classes = ("dog", "cat")

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, index):
        return Image.fromarray(PIXELS[index]), self.classes.index(LABELS[index])


class WithTargets(MapStyle):
    """As in torchvision: labels are known without reading images."""

    targets = tuple(map(MapStyle.classes.index, LABELS))


FORMS = {
    "a class folder": folder,
    "a CSV file": csv_file,
    "a Parquet file": parquet_file,
    "an .npz file with x and y": npz_file,
    "a zip, tar, tar.gz or tar.bz2 of a class folder": zip_file,
    "TFRecord files": tfrecords,
    "WebDataset tar shards": shards,
    "a URL of a class folder in object storage": in_storage,
    "a pandas DataFrame": absolute,
    "a polars DataFrame or pyarrow table": lambda root: polars_table(root),
    "a JSON file of labels": lambda root: json_file(root, json_records(root)),
    "a list of pairs (image, label)": lambda root: list(zip(PIXELS, LABELS, strict=True)),
    "a PyTorch dataset of pairs (image, label)": lambda root: MapStyle(),
    "a datasets.Dataset": hub_dataset,
    "a TFDS dataset with its info": tfds_with_info,
    "a TFDS builder": lambda root: Builder(),
    "a tf.data.Dataset of images and labels": tf_data,
    "a keras.utils.PyDataset": py_dataset,
    "a dictionary of train, val and test": lambda root: {"train": (PIXELS, LABELS)},
    "arrays (x, y)": lambda root: (PIXELS, LABELS),
}
VARIANTS = {
    "a table of pyarrow": arrow_table,
    "lines of JSON": lambda root: json_file(root, "\n".join(map(json.dumps, json_records(root))), "labels.jsonl"),
    "COCO": coco,
    "an export of Label Studio": label_studio,
    "an export of Label Studio as CSV": label_studio_csv,
    "pairs of paths": lambda root: list(zip(absolute(root)["path"], LABELS, strict=True)),
    "a PyTorch dataset with targets": lambda root: WithTargets(),
    "a stream of the hub": lambda root: hub_dataset(root).to_iterable_dataset(),
    "a tar.gz": tar_file,
    "a tar": lambda root: tar_file(root, name="data.tar"),
    "a tar with ./": lambda root: tar_file(root, {f"./{name}": content for name, content in FILES.items()}, "data.tar"),
    "a zip with a folder around": wrapped,
    "one shard with JSON": json_shard,
    "a list of shards": lambda root: sorted(Path(shards(root)).parent.glob("*.tar")),
    "a tf.data.Dataset of dictionaries": lambda root: tfds(root).map(
        lambda row: {"image": row["image"], "label": row["label"]}
    ),
    "a dictionary of hub datasets": lambda root: {"train": hub_dataset(root)},
    "a DatasetDict": lambda root: pytest.importorskip("datasets").DatasetDict(train=hub_dataset(root)),
    "a TFDS dictionary with its info": lambda root: ({"train": tfds(root)}, Info()),
}
