"""The result of a training run as HTML."""

import pytest

from strategies.display.results import baseline_rows, result_html


@pytest.fixture
def metrics():
    """What `metrics.json` holds, as far as the result shows it."""
    bins = [{"confidence": 0.9, "accuracy": 0.8, "num_images": 20}]
    return {
        "seconds": 12.4,
        "test": {
            "accuracy": 0.8,
            "low": 0.58,
            "high": 0.92,
            "num_images": 20,
            "per_class": {name: {"num_images": 10, "precision": 0.8} for name in ("cat", "<b>dog</b>")},
            "confusion": [[8, 2], [2, 8]],
            "reliability": {"bins": bins},
        },
        "baseline": {
            "majority_accuracy": 0.5,
            "head": {"accuracy": 0.7, "low": 0.48, "high": 0.86, "seconds": 3.0},
        },
    }


def test_the_result_shows_accuracy_interval_baselines_and_confusion(metrics):
    """Class names are data: markup in them is escaped."""
    history = [
        {"phase": "head", "step": step, "loss": loss, "accuracy": 0.5, "val_loss": loss, "val_accuracy": 0.5}
        for step, loss in ((0, 1.0), (10, 0.5))
    ]
    page = result_html(recipe="retrain_all", network="MobileNetV2 at 96 px", metrics=metrics, history=history)
    for text in ("retrain_all: test accuracy 80.0%", "58.0% to 92.0%", "20 images", "MobileNetV2 at 96 px, 12 s"):
        assert text in page
    assert "majority class" in page
    assert "head alone" in page
    assert page.count('<figure class="chart">') == 3  # accuracy, loss and reliability
    assert "&lt;b&gt;dog&lt;/b&gt;" in page
    assert "<b>dog</b>" not in page


def test_a_recipe_is_compared_with_the_majority_class_and_the_head_alone(metrics):
    """The recipe is the last row. `head_only` is the head alone, so it is not compared with itself."""
    rows = baseline_rows("retrain_all", metrics)
    assert [name for name, *_ in rows] == ["majority class", "head alone", "retrain_all"]
    assert rows[1] == ("head alone", 0.7, 0.48, 0.86, 3.0)
    assert rows[2] == ("retrain_all", 0.8, 0.58, 0.92, 12.4)
    assert [name for name, *_ in baseline_rows("head_only", metrics)] == ["majority class", "head_only"]


def test_without_a_baseline_head_there_is_no_row_for_it(metrics):
    """Such as where the head was not fitted."""
    metrics["baseline"]["head"] = None
    assert len(baseline_rows("retrain_all", metrics)) == 2
