"""The fitted numbers behind the advice."""

from advisor.rules import EVIDENCE, MEASURES
from advisor.calibration import fitted, landmarks, thresholds


def test_a_dataset_of_the_study_is_judged_by_numbers_fitted_without_it():
    """Any other name gets the numbers fitted on all datasets."""
    assert fitted("no such dataset") is fitted()
    assert fitted("flowers5") is not fitted()
    names = {*MEASURES.values(), *(row.name for row in EVIDENCE)}
    assert set(thresholds(without_dataset="flowers5")) == set(thresholds()) == names


def test_size_and_similarity_have_a_threshold_in_every_set():
    """A row of evidence may be switched off; these two always decide."""
    for name in ("advice", "two_by_two", "textbook"):
        found = thresholds(name)
        assert all(found[measure] > 0 for measure in MEASURES.values())


def test_landmarks_lead_from_the_most_different_dataset_to_the_most_similar():
    """Each has a title and a similarity on the scale of the ruler."""
    rows = landmarks()
    scores = [row.score for row in rows]
    assert scores == sorted(scores)
    assert all(0 <= score <= 1 for score in scores)
    assert all(row.title for row in rows)
