"""DICOM images of pydicom's own samples."""

import io
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from advisor.measure.profile import profile_images
from strategies.data import dicom
from strategies.data.decoding import decode_image
from strategies.data.encoded import Encoded, UnreadableImage
from strategies.data.loading import load_dataset, load_images

pytestmark = pytest.mark.skipif(find_spec("pydicom") is None, reason="pydicom is not installed")


def sample(name):
    """Returns the header and the pixels of a sample."""
    import pydicom
    from pydicom.data import get_testdata_file

    return pydicom.dcmread(get_testdata_file(name, download=False))


def _saved(header, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path)
    return path


def test_gray_levels_are_those_of_the_window(tmp_path):
    """Below it is black, above it is white, and between it is linear; without a window, all levels are shown."""
    scan = sample("CT_small.dcm")
    units = scan.pixel_array * float(scan.RescaleSlope) + float(scan.RescaleIntercept)
    whole = decode_image(_saved(scan, tmp_path / "whole.dcm"))
    expected = (units - units.min()) / (units.max() - units.min()) * 255
    np.testing.assert_allclose(whole[..., 0], expected, atol=0.51)
    assert whole.shape == (128, 128, 3)
    scan.WindowCenter, scan.WindowWidth = [40, 500], [400, 2000]  # the first is used
    shown = decode_image(_saved(scan, tmp_path / "window.dcm"))[..., 0]
    assert (shown[units < -160] == shown.min()).all()
    assert (shown[units > 240] == 255).all()
    inside = (units > -150) & (units < 230)
    slope = np.polyfit(units[inside], shown[inside].astype(float), 1)[0]
    assert slope == pytest.approx(255 / 399, rel=0.01)
    scan.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(decode_image(_saved(scan, tmp_path / "inverted.dcm"))[..., 0], 255 - shown)
    scan.WindowCenter, scan.WindowWidth, scan.PhotometricInterpretation = 20_000, 400, "MONOCHROME2"
    assert not decode_image(_saved(scan, tmp_path / "above.dcm")).any()  # not stretched: the window is the same for all
    scan.VOILUTFunction, scan.WindowCenter = "SIGMOID", float(np.median(units))
    assert np.median(decode_image(_saved(scan, tmp_path / "sigmoid.dcm"))) == pytest.approx(127.5, abs=2)


def test_color_is_rgb(tmp_path):
    """As in the file."""
    photo = sample("examples_rgb_color.dcm")
    assert np.array_equal(decode_image(_saved(photo, tmp_path / "photo.dcm")), photo.pixel_array)


def test_a_class_folder_of_scans_is_a_dataset_with_patients_as_groups(tmp_path):
    """Only a digest of an identity is kept; in an archive or as bytes, the same image is read."""
    scan = sample("MR_small.dcm")
    for label in ("healthy", "ill"):
        for index in range(4):
            scan.PatientID = f"Jane {label} {index // 2}"
            _saved(scan, tmp_path / "scans" / label / f"{index}.dcm")
    dataset = load_dataset(tmp_path / "scans")
    assert len(dataset) == 8
    assert len(set(dataset.group)) == 4
    assert not any("Jane" in group for group in dataset.group)
    assert any("PatientID" in note for note in dataset.notes)
    assert profile_images(tmp_path / "scans").num_images == 8
    archive = shutil.make_archive(str(tmp_path / "scans"), "zip", tmp_path / "scans")
    path = tmp_path / "scans" / "ill" / "0.dcm"
    pixels = decode_image(path, 32)
    for same in (load_dataset(archive).items[4], load_images(path.read_bytes()).items[0]):
        assert isinstance(same, Encoded)
        assert np.array_equal(decode_image(same, 32), pixels)


def test_files_that_cannot_be_read_have_a_reason(tmp_path, monkeypatch):
    """Damaged, too large, or without the package."""
    path = _saved(sample("CT_small.dcm"), tmp_path / "scan.dcm")
    content = path.read_bytes()
    for damaged in (bytes(128) + b"DICM", content[: len(content) // 2], content[:200]):
        path.write_bytes(damaged)
        with pytest.raises(UnreadableImage, match="Fix or remove the file"):
            decode_image(path)
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
        with pytest.raises(UnreadableImage, match="DICOM of 128 x 128 pixels; up to 10,000 are read"):
            decode_image(path)
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(UnreadableImage, match=r"pydicom is missing: pip install 'transfer-advisor\[dicom\]'"):
        decode_image(path)
    assert not dicom.is_dicom(io.BytesIO(b"DICM"))
