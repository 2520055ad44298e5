"""From images to a recommendation: measure the images, decide on a recipe, and plan its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.advice import Advice
from advisor.calibration import studied_range
from advisor.cautions import find_cautions
from advisor.decision import Decision, confidence, decide, plausible, points, ranking
from advisor.expectation import Expectation, expect, refit_gain
from advisor.measure.input_size import fitting_size
from advisor.measure.measurements import Measurements, measure
from advisor.measure.mirroring import Mirroring
from advisor.measure.resizing import Resizing
from advisor.plans import augmentation_for, costs_of, estimate_seconds, make_plans, per_split, plan_for
from advisor.preferences import BALANCED, get_preference
from advisor.race import Race, run_race
from advisor.report.files import save_advice, save_training
from advisor.report.html import advice_fragment
from advisor.report.text import summarize
from advisor.rules import Facts, textbook_answers
from advisor.time_limit import TimeLimit, begin, fit
from strategies.cluster import on_ray
from strategies.data.dataset import ImageDataset
from strategies.data.encoded import SQUEEZE
from strategies.data.loading import load_dataset
from strategies.data.resizing import as_planned, check_resize
from strategies.data.splits import with_groups
from strategies.display.progress import note
from strategies.errors import PlanError, UserError
from strategies.features.cache import FeatureCache, default_cache
from strategies.networks.backend import check_trains, start_keras
from strategies.networks.weights import choose_network
from strategies.plans.cost import RecipeCost, estimate_cost
from strategies.plans.plan import Plan, check_class_names, read_plan
from strategies.plans.planning import get_augmentation, with_batch_size, with_budget
from strategies.plans.sizes import count_parameters
from strategies.recipes import HEAD_ONLY, RECIPES, get_recipe
from strategies.training.run_files import PLAN, can_continue

if TYPE_CHECKING:
    from strategies.training.result import TrainingResult


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
        items = as_planned(self.dataset.items, plan.image_bits, plan.resize, plan.channels, plan.mixing)
        dataset = replace(self.dataset, items=items)
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

    def train(
        self,
        run: str | Path | None = None,
        *,
        minutes: float | TimeLimit | None = None,
        budget: float = 1.0,
        batch_size: int | None = None,
        command: str | None = None,
        **options: Any,
    ) -> TrainingResult:
        """Carries out the plan; see `strategies.train`.

        Args:
            run: Folder for the model, the plan, the metrics and the report. With `None` nothing is written.
            minutes: Time for all that this call does. Steps are left out where needed; if less than a quarter
                of them would fit, another recipe is trained that does fit, in the end `head_only`. Default: no limit.
            budget: Factor on the number of steps of the plan; see `strategies.with_budget`.
            batch_size: Images per step; see `strategies.with_batch_size`. Default: that of the plan.
            command: The command that was typed, to be shown in the report; default: none.
            **options: Other arguments of `strategies.train`: `overwrite`, `resume`, `callbacks`, `optimizer`,
                `data_parallel`, `cache`, `baseline`. A run that is resumed keeps the steps and the batches of its plan.

        Returns:
            A `TrainingResult`: `.model`, `.history`, `.test`.

        Raises:
            PlanError: If `budget` is not a finite number above 0, or `batch_size` is not a whole number from 1.
            UserError: If `minutes` is not a finite number above 0, or is given together with `data_parallel`, where
                processes would decide differently.
        """
        from strategies.training.trainer import train

        limit = None if minutes is None else begin(minutes)
        if limit is not None and options.get("data_parallel"):
            raise UserError(
                "Expected minutes without data_parallel. Received: both. Leave out one of them; budget shortens the "
                "training in all processes alike."
            )
        advice = self
        if limit is not None or budget != 1 or batch_size is not None:
            if options.get("resume") and run is not None and can_continue(Path(run)):
                note(f"Continuing the plan in {run}")
                advice = self.with_plan(read_plan(Path(run) / PLAN))
            else:
                cache = default_cache() if options.get("cache", True) else None
                advice = self._changed(limit, budget, batch_size, cache)

        def save(result: TrainingResult) -> None:
            if run is not None:
                save_training(advice, advice.dataset, result, Path(run), command=command)

        return train(advice.plan, advice.dataset, run, on_end=save, **options)

    def _changed(
        self, limit: TimeLimit | None, budget: float, batch_size: int | None, cache: FeatureCache | None
    ) -> Recommendation:
        """Returns the same advice with a plan of other steps or batches, its cost, and what was decided."""

        def changed(plan: Plan) -> Plan:
            plan = with_budget(plan, budget)
            return plan if batch_size is None else with_batch_size(plan, batch_size)

        plan = changed(self.plan)
        if limit is None:
            return self._with_cost(plan, estimate_cost(plan, per_split(self.dataset), cache), cache)
        plans = {name: changed(other) for name, other in plans_of(self).items()}
        head = plans[HEAD_ONLY]  # fitted in any case, as the baseline
        ranked = [plan.recipe, *(name for name in ranking(self.expected) if name != plan.recipe)]
        choices = [[plans[name], head] for name in ranked[: ranked.index(HEAD_ONLY)]] + [[head]]
        found = fit(choices, self.dataset, limit, cache=cache)
        cost = found.costs[0]
        short = with_budget(cost.plan, found.share)
        note(found.sentence(limit))
        return self._with_cost(short, replace(cost, plan=short).whole, cache, found.sentence(limit))

    def _with_cost(self, plan: Plan, cost: RecipeCost, cache: FeatureCache | None, *reasons: str) -> Recommendation:
        """Returns the same advice with another plan, which says what it costs and why it is another one."""
        reasoned = self.with_plan(replace(plan, parameters=count_parameters(plan, cache)))
        advice = dict(reasoned.plan.advice)
        advice["costs"] = {**advice["costs"], plan.recipe: asdict(cost)}
        advice["because"] = [*advice["because"], *reasons]
        return replace(reasoned, plan=replace(reasoned.plan, advice=advice))


def recommend(
    source: Any,
    *,
    backbone: str | None = None,
    weights: str = "auto",
    image_size: int | None = None,
    recipe: str | None = None,
    prefer: str = BALANCED,
    race: bool = False,
    timed: bool = False,
    augment: str | None = None,
    resize: str | None = None,
    seed: int = 0,
    max_unreadable: float = 0.05,
    group_by: str | None = None,
    every_image: bool = False,
    cache: bool = True,
    ray: str | None = None,
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
            the path of a weights file, or of the `model.keras` of a run with this backbone.
        image_size: Side of the square input in pixels. Default: the backbone's own size, or less if the images are
            smaller: the median short side, rounded up to a multiple of 32, but at least 96. The headers of up to 100
            files, evenly spaced, tell the median.
        recipe: Overrules the advice: the plan is made for this recipe.
        prefer: `"accuracy"`: the recipe that is expected to reach the most; `"balanced"`: the cheapest within half a
            point of it; `"speed"`: the cheapest within two points, without a refit.
        race: Whether all recipes that may be the best are trained briefly on parts of your images and compared on the
            other parts, so that the result decides. They take up to half the training steps of the advised recipe,
            and some seconds each to begin.
        timed: Whether a few steps of each recipe are run to measure its time and memory on this machine, which are
            estimated otherwise. This takes ten to thirty seconds per recipe.
        augment: How training images are changed at random, such as `"flip,shift,color"`, as in `strategies.make_plan`.
            Default: shifted, and also flipped unless they are recognized less well mirrored.
        resize: How images become squares: `"squeeze"`, the whole image; `"crop"`, the largest centered square; or
            `"pad"`, the whole image in its own shape, on black. Default: squeezed. Where the images are not
            nearly square, up to 300 are measured squeezed and cropped, and all are cropped if a new head recognizes
            them better so by more than a standard error.
        seed: Seed of all random choices.
        max_unreadable: Largest share of files that may be unreadable.
        group_by: A regular expression such as `patient[0-9]+`. Files with the same match in their path stay in one
            split. The path is relative to the folder, or as the table gives it.
        every_image: Whether all images are checked, as 'advisor train' does. Otherwise, above 20,000 images, a random
            sample of 20,000 with every class in it is checked. All images count toward the size in either case.
        cache: Whether frozen features are cached on disk.
        ray: The Ray cluster whose workers read and measure the images, and train the recipes of a race side by side:
            `"local"`, `"auto"` or an address; see `strategies.on_ray`. Default: none.
        **columns: For images of several bands: `channels`; for tables: `path_column`, `label_column`, `split_column`,
            `group_column`, `root`, `encoding`; for folders: `follow_links`.

    Returns:
        A `Recommendation`. Print it, save it, or train its plan.

    Raises:
        DatasetError: If the images or labels cannot be used.
        UnknownNameError: If the backbone, the recipe, the preference, the augmentation or the way to resize does not
            exist.
        WeightsError: If the weights of the ruler or of the backbone are not available.

    Example:
        >>> import advisor
        >>> advice = advisor.recommend("photos/", backbone="MobileNetV2-0.35")  # doctest: +SKIP
        >>> advice.plan.recipe  # doctest: +SKIP
        'fine_tune_all'
    """
    preference = get_preference(prefer)
    if recipe is not None:
        get_recipe(recipe)
    if augment is not None:
        get_augmentation(augment)
    if resize is not None:
        check_resize(resize)
    if race or timed:
        check_trains()
    with on_ray(ray):
        choice = choose_network(backbone, weights)
        dataset = with_groups(load_dataset(source, **columns), group_by)
        network = choice.network.of(dataset.items).at(image_size or fitting_size(choice.network, dataset.items))
        measured = measure(
            dataset,
            network,
            resize=resize,
            seed=seed,
            max_unreadable=max_unreadable,
            every_image=every_image,
            cache=cache,
        )
        facts, whole = facts_of(measured), make_plans(measured, seed, augment or augmentation_for(measured.mirroring))
        plans = {name: preference.applied(plan) for name, plan in whole.items()}
        shorter = [name for name in RECIPES if plans[name] != whole[name]]
        feature_cache = default_cache() if cache else None
        if race or timed:
            start_keras()
        expected = expect(facts).without_refit(shorter, facts.effective_num_images)
        if measured.network.row.has_tokens:  # no network of the study is a transformer
            expected = replace(expected, num_like=0.0)
        costs = costs_of(plans, measured.dataset, timed=timed, cache=feature_cache)
        decision = decide(facts, expected, estimate_seconds(plans, per_split(measured.dataset), feature_cache), prefer)
        result = None
        if race:
            result = run_race(
                measured.dataset, [plans[name] for name in plausible(expected, decision.recipe)], cache=cache
            )
            decision = after_race(decision, result, expected)
        plan = plans[recipe or decision.recipe]
        advice = Recommendation(
            plan=replace(plan, parameters=count_parameters(plan, feature_cache)),
            recipe=decision.recipe,
            prefer=prefer,
            answers=textbook_answers(facts),
            expected=expected,
            costs=costs,
            confidence=decision.confidence,
            runner_up=decision.runner_up,
            cheapest=decision.cheapest,
            because=(
                *decision.because,
                *(_about_refit(facts) if plan.recipe in shorter else ()),
                *_about_flips(measured.mirroring, plan),
                *_about_resizing(measured.resizing),
            ),
            cautions=find_cautions(_caution_facts(measured, facts, choice.note), measured.profile.findings),
            profile=measured.profile,
            similarity=measured.similarity,
            depth_curve=measured.depth_curve,
            learning_curve=measured.learning_curve,
            mirroring=measured.mirroring,
            resizing=measured.resizing,
            race=result,
            dataset=measured.dataset,
        )
        return replace(advice, plan=replace(advice.plan, advice=advice.decision()))


def plans_of(advice: Recommendation) -> dict[str, Plan]:
    """Returns the plan of each recipe: that of the advice, and those that the others would have been advised with."""
    plan, preference = advice.plan, get_preference(advice.prefer)
    return {
        name: plan
        if name == plan.recipe
        else replace(
            preference.applied(
                plan_for(
                    name,
                    plan.network,
                    advice.dataset,
                    advice.depth_curve,
                    similarity=advice.similarity.score,
                    seed=plan.seed,
                )
            ),
            augmentation=plan.augmentation,
        )
        for name in RECIPES
    }


def facts_of(measured: Measurements) -> Facts:
    """Returns the measurements that decide."""
    return Facts(
        effective_num_images=measured.profile.effective_num_images,
        num_classes=measured.profile.num_classes,
        similarity=measured.similarity,
        depth_curve=measured.depth_curve,
    )


def _about_refit(facts: Facts) -> tuple[str, ...]:
    """Returns what a training without its refit saves, and what that costs."""
    lost = points(refit_gain(facts.effective_num_images))
    return (f"No refit on all images in the end: that saves half of the steps, for about {lost} points.",)


def _about_flips(mirroring: Mirroring | None, plan: Plan) -> tuple[str, ...]:
    """Returns why images should not be flipped, if they should not be and the plan changes images at random."""
    if mirroring is None or not mirroring.matters or not any(phase.augmented for phase in plan.phases):
        return ()
    return (f"Mirrored, your images are {mirroring}. So training should not flip them.",)


def _about_resizing(resizing: Resizing | None) -> tuple[str, ...]:
    """Returns why images are not squeezed to a square, if that was measured to be better."""
    if resizing is None or resizing.best == SQUEEZE:
        return ()
    return (
        f"Your images are not square, so they are cropped rather than squeezed: the probability of the true class is "
        f"higher by {resizing.gain_text.removeprefix('+')}.",
    )


def after_race(decision: Decision, race: Race, expected: Expectation) -> Decision:
    """Returns the decision after a race, whose winner replaces the recipe that was expected to be good enough.

    Args:
        decision: What was decided before the race.
        race: The race of the advised recipe and the others that may be the best.
        expected: What each recipe was expected to reach; the confidence is that before the race.
    """
    *measured, reason = decision.because
    because = (str(race), *measured, f"Before it: {reason[0].lower()}{reason[1:]}")
    if race.winner == decision.recipe:
        return replace(decision, because=because)
    return replace(
        decision,
        recipe=race.winner,
        runner_up=decision.recipe,
        confidence=confidence(expected, race.winner),
        because=because,
    )


def _caution_facts(measured: Measurements, facts: Facts, network_note: str) -> dict[str, Any]:
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
        "backbone": measured.network.backbone,
        "has_tokens": measured.network.row.has_tokens,
        "num_images_measured": facts.similarity.num_images,
        "studied": (studied := studied_range()),
        "networks": ", ".join(studied.backbones),
        "ruler": facts.similarity.ruler,
        "network_note": network_note,
    }
