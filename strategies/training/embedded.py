"""What a model file says of itself: its classes, and how images become its input. Other programs leave it alone."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strategies.data.channels import RGB, num_channels

ENTRY = "transfer_advisor.json"  # within a .keras file, and at the end of a .tflite file


def description(
    class_names: Sequence[str], image_size: int, image_bits: int, resize: str, channels: Sequence[int]
) -> dict[str, Any]:
    """Returns what is embedded; the arguments are those of a plan."""
    what = "RGB pixels" if num_channels(channels) == RGB else "bands"
    return {
        "version": 1,
        "class_names": list(class_names),
        "input": f"{what} 0-255, float32, (num_images, {image_size}, {image_size}, {num_channels(channels)})",
        "image_size": image_size,
        "image_bits": image_bits,
        "resize": resize,
        "channels": list(channels),
    }


def embed(path: Path, content: dict[str, Any]) -> None:
    """Adds a description to a `.keras` file, or appends it to a `.tflite` file, as Zip archive. Either loads as before.

    Args:
        path: The file.
        content: From `description`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from strategies.training.embedded import description, embed, read_embedded
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.tflite"
        ...     _ = path.write_bytes(b"a model")
        ...     embed(path, description(["cat", "dog"], 96, 16, "squeeze", ()))
        ...     read_embedded(path)["class_names"]
        ['cat', 'dog']
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ENTRY, json.dumps(content, ensure_ascii=False))


def read_embedded(path: str | Path) -> Any:
    """Returns the description in a model file, or `None` if it has none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(ENTRY)) if ENTRY in archive.namelist() else None
