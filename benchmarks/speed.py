"""Measures speed as ratios: python benchmarks/speed.py DATASETS [--row recommend] [--repeats 5]

DATASETS is a folder with the class folders `imagenet_samples` and `intel_scenes`. Each row runs this package and its
reference in turn, and prints the medians and their ratio. Needs OpenVINO (`pip install '.[openvino]'`).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

BACKBONE = "MobileNetV2-0.35"
ADVISOR = [sys.executable, "-m", "advisor"]
ENLARGED, NUM_CLASSES = 1.6, 10
Row = tuple[str, float, float]  # name, this package, reference
Ways = dict[str, Callable[[], tuple[float, str]]]  # name -> function that returns seconds and stdout

PREDICT = """
import keras, sys
photos = keras.utils.image_dataset_from_directory(sys.argv[1], image_size=(224, 224), shuffle=False, verbose=False)
network = keras.applications.MobileNetV2((224, 224, 3), alpha=0.35, include_top=False, pooling="avg")
image = keras.Input((224, 224, 3))
model = keras.Model(image, network(keras.applications.mobilenet_v2.preprocess_input(image)))
model.predict(photos, verbose=0)
"""
PREDICT_RUN = """
import keras, sys
model = keras.models.load_model(f"{sys.argv[2]}/model.keras", compile=False)
size = model.input_shape[1:3]
photos = keras.utils.image_dataset_from_directory(sys.argv[1], image_size=size, shuffle=False, verbose=False)
model.predict(photos, verbose=0)
"""
GUIDE = """
import json, keras, sys
seed, size, splits = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
keras.utils.set_random_seed(seed)
read = lambda part, shuffle: keras.utils.image_dataset_from_directory(
    f"{splits}/{part}", image_size=(size, size), shuffle=shuffle, seed=seed, verbose=False)
base = keras.applications.MobileNetV2((size, size, 3), alpha=0.35, include_top=False, weights=None)
base.load_weights(sys.argv[4])
base.trainable = False
image = keras.Input((size, size, 3))
features = base(keras.applications.mobilenet_v2.preprocess_input(image), training=False)
features = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(features))
train = read("train", True)
model = keras.Model(image, keras.layers.Dense(len(train.class_names), activation="softmax")(features))
model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(train.prefetch(2), validation_data=read("val", False).prefetch(2), epochs=20, verbose=0)
accuracy = model.evaluate(read("test", False), verbose=0)[1]
model.save(sys.argv[5])
print(json.dumps(accuracy))
"""
WATCH = """
import json, sys, time
import keras

class Watch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.first, self.laps = None, []
    def on_train_begin(self, logs=None):
        self.started = time.perf_counter()
    def on_epoch_begin(self, epoch, logs=None):
        self.last = None
    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        now = time.perf_counter()
        if self.first is None:
            self.first = now - self.started
        if self.last is not None:
            self.laps.append(now - self.last)
        self.last = now

watch = Watch()
"""
STEPS = f"""{WATCH}
from dataclasses import replace
import strategies
data = strategies.load_dataset(sys.argv[1])
data = strategies.split_dataset(replace(data, split=("train",) * len(data)), seed=0)
plan = strategies.make_plan(
    "fine_tune_all", sys.argv[2], class_names=data.class_names, num_train=data.split.count("train"), image_size=128)
plan = replace(plan, phases=(replace(plan.phases[-1], steps=64),), refit=False)
strategies.train(plan, data, callbacks=[watch], cache=False, baseline=False)
print(json.dumps([watch.first, watch.laps]))
"""
FIT = f"""{WATCH}
photos = keras.utils.image_dataset_from_directory(
    sys.argv[1], image_size=(128, 128), label_mode="categorical", batch_size=None, verbose=False)
change = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(0.1, 0.1)])
photos = photos.cache()
sum(1 for _ in photos)  # decodes all, which is not measured
batches = photos.shuffle(512).batch(32, drop_remainder=True).map(lambda x, y: (change(x, training=True), y), 2)
network = keras.applications.MobileNetV2((128, 128, 3), alpha=0.35, include_top=False, pooling="avg", weights=None)
for layer in network.layers:
    layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
image = keras.Input((128, 128, 3))
features = network(keras.applications.mobilenet_v2.preprocess_input(image), training=False)
model = keras.Model(image, keras.layers.Dense(6, activation="softmax")(features))
model.compile(keras.optimizers.AdamW(), "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
model.fit(batches.prefetch(2), epochs=4, callbacks=[watch], verbose=0)
print(json.dumps([watch.first, watch.laps]))
"""
ADVICE = """
import json, resource, sys, time
import advisor
from strategies.data.loading import load_dataset
started = time.perf_counter()
dataset = load_dataset(sys.argv[1])
listed = time.perf_counter()
advisor.recommend(dataset, backbone=sys.argv[2])
usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps([time.perf_counter() - listed, listed - started, usage]))
"""


def enlarge(source: Path, out: Path) -> Path:
    """Writes the photos of a class folder, enlarged 1.6 times and regrouped into ten classes."""
    for index, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())[:1000]):
        folder = out / f"class{index * NUM_CLASSES // 1000}"
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            size = round(image.width * ENLARGED), round(image.height * ENLARGED)
            image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(folder / f"{index:04}.jpg", quality=90)
    return out


def run(command: list[str], **environment: str | Path) -> tuple[float, str]:
    """Runs a command and returns its seconds and its stdout."""
    values = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **{name: str(value) for name, value in environment.items()}}
    started = time.perf_counter()
    done = subprocess.run(command, env=values, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started, done.stdout


def compared(ways: Callable[[int], Ways], repeats: int, reference: str) -> Iterator[Row]:
    """Times each way in turn, so often, and compares the median of each with that of the first, the reference."""
    seconds: dict[str, list[float]] = {}
    for number in range(repeats):
        for name, way in ways(number).items():
            seconds.setdefault(name, []).append(way()[0])
    first, *others = ((name, median(values)) for name, values in seconds.items())
    for name, value in others:
        yield f"{name} / {reference}", value, first[1]


def convert(advise: list[str], photos: Path, work: Path) -> None:
    """Fills a cache, `converted`, with the networks of a command, by a run of it on four photos of each class."""
    few = work / "few"  # nothing that is found for them is used again
    for folder in sorted(photos.iterdir()):
        (few / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:4]:
            shutil.copy(path, few / folder.name)
    run([*advise, str(few)], ADVISOR_CACHE=work / "converted")


def recommend_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares the advice on 1,000 photos with one pass of the same network in Keras, both as whole commands."""
    photos = enlarge(datasets / "imagenet_samples", work / "photos")
    advise = [*ADVISOR, "recommend", "--backbone", BACKBONE, "--image-size", "224"]
    convert(advise, photos, work)

    def ways(number: int) -> Ways:
        shutil.copytree(work / "converted", work / f"cache{number}")
        return {
            "predict": lambda: run([sys.executable, "-c", PREDICT, str(photos)]),
            "recommend": lambda cache=work / f"cache{number}": run([*advise, str(photos)], ADVISOR_CACHE=cache),
            "recommend, second time": lambda cache=work / f"cache{number}": run(
                [*advise, str(photos)], ADVISOR_CACHE=cache
            ),
            "recommend, first use of a network": lambda cache=work / f"new{number}": run(
                [*advise, str(photos)], ADVISOR_CACHE=cache
            ),
            "recommend, without OpenVINO": lambda cache=work / f"keras{number}": run(
                [*advise, str(photos)], ADVISOR_CACHE=cache, ADVISOR_ENGINE="keras"
            ),
        }

    yield from compared(ways, repeats, "model.predict")


def predict_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares `predict` on 1,000 photos with the same model in Keras, both as whole commands."""
    photos = enlarge(datasets / "imagenet_samples", work / "photos")
    train = [*ADVISOR, "train", str(photos), "--recipe", "head_only", "--backbone", BACKBONE, "--image-size", "224"]
    run([*train, "--out", str(work / "run")], ADVISOR_CACHE=work / "trained")
    predict = [*ADVISOR, "predict", str(work / "run"), str(photos), "--csv"]

    def ways(number: int) -> Ways:
        cache = work / f"cache{number}"
        return {
            "keras": lambda: run([sys.executable, "-c", PREDICT_RUN, str(photos), str(work / "run")]),
            "predict, first use of a run": lambda: run(predict, ADVISOR_CACHE=cache),
            "predict": lambda: run(predict, ADVISOR_CACHE=cache),
            "predict, without OpenVINO": lambda: run(predict, ADVISOR_CACHE=cache, ADVISOR_ENGINE="keras"),
        }

    yield from compared(ways, repeats, "model.predict of the run's model")


def many_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares the advice on a million files with 100,000: 20,000 small crops, linked often."""
    sources = sorted(path for path in (datasets / "imagenet_samples").rglob("*") if path.is_file())
    (work / "crops").mkdir()
    for index in range(20_000):
        with Image.open(sources[index // 20]) as image:
            generator = np.random.default_rng(index)
            left, top = (generator.random(2) * (np.array(image.size) - 32).clip(1)).astype(int).tolist()
            image.convert("RGB").crop((left, top, left + 96, top + 96)).save(work / "crops" / f"{index}.jpg")
    counts = {"few": 100_000, "many": 1_000_000}
    for name, count in counts.items():
        for number in range(NUM_CLASSES):
            (work / name / f"class{number}").mkdir(parents=True)
        for index in range(count):
            path = work / name / f"class{index % NUM_CLASSES}" / f"{index:06}.jpg"
            os.link(work / "crops" / f"{index % 20_000}.jpg", path)
    found: dict[str, list[list[float]]] = {name: [] for name in counts}
    for _ in range(repeats):
        for name, values in found.items():
            script = [sys.executable, "-c", ADVICE, str(work / name), BACKBONE]
            with tempfile.TemporaryDirectory() as cache:
                values.append(json.loads(run(script, ADVISOR_CACHE=cache)[1]))
    few, many = (np.median(values, axis=0) for values in found.values())
    per_file = [sum(values[:2]) / count for values, count in zip((few, many), counts.values(), strict=True)]
    yield "recommend on 1,000,000 files / on 100,000, microseconds per file", 1e6 * per_file[1], 1e6 * per_file[0]
    yield "listing 1,000,000 files / listing 100,000, seconds", many[1], few[1]
    yield "memory on 1,000,000 files / on 100,000, GiB", many[2], few[2]


def head_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares a new head, from folder to saved model, with 20 epochs of Keras' guide: 2,000 photos, several seeds."""
    from strategies.data.loading import load_dataset
    from strategies.data.splits import split_dataset
    from strategies.networks.network import PretrainedNetwork
    from strategies.networks.weights import weights_path

    whole = load_dataset(datasets / "intel_scenes")
    data = whole.subset(np.sort(np.random.default_rng(0).permutation(len(whole))[:2000]))
    split = split_dataset(data, seed=0)
    for name, item, part in zip(split.names, split.items, split.split or (), strict=True):
        path = work / "splits" / str(part) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(item), path)
    weights = str(weights_path(PretrainedNetwork(backbone=BACKBONE, weights="imagenet", image_size=224)))
    seconds: dict[str, list[float]] = {"ours": [], "again": [], "guide": []}
    accuracy: dict[str, list[float]] = {"ours": [], "guide": []}
    train = [*ADVISOR, "train", str(work / "splits"), "--recipe", "head_only", "--backbone", BACKBONE, "--json"]
    for seed in range(repeats):
        for name in ("ours", "again"):
            command = [*train, "--image-size", "128", "--seed", str(seed), "--out", str(work / f"{name}{seed}")]
            took, out = run(command, ADVISOR_CACHE=work / f"cache{seed}")
            seconds[name].append(took)
        accuracy["ours"].append(json.loads(out)["metrics"]["test"]["accuracy"])
        saved = str(work / f"guide{seed}.keras")
        took, out = run([sys.executable, "-c", GUIDE, str(seed), "128", str(work / "splits"), weights, saved])
        seconds["guide"].append(took)
        accuracy["guide"].append(json.loads(out))
    ours, again, guide = (median(values) for values in seconds.values())
    yield "head_only / Keras' guide", ours, guide
    yield "head_only, second run / first run", again, ours
    yield "accuracy of head_only / of the guide, mean", np.mean(accuracy["ours"]), np.mean(accuracy["guide"])


def features_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares the frozen pass with the bare OpenVINO model on arrays, and computed features with cached ones."""
    os.environ["ADVISOR_CACHE"] = str(work / "cache")
    import openvino

    import strategies
    from strategies.data.decoding import decode_images
    from strategies.features import extractor
    from strategies.features.cache import default_cache
    from strategies.features.engines import IMAGES_PER_REQUEST
    from strategies.features.extraction import stage_extractor
    from strategies.networks.network import PretrainedNetwork

    photos = sorted(enlarge(datasets / "imagenet_samples", work / "photos").rglob("*.jpg"))
    network = PretrainedNetwork(backbone=BACKBONE, weights="imagenet", image_size=224)
    frozen = stage_extractor(network, ["stage6"], cache=default_cache())
    assert frozen.conversion is not None
    (structure, weights, *_), _ = frozen.conversion.arrays()
    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    bare = core.compile_model(core.read_model(structure.tobytes(), weights.tobytes()), "CPU", hints)
    pixels = decode_images(photos, 224)
    batches = np.split(pixels[:992].astype("float32"), 992 // IMAGES_PER_REQUEST)
    shutil.copytree(default_cache().folder, work / "converted")
    frozen_rates, bare_rates, stored, computed = [], [], [], []
    for number in range(repeats + 1):  # the first time warms up
        started = time.perf_counter()
        frozen.run(pixels[:992], description="Frozen pass")
        middle = time.perf_counter()
        request = bare.create_infer_request()
        for batch in batches:
            request.infer([batch])
        end = time.perf_counter()
        shutil.rmtree(default_cache().folder)
        shutil.copytree(work / "converted", default_cache().folder)
        extractor._REMEMBERED.clear()
        first = time.perf_counter()
        strategies.extract_features(photos, BACKBONE, image_size=224)
        second = time.perf_counter()
        strategies.extract_features(photos, BACKBONE, image_size=224)
        if number:
            frozen_rates.append(992 / (middle - started))
            bare_rates.append(992 / (end - middle))
            computed.append(second - first)
            stored.append(time.perf_counter() - second)
    yield "images/s of the frozen pass / of the bare OpenVINO model", median(frozen_rates), median(bare_rates)
    yield "1,000 features computed / read from the cache, seconds", median(computed), median(stored)


def step_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares steps that train the whole network with those of a bare `fit` with the same changes of images."""
    for path in sorted(path for path in (datasets / "intel_scenes").rglob("*") if path.is_file())[::8][:512]:
        (work / "photos" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, work / "photos" / path.parent.name)
    first: dict[str, list[float]] = {STEPS: [], FIT: []}
    rates: dict[str, list[float]] = {STEPS: [], FIT: []}
    for _ in range(repeats):
        for script in first:
            begun, laps = json.loads(run([sys.executable, "-c", script, str(work / "photos"), BACKBONE])[1])
            first[script].append(begun)
            rates[script].append(32 / median(laps))
    yield "images/s of a step that trains the whole network / of bare fit", *(map(median, rates.values()))
    yield "first step of that phase / of bare fit, seconds", *(map(median, first.values()))


def classes_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares the advice on 1,000 photos as 100 classes with the advice on the same photos as ten classes."""
    ten = enlarge(datasets / "imagenet_samples", work / "ten")
    for index, path in enumerate(sorted(ten.rglob("*.jpg"))):
        (work / "hundred" / f"class{index // 10:02}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, work / "hundred" / f"class{index // 10:02}")
    advise = [*ADVISOR, "recommend", "--backbone", BACKBONE, "--image-size", "128"]
    convert(advise, ten, work)

    def ways(number: int) -> Ways:
        for name in ("ten", "hundred"):
            shutil.copytree(work / "converted", work / f"{name}{number}")
        return {
            name: lambda name=name: run([*advise, str(work / name)], ADVISOR_CACHE=work / f"{name}{number}")
            for name in ("ten", "hundred")
        }

    yield from compared(ways, repeats, "ten classes")


def time_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares the predicted with the measured time of a recipe: a fifth of its steps, with all evaluations."""
    import strategies
    from strategies.plans.planning import with_budget
    from strategies.training.timing import measure_cost

    whole = strategies.load_dataset(datasets / "intel_scenes")
    chosen = np.sort(np.random.default_rng(0).permutation(len(whole))[:600])
    data = strategies.split_dataset(whole.subset(chosen), seed=0)
    num_train = sum(part == "train" for part in data.split or ())
    for recipe in strategies.RECIPES:
        plan = strategies.make_plan(recipe, BACKBONE, class_names=data.class_names, num_train=num_train, image_size=96)
        predicted, measured = [], []
        for _ in range(repeats):
            predicted.append(measure_cost(plan, data).seconds(0.2))
            measured.append(strategies.train(with_budget(plan, 0.2), data, cache=False, baseline=False).seconds)
        yield f"predicted / measured time, {recipe}", median(predicted), median(measured)


def start_row(datasets: Path, work: Path, repeats: int) -> Iterator[Row]:
    """Compares the help and the import with an empty Python process."""
    commands = {
        "advisor --help": [*ADVISOR, "--help"],
        "import advisor": [sys.executable, "-c", "import advisor"],
        "pass": [sys.executable, "-c", "pass"],
    }
    seconds = {name: median(run(command)[0] for _ in range(repeats)) for name, command in commands.items()}
    for name in ("advisor --help", "import advisor"):
        yield f"{name} / python -c pass", seconds[name], seconds["pass"]


ROWS = {
    "recommend": recommend_row,
    "predict": predict_row,
    "many": many_row,
    "head": head_row,
    "features": features_row,
    "step": step_row,
    "classes": classes_row,
    "time": time_row,
    "start": start_row,
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--row", choices=ROWS, action="append", help="run only this row; may be repeated")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print("| measured | this package | reference | ratio |\n| --- | --- | --- | --- |", flush=True)
    for name in given.row or ROWS:
        with tempfile.TemporaryDirectory(prefix="advisor-speed-") as work:
            for label, ours, reference in ROWS[name](given.datasets, Path(work), given.repeats):
                print(f"| {label} | {ours:.2f} | {reference:.2f} | {ours / reference:.2f} |", flush=True)


if __name__ == "__main__":
    main()
