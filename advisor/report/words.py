"""The advice and a comparison in words: headline, the numbers behind it, what to expect, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from advisor.advice import Advice
from advisor.calibration import Landmark, calibration, neighbors, studied_range, textbook_numbers
from advisor.expectation import Expectation
from advisor.measure.learning_curve import LearningCurve, MoreImages
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.outcomes import Outcomes
from advisor.preferences import PREFERENCES
from advisor.quality.checks import Finding
from strategies.data.encoded import SQUEEZE
from strategies.display.numbers import duration, share
from strategies.errors import few
from strategies.plans.cost import RecipeCost
from strategies.plans.plan import Plan
from strategies.recipes import RECIPES
from strategies.training.metrics import Z_95
from strategies.training.run_files import REFIT

NUM_EXAMPLES = 3  # suspects of a finding that are named
NUM_DATASETS = 3  # of the study that are named
RESIZED = {"squeeze": "squeezed", "crop": "cropped", "pad": "padded"}
ROUNDING = 0.05  # of a confidence: the study supports no finer figure


def headline(advice: Advice) -> str:
    """Returns the advice in one sentence, and says so where the plan follows another recipe."""
    title = RECIPES[advice.recipe].title
    sentence = f"{advice.recipe}: {title[0].lower()}{title[1:]}."
    if advice.plan.recipe != advice.recipe:
        chosen, advised = (expected_text(advice.expected, name) for name in (advice.plan.recipe, advice.recipe))
        sentence += f" The plan follows {advice.plan.recipe} instead"
        sentence += f": {chosen} is expected of it, and {advised} of {advice.recipe}." if advice.expected.known else "."
    return sentence


def recipe_table(advice: Advice) -> list[list[str]]:
    """Returns the four recipes as a table: expected accuracy, time, memory, and marks.

    The header comes first. The recipes are in the order of their cost.
    """
    rows = [["recipe", "expected accuracy", "time", "memory", ""]]
    for name, cost in sorted(advice.costs.items(), key=lambda pair: pair[1].seconds):
        memory = cost.memory
        rows.append(
            [
                name,
                expected_text(advice.expected, name),
                duration(cost.seconds),
                "–" if memory is None else f"{memory / 2**30:.1f} GiB",
                ", ".join(marks(advice, name)),
            ]
        )
    return rows


def marks(advice: Advice, recipe: str) -> list[str]:
    """Returns the marks of a recipe: that it is advised, the cheapest within half a point, or the textbook's."""
    found = [("advised", advice.recipe), ("the textbook's", advice.answers.recipe)]
    if advice.cheapest != advice.recipe:
        found.insert(1, ("cheapest within half a point", advice.cheapest))
    return [words for words, name in found if name == recipe]


def expected_text(expected: Expectation, recipe: str) -> str:
    """Returns the accuracy that a recipe is expected to reach, with its 80% interval, in percent."""
    if not expected.known:
        return "unknown"
    row = expected[recipe]
    return f"{100 * row.accuracy:.0f}% ({100 * row.low:.0f} to {100 * row.high:.0f})"


def costs_note(costs: Mapping[str, RecipeCost]) -> str:
    """Returns where the times of the table come from."""
    if all(cost.measured for cost in costs.values()):
        return "time and memory measured in a few steps on this machine"
    return "time and memory estimated for the processor of this machine; --time measures them"


def confidence_figure(advice: Advice) -> str:
    """Returns how sure the advice is, rounded to what the study supports."""
    return f"about {round(advice.confidence / ROUNDING) * ROUNDING:.0%}"


def confidence_text(advice: Advice) -> str:
    """Returns how sure the advice is, what that means, and what it rests on, in two sentences."""
    if advice.race is not None:
        return f"A race on your images decided between {', '.join(advice.race.candidates)}."
    return (
        f"Confidence: {confidence_figure(advice)} that no other recipe is better by more than a point. "
        f"{rests_on(advice)}"
    )


def rests_on(advice: Advice) -> str:
    """Returns which datasets of the study the expectations rest on most."""
    titles = {row["name"]: row["title"] for row in calibration()["study"]["landmarks"]}
    nearest = ", ".join(titles.get(name, name) for name in advice.expected.datasets[:NUM_DATASETS])
    return f"Of the {studied_range().num_datasets} datasets of the study, those most like yours are {nearest}."


def facts(advice: Advice) -> list[tuple[str, str]]:
    """Returns the numbers behind the advice as (name, value) rows, rounded for reading."""
    profile, similarity, plan = advice.profile, advice.similarity, advice.plan
    numbers = textbook_numbers()
    large, similar = numbers["effective_num_images"].value, numbers["similarity"].value
    return [
        ("images", f"{profile.num_images:,} in {profile.num_classes} classes"),
        ("class sizes", class_sizes(profile)),
        ("split", split_text(profile)),
        (
            "size",
            f"{profile.effective_num_images:,} effective images (for training and validation, without copies): "
            f"{advice.answers.size} (the textbook: large from {large:,.0f})",
        ),
        (
            "similarity",
            f"{similarity.score:.2f} ({similarity.low:.2f} to {similarity.high:.2f}) to ImageNet: "
            f"{advice.answers.domain} (similar from {similar:.2f}); {place_text(similarity.score or 0)}",
        ),
        (
            "by depth",
            f"similarity in {similarity_by_depth(advice)} layers of the ruler (the network that measures similarity), "
            f"{similarity.ruler.backbone} at {similarity.ruler.image_size} px",
        ),
        *([("depths", depth_text(advice.depth_curve))] if advice.depth_curve else []),
        *([("more images", more_images_text(advice.learning_curve))] if advice.learning_curve else []),
        *([("mirrored", f"your images are {advice.mirroring}")] if advice.mirroring else []),
        *([("resized", f"probability of the true class: {advice.resizing}")] if advice.resizing else []),
        *([("cut", cut_text(advice))] if RECIPES[plan.recipe].keeps == "early" else []),
        ("textbook", f"{advice.answers.recipe}, for {advice.answers.size} sets of {advice.answers.domain} images"),
        ("preference", f"{advice.prefer}: {PREFERENCES[advice.prefer].words}"),
        ("backbone", f"{plan.backbone} at {plan.image_size} px, weights {plan.weights}"),
        ("training", settings(plan)),
    ]


def class_sizes(profile: DatasetProfile) -> str:
    """Returns how many images the classes have."""
    return (
        f"{profile.min_images_per_class:,} to {profile.max_images_per_class:,} images, median "
        f"{profile.median_images_per_class:,g}"
    )


def split_text(profile: DatasetProfile) -> str:
    """Returns how many images are in each split, and which splits are the user's own."""
    counts = profile.images_per_split or {}
    drawn = [part for part in counts if part not in profile.own_splits]
    whose = "your split" if not drawn else "split at random"
    if drawn and profile.own_splits:
        given = "".join(f"your {part} images, " for part in profile.own_splits if part != "train")
        whose = f"{given}{' and '.join(drawn)} taken from your train images at random"
    return f"{' / '.join(f'{count:,}' for count in counts.values())} images ({' / '.join(counts)}), {whose}"


def similarity_by_depth(advice: Advice) -> str:
    """Returns the similarity at each depth of the ruler: `early 0.79, middle 0.81 and late 0.75`."""
    *first, last = (f"{depth} ({row['score']:.2f})" for depth, row in advice.similarity.by_depth.items())
    return f"{', '.join(first)} and {last}" if first else last


def place_text(score: float) -> str:
    """Returns between which datasets of the study a similarity to ImageNet lies."""
    below, above = neighbors(score)
    if below is not None and above is not None:
        return f"between {_landmark(below)} and {_landmark(above)}"
    if above is not None:
        return f"further from ImageNet than {_landmark(above)}, the most distant dataset of the study"
    if below is not None:
        return f"closer to ImageNet than {_landmark(below)}, the closest dataset of the study"
    return "no dataset of the study to compare with"


def _landmark(landmark: Landmark) -> str:
    return f"{landmark.title} ({landmark.score:.2f})"


def depth_text(curve: DepthCurve) -> str:
    """Returns how well a linear classifier separates the classes at each stage."""
    accuracy = ", ".join(f"{stage} {value:.0%}" for stage, value in zip(curve.stages, curve.accuracy, strict=True))
    return (
        f"accuracy of a linear classifier on the frozen features of each stage: {accuracy} ({curve.num_images:,} "
        "images, each held out once)"
    )


def more_images_text(curve: LearningCurve) -> str:
    """Returns how accurate a new head is, and what to expect of it with more images."""
    expected = [
        f"{expected_range(row)} with {row.num_images:,}{'' if row.checked else ', less certain'}"
        for row in curve.expected
        if row.times > 1
    ]
    return (
        f"a new head on the frozen network reaches {curve.accuracy[-1]:.0%} with {curve.sizes[-1]:,} images; expect "
        f"{', '.join(expected)} (80% intervals)"
    )


def expected_range(row: MoreImages) -> str:
    """Returns the accuracy to expect with its interval, in percent.

    Example:
        >>> from advisor.measure.learning_curve import MoreImages
        >>> from advisor.report.words import expected_range
        >>> expected_range(MoreImages(times=2, num_images=200, accuracy=0.86, low=0.83, high=0.88, checked=True))
        '86% (83 to 88)'
    """
    return f"{row.accuracy:.0%} ({100 * row.low:.0f} to {100 * row.high:.0f})"


def times_text(row: MoreImages) -> str:
    """Returns as many times the images in words, and whether the figure is less certain than it looks."""
    words = {1: "all of them", 2: "twice as many"}.get(row.times, f"{row.times} times as many")
    return words if row.checked else f"{words}, less certain"


def cut_text(advice: Advice) -> str:
    """Returns where the backbone is cut, and why there."""
    curve, cut = advice.depth_curve, advice.plan.cut_stage
    if curve is None:
        return f"after {cut}, about a third of the network"
    if curve.chosen_stage == cut:
        return f"after {cut}: no stage separates the classes clearly better"
    return (
        f"after {cut}, the deepest stage that counts as early; the classes are separated best from "
        f"{curve.chosen_stage} on"
    )


def settings(plan: Plan) -> str:
    """Returns the settings of a plan that hold for all of its phases, in a few words."""
    words = [f"batches of {plan.batch_size}"]
    if plan.channels:
        words.append(f"channels {', '.join(map(str, plan.channels))}")
    if plan.resize != SQUEEZE:
        words.append(f"images {RESIZED[plan.resize]} to a square")
    if any(phase.augmented or phase.views for phase in plan.phases) and plan.augmentation:
        words.append(f"images {_changes(plan.augmentation)}")
    words.append("class weights" if plan.class_weights else "no class weights")
    if plan.label_smoothing:
        words.append(f"label smoothing {plan.label_smoothing:g}")
    words.append(f"phases judged by {plan.metric.replace('_', ' ')}")
    if plan.refit:
        words.append("refit on training and validation images")
    words.append({"auto": "mixed precision on a GPU"}.get(plan.precision, plan.precision))
    return ", ".join(words)


def _changes(augmentation: Mapping[str, Any]) -> str:
    """Returns how training images are changed at random."""
    shift, color = augmentation.get("shift", 0.0), augmentation.get("color", 0.0)
    changes = [
        *(["flipped"] if augmentation.get("horizontal_flip") else []),
        *([f"shifted by up to {shift:.0%}"] if shift else []),
        *([f"changed in color by up to {color:.0%}"] if color else []),
        *(["changed by RandAugment"] if augmentation.get("rand_augment") else []),
    ]
    first, last = ", ".join(changes[:-1]), changes[-1] if changes else "not changed"
    return f"{first} and {last}" if first else last


def kept_text(phase: str, history: Sequence[Mapping[str, str]]) -> str:
    """Returns what the trained model is, in a sentence.

    Args:
        phase: The last phase that was kept.
        history: Rows of `history.csv`.
    """
    if any(row["phase"].startswith(REFIT) for row in history):
        return (
            f"Phase {phase} is the last that was kept. After it, everything up to it was carried out once more, on "
            f"training and validation images together (refit)."
        )
    return f"The weights at the end of phase {phase} are kept."


def joined_text(extension: Mapping[str, Any], num_classes: int) -> str:
    """Returns what joined a run, from the entry `extension` of `metrics.json`."""
    added, new = extension["images_added"], extension["new_classes"]
    joined = (
        f"{num_classes} classes as before"
        if not new
        else (f"{extension['num_classes_before']} classes became {num_classes}, with {few(new)}")
    )
    copies = f" Left out: {extension['num_copies']:,} that were there before." if extension["num_copies"] else ""
    return (
        f"{joined}. New images: {added['train']:,} for training, {added['val']:,} for validation, {added['test']:,} "
        f"for testing.{copies}"
    )


def lost_text(extension: Mapping[str, Any]) -> str:
    """Returns what the classes of a run lost or gained when others joined, in one sentence."""
    test = extension["earlier_test"]
    return (
        f"On the {test['num_images']:,} test images of the earlier run: {share(test['accuracy_before'])} before, "
        f"{share(test['accuracy_after'])} after."
    )


def examples(finding: Finding) -> list[str]:
    """Returns a few suspects of a finding, and how many more there are."""
    suspects = finding.suspects
    more = [f"and {len(suspects) - NUM_EXAMPLES:,} more"] if len(suspects) > NUM_EXAMPLES else []
    return [f"{suspect.path}: {suspect.detail}" for suspect in suspects[:NUM_EXAMPLES]] + more


def verdict(comparison: Outcomes) -> str:
    """Returns what following the advice costs or gains, in one sentence."""
    advised, rival = comparison.advised, comparison.rival
    points = 100 * abs(advised.test.accuracy - rival.test.accuracy)
    times = f"taken {duration(advised.seconds)} instead of {duration(rival.seconds)}"
    if comparison.best != advised.recipe:
        return (
            f"Following the advice ({advised.recipe}) would have cost {points:.1f} points against the best "
            f"({rival.recipe}) and {times}."
        )
    gain = f"gained {points:.1f} points over" if points else "been as accurate as"
    return f"Following the advice ({advised.recipe}) would have {gain} the next best ({rival.recipe}) and {times}."


def comparison_cautions(comparison: Outcomes) -> list[str]:
    """Returns what makes the verdict uncertain, one sentence each."""
    difference, error = comparison.lead
    num_test, chosen = comparison.advised.test.num_images, comparison.chosen_on_validation
    share_of_steps = min(outcome.share for outcome in comparison.outcomes)
    cautions = []
    if abs(difference) <= Z_95 * error:
        cautions.append(
            f"On {num_test:,} test images, this may be chance: the difference lies between "
            f"{100 * (difference - Z_95 * error):+.1f} and {100 * (difference + Z_95 * error):+.1f} points "
            "(95% interval)."
        )
    if chosen is not None and chosen != comparison.best:
        cautions.append(
            f"The best recipe is known only in hindsight; by validation accuracy {chosen} would have been chosen, "
            f"{comparison[chosen].test.accuracy:.1%} on the test images."
        )
    if left_out := [name for name in RECIPES if name not in {outcome.recipe for outcome in comparison.outcomes}]:
        cautions.append(f"There was no time for {' and '.join(left_out)}.")
    if share_of_steps < 1:
        cautions.append(f"Only {share_of_steps:.0%} of the steps were run; with all of them the order may differ.")
    return cautions
