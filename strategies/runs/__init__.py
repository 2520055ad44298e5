"""Saved runs: evaluation, prediction, export and heat maps."""
