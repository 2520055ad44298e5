"""Images in memory: PIL images of any mode, paths with labels, object arrays, names of classes."""

import numpy as np
import pandas
import pytest
from pictures import picture

from strategies.data.decoding import decode_image
from strategies.data.loading import load_dataset, load_images
from strategies.display.results import never_answered
from strategies.errors import DatasetError

LABELS = ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "RGBA", "CMYK", "HSV"])
def test_a_pil_image_has_the_pixels_of_its_colors(mode):
    """Whatever its mode, it looks as Pillow shows it, and is itself left as it was."""
    images = [picture(index // 2, index).convert(mode) for index in range(4)]
    dataset = load_dataset((images, LABELS))
    for image, item in zip(images, dataset.items, strict=True):
        assert image.mode == mode
        assert np.abs(decode_image(item).astype(int) - np.asarray(image.convert("RGB")).astype(int)).max() <= 1


def test_paths_with_labels_are_taken(tmp_path):
    """A list of files and a list of labels."""
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for index, path in enumerate(paths):
        picture(index // 2, index).save(path)
    assert list(load_dataset(([str(path) for path in paths], LABELS)).items) == paths


def test_an_object_array_is_a_list_of_images():
    """Of differing sizes."""
    images = np.empty(4, dtype=object)
    images[:] = [np.full((8 + index, 9, 3), index, dtype="uint8") for index in range(4)]
    assert [item.shape[0] for item in load_dataset((images, LABELS)).items] == [8, 9, 10, 11]


def test_channels_first_are_to_be_transposed():
    """The sentence says how."""
    with pytest.raises(DatasetError, match="Transpose the images"):
        load_dataset((np.zeros((4, 3, 32, 32), dtype="uint8"), LABELS))


def test_names_that_a_tf_dataset_holds_are_kept(tmp_path):
    """As `image_dataset_from_directory` of Keras sets them."""
    import tensorflow as tf

    source = tf.data.Dataset.from_tensor_slices((np.zeros((4, 8, 8, 3), dtype="uint8"), [0, 0, 1, 1]))
    source.class_names = ["cat", "dog"]
    assert load_dataset(source).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("change", "names", "said"),
    [
        (lambda source: source.batch(2).map(lambda image, label: (image, label)).prefetch(1), ("cat", "dog"), True),
        (lambda source: source.shuffle(4, seed=0).cache().take(4), ("cat", "dog"), True),
        (lambda source: source.map(lambda image, label: (image, 5 * label)), ("0", "5"), False),
        (lambda source: source.map(lambda image, label: (image, label - 1)), ("-1", "0"), False),
        (lambda source: source.map(lambda image, label: (image, ["Katze", "Hund"][0] + "x")), ("Katzex",), False),
    ],
)
def test_names_of_an_earlier_dataset_are_kept_if_the_labels_fit(change, names, said):
    """Other steps of `tf.data` drop the attribute. Where it is found again, the findings say so."""
    import tensorflow as tf

    source = tf.data.Dataset.from_tensor_slices((np.zeros((4, 8, 8, 3), dtype="uint8"), [0, 0, 1, 1]))
    source.class_names = ["cat", "dog"]
    for given in (change(source), {"train": change(source), "val": change(source)}):
        dataset = load_dataset(given, for_training=False)
        assert dataset.class_names == names
        assert ("'cat', 'dog', are those of the dataset" in " ".join(dataset.notes)) == said


def _of_folder(root, **options):
    import keras

    return keras.utils.image_dataset_from_directory(root, image_size=(20, 20), batch_size=3, shuffle=False, **options)


def _of_arrays(*more, element=lambda *parts: parts):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((np.zeros((4, 8, 8, 3), dtype="uint8"), [0, 0, 1, 1], *more)).map(element)


STREAMS = {  # the dataset, then its classes or what is said of it
    "numbers": (_of_folder, ("cat", "dog")),
    "one-hot": (lambda root: _of_folder(root, label_mode="categorical"), ("cat", "dog")),
    "binary": (lambda root: _of_folder(root, label_mode="binary"), ("cat", "dog")),
    "gray": (lambda root: _of_folder(root, color_mode="grayscale"), ("cat", "dog")),
    "twice": (lambda root: _of_folder(root).repeat(2), ("cat", "dog")),
    "unbatched": (lambda root: _of_folder(root).unbatch(), ("cat", "dog")),
    "parts": (
        lambda root: {
            name: _of_folder(root, validation_split=0.25, subset=subset, seed=1)
            for name, subset in (("train", "training"), ("val", "validation"))
        },
        ("cat", "dog"),
    ),
    "part of a folder, changed": (
        lambda root: {"train": _of_folder(root).map(lambda x, y: (255 - x, y))},
        ("cat", "dog"),
    ),
    "pairs": (lambda _: _of_arrays(), ("0", "1")),
    "one image in a batch": (lambda _: _of_arrays().batch(1), ("0", "1")),
    "dictionaries": (lambda _: _of_arrays(element=lambda x, y: {"image": x, "label": y}).batch(3), ("0", "1")),
    "forever": (lambda root: _of_folder(root).repeat(), "repeats forever"),
    "without labels": (lambda root: _of_folder(root, label_mode=None), "pairs (image, label)"),
    "scaled": (lambda root: _of_folder(root).map(lambda x, y: (x / 255, y)), "Multiply the images by 255"),
    "triples": (lambda _: _of_arrays([1, 1, 1, 1]), "tuples of 3"),
    "other keys": (lambda _: _of_arrays(element=lambda x, y: {"x": x, "y": y}), "dictionaries with 'x', 'y'"),
    "paths": (lambda _: _of_arrays(element=lambda x, y: ("cat/0.png", y)), "image 0 of shape ()"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_of_keras_and_tensorflow(name, tmp_path):
    """They are read with the right classes, or refused in one sentence."""
    build, found = STREAMS[name]
    source = build(_folder(tmp_path, "cat", "dog"))
    if isinstance(found, tuple):
        dataset = load_dataset(source)
        assert dataset.class_names == found
        assert set(np.bincount(dataset.labels)) <= {2, 4}
    else:
        with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
            load_dataset(source)
        assert found in str(caught.value)


def _folder(root, *classes):
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(2):
            picture(0, index, (20, 20)).save(root / name / f"{index}.png")
    return root


def _table(root, *labels):
    paths = [root / f"{index}.png" for index in range(2 * len(labels))]
    for path in paths:
        picture(0, 0, (20, 20)).save(path)
    rows = "\n".join(f'{path},"{labels[index // 2]}"' for index, path in enumerate(paths))
    (root / "table.csv").write_text(f"path,label\n{rows}")
    return root / "table.csv"


def _arrays(_, *labels):
    return np.zeros((2 * len(labels), 8, 8), dtype="uint8"), [label for label in labels for _ in range(2)]


def _parts(root, *labels):
    return {"train": _arrays(root, *labels), "val": _arrays(root, *labels[:1])}


FORMS = (_folder, _table, _arrays, _parts)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (("20.25", "21.25", "22"), "look like measurements"),
        (("A", "B", "A|B"), "multi-label"),
        (("A, B", "A", "B"), "multi-label"),
        (("cat & dog", "dog & cat"), "multi-label"),
    ],
)
def test_what_is_no_class_is_refused_in_every_form(form, labels, sentence, tmp_path):
    """In class folders, tables, arrays and parts alike."""
    with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
        load_dataset(form(tmp_path, *labels))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("Cats", "cats", "dog"), "'Cats', 'cats' differ in spelling only"),
        (("Red_Fox", "dog", "red fox"), "'Red_Fox', 'red fox' differ"),
        (("Cafe\u0301", "Caf\u00e9"), "differ in spelling only"),
        (("1", "1.0", "2"), "'1', '1.0' differ"),
        (("A|B", "C", "D|E"), ""),
        (("1-2", "12"), ""),
        (("3+4", "4+3"), ""),
        (("01", "1"), ""),
    ],
)
def test_names_that_differ_in_spelling_are_said_in_every_form(form, labels, said, tmp_path):
    """They stay separate classes; what only looks like another form of a name is left alone."""
    dataset = load_dataset(form(tmp_path, *labels))
    assert len(dataset.class_names) == len(labels)
    assert said in " ".join(dataset.notes)
    assert bool(said) == bool(dataset.notes)


def test_what_was_noticed_and_groups_are_kept(tmp_path):
    """In parts, in a subset, and where labels are not needed."""
    path = _table(tmp_path, "cat", "dog")
    path.write_text(path.read_text().replace("path,", "file_name,"))
    note = "The column 'file_name' is taken as the path; --column path=... names another."
    frame = pandas.read_csv(path).assign(group=["p1", "p1", "p2", "p3"])
    parts = load_dataset({"train": frame, "val": path})
    assert parts.notes == parts.subset([0]).notes == load_images(path).notes == (note,)
    assert parts.group[:4] == ("p1", "p1", "p2", "p3")
    assert len(set(parts.group)) == 7


RANGES = {  # the images, and what is said of them; nothing if they are right
    "floats of 0 to 1": (lambda x: x / 255, "Multiply the images by 255"),
    "one image of 0 to 1 among others": (lambda x: [x[0] / 255, *x[1:].astype("float32")], ""),
    "floats of -1 to 1": (lambda x: x / 127.5 - 1, "values from -"),
    "standardized": (lambda x: (x - x.mean()) / x.std(), "values from -"),
    "12 bits": (lambda x: x.astype("uint16") * 16, "Scale the images to 0-255"),
    "not a number": (lambda x: np.where(x > 100, np.nan, x.astype("float32")), "values from nan"),
    "floats of 0 to 255": (lambda x: x.astype("float32"), ""),
    "half floats": (lambda x: x.astype("float16"), ""),
    "large integers": (lambda x: x.astype("int64"), ""),
    "zeros and ones": (lambda x: (x[..., 0] > 100).astype("uint8"), ""),
    "true and false": (lambda x: x[..., 0] > 100, "type bool"),
    "gray": (lambda x: x[..., 0], ""),
    "gray with a channel": (lambda x: x[..., :1], ""),
    "four channels": (lambda x: np.concatenate([x, x[..., :1]], axis=3), ""),
    "13 channels": (lambda x: np.repeat(x, 5, axis=3)[..., :13], ""),
    "17 channels": (lambda x: np.repeat(x, 6, axis=3)[..., :17], "17"),
    "flat": (lambda x: x.reshape(4, -1), "one array of shape (4, 3072)"),
    "one image": (lambda x: x[0], "one array of shape (32, 32, 3)"),
    "a list of differing sizes": (lambda x: [image[: 20 + index] for index, image in enumerate(x)], ""),
    "more than there are labels": (lambda x: np.concatenate([x, x]), "8 images, 4 labels"),
    "none": (lambda x: x[:0], "0 images, 4 labels"),
    "labels first": (lambda x: np.array([0, 0, 1, 1]), "one array of shape (4,)"),
}


@pytest.mark.parametrize("name", RANGES)
def test_arrays_of_any_range_and_shape(name):
    """They are taken as they are, or the sentence says what to do."""
    change, sentence = RANGES[name]
    images = change(np.stack([np.asarray(picture(index // 2, index, (32, 32))) for index in range(4)]))
    if sentence:
        with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
            load_dataset((images, LABELS))
        assert sentence in str(caught.value)
    else:
        assert load_dataset((images, LABELS)).labels.tolist() == [0, 0, 1, 1]


def test_a_class_that_was_never_answered_is_named():
    """A model that always answers the larger class."""
    test = {"per_class": {"big": {"num_images": 9, "precision": 0.9}, "rare": {"num_images": 1, "precision": None}}}
    (sentence,) = never_answered(test)
    assert sentence.startswith("'rare' was never answered")
