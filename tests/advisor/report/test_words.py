"""Sentences of the reports."""

import pytest

from advisor.report.words import kept_text, settings
from strategies.plans.planning import make_plan


def test_a_report_says_what_was_kept_and_whether_it_was_trained_again():
    """A refit shows in the names of its phases."""
    rows = [{"phase": "head"}, {"phase": "whole_network"}]
    assert kept_text("head", rows) == "The weights at the end of phase head are kept."
    refit = kept_text("whole_network", [*rows, {"phase": "refit_head"}, {"phase": "refit_whole_network"}])
    assert "whole_network is the last that was kept" in refit
    assert "on training and validation images together" in refit


@pytest.mark.parametrize(
    ("augment", "words"),
    [("flip,shift", "flipped and shifted by up to 10%"), ("flip", "flipped"), ("shift", "shifted by up to 10%")],
)
def test_the_settings_say_how_images_are_changed(augment, words):
    """Only what is done is named, and nothing where images stay as they are."""
    names = ["cat", "dog"]
    plan, plain = (
        make_plan("retrain_all", "MobileNet-0.25", class_names=names, num_train=80, augment=each)
        for each in (augment, "none")
    )
    assert f", images {words}," in settings(plan)
    assert "images" not in settings(plain).partition("refit")[0]
