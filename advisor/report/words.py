"""The advice and a comparison in words: headline, the numbers behind it, what to expect, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from advisor.advice import Advice
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.outcomes import Outcomes
from advisor.outlook import Outlook
from advisor.quality.checks import Finding
from advisor.report.costs import cost_text
from advisor.report.measures import evidence_text
from advisor.thresholds import Landmark, studied_sizes
from strategies.plans.plan import Plan
from strategies.recipes import RECIPES
from strategies.training.metrics import Z_95
from strategies.training.run_files import REFIT

NUM_EXAMPLES = 3  # suspects of a finding that are named
UNKNOWN = "unknown"
PILOT = "a pilot (a short trial of both recipes on your images)"


def headline(advice: Advice) -> str:
    """Returns the advice in one sentence, and says so where the user overruled it."""
    title = RECIPES[advice.recipe].title
    sentence = f"{advice.recipe}: {title[0].lower()}{title[1:]}."
    if advice.plan.recipe != advice.recipe:
        sentence += f" The plan follows {advice.plan.recipe} instead, as you asked."
    return sentence


def facts(advice: Advice) -> list[tuple[str, str]]:
    """Returns the numbers behind the advice as (name, value) rows, rounded for reading."""
    profile, similarity, plan = advice.profile, advice.similarity, advice.plan
    size, closeness = advice.margins.size, advice.margins.similarity
    return [
        ("images", f"{profile.num_images:,} in {profile.num_classes} classes"),
        ("class sizes", class_sizes(profile)),
        ("split", split_text(profile)),
        (
            "size",
            f"{size.value:,} effective images (for training and validation, without copies): {size.side} "
            f"({size.factor:.2g} × the threshold {size.threshold:,.0f})",
        ),
        (
            "similarity",
            f"{closeness.value:.2f} ({closeness.low:.2f} to {closeness.high:.2f}) to ImageNet: {closeness.side} "
            f"({closeness.difference:+.2f} from the threshold {closeness.threshold:.2f}); "
            f"{place_text(advice.outlook)}",
        ),
        (
            "by depth",
            f"similarity in {similarity_by_depth(advice)} layers of the ruler (the network that measures similarity), "
            f"{similarity.ruler.backbone} at {similarity.ruler.image_size} px",
        ),
        *((reading.name.replace("_", " "), evidence_text(reading)) for reading in advice.evidence),
        ("confidence", confidence_text(advice)),
        ("expect", expectation_text(advice.outlook, advice.recipe)),
        *([("time here", cost_text(advice.costs, plan.recipe))] if advice.costs else []),
        ("more images", changes_text(advice.outlook)),
        ("textbook", f"{advice.textbook_recipe} (the textbook rule: a dataset is large from 20,000 images)"),
        *([("depths", depth_text(advice.depth_curve))] if advice.depth_curve else []),
        *([("cut", cut_text(advice))] if RECIPES[plan.recipe].keeps == "early" else []),
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


def place_text(outlook: Outlook) -> str:
    """Returns between which datasets of the study the images lie."""
    below, above = outlook.below, outlook.above
    if below is not None and above is not None:
        return f"between {_landmark(below)} and {_landmark(above)}"
    if above is not None:
        return f"further from ImageNet than {_landmark(above)}, the most distant dataset of the study"
    if below is not None:
        return f"closer to ImageNet than {_landmark(below)}, the closest dataset of the study"
    return "no dataset of the study to compare with"


def _landmark(landmark: Landmark) -> str:
    return f"{landmark.title} ({landmark.score:.2f})"


def confidence_figure(advice: Advice) -> str:
    """Returns how sure the advice is in percent, or that it is unknown, as with fewer images than the study has."""
    low, high = studied_sizes()
    return f"{advice.confidence:.0%}" if low <= advice.profile.effective_num_images <= high else UNKNOWN


def confidence_text(advice: Advice) -> str:
    """Returns how sure the advice is, and what that means."""
    runner_up = f"runner-up {advice.runner_up}"
    figure, (low, high) = confidence_figure(advice), studied_sizes()
    if advice.pilot is not None:
        return f"{PILOT} decided; {figure} before it; {runner_up}"
    if figure == UNKNOWN:
        return f"unknown, because the study covers {low:,.0f} to {high:,.0f} images; {runner_up}; {PILOT} would tell"
    words = f"{figure} that no other recipe is more than one point of accuracy better; {runner_up}"
    return f"{words}; borderline: {PILOT} would tell" if advice.borderline else words


def expectation_text(outlook: Outlook, recipe: str) -> str:
    """Returns what a new head alone reaches, and what the recipe adds to that, in a few sentences."""
    if outlook.head_accuracy is None or outlook.gain is None:
        return "Unknown: a class has only one image, so no image can be held out."
    head = f"A new head alone reaches about {outlook.head_accuracy:.0%} (cross-validated on your images)."
    if recipe == "head_only":
        return head
    low, middle, high = (_points(gain) for gain in outlook.gain)
    more = (
        f"{recipe} adds about {middle} points ({low} to {high} in the study), for {outlook.times_head:.0f} times the "
        "training time."
    )
    stop = " So small a gain may not be worth the time: head_only is a good choice too." if outlook.stop_here else ""
    return f"{head} {more}{stop}"


def _points(gain: float) -> str:
    return f"{100 * gain:+.1f}" if abs(gain) < 0.01 else f"{100 * gain:+.0f}"


def changes_text(outlook: Outlook) -> str:
    """Returns in one sentence from how many images the advice would change."""
    if outlook.changes is None:
        return "More images alone would not change this advice."
    change = outlook.changes
    return (
        f"From {change.num_images:,} effective images ({change.more:,} more), the advice would be {change.recipe}, if "
        "nothing else changes."
    )


def depth_text(curve: DepthCurve) -> str:
    """Returns how well a linear classifier separates the classes at each stage."""
    accuracy = ", ".join(f"{stage} {value:.0%}" for stage, value in zip(curve.stages, curve.accuracy, strict=True))
    return (
        f"accuracy of a linear classifier on the frozen features of each stage: {accuracy} ({curve.num_images:,} "
        "images, each held out once)"
    )


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
    if any(phase.augmented or phase.views for phase in plan.phases) and plan.augmentation:
        flip = "flipped and " if plan.augmentation.get("horizontal_flip", True) else ""
        words.append(f"images {flip}shifted by up to {plan.augmentation.get('shift', 0.1):.0%}")
    words.append("class weights" if plan.class_weights else "no class weights")
    if plan.label_smoothing:
        words.append(f"label smoothing {plan.label_smoothing:g}")
    words.append(f"phases judged by {plan.metric.replace('_', ' ')}")
    if plan.refit:
        words.append("refit on training and validation images")
    words.append({"auto": "mixed precision on a GPU"}.get(plan.precision, plan.precision))
    return ", ".join(words)


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


def examples(finding: Finding) -> list[str]:
    """Returns a few suspects of a finding, and how many more there are."""
    suspects = finding.suspects
    more = [f"and {len(suspects) - NUM_EXAMPLES:,} more"] if len(suspects) > NUM_EXAMPLES else []
    return [f"{suspect.path}: {suspect.detail}" for suspect in suspects[:NUM_EXAMPLES]] + more


def verdict(comparison: Outcomes) -> str:
    """Returns what following the advice costs or gains, in one sentence."""
    advised, rival = comparison.advised, comparison.rival
    points = 100 * abs(advised.test.accuracy - rival.test.accuracy)
    times = f"taken {advised.seconds:.0f} s instead of {rival.seconds:.0f} s"
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
    if share_of_steps < 1:
        cautions.append(f"Only {share_of_steps:.0%} of the steps were run; with all of them the order may differ.")
    return cautions
