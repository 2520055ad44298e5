"""Tests whether Grad-CAM finds the object: flowers pasted into a quadrant of a scene, and a sheet of pictures.

    python benchmarks/gradcam.py FLOWERS SCENES --out sheet.png [--things FASHION]

FLOWERS and SCENES are class folders, such as `flowers5` and `intel_scenes`. For each backbone with pretrained weights,
a head is trained on the flowers (`head_only`, a few seconds). Test flowers that are recognized in their quadrant with a
probability of one half or more are clear cases. For these, the share of the heat within the quadrant is printed; by
chance, it would be one quarter. With `--things`, a class folder that is easy to learn, such as `fashion10`, a network
of another family learns from random weights to name an object anywhere in a scene (`retrain_all`, a few minutes), and
is tested in the same way.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw

from strategies import gradcam, load_dataset, make_plan, overlay, split_dataset, train
from strategies.data.decoding import decode_image, decode_images
from strategies.training.result import TrainingResult

BACKBONES = (("MobileNetV2-0.35", "imagenet"), ("MobileNet-0.25", "imagenet"), ("MobileNetV2-0.35", "bundled"))
FROM_SCRATCH = ("MobileNetV3Small-0.75",)
SIZE, SMALL, CELL = 224, 96, 160
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
NUM_TRAIN, NUM_CASES, NUM_SHOWN = 250, 100, 10
NUM_OBJECTS, PASSES = 2_000, 10


def main() -> None:
    """Prints a row for each backbone and background, and writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flowers", type=Path)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gradcam.png"))
    parser.add_argument("--things", dest="objects", type=Path, help="class folder of objects")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.flowers)
    chosen = np.random.default_rng(0).permutation(len(dataset))[: NUM_TRAIN + 150]
    dataset = split_dataset(dataset.subset(chosen), seed=0, test_fraction=0.4, val_fraction=0.1)
    test = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    scenes = sorted(arguments.scenes.rglob("*.jpg"))[::50]
    rows = []
    print(f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|")
    for backbone, weights in BACKBONES:
        plan = make_plan(
            "head_only",
            backbone,
            class_names=dataset.class_names,
            num_train=NUM_TRAIN,
            image_size=SIZE,
            weights=weights,
        )
        result = train(plan, dataset, baseline=False)
        photos = decode_images(test.items[:NUM_SHOWN], SIZE)
        rows.append([(photo, heat, "") for photo, heat in zip(photos, gradcam(result.model, photos), strict=True)])
        name = f"{backbone}, {weights}"
        rows += judge(result, name, test.items[:NUM_CASES], test.labels[:NUM_CASES], scenes, SIZE)
    if arguments.objects is not None:
        for backbone in FROM_SCRATCH:
            result, objects, labels = learn(backbone, arguments.objects, scenes)
            rows += judge(result, f"{backbone}, from random weights", objects, labels, scenes, SMALL)
    sheet(rows).save(arguments.out)


def learn(backbone: str, folder: Path, scenes: list[Path]) -> tuple[TrainingResult, list[Path], np.ndarray]:
    """Trains a network from random weights on objects in random quadrants; returns it and objects it has not seen."""
    dataset = load_dataset(folder)
    order = np.random.default_rng(0).permutation(len(dataset))
    seen, unseen = order[:NUM_OBJECTS], order[NUM_OBJECTS : NUM_OBJECTS + NUM_CASES]
    objects = [dataset.items[index] for index in seen]
    half = NUM_OBJECTS // 2
    images = np.concatenate(
        [compose(objects[:half], None, SMALL, seed=0)[0], compose(objects[half:], scenes, SMALL, seed=1)[0]]
    )
    names = np.array(dataset.class_names)
    plan = make_plan(
        "retrain_all",
        backbone,
        class_names=dataset.class_names,
        num_train=int(0.7 * NUM_OBJECTS),
        image_size=SMALL,
        weights="random",
        budget=PASSES / 16,
    )
    result = train(plan, (images, names[dataset.labels[seen]]), baseline=False)
    return result, [dataset.items[index] for index in unseen], dataset.labels[unseen]


def judge(
    result: TrainingResult, name: str, photos: list[Path], labels: np.ndarray, scenes: list[Path], size: int
) -> list[list[tuple[np.ndarray, np.ndarray, str]]]:
    """Prints a row for each background, and returns the clear cases for the sheet."""
    shown = []
    for background in ("gray", "scenes"):
        images, quadrants = compose(photos, scenes if background == "scenes" else None, size)
        probabilities = result.model.predict(images.astype("float32"), verbose=0)
        clear = (probabilities.argmax(axis=1) == labels) & (probabilities.max(axis=1) >= CLEAR)
        heats = gradcam(result.model, images, classes=labels)
        shares = np.array([share_of_heat(*pair) for pair in zip(heats, quadrants, strict=True)])
        cells = [name, f"{result.test.accuracy:.0%}", background, str(int(clear.sum()))]
        cells += [str(int(is_hottest_in(heats, quadrants)[clear].sum())), str(int((shares[clear] > 0.5).sum()))]
        print(f"| {' | '.join([*cells, f'{shares[clear].mean():.0%}'])} |", flush=True)
        first = np.flatnonzero(clear)[:NUM_SHOWN]
        shown.append([(images[index], heats[index], f"{shares[index]:.0%}") for index in first])
    return shown


def compose(
    photos: list[Path], backgrounds: list[Path] | None, size: int, *, seed: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes each photo into a quadrant of a gray square or a scene: quadrants in turn, or at random."""
    images, quadrants = [], np.arange(len(photos)) % 4
    if seed is not None:
        quadrants = np.random.default_rng(seed).permutation(quadrants)
    for index, (photo, quadrant) in enumerate(zip(photos, quadrants, strict=True)):
        scene = decode_image(backgrounds[index % len(backgrounds)], size) if backgrounds else None
        image = np.full((size, size, 3), 128, dtype="uint8") if scene is None else scene
        half = size // 2
        top, left = half * (quadrant // 2), half * (quadrant % 2)
        image[top : top + half, left : left + half] = decode_image(photo, half)
        images.append(image)
    return np.stack(images), quadrants


def share_of_heat(heat: np.ndarray, quadrant: int) -> float:
    """Returns the share of the heat that lies in the quadrant: 0 top left, 1 top right, 2 and 3 below."""
    half = len(heat) // 2
    top, left = half * (quadrant // 2), half * (quadrant % 2)
    total = float(heat.sum())
    return float(heat[top : top + half, left : left + half].sum()) / total if total else 0.0


def is_hottest_in(heats: np.ndarray, quadrants: np.ndarray) -> np.ndarray:
    """Returns whether the hottest point of each map is in the quadrant: the pointing game of Zhang et al. 2016."""
    tops, lefts = np.divmod(heats.reshape(len(heats), -1).argmax(axis=1), heats.shape[2])
    half = heats.shape[2] // 2
    return 2 * (tops >= half) + (lefts >= half) == quadrants


def sheet(rows: list[list[tuple[np.ndarray, np.ndarray, str]]]) -> Image.Image:
    """Returns a picture of each image with its overlay below it."""
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
