"""The command `demo`: advice, a short training and a report, on images that come with scikit-learn."""

from __future__ import annotations

import tempfile
from pathlib import Path

from advisor.cli.options import Out, Seed
from strategies.display.progress import note
from strategies.networks.backend import start_keras

DEMO_IMAGES = 600
DEMO_BUDGET = 0.5


def demo(out: Out = None, seed: Seed = 0) -> None:
    """Show advice, training and report on scikit-learn's digits.

    It uses the network in this package, so nothing is downloaded.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    from advisor.recommendation import recommend as advise
    from advisor.report.terminal import show
    from advisor.report.text import advice_parts, result_parts
    from strategies.files import check_output
    from strategies.plans.planning import with_budget

    folder = Path(tempfile.mkdtemp(prefix="advisor-demo-")) if out is None else check_output(out, overwrite=None)
    start_keras()
    digits = load_digits()
    chosen = np.random.default_rng(seed).permutation(len(digits.target))[:DEMO_IMAGES]
    images = np.round(digits.images[chosen] * (255 / 16)).astype("uint8")
    advice = advise((images, digits.target[chosen].astype(str)), weights="bundled", seed=seed)
    show(advice_parts(advice))
    note(f"\nTraining a short version of the plan, with {DEMO_BUDGET:.0%} of its steps")
    result = advice.with_plan(with_budget(advice.plan, DEMO_BUDGET)).train(folder)
    print()
    show(result_parts(result))
    print(f"\nThe report is in {folder / 'report.html'}.")
    print("For your own images, run: advisor recommend FOLDER --out advice/")
