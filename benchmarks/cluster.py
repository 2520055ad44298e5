"""Measures work on Ray: python benchmarks/cluster.py DATASET [--row equal] [--images 20000] [--workers 2]

DATASET is a class folder. Each row runs in processes of its own, and prints what it measured. `equal`: profile, advice
on every image and predictions, with and without Ray. `speed`: a frozen pass on one worker and on several. `memory`:
the largest memory of the process that is started, for two numbers of images. `loss`: a worker is killed in the middle
of a pass. `storage`: profile and advice on 2,000 images of an S3 server on this machine with Ray, and on the same files
without it. `compare`: all four recipes side by side. `rates`: images per second of processor time, without Ray, of
copies of the images at 500 x 375 px. Needs Ray and OpenVINO (`pip install '.[ray,openvino]'`), and for `storage` also
`pip install s3fs 'moto[server]'`.
"""

import argparse
import hashlib
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

BACKBONE, IMAGE_SIZE = "MobileNetV2-0.35", 96
STORED = 2_000  # images on the S3 server
MEASURED = ("MobileNetV2-0.35", "EfficientNetLite0")  # at their own size, for `rates`
PHOTO, QUALITY = (500, 375), 85  # of the copies
FIRST = 64  # images that are not counted: what is computed once is done then


def main() -> None:
    """Runs the rows, each measurement in a process of its own with a cache of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--row", choices=ROW_OF, action="append", help="default: all")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--task", help=argparse.SUPPRESS)  # one measurement, in a process of this script
    given = parser.parse_args()
    if given.task is not None:
        print(json.dumps(TASKS[given.task](given.dataset, given.images, given.workers)))
        return
    for row in given.row or ROW_OF:
        print(f"{row}: {json.dumps(ROW_OF[row](given), indent=1)}", flush=True)


def measure(
    given: argparse.Namespace, task: str, *, workers: int, images: int | None = None, dataset: str | None = None
) -> dict[str, Any]:
    """Runs a task in a new process; with no workers, without Ray."""
    options = ["--images", str(images or given.images), "--workers", str(workers), "--task", task]
    with tempfile.TemporaryDirectory(prefix="advisor-cluster-") as cache:
        environment = {**os.environ, "ADVISOR_CACHE": cache, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        done = subprocess.run(
            [sys.executable, __file__, dataset or given.dataset, *options],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def equal(given: argparse.Namespace) -> dict[str, Any]:
    """Returns whether every number is the same with and without Ray."""
    found: dict[str, Any] = {}
    for task in ("profile", "recommend", "predict"):
        alone, together = (measure(given, task, workers=workers) for workers in (0, given.workers))
        same = alone["digest"] == together["digest"]
        found[task] = {"same": same, "seconds": alone["seconds"], "seconds_on_ray": together["seconds"]}
    return found


def speed(given: argparse.Namespace) -> dict[str, Any]:
    """Returns the images per second of a frozen pass, with the start of the workers and without."""
    one, several = (measure(given, "features", workers=workers) for workers in (1, given.workers))
    return {"one": one, "several": several, "ratio": several["rate"] / one["rate"], "load": os.getloadavg()[0]}


def memory(given: argparse.Namespace) -> dict[str, Any]:
    """Returns the largest memory of the driver, in MiB: of a pass whose results are not kept, and of a profile."""
    sizes = (given.images // 4, given.images)
    found = {}
    for name, task, workers in (
        ("pass", "features", given.workers),
        ("profile", "profile", given.workers),
        ("profile without Ray", "profile", 0),
    ):
        found[name] = {size: measure(given, task, workers=workers, images=size)["memory"] for size in sizes}
    return found


def loss(given: argparse.Namespace) -> dict[str, Any]:
    """Returns whether a pass whose worker is killed gives the same features."""
    whole, interrupted = (measure(given, task, workers=given.workers) for task in ("features", "killed"))
    same = whole["digest"] == interrupted["digest"]
    return {"killed": interrupted["killed"], "same": same}


def storage(given: argparse.Namespace) -> dict[str, Any]:
    """Returns whether every number is the same from object storage with Ray and from files without it."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="advisor-cluster-") as folder:
        chosen = _some(given.dataset, min(given.images, STORED))
        for name, item in zip(chosen.names, chosen.items, strict=True):
            Path(folder, "photos", name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(item, Path(folder, "photos", name))
        files = s3fs.S3FileSystem()
        files.mkdir("bucket")
        files.put(f"{folder}/photos", "bucket/photos", recursive=True)
        for task in ("profile", "recommend"):
            alone = measure(given, task, workers=0, dataset=f"{folder}/photos")
            together = measure(given, task, workers=given.workers, dataset="s3://bucket/photos")
            same = alone["digest"] == together["digest"]
            found[task] = {"same": same, "seconds": alone["seconds"], "seconds_from_s3": together["seconds"]}
    server.stop()
    return {"images": len(chosen), **found}


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Returns the seconds of all four trainings one after the other and side by side."""
    alone, together = (measure(given, "recipes", workers=workers) for workers in (0, given.workers))
    same = alone["digest"] == together["digest"]
    return {"same": same, "alone": alone, "together": together, "ratio": alone["trained"] / together["trained"]}


def rates(given: argparse.Namespace) -> dict[str, Any]:
    """Returns the images per second of processor time of the statistics and of frozen passes."""
    return measure(given, "rates", workers=0)


ROW_OF = {
    "equal": equal,
    "speed": speed,
    "memory": memory,
    "loss": loss,
    "storage": storage,
    "compare": compare,
    "rates": rates,
}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _start(workers: int) -> str | None:
    """Starts a cluster of so many cores, and returns its address."""
    if not workers:
        return None
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    return "auto"


def _some(dataset: str, images: int) -> Any:
    """Returns the dataset, or evenly spaced images of it."""
    import strategies

    found = strategies.load_dataset(dataset)
    return found.subset(np.unique(np.linspace(0, len(found) - 1, min(images, len(found))).astype(int)))


def _measured(run: Any, workers: int) -> dict[str, Any]:
    address, started = _start(workers), time.perf_counter()
    value = run(address)
    seconds = time.perf_counter() - started
    return {"digest": _digest(value), "seconds": round(seconds, 1), "memory": _memory()}


def _memory() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def profile(dataset: str, images: int, workers: int) -> dict[str, Any]:
    """The statistics of every image."""
    import advisor

    return _measured(
        lambda ray: _of_the_images(advisor.profile_images(_some(dataset, images), ray=ray).to_dict()), workers
    )


def recommend(dataset: str, images: int, workers: int) -> dict[str, Any]:
    """The advice on every image."""
    import advisor

    def run(ray: str | None) -> Any:
        options = {"backbone": BACKBONE, "image_size": IMAGE_SIZE, "every_image": True}
        advice = advisor.recommend(_some(dataset, images), ray=ray, **options)
        return _of_the_images([advice.fingerprint(), advice.plan.to_dict()])

    return _measured(run, workers)


def _of_the_images(value: Any) -> Any:
    """Leaves out what depends on how busy the machine is, also without Ray, and where the images are."""
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if "seconds" not in name and "source" not in name}
        return {name: _of_the_images(part) for name, part in kept.items()}
    return [_of_the_images(part) for part in value] if isinstance(value, list | tuple) else value


def predict(dataset: str, images: int, workers: int) -> dict[str, Any]:
    """The predictions of a model that was trained for a moment."""
    import strategies

    data = strategies.split_dataset(_some(dataset, 2_000), seed=0)
    plan = strategies.make_plan(
        "head_only", BACKBONE, class_names=data.class_names, num_train=1_200, image_size=IMAGE_SIZE
    )
    items = list(_some(dataset, images).items)
    with tempfile.TemporaryDirectory() as folder:
        strategies.train(plan, data, f"{folder}/run", baseline=False)
        run = lambda ray: strategies.predict(f"{folder}/run", items, all_classes=True, ray=ray).to_csv()  # noqa: E731
        return _measured(run, workers)


def features(dataset: str, images: int, workers: int) -> dict[str, Any]:
    """A frozen pass; its rate is that of all parts but the first, so the start of the workers does not count."""
    return _pass(dataset, images, workers, lambda: None)


def killed(dataset: str, images: int, workers: int) -> dict[str, Any]:
    """The same, while one worker is killed."""
    victims: list[int] = []

    def kill() -> None:
        import psutil

        workers_now = [each for each in psutil.process_iter(["name", "cmdline"]) if _is_worker(each)]
        victims.append(workers_now[0].pid)
        os.kill(victims[0], signal.SIGKILL)

    return {**_pass(dataset, images, workers, kill), "killed": len(victims)}


def _is_worker(process: Any) -> bool:
    own = process.uids().real == os.getuid() and any(parent.pid == os.getpid() for parent in process.parents())
    return own and "MapWorker" in " ".join(process.info["cmdline"] or [process.info["name"]])


def _pass(dataset: str, images: int, workers: int, meanwhile: Any) -> dict[str, Any]:
    from strategies import cluster
    from strategies.features.cache import default_cache
    from strategies.features.extraction import stage_extractor
    from strategies.features.forward import _run_part
    from strategies.networks.network import PretrainedNetwork

    network = PretrainedNetwork(backbone=BACKBONE, weights="imagenet", image_size=IMAGE_SIZE)
    engine = stage_extractor(network, cache=default_cache())._pass.args[0]
    items, address = list(_some(dataset, images).items), _start(workers)
    digest, ends, started = hashlib.sha256(), [], time.perf_counter()
    with cluster.on_ray(address):
        parts = cluster.map_parts(lambda part: _run_part(engine, IMAGE_SIZE, part), items, "Frozen pass")
        for values in parts:
            ends.append((time.perf_counter(), len(values[0])))
            if len(ends) == 3:
                threading.Thread(target=meanwhile).start()
            for value in values:
                digest.update(value.tobytes())
    # From the first results of every worker on.
    first = min(workers, len(ends) - 1)
    count = sum(number for _, number in ends[first:])
    return {
        "digest": digest.hexdigest(),
        "seconds": round(ends[-1][0] - started, 1),
        "rate": round(count / (ends[-1][0] - ends[first - 1][0]), 1),
        "memory": _memory(),
    }


def recipes(dataset: str, images: int, workers: int) -> dict[str, Any]:
    """All four recipes on some of the images, at most 400."""
    import advisor
    from strategies.cluster import on_ray

    address, times = _start(workers), []
    with on_ray(address):
        started = time.perf_counter()
        from advisor import comparison

        outcomes = comparison._outcomes

        def timed(*arguments: Any) -> Any:
            times.append(time.perf_counter())
            found = outcomes(*arguments)
            times.append(time.perf_counter())
            return found

        comparison._outcomes = timed
        found = advisor.compare_recipes(
            _some(dataset, min(images, 400)), backbone=BACKBONE, image_size=IMAGE_SIZE, cache=False
        )
        seconds = time.perf_counter() - started
    reached = {each.recipe: [each.test.accuracy, each.correct.tolist()] for each in found.outcomes}
    return {"digest": _digest(reached), "seconds": round(seconds, 1), "trained": round(times[1] - times[0], 1)}


def work(dataset: str, images: int, workers: int) -> dict[str, Any]:
    """The images per second of processor time: of the statistics of `profile`, and of frozen passes."""
    from PIL import Image

    from advisor.quality.scan import scan_images
    from strategies.data.loading import load_images
    from strategies.data.pixels import Pixels
    from strategies.features.cache import default_cache
    from strategies.features.extraction import stage_extractor
    from strategies.networks.backbones import get_backbone
    from strategies.networks.network import PretrainedNetwork

    def rate(run: Any) -> float:
        run(items[:FIRST])
        started = time.process_time()
        run(items[FIRST:])
        return round((len(items) - FIRST) / (time.process_time() - started), 1)

    with tempfile.TemporaryDirectory() as folder:
        items = [Path(folder, f"{number}.jpg") for number in range(min(images, 1_000))]
        for path, item in zip(items, load_images(dataset).items, strict=False):
            Image.open(item).convert("RGB").resize(PHOTO, Image.Resampling.BICUBIC).save(path, quality=QUALITY)
        items = [path for path in items if path.exists()]
        found = {"kilobytes": round(sum(path.stat().st_size for path in items) / len(items) / 1e3, 1)}
        found["profile"] = rate(scan_images)
        for name in MEASURED:
            size = get_backbone(name).image_size
            network = PretrainedNetwork(backbone=name, weights="imagenet", image_size=size)
            extractor = stage_extractor(network, cache=default_cache())  # where the converted network is kept
            found[name] = rate(lambda part, run=extractor.run, size=size: run(Pixels(part, size), description="Pass"))
    return found


TASKS = {
    "rates": work,
    "profile": profile,
    "recommend": recommend,
    "predict": predict,
    "features": features,
    "killed": killed,
    "recipes": recipes,
}

if __name__ == "__main__":
    main()
