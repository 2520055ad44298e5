"""The numbers behind the advice."""

import math

import pytest

from advisor.calibration import landmarks, read_studied_cells, studied_cells, studied_range, textbook_numbers
from advisor.rules import QUESTIONS
from strategies.recipes import RECIPES


def test_every_question_of_the_textbook_has_a_number_with_its_source():
    """The textbook names none itself."""
    numbers = textbook_numbers()
    assert set(numbers) == {question.measure for question in QUESTIONS}
    assert all(row.value > 0 and row.source for row in numbers.values())


def test_every_studied_cell_has_all_four_recipes():
    """And what was measured before any training."""
    cells = studied_cells()
    assert len({cell.dataset for cell in cells}) >= 30
    assert len({cell.backbone for cell in cells}) >= 3
    for cell in cells:
        assert set(cell.accuracy) == set(cell.regret) == set(RECIPES)
        assert 0 <= cell.measures["similarity"] <= 1
        assert cell.measures["effective_num_images"] >= 1


def test_an_unknown_measure_is_read_as_nan():
    """JSON has no NaN: it is null in the file."""
    row = {
        "dataset": "signs",
        "backbone": "MobileNet-0.25",
        "size": "100",
        "num_seeds": 1,
        "measures": {"similarity": 0.5, "head_accuracy": None},
        "accuracy": {},
        "regret": {},
    }
    (cell,) = read_studied_cells([row])
    assert math.isnan(cell.measures["head_accuracy"])
    assert cell.measures["similarity"] == 0.5


def test_the_range_of_the_study_covers_its_cells():
    """Beyond it, the advice says that it guesses."""
    found = studied_range()
    counts = [cell.measures["effective_num_images"] for cell in studied_cells()]
    assert found.images == (min(counts), max(counts))
    assert found.num_datasets == len({cell.dataset for cell in studied_cells()})
    assert list(found.backbones) == sorted({cell.backbone for cell in studied_cells()})


def test_landmarks_lead_from_the_most_different_dataset_to_the_most_similar():
    """Each has a title and a similarity on the scale of the ruler."""
    rows = landmarks()
    scores = [row.score for row in rows]
    assert scores == sorted(scores)
    assert all(0 <= score <= 1 for score in scores)
    assert all(row.title for row in rows)
    assert scores[0] == pytest.approx(min(scores))
