"""The exports of a model as a section of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advisor.report.evaluation import Section
from strategies.display.numbers import share

if TYPE_CHECKING:
    from strategies.runs.exporting import Export


def export_section(exports: Sequence[Export]) -> Section:
    """Returns what a model was exported to, and how close each export is to the model."""
    return Section(
        title="Export",
        text="Each exported model was run in a separate process, and its predictions were compared with the model's.",
        header=[
            "format",
            "file",
            "size",
            "compared on",
            "same class",
            "accuracy",
            "the model's",
            "largest difference in probability",
            "runtime",
        ],
        rows=[
            [
                export.format,
                export.path,
                f"{export.num_bytes / 1e6:.1f} MB",
                f"{export.num_images:,} {export.images}",
                f"{export.top1_agreement:.2%}",
                share(export.accuracy),
                share(export.model_accuracy),
                "identical" if export.largest_difference == 0 else f"{export.largest_difference:.1e}",
                export.runtime,
            ]
            for export in exports
        ],
    )
