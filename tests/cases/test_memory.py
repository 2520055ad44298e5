"""Images in memory: PIL images of any mode, paths with labels, object arrays, names of classes."""

import numpy as np
import pytest
from pictures import picture

from strategies.data.decoding import decode_image
from strategies.data.loading import load_dataset
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


def test_a_class_that_was_never_answered_is_named():
    """A model that always answers the larger class."""
    test = {"per_class": {"big": {"num_images": 9, "precision": 0.9}, "rare": {"num_images": 1, "precision": None}}}
    (sentence,) = never_answered(test)
    assert sentence.startswith("'rare' was never answered")
