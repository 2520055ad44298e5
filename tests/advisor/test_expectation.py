"""What each recipe is expected to reach."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic_study import facts, studied

from advisor.expectation import Expectation, expect, refit_gain
from advisor.likeness import OVERALL
from strategies.recipes import RECIPES


def _study(num=40, **near):
    """Cells near ImageNet in which recipes reached `near`, and as many far from it in which all reached 50%."""
    return [
        *(studied(f"near{index}", near, similarity=0.9) for index in range(num)),
        *(studied(f"far{index}", {}, similarity=0.1) for index in range(num)),
    ]


def test_the_expectation_is_what_happened_in_cells_that_are_alike():
    """A new head reached 70%, and fine-tuning removed half of the errors that were left."""
    found = expect(facts(similarity=0.9), _study(200, head_only=70, fine_tune_all=85, retrain_all=70))
    assert found["fine_tune_all"].accuracy == pytest.approx(0.85, abs=0.01)
    assert found["fine_tune_all"].gain == pytest.approx(0.15, abs=0.01)
    assert found["head_only"].gain == 0
    assert (found["fine_tune_all"].right, found["retrain_all"].right) == (1, 0.5)  # far from it, all are equal
    assert found.known
    assert found.datasets[0].startswith("near")


def test_errors_of_the_head_on_these_images_are_what_can_be_removed():
    """Where a new head is right on 95%, half of the errors are less than three points."""
    cells = _study(200, head_only=70, fine_tune_all=85)
    own = facts(similarity=0.9, late_gain=0.45)  # a new head reaches 95%
    assert 0 < expect(own, cells)["fine_tune_all"].gain < 0.06


def test_where_hardly_any_error_is_left_every_recipe_is_as_good():
    """No recipe can be better by more than a point on images of which a new head gets nearly all right."""
    cells = _study(200, head_only=70, fine_tune_all=85)
    found = expect(facts(similarity=0.9, late_gain=0.4999), cells)
    assert all(found[name].right == 1 for name in RECIPES)


def test_few_cells_that_are_alike_are_mixed_with_the_mean_of_all():
    """One lucky cell does not decide."""
    lucky = [studied("one", {"head_only": 70, "fine_tune_all": 100}, similarity=0.9), *_study(20)[20:]]
    gain = expect(facts(similarity=0.9), lucky)["fine_tune_all"].gain
    assert 0 < gain < 0.3 / (1 + OVERALL) * 1.5
    assert expect(facts(similarity=0.9), lucky).num_like == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("best", list(RECIPES))
def test_the_default_is_the_best_fixed_policy_of_the_cells_that_count(best):
    """Of all cells, not only of those that are alike; a recipe is ahead of the default by nothing where it is it."""
    cells = [*_study(20), *(studied(f"some{index}", {best: 60}, similarity=0.1) for index in range(5))]
    found = expect(facts(similarity=0.9), cells)
    assert (found.default, found[best].ahead) == (best, 0)


def test_the_interval_is_as_wide_as_cells_scatter():
    """A little beyond the tenth and the ninth tenth of what they reached, since one more cell may lie outside."""
    cells = [studied(f"set{index}", {"head_only": 70, "fine_tune_all": 70 + index}) for index in range(21)]
    row = expect(facts(), cells)["fine_tune_all"]
    assert row.low == pytest.approx(0.707, abs=0.001)
    assert row.high == pytest.approx(0.893, abs=0.001)
    assert row.low < row.accuracy < row.high
    narrow = expect(facts(), [studied(f"set{index}", {"fine_tune_all": 80}) for index in range(21)])["fine_tune_all"]
    assert narrow.high - narrow.low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [15, 60])
def test_the_interval_holds_four_of_five_new_cells(count):
    """And not many more, however few cells there are beside the new one."""
    generator, held = np.random.default_rng(0), 0
    for _ in range(200):
        *known, new = generator.normal(80, 3, count + 1)
        row = expect(facts(), [studied(f"set{index}", {"fine_tune_all": value}) for index, value in enumerate(known)])
        held += row["fine_tune_all"].low <= new / 100 <= row["fine_tune_all"].high
    assert 0.77 < held / 200 < 0.9


def test_without_a_held_out_image_the_accuracy_is_taken_from_the_study():
    """And it is marked as unknown."""
    found = expect(replace(facts(), depth_curve=None), _study(head_only=70, fine_tune_all=85))
    assert not found.known
    assert found["fine_tune_all"].gain > 0


def test_expectations_are_accuracies():
    """Never below 0 or above 1, and in order, with the study that ships."""
    for similarity in (0.0, 0.5, 1.0):
        for gain in (-0.3, 0.0, 0.5):
            for count in (2, 300, 1_000_000):
                found = expect(facts(similarity=similarity, late_gain=gain, num_images=count))
                for name in RECIPES:
                    row = found[name]
                    assert 0 <= row.low <= row.high <= 1
                    assert 0 <= row.accuracy <= 1
                    assert 0 <= row.right <= 1


def test_without_a_refit_less_is_expected_and_with_many_images_hardly_less():
    """Of the recipes that leave it out."""
    found = expect(facts(), _study(fine_tune_all=60))
    for num_images in (50, 100, 1_000):
        less = found.without_refit(["fine_tune_all"], num_images)
        assert less["head_only"] == found["head_only"]
        for name in ("accuracy", "low", "high", "gain"):
            lost = getattr(found["fine_tune_all"], name) - getattr(less["fine_tune_all"], name)
            assert lost == pytest.approx(refit_gain(num_images))
    assert refit_gain(50) == refit_gain(100) > 3 * refit_gain(1_000) > 0


def test_an_expectation_is_read_back_as_it_was():
    """From plain JSON."""
    found = expect(facts())
    assert Expectation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
