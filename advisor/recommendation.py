"""From images to a recommendation: measure the images, decide on a recipe, and plan its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.advice import Advice
from advisor.cautions import find_cautions
from advisor.measure.measurements import Measurements, fitting_size, measure
from advisor.measure.probes import DepthCurve
from advisor.outlook import look_ahead
from advisor.pilot import Pilot, run_pilot
from advisor.report.files import save_advice, save_training
from advisor.report.html import advice_fragment
from advisor.report.text import summarize
from advisor.rules import RULES, Evidence, Facts, Verdict, apply_rules, evidence_rows
from advisor.thresholds import studied_sizes, thresholds
from strategies.data.dataset import ImageDataset
from strategies.data.loading import load_dataset
from strategies.data.splits import with_groups
from strategies.data.value_range import range_of, with_range
from strategies.display.progress import track
from strategies.errors import PlanError
from strategies.features.cache import default_cache
from strategies.networks.backend import start_keras
from strategies.networks.network import PretrainedNetwork
from strategies.networks.weights import choose_network
from strategies.plans.cost import RecipeCost
from strategies.plans.parameters import count_parameters
from strategies.plans.plan import Plan, check_class_names
from strategies.plans.planning import make_plan
from strategies.recipes import RECIPES, get_recipe

if TYPE_CHECKING:
    from strategies.training.result import TrainingResult

BORDERLINE = 0.8  # below this confidence the advice offers a pilot


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Recommendation(Advice):
    """Advice together with the images that it is for. Print it, save it, or train its plan.

    Attributes:
        dataset: The images with their split. They are not written to any file. All other attributes are those of
            `Advice`.
    """

    dataset: ImageDataset

    def __repr__(self) -> str:
        return f"Recommendation({self.recipe!r}, confidence={self.confidence:.2f}, {self.dataset!r})"

    def __str__(self) -> str:
        return summarize(self)

    def _repr_html_(self) -> str:
        return advice_fragment(self)

    def with_plan(self, plan: Plan) -> Recommendation:
        """Returns the same advice with another plan, for example one that was edited.

        A plan that already holds advice keeps it. A plan without advice gets the advice of this recommendation.

        Args:
            plan: A plan for the same classes and the same backbone.

        Raises:
            PlanError: If the plan is for other classes or another backbone.
        """
        check_class_names(plan.class_names, self.dataset.class_names)
        if plan.backbone != self.plan.backbone:
            raise PlanError(
                f"Expected a plan for {self.plan.backbone}. Received: a plan for {plan.backbone}. "
                f"Name the backbone of the plan, or create a new plan with 'advisor recommend'."
            )
        dataset = replace(self.dataset, items=with_range(self.dataset.items, plan.image_bits))
        return replace(self, plan=replace(plan, advice=plan.advice or self.plan.advice), dataset=dataset)

    def save(self, folder: str | Path, *, overwrite: bool = False, command: str | None = None) -> Path:
        """Writes `fingerprint.json`, `plan.json`, `pictures.json`, `report.md` and `report.html` into a folder.

        Args:
            folder: A new or empty folder.
            overwrite: Whether the folder may already hold files.
            command: The command that was typed, to be shown in the report; default: none.

        Raises:
            OutputError: If the folder holds files and `overwrite` is false.
        """
        return save_advice(self, self.dataset, folder, overwrite=overwrite, command=command)

    def train(self, run: str | Path | None = None, *, command: str | None = None, **options: Any) -> TrainingResult:
        """Carries out the plan; see `strategies.train`.

        Args:
            run: Folder for the model, the plan, the metrics and the report. With `None` nothing is written.
            command: The command that was typed, to be shown in the report; default: none.
            **options: Other arguments of `strategies.train`: `overwrite`, `resume`, `callbacks`, `optimizer`, `cache`,
                `baseline`.

        Returns:
            A `TrainingResult`: `.model`, `.history`, `.test`.
        """
        from strategies.training.trainer import train

        def save(result: TrainingResult) -> None:
            if run is not None:
                save_training(self, self.dataset, result, Path(run), command=command)

        return train(self.plan, self.dataset, run, on_end=save, **options)


def recommend(
    source: Any,
    *,
    backbone: str | None = None,
    weights: str = "auto",
    image_size: int | None = None,
    recipe: str | None = None,
    without: Sequence[str] = (),
    pilot: bool = False,
    timed: bool = False,
    seed: int = 0,
    max_unreadable: float = 0.05,
    group_by: str | None = None,
    every_image: bool = False,
    cache: bool = True,
    **columns: Any,
) -> Recommendation:
    """Measures your labeled images and recommends one of the four transfer-learning recipes.

    Args:
        source: A class folder (`root/<class>/*`, or `root/{train,val,test}/<class>/*`, whose split is kept), a pandas
            DataFrame or the path of a CSV file (columns `path,label[,split,group]`), NumPy arrays `(x, y)` of values
            0-255, or a `tf.data.Dataset` of images and labels, batched or not.
        backbone: The network to transfer; `advisor backbones` lists the names. The width is part of the name:
            `MobileNetV2-0.35`. Default: MobileNetV2. If its weights are not available, MobileNetV2-0.35 takes its
            place, with ImageNet weights if possible, otherwise with the weights in this package.
        weights: `"auto"`: from Keras' cache or by download; `"bundled"`: those of MobileNetV2-0.35 in this package; or
            the path of a weights file.
        image_size: Side of the square input in pixels. Default: the backbone's own size, or less if the images are
            smaller: the median short side, rounded up to a multiple of 32, but at least 96. The headers of up to 100
            files, evenly spaced, tell the median.
        recipe: Overrules the advice: the plan is made for this recipe.
        without: Names of rows of evidence to leave out. Without any evidence, size and similarity alone decide.
        pilot: Whether a pilot decides between the recipe and its runner-up: both are trained on parts of your images
            with a fifth of their steps and compared on the other parts.
        timed: Whether a few steps of each recipe are run to estimate its time and memory on this machine. This takes
            about ten seconds per recipe.
        seed: Seed of all random choices.
        max_unreadable: Largest share of files that may be unreadable.
        group_by: A regular expression such as `patient[0-9]+`. Files with the same match in their path stay in one
            split. The path is relative to the folder, or as the table gives it.
        every_image: Whether all images are checked, as 'advisor train' does. Otherwise, above 20,000 images, a random
            sample of 20,000 with every class in it is checked. All images count toward the size in either case.
        cache: Whether frozen features are cached on disk.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`, `encoding`; for
            folders: `follow_links`.

    Returns:
        A `Recommendation`. Print it, save it, or train its plan.

    Raises:
        DatasetError: If the images or labels cannot be used.
        UnknownNameError: If the backbone, the recipe or a row of evidence does not exist.
        WeightsError: If the weights of the ruler or of the backbone are not available.

    Example:
        >>> import advisor
        >>> advice = advisor.recommend("photos/", backbone="MobileNetV2-0.35")  # doctest: +SKIP
        >>> advice.plan.recipe  # doctest: +SKIP
        'fine_tune_all'
    """
    evidence = evidence_rows(without)
    if recipe is not None:
        get_recipe(recipe)
    choice = choose_network(backbone, weights)
    dataset = with_groups(load_dataset(source, **columns), group_by)
    network = choice.network.at(image_size or fitting_size(choice.network, dataset.items))
    measured = measure(dataset, network, seed=seed, max_unreadable=max_unreadable, every_image=every_image, cache=cache)
    plan_of = _planner(measured, seed)
    if pilot or timed:
        start_keras()
    verdict, pilot_result = _decide(measured, plan_of, evidence, pilot=pilot, cache=cache)
    costs = _measure_costs(plan_of, measured.dataset) if timed else None
    return _advise(
        measured, verdict, pilot_result, costs, evidence, plan_of(recipe or verdict.rule.recipe), choice.note, cache
    )


def _facts(measured: Measurements) -> Facts:
    return Facts(
        effective_num_images=measured.profile.effective_num_images,
        num_classes=measured.profile.num_classes,
        similarity=measured.similarity,
        depth_curve=measured.depth_curve,
    )


def _planner(measured: Measurements, seed: int) -> Callable[[str], Plan]:
    """Returns a function that makes the plan of a recipe for the measured dataset."""
    return partial(
        plan_for,
        network=measured.network,
        dataset=measured.dataset,
        curve=measured.depth_curve,
        similarity=measured.similarity.score,
        seed=seed,
    )


def _decide(
    measured: Measurements,
    plan_of: Callable[[str], Plan],
    evidence: Sequence[Evidence],
    *,
    pilot: bool,
    cache: bool,
) -> tuple[Verdict, Pilot | None]:
    """Applies the rules, and lets a pilot decide between the two best recipes if requested."""
    verdict = apply_rules(_facts(measured), evidence=evidence)
    if not pilot:
        return verdict, None
    plans = [plan_of(verdict.rule.recipe), plan_of(verdict.runner_up)]
    pilot_result = run_pilot(measured.dataset, plans, cache=cache)
    return after_pilot(verdict, pilot_result), pilot_result


def _advise(
    measured: Measurements,
    verdict: Verdict,
    pilot_result: Pilot | None,
    costs: Mapping[str, RecipeCost] | None,
    evidence: Sequence[Evidence],
    plan: Plan,
    network_note: str,
    cache: bool,
) -> Recommendation:
    """Combines what was measured, decided and planned."""
    facts, recipe = _facts(measured), verdict.rule.recipe
    borderline = pilot_result is None and verdict.confidence < BORDERLINE
    caution_facts = _caution_facts(measured, facts, verdict) | {"borderline": borderline, "network_note": network_note}
    plan_with_counts = replace(plan, parameters=count_parameters(plan, default_cache() if cache else None))
    advice = Recommendation(
        plan=plan_with_counts,
        recipe=recipe,
        rule=verdict.rule,
        textbook_recipe=apply_rules(facts, compared_with=thresholds("textbook"), evidence=()).rule.recipe,
        margins=verdict.margins,
        evidence=verdict.evidence,
        confidence=verdict.confidence,
        borderline=borderline,
        runner_up=verdict.runner_up,
        because=verdict.because,
        why_not=verdict.why_not,
        cautions=find_cautions(caution_facts, measured.profile.findings),
        profile=measured.profile,
        similarity=measured.similarity,
        depth_curve=measured.depth_curve,
        outlook=look_ahead(facts, recipe, evidence=evidence),
        pilot=pilot_result,
        costs=costs,
        dataset=measured.dataset,
    )
    return replace(advice, plan=replace(plan_with_counts, advice=advice.decision()))


def _measure_costs(plan_of: Callable[[str], Plan], dataset: ImageDataset) -> dict[str, RecipeCost]:
    """Returns the expected time and memory of each recipe on this machine, by its name."""
    from strategies.training.timing import measure_cost

    return {recipe: measure_cost(plan_of(recipe), dataset).whole for recipe in track(RECIPES, "Timing the recipes")}


def after_pilot(verdict: Verdict, pilot: Pilot) -> Verdict:
    """Returns the verdict after a pilot, whose winner replaces the recipe of the rules.

    Args:
        verdict: What the rules say.
        pilot: The pilot of the recipe and its runner-up.
    """
    because = f"{pilot} The reason before the pilot: {verdict.because}"
    guessed = verdict.rule.recipe
    if pilot.winner == guessed:
        return replace(verdict, because=because)
    lost = f"{guessed} was the first choice, but it lost the pilot by {100 * abs(pilot.difference):.1f} points."
    others = {name: reason for name, reason in verdict.why_not.items() if name != pilot.winner}
    return replace(
        verdict,
        rule=next(row for row in RULES if row.recipe == pilot.winner),
        runner_up=guessed,
        because=because,
        why_not={guessed: lost, **others},
    )


def plan_for(
    recipe: str,
    network: PretrainedNetwork,
    dataset: ImageDataset,
    curve: DepthCurve | None,
    *,
    similarity: float | None,
    seed: int,
) -> Plan:
    """Makes the plan of a recipe for a network and a measured dataset.

    Args:
        recipe: Name of the recipe.
        network: The pretrained network to transfer.
        dataset: The images with their split.
        curve: Decides where `keep_early_layers` cuts the backbone; with `None` it is the backbone's default cut.
        similarity: Score of the similarity to ImageNet, which sets the learning rates; `None` if it is not known.
        seed: Seed of all random choices.
    """
    labels = dataset.labels[np.array(dataset.split) == "train"]
    cut_stage = None
    if curve is not None and get_recipe(recipe).keeps == "early":
        cut_stage = curve.cut(network.row.default_cut)
    return make_plan(
        recipe,
        network.backbone,
        class_names=dataset.class_names,
        num_train=len(labels),
        images_per_class=np.bincount(labels, minlength=len(dataset.class_names)).tolist(),
        image_size=network.image_size,
        weights=network.weights,
        seed=seed,
        cut_stage=cut_stage,
        similarity=similarity,
        image_bits=range_of(dataset.items),
    )


def _caution_facts(measured: Measurements, facts: Facts, verdict: Verdict) -> dict[str, Any]:
    """Returns the values that conditions and messages of cautions name."""
    profile = measured.profile
    return {
        **facts.measures(),
        "num_images": profile.num_images,
        "min_images_per_class": profile.min_images_per_class,
        "imbalance_ratio": profile.imbalance_ratio,
        "num_grayscale": profile.num_grayscale,
        "num_looked_at": profile.num_looked_at,
        "median_short_side": profile.image_sizes["short_side"]["median"],
        "image_size": measured.network.image_size,
        "low": facts.similarity.low,
        "high": facts.similarity.high,
        "num_images_measured": facts.similarity.num_images,
        "similarity_threshold": thresholds()["similarity"],
        "domain": "similar to ImageNet" if verdict.rule.domain == "similar" else "different from ImageNet",
        "domain_by_evidence": any("domain" in reading.decides for reading in verdict.evidence),
        "calibrated_range": studied_sizes(),
        "runner_up": verdict.runner_up,
        "confidence": verdict.confidence,
        "depths_disagree": verdict.depths_disagree,
        "late_gain_points": 100 * facts.measures()["late_gain"],
        "ruler": facts.similarity.ruler,
    }
