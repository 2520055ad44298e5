"""How much each cell of the study is like the images at hand, as rows: one measure and one width each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.calibration import StudiedCell

# The mean of all cells counts as much as this many cells that are exactly like the images. From 1 to 5, the errors of
# the expected gains are about the same.
OVERALL = 2.0


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """A measure by which cells of the study are like a dataset, or unlike it.

    Attributes:
        measure: Name in `Facts.measures`.
        width: A cell that differs by the width counts 0.61 times as much as one that does not differ, and by twice the
            width 0.14 times (a normal curve).
        log: Whether differences are taken between logarithms to base 10.
        reason: Why it matters.
        source: Where the idea comes from. `advisor/evidence` measures what it is worth.
    """

    measure: str
    width: float
    log: bool
    reason: str
    source: str

    def scaled(self, value: float) -> float:
        """Returns a value on the scale on which differences are taken."""
        return math.log10(value) if self.log else value


LIKENESS: tuple[Likeness, ...] = (
    Likeness(
        measure="similarity",
        width=0.2,
        log=False,
        reason="The less similar the images are to ImageNet, the more there is to learn for the pretrained layers.",
        source="Yosinski et al. 2014, How transferable are features in deep neural networks?",
    ),
    Likeness(
        measure="effective_num_images",
        width=0.4,
        log=True,
        reason="With more images, more layers can be trained without overfitting.",
        source="CS231n, Transfer Learning; Kornblith et al. 2019, section 4.7",
    ),
    Likeness(
        measure="late_gain",
        width=0.1,
        log=False,
        reason="Where the last stages of the network add little to the first ones, training them helps most.",
        source="linear probes by depth: Alain & Bengio 2016",
    ),
)


def weigh(
    measures: Mapping[str, float], cells: Sequence[StudiedCell], rows: Sequence[Likeness] = LIKENESS
) -> np.ndarray:
    """Returns how much each cell is like a dataset: 1 where no measure differs, near 0 where one differs much.

    Args:
        measures: From `Facts.measures`. A measure that is unknown does not count; where it is unknown for a cell alone,
            that cell counts as if it differed by one width.
        cells: Cells of the study.
        rows: The measures that count.

    Returns:
        Array of shape `(num_cells,)`.
    """
    squares = np.zeros(len(cells))
    for row in rows:
        own = measures[row.measure]
        if math.isnan(own):
            continue
        theirs = np.array([row.scaled(cell.measures[row.measure]) for cell in cells])
        differences = (theirs - row.scaled(own)) / row.width
        squares += np.where(np.isnan(differences), 1.0, differences**2)
    return np.exp(-squares / 2)


def with_overall(alike: np.ndarray, overall: float) -> np.ndarray:
    """Returns weights that add up to 1, in which the mean of all cells counts as much as `overall` cells.

    Args:
        alike: How much each cell is like a dataset, from `weigh`.
        overall: Number of cells that are exactly like the dataset.

    Example:
        >>> import numpy as np
        >>> from advisor.likeness import with_overall
        >>> with_overall(np.array([1.0, 0.0]), 2.0).round(3).tolist()
        [0.667, 0.333]
    """
    return (alike + overall / len(alike)) / (alike.sum() + overall)
