"""TFRecord files are read without TensorFlow, exactly as TensorFlow wrote them, and damage is found."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from strategies.data.loading import load_dataset
from strategies.data.png import encode_png
from strategies.data.sources.tfrecords import read_example, read_records
from strategies.errors import DatasetError

tf = pytest.importorskip("tensorflow")


def _feature(**kind):
    return tf.train.Feature(**kind)


def _written(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


@pytest.mark.parametrize("length", [0, 1, 3, 4, 4091, 4092, 4093, 8192, 100_000])
def test_records_of_any_length_are_those_that_tensorflow_wrote(length, tmp_path):
    """Lengths around a block of the checksum, and an empty record; a second record stands behind each."""
    records = [np.random.default_rng(length).bytes(length), b"end"]
    content = _written(tmp_path / "a.tfrecord", records).read_bytes()
    read = list(read_records(io.BufferedReader(io.BytesIO(content))))
    assert [data for _, data in read] == records
    assert [content[start : start + len(data)] for start, data in read] == records


@pytest.mark.parametrize("position", [0, 5, 9, 14, -1])
def test_a_changed_byte_is_found(position, tmp_path):
    """In the length, its checksum, the data or the checksum of the data."""
    content = bytearray(_written(tmp_path / "a.tfrecord", [b"some data"]).read_bytes())
    content[position] ^= 4
    with pytest.raises(ValueError, match=r"no record at byte 0|the record at byte 0 is damaged"):
        list(read_records(io.BufferedReader(io.BytesIO(bytes(content)))))


@pytest.mark.parametrize("length", [5, 14, 24])
def test_a_truncated_file_is_found(length, tmp_path):
    """In the middle of a header, of the data and of the last checksum."""
    content = _written(tmp_path / "a.tfrecord", [b"some data"]).read_bytes()[:length]
    with pytest.raises(ValueError, match="truncated after 0 bytes"):
        list(read_records(io.BufferedReader(io.BytesIO(content))))


def test_features_are_those_of_tensorflow():
    """Text, whole numbers of both signs and many, packed; numbers with a point have no values."""
    features = {
        "text": _feature(bytes_list=tf.train.BytesList(value=[b"one", b""])),
        "numbers": _feature(int64_list=tf.train.Int64List(value=[0, -1, 2**62, 300])),
        "floats": _feature(float_list=tf.train.FloatList(value=[0.5, 2.0])),
        "empty": _feature(),
    }
    data = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    read = read_example(data)
    assert [data[value] for value in read["text"]] == [b"one", b""]
    assert read["numbers"] == [0, -1, 2**62, 300]
    assert (read["floats"], read["empty"]) == ([], [])


def test_numbers_that_are_not_packed_are_read():
    """Old writers give each number a field of its own."""
    numbers = b"\x08\x07\x08\x80\x01"  # field 1, twice: 7 and 128
    feature = b"\x1a" + bytes([len(numbers)]) + numbers
    entry = b"\x0a\x01n\x12" + bytes([len(feature)]) + feature
    features = b"\x0a" + bytes([len(entry)]) + entry
    assert read_example(b"\x0a" + bytes([len(features)]) + features) == {"n": [7, 128]}


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\xff" * 12, b"\x0b", b"not a message"])
def test_what_is_no_example_is_refused(data, tmp_path):
    """The checksum is right, but the data is no message."""
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        read_example(data)
    with pytest.raises(DatasetError, match=r"not a tf\.train\.Example"):
        load_dataset(_written(tmp_path / "a.tfrecord", [data]))


def test_tensorflow_is_not_imported(tmp_path):
    """Reading needs no backend."""
    feature = {
        "image/encoded": _feature(bytes_list=tf.train.BytesList(value=[encode_png(Image.new("RGB", (8, 8)))])),
        "image/class/label": _feature(int64_list=tf.train.Int64List(value=[0])),
    }
    record = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    path = _written(tmp_path / "a.tfrecord", [record] * 4)
    code = "import sys\nfrom strategies.data.loading import load_dataset\n"
    code += f"load_dataset({str(path)!r}, for_training=False)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert "tensorflow" not in done.stdout.split()
