"""Files that are not used as images: why, and what to do about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from strategies.data.dataset import EXTENSIONS
from strategies.data.encoded import Encoded, open_encoded
from strategies.errors import DatasetError, listed

HIDDEN = "hidden"
LINK_OUT = "link that leads out of the folder"
LINK_TO_FOLDER = "link to a folder"
SPECIAL = "pipe, socket or device"
CLOSED = "in a folder that cannot be opened"
SAME_NAME = "of the same name as another file"
NO_CLASS = "in no class folder"
RESULTS = "in a folder of results of this package"
NO_IMAGE = "not an image"
ARRAY = "array .npy"
NO_LABEL = "without a label"

# What the files of such a folder are called; no image lies beside them.
RESULT_FILES = frozenset({"plan.json", "fingerprint.json", "metrics.json", "evaluation.json"})

_COPY = "Copy the files there, as 'cp -rL' does. For labeled images, --follow-links (follow_links=True) follows links"


@dataclass(frozen=True)
class Kind:
    """A kind of file that may be taken for an image but is not read.

    Attributes:
        what: What it is.
        suffixes: How the names of such files end.
        advice: How images are made of it: a template over `suffix`.
    """

    what: str
    suffixes: tuple[str, ...]
    advice: str


_CONVERT = "Convert them, for example with ImageMagick: 'magick mogrify -format {to} *{{suffix}}'"
KINDS = (
    Kind("HEIC photo", (".heic", ".heif", ".hif"), _CONVERT.format(to="jpg")),
    Kind("AVIF image", (".avif",), _CONVERT.format(to="png")),
    Kind("JPEG XL image", (".jxl",), _CONVERT.format(to="png")),
    Kind("JPEG 2000 image", (".jp2", ".j2k", ".jpx"), _CONVERT.format(to="png")),
    Kind("raw photo", (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), _CONVERT.format(to="jpg")),
    Kind("Netpbm image", (".ppm", ".pgm", ".pbm", ".pnm"), _CONVERT.format(to="png")),
    Kind("image of another format", (".tga", ".ico", ".psd", ".svg", ".exr", ".hdr"), _CONVERT.format(to="png")),
    Kind(
        "medical volume or slide",
        (".nii", ".nii.gz", ".mha", ".nrrd", ".svs", ".ndpi"),
        "Write their slices or tiles as PNG, and keep those of one patient together with --group-by",
    ),
    Kind(
        "video",
        (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"),
        "Write frames as images, for example with 'ffmpeg -i clip{suffix} -vf fps=1 clip_%04d.jpg', and keep those of "
        "one video together with --group-by",
    ),
    Kind(
        "array",
        (".npy", ".npz", ".mat"),
        "Save images and labels in one file: np.savez(path, x=images, y=labels); or keep images as .npy files in a "
        "folder without other images",
    ),
    Kind("archive", (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"), "Unpack it"),
)
_ADVICE = {
    LINK_OUT: _COPY,
    LINK_TO_FOLDER: _COPY,
    CLOSED: "Allow access to it",
    NO_CLASS: "Create a folder for each class and put its images there",
}
# The first bytes of JPEG, PNG, GIF, WebP, TIFF and BMP.
_STARTS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|BM.{12}[\x0c(@lx|8]\0\0\0", re.DOTALL
)


def is_hidden(name: str) -> bool:
    """Returns whether a file, or a folder above it, is hidden. macOS adds `__MACOSX` folders to archives."""
    return name.startswith(".") or "/." in name or ("__MACOSX" in name and "__MACOSX" in name.split("/"))


def why_unused(name: str, item: Path | Encoded) -> str:
    """Returns why a file is not used as an image, or `""` if it is used.

    The end of its name decides. A file without a suffix is used if it starts as an image does.
    """
    if is_hidden(name):
        return HIDDEN
    if name.lower().endswith(EXTENSIONS):
        return ""
    suffix = PurePosixPath(name).suffix
    if suffix:
        kind = next((kind for kind in KINDS if name.lower().endswith(kind.suffixes)), None)
        return f"{kind.what if kind else NO_IMAGE} {suffix}"
    return "" if _starts_as_image(item) else NO_IMAGE


def _starts_as_image(item: Path | Encoded) -> bool:
    try:
        with open_encoded(item) as file:
            return _STARTS.match(file.read(18)) is not None
    except Exception:  # whatever the reason is, it does not hold an image that can be read
        return False


def reasons_text(unused: Mapping[str, str], most: int = 4) -> str:
    """Returns how many files are not used for which reason, the most frequent first.

    Example:
        >>> from strategies.data.sources.unused import reasons_text
        >>> reasons_text({"cat/a.heic": "HEIC photo .heic", "cat/.b.png": "hidden", "cat/c.heic": "HEIC photo .heic"})
        'HEIC photo .heic: 2, hidden: 1'
    """
    counts = Counter(unused.values()).most_common()
    return listed([f"{reason}: {count:,}" for reason, count in counts], most)


def advice_for(unused: Mapping[str, str], default: str = f"Names of images end in {', '.join(EXTENSIONS)}") -> str:
    """Returns what to do about the most frequent reason, in a sentence; `default` if there is no rule for it."""
    reason = Counter(unused.values()).most_common(1)[0][0] if unused else ""
    what, _, suffix = reason.rpartition(" ")
    kind = next((kind for kind in KINDS if kind.what == what), None)
    return (kind.advice.format(suffix=suffix) if kind else _ADVICE.get(reason, default)) + "."


def no_image(received: str, unused: Mapping[str, str]) -> DatasetError:
    """Returns the error for files among which there is no image.

    Args:
        received: What was given, for the message.
        unused: Why files are not used, by their names.
    """
    why = f", and files that are not used ({reasons_text(unused)})" if unused else ""
    return DatasetError(f"Expected images. Received: {received} with none{why}. {advice_for(unused)}")
