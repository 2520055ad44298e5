"""Creates the plan of a recipe for a backbone and a dataset, and changes plans as a whole."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from strategies.data.channels import Mixing, check_channels
from strategies.data.encoded import SQUEEZE
from strategies.data.value_range import FULL_RANGE
from strategies.errors import PlanError, unknown_name
from strategies.networks.backbones import CLASSIFIER, Backbone, get_backbone, resolve_weights, stages_at
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import native_size
from strategies.plans.phase import Phase
from strategies.plans.plan import DEFAULT_BATCH_SIZE, SMALL_BATCH_SIZE, Plan, check_plan
from strategies.recipes import HEAD_ONLY, RecipePhase, get_recipe

# Training images that a phase with full budget processes: 16 passes, between a floor and what two CPU cores can afford.
PASSES, FEWEST_SEEN, MOST_SEEN = 16, 3_000, 60_000
# Peak learning rates. Images unlike ImageNet's (similarity up to 0.65) need large changes. Where images are alike (from
# 0.70 on), large changes destroy what the network knows, the more so the fewer images there are: the rate there is for
# 100 training images, and grows with the square root of their number. In between, its logarithm is interpolated.
FAR, FAR_RATE = 0.65, 4e-4
NEAR, NEAR_RATE, NEAR_IMAGES = 0.70, 1e-4, 100
# Peak learning rates of phases that train the BatchNorm of new layers. It keeps the features in the range that the
# classifier knows, so that changes may be larger.
NORMED_FAR_RATE, NORMED_NEAR_RATE = 1e-3, 4e-4
# Networks differ in the size of their weights: a rate that suits one would break another. So no step changes a kernel
# by more than this share of the root mean square of its values.
LARGEST_STEP = 0.01
# With fewer training images than this, steps are of 16 images. Where BatchNorm is held, only a share of the change by a
# phase is kept then, at a rate that is higher in return.
VERY_FEW_IMAGES, FAR_SHARE, NEAR_SHARE = 200, 0.75, 0.5
FEW_IMAGES = 2_000  # with fewer training images, validation images are trained on in the end
# From this ratio of the largest to the smallest class, classes are weighted and balanced accuracy judges the phases.
IMBALANCED = 3.0
# How training images are changed at random, by name: keywords of `strategies.data.augmentation.augment`. Colors and
# RandAugment are on request only: no recipe was found to gain from them (benchmarks/flips.py).
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "flip": {"horizontal_flip": True},
    "shift": {"shift": 0.1},
    "color": {"color": 0.2},
    "randaugment": {"rand_augment": 0.3},
}
NO_AUGMENTATION = "none"
RATE_BY_BATCH = {"adamw": 0.5, "sgd": 1.0}  # the power of the batch size that learning rates grow with
SHARES = [percent / 100 for percent in range(100, 0, -1)]  # of the steps; whole percents keep names of variants exact


def images_seen(num_train: int) -> int:
    """Returns how many images a phase with full budget processes, given the number of training images."""
    return min(max(PASSES * num_train, FEWEST_SEEN), MOST_SEEN)


def kept_share(similarity: float | None, num_train: int) -> float:
    """Returns the share of the change by a phase that is kept, if BatchNorm is held.

    With fewer than 200 training images, a large change of which a part is kept does better than a small change: half of
    it on images like ImageNet's, three quarters on others. benchmarks/fine_tuning.py measures both for any dataset.

    Args:
        similarity: Similarity of the images to ImageNet's, from 0 to 1. `None` if it is not known: they are then taken
            to be similar, so that least is changed.
        num_train: Number of training images.

    Reference:
        Wortsman et al. 2022, Robust fine-tuning of zero-shot models (arXiv:2109.01903).

    Example:
        >>> from strategies.plans.planning import kept_share
        >>> kept_share(0.9, 80), kept_share(0.2, 80), kept_share(0.2, 400)
        (0.5, 0.75, 1.0)
    """
    if num_train >= VERY_FEW_IMAGES:
        return 1.0
    return float(np.interp(NEAR if similarity is None else similarity, (FAR, NEAR), (FAR_SHARE, NEAR_SHARE)))


def peak_rate(similarity: float | None, num_train: int, *, normed: bool = False) -> float:
    """Returns the peak learning rate of a phase that trains pretrained stages, if all of its change is kept.

    Args:
        similarity: Similarity of the images to ImageNet's, from 0 to 1. `None` if it is not known: they are then taken
            to be similar, so that least is changed.
        num_train: Number of training images.
        normed: Whether the phase trains the BatchNorm of new layers. The number of images then plays no part.

    Reference:
        Li et al. 2020, Rethinking the Hyperparameters for Fine-tuning (arXiv:2002.11770): the best learning rate
        depends on how close the new images are to those of the pretraining.

    Example:
        >>> from strategies.plans.planning import peak_rate
        >>> [round(peak_rate(similarity, 400), 5) for similarity in (0.9, 0.68, 0.2)]
        [0.0002, 0.00026, 0.0004]
        >>> round(peak_rate(0.2, 400, normed=True), 5)
        0.001
    """
    near = min(NEAR_RATE * math.sqrt(max(1.0, num_train / NEAR_IMAGES)), FAR_RATE)
    ends = (NORMED_FAR_RATE, NORMED_NEAR_RATE) if normed else (FAR_RATE, near)
    known = NEAR if similarity is None else similarity
    return float(np.exp(np.interp(known, (FAR, NEAR), np.log(ends))))


def balancing_weights(images_per_class: Sequence[int]) -> list[float] | None:
    """Returns class weights for imbalanced classes: the square root of the inverse frequency, 1 on average over images.

    Args:
        images_per_class: Number of training images of each class.

    Returns:
        One weight per class. `None` if the largest class has fewer than three times the images of the smallest.

    Example:
        >>> from strategies.plans.planning import balancing_weights
        >>> balancing_weights([50, 40]), balancing_weights([80, 20])
        (None, [0.8333333333333333, 1.6666666666666665])
    """
    counts = [max(1, count) for count in images_per_class]
    if max(counts) < IMBALANCED * min(counts):
        return None
    roots = [math.sqrt(count) for count in counts]
    return [sum(counts) / sum(roots) / root for root in roots]


def get_augmentation(names: str) -> dict[str, Any]:
    """Returns the entry `augmentation` of a plan, from the names of augmentations.

    Args:
        names: One or more of `AUGMENTATIONS`, separated by commas, or `"none"`.

    Raises:
        UnknownNameError: If there is no such augmentation.
        PlanError: If `"none"` is combined with others.

    Example:
        >>> from strategies.plans.planning import get_augmentation
        >>> get_augmentation("flip,shift"), get_augmentation("shift"), get_augmentation("none")
        ({'horizontal_flip': True, 'shift': 0.1}, {'shift': 0.1}, {})
    """
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in (*AUGMENTATIONS, NO_AUGMENTATION):
            raise unknown_name("augmentation", name, (*AUGMENTATIONS, NO_AUGMENTATION))
    if wanted == [NO_AUGMENTATION]:
        return {}
    if NO_AUGMENTATION in wanted:
        raise PlanError(
            f"Expected augmentations, or {NO_AUGMENTATION!r} alone. Received: {names!r}. Leave out one or the other."
        )
    return {keyword: value for name in wanted for keyword, value in AUGMENTATIONS[name].items()}


def make_plan(
    recipe: str,
    backbone: str = "MobileNetV2",
    *,
    class_names: Sequence[str],
    num_train: int,
    images_per_class: Sequence[int] | None = None,
    image_size: int | None = None,
    weights: str = "auto",
    seed: int = 0,
    cut_stage: str | None = None,
    similarity: float | None = None,
    budget: float = 1.0,
    image_bits: int = FULL_RANGE,
    resize: str = SQUEEZE,
    channels: Sequence[int] = (),
    mixing: Mixing = (),
    augment: str = "flip,shift",
) -> Plan:
    """Creates the plan of a recipe for a backbone: its stages, phases, learning rates and steps.

    Args:
        recipe: Name of one of the four recipes.
        backbone: Name of a backbone; `advisor backbones` lists them.
        class_names: The classes of the target dataset, in the order of the labels.
        num_train: Number of training images; it determines the number of steps.
        images_per_class: Number of training images of each class. Where they differ by a factor of three or more,
            classes are weighted in the loss, and balanced accuracy judges the phases. Default: balanced classes.
        image_size: Side of the square input in pixels. Default: the size that the backbone was trained with.
        weights: `"auto"` (`"imagenet"`, or `"own"` for a model of your own), `"bundled"`, `"random"`, or the path of a
            weights file.
        seed: Seed of all random numbers.
        cut_stage: The last stage that `keep_early_layers` keeps. Default: the one suggested for the backbone.
        similarity: Similarity of the images to ImageNet's, from 0 to 1, as `advisor.recommend` measures it. It sets the
            learning rates. Default: unknown, and the rates are those of similar images.
        budget: Factor on the number of steps. Default: 1.0.
        image_bits: How many bits the values of 16-bit images have: 8, 10, 12, 14 or 16. With 12, for example, 4,095 is
            white. `advisor.recommend` finds it from the images.
        resize: How images become squares: `"squeeze"`, the whole image; `"crop"`, the largest centered square; or
            `"pad"`, the whole image in its own shape, on black.
        channels: Numbers of the bands of images that the network takes, from 1, such as `(4, 3, 2)`. Three bands are
            taken as red, green and blue. For any other number, a first layer of the network mixes the bands into red,
            green and blue. Default: images are RGB.
        mixing: How this layer mixes them before it is trained: three rows, the shares of each band in red, green and
            blue. Default: each is the mean of the bands. `advisor.recommend` finds it from the images.
        augment: How phases that augment change the training images at random: `"flip"`, mirrored left to right,
            `"shift"`, `"color"`, `"randaugment"`, or several, separated by commas; or `"none"`. Images whose
            class depends on left and right, such as letters, must not be flipped; `advisor.recommend` measures that.

    Returns:
        A checked `Plan`.

    Raises:
        UnknownNameError: If the recipe, the backbone or the augmentation does not exist.
        PlanError: If the arguments do not fit together, or the stage to cut after does not exist.

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("head_only", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80)
        >>> plan.phases[0].trains
        ('classifier',)
    """
    row, wanted = get_backbone(backbone), get_recipe(recipe)
    size = image_size or native_size(row, weights)
    kept, rebuilt = _resolve_stages(wanted.keeps, row, size, cut_stage)
    groups = {"kept": kept, "rebuilt": rebuilt, "classifier": (CLASSIFIER,)}
    is_tiny = num_train < VERY_FEW_IMAGES
    batch_size = SMALL_BATCH_SIZE if is_tiny else DEFAULT_BATCH_SIZE
    steps, share = images_seen(num_train) * budget / batch_size, kept_share(similarity, num_train)

    def make_phase(phase: RecipePhase) -> Phase:
        normed = phase.normed if row.has_batch_norm else ()
        # Statistics of BatchNorm that was trained fit the end of a phase, and no point between its start and end.
        blend = 1.0 if normed else share
        rate = peak_rate(similarity, num_train, normed=bool(normed)) / blend
        return _make_phase(replace(phase, normed=normed), groups, steps, rate, blend)

    names = tuple(str(name) for name in class_names)
    plan = Plan(
        recipe=recipe,
        network=PretrainedNetwork(
            backbone=row.name,
            weights=resolve_weights(row, weights),
            image_size=size,
            channels=check_channels(channels),
            mixing=mixing,
        ),
        seed=seed,
        class_names=names,
        cut_stage=kept[-1],
        rebuilt_stages=rebuilt,
        phases=tuple(map(make_phase, wanted.phases)),
        batch_size=batch_size,
        augmentation=get_augmentation(augment),
        refit=num_train < FEW_IMAGES,
        image_bits=image_bits,
        resize=resize,
        **_balance(names, images_per_class),
    )
    check_plan(plan)
    return plan


def _balance(names: Sequence[str], images_per_class: Sequence[int] | None) -> dict[str, Any]:
    """Returns the entries of a plan that depend on how many training images each class has."""
    weights = None if images_per_class is None else balancing_weights(images_per_class)
    return {
        "class_weights": None if weights is None else dict(zip(names, weights, strict=True)),
        "metric": "accuracy" if weights is None else "balanced_accuracy",
    }


def _resolve_stages(
    keeps: str, row: Backbone, image_size: int, cut_stage: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    everything = tuple(stage.name for stage in stages_at(row, image_size))
    features = tuple(stage.name for stage in stages_at(row, image_size, dense=False))
    if keeps == "early":
        cut = cut_stage or row.default_cut
        if cut not in features[:-1]:
            raise PlanError(
                f"Expected a stage to cut after, any but the last: one of {', '.join(features[:-1])}. "
                f"Received: {cut!r}. Name one of them."
            )
        index = features.index(cut) + 1
        return features[:index], features[index:]
    if cut_stage is not None:
        raise PlanError(
            f"Only keep_early_layers has a stage to cut after. Received: cut_stage={cut_stage!r}. Leave it out."
        )
    if keeps == "all_but_last":
        return features[:-1], features[-1:]
    return {"features": features, "everything": everything}[keeps], ()


def _make_phase(
    phase: RecipePhase, groups: Mapping[str, tuple[str, ...]], steps: float, rate: float, blend: float
) -> Phase:
    trains = tuple(name for group in phase.trains for name in groups[group])
    if phase.solver == "logistic":
        return Phase(name=phase.name, trains=trains, learning_rate={}, solver=phase.solver)
    number = max(1, round(steps * phase.budget))
    return Phase(
        name=phase.name,
        trains=trains,
        learning_rate=dict.fromkeys(trains, float(f"{rate * phase.rate:.3g}")),
        batch_norm={name: _train_policy(number) for group in phase.normed for name in groups[group]},
        solver=phase.solver,
        steps=number,
        augmented=phase.augmented,
        blend=blend,
        largest_step=LARGEST_STEP if phase.normed else None,
        optional=phase.optional,
    )


def with_classes(plan: Plan, class_names: Sequence[str], images_per_class: Sequence[int], *, num_train: int) -> Plan:
    """Returns a copy of a plan for more images, of the same or of more classes.

    The number of steps grows as in a new plan, and the class weights are those of a new plan. The advice, which was for
    other images, is left out.

    Args:
        plan: Any plan.
        class_names: The classes, in the order of the labels.
        images_per_class: Number of training images of each class.
        num_train: Number of training images of the plan so far.

    Example:
        >>> import strategies
        >>> from strategies.plans.planning import with_classes
        >>> plan = strategies.make_plan("fine_tune_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=400)
        >>> larger = with_classes(plan, ["cat", "dog", "owl"], [200, 200, 200], num_train=400)
        >>> larger.class_names, plan.phases[1].steps, larger.phases[1].steps
        (('cat', 'dog', 'owl'), 200, 300)
    """
    names = tuple(class_names)
    larger = replace(plan, class_names=names, advice={}, parameters={}, **_balance(names, images_per_class))
    larger = with_budget(larger, images_seen(sum(images_per_class)) / images_seen(num_train))
    check_plan(larger)
    return larger


def with_new_head(plan: Plan) -> Plan:
    """Returns a copy of a plan that only solves a new head on the whole network of the plan, which stays frozen.

    Example:
        >>> import strategies
        >>> from strategies.plans.planning import with_new_head
        >>> plan = strategies.make_plan("fine_tune_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80)
        >>> head = with_new_head(plan)
        >>> head.recipe, [phase.trains for phase in head.phases]
        ('head_only', [('classifier',)])
    """
    recipe = get_recipe(HEAD_ONLY)
    phases = tuple(_make_phase(phase, {"classifier": (CLASSIFIER,)}, 0, 0, 1) for phase in recipe.phases)
    plan = replace(plan, recipe=recipe.name, cut_stage=plan.last_stage, rebuilt_stages=(), phases=phases)
    check_plan(plan)
    return plan


def with_batch_norm(plan: Plan, mode: str) -> Plan:
    """Returns a copy of a plan with another BatchNorm policy for its pretrained stages.

    The policy changes in every phase that trains pretrained stages. New layers keep theirs.

    Args:
        plan: Any plan.
        mode: `inference` (the four tensors of each BatchNorm layer do not change) or `train`.

    Raises:
        PlanError: If the mode is neither of them.

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("retrain_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80)
        >>> held = strategies.with_batch_norm(plan, "inference")
        >>> {cell.batch_norm for row in held.freeze_map if row.origin == "pretrained" for cell in row.cells}
        {'inference'}
    """
    if mode not in ("inference", "train"):
        raise PlanError(f"Expected a BatchNorm policy 'inference' or 'train'. Received: {mode!r}. Name one of them.")
    pretrained = {*plan.kept_stages, *plan.rebuilt_stages} if plan.network.row.has_batch_norm else set()

    def change(phase: Phase) -> Phase:
        policies = {name: policy for name, policy in phase.batch_norm.items() if name not in pretrained}
        if mode == "train":
            policies |= {name: _train_policy(phase.steps) for name in phase.trains if name in pretrained}
        return replace(phase, batch_norm=policies)

    return replace(plan, phases=tuple(change(phase) for phase in plan.phases))


def _train_policy(steps: int) -> dict[str, Any]:
    # The moving averages must adapt within the phase: they span about a hundredth of its steps. Momentum 0.9 or more.
    return {"mode": "train", "momentum": round(min(0.99, max(0.9, 1 - 100 / max(steps, 1))), 3)}


def with_rates(plan: Plan, factor: float) -> Plan:
    """Returns a copy of a plan with other learning rates for its pretrained stages.

    In every phase that trains pretrained stages, all learning rates are multiplied by `factor`.

    Args:
        plan: Any plan.
        factor: A number above 0.

    Raises:
        PlanError: If the factor is not above 0.

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("fine_tune_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80)
        >>> faster = strategies.with_rates(plan, 2)
        >>> plan.phases[1].learning_rate["stem"], faster.phases[1].learning_rate["stem"]
        (0.0002, 0.0004)
    """
    if not factor > 0:
        raise PlanError(f"Expected a factor above 0 for the learning rates. Received: {factor!r}. Give a larger one.")
    pretrained = {*plan.kept_stages, *plan.rebuilt_stages}

    def change(phase: Phase) -> Phase:
        if not pretrained & set(phase.trains):
            return phase
        return replace(phase, learning_rate={name: rate * factor for name, rate in phase.learning_rate.items()})

    return replace(plan, phases=tuple(change(phase) for phase in plan.phases))


def check_budget(factor: float) -> None:
    """Refuses a factor on the number of steps that is not a finite number above 0.

    Raises:
        PlanError: If it is not.
    """
    if not 0 < factor < math.inf:
        raise PlanError(
            f"Expected a finite factor above 0 for the steps. Received: {factor!r}. Give a positive number."
        )


def check_batch_size(batch_size: int) -> None:
    """Refuses a number of images per step that is not a whole number from 1.

    Raises:
        PlanError: If it is not.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise PlanError(
            f"Expected a batch size of 1 or more images. Received: {batch_size!r}. Give a whole number such as 16."
        )


def with_budget(plan: Plan, factor: float) -> Plan:
    """Returns a shorter or longer copy of a plan: the steps of each phase are multiplied by `factor`.

    A head that is solved exactly has no steps and does not change. Where BatchNorm trains, its momentum is adapted to
    the new number of steps.

    Args:
        plan: Any plan.
        factor: A number above 0; 1 changes nothing. Steps are rounded up, so each phase keeps at least one.

    Raises:
        PlanError: If the factor is not a finite number above 0.

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("retrain_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=4000)
        >>> [phase.steps for phase in plan.phases], [phase.steps for phase in strategies.with_budget(plan, 0.25).phases]
        ([0, 1875], [0, 469])
    """
    check_budget(factor)

    def change(phase: Phase) -> Phase:
        return _with_steps(phase, phase.steps * factor) if phase.has_steps else phase

    return replace(plan, phases=tuple(change(phase) for phase in plan.phases))


def _with_steps(phase: Phase, number: float) -> Phase:
    """Returns a phase with another number of steps, rounded up."""
    steps = max(1, math.ceil(round(number, 6)))  # in floating point, 100 * 0.07 is slightly above 7
    if steps == phase.steps:
        return phase
    policies = {
        name: _train_policy(steps) if policy["mode"] == "train" else policy for name, policy in phase.batch_norm.items()
    }
    return replace(phase, steps=steps, batch_norm=policies)


def with_batch_size(plan: Plan, batch_size: int) -> Plan:
    """Returns a copy of a plan with other batches, which trains on as many images.

    The number of steps changes by the inverse factor, rounded up. Learning rates change by the square root of the
    factor, and by the factor itself where a phase uses `sgd`: smaller batches have noisier gradients, and more steps
    add the noise up. A head that is solved exactly does not change.

    Args:
        plan: Any plan.
        batch_size: Images per optimizer step, a whole number from 1.

    Raises:
        PlanError: If the batch size is not a whole number from 1.

    Reference:
        Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms (arXiv:2205.10287); for
        `sgd`, Goyal et al. 2017, Accurate, Large Minibatch SGD (arXiv:1706.02677).

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("fine_tune_all", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=400)
        >>> small = strategies.with_batch_size(plan, 8)
        >>> [(each.batch_size, each.phases[1].steps, each.phases[1].learning_rate["stem"]) for each in (plan, small)]
        [(32, 200, 0.0002), (8, 800, 0.0001)]
    """
    check_batch_size(batch_size)
    factor = batch_size / plan.batch_size

    def change(phase: Phase) -> Phase:
        if not phase.has_steps:
            return phase
        by = factor ** RATE_BY_BATCH[phase.solver]
        rates = {name: float(f"{rate * by:.3g}") for name, rate in phase.learning_rate.items()}
        return replace(_with_steps(phase, phase.steps / factor), learning_rate=rates)

    if factor == 1:
        return plan
    return replace(plan, batch_size=batch_size, phases=tuple(change(phase) for phase in plan.phases))
