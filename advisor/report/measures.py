"""Words for the measures that decide: how each is called, how its values read, and what to say if it has no effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from advisor.rules import EvidenceReading
from strategies.display.charts import Axis
from strategies.display.html import share


@dataclass(frozen=True, kw_only=True)
class MeasureWords:
    """How a report shows a measure.

    Attributes:
        name: Its name in a table.
        low: Value at the left end of its track in a picture.
        high: Value at the right end.
        show: Returns a value as text.
        log: Whether the track is logarithmic.
        no_effect: What to say if its row of evidence does not apply: a template over `value` and `threshold` as text,
            and `when`, `from` or `below`.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    show: Callable[[float], str] = "{:.3g}".format
    log: bool = False
    no_effect: str = "{value}: no effect (applies {when} {threshold})"

    def place(self, value: float) -> float:
        """Returns the position of a value on the track, 0 (left) to 1 (right)."""
        return Axis(label=self.name, low=self.low, high=self.high, ticks=(), log=self.log).place(value)


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _mean_count(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


MEASURES = {
    "size": MeasureWords(
        name="effective images (for training and validation, without copies)",
        low=1,
        high=100_000,
        show="{:,.0f}".format,
        log=True,
    ),
    "similarity": MeasureWords(name="similarity to ImageNet", show="{:.2f}".format),
    "images_per_class": MeasureWords(
        name="effective images per class, on average",
        low=1,
        high=10_000,
        show=_mean_count,
        log=True,
        no_effect="{value} on average: no effect (applies {when} {threshold} images per class)",
    ),
    "late_gain": MeasureWords(
        name="accuracy that the last stages add",
        low=-0.2,
        high=0.6,
        show=_points,
        no_effect="The last stages add {value} of accuracy: no effect (applies {when} {threshold})",
    ),
    "headroom": MeasureWords(
        name="errors of a new head alone (headroom)",
        show=share,
        no_effect="A new head alone misclassifies {value}, so there is room to improve.",
    ),
}


def measure_words(name: str) -> MeasureWords:
    """Returns the words for a measure; for an unknown one, those that its name gives."""
    return MEASURES.get(name) or MeasureWords(name=name.replace("_", " "))


def evidence_text(reading: EvidenceReading) -> str:
    """Returns what one row of evidence says, and whether it changed the answer.

    Example:
        >>> from advisor.report.measures import evidence_text
        >>> from advisor.rules import EvidenceReading
        >>> reading = EvidenceReading(
        ...     name="headroom", value=0.168, when="below", number=0.01, answers={}, decides=(), overrules=False,
        ...     because="", source="")
        >>> evidence_text(reading)
        'A new head alone misclassifies 16.8%, so there is room to improve.'
    """
    words = measure_words(reading.name)
    if reading.value is None:
        return "not measured, so it has no effect"
    if not reading.answers:
        return words.no_effect.format(
            value=words.show(reading.value), threshold=words.show(reading.number), when=reading.when
        )
    if not reading.decides:
        return f"{reading.because}; a later row of evidence decides instead"
    return f"{reading.because}; this {'overrules' if reading.overrules else 'agrees with'} the threshold"
