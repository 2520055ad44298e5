"""What the templates of the advice speak of: measures, landmarks, classes, suspects, depths, expectations."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from advisor.advice import Advice
from advisor.measure.probes import DepthCurve
from advisor.measure.profile import DatasetProfile
from advisor.quality.checks import Finding
from advisor.report.costs import cost_text, costs_section
from advisor.report.freeze_map import freeze_table, network_pictures
from advisor.report.terminal import text_of
from advisor.report.text import (
    NUM_EXAMPLES,
    changes_text,
    confidence_text,
    cut_text,
    depth_text,
    evidence_text,
    expectation_text,
    headline,
    place_text,
    settings,
)
from advisor.thresholds import landmarks
from strategies.display.charts import Axis, Chart, Mark, Series, share_axis
from strategies.display.html import share
from strategies.plans.plan import Plan
from strategies.recipes import RECIPES

MOST_CLASSES = 60  # in the table of the class balance: half of them the largest, half the smallest


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a measure that decides is shown: its name in words, the ends of its track, and how a value reads."""

    name: str
    low: float
    high: float
    form: str
    log: bool = False

    def place(self, value: float) -> float:
        """Returns where on the track a value lies, 0 to 1."""
        return Axis(label=self.name, low=self.low, high=self.high, ticks=(), log=self.log).place(value)


SHOWN = {
    "size": Shown(name="images to learn from, net of copies", low=1, high=100_000, form="{:,.0f}", log=True),
    "similarity": Shown(name="similarity to ImageNet", low=0, high=1, form="{:.2f}"),
    "images_per_class": Shown(name="images of each class", low=1, high=10_000, form="{:,.0f}", log=True),
    "late_gain": Shown(name="what the last stages add", low=-0.2, high=0.6, form="{:+.1%}"),
    "headroom": Shown(name="what a new head alone leaves wrong", low=0, high=1, form="{:.1%}"),
}


def advice_values(advice: Advice, pictures: Mapping[str, Any], command: str | None) -> dict[str, Any]:
    """Returns what the templates of the advice speak of."""
    plan, outlook = advice.plan, advice.outlook
    profile = advice.profile
    steps = sum(phase.steps for phase in plan.phases)
    return {
        "advice": advice,
        "source": profile.source,
        "headline": headline(advice),
        "recipe": RECIPES[advice.recipe],
        "measures": _measures(advice),
        "place": place_text(outlook),
        "num_examples": NUM_EXAMPLES,
        "ruler": _ruler(advice),
        "by_depth": [(depth, f"{row['score']:.2f}") for depth, row in advice.similarity.by_depth.items()],
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
        "freeze": freeze_texts(plan),
        "confidence_text": confidence_text(advice),
        "expectation": expectation_text(outlook, advice.recipe),
        "expected": _expected(advice),
        "times_head": f"{outlook.times_head:.3g}",
        "cost": cost_text(advice.costs, plan.recipe) if advice.costs else None,
        "costs": costs_section(advice.costs) if advice.costs else None,
        "changes": changes_text(outlook),
        "steps": steps,
        "settings": settings(plan),
        "again": _again(profile.source, command),
        "typed": command,
    }


_DATA_OPTIONS = ("--group-by", "--column", "--root", "--follow-links")  # which images there are, and in which split


def _again(source: str, command: str | None) -> str:
    """Returns what carries a plan out on the same images: a command where one led to it, else Python."""
    typed = shlex.split(command or "")
    if typed[1:2] not in (["recommend"], ["train"], ["compare"]):
        return 'strategies.train(strategies.read_plan("plan.json"), images, "run/")'
    words = ["advisor", "train", source, "--plan", "plan.json", "--out", "run/"]
    for place, word in enumerate(typed):
        if word.partition("=")[0] in _DATA_OPTIONS:
            has_value = "=" not in word and word != "--follow-links"
            words += typed[place : place + 1 + has_value]
    return shlex.join(words)


def _measures(advice: Advice) -> list[dict[str, Any]]:
    """Returns one row for each number that may decide: what was measured, what it is compared with, what it says."""
    size, near = advice.margins.size, advice.margins.similarity
    overruled = {question for reading in advice.evidence if reading.overrules for question in reading.decides}
    rows = [
        _measure("size", size.value, size.threshold, "from", size.side, "size" in overruled),
        _measure("similarity", near.value, near.threshold, "from", near.side, "domain" in overruled)
        | {"low": near.low, "high": near.high, "range": f"{near.low:.2f} to {near.high:.2f}"},
    ]
    for reading in advice.evidence:
        answer = ", ".join(reading.answers.values())
        says = answer if reading.decides else f"{answer} (a later row decides)" if answer else "no effect"
        if reading.overrules and reading.decides:
            says += ", overrules the threshold"
        rows.append(
            _measure(reading.name, reading.value, reading.number, reading.when, says, False)
            | {"text": evidence_text(reading), "speaks": bool(reading.decides)}
        )
    return rows


def _measure(name: str, value: float | None, number: float, when: str, says: str, overruled: bool) -> dict[str, Any]:
    shown = SHOWN.get(name, Shown(name=name.replace("_", " "), low=0, high=1, form="{:.3g}"))
    return {
        "name": shown.name,
        "value": "unknown" if value is None else shown.form.format(value),
        "number": f"{when} {shown.form.format(number)}" + (" on" if when == "from" else ""),
        "at": None if value is None else shown.place(value),
        "mark": shown.place(number),
        "low": None,
        "high": None,
        "range": "",
        "says": f"{says} (overruled below)" if overruled else says,
        "speaks": not overruled,
        "text": "",
    }


def _ruler(advice: Advice) -> list[dict[str, Any]]:
    near = advice.margins.similarity
    own = {"title": "these images", "score": near.value, "low": near.low, "high": near.high}
    rows = [
        {"title": landmark.title, "score": landmark.score, "low": None, "high": None, "own": False}
        for landmark in landmarks()
    ]
    return sorted([*rows, own | {"own": True}], key=lambda row: -row["score"])


def _balance(counts: Mapping[str, int]) -> dict[str, Any]:
    """Returns the classes by their number of images, those in the middle left out where there are many."""
    rows = sorted(counts.items(), key=lambda pair: -pair[1])
    half = MOST_CLASSES // 2
    shown = rows if len(rows) <= MOST_CLASSES else [*rows[:half], *rows[-half:]]
    most = max(1, rows[0][1])
    return {
        "rows": [{"name": name, "count": count, "part": round(100 * count / most, 1)} for name, count in shown],
        "left_out": len(rows) - len(shown),
    }


def _images_text(profile: DatasetProfile) -> str:
    """Returns how many images of what size there are, in a sentence or two."""
    low, high, short = profile.min_images_per_class, profile.max_images_per_class, profile.image_sizes["short_side"]
    each = f"{low:,} of each" if low == high else f"{low:,} to {high:,} of each"
    if profile.imbalance_ratio >= 1.05:
        each += f"; the largest class has {profile.imbalance_ratio:.1f} times the images of the smallest"
    sides = f"{short['min']:g} to {short['max']:,g} px, median {short['median']:g}"
    sides = f"{short['min']:g} px" if short["min"] == short["max"] else sides
    return f"{profile.num_images:,} images in {profile.num_classes} classes, {each}. Short sides of {sides}."


def _finding(finding: Finding, pictures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a finding with its pictures, each with what is the matter with it."""
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
    for one in sample:
        found.setdefault(one["class"], []).append(one)
    return list(found.items())


def _depth_chart(curve: DepthCurve, plan: Plan) -> Chart:
    """Returns how well each stage separates the classes, with the stage that was chosen and the cut, if any."""
    places = {stage: number for number, stage in enumerate(curve.stages)}
    points = list(zip(places.values(), curve.accuracy, strict=True))
    best = max(curve.accuracy)
    bars = [(value - error, value + error) for value, error in zip(curve.accuracy, curve.standard_error, strict=True)]
    marks = [Mark(axis="y", value=curve.chance, label=f"always the most frequent class {curve.chance:.0%}")]
    cut = plan.cut_stage if RECIPES[plan.recipe].keeps == "early" else None
    if cut in places and cut != curve.chosen_stage:
        marks.append(Mark(axis="x", value=places[cut], label=f"cut after {cut}"))
    chosen = f"as good as any from {curve.chosen_stage} on"
    if cut == curve.chosen_stage:
        chosen = f"cut after {cut}: {chosen}"
    marks.append(Mark(axis="x", value=places[curve.chosen_stage], label=chosen))
    every = max(1, math.ceil(len(places) / 8))
    return Chart(
        title="How well each depth separates the classes",
        text=f"{depth_text(curve)}; {chosen}",
        x=Axis(
            label="stage, from the image on",
            low=-0.3,
            high=len(places) - 0.7,
            ticks=[(at, stage) for stage, at in places.items() if at % every == 0],
        ),
        y=share_axis("accuracy, held out", [curve.chance, best, min(curve.accuracy)]),
        series=[Series(name="linear classifier on frozen features", points=points, bars=bars)],
        marks=marks,
    )


def _expected(advice: Advice) -> dict[str, Any] | None:
    """Returns what a new head alone and the recipe are expected to reach, for a picture."""
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
    """Returns the freeze map for the templates: `header` and `rows`, as text."""
    header, *rows = ([text_of(cell) for cell in row] for row in freeze_table(plan))
    return {"header": header, "rows": rows}
