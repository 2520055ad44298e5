"""Sentences of the reports."""

from advisor.report.words import kept_text


def test_a_report_says_what_was_kept_and_whether_it_was_trained_again():
    """A refit shows in the names of its phases."""
    rows = [{"phase": "head"}, {"phase": "whole_network"}]
    assert kept_text("head", rows) == "The weights at the end of phase head are kept."
    refit = kept_text("whole_network", [*rows, {"phase": "refit_head"}, {"phase": "refit_whole_network"}])
    assert "whole_network is the last that was kept" in refit
    assert "on training and validation images together" in refit
