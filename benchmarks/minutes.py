"""Compares the minutes that were given with those taken: python benchmarks/minutes.py DATASETS [--only NAME ...]

Runs `advisor train --minutes M` and `advisor compare --minutes M` on each dataset, in processes of their own and with a
new cache, and prints the minutes taken from the start of the process to its end, and what was decided. Datasets are
class folders below one folder. Other processes must leave the processor alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 1.1  # times the minutes given
COMMANDS = {"train": ("--out", "run"), "compare": ("--out", "results.csv")}


def take(command: list[str], folder: str) -> tuple[float, str, str]:
    """Runs a command in a folder with a new cache.

    Returns:
        The minutes taken, whether steps were timed, and the sentence that says what was decided.
    """
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "advisor", *command],
        cwd=folder,
        env=os.environ | {"ADVISOR_CACHE": str(Path(folder, "cache"))},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    taken = (time.perf_counter() - started) / 60
    if done.returncode:
        sys.exit(done.stderr)
    timed = "yes" if "Timing a few steps" in done.stderr else "no"
    return taken, timed, next(line for line in done.stderr.splitlines() if line.startswith("With "))


def main() -> None:
    """Prints a row for each dataset, command and number of minutes, then whether all ended in time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("datasets", type=Path)
    parser.add_argument("--only", nargs="+", default=())
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 5])
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--image-size", type=int, default=96)
    given = parser.parse_args()
    names = given.only or sorted(path.name for path in given.datasets.iterdir() if path.is_dir())
    ratios = []
    print("| dataset | command | minutes given | minutes taken | ratio | load before | timed | what was decided |")
    print("| --- " * 8 + "|", flush=True)
    for name in names:
        for command, out in COMMANDS.items():
            for minutes in given.minutes:
                network = ("--backbone", given.backbone, "--image-size", str(given.image_size))
                arguments = [command, str((given.datasets / name).resolve()), *network, "--minutes", f"{minutes:g}"]
                load = os.getloadavg()[0]
                with tempfile.TemporaryDirectory() as folder:
                    taken, timed, decided = take([*arguments, *out], folder)
                ratios.append(taken / minutes)
                cells = [name, command, f"{minutes:g}", f"{taken:.2f}", f"{ratios[-1]:.2f}", f"{load:.1f}", timed]
                print(f"| {' | '.join(cells)} | {decided} |", flush=True)
    within = sum(ratio <= LIMIT for ratio in ratios)
    print(f"{within} of {len(ratios)} ended within {LIMIT} times the minutes; the longest took {max(ratios):.2f} times")


if __name__ == "__main__":
    main()
