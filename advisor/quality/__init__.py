"""Checks of images, labels and splits: the checks as rows, the scan of all images, and the search for suspects."""
