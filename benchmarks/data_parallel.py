"""Trains in two JAX processes what one trains: python benchmarks/data_parallel.py DATASET [--images 200] [--budget 1.0]

DATASET is a class folder. Each recipe is trained by one process, by two processes that share each batch, and by two
that are killed with SIGKILL in the middle and continued. Prints for each recipe whether both processes hold equal
weights, whether frozen weights are the pretrained ones to the last bit, whether the continued run equals the whole one,
and how far the metrics are from those of one process. Exit code 1 if a weight differs, or if a training ended before it
was killed. Needs JAX (`pip install '.[test]'`).
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BACKBONE, IMAGE_SIZE = "MobileNetV2-0.35", 96
CHECKPOINT = "checkpoint.npz"


def main() -> None:
    """Prints a line for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--budget", type=float, default=1.0, help="share of the default steps")
    parser.add_argument("--recipe", action="append", help="default: all")
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)  # a training, in a process of this script
    given = parser.parse_args()
    if given.task is not None:
        train(given)
        return
    from strategies.recipes import RECIPES

    equal = True
    for recipe in given.recipe or RECIPES:
        with tempfile.TemporaryDirectory(prefix="advisor-parallel-") as name:
            found = compare(given, recipe, Path(name))
        print(f"{recipe}: {json.dumps(found)}", flush=True)
        equal &= all(found[name] for name in ("ranks_equal", "frozen_equal", "was_killed", "resumed_equal"))
    sys.exit(not equal)


def compare(given: argparse.Namespace, recipe: str, folder: Path) -> dict[str, Any]:
    """Trains a recipe in one process, in two, and in two that are killed and continued."""
    started = time.perf_counter()
    wait(start(given, recipe, folder / "one", 1))
    alone = time.perf_counter()
    wait(start(given, recipe, folder / "two", 2))
    together = time.perf_counter()
    killed = start(given, recipe, folder / "killed", 2)
    while not (folder / "killed" / CHECKPOINT).is_file() and killed[0].poll() is None:
        time.sleep(0.05)
    was_running = all(process.poll() is None for process in killed)
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait(start(given, recipe, folder / "killed", 2, "--resume"))
    one, *ranks = (weights(folder / run, rank) for run, rank in (("one", 0), ("two", 0), ("two", 1), ("killed", 0)))
    metrics = [json.loads((folder / run / "metrics.json").read_text())["test"] for run in ("one", "two")]
    numbers = [[value for value in measures.values() if isinstance(value, float)] for measures in metrics]
    return {
        "ranks_equal": same(ranks[0], ranks[1]),
        "frozen_equal": bool(ranks[0]["frozen"].all()),
        "num_frozen": len(ranks[0]["frozen"]),
        "was_killed": was_running,
        "resumed_equal": same(ranks[0], ranks[2]),
        "metrics_apart": float(np.abs(np.subtract(*numbers)).max()),
        "weights_apart": max(float(np.abs(one[name] - ranks[0][name]).max()) for name in one if name != "frozen"),
        "accuracy": metrics[1]["accuracy"],
        "seconds": [round(alone - started), round(together - alone)],
    }


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    """Returns whether all arrays are equal to the last bit."""
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def weights(folder: Path, rank: int) -> dict[str, np.ndarray]:
    """Returns what a process kept of its model."""
    with np.load(folder.with_name(f"{folder.name}_{rank}.npz")) as file:
        return dict(file)


def start(
    given: argparse.Namespace, recipe: str, folder: Path, num_processes: int, *more: str
) -> list[subprocess.Popen[bytes]]:
    """Starts a training, or continues it with `--resume`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = [
        "--images",
        str(given.images),
        "--budget",
        str(given.budget),
        "--recipe",
        recipe,
        "--task",
        str(folder),
        *more,
    ]
    command = [sys.executable, __file__, str(given.dataset), *options]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    if num_processes > 1:
        environment["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = address
        environment["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(num_processes)
    ranks = ({**environment, "KERAS_DISTRIBUTION_PROCESS_ID": str(rank)} for rank in range(num_processes))
    return [subprocess.Popen(command, env=each) for each in (ranks if num_processes > 1 else [environment])]


def wait(processes: list[subprocess.Popen[bytes]]) -> None:
    """Waits for all processes of a training."""
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit("a training failed")


def train(given: argparse.Namespace) -> None:
    """Trains a recipe, and keeps the weights of this process beside the run folder."""
    from strategies.training.distribution import find_devices

    devices = find_devices()
    import strategies
    from strategies.training.model import StagedModel

    folder, data = given.task, strategies.load_dataset(given.dataset)
    chosen = np.unique(np.linspace(0, len(data) - 1, given.images).astype(int))
    data = strategies.split_dataset(data.subset(chosen), seed=0)
    num_train = sum(part == "train" for part in data.split)
    plan = strategies.make_plan(
        given.recipe[0],
        BACKBONE,
        class_names=data.class_names,
        num_train=num_train,
        image_size=IMAGE_SIZE,
        budget=given.budget,
    )
    result = strategies.train(
        plan,
        data,
        folder,
        resume=given.resume,
        cache=False,
        baseline=False,
        data_parallel=devices.num_processes > 1,
    )
    untouched = frozen_weights(result, StagedModel.build(plan))
    kept = {weight.path: np.asarray(weight) for weight in result.model.weights}
    np.savez(folder.with_name(f"{folder.name}_{devices.process}.npz"), frozen=np.array(untouched), **kept)


def frozen_weights(result: Any, new: Any) -> list[bool]:
    """Returns for each weight of the stages that no phase trains whether it is that of a new model, to the last bit."""
    trained = {stage for phase in result.plan.phases for stage in phase.trains}
    layers = [name for stage, names in new.layers.items() if stage not in trained for name in names]
    before, after = (
        [weight for name in layers for weight in model.get_layer(name).get_weights()]
        for model in (new.model, result.model)
    )
    return [np.array_equal(first, second) for first, second in zip(before, after, strict=True)]


if __name__ == "__main__":
    main()
