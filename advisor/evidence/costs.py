"""How long the training of each recipe takes in a cell of the study, on a typical machine."""

from __future__ import annotations

from functools import cache as once

from advisor.decision import Seconds
from advisor.evidence.cells import StudyCell
from strategies.networks.backbones import get_backbone
from strategies.plans.cost import TYPICAL, estimate_cost
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES, get_recipe


@once
def typical_seconds(cell: StudyCell) -> Seconds:
    """Returns the estimated training time of each recipe in a cell, as the advice estimates it.

    Measured times cannot be compared: the trainings of the study ran on several machines, some of them with a GPU, and
    other programs ran beside them.
    """
    facts, backbone = next(iter(cell.facts.values())), get_backbone(cell.backbone)
    seconds = {}
    for name in RECIPES:
        cut_stage = None
        if facts.depth_curve is not None and get_recipe(name).keeps == "early":
            cut_stage = facts.depth_curve.cut(backbone.default_cut)
        plan = make_plan(
            name,
            backbone.name,
            class_names=[str(number) for number in range(facts.num_classes)],
            num_train=cell.images["train"],
            image_size=cell.image_size,
            cut_stage=cut_stage,
            similarity=facts.similarity.score,
        )
        seconds[name] = estimate_cost(plan, cell.images, machine=TYPICAL).seconds
    return seconds
