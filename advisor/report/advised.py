"""Values for the templates of the advice: measures, landmarks, classes, suspects, depths and expectations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from advisor.advice import Advice
from advisor.calibration import landmarks, textbook_numbers
from advisor.cautions import leading
from advisor.measure.learning_curve import LearningCurve
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.preferences import PREFERENCES
from advisor.quality.checks import Finding
from advisor.report.freeze_map import FREEZE_NOTE, freeze_table, network_pictures
from advisor.report.next_step import repeat_command
from advisor.report.terminal import text_of
from advisor.report.words import (
    NUM_EXAMPLES,
    confidence_figure,
    confidence_text,
    costs_note,
    cut_text,
    depth_text,
    expected_text,
    headline,
    more_images_text,
    place_text,
    recipe_table,
    settings,
    similarity_by_depth,
)
from strategies.display.charts import Axis, Chart, Mark, Series, share_axis
from strategies.plans.plan import Plan
from strategies.recipes import RECIPES
from strategies.training.run_files import FINGERPRINT

MOST_CLASSES = 60  # in the table of class sizes: the largest half and the smallest half


def advice_values(
    advice: Advice, pictures: Mapping[str, Any], command: str | None, working_folder: str | None = None
) -> dict[str, Any]:
    """Returns the values that the templates of the advice fill in.

    Args:
        advice: The advice.
        pictures: Content of `pictures.json`.
        command: The command that was typed, if known.
        working_folder: The folder in which it was typed, if known.
    """
    plan, profile = advice.plan, advice.profile
    return {
        "advice": advice,
        "source": profile.source,
        "headline": headline(advice),
        "leading": leading(advice.cautions),
        "questions": _questions(advice),
        "place": place_text(advice.similarity.score or 0),
        "num_examples": NUM_EXAMPLES,
        "ruler": _ruler(advice),
        "by_depth": similarity_by_depth(advice),
        "balance": _balance(profile.images_per_class),
        "images_text": _images_text(profile),
        "sample": _by_class(pictures["sample"]),
        "findings": [_finding(finding, pictures["suspects"].get(finding.code, [])) for finding in profile.findings],
        "cautions": [
            caution for caution in advice.cautions if caution.code not in {finding.code for finding in profile.findings}
        ],
        "depth_chart": None if advice.depth_curve is None else _depth_chart(advice.depth_curve, plan),
        "depth_text": None if advice.depth_curve is None else depth_text(advice.depth_curve),
        "learning_chart": None if advice.learning_curve is None else _learning_chart(advice.learning_curve),
        "more_images_text": None if advice.learning_curve is None else more_images_text(advice.learning_curve),
        "cut_text": cut_text(advice) if RECIPES[plan.recipe].keeps == "early" else None,
        "networks": network_pictures(plan),
        "freeze_note": FREEZE_NOTE,
        "freeze": freeze_texts(plan),
        "confidence": confidence_figure(advice),
        "confidence_text": confidence_text(advice),
        "expected": _expected(advice),
        "expected_text": expected_text(advice.expected, plan.recipe),
        "costs_note": costs_note(advice.costs),
        "preference": PREFERENCES[advice.prefer],
        "steps": sum(phase.steps for phase in plan.phases),
        "settings": settings(plan),
        "repeat": repeat_command(plan, profile.source, command, working_folder),
        "typed": command,
        "in_file": FINGERPRINT,  # which lists all suspects
    }


def _questions(advice: Advice) -> list[dict[str, Any]]:
    """Returns the two questions of the textbook with what was measured, its numbers, and the answers."""
    numbers, near = textbook_numbers(), advice.similarity
    size, similar = numbers["effective_num_images"], numbers["similarity"]
    return [
        {
            "name": "effective images (for training and validation, without copies)",
            "value": f"{advice.profile.effective_num_images:,}",
            "number": f"large from {size.value:,.0f}",
            "source": size.source,
            "answer": advice.answers.size,
        },
        {
            "name": "similarity to ImageNet",
            "value": f"{near.score:.2f} ({near.low:.2f} to {near.high:.2f})",
            "number": f"similar from {similar.value:.2f}",
            "source": similar.source,
            "answer": advice.answers.domain,
        },
    ]


def _ruler(advice: Advice) -> list[dict[str, Any]]:
    near = advice.similarity
    own = {"title": "your images", "score": near.score or 0, "low": near.low, "high": near.high}
    rows = [
        {"title": landmark.title, "score": landmark.score, "low": None, "high": None, "own": False}
        for landmark in landmarks()
    ]
    return sorted([*rows, own | {"own": True}], key=lambda row: -row["score"])


def _balance(counts: Mapping[str, int]) -> dict[str, Any]:
    """Returns the classes by their number of images; of many classes, only the largest and the smallest."""
    rows = sorted(counts.items(), key=lambda pair: -pair[1])
    half = MOST_CLASSES // 2
    shown = rows if len(rows) <= MOST_CLASSES else [*rows[:half], *rows[-half:]]
    most = max(1, rows[0][1])
    return {
        "rows": [{"name": name, "count": count, "part": round(100 * count / most, 1)} for name, count in shown],
        "left_out": len(rows) - len(shown),
    }


def _images_text(profile: DatasetProfile) -> str:
    """Returns how many images there are and how large they are, in two sentences."""
    low, high, short = profile.min_images_per_class, profile.max_images_per_class, profile.image_sizes["short_side"]
    each = f"{low:,} per class" if low == high else f"{low:,} to {high:,} per class"
    if profile.imbalance_ratio >= 1.05:
        each += f"; the largest class is {profile.imbalance_ratio:.1f} times the smallest"
    sides = f"{short['min']:g} to {short['max']:,g} px, median {short['median']:g} px"
    sides = f"{short['min']:g} px" if short["min"] == short["max"] else sides
    return f"{profile.num_images:,} images in {profile.num_classes} classes, {each}. Short side: {sides}."


def _finding(finding: Finding, pictures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a finding with its pictures, each with its problem."""
    details = {suspect.path: suspect.detail for suspect in finding.suspects}
    shown = [{**picture, "detail": details.get(picture["image"], "")} for picture in pictures]
    more = len(finding.suspects) - (len(shown) or NUM_EXAMPLES)
    return {
        "code": finding.code,
        "message": finding.message,
        "effect": finding.effect,
        "suspects": finding.suspects,
        "pictures": shown,
        "more": more,
    }


def _by_class(sample: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for picture in sample:
        found.setdefault(picture["class"], []).append(picture)
    return list(found.items())


def _depth_chart(curve: DepthCurve, plan: Plan) -> Chart:
    """Returns a chart of how well each stage separates the classes, with the chosen stage and the cut, if any."""
    places = {stage: number for number, stage in enumerate(curve.stages)}
    points = list(zip(places.values(), curve.accuracy, strict=True))
    best = max(curve.accuracy)
    bars = [(value - error, value + error) for value, error in zip(curve.accuracy, curve.standard_error, strict=True)]
    marks = [Mark(axis="y", value=curve.chance, label=f"always the most frequent class: {curve.chance:.0%}")]
    cut = plan.cut_stage if RECIPES[plan.recipe].keeps == "early" else None
    if cut in places and cut != curve.chosen_stage:
        marks.append(Mark(axis="x", value=places[cut], label=f"cut after {cut}"))
    chosen = f"no stage is clearly better than {curve.chosen_stage}"
    if cut == curve.chosen_stage:
        chosen = f"cut after {cut}: {chosen}"
    marks.append(Mark(axis="x", value=places[curve.chosen_stage], label=chosen))
    every = max(1, math.ceil(len(places) / 8))
    return Chart(
        title="Accuracy by depth",
        text=f"{depth_text(curve)}; {chosen}",
        x=Axis(
            label="stage, from the image to the classes",
            low=-0.3,
            high=len(places) - 0.7,
            ticks=[(at, stage) for stage, at in places.items() if at % every == 0],
        ),
        y=share_axis("held-out accuracy", [curve.chance, best, min(curve.accuracy)]),
        series=[Series(name="linear classifier on frozen features", points=points, bars=bars)],
        marks=marks,
    )


def _learning_chart(curve: LearningCurve) -> Chart:
    """Returns a chart of the accuracy with fewer images, and what to expect of more."""
    measured = list(zip(curve.sizes, curve.accuracy, strict=True))
    expected = [(row.num_images, row.accuracy) for row in curve.expected]
    bars = [(row.low, row.high) for row in curve.expected]
    counts = [count for count, _ in measured + expected]
    low, high, every = min(counts), max(counts), math.ceil(len(counts) / 6)
    return Chart(
        title="Learning curve",
        text=more_images_text(curve),
        x=Axis(
            label="images for training and validation",
            low=low / 1.2,
            high=high * 1.2,
            ticks=[(count, f"{count:,}") for count in counts[::every]],
            log=True,
        ),
        y=share_axis("accuracy of a new head", [*curve.accuracy, *(end for bar in bars for end in bar)]),
        series=[
            Series(name="measured, cross-validated", points=measured),
            Series(name="expected, with 80% intervals", points=expected, bars=bars, style=2),
        ],
    )


def _expected(advice: Advice) -> list[dict[str, Any]]:
    """Returns a row for each recipe: expected accuracy, time, memory, and marks."""
    texts = {row[0]: row[1:] for row in recipe_table(advice)[1:]}
    return [
        {
            "name": name,
            "expected": advice.expected[name] if advice.expected.known else None,
            "text": text[0],
            "cost": text[1:3],
            "marks": text[3],
            "advised": name == advice.recipe,
        }
        for name, text in texts.items()
    ]


def freeze_texts(plan: Plan) -> dict[str, Any]:
    """Returns the freeze map as text for the templates: `header` and `rows`."""
    header, *rows = ([text_of(cell) for cell in row] for row in freeze_table(plan))
    return {"header": header, "rows": rows}
