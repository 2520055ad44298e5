"""Rows of the study become outcomes: one for each dataset, size and backbone."""

import pytest
from synthetic_study import rows

from advisor.evidence.cells import read_cells
from strategies.errors import UserError


def test_rows_of_a_cell_come_together():
    """Seeds side by side, sizes and backbones apart, with what was measured beforehand."""
    found = read_cells(
        [
            *rows("signs", {"head_only": 70}, seed=0, late_gain=0.3),
            *rows("signs", {"head_only": 72}, seed=1),
            *rows("signs", {}, size="300"),
            *rows("signs", {}, backbone="MobileNetV2-0.35"),
        ]
    )
    assert [(cell.size, cell.backbone, cell.seeds) for cell in found] == [
        ("100", "MobileNet-0.25", ("0", "1")),
        ("300", "MobileNet-0.25", ("0",)),
        ("100", "MobileNetV2-0.35", ("0",)),
    ]
    assert found[0].accuracy["1"]["head_only"] == 0.72
    assert found[0].facts["0"].measures()["late_gain"] == pytest.approx(0.3)
    assert found[0].trainer_versions == {"0.2.0"}


def test_a_seed_without_all_four_recipes_is_named_and_left_out(capsys):
    """Its regret cannot be known."""
    found = read_cells([*rows("signs", {}), *rows("signs", {"retrain_all": None}, seed=1)])
    assert found[0].seeds == ("0",)
    assert "left out: signs, 100 images, seed 1, MobileNet-0.25: without retrain_all" in capsys.readouterr().err
    with pytest.raises(UserError, match="no such cell"):
        read_cells(rows("signs", {"retrain_all": None}))


def test_the_first_of_rows_with_the_same_key_counts():
    """A row that was appended twice changes nothing."""
    (cell,) = read_cells([*rows("signs", {"head_only": 70}), *rows("signs", {"head_only": 10})])
    assert cell.accuracy["0"]["head_only"] == 0.7


def test_another_metric_can_be_read():
    """Balanced accuracy, where classes are imbalanced."""
    (cell,) = read_cells(rows("signs", {"head_only": 70}), metric="balanced_accuracy")
    assert cell.accuracy["0"]["head_only"] == 0.35
