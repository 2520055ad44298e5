"""Compares images of several bands with RGB images: python benchmarks/bands.py DATASETS [--only NAMES] [--export]

For each class folder below a folder, 300 images for training and up to 400 test images are written in several forms:
RGB (PNG); the same as arrays of 12 bits, and as gray images (PNG); the gray images as arrays of one band; and 13 bands,
each a random mixture of red, green and blue, with noise. The last form is also trained with the mean of all bands in
place of the mixing that was found. Prints a row for each form: the test accuracy of each recipe, in percent, its mean
difference from that of the first form, in points, and by how much the probabilities that `predict` gives for the test
files differ from those of the model in training, for the last recipe. With --export, exported models of `fine_tune_all`
on 13 bands are compared with the model.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import advisor
import strategies
from advisor.evidence.study import choose_datasets, draw
from advisor.recommendation import plans_of
from strategies.data.channels import with_channels
from strategies.data.decoding import decode_image
from strategies.data.pixels import Pixels
from strategies.features.forward import forward
from strategies.recipes import RECIPES

NUM_IMAGES, NUM_TESTED, LONGEST_SIDE = 300, 400, 160
NUM_BANDS, NOISE = 13, 4.0  # levels of 255
FORMS = {  # name -> how the files end, and the channels that are named
    "RGB": (".png", None),
    "RGB, 12 bits, .npy": (".npy", (1, 2, 3)),
    "gray": (".png", None),
    "gray, 1 band, .npy": (".npy", (1,)),
    "13 bands": (".npy", None),
    "13 bands, their mean": (".npy", None),
}


def values_of(form, pixels, shares, generator):
    """Returns an image in a form, given as uint8 RGB."""
    if form == "RGB, 12 bits, .npy":
        return np.rint(pixels / 255 * 4095).astype("uint16")
    if form.startswith("gray"):
        return np.asarray(Image.fromarray(pixels).convert("L"))
    if form.startswith("13"):
        mixed = pixels @ shares.T + generator.normal(0, NOISE, (*pixels.shape[:2], NUM_BANDS))
        return np.clip(np.rint(mixed), 0, 255).astype("uint8")
    return pixels


def write(dataset, form, folder, seed):
    """Writes images in a form as class folders in a folder for each split."""
    shares = np.random.default_rng(seed).dirichlet([1, 1, 1], NUM_BANDS)
    generator = np.random.default_rng(seed)
    suffix, _ = FORMS[form]
    for number, (item, label, split) in enumerate(zip(dataset.items, dataset.labels, dataset.split, strict=True)):
        image = Image.fromarray(decode_image(item))
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        path = folder / split / dataset.class_names[label] / f"{number:04}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = values_of(form, np.asarray(image), shares, generator)
        if suffix == ".npy":
            np.save(path, values)
        else:
            Image.fromarray(values).save(path)


def measure(form, images, runs, given):
    """Returns the test accuracy of each recipe, and the largest difference of what `predict` gives for test images."""
    options = {"backbone": given.backbone, "image_size": given.image_size, "seed": given.seed, "resize": "squeeze"}
    advice = advisor.recommend(images, **options, channels=FORMS[form][1])
    data, accuracy = advice.dataset, {}
    for recipe, plan in plans_of(advice).items():
        if form.endswith("mean"):
            plan = replace(plan, network=replace(plan.network, mixing=()))
            data = replace(data, items=with_channels(data.items, plan.channels))
        plan = strategies.with_budget(plan, given.budget)
        result = strategies.train(plan, data, runs / recipe, baseline=False)
        accuracy[recipe] = 100 * result.test.accuracy
    tested = data.subset(np.flatnonzero(np.array(data.split) == "test"))
    found = strategies.predict(runs / recipe, [images / name for name in tested.names], all_classes=True)
    pixels = Pixels(tested.items, plan.image_size, num_channels=plan.network.num_channels)
    (expected,) = forward(result.model, pixels, description="")
    predicted = found[[f"p({name})" for name in plan.class_names]].to_numpy()
    return accuracy, np.abs(predicted - expected).max()


def export(run, images):
    """Prints how well exported models agree with the model of a run."""
    for name in ("onnx", "litert", "savedmodel"):
        found = strategies.export(run, name, data=images)
        print(
            f"{name}: the same class for {found.top1_agreement:.1%} of {found.num_images} images; probabilities differ "
            f"by up to {found.largest_difference:.1e}",
            flush=True,
        )


def main():
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", default="", help="names of datasets, separated by commas")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--budget", type=float, default=1.0, help="share of the training steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forms", default=";".join(FORMS), help="names of forms, separated by semicolons")
    parser.add_argument("--export", action="store_true")
    given = parser.parse_args()
    print(f"| dataset | form | {' | '.join(RECIPES)} | difference | predict |")
    print("| --- " * (4 + len(RECIPES)) + "|")
    for name, dataset in choose_datasets(given.datasets, [name for name in given.only.split(",") if name]).items():
        drawn = draw(dataset, NUM_IMAGES, given.seed)
        is_test = np.array(drawn.split) == "test"
        drawn = drawn.subset([*np.flatnonzero(~is_test), *np.flatnonzero(is_test)[:: -(-is_test.sum() // NUM_TESTED)]])
        reached = {}
        for form in given.forms.split(";"):
            with tempfile.TemporaryDirectory() as folder:
                images, runs = Path(folder, "images"), Path(folder, "runs")
                runs.mkdir()
                write(drawn, form, images, given.seed)
                reached[form], difference = measure(form, images, runs, given)
                gained = np.mean([reached[form][recipe] - next(iter(reached.values()))[recipe] for recipe in RECIPES])
                cells = " | ".join(f"{reached[form][recipe]:.1f}" for recipe in RECIPES)
                print(f"| {name} | {form} | {cells} | {gained:+.1f} | {difference:.1e} |", flush=True)
                if given.export and form == "13 bands":
                    export(runs / "fine_tune_all", images)


if __name__ == "__main__":
    main()
