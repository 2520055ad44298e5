"""A training phase: when it is evaluated."""

from strategies.plans.phase import steps_per_evaluation


def test_validation_images_are_evaluated_ten_times_at_most():
    """An interval is one pass over the training images or more, and never longer than the phase."""
    assert steps_per_evaluation(1000, 320, 32) == 100
    assert steps_per_evaluation(50, 320, 32) == 10
    assert steps_per_evaluation(4, 320, 32) == 4
