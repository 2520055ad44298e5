"""Numbers as reports show them, in words."""

from strategies.display.numbers import duration, share


def test_a_fraction_is_shown_as_a_percentage():
    """No value is a dash."""
    assert (share(0.9134), share(0.0), share(None)) == ("91.3%", "0.0%", "–")


def test_a_time_is_shown_in_the_unit_that_suits_it():
    """With about two digits, and without a jump where the unit changes."""
    times = {0.234: "0.23 s", 9.96: "10 s", 99.4: "99 s", 99.6: "1.7 min", 596: "9.9 min", 600: "10 min"}
    times |= {5_940: "99 min", 6_000: "1.7 h", 36_000: "10 h", 3_600_000: "1,000 h"}
    assert {seconds: duration(seconds) for seconds in times} == times
    assert duration(None) == "–"
