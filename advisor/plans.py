"""The plan of each recipe for images that were measured, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from advisor.measure.measurements import Measurements
from advisor.measure.mirroring import Mirroring
from advisor.measure.probes import DepthCurve
from strategies.data.dataset import SPLITS, ImageDataset
from strategies.data.resizing import resize_of
from strategies.data.value_range import range_of
from strategies.display.progress import track
from strategies.features.cache import FeatureCache
from strategies.networks.backbones import Backbone
from strategies.networks.network import PretrainedNetwork
from strategies.plans.cost import TYPICAL, RecipeCost, estimate_cost
from strategies.plans.plan import Plan
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES, get_recipe


def make_plans(measured: Measurements, seed: int, augment: str) -> dict[str, Plan]:
    """Returns the plan of each recipe for the measured dataset.

    Args:
        measured: What was measured.
        seed: Seed of all random choices.
        augment: How training images are changed at random; see `make_plan`.
    """
    return {
        name: plan_for(
            name,
            measured.network,
            measured.dataset,
            measured.depth_curve,
            similarity=measured.similarity.score,
            seed=seed,
            augment=augment,
        )
        for name in RECIPES
    }


def plan_for(
    recipe: str,
    network: PretrainedNetwork,
    dataset: ImageDataset,
    curve: DepthCurve | None,
    *,
    similarity: float | None,
    seed: int,
    augment: str = "flip,shift",
) -> Plan:
    """Makes the plan of a recipe for a network and a measured dataset.

    Args:
        recipe: Name of the recipe.
        network: The pretrained network to transfer.
        dataset: The images with their split.
        curve: Decides where `keep_early_layers` cuts the backbone; with `None` it is the backbone's default cut.
        similarity: Score of the similarity to ImageNet, which sets the learning rates; `None` if it is not known.
        seed: Seed of all random choices.
        augment: How training images are changed at random; see `make_plan`.
    """
    labels = dataset.labels[np.array(dataset.split) == "train"]
    return make_plan(
        recipe,
        network.backbone,
        class_names=dataset.class_names,
        num_train=len(labels),
        images_per_class=np.bincount(labels, minlength=len(dataset.class_names)).tolist(),
        image_size=network.image_size,
        weights=network.weights,
        seed=seed,
        cut_stage=cut_stage(recipe, network.row, curve),
        similarity=similarity,
        image_bits=range_of(dataset.items),
        resize=resize_of(dataset.items),
        channels=network.channels,
        mixing=network.mixing,
        augment=augment,
    )


def cut_stage(recipe: str, row: Backbone, curve: DepthCurve | None) -> str | None:
    """Returns the stage after which a recipe cuts a backbone; `None` for the default, or if it keeps all stages."""
    if curve is None or get_recipe(recipe).keeps != "early":
        return None
    return curve.cut(row.default_cut)


def augmentation_for(mirroring: Mirroring | None) -> str:
    """Returns how training images are changed at random: they are flipped unless that was measured to matter."""
    return "shift" if mirroring is not None and mirroring.matters else "flip,shift"


def costs_of(
    plans: Mapping[str, Plan], dataset: ImageDataset, *, timed: bool, cache: FeatureCache | None
) -> dict[str, RecipeCost]:
    """Returns the time and memory of each recipe on this machine: estimated, or measured in a few steps."""
    if timed:
        from strategies.training.timing import measure_cost

        return {name: measure_cost(plan, dataset).whole for name, plan in track(plans.items(), "Timing the recipes")}
    return {name: estimate_cost(plan, per_split(dataset), cache) for name, plan in plans.items()}


def estimate_seconds(
    plans: Mapping[str, Plan], images: Mapping[str, int], cache: FeatureCache | None
) -> dict[str, float]:
    """Returns the time of each recipe on a typical machine, so that the advice is the same on every machine.

    Args:
        plans: Recipe -> its plan.
        images: Number of images in each split.
        cache: Where the sizes of the stages are stored, as in `estimate_cost`.
    """
    return {name: estimate_cost(plan, images, cache, machine=TYPICAL).seconds for name, plan in plans.items()}


def per_split(dataset: ImageDataset) -> dict[str, int]:
    """Returns the number of images in each split."""
    split = np.array(dataset.split)
    return {name: int((split == name).sum()) for name in SPLITS}
