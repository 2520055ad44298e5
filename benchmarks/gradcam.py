"""Whether Grad-CAM finds the object: flowers pasted into one quadrant of a scene, and a sheet of pictures to look at.

    python benchmarks/gradcam.py FLOWERS SCENES --out sheet.png

FLOWERS and SCENES are class folders, such as `flowers5` and `intel_scenes`. A head is trained on the flowers for each
backbone (`head_only`, a few seconds). Test flowers that are recognised in their quadrant with half of the probability
or more are clear cases; the share of the heat within that quadrant is printed, beside the quarter of the area that it
would have by chance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw

from strategies import gradcam, load_dataset, make_plan, overlay, split_dataset, train
from strategies.pixels import decode_image, decode_images

BACKBONES = ("MobileNetV2-0.35", "MobileNet-0.25")
SIZE, CELL = 224, 160
CLEAR = 0.5  # probability
COLUMNS = (
    "backbone",
    "test accuracy",
    "background",
    "clear cases",
    "hottest point in the quadrant",
    "most heat in the quadrant",
    "mean share of the heat",
)
NUM_TRAIN, NUM_CASES, NUM_SHOWN = 250, 100, 8


def main() -> None:
    """Prints one row per backbone and background, and writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flowers", type=Path)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gradcam.png"))
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.flowers)
    chosen = np.random.default_rng(0).permutation(len(dataset))[: NUM_TRAIN + 150]
    dataset = split_dataset(dataset.subset(chosen), seed=0, test_fraction=0.4, val_fraction=0.1)
    test = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    scenes = sorted(arguments.scenes.rglob("*.jpg"))[::50]
    rows = []
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    for backbone in BACKBONES:
        plan = make_plan("head_only", backbone, class_names=dataset.class_names, num_train=NUM_TRAIN, image_size=SIZE)
        result = train(plan, dataset)
        photos = decode_images(test.items[:NUM_SHOWN], SIZE)
        rows.append([(one, heat, "") for one, heat in zip(photos, gradcam(result.model, photos), strict=True)])
        for background in ("gray", "scenes"):
            images, quadrants = compose(test.items[:NUM_CASES], scenes if background == "scenes" else None)
            labels = test.labels[:NUM_CASES]
            probabilities = result.model.predict(images.astype("float32"), verbose=0)
            clear = (probabilities.argmax(axis=1) == labels) & (probabilities.max(axis=1) >= CLEAR)
            heats = gradcam(result.model, images, classes=labels)
            shares = np.array([share_of_heat(*pair) for pair in zip(heats, quadrants, strict=True)])
            cells = [backbone, f"{result.test.accuracy:.0%}", background, str(int(clear.sum()))]
            cells += [str(int(is_hottest_in(heats, quadrants)[clear].sum())), str(int((shares[clear] > 0.5).sum()))]
            print(f"| {' | '.join([*cells, f'{shares[clear].mean():.0%}'])} |")
            shown = np.flatnonzero(clear)[:NUM_SHOWN]
            rows.append([(images[index], heats[index], f"{shares[index]:.0%}") for index in shown])
    sheet(rows).save(arguments.out)


def compose(photos: list[Path], backgrounds: list[Path] | None) -> tuple[np.ndarray, np.ndarray]:
    """Pastes each photo into a quadrant, one after the other, of a gray square or of a scene."""
    images, quadrants = [], np.arange(len(photos)) % 4
    for index, (photo, quadrant) in enumerate(zip(photos, quadrants, strict=True)):
        scene = decode_image(backgrounds[index % len(backgrounds)], SIZE) if backgrounds else None
        image = np.full((SIZE, SIZE, 3), 128, dtype="uint8") if scene is None else scene
        half = SIZE // 2
        top, left = half * (quadrant // 2), half * (quadrant % 2)
        image[top : top + half, left : left + half] = decode_image(photo, half)
        images.append(image)
    return np.stack(images), quadrants


def share_of_heat(heat: np.ndarray, quadrant: int) -> float:
    """Returns the share of the heat that lies in the quadrant: 0 top left, 1 top right, 2 and 3 below."""
    half = SIZE // 2
    top, left = half * (quadrant // 2), half * (quadrant % 2)
    total = float(heat.sum())
    return float(heat[top : top + half, left : left + half].sum()) / total if total else 0.0


def is_hottest_in(heats: np.ndarray, quadrants: np.ndarray) -> np.ndarray:
    """Returns whether the hottest point of each map lies in the quadrant: the pointing game of Zhang et al. 2016."""
    tops, lefts = np.divmod(heats.reshape(len(heats), -1).argmax(axis=1), SIZE)
    return 2 * (tops >= SIZE // 2) + (lefts >= SIZE // 2) == quadrants


def sheet(rows: list[list[tuple[np.ndarray, np.ndarray, str]]]) -> Image.Image:
    """Returns a picture with each image above its overlay."""
    width = max(len(row) for row in rows)
    picture = Image.new("RGB", (width * CELL, 2 * len(rows) * CELL), "white")
    draw = ImageDraw.Draw(picture)
    for number, row in enumerate(rows):
        for column, (image, heat, text) in enumerate(row):
            for below, pixels in enumerate((image, overlay(image, heat))):
                corner = (column * CELL, (2 * number + below) * CELL)
                picture.paste(Image.fromarray(pixels).resize((CELL, CELL)), corner)
            draw.text((corner[0] + 4, corner[1] + 4), text, fill="white")
    return picture


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main()
