"""Feeds damaged inputs to the code that reads them: python benchmarks/fuzz.py --inputs 100000

Inputs are images, archives, folders, patterns and plans.
Each input is a valid one with random changes: bytes are flipped, cut out, doubled or replaced; values of a plan are
replaced, removed or moved. Folders and patterns are made of random words. An input must be accepted, with every file
used or with a reason not to, or refused with an error of this package; anything else is a defect.
Prints a row for each target, and the first defects, each with the seed that reproduces it. The exit code is 1 if there
is a defect.
"""

import argparse
import copy
import io
import json
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from strategies.data.dataset import check_classes
from strategies.data.decoding import decode_image
from strategies.data.encoded import Encoded
from strategies.data.loading import load_dataset
from strategies.data.sources.folders import Listing, by_folder, check_folders, folders_of
from strategies.data.sources.patterns import list_pattern
from strategies.errors import UserError
from strategies.plans.plan import plan_from_dict, read_plan
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES

SHOWN = 5
COPIES = 3  # images of each class in an archive
WORDS = ("train", "Testing", "dev", "seg_train", "seg_test", "cat", "Cat ", "dog", ".hid", "plan.json", "test1", "\n")
SUFFIXES = (".png", ".JPG", "", ".heic", ".txt", ".csv", "/plan.json", ".")
MAGIC = ("*", "**", "?", "[!a]*", "[", "*.png", "c*t", "{a,b}", "**/**", "\0")
IMAGES = (  # format, mode, options of Pillow
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {"transparency": 0}),
    ("PNG", "I;16", {}),
    ("PNG", "1", {}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("GIF", "P", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("TIFF", "RGB", {}),
    ("TIFF", "I;16", {}),
    ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
)
VALUES = (
    None,
    True,
    0,
    -1,
    1e308,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "\ud800",
    "stage1",
    "\x1b[2J",
    [],
    {},
    [[]],
)


def main():
    """Runs each target on its share of the inputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first input; the next inputs use the next seeds"
    )
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow warns about odd metadata
    with tempfile.TemporaryDirectory() as folder:
        targets = {
            "images": Images(),
            "archives": Archives(Path(folder)),
            "folders": Folders(),
            "patterns": Patterns(Path(folder)),
            "plans": Plans(Path(folder)),
        }
        counts, slowest, defects = {name: Counter() for name in targets}, dict.fromkeys(targets, 0.0), []
        for seed in range(given.seed, given.seed + given.inputs):
            name = list(targets)[seed % len(targets)]
            start = time.perf_counter()
            try:
                targets[name](np.random.default_rng(seed))
                counts[name]["accepted"] += 1
            except UserError:
                counts[name]["refused"] += 1
            except Exception:
                counts[name]["defect"] += 1
                defects.append((seed, traceback.format_exc()))
            slowest[name] = max(slowest[name], time.perf_counter() - start)
    print("| target | inputs | accepted | refused with an error of this package | defects | slowest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, count in counts.items():
        row = [f"{count[kind]:,}" for kind in ("accepted", "refused", "defect")]
        print(f"| {name} | {count.total():,} | {' | '.join(row)} | {slowest[name]:.2f} s |")
    for seed, text in defects[:SHOWN]:
        print(f"\n--seed {seed} --inputs 1\n{text}")
    sys.exit(bool(defects))


class Images:
    """Decodes damaged bytes of all image formats."""

    def __init__(self):
        pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype="uint8")
        self.good = []
        for kind, mode, options in IMAGES:
            gray = Image.fromarray(pixels[..., 0].astype("uint16") * 257)
            image = gray if mode == "I;16" else Image.fromarray(pixels).convert(mode)
            exif = Image.Exif()
            exif[0x0112] = 6
            file = io.BytesIO()
            image.save(file, kind, **options, **({"exif": exif} if kind in ("JPEG", "WEBP", "PNG") else {}))
            self.good.append(file.getvalue())

    def __call__(self, generator):
        """Decodes one damaged image."""
        content = damaged(self.good[generator.integers(len(self.good))], generator)
        decode_image(Encoded("fuzz", lambda: content), 16 if generator.random() < 0.5 else None)


class Archives:
    """Reads damaged zip files, tar files of all kinds and .npz files of a class folder. No image may be missing."""

    def __init__(self, folder):
        self.folder, self.good = folder, {}
        png = Images().good[3]
        names = [f"{name}/{index}.png" for name in ("cat", "dog") for index in range(COPIES)]
        for name in ("a.zip", "windows.zip"):
            with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
                for member in names:
                    info = zipfile.ZipInfo("x")
                    info.filename = member.replace("/", "\\") if name == "windows.zip" else member
                    archive.writestr(info, png)
        for name, mode, kind in (
            ("a.tar", "w", tarfile.GNU_FORMAT),
            ("pax.tar", "w", tarfile.PAX_FORMAT),
            ("a.tgz", "w:gz", tarfile.GNU_FORMAT),
            ("a.tar.bz2", "w:bz2", tarfile.GNU_FORMAT),
        ):
            with tarfile.open(folder / name, mode, format=kind) as archive:
                for member in names:
                    info = tarfile.TarInfo(member)
                    info.size, info.pax_headers = len(png), {"comment": "a record", "size": str(len(png))}
                    archive.addfile(info, io.BytesIO(png))
        pixels = np.zeros((COPIES, 8, 8), "uint8")
        np.savez(
            folder / "a.npz",
            **{f"{x}_{part}": pixels[..., 0, 0] if x == "y" else pixels for x in "xy" for part in ("train", "test")},
        )
        self.good = {path.name: path.read_bytes() for path in folder.iterdir()}

    def __call__(self, generator):
        """Lists one damaged archive and decodes its images."""
        name = str(generator.choice(list(self.good)))
        path = self.folder / f"damaged {name}"
        path.write_bytes(damaged(self.good[name], generator))
        dataset = load_dataset(path, for_training=False)
        if len(dataset) + len(dataset.ignored) < 2 * COPIES and not (name == "a.npz" and dataset.ignored):
            raise AssertionError(f"only {len(dataset)} images of {name}, and {dataset.ignored}")
        for item in dataset.items:
            decode_image(item, 16)


class Folders:
    """Reads listings of files and folders with random names."""

    def __call__(self, generator):
        """Labels the images of one listing."""
        listing = Listing()
        words = generator.choice(WORDS, generator.integers(1, 5)).tolist()
        depths, suffixes = generator.integers(4, size=2), SUFFIXES[: generator.integers(1, len(SUFFIXES))]
        for index in range(generator.integers(1, 60)):
            folders = [word(generator, words) for _ in range(generator.choice(depths))]
            name = "/".join([*folders, f"{index}{word(generator, suffixes)}"])
            listing.add(name, Encoded("fuzz", lambda: b"GIF89a"))
        listing.folders = folders_of([*listing.images, *listing.ignored])
        number = len(listing.images) + len(listing.ignored)
        dataset = by_folder(listing, "fuzz")
        if len(dataset) + len(dataset.ignored) != number:
            raise AssertionError(f"{number} files, of which {len(dataset)} are used and {len(dataset.ignored)} are not")
        check_folders(dataset)
        check_classes(dataset)


class Patterns:
    """Finds the images of random patterns in a folder with links in a circle."""

    def __init__(self, folder):
        self.root = folder / "pictures"
        for name in WORDS[:4]:
            (self.root / name).mkdir(parents=True)
            (self.root / name / "0.png").write_bytes(b"")
            (self.root / name / "link.png").symlink_to("/etc/hostname")
            (self.root / name / "circle").symlink_to(self.root, target_is_directory=True)

    def __call__(self, generator):
        """Finds the images of one pattern."""
        parts = [word(generator, (*WORDS, *MAGIC)) for _ in range(generator.integers(1, 6))]
        found = list_pattern("/".join([str(self.root), *parts])).images.values()
        outside = [path for path in found if not path.resolve().is_relative_to(self.root.resolve())]
        if outside:
            raise AssertionError(f"{parts} leads to {outside[0]}")


def word(generator, words):
    """Returns one of the words."""
    return str(generator.choice(words))


class Plans:
    """Reads plans of all four recipes with changed values, and damaged bytes of `plan.json`."""

    def __init__(self, folder):
        self.path = folder / "plan.json"
        self.good = [
            make_plan(recipe, "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80).to_dict()
            for recipe in RECIPES
        ]

    def __call__(self, generator):
        """Reads one changed or damaged plan."""
        values = copy.deepcopy(self.good[generator.integers(len(self.good))])
        if generator.random() < 0.25:
            self.path.write_bytes(damaged(json.dumps(values).encode(), generator))
            read_plan(self.path)
            return
        for _ in range(generator.integers(1, 4)):
            change(values, generator)
        if generator.random() < 0.5:
            values["freeze_map"] = []
        plan_from_dict(values)


def damaged(content, generator):
    """Returns bytes with a few changes."""
    content = bytearray(content)
    for _ in range(generator.integers(1, 6)):
        start = int(generator.integers(len(content) + 1))
        end = start + int(generator.integers(1, 1 + 4 ** generator.integers(1, 5)))
        match generator.integers(6):
            case 0:
                content[start : start + 1] = bytes([generator.integers(256)])
            case 1:
                del content[start:end]
            case 2:
                content[start:start] = content[start:end]
            case 3:
                content[start:end] = generator.integers(0, 256, end - start, dtype="uint8").tobytes()
            case 4:
                content[start : start + 4] = b"\xff\xff\xff\x7f"
            case 5:
                del content[start:]
    return bytes(content)


def change(values, generator):
    """Replaces, removes or copies one value somewhere in nested dictionaries and lists."""
    place = values
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = keys[generator.integers(len(keys))]
        if isinstance(place[key], dict | list) and place[key] and generator.random() < 0.75:
            place = place[key]
            continue
        match generator.integers(4):
            case 0 | 1:
                place[key] = copy.deepcopy(VALUES[generator.integers(len(VALUES))])
            case 2:
                del place[key]
            case 3:
                place[key] = copy.deepcopy(place[keys[generator.integers(len(keys))]])
        return


if __name__ == "__main__":
    main()
