"""Plans: reading, checking and writing `plan.json`.

The phases of a plan decide what is trained. The freeze map is derived from them, for people to read. A plan file whose
freeze map contradicts its phases is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from strategies.data.channels import RGB, Mixing, check_channels
from strategies.data.encoded import SQUEEZE
from strategies.data.resizing import SQUARES
from strategies.data.value_range import FULL_RANGE, RANGES
from strategies.errors import PlanError, UserError, in_a_sentence
from strategies.files import check_schema, load_json, parse_json
from strategies.networks.backbones import CLASSIFIER, Stage
from strategies.networks.description import describe, know_described
from strategies.networks.network import PretrainedNetwork
from strategies.plans.freeze_map import FreezeRow, derive_freeze_map
from strategies.plans.phase import Phase
from strategies.recipes import get_recipe

PLAN_VERSION = 2
DEFAULT_BATCH_SIZE, SMALL_BATCH_SIZE = 32, 16
# Values of scikit-learn's C that the `logistic` solver tries. A small C regularizes the head strongly.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that training needs to know: the content of `plan.json`.

    Attributes:
        recipe: Name of the recipe, one of the four in `strategies.RECIPES`.
        network: The pretrained network that is transferred, with the channels of images that it takes: `channels`, and
            how they are mixed into red, green and blue at first: `mixing`.
        seed: Seed of all random numbers.
        class_names: Names of the classes, in the order of the labels.
        image_bits: How many bits the values of 16-bit images have: 8, 10, 12, 14 or 16. Their largest value is white.
        resize: How images become squares: `squeeze`, the whole image; `crop`, the largest centered square; or `pad`,
            the whole image in its own shape, on black.
        cut_stage: The last stage of the backbone that is kept as it is.
        rebuilt_stages: Stages after the cut that are built again, starting from their pretrained values.
        dropout: Share of the inputs of the classifier, the new layer on top, that are dropped during training.
        phases: The training phases, in order.
        batch_size: Images per optimizer step.
        augmentation: The keywords of `strategies.data.augmentation.augment`, used by phases that augment:
            `horizontal_flip`, `shift`, `color` and `rand_augment`.
        class_weights: Weight of each class in the loss, by name. `None` means equal weights.
        label_smoothing: Share of the label that is spread over all classes. Has no effect on the `logistic` solver.
        refit: Whether the phases that were kept are carried out once more at the end, from the start and on training
            and validation images together. What validation images are for has then been decided.
        metric: Validation metric by which phases are judged: `accuracy` or `balanced_accuracy`.
        precision: `float32`, `mixed_float16`, `mixed_bfloat16`, or `auto`: `mixed_float16` on a GPU, else `float32`.
        advice: The reasons for the plan: what `advisor.recommend` decided, and by which margins. Empty for a plan that
            was made without advice.
        parameters: Number of weights of each stage, for the freeze map.
    """

    recipe: str
    network: PretrainedNetwork
    seed: int
    class_names: tuple[str, ...]
    cut_stage: str
    rebuilt_stages: tuple[str, ...]
    phases: tuple[Phase, ...]
    image_bits: int = FULL_RANGE
    resize: str = SQUEEZE
    dropout: float = 0.2
    batch_size: int = DEFAULT_BATCH_SIZE
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    class_weights: Mapping[str, float] | None = None
    label_smoothing: float = 0.0
    refit: bool = False
    metric: str = "accuracy"
    precision: str = "auto"
    advice: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return self.network.backbone

    @property
    def weights(self) -> str:
        """Source of the pretrained weights."""
        return self.network.weights

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.network.image_size

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the bands of images that the network takes; `()` for red, green and blue."""
        return self.network.channels

    @property
    def mixing(self) -> Mixing:
        """How the bands are mixed into red, green and blue at first, and for all that shows an image."""
        return self.network.mixing

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages of the backbone at this input size."""
        return self.network.stages()

    @property
    def trained_by_steps(self) -> tuple[Phase, ...]:
        """The phases that are trained by steps of an optimizer; `()` where only the classifier is solved exactly."""
        return tuple(phase for phase in self.phases if phase.has_steps)

    @property
    def kept_stages(self) -> tuple[str, ...]:
        """The stages that are kept as they are: all up to the cut."""
        names = [stage.name for stage in self.stages]
        return tuple(names[: names.index(self.cut_stage) + 1])

    @property
    def last_stage(self) -> str:
        """The last stage of the backbone in the model. The classifier follows it."""
        return (*self.kept_stages, *self.rebuilt_stages)[-1]

    @property
    def built_stages(self) -> tuple[str, ...]:
        """Every stage of the trained model: kept, rebuilt, and the classifier."""
        return (*self.kept_stages, *self.rebuilt_stages, CLASSIFIER)

    @property
    def freeze_map(self) -> tuple[FreezeRow, ...]:
        """What is frozen, trained, removed or new, for each stage in each phase."""
        return derive_freeze_map(
            stages=[stage.name for stage in self.stages],
            kept=self.kept_stages,
            rebuilt=self.rebuilt_stages,
            phases=self.phases,
            has_batch_norm=self.network.row.has_batch_norm,
            parameters=self.parameters,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of `plan.json`."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "parameters"}
        network = values.pop("network")
        values = {"recipe": values.pop("recipe"), **asdict(network), **values}
        values["phases"] = [asdict(phase) for phase in self.phases]
        values["freeze_map"] = [asdict(row) for row in self.freeze_map]
        if self.network.row.is_own:
            values["own_backbone"] = describe(self.network.row)
        return {"version": PLAN_VERSION, **json.loads(json.dumps(values, allow_nan=False))}

    def digest(self) -> str:
        """Returns a SHA-256 of everything that the plan decides. The reasons for it, `advice`, do not count."""
        return plan_digest(self.to_dict())


def plan_digest(values: Mapping[str, Any]) -> str:
    """Returns `Plan.digest` from the content of a `plan.json`."""
    decided = {name: value for name, value in values.items() if name != "advice"}
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def check_plan(plan: Plan) -> None:
    """Refuses a plan that is impossible or contradicts itself.

    Raises:
        PlanError: If it is; the message names the contradiction.
        UnknownNameError: If the recipe or the backbone does not exist.
    """
    get_recipe(plan.recipe)
    row = plan.network.row
    names = [stage.name for stage in plan.stages]
    if plan.image_size < row.min_image_size:
        _refuse(f"{row.name} needs images of at least {row.min_image_size} px", f"image_size={plan.image_size}")
    if len(plan.class_names) < 2 or len(set(plan.class_names)) < len(plan.class_names):
        _refuse("a plan needs two or more classes, each with a different name", f"class_names={list(plan.class_names)}")
    if plan.cut_stage not in names:
        _refuse(f"cut_stage must be a stage of {row.name} at {plan.image_size} px ({', '.join(names)})", plan.cut_stage)
    after = tuple(names[len(plan.kept_stages) :])
    if plan.rebuilt_stages != after[: len(plan.rebuilt_stages)]:
        _refuse(
            f"rebuilt_stages must follow the cut without a gap ({', '.join(after)})",
            f"cut_stage={plan.cut_stage!r}, rebuilt_stages={list(plan.rebuilt_stages)}",
        )
    if plan.image_bits not in RANGES:
        _refuse(f"image_bits must be one of {', '.join(map(str, RANGES))}", f"image_bits={plan.image_bits}")
    if plan.resize not in SQUARES:
        _refuse(f"resize must be one of {', '.join(SQUARES)}", f"resize={plan.resize!r}")
    _check_channels(plan)
    if not plan.phases:
        _refuse("a plan needs at least one phase", "phases=[]")
    if len({phase.name for phase in plan.phases}) < len(plan.phases):
        _refuse("phases must have different names", ", ".join(phase.name for phase in plan.phases))
    for phase in plan.phases:
        _check_phase(plan, phase)
    trained = {stage for phase in plan.phases for stage in phase.trains}
    if CLASSIFIER not in trained:
        _refuse(f"a phase must train the {CLASSIFIER}, which starts from random values", "none does")
    if plan.class_weights is not None and set(plan.class_weights) != set(plan.class_names):
        _refuse("class_weights must name every class", f"class_weights for {sorted(plan.class_weights)}")


def _refuse(expected: str, received: str) -> None:
    raise PlanError(f"The plan cannot be carried out: {expected}. Received: {received}. Edit the plan.")


def _check_channels(plan: Plan) -> None:
    check_channels(plan.channels)
    is_rgb = plan.network.num_channels == RGB
    shape = [len(row) for row in plan.mixing]
    if plan.mixing and (is_rgb or shape != RGB * [len(plan.channels)] or not np.isfinite(plan.mixing).all()):
        _refuse(
            "mixing must have three rows with a finite number for each of channels, or be [] for three or none",
            f"rows of {shape} for channels={list(plan.channels)}",
        )
    changed = [name for name in ("color", "rand_augment") if plan.augmentation.get(name)]
    if changed and not is_rgb:
        _refuse(
            "the augmentations color and randaugment are for red, green and blue",
            f"{' and '.join(changed)} for {plan.network.num_channels} channels",
        )


def _check_phase(plan: Plan, phase: Phase) -> None:
    label = f"phase {phase.name!r}"
    for stage in phase.trains:
        if stage not in plan.built_stages:
            removed = stage in {known.name for known in plan.stages} or stage == "top"
            why = "removes" if removed else "does not have"
            _refuse(f"{label} can train only {', '.join(plan.built_stages)}", f"{stage!r}, which the plan {why}")
    if not phase.trains or len(set(phase.trains)) < len(phase.trains):
        _refuse(f"{label} must train at least one stage, and each stage only once", f"trains={list(phase.trains)}")
    if phase.has_steps and set(phase.learning_rate) != set(phase.trains):
        _refuse(
            f"{label} needs one learning_rate for each stage that it trains ({', '.join(phase.trains)})",
            f"learning_rate for {', '.join(phase.learning_rate) or 'none'}",
        )
    if not all(math.isfinite(rate) and rate > 0 for rate in phase.learning_rate.values()):
        _refuse(f"learning rates of {label} must be above 0", f"{dict(phase.learning_rate)}")
    if not 0 < phase.blend <= 1:
        _refuse(f"blend of {label} must be above 0 and at most 1", f"blend={phase.blend!r}")
    if phase.largest_step is not None and not (math.isfinite(phase.largest_step) and phase.largest_step > 0):
        _refuse(f"largest_step of {label} must be above 0, or null for no limit", f"{phase.largest_step!r}")
    for stage, policy in phase.batch_norm.items():
        if stage not in phase.trains and policy["mode"] == "train":
            _refuse(
                f"{label} freezes {stage!r}, so its BatchNorm must be in inference mode",
                f"batch_norm[{stage!r}]={dict(policy)}",
            )
        if policy["mode"] == "train" and not 0 <= policy.get("momentum", -1) < 1:
            _refuse(f"{label}: BatchNorm in training mode needs a momentum in [0, 1)", f"{dict(policy)}")
    if not phase.has_steps:
        if phase.trains != (CLASSIFIER,):
            _refuse(f"{label}: the logistic solver can train only the classifier", f"trains={list(phase.trains)}")
    elif phase.steps < 1:
        _refuse(f"{label} must have at least one step", f"steps={phase.steps}")


def check_class_names(planned: Sequence[str], received: Sequence[str]) -> None:
    """Refuses images whose classes differ from those of a plan.

    Args:
        planned: Class names of the plan, in order.
        received: Class names of the images, in order.

    Raises:
        PlanError: If they differ; the message names the classes that do.
    """
    if tuple(planned) == tuple(received):
        return
    missing = sorted(set(planned) - set(received))[:5]
    extra = sorted(set(received) - set(planned))[:5]
    raise PlanError(
        f"The plan is for other classes: it expects {len(planned)} classes, and the data lacks {missing}. "
        f"Received: {len(received)} classes, and the plan lacks {extra}. "
        f"Create a new plan with 'advisor recommend'."
    )


def class_weights(plan: Plan) -> np.ndarray | None:
    """Returns the weight of each class in the loss, in the order of the classes; `None` if all weights are equal."""
    if plan.class_weights is None:
        return None
    return np.array([plan.class_weights[name] for name in plan.class_names], dtype="float32")


def read_plan(path: str | Path) -> Plan:
    """Reads and checks a `plan.json`, which may have been edited by hand.

    Raises:
        PlanError: If the file is missing or does not follow the JSON schema of a plan, or if the plan is impossible or
            contradicts itself.
    """
    values = load_json(path, error=PlanError)
    try:
        return plan_from_dict(values)
    except UserError as error:
        raise type(error)(f"{error} The plan is {str(path)!r}.") from error


def plan_from_dict(values: Mapping[str, Any]) -> Plan:
    """Creates a plan from the content of a `plan.json` and checks it; the inverse of `Plan.to_dict`."""
    if isinstance(values, Mapping) and values.get("version") == 1:
        raise PlanError(
            "Expected a plan of this release. Received: version 1, from a release before 0.6, whose recipes had other "
            "layers. Create a new plan with 'advisor recommend'."
        )
    check_schema(values, "plan", package="strategies", error=PlanError)
    _check_finite(values)
    if "own_backbone" in values:
        know_described(values["backbone"], values["own_backbone"])
    known = {item.name for item in fields(Plan)}
    given = {key: value for key, value in values.items() if key in known}
    network = {item.name: values[item.name] for item in fields(PretrainedNetwork) if item.name in values}
    phases = tuple(Phase(**{**phase, "trains": tuple(phase["trains"])}) for phase in values["phases"])
    plan = Plan(
        **{
            **given,
            "network": PretrainedNetwork(**network),
            "class_names": tuple(values["class_names"]),
            "rebuilt_stages": tuple(values["rebuilt_stages"]),
            "phases": phases,
            "parameters": {
                row["stage"]: row["parameters"] for row in values["freeze_map"] if row["parameters"] is not None
            },
        }
    )
    check_plan(plan)
    derived = {row["stage"]: row for row in plan.to_dict()["freeze_map"]}
    for row in values["freeze_map"]:
        if row != derived.get(row["stage"]):
            expected = derived.get(row["stage"], {"cells": "no row"})["cells"]
            raise PlanError(
                f"The plan contradicts itself: by its phases, the freeze map of stage {row['stage']!r} is {expected}. "
                f"Received: {row['cells']}. Edit phases and set freeze_map to []: it is derived from the phases."
            )
    return plan


def _check_finite(values: Mapping[str, Any]) -> None:
    # A file was read so, but the values may come from elsewhere.
    try:
        parse_json(json.dumps(values))
    except ValueError as error:
        raise PlanError(
            f"Expected finite numbers of at most 64 bits in a plan. Received: {in_a_sentence(error)}. Fix the plan."
        ) from error
