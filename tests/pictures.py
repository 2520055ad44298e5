"""Small synthetic pictures of classes that are easy to tell apart, for tests that build their own datasets."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

COLORS = ((190, 90, 60), (60, 100, 190), (70, 170, 80), (200, 190, 70), (150, 80, 170), (90, 180, 180))
FORMATS = {"": "JPEG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


def picture(kind: int, seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Returns a picture of class `kind`: own color and direction of its bands, with blobs that differ by `seed`."""
    width, height = size
    rng = np.random.default_rng(10_000 * kind + seed)
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin((x * np.cos(0.9 * kind) + y * np.sin(0.9 * kind)) / (3 + kind % 4 + rng.uniform(0, 0.6)))
    values = np.array(COLORS[kind % 6]) + 45 * wave[..., None] + rng.normal(0, 10, (height, width, 3))
    image = Image.fromarray(values.clip(0, 255).astype("uint8"))
    draw = ImageDraw.Draw(image)
    for _ in range(7):
        left, top = rng.integers(0, width - 10), rng.integers(0, height - 10)
        box = (left, top, left + rng.integers(6, 40), top + rng.integers(6, 40))
        draw.ellipse(box, fill=tuple(rng.integers(0, 255, 3).tolist()))
    return image


def fill(folder: Path, count: int, kind: int, ext: str = ".jpg", *, start: int = 0, **options: Any) -> None:
    """Writes `count` pictures of class `kind` into a folder: `000.jpg`, `001.jpg` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(start, start + count):
        format_name = FORMATS.get(ext.lower(), ext[1:].upper())
        picture(kind, index).save(folder / f"{index:03d}{ext}", format_name, **options)


def study_folders(root):
    """Writes two datasets of 60 small images, in two classes and tracks of three."""
    generator = np.random.default_rng(0)
    for name in ("signs", "spots"):
        for label, level in (("dark", 60), ("light", 190)):
            (root / name / label).mkdir(parents=True)
            for index in range(30):
                pixels = np.clip(generator.normal(level, 40, (32, 32, 3)), 0, 255).astype("uint8")
                Image.fromarray(pixels).save(root / name / label / f"{index // 3:02}_{index}.png")
    return root
