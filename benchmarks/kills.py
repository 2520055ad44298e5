"""Kills every command that writes, at each file that it puts in place and at random moments: python benchmarks/kills.py

Uses small pictures, the bundled network and a few steps. A killed command is given again: `train` with `--resume`, any
other as it was. All files, those of its inputs too, must then equal those after a run without interruption, and none
may be left over. Prints a line for each kill. The exit code is 1 if something differs. The processes are forked, so the
benchmark needs Linux or macOS.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from advisor import cli
from strategies.files import write_json
from strategies.plans import planning

NETWORK = ["--backbone", "MobileNetV2-0.35", "--weights", "bundled", "--image-size", "32"]
# The folder `run` holds a finished run, `other` one of another plan, and `data` images.
COMMANDS = {
    "train": ["train", "data", *NETWORK, "--out", "out"],
    "train --plan": ["train", "data", "--plan", "plan.json", "--out", "out"],
    "train --overwrite": ["train", "data", "--plan", "plan.json", "--out", "other", "--overwrite"],
    "recommend": ["recommend", "data", *NETWORK, "--out", "out"],
    "check": ["check", "data", "--out", "out.csv"],
    "evaluate": ["evaluate", "run", "data", "--out", "out"],
    "export": ["export", "run", "--format", "keras"],
    "export --out": ["export", "run", "--format", "keras", "--out", "out"],
    "predict": ["predict", "run", "data", "--out", "out.csv"],
    "predict --json": ["predict", "run", "data", "--all", "--out", "out.json"],
    "report": ["report", "run"],
    "script": ["script", "packaged.json", "--network", "out.keras"],
    "compare": ["compare", "data", *NETWORK, "--out", "out.csv", "--minutes", "9"],
    "compare --report": ["compare", "data", *NETWORK, "--report", "out.html"],
}
# Commands that write no file, and `demo`, which writes a run as `train` does.
OTHERS = ("profile", "recipes", "backbones", "demo")
STEPS = 20  # of each phase: enough for a kill between them
PLANS = (
    ("plan.json", "fine_tune_all", "MobileNetV2-0.35", "bundled"),
    ("other.json", "head_only", "MobileNetV2-0.35", "bundled"),
    ("packaged.json", "head_only", "EfficientNetLite0", "imagenet"),
)
FINISHED = ("which is finished", "which holds files", "which exists already", "which holds head_only")
NOT_COMPARED = ("seconds", "extra_seconds", "standard_error", "memory", "seconds_per_epoch", "fingerprint")


def main() -> None:
    """Prints a line for each kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--command", choices=list(COMMANDS), action="append")
    parser.add_argument("--random", type=int, default=4, help="kills at random moments, for each command")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance, sound, kills = random.Random(given.seed), True, 0
    known = {*OTHERS, *(arguments[0] for arguments in COMMANDS.values())}
    if known != {command.__name__ for command in cli.COMMANDS}:
        sys.exit("Expected every command in COMMANDS or OTHERS. Add the new ones.")
    planning.PASSES, planning.FEWEST_SEEN = 0, STEPS * planning.SMALL_BATCH_SIZE
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        os.environ["ADVISOR_CACHE"] = str(Path(name, "cache"))
        write_inputs()
        for command in given.command or COMMANDS:
            started = time.perf_counter()
            places, problem = begin(command, lambda: None)
            if problem:
                sys.exit(f"{command}: {problem}")
            longest = time.perf_counter() - started
            remove("whole")
            Path("work").rename("whole")
            moments: list[tuple[str, Callable[[], None]]] = [
                (f"{when} file {place + 1} of {places}", lambda place=place, when=when: kill_at(place, when))
                for place in range(places)
                for when in ("before", "after")
            ]
            for _ in range(given.random):
                seconds = chance.uniform(0.02, longest)
                moments.append((f"after {seconds:.1f} s", lambda seconds=seconds: kill_after(seconds)))
            for moment, kill in moments:
                problem = killed(command, kill)
                kills, sound = kills + 1, sound and not problem
                print(f"{command}, killed {moment}: {problem or 'the same result'}", flush=True)
            remove("whole")
    print(f"{kills} kills: {'each ends in the same result' if sound else 'results differ'}")
    sys.exit(not sound)


def write_inputs() -> None:
    """Writes images, plans, a finished run of one of them and a finished run of another one into `inputs`."""
    Path("inputs").mkdir()
    os.chdir("inputs")
    generator = np.random.default_rng(0)
    for kind, name in enumerate(("cat", "dog")):
        Path("data", name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 200, (40, 40, 3), dtype="uint8") + np.array([50 * kind, 0, 0], dtype="uint8")
            Image.fromarray(pixels).save(f"data/{name}/{number}.png")
    for path, recipe, backbone, weights in PLANS:
        plan = planning.make_plan(recipe, backbone, class_names=["cat", "dog"], num_train=14, image_size=32,
                                  weights=weights)  # fmt: skip
        write_json(Path(path), plan.to_dict())
    for path, run in (("plan.json", "run"), ("other.json", "other")):
        _, problem = forked(["train", "data", "--plan", path, "--out", run], lambda: None)
        if problem:
            sys.exit(problem)
    os.chdir("..")


def begin(command: str, kill: Callable[[], None]) -> tuple[int, str]:
    """Runs a command from its beginning, in `work`; see `forked`."""
    remove("work")
    shutil.copytree("inputs", "work")
    return at_work(COMMANDS[command], kill)


def at_work(arguments: Sequence[str], kill: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Runs a command in `work`; see `forked`."""
    os.chdir("work")
    found = forked(arguments, kill)
    os.chdir("..")
    return found


def killed(command: str, kill: Callable[[], None]) -> str:
    """Kills a command once and gives it again; returns what is wrong with the result, if anything."""
    begin(command, kill)
    again = ["--resume"] if command.startswith("train") else []
    _, problem = at_work([*COMMANDS[command], *again])
    wrong = difference(Path("whole"), Path("work"))
    if any(words in problem for words in FINISHED):
        problem = ""  # a command that was killed after its last step refuses to do it again
    return problem or wrong


def forked(arguments: Sequence[str], kill: Callable[[], None]) -> tuple[int, str]:
    """Runs a command in a fork of this process, in which `kill` has prepared the end.

    Returns:
        The number of files that it put in place, and its error, if it had one and was not killed.
    """
    log = Path("../log.txt").resolve()  # outside of what is compared
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = log.open("w")
        count = counted()
        kill()
        sys.argv = ["advisor", *arguments]
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException as error:
            print(repr(error))
            code = 1
        print(f"\n{count()}")
        sys.stdout.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    lines = log.read_text().strip().splitlines() or [""]
    if os.WIFSIGNALED(status):
        return 0, ""
    return int(lines[-1]), "" if os.waitstatus_to_exitcode(status) == 0 else " ".join(lines[-4:-1])


PLACED = [0]


def counted() -> Callable[[], int]:
    """Counts how often this process puts a file in place."""
    replace = os.replace

    def counting(source: Any, target: Any) -> None:
        replace(source, target)
        PLACED[0] += 1

    os.replace = counting  # type: ignore[assignment]
    return lambda: PLACED[0]


def kill_at(place: int, when: str) -> None:
    """Prepares this process to be killed before or after it puts a file in place."""
    replace = os.replace

    def last(source: Any, target: Any) -> None:
        if when == "before" and PLACED[0] == place:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        if when == "after" and PLACED[0] == place + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = last  # type: ignore[assignment]


def kill_after(seconds: float) -> None:
    """Prepares this process to be killed after a time."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def remove(name: str) -> None:
    """Removes a file or a folder, if it exists."""
    if Path(name).is_dir():
        shutil.rmtree(name)
    with contextlib.suppress(FileNotFoundError):
        Path(name).unlink()


def difference(whole: Path, found: Path) -> str:
    """Returns the differences between two folders, without times; empty if there is none."""
    names = [
        sorted(str(path.relative_to(folder)) for folder in (root,) for path in folder.rglob("*"))
        for root in (whole, found)
    ]
    if names[0] != names[1]:
        return f"files {sorted(set(names[0]) ^ set(names[1]))}"
    wrong = [name for name in names[0] if (whole / name).is_file() and content(whole / name) != content(found / name)]
    return f"{', '.join(wrong)} differ" if wrong else ""


def content(path: Path) -> Any:
    """Returns what must be the same in two results: numbers and names, but no times."""
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.suffix == ".keras":  # a zip file, with times
        with zipfile.ZipFile(path) as file:
            return file.read("model.weights.h5")
    if path.suffix in (".md", ".html"):
        return path.read_text().count("keras")  # a report shows the exports
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(path.read_text()))
        return [{name: cell for name, cell in row.items() if name not in NOT_COMPARED} for row in rows]
    return path.read_bytes()


def without_times(values: Any) -> Any:
    """Returns JSON without its times."""
    if isinstance(values, dict):
        return {
            name: without_times(value)
            for name, value in values.items()
            if name not in (*NOT_COMPARED, "command", "share")
        }
    return [without_times(value) for value in values] if isinstance(values, list) else values


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras  # noqa: F401 - imported once, before the forks

    import strategies.training.trainer  # noqa: F401

    main()
