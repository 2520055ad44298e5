"""The study behind the fitted numbers: runs it, fits the numbers to it, and scores the advice."""
