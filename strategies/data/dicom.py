"""DICOM images, which pydicom reads: as PNG, with the window of their header, and the patients whom they show."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from strategies.data.png import encode_png
from strategies.files import first_bytes

DICOM = (".dcm", ".dicom")
INSTALL = "pip install 'transfer-advisor[dicom]'"
_PREAMBLE, _MARK = 128, b"DICM"
_INVERTED = "MONOCHROME1"  # of gray levels of which the lowest is white


def is_dicom(file: BinaryIO) -> bool:
    """Returns whether a file, which is left at its start, is a DICOM file."""
    return first_bytes(file, _PREAMBLE + len(_MARK))[_PREAMBLE:] == _MARK


def as_png(file: BinaryIO) -> bytes:
    """Returns the first frame of a DICOM file as PNG: gray of 8 bits, or RGB.

    Gray levels are those of the first window in the header, as in section C.11.2.1 of the third part of the standard.
    Without a window, the lowest value is black, and the highest white. `MONOCHROME1` is inverted.

    Args:
        file: The file, at its start.

    Raises:
        ValueError: If pydicom is missing, or the image is too large or cannot be read.
    """
    if find_spec("pydicom") is None:
        raise ValueError(f"DICOM, for which pydicom is missing: {INSTALL}")
    import pydicom
    from pydicom.pixels import apply_color_lut, apply_modality_lut, convert_color_space, pixel_array

    header = pydicom.dcmread(file)
    width, height = int(header.get("Columns", 0)), int(header.get("Rows", 0))
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    if not 0 < width * height <= most:
        raise ValueError(f"DICOM of {width} x {height} pixels; up to {most:,} are read")
    kind = str(header.get("PhotometricInterpretation", ""))
    values = pixel_array(header, index=0)
    if kind == "PALETTE COLOR":
        values, kind = apply_color_lut(values, header), "RGB"
    if values.ndim == 3:
        rgb = convert_color_space(values, kind, "RGB") if kind.startswith("YBR") else values
        pixels = _to_bytes(rgb, 0, 2 ** int(header.BitsStored) - 1) if rgb.dtype != np.uint8 else rgb
        return encode_png(Image.fromarray(pixels))
    gray = _windowed(apply_modality_lut(values, header), header)
    return encode_png(Image.fromarray(255 - gray if kind == _INVERTED else gray))


def _windowed(values: np.ndarray, header: Any) -> np.ndarray:
    from pydicom.pixels import apply_voi

    if "VOILUTSequence" in header:  # a table of levels instead of a window
        table = header.VOILUTSequence[0].LUTData
        return _to_bytes(apply_voi(values, header, index=0), min(table), max(table))
    centers, widths = (np.atleast_1d(header.get(f"Window{name}") or []) for name in ("Center", "Width"))
    if not len(centers) or not len(widths):
        return _to_bytes(values, float(values.min()), float(values.max()))
    center, width = float(centers[0]), float(widths[0])
    kind = header.get("VOILUTFunction", "LINEAR")
    if kind == "SIGMOID":
        return _to_bytes(1 / (1 + np.exp(-4 * (values - center) / width)), 0, 1)
    if kind == "LINEAR":  # not exactly from center - width / 2 to center + width / 2
        center, width = center - 0.5, max(width - 1, 1e-9)
    return _to_bytes(values, center - width / 2, center + width / 2)


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled: np.ndarray = np.rint((values - low) * (255 / max(high - low, 1e-9)))
    return scaled.clip(0, 255).astype("uint8")


def patients(items: Sequence[Any], names: Sequence[str]) -> tuple[str, ...] | None:
    """Returns a group for each image of a dataset of DICOM files: its patient, or its own name if it has none.

    Identities are not kept: a group is called by a digest of the ID. Returns `None` unless an image has a patient.

    Args:
        items: Items of an `ImageDataset`.
        names: Their names.
    """
    files = [isinstance(item, Path) and item.suffix.lower() in DICOM for item in items]
    if not any(files) or find_spec("pydicom") is None:
        return None
    found = [_patient(item) if is_file else "" for item, is_file in zip(items, files, strict=True)]
    if not any(found):
        return None
    return tuple(patient or name for patient, name in zip(found, names, strict=True))


def _patient(path: Path) -> str:
    import pydicom

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
    except Exception:  # whoever decodes it reports it
        return ""
    patient = str(header.get("PatientID", "")).strip()
    return f"patient {hashlib.sha256(patient.encode()).hexdigest()[:12]}" if patient else ""
