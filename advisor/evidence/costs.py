"""How long the training of each recipe takes in a cell of the study, on a typical machine."""

from __future__ import annotations

from dataclasses import replace
from functools import cache as once

from advisor.decision import Seconds
from advisor.evidence.cells import StudyCell
from advisor.plans import cut_stage, estimate_seconds
from advisor.preferences import has_long_refit
from advisor.results import NO_REFIT
from strategies.networks.backbones import get_backbone
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES


@once
def typical_seconds(cell: StudyCell) -> Seconds:
    """Returns the estimated training time of each recipe in a cell, as the advice estimates it.

    Measured times cannot be compared: the trainings of the study ran on several machines, some of them with a GPU, and
    other programs ran beside them. Where a plan has a refit to leave out, the time without it has a name of its own,
    such as `retrain_all:no_refit`.
    """
    facts, row = next(iter(cell.facts.values())), get_backbone(cell.backbone)
    plans = {
        name: make_plan(
            name,
            row.name,
            class_names=[str(number) for number in range(facts.num_classes)],
            num_train=cell.images["train"],
            image_size=cell.image_size,
            cut_stage=cut_stage(name, row, facts.depth_curve),
            similarity=facts.similarity.score,
        )
        for name in RECIPES
    }
    plans |= {f"{name}{NO_REFIT}": replace(plan, refit=False) for name, plan in plans.items() if has_long_refit(plan)}
    return estimate_seconds(plans, cell.images, cache=None)
