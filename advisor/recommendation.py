"""Profile -> similarity -> rule -> a recommendation with a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from advisor.cautions import find_cautions
from advisor.checks import health_cautions
from advisor.examination import MOST_TEST_IMAGES, measure_and_examine
from advisor.outlook import Outlook, look_ahead
from advisor.probes import MAX_IMAGES, DepthCurve, FrozenNetwork
from advisor.profiling import DatasetProfile, profile_dataset
from advisor.rules import (
    RULES,
    Facts,
    Rule,
    Verdict,
    apply_rules,
    evidence_rows,
    numbers,
    rate_factor,
)
from advisor.similarity import Similarity, calibration, default_ruler, measure_dataset, moments_network
from strategies.aside import prepare
from strategies.backbones import Backbone, get_backbone
from strategies.cache import default_cache
from strategies.errors import PlanError
from strategies.images import ImageDataset, load_dataset
from strategies.model import count_parameters, stage_counts
from strategies.pixels import Shelf, peek_size
from strategies.plan import Plan, check_classes
from strategies.planning import make_plan, with_rates
from strategies.progress import track
from strategies.recipes import RECIPES, get_recipe
from strategies.splits import with_groups
from strategies.startup import start_keras
from strategies.weights import choose_network, native_size

if TYPE_CHECKING:
    from advisor.pilot import Pilot
    from strategies.training import TrainingResult

FINGERPRINT_VERSION = 2  # 1 had no findings
SMALLEST_DEFAULT_SIZE = 96
MOST_LOOKED_AT = 20_000  # images, unless all are asked for
PEEKED = 100  # files whose headers are looked at before any is decoded
BORDERLINE = 0.8  # below this confidence the advice offers a pilot


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Recommendation:
    """Which recipe, why, and by what margin, with the plan that carries it out.

    Attributes:
        plan: What `train` will do.
        recipe: The recipe that is recommended; the plan is for another one where the user overruled it.
        rule: The row of the 2 x 2 that applies.
        textbook_recipe: What the textbook's own thresholds (20,000 images) would say.
        margins: Distance of size and similarity from their thresholds.
        evidence: Each row of evidence that was looked at: its value, its numbers, and what it changed.
        confidence: Probability that no other recipe is better by more than a point, calibrated on the study.
        borderline: Whether the confidence is so low that a pilot is worth its time.
        runner_up: The second most probable recipe.
        because: The reason in words, with the measured numbers.
        why_not: One sentence for each of the other three recipes.
        cautions: What the reader should know; code, message and source.
        profile: What was found in the files.
        similarity: How close the images are to ImageNet's.
        depth_curve: How well the classes are separable at each depth; `None` where nothing could be held out.
        outlook: What to expect of it, whether it is worth the time, and what would change it.
        pilot: The short head-to-head that replaced the guess, if one was asked for.
        costs: What each recipe is expected to cost on this machine, `{"seconds", "seconds_per_epoch", "memory"}` by its
            name, where that was asked for; `memory` in bytes.
        dataset: The images, split; not written to any file.
    """

    plan: Plan
    recipe: str
    rule: Rule
    textbook_recipe: str
    margins: Mapping[str, Mapping[str, Any]]
    evidence: Sequence[Mapping[str, Any]]
    confidence: float
    borderline: bool
    runner_up: str
    because: str
    why_not: Mapping[str, str]
    cautions: Sequence[Mapping[str, str]]
    profile: DatasetProfile
    similarity: Similarity
    depth_curve: DepthCurve | None
    outlook: Outlook
    pilot: Pilot | None
    dataset: ImageDataset
    costs: Mapping[str, Mapping[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"Recommendation({self.recipe!r}, confidence={self.confidence:.2f}, {self.dataset!r})"

    def __str__(self) -> str:
        from advisor.report.text import summarize

        return summarize(self)

    def _repr_html_(self) -> str:
        from advisor.report.html import advice_fragment

        return advice_fragment(self)

    def fingerprint(self) -> dict[str, Any]:
        """Returns the content of `fingerprint.json`: the facts that were measured."""
        return {
            "version": FINGERPRINT_VERSION,
            "profile": self.profile.to_dict(),
            "similarity": self.similarity.to_dict(),
            "depth_curve": None if self.depth_curve is None else self.depth_curve.to_dict(),
        }

    def with_plan(self, plan: Plan) -> Recommendation:
        """Returns the same advice with another plan, for example one that was edited.

        A plan that holds advice keeps it; one that nobody advised takes this.

        Raises:
            PlanError: If the plan is for other classes or another backbone.
        """
        check_classes(plan, self.dataset.class_names)
        if plan.backbone != self.plan.backbone:
            raise PlanError(
                f"Expected a plan for {self.plan.backbone}. Received: a plan for {plan.backbone}. "
                f"Name that backbone, or ask for a new plan with 'advisor recommend'."
            )
        return replace(self, plan=replace(plan, advice=plan.advice or self.plan.advice))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Writes `fingerprint.json`, `plan.json`, `pictures.json`, `report.md` and `report.html` into a folder.

        Args:
            folder: A new or empty one.
            overwrite: Whether it may hold files already.

        Raises:
            OutputError: If the folder holds files and `overwrite` is false.
        """
        from advisor.report.files import save_advice

        return save_advice(self, folder, overwrite=overwrite)

    def train(self, run: str | Path | None = None, **options: Any) -> TrainingResult:
        """Carries the plan out; see `strategies.train`.

        Args:
            run: Folder for the model, the plan, the metrics and the report; `None` writes nothing.
            **options: What else `strategies.train` takes: `overwrite`, `resume`, `callbacks`, `optimizer`, `cache`,
                `baseline`.

        Returns:
            A `TrainingResult`: `.model`, `.history`, `.test`.
        """
        from advisor.report.files import save_training
        from strategies.training import train

        result = train(self.plan, self.dataset, run, **options)
        if run is not None:
            save_training(self, result, Path(run))
        return result


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
    """Measures your labelled images and recommends one of the four transfer-learning recipes.

    Args:
        source: A class folder (`root/<class>/*`, or `root/{train,val,test}/<class>/*`, which is respected), a pandas
            DataFrame or the path of a CSV file (columns `path,label[,split,group]`), NumPy arrays `(x, y)` of values
            0-255, or a `tf.data.Dataset` of images and labels, batched or not.
        backbone: The network to transfer; `advisor backbones` lists them. Alpha is in the name: `MobileNetV2-0.35`.
            Default: MobileNetV2, or where its weights cannot be had the best that can, down to the one in this package.
        weights: `"auto"`: from Keras' cache, else its download; `"bundled"`: those in this package, of
            MobileNetV2-0.35; or the path of a weights file.
        image_size: Side of the square input in pixels. Default: the backbone's own, or less where the images are
            smaller: the multiple of 32 at or above half of the short sides, at least 96.
        recipe: Overrules the advice: the plan is made for this recipe.
        without: Rows of evidence to leave out, by name; with all of them left out, size and similarity decide alone.
        pilot: Whether the recipe and its runner-up are trained for a fifth of their steps on your images, folds of
            which are held out; the winner replaces the guess.
        timed: Whether a few steps of each recipe are carried out to tell how long it will take on this machine and how
            much memory it needs: about ten seconds for each.
        seed: The one seed of everything random.
        max_unreadable: Largest share of files that may be unreadable.
        group_by: A regular expression such as `patient[0-9]+`; files with the same match in their path, relative to the
            folder or as the table gives it, stay in one split.
        every_image: Whether the health of all images is looked at, as 'advisor train' does, or of at most 20,000 that
            are drawn at random from every class. Their number counts in either case.
        cache: Whether frozen features are kept on disk and read from there.
        **columns: For tables: `path_column`, `label_column`, `split_column`, `group_column`, `root`; for folders:
            `follow_links`.

    Returns:
        A `Recommendation`; print it, save it, train it.

    Raises:
        DatasetError: If the images or labels cannot be used.
        UnknownNameError: If the backbone, the recipe or a row of evidence does not exist.
        WeightsError: If the weights of the ruler or of the backbone cannot be had.

    Example:
        >>> import advisor
        >>> advice = advisor.recommend("photos/", backbone="MobileNetV2-0.35")  # doctest: +SKIP
        >>> advice.plan.recipe  # doctest: +SKIP
        'fine_tune_all'
    """
    evidence = evidence_rows(without)
    if recipe is not None:
        get_recipe(recipe)
    network = choose_network(backbone, weights)
    row, weights = get_backbone(network.backbone), network.weights
    loaded = with_groups(load_dataset(source, **columns), group_by)
    ruler = default_ruler()
    expected = image_size or fitting_size(row, _median_short_side(loaded.items), weights)
    networks = moments_network(ruler, cache), FrozenNetwork(row.name, expected, weights, cache).network()
    counts = stage_counts(row, expected, dense=False, cache=default_cache() if cache else None)
    prepare(*(network.conversion for network in networks), counts)
    shelf = Shelf([ruler.image_size, expected], len(loaded))
    profile, dataset = profile_dataset(
        loaded,
        seed=seed,
        max_unreadable=max_unreadable,
        most=None if every_image else MOST_LOOKED_AT,
        cache=cache,
        shelf=shelf,
    )
    learning = dataset.subset(np.flatnonzero(np.array(dataset.split) != "test")).without_copies()
    similarity = measure_dataset(learning, ruler, seed=seed, cache=cache, shelf=shelf)
    size = image_size or default_image_size(row, profile, weights)
    frozen = FrozenNetwork(row.name, size, weights, cache, shelf)
    profile, probed = measure_and_examine(
        profile, dataset, frozen, most=MAX_IMAGES, most_tested=MOST_TEST_IMAGES, seed=seed
    )
    curve = probed.curve
    facts = Facts(
        effective_num_images=profile.effective_num_images,
        num_classes=profile.num_classes,
        similarity=similarity,
        depth_curve=curve,
    )
    verdict = apply_rules(facts, evidence=evidence)

    def plan_of(name: str) -> Plan:
        plan = plan_for(name, row.name, dataset, curve, image_size=size, weights=weights, seed=seed)
        return with_rates(plan, rate_factor(facts)) if name == "fine_tune_all" else plan

    if pilot or timed:
        start_keras()
    tried = None
    if pilot:
        from advisor.pilot import run_pilot

        tried = run_pilot(dataset, [plan_of(verdict.rule.recipe), plan_of(verdict.runner_up)], cache=cache)
        verdict = after_pilot(verdict, tried)
    chosen = verdict.rule.recipe
    borderline = tried is None and verdict.confidence < BORDERLINE
    textbook = apply_rules(facts, compared_with=numbers("textbook"), evidence=()).rule.recipe
    reasons: dict[str, Any] = {
        "recipe": chosen,
        "textbook_recipe": textbook,
        "margins": verdict.margins,
        "evidence": verdict.evidence,
        "confidence": verdict.confidence,
        "borderline": borderline,
        "runner_up": verdict.runner_up,
        "because": verdict.because,
        "why_not": verdict.why_not,
        "cautions": [
            *find_cautions({**_facts(profile, facts, verdict, size, borderline), "network": network}),
            *health_cautions(profile.findings),
        ],
    }
    outlook = look_ahead(facts, chosen, evidence=evidence)
    advice = {"source": verdict.rule.source, **reasons, "outlook": outlook.to_dict()}
    if tried is not None:
        advice["pilot"] = tried.to_dict()
    costs = measure_costs(plan_of, dataset) if timed else None
    if costs is not None:
        advice["costs"] = costs
    return Recommendation(
        plan=with_parameters(replace(plan_of(recipe or chosen), advice=advice), cache=cache),
        rule=verdict.rule,
        profile=profile,
        similarity=similarity,
        depth_curve=curve,
        outlook=outlook,
        pilot=tried,
        costs=costs,
        dataset=dataset,
        **reasons,
    )


def measure_costs(plan_of: Callable[[str], Plan], dataset: ImageDataset) -> dict[str, dict[str, Any]]:
    """Returns what each of the four recipes is expected to cost on this machine, by its name.

    Args:
        plan_of: Returns the plan of a recipe.
        dataset: The images, split.
    """
    from strategies.timing import measure_cost

    return {name: measure_cost(plan_of(name), dataset).to_dict() for name in track(RECIPES, "Timing the recipes")}


def after_pilot(verdict: Verdict, pilot: Pilot) -> Verdict:
    """Returns the verdict with what the pilot decided in the place of the guess."""
    because = f"{pilot} Before the pilot: {verdict.because}"
    guessed = verdict.rule.recipe
    if pilot.winner == guessed:
        return replace(verdict, because=because)
    lost = f"{guessed} was the guess, but lost the pilot by {100 * abs(pilot.difference):.1f} points."
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
    backbone: str,
    dataset: ImageDataset,
    curve: DepthCurve | None,
    *,
    image_size: int,
    weights: str,
    seed: int,
) -> Plan:
    """Makes a recipe concrete for a dataset that was measured.

    Args:
        recipe: Name of the recipe.
        backbone: Name of the backbone.
        dataset: The images with their split.
        curve: Sets the cut of `keep_early_layers`; without it the backbone's own.
        image_size: Side of the input in pixels.
        weights: As in `recommend`.
        seed: The one seed of everything random.
    """
    labels = dataset.labels[np.array(dataset.split) == "train"]
    cut_stage = None
    if curve is not None and get_recipe(recipe).keeps == "early":
        cut_stage = curve.cut(get_backbone(backbone).default_cut)
    return make_plan(
        recipe,
        backbone,
        class_names=dataset.class_names,
        num_train=len(labels),
        images_per_class=np.bincount(labels, minlength=len(dataset.class_names)).tolist(),
        image_size=image_size,
        weights=weights,
        seed=seed,
        cut_stage=cut_stage,
    )


def with_parameters(plan: Plan, *, cache: bool) -> Plan:
    """Returns the plan with the number of weights of every stage filled in."""
    return replace(plan, parameters=count_parameters(plan, default_cache() if cache else None))


def default_image_size(row: Backbone, profile: DatasetProfile, weights: str = "auto") -> int:
    """Returns the network's own input size, or less where most images are smaller: enlarging adds blur, not detail."""
    return fitting_size(row, profile.image_sizes["short_side"]["median"], weights)


def fitting_size(row: Backbone, short_side: float, weights: str = "auto") -> int:
    """Returns the input size in pixels for images of a short side: the network's own, or the next multiple of 32."""
    smallest = max(SMALLEST_DEFAULT_SIZE, row.min_image_size)
    return int(min(native_size(row, weights), max(smallest, -(-short_side // 32) * 32)))


def _median_short_side(items: Sequence[Any]) -> float:
    """Returns it from the headers of some files: a guess, so that they are decoded once to the size that is needed."""
    spread = items[:: max(1, len(items) // PEEKED)]
    return float(np.median([min(size) for size in map(peek_size, spread) if size] or [0]))


def _facts(
    profile: DatasetProfile, facts: Facts, verdict: Verdict, image_size: int, borderline: bool
) -> dict[str, Any]:
    """Returns what the templates of cautions may speak of, by name."""
    against = numbers()
    return {
        **facts.measures(),
        "num_images": profile.num_images,
        "min_images_per_class": profile.min_images_per_class,
        "imbalance_ratio": profile.imbalance_ratio,
        "num_grayscale": profile.num_grayscale,
        "num_looked_at": profile.num_looked_at,
        "median_short_side": profile.image_sizes["short_side"]["median"],
        "image_size": image_size,
        "low": facts.similarity.low,
        "high": facts.similarity.high,
        "num_images_measured": facts.similarity.num_images,
        "similarity_threshold": against["similarity"],
        "domain_by_evidence": any("domain" in row["decides"] for row in verdict.evidence),
        "calibrated_range": calibration()["fit"]["provenance"]["ranges"]["effective_num_images"],
        "runner_up": verdict.runner_up,
        "confidence": verdict.confidence,
        "borderline": borderline,
        "depths_disagree": verdict.depths_disagree,
        "late_gain_points": 100 * facts.measures()["late_gain"],
        "ruler": facts.similarity.ruler,
    }
