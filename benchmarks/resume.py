"""Kills a run of each recipe at random moments until it has finished: python benchmarks/resume.py DATA [--kills 10]

Each run is killed with SIGKILL and continued with `advisor train ... --resume` until it is finished. Its weights must
equal those of a run without interruption. If a run ends before it was killed often enough, another one follows. Then
once with SIGINT, and once on a disk of a few megabytes (if a tmpfs can be mounted). Prints a line for each. The exit
code is 1 if weights differ.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from strategies.data.loading import load_dataset
from strategies.files import write_json
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES
from strategies.training.run_files import CHECKPOINT

NUM_IMAGES = 200
COMMAND = [sys.executable, "-m", "advisor", "train"]


def main() -> None:
    """Prints a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a class folder")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--recipe", choices=list(RECIPES), action="append")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    equal = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for recipe in given.recipe or RECIPES:
            plan = write_plan(recipe, given.data, folder / f"{recipe}.json")
            started = time.perf_counter()
            run(given.data, plan, folder / f"{recipe}_whole")
            seconds = time.perf_counter() - started
            equal &= killed(given.data, plan, folder, given.kills, lambda longest=seconds: chance.uniform(0, longest))
            interrupted = folder / f"{recipe}_interrupted"
            stopped(given.data, plan, interrupted, 0.7 * seconds, signal.SIGINT)
            if not (interrupted / "metrics.json").is_file():
                run(given.data, plan, interrupted, "--resume")
            equal &= report(f"{recipe}: SIGINT", folder / f"{recipe}_whole", interrupted)
            equal &= full_disk(given.data, plan, folder / f"{recipe}_whole", folder / "disk")
    sys.exit(not equal)


def write_plan(recipe: str, data: str, path: Path) -> Path:
    """Writes a plan that takes a minute or less."""
    names = load_dataset(data).class_names
    plan = make_plan(
        recipe,
        "MobileNetV2-0.35",
        class_names=names,
        num_train=NUM_IMAGES,
        image_size=64,
        weights="bundled",
        budget=0.2,
    )
    write_json(path, plan.to_dict())
    return path


def killed(data: str, plan: Path, folder: Path, kills: int, moment: Callable[[], float]) -> bool:
    """Kills runs at random moments until there are enough kills, and compares each finished run."""
    equal, done, runs = True, 0, 0
    while done < kills:
        interrupted, before = folder / f"{plan.stem}_interrupted_{runs}", done
        while done < kills and stopped(data, plan, interrupted, moment(), signal.SIGKILL):
            done += 1
        if not (interrupted / "metrics.json").is_file():
            run(data, plan, interrupted, "--resume")
        equal &= report(f"{plan.stem}: {done - before} times SIGKILL", folder / f"{plan.stem}_whole", interrupted)
        runs += 1
    return equal


def run(data: str, plan: Path, out: Path, *options: str) -> None:
    """Trains to the end."""
    subprocess.run([*COMMAND, data, "--plan", str(plan), "--out", str(out), *options], check=True, capture_output=True)


def stopped(data: str, plan: Path, out: Path, seconds: float, how: signal.Signals) -> bool:
    """Trains or continues until the time is over, then sends a signal; returns whether the signal was needed."""
    command = [*COMMAND, data, "--plan", str(plan), "--out", str(out), "--resume"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        child.send_signal(how)
        child.wait()
        return True


def full_disk(data: str, plan: Path, whole: Path, disk: Path) -> bool:
    """Trains on a disk that is too small for the checkpoint, then on the same disk with enough space."""
    disk.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=False).returncode:
        print(f"{plan.stem}: no tmpfs could be mounted, so a full disk was not tested")
        return True
    try:
        command = [*COMMAND, data, "--plan", str(plan), "--out", str(disk / "run"), "--resume"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last_line = done.stderr.strip().splitlines()[-1:]
        print(f"{plan.stem}: on 8 MB: exit code {done.returncode}, {last_line}")
        has_checkpoint = (disk / "run" / CHECKPOINT).exists()
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        if done.returncode:
            run(data, plan, disk / "run", "--resume")
        return report(
            f"{plan.stem}: full disk ({'with' if has_checkpoint else 'without'} a checkpoint)", whole, disk / "run"
        )
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def report(name: str, whole: Path, interrupted: Path) -> bool:
    """Prints and returns whether two runs end with identical weights."""
    pairs = zip(
        *(keras.models.load_model(folder / "model.keras").get_weights() for folder in (whole, interrupted)),
        strict=True,
    )
    largest = max(float(np.abs(expected - found).max()) for expected, found in pairs)
    print(f"{name}: {'identical weights' if largest == 0 else f'weights differ by up to {largest:g}'}", flush=True)
    return largest == 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
