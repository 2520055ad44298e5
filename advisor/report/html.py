"""Reports as one page each, without a network or a script, and the advice as a fragment for a notebook."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisor._version import __version__
from advisor.checks import NUM_EXAMPLES
from advisor.outlook import landmarks
from advisor.report.evaluation import baseline_section, evaluation_sections, interval
from advisor.report.text import (
    cell_text,
    changes_text,
    comparison_cautions,
    confidence_text,
    cut_text,
    depth_text,
    evidence_text,
    expectation_text,
    facts,
    headline,
    place_text,
    settings,
    verdict,
)
from strategies.charts import (
    Axis,
    Chart,
    Mark,
    Series,
    confusion_matrix,
    learning_charts,
    reliability_chart,
    share_axis,
    steps_of,
)
from strategies.pages import render, share
from strategies.recipes import RECIPES

if TYPE_CHECKING:
    from advisor.comparison import Comparison
    from advisor.probes import DepthCurve
    from advisor.recommendation import Recommendation
    from strategies.exporting import Export
    from strategies.plan import Plan

MOST_CLASSES = 60  # in the table of the class balance: half of them the largest, half the smallest
NO_PICTURES: Mapping[str, Any] = {"sample": [], "suspects": {}, "mistakes": []}


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


def advice_page(advice: Recommendation, pictures: Mapping[str, Any], *, command: str | None = None) -> str:
    """Returns the report of a recommendation as one page.

    Args:
        advice: As `advisor.report.files.read_advice` reads it.
        pictures: The content of `pictures.json`.
        command: What was typed, where it is known.
    """
    return render("advice.html", package="advisor", a=_advice(advice, pictures, command), version=__version__)


def training_page(
    plan: Plan,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, str]],
    advice: Recommendation | None,
    pictures: Mapping[str, Any],
    exports: Sequence[Export] = (),
    *,
    command: str | None = None,
) -> str:
    """Returns the report of a training run as one page: its result first, then the advice that it followed.

    Args:
        plan: What was carried out.
        metrics: Content of `metrics.json`.
        history: Rows of `history.csv`.
        advice: What led to the plan, if anything did.
        pictures: The content of `pictures.json`.
        exports: What the model was exported to.
        command: What was typed, where it is known.
    """
    test, baseline = metrics["test"], metrics["baseline"]
    sections = {section.title: section for section in evaluation_sections(test)}
    seen = {one["image"]: one for one in pictures["mistakes"]}
    head = baseline["head"] if plan.recipe != "head_only" else None
    bars: list[tuple[Any, ...]] = [("majority class", baseline["majority_accuracy"], None, None, None)]
    if head is not None:
        bars.append(("head alone", head["accuracy"], head["low"], head["high"], head["seconds"]))
    bars.append((plan.recipe, test["accuracy"], test["low"], test["high"], metrics["seconds"]))
    return render(
        "training.html",
        package="advisor",
        a=None if advice is None else _advice(advice, pictures, command),
        plan=plan,
        test=test,
        metrics=metrics,
        interval=interval(test),
        baseline=baseline,
        beside=baseline_section(plan.recipe, test, baseline, metrics["seconds"]),
        bars=bars,
        charts=learning_charts(history),
        course=[
            [row["phase"], f"{int(row['step']):,}", *(_number(row[name]) for name in _COURSE)]
            for row in {row["phase"]: row for row in history}.values()
        ],
        sections_found=sections,
        confusion=confusion_matrix(list(test["per_class"]), test["confusion"]),
        reliability=reliability_chart(test["reliability"]),
        mistakes=[{**one, **seen.get(one["image"], {"jpeg": None, "heat": None})} for one in test["mistakes"]],
        exports=[
            [
                one.format,
                f"{one.num_bytes / 1e6:.1f} MB",
                f"{one.num_images:,} {one.images}",
                f"{one.top1_agreement:.2%}",
                f"{one.largest_difference:.1e}",
                one.runtime,
            ]
            for one in exports
        ],
        typed=command,
        versions=", ".join(f"{name} {value}" for name, value in metrics["versions"].items()),
        networks=_network(plan),
        freeze=_freeze(plan),
        version=__version__,
    )


_COURSE = ("loss", "accuracy", "val_loss", "val_accuracy")


def comparison_page(comparison: Comparison, pictures: Mapping[str, Any], *, command: str | None = None) -> str:
    """Returns the report of a comparison as one page: what following the advice costs or gains, then the advice.

    Args:
        comparison: All four recipes on one split.
        pictures: Of the advice.
        command: What was typed, where it is known.
    """
    difference, error = comparison.lead
    return render(
        "comparison.html",
        package="advisor",
        a=_advice(comparison.advice, pictures, command),
        c=_compared(comparison),
        lead=f"{100 * difference:+.1f} ± {100 * error:.1f}",
        typed=command,
        version=__version__,
    )


def advice_fragment(advice: Recommendation) -> str:
    """Returns the advice as a fragment for a notebook."""
    return render(
        "notebook_advice.html",
        package="advisor",
        title=headline(advice),
        because=advice.because,
        facts=facts(advice),
        networks=_network(advice.plan),
        cautions=advice.cautions,
    )


def comparison_fragment(comparison: Comparison) -> str:
    """Returns a comparison as a fragment for a notebook."""
    return render("notebook_comparison.html", package="advisor", c=_compared(comparison))


def command_line(argv: Sequence[str]) -> str | None:
    """Returns the command that is running, as it would be typed; `None` where it is not one of ours.

    Example:
        >>> from advisor.report.html import command_line
        >>> command_line(["/usr/bin/advisor", "train", "my photos/", "--out", "run/"])
        "advisor train 'my photos/' --out run/"
        >>> command_line(["pytest"]) is None
        True
    """
    name = argv[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe") if argv else ""
    return shlex.join(["advisor", *argv[1:]]) if name == "advisor" else None


def _number(text: str) -> str:
    return f"{float(text):.3f}" if text else "–"


def _advice(advice: Recommendation, pictures: Mapping[str, Any], command: str | None) -> dict[str, Any]:
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
        "sample": _by_class(pictures["sample"]),
        "findings": [_finding(one, pictures["suspects"].get(one["code"], [])) for one in profile.findings],
        "cautions": [
            one for one in advice.cautions if one["code"] not in {found["code"] for found in profile.findings}
        ],
        "depth_chart": None if advice.depth_curve is None else _depth_chart(advice.depth_curve, plan),
        "depth_text": None if advice.depth_curve is None else depth_text(advice.depth_curve),
        "cut_text": cut_text(advice) if RECIPES[plan.recipe].keeps == "early" else None,
        "networks": _network(plan),
        "freeze": _freeze(plan),
        "confidence_text": confidence_text(advice),
        "expectation": expectation_text(outlook, advice.recipe),
        "expected": _expected(advice),
        "times_head": f"{outlook.times_head:.3g}",
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


def _measures(advice: Recommendation) -> list[dict[str, Any]]:
    """Returns one row for each number that may decide: what was measured, what it is compared with, what it says."""
    size, near = advice.margins["size"], advice.margins["similarity"]
    overruled = {question for row in advice.evidence if row["overrules"] for question in row["decides"]}
    rows = [
        _measure("size", size["value"], size["threshold"], "from", size["side"], "size" in overruled),
        _measure("similarity", near["value"], near["threshold"], "from", near["side"], "domain" in overruled)
        | {"low": near["low"], "high": near["high"], "range": f"{near['low']:.2f} to {near['high']:.2f}"},
    ]
    for row in advice.evidence:
        said = ", ".join(row["answers"].values())
        says = said if row["decides"] else f"{said} (a later row decides)" if said else "nothing"
        if row["overrules"] and row["decides"]:
            says += ", overrules the threshold"
        rows.append(
            _measure(row["name"], row["value"], row["number"], row["when"], says, False)
            | {"text": evidence_text(row), "speaks": bool(row["decides"])}
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


def _ruler(advice: Recommendation) -> list[dict[str, Any]]:
    near = advice.margins["similarity"]
    own = {"title": "these images", "score": near["value"] or 0.0, "low": near["low"], "high": near["high"]}
    rows = [{**row, "low": None, "high": None, "own": False} for row in landmarks()]
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


def _finding(found: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a finding with its pictures, each with what is the matter with it."""
    details = {one["path"]: one["detail"] for one in found["suspects"]}
    shown = [{**one, "detail": details.get(one["image"], "")} for one in pictures]
    return {**found, "pictures": shown, "more": len(found["suspects"]) - (len(shown) or NUM_EXAMPLES)}


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


def _network(plan: Plan) -> list[dict[str, Any]]:
    """Returns one picture of the network for each phase: a block for each stage, from the image to the classes."""
    rows, phases = plan.freeze_map, []
    for number, phase in enumerate(plan.phases):
        learning = [row for row in rows if row.cells[number].state in ("trained", "new")]
        weights = sum(row.parameters or 0 for row in learning)
        total = sum(row.parameters or 0 for row in rows if row.origin != "removed")
        how = "solved exactly" if phase.solver == "logistic" else f"{phase.steps:,} steps"
        text = f"{how}; {weights:,} of {total:,} weights learn" if total else how
        phases.append(
            {
                "title": f"Phase {number + 1}, {phase.name}:",
                "text": f"{text}{', kept only if validation says that it helped' if phase.optional else ''}.",
                "blocks": [
                    {
                        "stage": row.stage,
                        "state": row.cells[number].state,
                        "weights": "" if row.parameters is None else brief(row.parameters),
                        "tall": round(1 - place / max(1, len(rows) - 1), 3),
                    }
                    for place, row in enumerate(rows)
                ],
            }
        )
    return phases


def brief(count: int) -> str:
    """Returns a count in at most five characters.

    Example:
        >>> from advisor.report.html import brief
        >>> brief(640), brief(6_405), brief(415_653), brief(23_508_032)
        ('640', '6.4k', '416k', '23.5M')
    """
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 100 * size else f"{count / size:.0f}{unit}"
    return str(count)


def _freeze(plan: Plan) -> dict[str, Any]:
    return {
        "header": ["stage", "weights", *(phase.name for phase in plan.phases)],
        "rows": [
            [
                row.stage,
                "–" if row.parameters is None else f"{row.parameters:,}",
                *(cell_text(row, cell) for cell in row.cells),
            ]
            for row in plan.freeze_map
        ],
    }


def _expected(advice: Recommendation) -> dict[str, Any] | None:
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


def _compared(comparison: Comparison) -> dict[str, Any]:
    """Returns what the templates of a comparison speak of."""
    plan = comparison.advice.plan
    return {
        "verdict": verdict(comparison),
        "regret": f"{100 * comparison.regret:.1f}",
        "advised": comparison.advised.recipe,
        "best": comparison.best,
        "compared_cautions": comparison_cautions(comparison),
        "cost_chart": _cost_chart(comparison),
        "setting": f"{plan.backbone} at {plan.image_size} px, seed {plan.seed}, "
        f"{comparison.advised.test.num_images:,} test images",
        "outcomes": [
            {
                "recipe": one.recipe,
                "advised": one is comparison.advised,
                "best": one.recipe == comparison.best,
                "accuracy": one.test.accuracy,
                "low": one.test.low,
                "high": one.test.high,
                "interval": interval({"low": one.test.low, "high": one.test.high}),
                "balanced": one.test.balanced_accuracy,
                "validation": one.val_accuracy,
                "seconds": f"{one.seconds:,.1f} s",
                "share": f"{one.share:.0%}",
            }
            for one in comparison.ranking
        ],
    }


def _cost_chart(comparison: Comparison) -> Chart:
    """Returns test accuracy against seconds of all four recipes."""
    seconds = [one.seconds for one in comparison.outcomes]
    low, high = 0.7 * min(seconds), 1.5 * max(seconds)
    bounds = [bound for one in comparison.outcomes for bound in (one.test.low, one.test.high)]
    ticks = [one * 10**power for power in range(-2, 7) for one in (1, 2, 5) if low <= one * 10**power <= high]
    if len(ticks) < 2:
        ticks = steps_of(low, high, most=4)
    return Chart(
        title="Accuracy against cost",
        text="; ".join(f"{one.recipe} {one.test.accuracy:.1%} in {one.seconds:.1f} s" for one in comparison.ranking),
        x=Axis(
            label="seconds of training (logarithmic)",
            low=low,
            high=high,
            ticks=[(one, f"{one:g}") for one in ticks],
            log=True,
        ),
        y=share_axis("test accuracy, 95 % interval", bounds),
        series=[
            Series(
                name=one.recipe + (" (advised)" if one is comparison.advised else ""),
                points=[(one.seconds, one.test.accuracy)],
                bars=[(one.test.low, one.test.high)],
                style=number,
                line=False,
            )
            for number, one in enumerate(comparison.outcomes, start=1)
        ],
    )
