"""python -m advisor.evidence run: the study, in slices."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from advisor.evidence.study import METHODS, Setting, run_study
from strategies.errors import UserError


def main() -> None:
    """Runs the study; bad input is one sentence on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m advisor.evidence", description=__doc__)
    run = parser.add_subparsers(dest="command", required=True).add_parser("run", help="run what is missing")
    run.add_argument("--datasets", type=Path, required=True, help="folder of class folders")
    run.add_argument("--out", type=Path, required=True, help="CSV file that rows are appended to")
    run.add_argument("--sizes", default="100,300,1000,full", help="training and validation images")
    run.add_argument("--seeds", type=int, default=2)
    run.add_argument("--methods", default=",".join(METHODS))
    run.add_argument("--backbone", default="MobileNetV2-0.35")
    run.add_argument("--weights", default="imagenet")
    run.add_argument("--image-size", type=int, default=96)
    run.add_argument("--budget-minutes", type=float)
    given = parser.parse_args()
    try:
        count = run_study(
            given.datasets,
            given.out,
            Setting(backbone=given.backbone, image_size=given.image_size, weights=given.weights),
            sizes=given.sizes.split(","),
            seeds=given.seeds,
            methods=given.methods.split(","),
            budget_minutes=given.budget_minutes,
        )
    except UserError as error:
        print(f"advisor.evidence: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{count} runs appended to {given.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
