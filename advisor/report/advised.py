"""Values for the templates of the advice: measures, landmarks, classes, suspects, depths and expectations."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from advisor.advice import Advice
from advisor.cautions import leading
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.quality.checks import Finding
from advisor.report.costs import cost_text, costs_section
from advisor.report.freeze_map import FREEZE_NOTE, freeze_table, network_pictures
from advisor.report.measures import measure_words
from advisor.report.terminal import text_of
from advisor.report.words import (
    NUM_EXAMPLES,
    changes_text,
    confidence_figure,
    confidence_text,
    cut_text,
    depth_text,
    expectation_text,
    headline,
    place_text,
    settings,
    similarity_by_depth,
)
from advisor.thresholds import landmarks
from strategies.display.charts import Axis, Chart, Mark, Series, share_axis
from strategies.display.html import share
from strategies.plans.plan import Plan
from strategies.recipes import RECIPES
from strategies.training.run_files import FINGERPRINT, PLAN

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
    plan, outlook = advice.plan, advice.outlook
    profile = advice.profile
    steps = sum(phase.steps for phase in plan.phases)
    return {
        "advice": advice,
        "source": profile.source,
        "headline": headline(advice),
        "leading": leading(advice.cautions),
        "measures": _measures(advice),
        "place": place_text(outlook),
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
        "cut_text": cut_text(advice) if RECIPES[plan.recipe].keeps == "early" else None,
        "networks": network_pictures(plan),
        "freeze_note": FREEZE_NOTE,
        "freeze": freeze_texts(plan),
        "confidence": confidence_figure(advice),
        "confidence_text": confidence_text(advice),
        "expectation": expectation_text(outlook, advice.recipe),
        "expected": _expected(advice),
        "times_head": f"{outlook.times_head:.3g}",
        "cost": cost_text(advice.costs, plan.recipe) if advice.costs else None,
        "costs": costs_section(advice.costs) if advice.costs else None,
        "changes": changes_text(outlook),
        "steps": steps,
        "settings": settings(plan),
        "repeat": _repeat(plan, profile.source, command, working_folder),
        "typed": command,
        "in_file": FINGERPRINT,  # which lists all suspects
    }


# They decide which images there are, and which of them belong to which split.
_DATA_OPTIONS = ("--group-by", "--column", "--root", "--encoding", "--follow-links", "--max-unreadable")


def _repeat(plan: Plan, source: str, command: str | None, working_folder: str | None) -> str:
    """Returns how to carry out the plan on the same images: a command if one was typed, else Python.

    The command names the plan where the typed command has written it, and a new folder beside it. A comparison writes
    no plan, so its settings are named instead. It can be copied into any folder, because it begins in the working
    folder of the typed command, from which its paths start.
    """
    typed = shlex.split(command or "")
    if typed[1:2] not in (["recommend"], ["train"], ["compare"]):
        return 'strategies.train(strategies.read_plan("plan.json"), images, "run/")'
    folder = _value_of("--out", typed)
    words = ["advisor", "train", source]
    if typed[1] == "compare" or folder is None:
        words += ["--recipe", plan.recipe, "--backbone", plan.backbone, "--weights", plan.weights]
        words += ["--image-size", str(plan.image_size), "--seed", str(plan.seed), "--out", "run"]
    else:
        words += ["--plan", os.path.join(folder, PLAN), "--out", f"{folder.rstrip('/')}_again"]
    for place, word in enumerate(typed):
        if word.partition("=")[0] in _DATA_OPTIONS:
            has_value = "=" not in word and word != "--follow-links"
            words += typed[place : place + 1 + has_value]
    begin = "" if working_folder is None else f"{shlex.join(['cd', working_folder])} && "
    return begin + shlex.join(words)


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """Returns the value of an option in the words of a command: `--out run` or `--out=run`."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.partition("=")[0] == option:
            return word.partition("=")[2] if "=" in word else following
    return None


def _measures(advice: Advice) -> list[dict[str, Any]]:
    """Returns a row for each measure that may decide: its value, its threshold, and the result of comparing them."""
    size, near = advice.margins.size, advice.margins.similarity
    overruled = {question for reading in advice.evidence if reading.overrules for question in reading.decides}

    def answer(question: str, side: str) -> tuple[str, bool]:
        return (f"{side} (overruled below)", False) if question in overruled else (side, True)

    rows = [
        _measure("size", size.value, size.threshold, "from", *answer("size", size.side)),
        _measure("similarity", near.value, near.threshold, "from", *answer("domain", near.side))
        | {"low": near.low, "high": near.high, "range": f"{near.low:.2f} to {near.high:.2f}"},
    ]
    for reading in advice.evidence:
        result = ", ".join(reading.answers.values()) or "no effect"
        if reading.answers and not reading.decides:
            result += " (a later row decides)"
        elif reading.decides and reading.overrules:
            result += ", overrules the threshold"
        rows.append(_measure(reading.name, reading.value, reading.number, reading.when, result, bool(reading.decides)))
    return rows


def _measure(name: str, value: float | None, threshold: float, when: str, result: str, decides: bool) -> dict[str, Any]:
    words = measure_words(name)
    return {
        "name": words.name,
        "value": "unknown" if value is None else words.show(value),
        "threshold": f"{when} {words.show(threshold)}",
        "at": None if value is None else words.place(value),
        "mark": words.place(threshold),
        "low": None,
        "high": None,
        "range": "",
        "result": result,
        "decides": decides,
    }


def _ruler(advice: Advice) -> list[dict[str, Any]]:
    near = advice.margins.similarity
    own = {"title": "your images", "score": near.value, "low": near.low, "high": near.high}
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


def _expected(advice: Advice) -> dict[str, Any] | None:
    """Returns the expected accuracies of a new head alone and of the recipe, for a picture."""
    outlook = advice.outlook
    if outlook.head_accuracy is None or outlook.gain is None:
        return None
    head = outlook.head_accuracy
    low, middle, high = (min(1.0, head + gain) for gain in outlook.gain)
    rows: list[tuple[Any, ...]] = [("a new head alone", head, None, None)]
    if advice.recipe != "head_only":
        rows.append((advice.recipe, middle, low, high))
    return {"rows": rows, "text": share(middle)}


def freeze_texts(plan: Plan) -> dict[str, Any]:
    """Returns the freeze map as text for the templates: `header` and `rows`."""
    header, *rows = ([text_of(cell) for cell in row] for row in freeze_table(plan))
    return {"header": header, "rows": rows}
